//! The most multiply-adds a second of a core, for benches that tell a share of it.

use std::hint::black_box;

/// Independent chains of multiply-adds, more than one takes cycles, with no operand but registers: what the widest vectors
/// of this processor reach.
const CHAINS: usize = 12;
const STEPS: usize = 10_000_000;

/// Does multiply-adds on one thread, as fast as it can, and returns how many.
pub fn multiply_adds() -> f64 {
    (STEPS * CHAINS * chains()) as f64
}

/// Runs the chains and returns how many numbers a vector has.
#[cfg(target_arch = "x86_64")]
fn chains() -> usize {
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f")]
    fn wide() {
        let (factor, term) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(0.001)));
        let mut sums = [term; CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, factor, term);
            }
        }
        black_box(sums);
    }
    #[target_feature(enable = "avx2,fma")]
    fn narrow() {
        let (factor, term) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(0.001)));
        let mut sums = [term; CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, factor, term);
            }
        }
        black_box(sums);
    }
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has the instructions.
        unsafe { wide() };
        return 16;
    }
    assert!(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"), "no fused multiply-add");
    // SAFETY: the processor has the instructions.
    unsafe { narrow() };
    8
}

/// Runs the chains and returns how many numbers a vector has.
#[cfg(target_arch = "aarch64")]
fn chains() -> usize {
    use std::arch::aarch64::*;

    // SAFETY: every processor of this architecture has the instructions.
    unsafe {
        let (factor, term) = (vdupq_n_f32(black_box(0.999)), vdupq_n_f32(black_box(0.001)));
        let mut sums = [term; CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = vfmaq_f32(term, *sum, factor);
            }
        }
        black_box(sums);
    }
    4
}
