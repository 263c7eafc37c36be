//! One training run.

use anyhow::{Context, Result, ensure};
use kit::TensorsWriter;
use networks::{Dataset, Mode, Model, Network, Precision, Stream, generator};
use serde::Deserialize;
use tch::{Device, Reduction, Tensor};

use crate::batches::Batches;
use crate::optimizer::{Optimizer, Rule};
use crate::schedule;

/// A configuration of the sweep: the `network` parameter.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The name in figures; nothing here depends on it.
    #[serde(rename = "arch")]
    _arch: String,
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
}

/// What a run leaves.
pub struct Trained {
    /// Its checkpoints, as the `checkpoints` artifact holds them.
    pub checkpoints: TensorsWriter,
    /// How many numbers were trained.
    pub parameters: usize,
}

impl Run {
    /// Trains the network; `progress` hears of each step: steps done, steps in all, and the last epoch's mean loss.
    ///
    /// # Errors
    /// When the configuration makes no sense for these data, or the loss stops being a number.
    pub fn train(
        &self,
        data: &Dataset,
        precision: Precision,
        device: Device,
        mut progress: impl FnMut(u64, u64, &str),
    ) -> Result<Trained> {
        let mut random = generator(self.seed, Stream::Weights);
        let network = Network::new(&self.model, data.shape(), data.classes, &mut random, device)?;
        let samples = data.train.count() as u64;
        self.check(samples, network.weights.has_statistics())?;
        let batch_size = self.batch.min(samples);
        let steps_per_epoch = samples.div_ceil(batch_size);
        let steps = self.epochs * steps_per_epoch;
        let kept = schedule::checkpoints(self.epochs, steps_per_epoch);
        let mut batches = Batches::new(data, batch_size as i64, self.augment, self.seed);
        let mut weights = network.weights.trained();
        let mut optimizer = Optimizer::new(self.optimizer, self.decay, &weights);
        let mut checkpoints = TensorsWriter::new();
        let mut keep = |step| {
            if let Ok(at) = kept.binary_search(&step) {
                for (name, shape, values) in network.weights.export() {
                    checkpoints.f32s(&format!("{at:04}/{name}"), &shape, &values);
                }
            }
        };
        keep(0);
        let mut note = String::new();
        for epoch in 0..self.epochs {
            let drawn = batches.epoch();
            let mut losses = Vec::new();
            for batch in 0..steps_per_epoch {
                let step = epoch * steps_per_epoch + batch;
                let (images, labels) = batches.get(&drawn, batch as i64);
                let logits = network.forward(&images, Mode::Train, precision);
                let loss = logits.cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0);
                let rate = schedule::cosine(self.rate, step, steps);
                optimizer.step(&mut weights, network.weights.gradient(&loss), rate);
                losses.push(loss.detach());
                keep(step + 1);
                progress(step + 1, steps, &note);
            }
            // Once an epoch, because reading a loss waits for the device.
            let losses = Vec::<f32>::try_from(Tensor::stack(&losses, 0)).context("reading the losses")?;
            check_losses(&losses, epoch * steps_per_epoch, self.rate)?;
            note = format!("loss {:.3}", losses.iter().sum::<f32>() / losses.len() as f32);
        }
        let kept_signed: Vec<i64> = kept.iter().map(|&step| step as i64).collect();
        let epochs: Vec<f64> = kept.iter().map(|&step| step as f64 / steps_per_epoch as f64).collect();
        checkpoints.i64s("step", &[kept.len()], &kept_signed).f64s("epoch", &[kept.len()], &epochs);
        Ok(Trained { checkpoints, parameters: network.weights.trained_count() })
    }

    /// Whether the configuration makes sense for so many samples.
    fn check(&self, samples: u64, has_statistics: bool) -> Result<()> {
        let Run { batch, rate, decay, epochs, .. } = *self;
        ensure!(batch >= 1 && epochs >= 1, "batch is {batch} and epochs {epochs}; both must be at least 1");
        ensure!(rate.is_finite() && rate > 0.0, "rate is {rate}, must be positive");
        ensure!(decay.is_finite() && decay >= 0.0, "decay is {decay}, must not be negative");
        let last = (samples - 1) % batch + 1;
        ensure!(
            !has_statistics || last > 1,
            "batch {batch} of {samples} samples leaves a last batch of one sample, which has no batch statistics; \
             take another batch size"
        );
        Ok(())
    }
}

/// The losses of an epoch whose first step is step `first` (from 0).
fn check_losses(losses: &[f32], first: u64, rate: f64) -> Result<()> {
    if let Some(at) = losses.iter().position(|loss| !loss.is_finite()) {
        let step = first + at as u64 + 1;
        anyhow::bail!("step {step}: the loss is {}; with a rate below {rate} it may stay finite", losses[at]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::tests::{read_back, striped};

    fn run(changes: serde_json::Value) -> Run {
        let mut network = json!({
            "arch": "small", "model": {"kind": "convmixer", "dim": 8, "depth": 1}, "optimizer": "adam", "batch": 4,
            "rate": 0.01, "decay": 0.0, "augment": true, "epochs": 6, "seed": 42
        });
        network.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value(network).unwrap()
    }

    fn train(changes: serde_json::Value) -> Result<Trained> {
        run(changes).train(&striped(14), Precision::F32, Device::Cpu, |_, _, _| ())
    }

    fn failure(changes: serde_json::Value) -> String {
        train(changes).err().expect("fails").to_string()
    }

    #[test]
    fn every_checkpoint_holds_every_tensor_and_the_last_ones_differ_from_the_first() {
        let trained = train(json!({})).unwrap();
        let file = read_back(&trained.checkpoints);
        let step = file.i64s("step").unwrap();
        assert_eq!(step.values[..3], [0, 1, 2]);
        assert_eq!(*step.values.last().unwrap(), 6 * 4);
        assert_eq!(*file.f64s("epoch").unwrap().values.last().unwrap(), 6.0);
        let mut counts = BTreeMap::<String, usize>::new();
        for name in file.names().iter().filter_map(|name| name.split_once('/')) {
            *counts.entry(name.0.to_owned()).or_default() += 1;
        }
        assert_eq!(counts.len(), step.values.len());
        assert!(counts.values().all(|&count| count == counts["0000"]), "{counts:?}");
        let last = format!("{:04}/m.9.weight", step.values.len() - 1);
        assert_ne!(file.f32s(&last).unwrap().values, file.f32s("0000/m.9.weight").unwrap().values);
    }

    #[test]
    fn the_same_seed_gives_the_same_bits_and_another_seed_others() {
        let bits = |changes| {
            let trained = train(changes).unwrap();
            let path = std::env::temp_dir().join(format!("train-{}-{:p}", std::process::id(), &trained));
            trained.checkpoints.write(&path, &json!({})).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            std::fs::remove_file(path).unwrap();
            bytes
        };
        for optimizer in ["adam", "sgd", "nesterov"] {
            let one = bits(json!({"optimizer": optimizer}));
            assert!(one == bits(json!({"optimizer": optimizer})), "{optimizer}");
            assert!(one != bits(json!({"optimizer": optimizer, "seed": 43})), "{optimizer}");
        }
    }

    #[test]
    fn the_loss_falls() {
        let mut notes = Vec::new();
        let changes = json!({"augment": false, "epochs": 30});
        run(changes)
            .train(&striped(14), Precision::F32, Device::Cpu, |_, _, note| notes.push(note.to_owned()))
            .unwrap();
        let loss = |note: &str| note.strip_prefix("loss ").unwrap().parse::<f64>().unwrap();
        let (first, last) = (loss(&notes[4]), loss(notes.last().unwrap()));
        assert!(last < 0.5 * first, "{first} to {last}");
    }

    #[test]
    fn a_loss_that_is_not_a_number_is_told_with_its_step() {
        let message =
            failure(json!({"optimizer": "sgd", "rate": 1e60, "model": {"kind": "fc", "widths": []}}));
        assert!(message.starts_with("step ") && message.contains(": the loss is "), "{message}");
        assert_eq!(
            check_losses(&[0.5, f32::NAN], 120, 0.1).unwrap_err().to_string(),
            "step 122: the loss is NaN; with a rate below 0.1 it may stay finite"
        );
    }

    #[test]
    fn a_batch_that_leaves_one_sample_is_refused_where_statistics_are_needed() {
        let message = failure(json!({"batch": 13}));
        assert!(message.starts_with("batch 13 of 14 samples leaves a last batch of one sample"), "{message}");
        assert!(failure(json!({"batch": 0})).starts_with("batch is 0"));
    }
}
