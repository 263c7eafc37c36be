//! Stage: progress, trajectories and their distances.

fn main() {}
