//! Stage: the figures.

fn main() {}
