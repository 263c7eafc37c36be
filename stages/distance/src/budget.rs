//! How much is computed at a time, so that it finds room in a given memory.

use geometry::Distances;
use kit::Memory;

/// Rows and columns of a block at least: fewer would take as much time again to read as to compute.
const FEWEST: usize = 64;

/// Bytes of predictions at a time, if these are samples enough: what was read is still in the last cache when it is used.
const READ: usize = 16 << 20;

/// How much is computed at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Rows and columns of a block at most.
    pub(crate) models: usize,
    /// Samples at most.
    pub(crate) samples: usize,
}

impl Budget {
    /// Of a tile between `height` and `width` models with so many samples and classes: half of the memory for the pairs,
    /// each of which takes `pair` bytes, a fifth for the predictions, of which the kernel makes up to half as much again.
    pub(crate) fn new(
        memory: Memory,
        pair: usize,
        [height, width]: [usize; 2],
        (samples, classes): (usize, usize),
    ) -> Budget {
        let memory = usize::try_from(memory.0).unwrap_or(usize::MAX);
        let step = Distances::step(classes);
        let fewest_values = 2 * step * classes * size_of::<f32>();
        let models = (memory / 2 / pair).isqrt().min(memory / 5 / fewest_values.max(1)).max(FEWEST);
        let values = (height.min(models) + width.min(models)) * classes;
        let sample = (values * size_of::<f32>()).max(1);
        let wanted = READ.max(Distances::worth_adding(classes) * sample);
        let fitting = wanted.min(memory / 5) / sample;
        let steps = (fitting / step).max(1) * step;
        Budget { models, samples: steps.min(samples.max(1)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_bounds_models_and_the_last_cache_samples() {
        let gigabyte = Memory(1_000_000_000);
        assert_eq!(Budget::new(gigabyte, 16, [300, 300], (1000, 10)), Budget { models: 5590, samples: 688 });
        assert_eq!(Budget::new(gigabyte, 16, [9, 9], (1000, 10)).samples, 1000);
        let large = Budget::new(gigabyte, 16, [8000, 8000], (50_000, 10));
        assert_eq!(large, Budget { models: 5590, samples: 64 });
        assert!(large.models.pow(2) * 16 + 2 * large.models * large.samples * 40 <= 750_000_000);
        // Of many classes few samples find room, then few models.
        let wide = Budget::new(gigabyte, 16, [8000, 8000], (50_000, 1000));
        assert_eq!(wide, Budget { models: 5590, samples: 2 });
        let little = Budget::new(Memory(10_000_000), 16, [8000, 8000], (50_000, 1000));
        assert_eq!(little, Budget { models: 125, samples: 2 });
        // However little there is, it goes on.
        assert_eq!(Budget::new(Memory(1), 16, [300, 300], (1000, 10)), Budget { models: 64, samples: 16 });
        assert_eq!(Budget::new(Memory(u64::MAX), 16, [0, 0], (0, 0)).samples, 1);
    }
}
