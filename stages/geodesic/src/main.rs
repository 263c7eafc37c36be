//! Stage: the geodesic from ignorance to truth, as predictions.

fn main() {}
