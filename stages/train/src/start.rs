//! Other starts: what a network fits first, to go to the task from there.

use anyhow::{Result, ensure};
use networks::{Dataset, Network, Random, Split};
use rand::Rng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

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
    /// How many of the samples that were to be fitted have another class than theirs, in evaluation mode.
    pub wrong: u64,
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
        let Reached { epochs, wrong } = self;
        match wrong {
            0 => format!("the start was fitted in {epochs} epochs"),
            _ => format!("the start was not fitted: {wrong} samples are wrong after {epochs} epochs"),
        }
    }
}

/// How many samples of the train split a network takes for another class, in evaluation mode.
pub fn wrong(network: &Network, data: &Dataset) -> u64 {
    let classes = network.logits(data, &data.train).argmax(1, false);
    classes.ne_tensor(&data.train.labels).sum(Kind::Int64).int64_value(&[]) as u64
}
