//! `convmixer`: 2x2 patches, then depthwise 5x5 (with a residual) and 1x1 convolutions; GELU and batch norm after each.

use tch::Tensor;

use crate::batch_norm::BatchNorm;
use crate::layers::{Conv, Linear, Pass, Window, average_pool};
use crate::network::Architecture;
use crate::weights::Plan;

/// Side of a patch.
pub(crate) const PATCH: i64 = 2;

/// A convolution, exact GELU, affine batch norm.
struct Step {
    conv: Conv,
    norm: BatchNorm,
}

impl Step {
    fn forward(&self, pass: &Pass, x: &Tensor) -> Tensor {
        self.norm.forward(pass, &self.conv.forward(pass, x).gelu("none"))
    }
}

pub(crate) struct ConvMixer {
    patches: Step,
    /// Over space, then over channels.
    blocks: Vec<(Step, Step)>,
    head: Linear,
}

impl ConvMixer {
    pub fn new(plan: &mut Plan, channels: i64, classes: i64, dim: i64, depth: i64) -> ConvMixer {
        let window = Window { size: PATCH, stride: PATCH, padding: 0 };
        let conv = Conv::new(plan, "m.0", channels, dim, window);
        let patches = Step { conv, norm: BatchNorm::affine(plan, "m.2", dim) };
        let mut block = |index| {
            let at = 3 + 4 * index;
            let window = Window { size: 5, stride: 1, padding: 2 };
            let conv = Conv::depthwise(plan, &format!("m.{at}.fn.0"), dim, window);
            let space = Step { conv, norm: BatchNorm::affine(plan, &format!("m.{at}.fn.2"), dim) };
            let window = Window { size: 1, stride: 1, padding: 0 };
            let conv = Conv::new(plan, &format!("m.{}", at + 1), dim, dim, window);
            (space, Step { conv, norm: BatchNorm::affine(plan, &format!("m.{}", at + 3), dim) })
        };
        let blocks = (0..depth).map(&mut block).collect();
        let head = Linear::new(plan, &format!("m.{}", 5 + 4 * depth), dim, classes);
        ConvMixer { patches, blocks, head }
    }
}

impl Architecture for ConvMixer {
    fn forward(&self, pass: &Pass, images: &Tensor) -> Tensor {
        let mut x = self.patches.forward(pass, images);
        for (space, channels) in &self.blocks {
            x = channels.forward(pass, &(&x + space.forward(pass, &x)));
        }
        self.head.forward(pass, &average_pool(&x))
    }
}
