//! The command `ribbon`.

fn main() {}
