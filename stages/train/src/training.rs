//! One training run: its start, if it has another than its initial weights, and the task.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use networks::{Dataset, Model, Network, Precision, Stream, generator};
use serde::Deserialize;
use serde_json::{Value, json};
use tch::Device;

use crate::batches::Batches;
use crate::checkpoints::{self, Checkpoints};
use crate::fit::Fit;
use crate::optimizer::{Optimizer, Rule};
use crate::schedule;
use crate::start::{self, Reached, Start};
use crate::state::{Mark, State, States};

/// A configuration of the sweep: the `network` parameter.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// The name in figures; nothing here depends on it.
    #[serde(rename = "arch")]
    _arch: String,
    /// The name of its start in figures; nothing here depends on it either.
    #[serde(rename = "from")]
    _from: Option<String>,
    model: Model,
    optimizer: Rule,
    /// Samples a step.
    batch: u64,
    /// Of the first step; it falls with half a cosine to 0.
    rate: f64,
    /// Weight decay, coupled, on all trained tensors.
    decay: f64,
    /// Random crops and mirror images.
    augment: bool,
    epochs: u64,
    seed: u64,
    /// How many first epochs keep several checkpoints each; what the paper's rule says, if not told.
    early: Option<u64>,
    /// What is fitted before the task; nothing, if not told.
    start: Option<Start>,
}

/// What a run reads and writes.
pub struct Task<'a> {
    /// The data, on the device.
    pub data: &'a Dataset,
    /// Where it computes.
    pub device: Device,
    /// How exactly.
    pub precision: Precision,
    /// The `network` parameter, for the metadata.
    pub network: &'a Value,
    /// Where its checkpoints go.
    pub output: &'a Path,
}

/// What a run tells.
pub enum Told<'a> {
    /// A step is done: how many are, of how many, and a few words.
    Step(u64, u64, &'a str),
    /// A line for the log.
    Line(String),
}

impl Configuration {
    /// Trains the network and writes its checkpoints. It goes on from what it finds in `states`, and leaves some there.
    ///
    /// # Errors
    /// When the configuration makes no sense for these data, the loss stops being a number, or a file cannot be written.
    pub fn train(&self, task: &Task, mut states: Option<States>, mut tell: impl FnMut(Told)) -> Result<()> {
        let Task { data, device, precision, network: given, output } = *task;
        self.check(data)?;
        device::refuse_inexact(self.model.attends());
        let mut random = generator(self.seed, Stream::Weights);
        let network = Network::new(&self.model, data.shape(), data.classes, &mut random, device)?;
        let crops = self.augment.then(|| generator(self.seed, Stream::Augmentation));
        let size = self.batch_size(data, &network)?;
        let batches = Batches::new(data, size, generator(self.seed, Stream::Order), crops);
        let steps_per_epoch = batches.count();
        let kept = schedule::checkpoints(self.epochs, steps_per_epoch, self.early);
        let file = states.as_ref().map_or_else(|| output.to_owned(), States::checkpoints);
        let are_whole = |mark: &Mark| checkpoints::are_whole(&file, &network.weights, &mark.checkpoints);
        let mut state = states.as_ref().and_then(|states| states.find(are_whole));
        if let Some(State { mark, .. }) = &state {
            let of = if self.start.is_some() && mark.start.is_none() { " of the start" } else { "" };
            tell(Told::Line(format!("going on after step {}{of}", mark.step)));
        }

        let mut reached = state.as_ref().and_then(|state| state.mark.start);
        if let Some(start) = self.start.as_ref().filter(|_| reached.is_none()) {
            let ended = self.fit_start(start, &network, task, state.take(), states.as_mut(), &mut tell)?;
            tell(Told::Line(ended.told()));
            reached = Some(ended);
        }
        let mut metadata = json!({"network": given, "parameters": network.weights.trained_count()});
        if let Some(reached) = reached {
            metadata["start"] = serde_json::to_value(reached)?;
        }

        let optimizer = Optimizer::new(self.optimizer, self.decay, &network.weights.trained());
        let mut fit = Fit::new(&network, precision, batches, optimizer, self.rate, self.epochs);
        let mut checkpoints = match state {
            Some(state) => {
                fit.go_on(&state)?;
                let hashes = state.mark.checkpoints;
                Checkpoints::go_on(&file, &network.weights, kept, steps_per_epoch, hashes, &metadata)?
            }
            None => {
                let mut checkpoints =
                    Checkpoints::create(&file, &network.weights, kept, steps_per_epoch, &metadata)?;
                checkpoints.keep(0, &network.weights)?;
                checkpoints
            }
        };
        let mut note = String::new();
        let steps = fit.steps();
        while !fit.is_done() {
            let loss = fit.epoch(|step, optimizer| {
                let is_kept = checkpoints.keep(step, &network.weights)?;
                if let Some(states) = states.as_mut().filter(|states| is_kept && states.is_due()) {
                    let mark = Mark { step, start: reached, checkpoints: checkpoints.sync()?.to_vec() };
                    states.save(&mark, &network.weights, optimizer)?;
                }
                tell(Told::Step(step, steps, &note));
                Ok(())
            })?;
            note = format!("loss {loss:.3}");
        }
        if file != output {
            // Not moved: until what was made has a record, the run can still be interrupted.
            fs::copy(&file, output).with_context(|| format!("copying to {}", output.display()))?;
        }
        Ok(())
    }

    /// Fits what the start says, until the error there is 0.
    fn fit_start(
        &self,
        start: &Start,
        network: &Network,
        task: &Task,
        state: Option<State>,
        mut states: Option<&mut States>,
        tell: &mut impl FnMut(Told),
    ) -> Result<Reached> {
        let mut random = generator(self.seed, Stream::Start);
        let data = start.data(task.data, &mut random)?;
        let batches = Batches::new(&data, self.batch_size(&data, network).context("start")?, random, None);
        let optimizer = Optimizer::new(self.optimizer, self.decay, &network.weights.trained());
        let rate = start.rate.unwrap_or(self.rate);
        let mut fit = Fit::new(network, task.precision, batches, optimizer, rate, start.epochs);
        if let Some(state) = state {
            fit.go_on(&state)?;
        }
        let mut note = "start".to_owned();
        let steps = fit.steps();
        loop {
            fit.epoch(|step, _| {
                tell(Told::Step(step, steps, &note));
                Ok(())
            })
            .context("start")?;
            let wrong = start::wrong(network, &data);
            if wrong == 0 || fit.is_done() {
                return Ok(Reached { epochs: fit.epochs(), wrong });
            }
            note = format!("start: {wrong} of {} samples wrong", data.train.count());
            if let Some(states) = states.as_mut().filter(|states| states.is_due()) {
                let (step, optimizer) = fit.position();
                let mark = Mark { step, start: None, checkpoints: Vec::new() };
                states.save(&mark, &network.weights, optimizer)?;
            }
        }
    }

    /// Whether the configuration makes sense, for such data.
    fn check(&self, data: &Dataset) -> Result<()> {
        let Configuration { batch, rate, decay, epochs, .. } = *self;
        ensure!(batch >= 1 && epochs >= 1, "batch is {batch} and epochs {epochs}; both must be at least 1");
        for rate in self.start.iter().filter_map(|start| start.rate).chain([rate]) {
            ensure!(rate.is_finite() && rate > 0.0, "rate is {rate}, must be positive");
        }
        ensure!(decay.is_finite() && decay >= 0.0, "decay is {decay}, must not be negative");
        ensure!(
            data.has_images() || !self.augment,
            "augment is true, and these data are no images that could be cropped and mirrored; say `augment: false`"
        );
        Ok(())
    }

    /// Samples a step: no more than there are.
    fn batch_size(&self, data: &Dataset, network: &Network) -> Result<i64> {
        let samples = data.train.count() as u64;
        let batch = self.batch.min(samples);
        let last = (samples - 1) % batch + 1;
        ensure!(
            !network.weights.has_statistics() || last > 1,
            "batch {batch} of {samples} samples leaves a last batch of one sample, which has no batch statistics; \
             take another batch size"
        );
        Ok(batch as i64)
    }
}

#[cfg(test)]
mod tests;
