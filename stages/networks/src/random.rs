//! Random numbers that follow from a network's seed alone, not from device, threads, or libtorch's generators.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// The generator everything random is drawn from; its sequence is the same on every platform.
pub type Random = ChaCha8Rng;

/// What random numbers are for. Each use has a sequence of its own, so that (say) augmentation leaves the initial
/// weights and the order of the samples as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Initial weights.
    Weights = 0,
    /// Order of the samples.
    Order = 1,
    /// Crops and flips.
    Augmentation = 2,
    /// Samples, labels and their order where training starts from something else than initial weights.
    Start = 3,
}

/// The generator of one use of a seed.
pub fn generator(seed: u64, stream: Stream) -> Random {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream as u64);
    random
}

#[cfg(test)]
mod tests {
    use rand::RngCore;

    use super::*;

    #[test]
    fn a_seed_and_its_use_fix_the_sequence() {
        let draw = |seed, stream| generator(seed, stream).next_u64();
        assert_eq!(draw(42, Stream::Order), draw(42, Stream::Order));
        assert_ne!(draw(42, Stream::Order), draw(42, Stream::Weights));
        assert_ne!(draw(42, Stream::Order), draw(43, Stream::Order));
    }
}
