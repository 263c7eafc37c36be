//! The reference values in tests/golden, for the tests of this crate.

use std::path::Path;

use kit::{Tensor, Tensors, TensorsError};
use ndarray::{Array, Dim, Dimension};

/// An element type of the file.
pub(crate) trait Element: Copy + 'static {
    fn read<'a>(file: &'a Tensors, name: &str) -> Result<Tensor<'a, Self>, TensorsError>;
}

impl Element for f32 {
    fn read<'a>(file: &'a Tensors, name: &str) -> Result<Tensor<'a, f32>, TensorsError> {
        file.f32s(name)
    }
}

impl Element for f64 {
    fn read<'a>(file: &'a Tensors, name: &str) -> Result<Tensor<'a, f64>, TensorsError> {
        file.f64s(name)
    }
}

impl Element for i64 {
    fn read<'a>(file: &'a Tensors, name: &str) -> Result<Tensor<'a, i64>, TensorsError> {
        file.i64s(name)
    }
}

/// A tensor with K axes of the reference file.
pub(crate) fn golden<T: Element, const K: usize>(name: &str) -> Array<T, Dim<[usize; K]>>
where
    Dim<[usize; K]>: Dimension,
    [usize; K]: ndarray::IntoDimension<Dim = Dim<[usize; K]>>,
{
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/reference.safetensors");
    let file = Tensors::open(Path::new(path)).unwrap();
    let tensor = T::read(&file, name).unwrap();
    let shape: [usize; K] = tensor.shape.try_into().unwrap();
    Array::from_shape_vec(shape, tensor.values.to_vec()).unwrap()
}

/// Panics unless |found - expected| <= absolute + relative |expected|.
#[track_caller]
pub(crate) fn assert_close(found: f64, expected: f64, absolute: f64, relative: f64) {
    let error = (found - expected).abs();
    assert!(error <= absolute + relative * expected.abs(), "{found} is not {expected}: off by {error:e}");
}
