//! Attention of each token to all tokens of its sample, in several heads (Vaswani et al. 2017).

mod kernel;

use std::slice;

use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use self::kernel::{LANES, Shape};

/// Of longer sequences libtorch's is as fast.
const MOST_TOKENS: i64 = 65;

/// Queries, keys and values [N, tokens, 3, heads, width] to what the heads find [N, tokens, heads width].
pub(crate) fn attention(qkv: &Tensor) -> Tensor {
    let [batch, tokens, _, heads, width] = qkv.size()[..] else {
        unreachable!("queries, keys and values have five axes");
    };
    let found = if is_ours(qkv, tokens, width) { ours(qkv) } else { libtorchs(qkv) };
    found.reshape([batch, tokens, heads * width])
}

/// With several threads libtorch's is faster, which gives each a part of the heads.
fn is_ours(qkv: &Tensor, tokens: i64, width: i64) -> bool {
    qkv.device() == Device::Cpu
        && qkv.kind() == Kind::Float
        && tokens <= MOST_TOKENS
        && width % LANES as i64 == 0
        && tch::get_num_threads() == 1
}

/// [N, tokens, heads, width].
fn libtorchs(qkv: &Tensor) -> Tensor {
    let qkv = qkv.permute([2, 0, 3, 1, 4]);
    let [query, key, value] = &qkv.unbind(0)[..] else { unreachable!("the first axis has length 3") };
    Tensor::scaled_dot_product_attention::<Tensor>(query, key, value, None, 0.0, false, None, false)
        .transpose(1, 2)
}

/// [N, tokens, heads, width].
fn ours(qkv: &Tensor) -> Tensor {
    unsafe extern "C" {
        /// Of `autograd.cpp`.
        fn hyperribbon_attention(qkv: *const C_tensor) -> *mut C_tensor;
    }
    // SAFETY: it is a tensor of five axes, f32 and on the processor. What it returns is one that nobody else owns.
    unsafe { Tensor::from_ptr(hyperribbon_attention(qkv.as_ptr())) }
}

/// Weights that the gradient needs, for `autograd.cpp`.
#[unsafe(no_mangle)]
extern "C" fn hyperribbon_attention_weights(shape: Shape) -> usize {
    shape.weights()
}

/// The way forward, for `autograd.cpp`.
///
/// # Safety
/// Pointers lead to f32, as many as the shape says. Nothing else reads or writes to those that are written to.
#[unsafe(no_mangle)]
unsafe extern "C" fn hyperribbon_attend(qkv: *const f32, shape: Shape, weights: *mut f32, out: *mut f32) {
    // SAFETY: as the caller says.
    let (qkv, weights, out) = unsafe {
        (
            slice::from_raw_parts(qkv, 3 * shape.numbers()),
            slice::from_raw_parts_mut(weights, shape.weights()),
            slice::from_raw_parts_mut(out, shape.numbers()),
        )
    };
    kernel::forward(qkv, shape, weights, out);
}

/// The way back, for `autograd.cpp`.
///
/// # Safety
/// Pointers lead to f32, as many as the shape says. Nothing else reads or writes to those that are written to.
#[unsafe(no_mangle)]
unsafe extern "C" fn hyperribbon_attend_back(
    qkv: *const f32,
    weights: *const f32,
    gradient: *const f32,
    shape: Shape,
    of_qkv: *mut f32,
) {
    // SAFETY: as the caller says.
    let (qkv, weights, gradient, of_qkv) = unsafe {
        (
            slice::from_raw_parts(qkv, 3 * shape.numbers()),
            slice::from_raw_parts(weights, shape.weights()),
            slice::from_raw_parts(gradient, shape.numbers()),
            slice::from_raw_parts_mut(of_qkv, 3 * shape.numbers()),
        )
    };
    kernel::backward(qkv, weights, gradient, shape, of_qkv);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a function makes of queries, keys and values, and their gradient.
    fn results(attend: fn(&Tensor) -> Tensor, qkv: &Tensor) -> [Tensor; 2] {
        let qkv = qkv.detach().set_requires_grad(true);
        let found = attend(&qkv);
        // A gradient in another order than the result has.
        let used = (found.cos() * found.flip([1])).transpose(1, 2).contiguous().sum(Kind::Float);
        let gradient = Tensor::run_backward(&[used], &[&qkv], false, false).remove(0);
        [found.detach(), gradient]
    }

    #[test]
    fn attention_is_libtorchs_with_its_gradient() {
        device::prepare("cpu", 1).unwrap();
        tch::manual_seed(1);
        for [batch, tokens, heads, width] in [[5, 17, 4, 16], [2, 1, 1, 8], [3, 65, 2, 24], [1, 20, 3, 64]] {
            let qkv = Tensor::randn([batch, tokens, 3, heads, width], (Kind::Float, Device::Cpu));
            // As it is in memory, and in another order.
            for qkv in [qkv.shallow_clone(), qkv.transpose(0, 1).contiguous().transpose(0, 1)] {
                assert!(is_ours(&qkv, tokens, width));
                for (ours, libtorchs) in results(ours, &qkv).iter().zip(results(libtorchs, &qkv)) {
                    assert_eq!(ours.size(), libtorchs.size());
                    let error = (ours - &libtorchs).abs().max().double_value(&[]);
                    assert!(error < 2e-6, "{tokens} tokens, heads of {width}: {error:e}");
                }
            }
        }
    }

    #[test]
    fn what_ours_does_not_take_is_libtorchs() {
        device::prepare("cpu", 1).unwrap();
        for (kind, tokens, width) in [(Kind::Float, 66, 8), (Kind::Float, 4, 12), (Kind::BFloat16, 4, 8)] {
            let qkv = Tensor::ones([2, tokens, 3, 2, width], (kind, Device::Cpu));
            assert!(!is_ours(&qkv, tokens, width));
            let found = attention(&qkv).to_kind(Kind::Float);
            assert_eq!((found.size(), found.min().double_value(&[])), (vec![2, tokens, 2 * width], 1.0));
        }
    }
}
