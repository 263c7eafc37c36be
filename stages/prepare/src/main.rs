//! Stage: a data set as tensors.

fn main() {}
