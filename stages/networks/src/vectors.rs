//! Plain loops as vectors, as wide as the processor has them. Products and sums are fused only where the loops say so
//! (`mul_add`): so the bits are the same on all processors. Where loops are too short to be sure of the compiler, as those of
//! small blocks that stay in registers, vectors are written out: `winograd/lanes.rs`.

/// Whether this processor has an instruction for a product and a sum. Without, each is a call.
pub(crate) fn fuse() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    true
}

/// Defines a function that is compiled for each kind of processor and takes the kind that it runs on.
macro_rules! for_each_processor {
    ($(#[$documentation:meta])* $visible:vis fn $name:ident = $of:path, ($($argument:ident: $type:ty),+)) => {
        $(#[$documentation])*
        $visible fn $name($($argument: $type),+) {
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
                if $crate::vectors::fuse() {
                    // SAFETY: the processor has it.
                    return unsafe { avx2($($argument),+) };
                }
            }
            $of($($argument),+);
        }
    };
}
pub(crate) use for_each_processor;
