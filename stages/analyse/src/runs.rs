//! Runs: what a file of predictions says about a network, checked.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use geometry::{Model, Truth};
use kit::Tensors;
use ndarray::{ArrayView3, Axis};
use serde::Deserialize;
use serde_json::{Map, Value};

/// How far from 1 the probabilities of a sample may sum.
const SUM_TOLERANCE: f64 = 1e-3;

/// The scalars of a network, by name: what tells it from others in a table.
pub(crate) type Scalars = BTreeMap<String, Value>;

/// One network with its seed, and its predictions for a split.
pub(crate) struct Run<'a> {
    /// Its network as JSON with sorted keys and without spaces.
    pub(crate) name: String,
    pub(crate) scalars: Scalars,
    /// The same without the seed.
    pub(crate) configuration: (String, Scalars),
    pub(crate) parameters: i64,
    /// Probabilities [T, N, C]; T is at least 1, here and below.
    pub(crate) models: ArrayView3<'a, f32>,
    pub(crate) step: &'a [i64],
    pub(crate) epoch: &'a [f64],
    /// Of the split.
    pub(crate) loss: &'a [f64],
    pub(crate) error: &'a [f64],
    /// At the end.
    pub(crate) train_error: f64,
}

#[derive(Deserialize)]
struct Metadata {
    network: Map<String, Value>,
    parameters: i64,
}

impl<'a> Run<'a> {
    /// Reads a file of predictions of the data whose truth this is.
    pub(crate) fn new(file: &'a Tensors, split: &str, truth: &Truth) -> Result<Run<'a>> {
        let Metadata { network, parameters } = file.metadata()?;
        let run = name(&network);
        Run::with(file, split, truth, network, parameters).with_context(|| format!("run {run}"))
    }

    fn with(
        file: &'a Tensors,
        split: &str,
        truth: &Truth,
        network: Map<String, Value>,
        parameters: i64,
    ) -> Result<Run<'a>> {
        let tensor = file.f32s(split)?;
        let [checkpoints, samples, classes] = tensor.shape[..] else {
            bail!("`{split}` has the shape {:?}, expected [T, N, C]", tensor.shape)
        };
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
        let mut seedless = network.clone();
        seedless.remove("seed");
        Ok(Run {
            scalars: scalars(&network),
            name: name(&network),
            configuration: (name(&seedless), scalars(&seedless)),
            parameters,
            models: ArrayView3::from_shape((checkpoints, samples, classes), tensor.values)?,
            step,
            epoch: column("epoch")?,
            loss: column(&format!("{split}_loss"))?,
            error: column(&format!("{split}_error"))?,
            train_error: column("train_error")?[checkpoints - 1],
        })
    }

    /// The number of checkpoints, T.
    pub(crate) fn checkpoints(&self) -> usize {
        self.step.len()
    }

    /// The model of a checkpoint, known to be probabilities.
    pub(crate) fn model(&self, checkpoint: usize) -> Result<Model<'a>> {
        let model = self.models.index_axis_move(Axis(0), checkpoint);
        for (index, sample) in model.rows().into_iter().enumerate() {
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

fn name(network: &Map<String, Value>) -> String {
    kit::run_name(&Value::Object(network.clone()))
}

fn scalars(network: &Map<String, Value>) -> Scalars {
    let scalar = |value: &Value| !value.is_object() && !value.is_array();
    network
        .iter()
        .filter(|(_, value)| scalar(value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
