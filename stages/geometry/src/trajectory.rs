//! Trajectories re-indexed by progress.
//!
//! The distance of two trajectories is the mean, over a grid of progress, of the distance of their points there.

use ndarray::{Array2, arr0};

use crate::geodesic::great_circle;

/// The progress of a run's checkpoints, made never to fall: where along the run a progress is reached. The checkpoints
/// themselves are asked for where they are needed, so that only those need to be in memory, or some samples of them.
#[derive(Debug, Clone)]
pub struct Trajectory {
    /// The running maximum of progress, [T].
    reached: Vec<f64>,
}

impl Trajectory {
    /// Of the progress of each checkpoint.
    ///
    /// # Panics
    /// When there are no checkpoints.
    pub fn new(progress: &[f64]) -> Trajectory {
        assert!(!progress.is_empty(), "a trajectory has checkpoints");
        let reached = progress.iter().scan(f64::NEG_INFINITY, |most, &progress| {
            *most = progress.max(*most);
            Some(*most)
        });
        Trajectory { reached: reached.collect() }
    }

    /// The point of the trajectory at a progress above 0, as probabilities [N, C]: on the great circle between the two
    /// checkpoints around it; before the first checkpoint between ignorance and that; after the last one, the last.
    /// `checkpoint` gives a checkpoint, of which all samples or the same some, [N, C].
    ///
    /// # Errors
    /// Those of `checkpoint`.
    pub fn at<T: Copy + Into<f64>, E>(
        &self,
        progress: f64,
        checkpoint: impl Fn(usize) -> Result<Array2<T>, E>,
    ) -> Result<Array2<f64>, E> {
        let next = self.reached.partition_point(|&reached| reached < progress);
        if next == self.reached.len() {
            return Ok(checkpoint(next - 1)?.mapv(Into::into));
        }
        if next == 0 {
            let first = checkpoint(0)?;
            let uniform = arr0(1.0 / first.ncols() as f64);
            let ignorance = uniform.broadcast(first.dim()).expect("one value fills any shape");
            return Ok(great_circle(ignorance, first.view(), progress / self.reached[0]));
        }
        let (from, to) = (self.reached[next - 1], self.reached[next]);
        let t = (progress - from) / (to - from);
        Ok(great_circle(checkpoint(next - 1)?.view(), checkpoint(next)?.view(), t))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use ndarray::{Array4, ArrayView3, Axis, Zip, array, s};

    use super::*;
    use crate::distance::{Measure, Model, within};
    use crate::geodesic::geodesic;
    use crate::golden::{assert_close, golden};
    use crate::progress::Alignment;
    use crate::reference;
    use crate::truth::Truth;

    /// The point of these checkpoints [T, N, C], which have these values of progress.
    fn at<T: Copy + Into<f64>>(checkpoints: ArrayView3<T>, reached: &[f64], progress: f64) -> Array2<f64> {
        assert_eq!(checkpoints.len_of(Axis(0)), reached.len());
        let checkpoint = |index| Ok::<_, Infallible>(checkpoints.index_axis(Axis(0), index).to_owned());
        Trajectory::new(reached).at(progress, checkpoint).unwrap()
    }

    #[test]
    fn reindexed_trajectories_agree_with_the_golden_values() {
        let (trajectories, progress) = (golden::<f64, 4>("trajectories"), golden::<f64, 2>("progress_prod"));
        let (grid, expected) =
            (golden::<f64, 1>("reindexed_grid"), golden::<f64, 4>("reindexed_trajectories"));
        for (k, expected) in expected.outer_iter().enumerate() {
            let (checkpoints, progress) = (trajectories.index_axis(Axis(0), k), progress.row(k).to_vec());
            for (&s, expected) in grid.iter().zip(expected.outer_iter()) {
                Zip::from(&at(checkpoints, &progress, s))
                    .and(expected)
                    .for_each(|&p, &q| assert_close(p, q, 1e-12, 1e-10));
            }
        }
    }

    #[test]
    fn distances_at_equal_progress_agree_with_the_golden_values() {
        let trajectories: Array4<f64> = golden("reindexed_trajectories");
        let expected = golden::<f64, 3>("trajectory_distance_by_progress");
        let mut sum = Array2::<f64>::zeros((5, 5));
        for (points, expected) in trajectories.axis_iter(Axis(1)).zip(expected.outer_iter()) {
            let points = points.mapv(|p| p as f32);
            let found = within(Measure::Bhattacharyya, &points.outer_iter().collect::<Vec<Model>>()).unwrap();
            Zip::from(&found).and(expected).for_each(|&a, &b| assert_close(a, b, 2e-7, 1e-6));
            sum += &found;
        }
        let mean = golden::<f64, 2>("trajectory_distance");
        Zip::from(&sum).and(&mean).for_each(|&sum, &mean| assert_close(sum / 20.0, mean, 2e-7, 1e-6));
    }

    #[test]
    fn a_trajectory_on_the_geodesic_has_no_distance_to_it_and_its_own_progress() {
        let truth = Truth::new(&[0, 2, 1], 3).unwrap();
        let checkpoints = geodesic(&truth, &[0.1, 0.35, 0.8]);
        let place = |model| Alignment::new(model, &truth).place();
        let places: Vec<_> = checkpoints.outer_iter().map(place).collect();
        for (place, t) in places.iter().zip([0.1, 0.35, 0.8]) {
            // f32 probabilities are this far from the geodesic themselves.
            assert_close(place.progress, t, 1e-6, 0.0);
            assert_close(place.distance, 0.0, 1e-12, 0.0);
        }
        let progress: Vec<f64> = places.iter().map(|place| place.progress).collect();
        for t in [0.05, 0.1, 0.2, 0.5, 0.79] {
            let point = at(checkpoints.view(), &progress, t);
            let alignment = Alignment::new(point.view(), &truth).progress();
            assert_close(alignment, t, 1e-6, 0.0);
        }
        // Identical trajectories are nowhere apart, whatever their checkpoints.
        let others = geodesic(&truth, &[0.2, 0.8]);
        for t in [0.1, 0.3, 0.6, 1.0] {
            let (one, other) = (at(checkpoints.view(), &progress, t), at(others.view(), &[0.2, 0.8], t));
            let distance = reference::bhattacharyya(one.view(), other.view());
            // The sums of f32 probabilities are so far from 1.
            assert_close(distance, 0.0, 1e-7, 0.0);
        }
    }

    #[test]
    fn some_samples_of_a_point_are_the_point_of_some_samples() {
        let (trajectories, progress) = (golden::<f64, 4>("trajectories"), golden::<f64, 2>("progress_prod"));
        let (whole, reached) = (trajectories.index_axis(Axis(0), 1), progress.row(1).to_vec());
        let some = whole.slice(s![.., 7..20, ..]);
        for progress in [0.05, 0.5, 1.0] {
            let expected = at(whole, &reached, progress).slice_move(s![7..20, ..]);
            assert_eq!(at(some, &reached, progress), expected);
        }
    }

    #[test]
    fn a_trajectory_that_falls_back_stays_at_what_it_reached() {
        let checkpoints = array![[[0.5, 0.5]], [[0.9, 0.1]], [[0.6, 0.4]], [[1.0, 0.0]]];
        let at = |progress| at(checkpoints.view(), &[0.0, 0.5, 0.2, 0.6], progress);
        assert_close(at(0.5)[[0, 0]], 0.9, 1e-15, 0.0);
        // Just after that it starts from the checkpoint that fell back.
        assert_close(at(0.5 + 1e-12)[[0, 0]], 0.6, 1e-9, 0.0);
        assert_close(at(0.6)[[0, 0]], 1.0, 1e-15, 0.0);
        assert_eq!(at(0.99), array![[1.0, 0.0]]);
    }

    #[test]
    fn before_its_first_checkpoint_a_trajectory_comes_from_ignorance() {
        let checkpoints = array![[[1.0f32, 0.0]]];
        let half = at(checkpoints.view(), &[0.5], 0.25)[[0, 0]];
        assert_close(half, (std::f64::consts::PI / 8.0).cos().powi(2), 1e-12, 0.0);
    }
}
