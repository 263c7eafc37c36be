//! `wr`: wide residual networks, with batch norm and ReLU before each convolution.

use tch::Tensor;

use crate::batch_norm::BatchNorm;
use crate::layers::{Conv, Linear, Pass, Window, average_pool};
use crate::network::Architecture;
use crate::weights::Plan;

struct Block {
    norm1: BatchNorm,
    conv1: Conv,
    norm2: BatchNorm,
    /// Carries the block's stride.
    conv2: Conv,
    /// Where stride or width changes.
    shortcut: Option<Conv>,
}

impl Block {
    fn new(plan: &mut Plan, name: &str, inputs: i64, outputs: i64, stride: i64) -> Block {
        let window = |size, stride| Window { size, stride, padding: size / 2 };
        let norm1 = BatchNorm::plain(plan, &format!("{name}.bn1"), inputs);
        let conv1 = Conv::without_bias(plan, &format!("{name}.conv1"), inputs, outputs, window(3, 1));
        let norm2 = BatchNorm::plain(plan, &format!("{name}.bn2"), outputs);
        let conv2 = Conv::without_bias(plan, &format!("{name}.conv2"), outputs, outputs, window(3, stride));
        let shortcut = (stride != 1 || inputs != outputs)
            .then(|| Conv::new(plan, &format!("{name}.shortcut.0"), inputs, outputs, window(1, stride)));
        Block { norm1, conv1, norm2, conv2, shortcut }
    }

    fn forward(&self, pass: &Pass, x: &Tensor) -> Tensor {
        let inner = self.conv1.forward(pass, &self.norm1.then_relu(pass, x));
        let inner = self.conv2.forward(pass, &self.norm2.then_relu(pass, &inner));
        match &self.shortcut {
            Some(shortcut) => inner + shortcut.forward(pass, x),
            None => inner + x,
        }
    }
}

pub(crate) struct WideResidual {
    conv: Conv,
    blocks: Vec<Block>,
    norm: BatchNorm,
    head: Linear,
}

impl WideResidual {
    /// `depth` is 6 b + 4 for b blocks in each of the three groups.
    pub fn new(
        plan: &mut Plan,
        channels: i64,
        classes: i64,
        depth: i64,
        widen: i64,
        planes: i64,
    ) -> WideResidual {
        let conv =
            Conv::without_bias(plan, "conv1", channels, planes, Window { size: 3, stride: 1, padding: 1 });
        let mut width = planes;
        let mut blocks = Vec::new();
        for (group, first_stride) in [1, 2, 2].into_iter().enumerate() {
            let next = (planes * widen) << group;
            for index in 0..(depth - 4) / 6 {
                let stride = if index == 0 { first_stride } else { 1 };
                let name = format!("layer{}.{index}", group + 1);
                blocks.push(Block::new(plan, &name, width, next, stride));
                width = next;
            }
        }
        let norm = BatchNorm::plain(plan, "bn1", width);
        let head = Linear::new(plan, "linear", width, classes);
        WideResidual { conv, blocks, norm, head }
    }
}

impl Architecture for WideResidual {
    fn forward(&self, pass: &Pass, images: &Tensor) -> Tensor {
        let mut x = self.conv.forward(pass, images);
        for block in &self.blocks {
            x = block.forward(pass, &x);
        }
        self.head.forward(pass, &average_pool(&self.norm.then_relu(pass, &x)))
    }
}
