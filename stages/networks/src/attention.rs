//! Attention of each token to all tokens of its sample, in several heads (Vaswani et al. 2017).

mod kernel;

use std::slice;

use tch::Tensor;
use torch_sys::C_tensor;

use self::kernel::{LANES, Shape};
use crate::{own, vectors};

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

fn is_ours(qkv: &Tensor, tokens: i64, width: i64) -> bool {
    own::may_be(qkv) && tokens <= MOST_TOKENS && width % LANES as i64 == 0 && vectors::fuse()
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

/// How many weights there are, for `autograd.cpp`.
#[unsafe(no_mangle)]
extern "C" fn hyperribbon_attention_weights(shape: Shape, kept: bool) -> usize {
    shape.weights(kept)
}

/// The way forward, for `autograd.cpp`.
///
/// # Safety
/// Pointers lead to f32, as many as the shape says. Nothing else reads or writes to those that are written to.
#[unsafe(no_mangle)]
unsafe extern "C" fn hyperribbon_attend(
    qkv: *const f32,
    shape: Shape,
    kept: bool,
    weights: *mut f32,
    out: *mut f32,
) {
    // SAFETY: as the caller says.
    let (qkv, weights, out) = unsafe {
        (
            slice::from_raw_parts(qkv, 3 * shape.numbers()),
            slice::from_raw_parts_mut(weights, shape.weights(kept)),
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
            slice::from_raw_parts(weights, shape.weights(true)),
            slice::from_raw_parts(gradient, shape.numbers()),
            slice::from_raw_parts_mut(of_qkv, 3 * shape.numbers()),
        )
    };
    kernel::backward(qkv, weights, gradient, shape, of_qkv);
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::own::tests::{USES, random};

    /// What a function makes of queries, keys and values, and their gradient.
    fn results(attend: fn(&Tensor) -> Tensor, qkv: &Tensor, used: fn(&Tensor) -> Tensor) -> [Tensor; 2] {
        let qkv = qkv.detach().set_requires_grad(true);
        let found = attend(&qkv);
        let gradient = Tensor::run_backward(&[used(&found)], &[&qkv], false, false).remove(0);
        [found.detach(), gradient]
    }

    #[test]
    fn attention_is_libtorchs_with_its_gradient() {
        device::prepare("cpu", 1).unwrap();
        tch::manual_seed(1);
        for [batch, tokens, heads, width] in [[5, 17, 4, 16], [2, 1, 1, 8], [3, 65, 2, 24], [1, 20, 3, 64]] {
            let qkv = random(&[batch, tokens, 3, heads, width]);
            // As it is in memory, and in another order.
            for qkv in [qkv.shallow_clone(), qkv.transpose(0, 1).contiguous().transpose(0, 1)] {
                assert!(is_ours(&qkv, tokens, width));
                for used in USES {
                    let both = results(ours, &qkv, used).into_iter().zip(results(libtorchs, &qkv, used));
                    for (ours, libtorchs) in both {
                        assert_eq!(ours.size(), libtorchs.size());
                        let error = (ours - libtorchs).abs().max().double_value(&[]);
                        assert!(error < 5e-6, "{tokens} tokens, heads of {width}: {error:e}");
                    }
                }
                let without = tch::no_grad(|| ours(&qkv));
                assert_eq!(without, results(ours, &qkv, USES[0])[0], "what is kept changes nothing");
            }
        }
    }

    #[test]
    fn what_ours_does_not_take_is_libtorchs() {
        device::prepare("cpu", 1).unwrap();
        for (kind, tokens, width) in [(Kind::Float, 66, 8), (Kind::Float, 4, 12), (Kind::BFloat16, 4, 8)] {
            let qkv = random(&[2, tokens, 3, 2, width]).to_kind(kind);
            assert!(!is_ours(&qkv, tokens, width));
            let found = attention(&qkv);
            assert_eq!(found.size(), [2, tokens, 2 * width]);
            // By the definition.
            let [query, key, value] =
                [0, 1, 2].map(|part| qkv.select(2, part).transpose(1, 2).to_kind(Kind::Float));
            let weights = (query.matmul(&key.transpose(2, 3)) / (width as f64).sqrt()).softmax(-1, None);
            let expected = weights.matmul(&value).transpose(1, 2).reshape(found.size());
            let error = (found - expected).abs().max().double_value(&[]);
            assert!(error < if kind == Kind::Float { 5e-6 } else { 0.05 }, "{kind:?}, {tokens}: {error:e}");
        }
        for empty in [[0, 4, 3, 2, 8], [2, 0, 3, 2, 8], [2, 4, 3, 2, 0]] {
            assert!(!is_ours(&Tensor::zeros(empty, (Kind::Float, Device::Cpu)), empty[1], empty[4]));
        }
    }
}
