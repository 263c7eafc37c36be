//! Convolutions 3x3 by Winograd's algorithm, where that is faster than libtorch's.

mod kernel;
mod lanes;
mod product;
mod transforms;

use std::{ptr, slice};

use tch::Tensor;
use torch_sys::C_tensor;

use self::kernel::{CHANNELS, Shape};
use self::transforms::{FILTER, TILE};
use crate::own;

/// Of more channels the filters at all points are larger than the second cache, and ours is not measured.
const MOST_CHANNELS: usize = 64;

/// Whether the convolution of `x` with `weights`, of stride 1 and padding 1, is computed here: on a processor with the vectors
/// for it.
pub(crate) fn is_ours(x: &Tensor, weights: &Tensor) -> bool {
    lanes::are_wide() && fits(x, weights)
}

/// Whether channels fill vectors, and tiles the images.
fn fits(x: &Tensor, weights: &Tensor) -> bool {
    let multiple = |sizes: [i64; 2], of: usize| sizes.iter().all(|size| *size > 0 && size % of as i64 == 0);
    let ([_, inputs, height, width], [outputs, of, rows, columns]) = (&x.size()[..], &weights.size()[..])
    else {
        return false;
    };
    own::may_be(x)
        && own::may_be(weights)
        && of == inputs
        && [*rows, *columns] == [FILTER as i64; 2]
        && multiple([*height, *width], TILE)
        && multiple([*inputs, *outputs], CHANNELS)
        && (*inputs).max(*outputs) <= MOST_CHANNELS as i64
}

/// The convolution of x [N, in, H, W] with weights [out, in, 3, 3], of stride 1 and padding 1, where `is_ours`.
pub(crate) fn conv(x: &Tensor, weights: &Tensor, bias: Option<&Tensor>) -> Tensor {
    unsafe extern "C" {
        /// Of `autograd.cpp`.
        fn hyperribbon_winograd(
            x: *const C_tensor,
            weights: *const C_tensor,
            bias: *const C_tensor,
        ) -> *mut C_tensor;
    }
    let bias = bias.map_or(ptr::null(), |bias| bias.as_ptr());
    // SAFETY: all are tensors that live until it returns, f32 and on the processor; it asks for their shapes. What it returns is
    // a tensor that nobody else owns.
    unsafe { Tensor::from_ptr(hyperribbon_winograd(x.as_ptr(), weights.as_ptr(), bias)) }
}

impl Shape {
    fn x(&self) -> usize {
        self.images * self.height * self.width * self.inputs
    }

    fn y(&self) -> usize {
        self.images * self.height * self.width * self.outputs
    }

    fn weights(&self) -> usize {
        self.outputs * self.inputs * FILTER * FILTER
    }
}

/// The way forward, for `autograd.cpp`.
///
/// # Safety
/// Pointers lead to f32: as many as x, weights [outputs, 3, 3, inputs], bias and y of the shape have. Nothing else reads or
/// writes to `y`. `bias` may be null.
#[unsafe(no_mangle)]
unsafe extern "C" fn hyperribbon_convolve(
    shape: Shape,
    x: *const f32,
    weights: *const f32,
    bias: *const f32,
    y: *mut f32,
) {
    // SAFETY: as the caller says.
    let (x, weights, bias, y) = unsafe {
        (
            slice::from_raw_parts(x, shape.x()),
            slice::from_raw_parts(weights, shape.weights()),
            own::optional(bias, shape.outputs),
            slice::from_raw_parts_mut(y, shape.y()),
        )
    };
    kernel::forward(shape, x, weights, bias, y);
}

/// The way back to x, for `autograd.cpp`.
///
/// # Safety
/// Pointers lead to f32: as many as y, weights [outputs, 3, 3, inputs] and x of the shape have. Nothing else reads or writes to
/// `of_x`.
#[unsafe(no_mangle)]
unsafe extern "C" fn hyperribbon_convolve_back_to_x(
    shape: Shape,
    gradient: *const f32,
    weights: *const f32,
    of_x: *mut f32,
) {
    // SAFETY: as the caller says.
    let (gradient, weights, of_x) = unsafe {
        (
            slice::from_raw_parts(gradient, shape.y()),
            slice::from_raw_parts(weights, shape.weights()),
            slice::from_raw_parts_mut(of_x, shape.x()),
        )
    };
    kernel::of_x(shape, gradient, weights, of_x);
}

/// The way back to weights and bias, for `autograd.cpp`.
///
/// # Safety
/// Pointers lead to f32: as many as x, y, weights [outputs, 3, 3, inputs] and bias of the shape have. Nothing else reads or
/// writes to `of_weights` and `of_bias`.
#[unsafe(no_mangle)]
unsafe extern "C" fn hyperribbon_convolve_back_to_weights(
    shape: Shape,
    x: *const f32,
    gradient: *const f32,
    of_weights: *mut f32,
    of_bias: *mut f32,
) {
    // SAFETY: as the caller says.
    let (x, gradient, of_weights, of_bias) = unsafe {
        (
            slice::from_raw_parts(x, shape.x()),
            slice::from_raw_parts(gradient, shape.y()),
            slice::from_raw_parts_mut(of_weights, shape.weights()),
            slice::from_raw_parts_mut(of_bias, shape.outputs),
        )
    };
    kernel::of_weights(shape, x, gradient, of_weights, of_bias);
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;
    use crate::own::tests::{USES, random};

    fn libtorchs(x: &Tensor, weights: &Tensor, bias: Option<&Tensor>) -> Tensor {
        x.conv2d(weights, bias, [1, 1], [1, 1], [1, 1], 1)
    }

    /// The result, and the gradients of all that is given.
    fn results(
        conv: fn(&Tensor, &Tensor, Option<&Tensor>) -> Tensor,
        given: &[Tensor],
        used: fn(&Tensor) -> Tensor,
    ) -> Vec<Tensor> {
        let given: Vec<Tensor> = given.iter().map(|tensor| tensor.detach().set_requires_grad(true)).collect();
        let y = conv(&given[0], &given[1], given.get(2));
        let gradients = Tensor::run_backward(&[used(&y)], &given, false, false);
        [y].into_iter().chain(gradients).collect()
    }

    #[test]
    fn a_convolution_is_libtorchs_with_its_gradients() {
        device::prepare("cpu", 1).unwrap();
        tch::manual_seed(1);
        // The last has its channels last.
        for x in [random(&[3, 16, 8, 12]), random(&[3, 8, 12, 16]).permute([0, 3, 1, 2])] {
            let weights = random(&[24, 16, 3, 3]) / 12.0;
            let last = random(&[24, 3, 3, 16]).permute([0, 3, 1, 2]) / 12.0;
            for given in [vec![x.copy(), weights, random(&[24])], vec![x.copy(), last]] {
                for used in USES {
                    let [ours, libtorchs] = [conv, libtorchs].map(|conv| results(conv, &given, used));
                    assert_eq!(ours.len(), given.len() + 1);
                    for (which, (ours, libtorchs)) in ours.iter().zip(&libtorchs).enumerate() {
                        assert_eq!(ours.size(), libtorchs.size());
                        let scale = libtorchs.abs().max().double_value(&[]);
                        let error = (ours - libtorchs).abs().max().double_value(&[]) / scale;
                        // Both round: how near the definition ours is, kernel.rs tests.
                        assert!(error < 5e-5, "result {which} of {}: {error:e}", given.len());
                    }
                }
            }
        }
    }

    #[test]
    fn a_gradient_alone_is_the_one_beside_the_others() {
        device::prepare("cpu", 1).unwrap();
        let given = [random(&[2, 8, 4, 4]), random(&[8, 8, 3, 3]), random(&[8])]
            .map(|tensor| tensor.set_requires_grad(true));
        let gradients = |of: &[&Tensor]| {
            let y = conv(&given[0], &given[1], Some(&given[2]));
            Tensor::run_backward(&[USES[0](&y)], of, false, false)
        };
        let together = gradients(&given.each_ref());
        for (tensor, expected) in given.iter().zip(&together) {
            assert_eq!(gradients(&[tensor])[0], *expected);
        }
        let [x, weights, bias] = given.each_ref().map(Tensor::detach);
        let weights = weights.set_requires_grad(true);
        let y = conv(&x, &weights, Some(&bias));
        assert_eq!(Tensor::run_backward(&[USES[0](&y)], &[&weights], false, false)[0], together[1]);
    }

    #[test]
    fn other_shapes_and_numbers_are_libtorchs() {
        device::prepare("cpu", 1).unwrap();
        let (x, weights) = (random(&[2, 16, 8, 8]), random(&[8, 16, 3, 3]));
        assert!(fits(&x, &weights));
        assert_eq!(is_ours(&x, &weights), lanes::are_wide());
        assert!(!fits(&x.to_kind(Kind::BFloat16), &weights.to_kind(Kind::BFloat16)));
        for (x, weights) in [
            (&x, random(&[8, 16, 1, 1])),
            (&x, random(&[8, 8, 3, 3])),
            (&x, random(&[9, 16, 3, 3])),
            (&x, random(&[128, 16, 3, 3])),
            (&random(&[2, 16, 8, 6]), weights.copy()),
            (&random(&[0, 16, 8, 8]), weights.copy()),
            (&random(&[16, 8, 8]), weights.copy()),
        ] {
            assert!(!fits(x, &weights), "{x:?} {weights:?}");
        }
    }
}
