//! What a network says about all samples of a split.

use tch::{Device, Tensor};

use crate::data::{Dataset, Split};
use crate::layers::{Mode, Precision};
use crate::network::Network;

/// Samples at once, and numbers they have together: on a CPU as many as its caches like, on a GPU enough to keep it busy
/// and to leave room for others. It follows from the samples' size alone, never from how much memory is free, because
/// the bits follow from it.
const CPU_BATCH: Batch = Batch { samples: 50, numbers: 50 * 3 * 32 * 32 };
const GPU_BATCH: Batch = Batch { samples: 4096, numbers: 2048 * 3 * 32 * 32 };

/// What a batch has at most, if it has more than one sample.
struct Batch {
    samples: i64,
    numbers: i64,
}

impl Batch {
    fn on(device: Device) -> Batch {
        if device.is_cuda() { GPU_BATCH } else { CPU_BATCH }
    }

    /// Samples of this shape at once.
    fn size(&self, shape: [i64; 3]) -> i64 {
        (self.numbers / shape.iter().product::<i64>()).clamp(1, self.samples)
    }
}

impl Network {
    /// Logits f32 [N, classes] of a split of `data`, in evaluation mode, without derivatives.
    pub fn logits(&self, data: &Dataset, split: &Split) -> Tensor {
        let count = split.count() as i64;
        let size = Batch::on(split.pixels.device()).size(data.shape());
        let logits = |start: i64| {
            let pixels = split.pixels.narrow(0, start, size.min(count - start));
            self.forward(&data.normalise(&pixels), Mode::Evaluate, Precision::F32)
        };
        let batches: Vec<Tensor> = tch::no_grad(|| (0..count).step_by(size as usize).map(logits).collect());
        Tensor::cat(&batches, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_of_larger_samples_have_fewer_and_at_least_one() {
        let sizes = |shape| [CPU_BATCH.size(shape), GPU_BATCH.size(shape)];
        assert_eq!(sizes([3, 32, 32]), [50, 2048]);
        assert_eq!(sizes([3, 64, 64]), [12, 512]);
        assert_eq!(sizes([3, 224, 224]), [1, 41]);
        assert_eq!(sizes([200, 1, 1]), [50, 4096]);
        assert_eq!(sizes([3, 4096, 4096]), [1, 1]);
    }
}
