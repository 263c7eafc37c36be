//! Batch normalisation of x [N, C, ..] over all axes but the second, and a ReLU beside it.

mod kernel;

use std::ffi::c_int;
use std::{ptr, slice};

use tch::Tensor;
use torch_sys::C_tensor;

use self::kernel::{Kept, Relu};
use crate::layers::{EPSILON, Mode, Pass};
use crate::own;
use crate::weights::{Init, Plan, Slot};

const MOMENTUM: f64 = 0.1;

#[derive(Debug)]
pub(crate) struct BatchNorm {
    weight: Option<Slot>,
    bias: Option<Slot>,
    mean: Slot,
    variance: Slot,
}

impl BatchNorm {
    /// With trained weight and bias.
    pub fn affine(plan: &mut Plan, name: &str, channels: i64) -> BatchNorm {
        let weight = plan.trained(format!("{name}.weight"), &[channels], Init::Constant(1.0));
        let bias = plan.trained(format!("{name}.bias"), &[channels], Init::Constant(0.0));
        BatchNorm { weight: Some(weight), bias: Some(bias), ..BatchNorm::plain(plan, name, channels) }
    }

    /// Without.
    pub fn plain(plan: &mut Plan, name: &str, channels: i64) -> BatchNorm {
        let mean = plan.statistic(format!("{name}.running_mean"), &[channels], Init::Constant(0.0));
        let variance = plan.statistic(format!("{name}.running_var"), &[channels], Init::Constant(1.0));
        BatchNorm { weight: None, bias: None, mean, variance }
    }

    /// The norm of `x`.
    pub fn forward(&self, pass: &Pass, x: &Tensor) -> Tensor {
        if is_ours(pass, x) { self.ours(pass, x, Relu::None) } else { self.libtorch(pass, x) }
    }

    /// The norm of `x` after a ReLU.
    pub fn of_relu(&self, pass: &Pass, mut x: Tensor) -> Tensor {
        if is_ours(pass, &x) { self.ours(pass, &x, Relu::Before) } else { self.libtorch(pass, &x.relu_()) }
    }

    /// The norm of `x`, and then a ReLU.
    pub fn then_relu(&self, pass: &Pass, x: &Tensor) -> Tensor {
        if is_ours(pass, x) { self.ours(pass, x, Relu::After) } else { self.libtorch(pass, x).relu_() }
    }

    fn libtorch(&self, pass: &Pass, x: &Tensor) -> Tensor {
        x.batch_norm(
            pass.get(self.weight),
            pass.get(self.bias),
            pass.get(Some(self.mean)),
            pass.get(Some(self.variance)),
            pass.mode == Mode::Train,
            MOMENTUM,
            EPSILON,
            true,
        )
    }

    fn ours(&self, pass: &Pass, x: &Tensor, relu: Relu) -> Tensor {
        match pass.mode {
            Mode::Train => self.by_the_batch(pass, x, relu),
            Mode::Evaluate => self.by_running_statistics(pass, x, relu),
        }
    }

    /// By the statistics of the batch, which the running ones then follow.
    fn by_the_batch(&self, pass: &Pass, x: &Tensor, relu: Relu) -> Tensor {
        unsafe extern "C" {
            /// Of `autograd.cpp`.
            fn hyperribbon_batch_norm(
                x: *const C_tensor,
                weight: *const C_tensor,
                bias: *const C_tensor,
                mean: *const C_tensor,
                variance: *const C_tensor,
                momentum: f64,
                epsilon: f64,
                relu: c_int,
            ) -> *mut C_tensor;
        }
        let [weight, bias, mean, variance] = self.pointers(pass);
        // SAFETY: all are tensors that live until it returns, f32 and on the processor as x is; it asks for their shapes.
        // What it returns is a tensor that nobody else owns.
        unsafe {
            let y = hyperribbon_batch_norm(
                x.as_ptr(),
                weight,
                bias,
                mean,
                variance,
                MOMENTUM,
                EPSILON,
                relu as c_int,
            );
            Tensor::from_ptr(y)
        }
    }

    /// Without a gradient.
    fn by_running_statistics(&self, pass: &Pass, x: &Tensor, relu: Relu) -> Tensor {
        unsafe extern "C" {
            /// Of `autograd.cpp`.
            fn hyperribbon_running_norm(
                x: *const C_tensor,
                weight: *const C_tensor,
                bias: *const C_tensor,
                mean: *const C_tensor,
                variance: *const C_tensor,
                epsilon: f64,
                relu: c_int,
            ) -> *mut C_tensor;
        }
        let [weight, bias, mean, variance] = self.pointers(pass);
        // SAFETY: as above.
        unsafe {
            let y =
                hyperribbon_running_norm(x.as_ptr(), weight, bias, mean, variance, EPSILON, relu as c_int);
            Tensor::from_ptr(y)
        }
    }

    /// Weight and bias, or null; mean and variance.
    fn pointers(&self, pass: &Pass) -> [*const C_tensor; 4] {
        [self.weight, self.bias, Some(self.mean), Some(self.variance)]
            .map(|slot| pass.get(slot).map_or(ptr::null(), |tensor| tensor.as_ptr()))
    }
}

/// Whether the norm of `x` is computed here. With several threads libtorch's is faster, which gives each a part of the batch.
fn is_ours(pass: &Pass, x: &Tensor) -> bool {
    unsafe extern "C" {
        /// Of `autograd.cpp`.
        safe fn hyperribbon_keeps_gradients() -> bool;
    }
    own::may_be(x)
        && [2, 4].contains(&x.dim())
        && (pass.mode == Mode::Train || !hyperribbon_keeps_gradients())
}

/// The way forward, for `autograd.cpp`.
///
/// # Safety
/// Pointers lead to f32: `x` and `y` to `numbers`, `kept` to four times `channels`, all others to `channels`. Nothing else
/// reads or writes to those that are written to. `weight` and `bias` may be null.
#[unsafe(no_mangle)]
unsafe extern "C" fn hyperribbon_normalise(
    x: *const f32,
    numbers: usize,
    channels: usize,
    weight: *const f32,
    bias: *const f32,
    epsilon: f64,
    relu: Relu,
    y: *mut f32,
    kept: *mut f32,
    mean: *mut f32,
    variance: *mut f32,
    momentum: f64,
) {
    // SAFETY: as the caller says.
    let (x, weight, bias, y, kept, running) = unsafe {
        (
            slice::from_raw_parts(x, numbers),
            own::optional(weight, channels),
            own::optional(bias, channels),
            slice::from_raw_parts_mut(y, numbers),
            slice::from_raw_parts_mut(kept, 4 * channels),
            [mean, variance].map(|running| slice::from_raw_parts_mut(running, channels)),
        )
    };
    let mut kept = Kept::of_mut(kept);
    let variances = kernel::forward(x, weight, bias, epsilon, relu, y, &mut kept);
    let count = (numbers / channels) as f64;
    let [mean, variance] = running;
    for channel in 0..channels {
        let follow = |running: &mut f32, new: f64| {
            *running = (f64::from(*running) * (1.0 - momentum) + new * momentum) as f32;
        };
        follow(&mut mean[channel], f64::from(kept.mean[channel]));
        follow(&mut variance[channel], variances[channel] * count / (count - 1.0));
    }
}

/// The norm by running statistics, for `autograd.cpp`.
///
/// # Safety
/// Pointers lead to f32: `x` and `y` to `numbers`, all others to `channels`. Nothing else reads or writes to `y`. `weight` and
/// `bias` may be null.
#[unsafe(no_mangle)]
unsafe extern "C" fn hyperribbon_normalise_by(
    x: *const f32,
    numbers: usize,
    channels: usize,
    weight: *const f32,
    bias: *const f32,
    mean: *const f32,
    variance: *const f32,
    epsilon: f64,
    relu: Relu,
    y: *mut f32,
) {
    // SAFETY: as the caller says.
    let (x, affine, statistics, y) = unsafe {
        (
            slice::from_raw_parts(x, numbers),
            [weight, bias].map(|numbers| own::optional(numbers, channels)),
            [mean, variance].map(|numbers| slice::from_raw_parts(numbers, channels)),
            slice::from_raw_parts_mut(y, numbers),
        )
    };
    kernel::by_statistics(x, affine, statistics, epsilon, relu, y);
}

/// The way back, for `autograd.cpp`.
///
/// # Safety
/// Pointers lead to f32: `x`, `gradient` and `of_x` to `numbers`, `kept` to four times `channels`, all others to `channels`.
/// Nothing else reads or writes to those that are written to.
#[unsafe(no_mangle)]
unsafe extern "C" fn hyperribbon_normalise_back(
    x: *const f32,
    gradient: *const f32,
    numbers: usize,
    channels: usize,
    relu: Relu,
    kept: *const f32,
    of_x: *mut f32,
    of_weight: *mut f32,
    of_bias: *mut f32,
) {
    // SAFETY: as the caller says.
    let ([x, gradient], kept, of_x, [of_weight, of_bias]) = unsafe {
        (
            [x, gradient].map(|all| slice::from_raw_parts(all, numbers)),
            slice::from_raw_parts(kept, 4 * channels),
            slice::from_raw_parts_mut(of_x, numbers),
            [of_weight, of_bias].map(|of| slice::from_raw_parts_mut(of, channels)),
        )
    };
    kernel::backward(x, gradient, relu, &Kept::of(kept), of_x, of_weight, of_bias);
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::layers::Precision;
    use crate::own::tests::{USES, random};
    use crate::random::{Stream, generator};
    use crate::weights::Weights;

    /// A norm of 6 channels with its tensors.
    fn norm(affine: bool) -> (BatchNorm, Weights) {
        device::prepare("cpu", 1).unwrap();
        let mut plan = Plan::default();
        // Trained numbers of its own, so that there is something to train.
        let _ = plan.trained("other".to_owned(), &[1], Init::Constant(1.0));
        let norm =
            if affine { BatchNorm::affine(&mut plan, "n", 6) } else { BatchNorm::plain(&mut plan, "n", 6) };
        (norm, Weights::new(plan, &mut generator(42, Stream::Weights), Device::Cpu))
    }

    /// What two steps give: the last result, the gradient of x, those of the weights, and the running statistics.
    fn results(
        affine: bool,
        x: &Tensor,
        used: fn(&Tensor) -> Tensor,
        forward: impl Fn(&BatchNorm, &Pass, &Tensor) -> Tensor,
    ) -> Vec<Tensor> {
        let (norm, weights) = norm(affine);
        let x = x.detach().set_requires_grad(true);
        let pass = Pass { weights: &weights, mode: Mode::Train, precision: Precision::F32 };
        assert!(is_ours(&pass, &x));
        let _ = forward(&norm, &pass, &(&x + 1.0));
        let y = forward(&norm, &pass, &x);
        let trained: Vec<&Tensor> =
            [norm.weight, norm.bias].into_iter().filter_map(|slot| pass.get(slot)).collect();
        let wanted: Vec<&Tensor> = [&x].into_iter().chain(trained).collect();
        let gradients = Tensor::run_backward(&[used(&y)], &wanted, false, false);
        let running = [norm.mean, norm.variance].map(|slot| weights.get(slot).shallow_clone());
        [y].into_iter().chain(gradients).chain(running).collect()
    }

    fn assert_same(ours: &[Tensor], libtorchs: &[Tensor], what: &str) {
        assert_eq!(ours.len(), libtorchs.len());
        for (which, (ours, libtorchs)) in ours.iter().zip(libtorchs).enumerate() {
            // Where all pixels weigh the same their mean takes the whole gradient of x: what is left is rounding.
            let scale = libtorchs.abs().max().double_value(&[]).max(1.0);
            let error = (ours - libtorchs).abs().max().double_value(&[]) / scale;
            // Both round: how near the formulas ours is, kernel.rs tests.
            assert!(error < 5e-5, "{what}, result {which}: {error:e}");
        }
    }

    #[test]
    fn a_norm_is_libtorchs_with_its_gradients_and_running_statistics() {
        tch::manual_seed(1);
        // The last has its channels last.
        let inputs = [random(&[40, 6]), random(&[5, 6, 4, 4]), random(&[5, 4, 4, 6]).permute([0, 3, 1, 2])];
        for (which, x) in inputs.iter().enumerate() {
            for (affine, used) in [true, false].into_iter().flat_map(|affine| USES.map(|used| (affine, used)))
            {
                let what = |relu| format!("input {which}, affine: {affine}, {relu}");
                let of =
                    |forward: fn(&BatchNorm, &Pass, &Tensor) -> Tensor| results(affine, x, used, forward);
                assert_same(&of(BatchNorm::forward), &of(BatchNorm::libtorch), &what("no ReLU"));
                let before = of(|norm, pass, x| norm.of_relu(pass, x * 1.0));
                assert_same(
                    &before,
                    &of(|norm, pass, x| norm.libtorch(pass, &x.relu())),
                    &what("after a ReLU"),
                );
                let after = of(BatchNorm::then_relu);
                assert_same(&after, &of(|norm, pass, x| norm.libtorch(pass, x).relu()), &what("then a ReLU"));
            }
        }
    }

    #[test]
    fn the_norm_by_running_statistics_is_libtorchs() {
        for affine in [true, false] {
            let (norm, weights) = norm(affine);
            let pass = |mode| Pass { weights: &weights, mode, precision: Precision::F32 };
            let (train, evaluate) = (pass(Mode::Train), pass(Mode::Evaluate));
            let _ = norm.forward(&train, &(random(&[50, 6]) * 3.0 + 1.0));
            for x in [random(&[7, 6]), random(&[5, 6, 4, 4]), random(&[5, 4, 4, 6]).permute([0, 3, 1, 2])] {
                let check = |ours: Tensor, libtorchs: Tensor, what| {
                    assert_same(&[ours], &[libtorchs], &format!("{:?}, affine: {affine}, {what}", x.size()));
                };
                tch::no_grad(|| {
                    assert!(is_ours(&evaluate, &x));
                    check(norm.forward(&evaluate, &x), norm.libtorch(&evaluate, &x), "no ReLU");
                    let before = norm.of_relu(&evaluate, x.copy());
                    check(before, norm.libtorch(&evaluate, &x.relu()), "after a ReLU");
                    check(norm.then_relu(&evaluate, &x), norm.libtorch(&evaluate, &x).relu(), "then a ReLU");
                });
            }
        }
    }

    #[test]
    fn evaluation_with_gradients_and_other_shapes_are_libtorchs() {
        let (norm, weights) = norm(true);
        let pass = |mode| Pass { weights: &weights, mode, precision: Precision::F32 };
        let x = random(&[5, 6, 4, 4]);
        assert!(is_ours(&pass(Mode::Train), &x));
        assert!(!is_ours(&pass(Mode::Evaluate), &x));
        let volumes = random(&[5, 6, 2, 2, 2]);
        assert_eq!(norm.forward(&pass(Mode::Train), &volumes).size(), volumes.size());
        assert!(!is_ours(&pass(Mode::Train), &volumes));
    }
}
