//! Runs: what a file of predictions says about a network, checked.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use geometry::{Trajectory, Truth};
use kit::{Artifact, Job, Tensors};
use ndarray::Array2;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Predictions;

/// How far from 1 the probabilities of a sample may sum.
const SUM_TOLERANCE: f64 = 1e-3;

/// The scalars of a network, by name: what tells it from others in a table.
pub type Scalars = BTreeMap<String, Value>;

/// One network with its seed, and its predictions for a split.
#[derive(Debug)]
pub struct Run<'a> {
    file: &'a Tensors,
    /// Its network as JSON with sorted keys and without spaces.
    pub name: String,
    /// Its scalars.
    pub scalars: Scalars,
    /// Name and scalars, the same without the seed.
    pub configuration: (String, Scalars),
    /// How many weights it has.
    pub parameters: i64,
    /// Its probabilities; T is at least 1, here and below.
    pub predictions: Predictions<'a>,
    /// Steps of the optimizer until each checkpoint, \[T\].
    pub step: &'a [i64],
    /// Epochs until then, \[T\].
    pub epoch: &'a [f64],
    /// The loss of the split, \[T\].
    pub loss: &'a [f64],
    /// The error of the split, \[T\].
    pub error: &'a [f64],
    /// The train error at the end.
    pub train_error: f64,
}

#[derive(Deserialize)]
struct Metadata {
    parameters: i64,
}

impl<'a> Run<'a> {
    /// Of a file of predictions of the data whose truth this is. The probabilities are looked at by [`Run::checked`] alone.
    ///
    /// # Errors
    /// When the file lacks something, or is of other data.
    pub fn new(file: &'a Tensors, split: &str, truth: &Truth) -> Result<Run<'a>> {
        let predictions = Predictions::new(file, split)?;
        let name = predictions.name.clone();
        Run::with(file, split, truth, predictions).with_context(|| format!("run {name}"))
    }

    fn with(file: &'a Tensors, split: &str, truth: &Truth, predictions: Predictions<'a>) -> Result<Run<'a>> {
        let Metadata { parameters } = file.metadata()?;
        let Predictions { checkpoints, samples, classes, .. } = predictions;
        ensure!(
            (samples, classes) == (truth.samples(), truth.classes()),
            "`{split}` has {samples} samples x {classes} classes, the data have {} x {}",
            truth.samples(),
            truth.classes()
        );
        ensure!(checkpoints > 0, "there are no checkpoints");
        let column = |name: &str| {
            let values = file.f64s(name)?.values;
            ensure!(values.len() == checkpoints, "`{name}` has {} values, not {checkpoints}", values.len());
            Ok(values)
        };
        let step = file.i64s("step")?.values;
        ensure!(step.len() == checkpoints, "`step` has {} values, not {checkpoints}", step.len());
        let mut seedless = predictions.network.clone();
        seedless.remove("seed");
        Ok(Run {
            file,
            scalars: scalars(&predictions.network),
            name: predictions.name.clone(),
            configuration: (kit::run_name(&Value::Object(seedless.clone())), scalars(&seedless)),
            parameters,
            predictions,
            step,
            epoch: column("epoch")?,
            loss: column(&format!("{split}_loss"))?,
            error: column(&format!("{split}_error"))?,
            train_error: column("train_error")?[checkpoints - 1],
        })
    }

    /// The number of checkpoints, T.
    pub fn checkpoints(&self) -> usize {
        self.step.len()
    }

    /// The train loss of each checkpoint, \[T\], whatever the split.
    ///
    /// # Errors
    /// When the file does not have it.
    pub fn train_loss(&self) -> Result<&'a [f64]> {
        let values = self.file.f64s("train_loss")?.values;
        ensure!(
            values.len() == self.checkpoints(),
            "run {}: `train_loss` has {} values, not {}",
            self.name,
            values.len(),
            self.checkpoints()
        );
        Ok(values)
    }

    /// Some samples of the point of its trajectory at a progress, see [`Trajectory::at`]; what that is made of is read.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn point(
        &self,
        trajectory: &Trajectory,
        progress: f64,
        samples: &Range<usize>,
    ) -> Result<Array2<f64>> {
        trajectory.at(progress, |checkpoint| self.predictions.model(checkpoint, samples.clone()))
    }

    /// Some samples of the model of a checkpoint, [samples, C], known to be probabilities.
    ///
    /// # Errors
    /// When they are not: a value is negative, or not a number, or those of a sample do not sum to 1.
    pub fn checked(&self, checkpoint: usize, samples: Range<usize>) -> Result<Array2<f32>> {
        let model = self.predictions.model(checkpoint, samples.clone())?;
        for (index, sample) in samples.zip(model.rows()) {
            let sum: f64 = sample.iter().map(|&p| f64::from(p)).sum();
            ensure!(
                (sum - 1.0).abs() <= SUM_TOLERANCE && sample.iter().all(|&p| p >= 0.0),
                "run {}, checkpoint {checkpoint}, sample {index}: {sample} are not probabilities",
                self.name
            );
        }
        Ok(model)
    }
}

/// What this reads of the data's metadata.
#[derive(Deserialize)]
struct Data {
    classes: Vec<String>,
}

/// The truth of a split of the job's input `data`.
///
/// # Errors
/// When the file cannot be read, lacks labels, or has none.
pub fn truth(job: &Job, split: &str) -> Result<Truth> {
    let data = Tensors::open(&job.input("data")?.path)?;
    let classes = data.metadata::<Data>()?.classes.len();
    let labels = format!("{split}_labels");
    let truth = Truth::new(data.i64s(&labels)?.values, classes).with_context(|| labels.clone())?;
    ensure!(truth.samples() > 0, "{labels} is empty; there is nothing to analyse");
    Ok(truth)
}

/// Maps files of predictions.
///
/// # Errors
/// When one is not a file of tensors.
pub fn open(artifacts: &[Artifact]) -> Result<Vec<Tensors>> {
    Ok(artifacts.iter().map(|artifact| Tensors::open(&artifact.path)).collect::<Result<_, _>>()?)
}

/// The runs of files of predictions, sorted by name.
///
/// # Errors
/// As [`Run::new`], or when a run is given twice.
pub fn read<'a>(files: &'a [Tensors], split: &str, truth: &Truth) -> Result<Vec<Run<'a>>> {
    let mut runs: Vec<Run> = files.iter().map(|file| Run::new(file, split, truth)).collect::<Result<_>>()?;
    runs.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = runs.windows(2).find(|pair| pair[0].name == pair[1].name) {
        bail!("run {} is given twice", pair[0].name);
    }
    Ok(runs)
}

fn scalars(network: &Map<String, Value>) -> Scalars {
    let scalar = |value: &Value| !value.is_object() && !value.is_array();
    network
        .iter()
        .filter(|(_, value)| scalar(value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
