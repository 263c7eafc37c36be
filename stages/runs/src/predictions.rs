//! Predictions for a split, read a few samples at a time: those of a network, or the points of the geodesic, whose file
//! has their progress and the labels alone.

use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use geometry::{Truth, geodesic};
use kit::Tensors;
use ndarray::Array2;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The models of one run.
#[derive(Debug)]
pub struct Predictions<'a> {
    /// The run: its network as JSON with sorted keys and without spaces.
    pub name: String,
    /// Its network.
    pub network: Map<String, Value>,
    /// The number of models, T.
    pub checkpoints: usize,
    /// The number of samples, N.
    pub samples: usize,
    /// The number of classes, C.
    pub classes: usize,
    source: Source<'a>,
}

#[derive(Debug)]
enum Source<'a> {
    /// Probabilities [T, N, C], mapped.
    File(&'a Tensors, &'a [f32]),
    /// Of each sample the class, of each point the progress.
    Geodesic(Truth, &'a [f64]),
}

#[derive(Deserialize)]
struct Metadata {
    network: Map<String, Value>,
    /// Of the geodesic: how many.
    classes: Option<usize>,
}

impl<'a> Predictions<'a> {
    /// Those of a file.
    ///
    /// # Errors
    /// When it does not have them; here and below the run is named.
    pub fn new(file: &'a Tensors, split: &str) -> Result<Predictions<'a>> {
        let Metadata { network, classes } = file.metadata()?;
        let name = kit::run_name(&Value::Object(network.clone()));
        let (source, shape) = match classes {
            Some(classes) => points(file, split, classes),
            None => probabilities(file, split),
        }
        .with_context(|| format!("run {name}"))?;
        let [checkpoints, samples, classes] = shape;
        Ok(Predictions { name, network, checkpoints, samples, classes, source })
    }

    /// Some samples of a model, [samples, C].
    ///
    /// # Errors
    /// When the file cannot be read.
    ///
    /// # Panics
    /// Here and below, when there is no such model, or not so many samples.
    pub fn model(&self, checkpoint: usize, samples: Range<usize>) -> Result<Array2<f32>> {
        let mut model = Array2::zeros((samples.len(), self.classes));
        self.read(checkpoint, samples, model.as_slice_mut().expect("a new array is contiguous"))?;
        Ok(model)
    }

    /// Reads some samples of a model, [samples, C], to where there is room for them. Nothing else is held.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self, checkpoint: usize, samples: Range<usize>, to: &mut [f32]) -> Result<()> {
        match &self.source {
            Source::File(file, values) => {
                let model =
                    &values[checkpoint * self.samples * self.classes..][..self.samples * self.classes];
                file.read(&model[samples.start * self.classes..samples.end * self.classes], to)?;
            }
            Source::Geodesic(truth, progress) => {
                let point = geodesic(&truth.part(samples), &progress[checkpoint..=checkpoint]);
                to.copy_from_slice(point.as_slice().expect("a new array is contiguous"));
            }
        }
        Ok(())
    }
}

type Found<'a> = (Source<'a>, [usize; 3]);

fn probabilities<'a>(file: &'a Tensors, split: &str) -> Result<Found<'a>> {
    let tensor = file.f32s(split)?;
    let [checkpoints, samples, classes] = tensor.shape[..] else {
        bail!("`{split}` has the shape {:?}, expected [T, N, C]", tensor.shape)
    };
    Ok((Source::File(file, tensor.values), [checkpoints, samples, classes]))
}

fn points<'a>(file: &'a Tensors, split: &str, classes: usize) -> Result<Found<'a>> {
    let labels = format!("{split}_labels");
    let truth = Truth::new(file.i64s(&labels)?.values, classes).context(labels)?;
    let progress = file.f64s("progress")?.values;
    ensure!(
        progress.iter().all(|t| (0.0..=1.0).contains(t)),
        "`progress` has a value that is not between 0 and 1"
    );
    let shape = [progress.len(), truth.samples(), classes];
    Ok((Source::Geodesic(truth, progress), shape))
}
