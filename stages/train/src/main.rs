//! Stage: trains one network and keeps its checkpoints.

fn main() {}
