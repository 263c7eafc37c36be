//! The discrete Frechet distance of two sequences of models.

use ndarray::ArrayView2;

/// The discrete Frechet distance from the distances [T, T'] of all models of one sequence to all of the other: the
/// shortest leash for two walkers who only go forward (Eiter and Mannila 1994). Infinite when a sequence is empty.
pub fn frechet(distances: ArrayView2<f64>) -> f64 {
    // What is reached with the second walker at each place, for the first walker's place so far.
    let mut leash = vec![f64::INFINITY; distances.ncols()];
    for (i, row) in distances.outer_iter().enumerate() {
        let (mut left, mut diagonal) = (f64::INFINITY, if i == 0 { 0.0 } else { f64::INFINITY });
        for (leash, &distance) in leash.iter_mut().zip(row) {
            let reached = leash.min(left).min(diagonal).max(distance);
            (left, diagonal) = (reached, std::mem::replace(leash, reached));
        }
    }
    leash.last().copied().unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Axis, array};

    use super::*;
    use crate::golden::{assert_close, golden};
    use crate::reference;

    #[test]
    fn agrees_with_the_golden_values() {
        let (trajectories, expected) = (golden::<f64, 4>("trajectories"), golden::<f64, 2>("frechet"));
        for ((a, b), &expected) in expected.indexed_iter().filter(|((a, b), _)| a != b) {
            let (a, b) = (trajectories.index_axis(Axis(0), a), trajectories.index_axis(Axis(0), b));
            let distances = Array2::from_shape_fn((12, 12), |(i, j)| {
                reference::bhattacharyya(a.index_axis(Axis(0), i), b.index_axis(Axis(0), j))
            });
            // The golden values carry rounding of f32 somewhere: 3e-9 to 1e-8 off in f64.
            assert_close(frechet(distances.view()), expected, 2e-8, 0.0);
        }
    }

    #[test]
    fn walkers_do_not_go_back() {
        // A detour of the first walker that a mere nearest-point distance would not see.
        assert_eq!(frechet(array![[0.0, 5.0], [5.0, 0.0], [1.0, 5.0], [5.0, 0.0]].view()), 5.0);
        assert_eq!(frechet(array![[0.0, 5.0], [2.0, 1.0]].view()), 1.0);
    }

    #[test]
    fn an_empty_sequence_is_infinitely_far() {
        assert_eq!(frechet(Array2::zeros((0, 3)).view()), f64::INFINITY);
        assert_eq!(frechet(Array2::zeros((3, 0)).view()), f64::INFINITY);
    }
}
