//! Stage: a tile of the matrix of distances.

fn main() {}
