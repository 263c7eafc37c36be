//! Dice: numbers that look random, and are the same for the same seed.

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Dice(u64);

impl Dice {
    /// `RIBBON_CHAOS_SEED`, or a seed that is always the same; it is printed, for tests that fail.
    pub fn new() -> Dice {
        let seed = std::env::var("RIBBON_CHAOS_SEED").map_or(1, |seed| seed.parse().unwrap());
        println!("RIBBON_CHAOS_SEED={seed}");
        Dice(seed)
    }

    /// Any number below a limit.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}
