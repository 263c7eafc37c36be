//! `resnet`: residual networks as torchvision defines them, with the stride on a bottleneck's 3x3 convolution.
//!
//! He, Zhang, Ren, Sun 2016; the place of the stride is torchvision's ("v1.5").

use tch::Tensor;

use crate::batch_norm::BatchNorm;
use crate::layers::{Conv, Linear, Pass, Window, average_pool};
use crate::network::Architecture;
use crate::weights::Plan;

/// What the blocks of a network are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3 and 1x1 to four times the channels.
    Bottleneck,
}

/// A network's kind of blocks, and how many of them there are in each of its four groups.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    kind: Kind,
    blocks: [usize; 4],
}

/// The depths that there are.
pub(crate) const DEPTHS: &str = "18, 34, 50, 101 or 152";

impl Shape {
    /// The shape of the network with so many layers that have weights.
    pub fn of_depth(depth: i64) -> Option<Shape> {
        let (kind, blocks) = match depth {
            18 => (Kind::Basic, [2, 2, 2, 2]),
            34 => (Kind::Basic, [3, 4, 6, 3]),
            50 => (Kind::Bottleneck, [3, 4, 6, 3]),
            101 => (Kind::Bottleneck, [3, 4, 23, 3]),
            152 => (Kind::Bottleneck, [3, 8, 36, 3]),
            _ => return None,
        };
        Some(Shape { kind, blocks })
    }
}

/// A convolution and its batch norm.
struct Step {
    conv: Conv,
    norm: BatchNorm,
}

impl Step {
    /// `names` of the convolution and the norm; `size` of the window, which is padded to keep the image's.
    fn new(plan: &mut Plan, names: [&str; 2], [inputs, outputs]: [i64; 2], [size, stride]: [i64; 2]) -> Step {
        let conv = Conv::he(plan, names[0], inputs, outputs, Window { size, stride, padding: size / 2 });
        Step { conv, norm: BatchNorm::affine(plan, names[1], outputs) }
    }

    fn forward(&self, pass: &Pass, x: &Tensor) -> Tensor {
        self.norm.forward(pass, &self.conv.forward(pass, x))
    }

    fn then_relu(&self, pass: &Pass, x: &Tensor) -> Tensor {
        self.norm.then_relu(pass, &self.conv.forward(pass, x))
    }
}

struct Block {
    steps: Vec<Step>,
    /// Where stride or width changes.
    shortcut: Option<Step>,
}

impl Block {
    fn new(plan: &mut Plan, at: &str, kind: Kind, inputs: i64, planes: i64, stride: i64) -> Block {
        let outputs = kind.outputs(planes);
        let steps = match kind {
            Kind::Basic => vec![([inputs, planes], [3, stride]), ([planes, planes], [3, 1])],
            Kind::Bottleneck => {
                vec![([inputs, planes], [1, 1]), ([planes, planes], [3, stride]), ([planes, outputs], [1, 1])]
            }
        };
        let mut step = |(index, (channels, window)): (usize, ([i64; 2], [i64; 2]))| {
            let names = [format!("{at}.conv{}", index + 1), format!("{at}.bn{}", index + 1)];
            Step::new(plan, [&names[0], &names[1]], channels, window)
        };
        let steps = steps.into_iter().enumerate().map(&mut step).collect();
        let shortcut = (stride != 1 || inputs != outputs).then(|| {
            let names = [format!("{at}.downsample.0"), format!("{at}.downsample.1")];
            Step::new(plan, [&names[0], &names[1]], [inputs, outputs], [1, stride])
        });
        Block { steps, shortcut }
    }

    fn forward(&self, pass: &Pass, x: &Tensor) -> Tensor {
        let (last, steps) = self.steps.split_last().expect("a block has two steps at least");
        let inner = steps.iter().fold(x.shallow_clone(), |x, step| step.then_relu(pass, &x));
        let inner = last.forward(pass, &inner);
        match &self.shortcut {
            Some(shortcut) => (inner + shortcut.forward(pass, x)).relu_(),
            None => (inner + x).relu_(),
        }
    }
}

impl Kind {
    /// Channels that come out of a block.
    fn outputs(self, planes: i64) -> i64 {
        match self {
            Kind::Basic => planes,
            Kind::Bottleneck => 4 * planes,
        }
    }
}

pub(crate) struct ResNet {
    stem: Step,
    blocks: Vec<Block>,
    head: Linear,
}

impl ResNet {
    /// `planes` are the channels of the stem; 64 in the published networks.
    pub fn new(plan: &mut Plan, channels: i64, classes: i64, shape: Shape, planes: i64) -> ResNet {
        let stem = Step::new(plan, ["conv1", "bn1"], [channels, planes], [7, 2]);
        let mut width = planes;
        let mut blocks = Vec::new();
        for (group, count) in shape.blocks.into_iter().enumerate() {
            let planes = planes << group;
            for index in 0..count {
                let stride = if index == 0 && group > 0 { 2 } else { 1 };
                let at = format!("layer{}.{index}", group + 1);
                blocks.push(Block::new(plan, &at, shape.kind, width, planes, stride));
                width = shape.kind.outputs(planes);
            }
        }
        let head = Linear::new(plan, "fc", width, classes);
        ResNet { stem, blocks, head }
    }
}

impl Architecture for ResNet {
    fn forward(&self, pass: &Pass, images: &Tensor) -> Tensor {
        let stem = self.stem.then_relu(pass, images);
        let mut x = stem.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false);
        for block in &self.blocks {
            x = block.forward(pass, &x);
        }
        self.head.forward(pass, &average_pool(&x))
    }
}
