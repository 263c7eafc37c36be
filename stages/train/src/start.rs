//! Other starts: what a network fits first, to go to the task from there.

use anyhow::{Result, ensure};
use networks::{Dataset, Mode, Network, Precision, Random, Split};
use rand::Rng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Samples that are predicted at once.
const BATCH: i64 = 500;

/// What is fitted, until its error is 0.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Which labels; the true ones, if not told.
    labels: Option<Labels>,
    /// How many of the train samples, drawn at random; all, if not told.
    samples: Option<u64>,
    /// For so many epochs at most.
    pub epochs: u64,
    /// The rate of the first step; that of the run, if not told.
    pub rate: Option<f64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Labels {
    /// Each drawn from all classes alike.
    Random,
}

/// How a start ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reached {
    /// Epochs it took.
    pub epochs: u64,
    /// The error, in evaluation mode, on what was fitted.
    pub error: f64,
}

impl Start {
    /// Data whose train split is what is fitted, drawn from `random`.
    ///
    /// # Errors
    /// When the start makes no sense for these data.
    pub fn data(&self, data: &Dataset, random: &mut Random) -> Result<Dataset> {
        let count = data.train.count();
        ensure!(self.epochs >= 1, "start: epochs is 0, must be at least 1");
        ensure!(
            self.labels.is_some() || self.samples.is_some(),
            "start: what is fitted is the task; say `labels: random`, or `samples`, or both"
        );
        let samples = self.samples.unwrap_or(count as u64);
        ensure!(
            (1..=count as u64).contains(&samples),
            "start: samples is {samples}, must be 1 to {count}, of which there are"
        );
        let device = data.train.labels.device();
        let mut chosen: Vec<i64> = (0..count as i64).collect();
        if self.samples.is_some() {
            chosen.shuffle(random);
            chosen.truncate(samples as usize);
        }
        let chosen = Tensor::from_slice(&chosen).to_device(device);
        let labels = match self.labels {
            None => data.train.labels.index_select(0, &chosen),
            Some(Labels::Random) => {
                let labels: Vec<i64> = (0..samples).map(|_| random.random_range(0..data.classes)).collect();
                Tensor::from_slice(&labels).to_device(device)
            }
        };
        let mut fitted = data.to(device);
        fitted.train = Split { pixels: data.train.pixels.index_select(0, &chosen), labels };
        Ok(fitted)
    }
}

impl Reached {
    /// A line for people.
    pub fn told(&self) -> String {
        let Reached { epochs, error } = self;
        match *error == 0.0 {
            true => format!("the start was fitted in {epochs} epochs"),
            false => format!("the start was not fitted: its error is {error} after {epochs} epochs"),
        }
    }
}

/// The error of a network on the train split, in evaluation mode.
pub fn error(network: &Network, data: &Dataset) -> f64 {
    let Split { pixels, labels } = &data.train;
    let count = data.train.count() as i64;
    let wrong = |start: i64| {
        let size = BATCH.min(count - start);
        let images = data.normalise(&pixels.narrow(0, start, size));
        let classes = network.forward(&images, Mode::Evaluate, Precision::F32).argmax(1, false);
        classes.ne_tensor(&labels.narrow(0, start, size)).sum(Kind::Int64).int64_value(&[])
    };
    let wrong: i64 = tch::no_grad(|| (0..count).step_by(BATCH as usize).map(wrong).sum());
    wrong as f64 / count as f64
}
