//! Vectors of f32 numbers, a lane a channel. Products and sums are fused only where code says so (`mul_add`): so both kinds
//! have the same bits.

/// A kind of processor, and its vectors of `L` numbers.
pub(super) trait Lanes<const L: usize>: Copy {
    type Vector: Copy;

    fn load(self, numbers: &[f32; L]) -> Self::Vector;
    fn store(self, vector: Self::Vector, numbers: &mut [f32; L]);
    fn splat(self, number: f32) -> Self::Vector;
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn subtract(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn multiply(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// ab + c, rounded once.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
}

/// Whether this processor has vectors of 16 numbers.
pub(super) fn are_wide() -> bool {
    #[cfg(target_arch = "x86_64")]
    return Avx512::detect().is_some();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Any processor: by the definitions. For tests to compare with.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Portable {
    #[inline(always)]
    fn each<const L: usize>(number: impl Fn(usize) -> f32) -> [f32; L] {
        std::array::from_fn(number)
    }
}

impl<const L: usize> Lanes<L> for Portable {
    type Vector = [f32; L];

    fn load(self, numbers: &[f32; L]) -> [f32; L] {
        *numbers
    }

    fn store(self, vector: [f32; L], numbers: &mut [f32; L]) {
        *numbers = vector;
    }

    fn splat(self, number: f32) -> [f32; L] {
        [number; L]
    }

    fn add(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
        Portable::each(|lane| a[lane] + b[lane])
    }

    fn subtract(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
        Portable::each(|lane| a[lane] - b[lane])
    }

    fn multiply(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
        Portable::each(|lane| a[lane] * b[lane])
    }

    fn mul_add(self, a: [f32; L], b: [f32; L], c: [f32; L]) -> [f32; L] {
        Portable::each(|lane| a[lane].mul_add(b[lane], c[lane]))
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::Avx512;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Lanes;

    /// A processor that has AVX-512: there is a value only where that is so.
    #[derive(Clone, Copy)]
    pub struct Avx512(());

    impl Avx512 {
        pub fn detect() -> Option<Avx512> {
            (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl"))
                .then_some(Avx512(()))
        }
    }

    /// The instructions are functions that the compiler inlines only into code for such processors: so all that leads to them
    /// from there must be inlined too.
    macro_rules! lanes {
        ($lanes:literal, $vector:ty, $load:ident, $store:ident, $splat:ident, $add:ident, $subtract:ident,
         $multiply:ident, $mul_add:ident) => {
            impl Lanes<$lanes> for Avx512 {
                type Vector = $vector;

                #[inline(always)]
                fn load(self, numbers: &[f32; $lanes]) -> $vector {
                    // SAFETY: the processor has it, and there are so many numbers.
                    unsafe { $load(numbers.as_ptr()) }
                }

                #[inline(always)]
                fn store(self, vector: $vector, numbers: &mut [f32; $lanes]) {
                    // SAFETY: the processor has it, and there are so many numbers.
                    unsafe { $store(numbers.as_mut_ptr(), vector) }
                }

                #[inline(always)]
                fn splat(self, number: f32) -> $vector {
                    // SAFETY: the processor has it.
                    unsafe { $splat(number) }
                }

                #[inline(always)]
                fn add(self, a: $vector, b: $vector) -> $vector {
                    // SAFETY: the processor has it.
                    unsafe { $add(a, b) }
                }

                #[inline(always)]
                fn subtract(self, a: $vector, b: $vector) -> $vector {
                    // SAFETY: the processor has it.
                    unsafe { $subtract(a, b) }
                }

                #[inline(always)]
                fn multiply(self, a: $vector, b: $vector) -> $vector {
                    // SAFETY: the processor has it.
                    unsafe { $multiply(a, b) }
                }

                #[inline(always)]
                fn mul_add(self, a: $vector, b: $vector, c: $vector) -> $vector {
                    // SAFETY: the processor has it.
                    unsafe { $mul_add(a, b, c) }
                }
            }
        };
    }
    lanes!(
        16,
        __m512,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_set1_ps,
        _mm512_add_ps,
        _mm512_sub_ps,
        _mm512_mul_ps,
        _mm512_fmadd_ps
    );
    lanes!(
        8,
        __m256,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_set1_ps,
        _mm256_add_ps,
        _mm256_sub_ps,
        _mm256_mul_ps,
        _mm256_fmadd_ps
    );
}
