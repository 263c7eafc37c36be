//! The reference values in tests/golden, for the tests of this crate.

use std::path::Path;

use kit::Tensors;
use ndarray::{Array1, Array2};

fn file() -> Tensors {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/reference.safetensors");
    Tensors::open(Path::new(path)).unwrap()
}

/// A tensor with one axis.
pub(crate) fn values(name: &str) -> Array1<f64> {
    Array1::from_vec(file().f64s(name).unwrap().values.to_vec())
}

/// A tensor with two axes.
pub(crate) fn matrix(name: &str) -> Array2<f64> {
    let file = file();
    let tensor = file.f64s(name).unwrap();
    Array2::from_shape_vec((tensor.shape[0], tensor.shape[1]), tensor.values.to_vec()).unwrap()
}
