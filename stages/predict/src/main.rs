//! Stage: predictions of every checkpoint.

fn main() {}
