//! `allcnn`: 3x3 convolutions, every second with stride 2, then 1x1 to the classes; ReLU and batch norm after each.

use tch::Tensor;

use crate::batch_norm::BatchNorm;
use crate::layers::{Conv, Pass, Window, average_pool};
use crate::network::Architecture;
use crate::weights::Plan;

pub(crate) struct AllCnn {
    blocks: Vec<(Conv, BatchNorm)>,
}

impl AllCnn {
    pub fn new(plan: &mut Plan, channels: i64, classes: i64, planes: [i64; 2]) -> AllCnn {
        let [first, second] = planes;
        // Between these the original has dropout layers of rate 0, which take a number and nothing else.
        let blocks = [
            ("m.0", channels, first, 3, 1),
            ("m.2", first, first, 3, 2),
            ("m.3", first, second, 3, 1),
            ("m.5", second, second, 3, 2),
            ("m.6", second, classes, 1, 1),
        ];
        let mut block = |(name, inputs, outputs, size, stride)| {
            let window = Window { size, stride, padding: size / 2 };
            let conv = Conv::new(plan, &format!("{name}.0"), inputs, outputs, window);
            (conv, BatchNorm::affine(plan, &format!("{name}.2"), outputs))
        };
        AllCnn { blocks: blocks.map(&mut block).into() }
    }
}

impl Architecture for AllCnn {
    fn forward(&self, pass: &Pass, images: &Tensor) -> Tensor {
        let mut x = images.shallow_clone();
        for (conv, norm) in &self.blocks {
            x = norm.of_relu(pass, conv.forward(pass, &x));
        }
        average_pool(&x)
    }
}
