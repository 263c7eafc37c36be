//! Stage: InPCA of a matrix of distances.

fn main() {}
