//! How much is computed at a time, so that it finds room in a given memory.

use geometry::Distances;
use kit::Memory;

/// Rows and columns of a block at least: fewer would take as much time again to read as to compute.
const FEWEST: usize = 64;

/// How much is computed at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Rows and columns of a block at most.
    pub(crate) models: usize,
    /// Samples at most; as many as there are, when all of them find room.
    pub(crate) samples: usize,
}

impl Budget {
    /// Of a tile between `height` and `width` models with so many samples and classes: half of the memory for the pairs,
    /// each of which takes `pair` bytes, a quarter for the predictions, of which the rest is for copies.
    pub(crate) fn new(
        memory: Memory,
        pair: usize,
        [height, width]: [usize; 2],
        (samples, classes): (usize, usize),
    ) -> Budget {
        let memory = usize::try_from(memory.0).unwrap_or(usize::MAX);
        let models = (memory / 2 / pair).isqrt().max(FEWEST);
        let values = (height.min(models) + width.min(models)) * classes;
        let fitting = memory / 4 / (values * size_of::<f32>()).max(1);
        let steps = (fitting / Distances::STEP).max(1) * Distances::STEP;
        Budget { models, samples: steps.min(samples.max(1)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_room_is_done_at_once_and_the_rest_in_steps() {
        let gigabyte = Memory(1_000_000_000);
        assert_eq!(Budget::new(gigabyte, 16, [300, 300], (1000, 10)), Budget { models: 5590, samples: 1000 });
        let large = Budget::new(gigabyte, 16, [8000, 8000], (50_000, 10));
        assert_eq!(large, Budget { models: 5590, samples: 544 });
        assert!(large.models.pow(2) * 16 + 2 * large.models * large.samples * 40 <= 750_000_000);
        // However little there is, it goes on.
        assert_eq!(Budget::new(Memory(1), 16, [300, 300], (1000, 10)), Budget { models: 64, samples: 16 });
        assert_eq!(Budget::new(Memory(u64::MAX), 16, [0, 0], (0, 0)).samples, 1);
    }
}
