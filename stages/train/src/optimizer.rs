//! Adam, SGD, and SGD with Nesterov momentum, as PyTorch defines them, on all weights at once.

use kit::{Layout, TensorFile, Tensors, TensorsError};
use serde::Deserialize;
use tch::{Kind, Tensor};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;
const MOMENTUM: f64 = 0.9;

/// How weights follow from gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Adam (0.9, 0.999, 1e-8).
    Adam,
    /// Gradient descent without momentum.
    Sgd,
    /// Gradient descent with Nesterov momentum 0.9.
    Nesterov,
}

/// An optimizer with what it remembers. Weight decay is coupled: `decay` times the weights joins the gradient.
#[derive(Debug)]
pub struct Optimizer {
    rule: Rule,
    decay: f64,
    steps: i32,
    /// Running mean of the gradient: Adam's first moment; of Nesterov a tenth of the velocity.
    first: Tensor,
    /// Running mean of the squared gradient (Adam).
    second: Tensor,
}

impl Optimizer {
    /// An optimizer of `weights`.
    pub fn new(rule: Rule, decay: f64, weights: &Tensor) -> Optimizer {
        let zeros = |needed| if needed { weights.zeros_like() } else { Tensor::new() };
        let (first, second) = (zeros(rule != Rule::Sgd), zeros(rule == Rule::Adam));
        Optimizer { rule, decay, steps: 0, first, second }
    }

    /// The tensors it remembers, for [`Optimizer::export`].
    pub fn plan(&self, layout: &mut Layout) {
        for (name, tensor) in self.remembered() {
            layout.f32s(name, &[tensor.numel()]);
        }
    }

    /// Writes what it remembers.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn export(&self, file: &TensorFile) -> Result<(), TensorsError> {
        for (name, tensor) in self.remembered() {
            let mut values = vec![0f32; tensor.numel()];
            tensor.copy_data(&mut values, tensor.numel());
            file.f32s(name, 0, &values)?;
        }
        Ok(())
    }

    /// Becomes what it was when it was exported, after so many steps.
    ///
    /// # Errors
    /// When the file lacks something.
    pub fn import(&mut self, steps: u64, file: &Tensors) -> Result<(), TensorsError> {
        self.steps = steps as i32;
        for (name, tensor) in self.remembered() {
            tensor.shallow_clone().copy_(&Tensor::from_slice(file.f32s(name)?.values));
        }
        Ok(())
    }

    fn remembered(&self) -> impl Iterator<Item = (&'static str, &Tensor)> {
        [("first", &self.first), ("second", &self.second)].into_iter().filter(|(_, tensor)| tensor.defined())
    }

    /// Moves `weights`, in place, along `gradient`, which is used up; in few passes through all of them.
    pub fn step(&mut self, weights: &mut Tensor, mut gradient: Tensor, rate: f64) {
        self.steps += 1;
        tch::no_grad(|| {
            if self.decay != 0.0 {
                add_scaled(&mut gradient, weights, self.decay);
            }
            match self.rule {
                Rule::Adam => {
                    let _ = self.first.lerp_(&gradient, 1.0 - BETA1);
                    let _ = self.second.lerp_(&gradient.square_(), 1.0 - BETA2);
                    // weights -= rate m / (sqrt(v) + epsilon) with m = first / c1 and v = second / c2, its factors drawn
                    // into the denominator.
                    let (c1, c2) = (1.0 - BETA1.powi(self.steps), 1.0 - BETA2.powi(self.steps));
                    let factor = -c1 / rate;
                    let mut denominator = self.second.sqrt();
                    let _ = denominator.g_mul_scalar_(factor / c2.sqrt()).g_add_scalar_(factor * EPSILON);
                    let _ = weights.addcdiv_(&self.first, &denominator);
                }
                Rule::Sgd => add_scaled(weights, &gradient, -rate),
                Rule::Nesterov => {
                    // The velocity is its own momentum-fold and the gradient; as a running mean it is one pass.
                    let _ = self.first.lerp_(&gradient, 1.0 - MOMENTUM);
                    add_scaled(weights, &gradient, -rate);
                    add_scaled(weights, &self.first, -rate * MOMENTUM / (1.0 - MOMENTUM));
                }
            }
        });
    }
}

/// Adds `factor` times `other` to `sum`, in place, in one pass.
fn add_scaled(sum: &mut Tensor, other: &Tensor, factor: f64) {
    // Made where it is needed: a copy to the device would wait for it.
    // One beyond f32 is infinite, which a loss tells of.
    let factor = Tensor::full([0i64; 0], f64::from(factor as f32), (Kind::Float, sum.device()));
    let _ = sum.addcmul_(other, &factor);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kit::{Tensors, TensorsError};
    use networks::{Mode, Model, Network, Precision, Stream, WeightsError, generator};
    use tch::{Device, Reduction};

    use super::*;
    use crate::schedule::cosine;

    const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/networks.safetensors");
    const STEPS: u64 = 5;

    #[derive(Debug, thiserror::Error)]
    enum Error {
        #[error(transparent)]
        File(#[from] TensorsError),
        #[error(transparent)]
        Weights(#[from] WeightsError),
    }

    fn assert_close(found: &[f32], expected: &[f32], what: &str) {
        assert_eq!(found.len(), expected.len(), "{what}");
        let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let error = found.iter().zip(expected).fold(0f32, |error, (f, e)| error.max((f - e).abs()));
        assert!(error <= 1e-5 * largest, "{what}: error {error:e} of {largest:e}");
    }

    #[test]
    fn five_steps_of_each_optimizer_end_where_pytorch_ends() {
        let file = Tensors::open(Path::new(GOLDEN)).unwrap();
        let batches =
            Tensor::from_slice(file.f32s("optimizer/batches").unwrap().values).view([5, 16, 3, 4, 4]);
        let labels = Tensor::from_slice(file.i64s("optimizer/labels").unwrap().values).view([5, 16]);
        for (rule, name, rate) in
            [(Rule::Adam, "adam", 0.001), (Rule::Sgd, "sgd", 0.1), (Rule::Nesterov, "sgdn", 0.1)]
        {
            let model = Model::Fc { widths: vec![12] };
            let mut random = generator(0, Stream::Weights);
            let network = Network::new(&model, [3, 4, 4], 10, &mut random, Device::Cpu).unwrap();
            let initial = |tensor: &str| {
                let tensor = file.f32s(&format!("optimizer/initial/{tensor}"))?;
                Ok::<_, Error>((tensor.shape, tensor.values))
            };
            network.weights.import(initial).unwrap();
            let mut weights = network.weights.trained();
            let mut optimizer = Optimizer::new(rule, 1e-3, &weights);
            let mut losses = Vec::new();
            for step in 0..STEPS {
                let logits = network.forward(&batches.get(step as i64), Mode::Train, Precision::F32);
                let labels = labels.get(step as i64);
                let loss = logits.cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0);
                losses.push(loss.double_value(&[]) as f32);
                optimizer.step(&mut weights, network.weights.gradient(&loss), cosine(rate, step, STEPS));
            }
            let expected = file.f32s(&format!("optimizer/{name}/losses")).unwrap();
            assert_close(&losses, expected.values, name);
            for (tensor, _, values) in network.weights.export() {
                let expected = file.f32s(&format!("optimizer/{name}/final/{tensor}")).unwrap();
                assert_close(&values, expected.values, &format!("{name} {tensor}"));
            }
        }
    }
}
