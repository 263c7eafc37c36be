//! `fc`: linear, ReLU, batch norm without affine; nothing after the last linear.

use tch::Tensor;

use crate::batch_norm::BatchNorm;
use crate::layers::{Linear, Pass};
use crate::network::Architecture;
use crate::weights::Plan;

pub(crate) struct Fc {
    hidden: Vec<(Linear, BatchNorm)>,
    head: Linear,
}

impl Fc {
    pub fn new(plan: &mut Plan, input: [i64; 3], classes: i64, widths: &[i64]) -> Fc {
        let mut width = input.iter().product();
        let mut hidden = Vec::new();
        for (layer, &next) in widths.iter().enumerate() {
            let linear = Linear::new(plan, &format!("layers.{}", 4 * layer + 1), width, next);
            hidden.push((linear, BatchNorm::plain(plan, &format!("layers.{}", 4 * layer + 3), next)));
            width = next;
        }
        let head = Linear::new(plan, &format!("layers.{}", 4 * widths.len() + 1), width, classes);
        Fc { hidden, head }
    }
}

impl Architecture for Fc {
    fn forward(&self, pass: &Pass, images: &Tensor) -> Tensor {
        let mut x = images.reshape([images.size()[0], -1]);
        for (linear, norm) in &self.hidden {
            x = norm.of_relu(pass, linear.forward(pass, &x));
        }
        self.head.forward(pass, &x)
    }
}
