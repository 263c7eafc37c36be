//! What the operations share that are computed here, and not by libtorch.

use std::slice;

use tch::{Device, Kind, Tensor};

/// Whether numbers are of the kind and at the place for which there are operations of our own: f32, on one thread of a
/// processor. With several threads libtorch's are faster, which give each a part.
pub(crate) fn may_be(numbers: &Tensor) -> bool {
    numbers.device() == Device::Cpu
        && numbers.kind() == Kind::Float
        && numbers.numel() > 0
        && tch::get_num_threads() == 1
}

/// So many numbers, or none.
///
/// # Safety
/// `numbers` is null, or leads to so many f32 that nobody writes to for as long.
pub(crate) unsafe fn optional<'a>(numbers: *const f32, count: usize) -> Option<&'a [f32]> {
    // SAFETY: it is not null then.
    (!numbers.is_null()).then(|| unsafe { slice::from_raw_parts(numbers, count) })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What becomes of a result: a gradient like it, one in another order, and one number for all.
    pub(crate) const USES: [fn(&Tensor) -> Tensor; 3] = [
        |y| (y * y.cos()).sum(Kind::Float),
        |y| (y.contiguous() * y.flip([0]).contiguous()).contiguous().view([-1]).cos().sum(Kind::Float),
        |y| y.sum(Kind::Float),
    ];

    pub(crate) fn random(shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu))
    }
}
