//! Plain loops as vectors, as wide as the processor has them. Products and sums are fused only where the loops say so
//! (`mul_add`): so the bits are the same on all processors.

/// Defines a function that is compiled for each kind of processor and takes the kind that it runs on.
macro_rules! for_each_processor {
    ($(#[$documentation:meta])* fn $name:ident = $of:path, ($($argument:ident: $type:ty),+)) => {
        $(#[$documentation])*
        fn $name($($argument: $type),+) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f")]
                fn avx512($($argument: $type),+) {
                    $of($($argument),+);
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($argument: $type),+) {
                    $of($($argument),+);
                }
                if is_x86_feature_detected!("avx512f") {
                    // SAFETY: the processor has it.
                    return unsafe { avx512($($argument),+) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: the processor has it.
                    return unsafe { avx2($($argument),+) };
                }
            }
            $of($($argument),+);
        }
    };
}
pub(crate) use for_each_processor;
