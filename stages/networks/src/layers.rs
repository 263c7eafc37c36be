//! The layers that architectures are made of, as PyTorch defines and initialises them.

use serde::Deserialize;
use tch::{Kind, Tensor};

use crate::weights::{Init, Plan, Slot, Weights};
use crate::winograd;

/// Of norms, beside the variance.
pub(crate) const EPSILON: f64 = 1e-5;

/// What batch normalisation uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The statistics of the batch, and updates the running ones.
    Train,
    /// The running statistics.
    Evaluate,
}

/// The numbers a network computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats throughout (`device` keeps cuDNN from rounding factors to TF32).
    F32,
    /// bfloat16 in convolutions, linear layers and attention; 32-bit weights, statistics, norms and losses. A parameter,
    /// never a consequence of the device: so it is not libtorch's autocast, which is f16 and does nothing on a CPU.
    Mixed,
}

/// One forward pass.
pub(crate) struct Pass<'a> {
    pub weights: &'a Weights,
    pub mode: Mode,
    pub precision: Precision,
}

impl Pass<'_> {
    pub fn get(&self, slot: Option<Slot>) -> Option<&Tensor> {
        slot.map(|slot| self.weights.get(slot))
    }

    /// As the matrix units take it.
    pub fn lower(&self, tensor: &Tensor) -> Tensor {
        match self.precision {
            Precision::F32 => tensor.shallow_clone(),
            Precision::Mixed => tensor.to_kind(Kind::BFloat16),
        }
    }
}

/// A dense layer: x [.., in] -> x W' + b [.., out].
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Slot,
    bias: Option<Slot>,
}

impl Linear {
    pub fn new(plan: &mut Plan, name: &str, inputs: i64, outputs: i64) -> Linear {
        let mut layer = Linear::without_bias(plan, name, inputs, outputs);
        layer.bias = Some(plan.trained(format!("{name}.bias"), &[outputs], uniform(inputs)));
        layer
    }

    pub fn without_bias(plan: &mut Plan, name: &str, inputs: i64, outputs: i64) -> Linear {
        let weight = plan.trained(format!("{name}.weight"), &[outputs, inputs], uniform(inputs));
        Linear { weight, bias: None }
    }

    pub fn forward(&self, pass: &Pass, x: &Tensor) -> Tensor {
        let weight = pass.lower(pass.weights.get(self.weight));
        pass.lower(x).linear(&weight, pass.get(self.bias).map(|bias| pass.lower(bias)))
    }
}

/// The shape of a convolution: square, padded as told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub size: i64,
    pub stride: i64,
    pub padding: i64,
}

/// A convolution: x [N, in, H, W] -> [N, out, H', W'].
#[derive(Debug)]
pub(crate) struct Conv {
    weight: Slot,
    bias: Option<Slot>,
    window: Window,
    groups: i64,
}

impl Conv {
    pub fn new(plan: &mut Plan, name: &str, inputs: i64, outputs: i64, window: Window) -> Conv {
        let mut layer = Conv::without_bias(plan, name, inputs, outputs, window);
        layer.bias =
            Some(plan.trained(format!("{name}.bias"), &[outputs], uniform(inputs * window.size.pow(2))));
        layer
    }

    pub fn without_bias(plan: &mut Plan, name: &str, inputs: i64, outputs: i64, window: Window) -> Conv {
        let shape = [outputs, inputs, window.size, window.size];
        let weight = plan.trained(format!("{name}.weight"), &shape, uniform(inputs * window.size.pow(2)));
        Conv { weight, bias: None, window, groups: 1 }
    }

    /// Without bias, and with the start of He et al. 2015 for layers that lead to ReLUs, which keeps the size of gradients:
    /// normal with variance 2 / (outputs size²).
    pub fn he(plan: &mut Plan, name: &str, inputs: i64, outputs: i64, window: Window) -> Conv {
        let shape = [outputs, inputs, window.size, window.size];
        let deviation = (2.0 / (outputs * window.size.pow(2)) as f64).sqrt() as f32;
        let weight = plan.trained(format!("{name}.weight"), &shape, Init::Normal(deviation));
        Conv { weight, bias: None, window, groups: 1 }
    }

    /// Each channel by itself.
    pub fn depthwise(plan: &mut Plan, name: &str, channels: i64, window: Window) -> Conv {
        Conv { groups: channels, ..Conv::new(plan, name, 1, channels, window) }
    }

    pub fn forward(&self, pass: &Pass, x: &Tensor) -> Tensor {
        let Window { size, mut stride, padding } = self.window;
        let weight = pass.lower(pass.weights.get(self.weight));
        let bias = pass.get(self.bias).map(|bias| pass.lower(bias));
        let mut x = pass.lower(x);
        if [size, stride, padding, self.groups] == [3, 1, 1, 1] && winograd::is_ours(&x, &weight) {
            return winograd::conv(&x, &weight, bias.as_ref());
        }
        // The pixels that it looks at, alone: on processors without AVX-512, libtorch 2.13's gradient of the other way to say
        // it writes beyond its memory when channels are no multiple of 8.
        if size == 1 && padding == 0 && stride > 1 {
            x = x.slice(2, None, None, stride).slice(3, None, None, stride);
            stride = 1;
        }
        let conv = |bias: Option<Tensor>| {
            x.conv2d(&weight, bias, [stride, stride], [padding, padding], [1, 1], self.groups)
        };
        match bias {
            // oneDNN's gradient of a depthwise bias takes as long as all else of that layer; an addition's does not.
            Some(bias) if self.groups > 1 => conv(None).g_add_(&bias.view([1, -1, 1, 1])),
            bias => conv(bias),
        }
    }
}

/// Layer normalisation over the last axis.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Slot,
    bias: Slot,
    width: i64,
}

impl LayerNorm {
    pub fn new(plan: &mut Plan, name: &str, width: i64) -> LayerNorm {
        let weight = plan.trained(format!("{name}.weight"), &[width], Init::Constant(1.0));
        let bias = plan.trained(format!("{name}.bias"), &[width], Init::Constant(0.0));
        LayerNorm { weight, bias, width }
    }

    pub fn forward(&self, pass: &Pass, x: &Tensor) -> Tensor {
        let (weight, bias) = (pass.weights.get(self.weight), pass.weights.get(self.bias));
        x.to_kind(Kind::Float).layer_norm([self.width], Some(weight), Some(bias), EPSILON, true)
    }
}

/// Mean over height and width: [N, C, H, W] -> [N, C].
pub(crate) fn average_pool(x: &Tensor) -> Tensor {
    let [batch, channels, height, width] = x.size()[..] else {
        unreachable!("a convolution's result has four axes");
    };
    // Not a mean: its gradient does not keep the channels last, and what comes before would run on copies.
    x.avg_pool2d([height, width], [1, 1], [0, 0], false, true, None).view([batch, channels])
}

/// PyTorch's start of linear and convolution layers, weights and biases: uniform in plus or minus 1/sqrt(inputs).
fn uniform(inputs: i64) -> Init {
    Init::Uniform(1.0 / (inputs as f64).sqrt())
}
