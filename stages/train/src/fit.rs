//! A network on its way to some labels: the loop of steps. It can begin in the middle.

use anyhow::{Context, Result};
use networks::{Mode, Network, Precision};
use tch::{Reduction, Tensor};

use crate::batches::Batches;
use crate::optimizer::Optimizer;
use crate::schedule::cosine;
use crate::state::State;

/// A network that is being fitted.
pub struct Fit<'a> {
    network: &'a Network,
    precision: Precision,
    batches: Batches<'a>,
    optimizer: Optimizer,
    /// Views of the network's, to be moved.
    weights: Tensor,
    /// Of the first step; it falls with half a cosine to 0.
    rate: f64,
    /// Steps done.
    step: u64,
    steps: u64,
}

impl<'a> Fit<'a> {
    /// Fits the network to these batches, for so many epochs.
    pub fn new(
        network: &'a Network,
        precision: Precision,
        batches: Batches<'a>,
        optimizer: Optimizer,
        rate: f64,
        epochs: u64,
    ) -> Fit<'a> {
        let steps = epochs * batches.count();
        let weights = network.weights.trained();
        Fit { network, precision, batches, optimizer, weights, rate, step: 0, steps }
    }

    /// Goes on from a state of the same fit.
    ///
    /// # Errors
    /// When the state is of another network.
    pub fn go_on(&mut self, state: &State) -> Result<()> {
        state.restore(&self.network.weights, &mut self.optimizer)?;
        self.step = state.mark.step;
        for _ in 0..self.epochs() {
            self.batches.epoch();
        }
        Ok(())
    }

    /// Steps in all.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Whole epochs done.
    pub fn epochs(&self) -> u64 {
        self.step / self.batches.count()
    }

    /// Whether all steps are done.
    pub fn is_done(&self) -> bool {
        self.step == self.steps
    }

    /// Steps done, and the optimizer as it is then.
    pub fn position(&self) -> (u64, &Optimizer) {
        (self.step, &self.optimizer)
    }

    /// Goes on to the end of an epoch; `after` hears of each step: how many are done, and the optimizer. Returns the mean
    /// loss.
    ///
    /// # Errors
    /// Those of `after`, and when the loss stops being a number.
    pub fn epoch(&mut self, mut after: impl FnMut(u64, &Optimizer) -> Result<()>) -> Result<f32> {
        let drawn = self.batches.epoch();
        let first = self.step;
        let mut losses = Vec::new();
        for batch in first % self.batches.count()..self.batches.count() {
            let (images, labels) = self.batches.get(&drawn, batch as i64);
            let logits = self.network.forward(&images, Mode::Train, self.precision);
            let loss = logits.cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0);
            let rate = cosine(self.rate, self.step, self.steps);
            self.optimizer.step(&mut self.weights, self.network.weights.gradient(&loss), rate);
            losses.push(loss.detach());
            self.step += 1;
            after(self.step, &self.optimizer)?;
        }
        // Once an epoch, because reading a loss waits for the device.
        let losses = Vec::<f32>::try_from(Tensor::stack(&losses, 0)).context("reading the losses")?;
        check(&losses, first, self.rate)?;
        Ok(losses.iter().sum::<f32>() / losses.len() as f32)
    }
}

/// The losses of steps of which the first is step `first` (from 0).
fn check(losses: &[f32], first: u64, rate: f64) -> Result<()> {
    if let Some(at) = losses.iter().position(|loss| !loss.is_finite()) {
        let step = first + at as u64 + 1;
        anyhow::bail!("step {step}: the loss is {}; with a rate below {rate} it may stay finite", losses[at]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_that_is_not_a_number_is_told_with_its_step() {
        assert_eq!(
            check(&[0.5, f32::NAN], 120, 0.1).unwrap_err().to_string(),
            "step 122: the loss is NaN; with a rate below 0.1 it may stay finite"
        );
    }
}
