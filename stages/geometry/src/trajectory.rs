//! Trajectories re-indexed by progress.
//!
//! The distance of two trajectories is the mean, over a grid of progress, of the distance of their points there.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, ArrayView3, Axis, arr0, s};

use crate::geodesic::great_circle;

/// The checkpoints of a run, with their progress made never to fall.
#[derive(Debug, Clone)]
pub struct Trajectory<'a, T> {
    checkpoints: ArrayView3<'a, T>,
    /// The running maximum of progress, [T].
    reached: Vec<f64>,
}

impl<'a, T: Copy + Into<f64>> Trajectory<'a, T> {
    /// Of checkpoints [T, N, C] and the progress of each.
    ///
    /// # Panics
    /// When there are no checkpoints, or not as many as values of progress.
    pub fn new(checkpoints: ArrayView3<'a, T>, progress: &[f64]) -> Trajectory<'a, T> {
        assert!(!progress.is_empty(), "a trajectory has checkpoints");
        assert_eq!(checkpoints.len_of(Axis(0)), progress.len(), "a checkpoint each value of progress");
        let reached = progress.iter().scan(f64::NEG_INFINITY, |most, &progress| {
            *most = progress.max(*most);
            Some(*most)
        });
        Trajectory { checkpoints, reached: reached.collect() }
    }

    /// The trajectory of some of the samples alone: what is computed sample by sample can be so in bounded memory.
    ///
    /// # Panics
    /// When there are not so many samples.
    pub fn samples(&self, range: Range<usize>) -> Trajectory<'a, T> {
        Trajectory {
            checkpoints: self.checkpoints.slice_move(s![.., range, ..]),
            reached: self.reached.clone(),
        }
    }

    /// The point of the trajectory at a progress above 0, as probabilities [N, C]: on the great circle between the two
    /// checkpoints around it; before the first checkpoint between ignorance and that; after the last one, the last.
    pub fn at(&self, progress: f64) -> Array2<f64> {
        let next = self.reached.partition_point(|&reached| reached < progress);
        let checkpoint = |index| -> ArrayView2<T> { self.checkpoints.index_axis(Axis(0), index) };
        if next == self.reached.len() {
            return checkpoint(next - 1).mapv(Into::into);
        }
        if next == 0 {
            let first = checkpoint(0);
            let uniform = arr0(1.0 / first.ncols() as f64);
            let ignorance = uniform.broadcast(first.dim()).expect("one value fills any shape");
            return great_circle(ignorance, first, progress / self.reached[0]);
        }
        let (from, to) = (self.reached[next - 1], self.reached[next]);
        great_circle(checkpoint(next - 1), checkpoint(next), (progress - from) / (to - from))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array4, Zip, array};

    use super::*;
    use crate::distance::{Measure, Model, within};
    use crate::geodesic::geodesic;
    use crate::golden::{assert_close, golden};
    use crate::progress::{Alignment, places};
    use crate::reference;
    use crate::truth::Truth;

    #[test]
    fn reindexed_trajectories_agree_with_the_golden_values() {
        let (trajectories, progress) = (golden::<f64, 4>("trajectories"), golden::<f64, 2>("progress_prod"));
        let (grid, expected) =
            (golden::<f64, 1>("reindexed_grid"), golden::<f64, 4>("reindexed_trajectories"));
        for (k, expected) in expected.outer_iter().enumerate() {
            let progress = progress.row(k).to_vec();
            let trajectory = Trajectory::new(trajectories.index_axis(Axis(0), k), &progress);
            for (&s, expected) in grid.iter().zip(expected.outer_iter()) {
                Zip::from(&trajectory.at(s))
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
        let places = places(checkpoints.view(), &truth);
        for (place, t) in places.iter().zip([0.1, 0.35, 0.8]) {
            // f32 probabilities are this far from the geodesic themselves.
            assert_close(place.progress, t, 1e-6, 0.0);
            assert_close(place.distance, 0.0, 1e-12, 0.0);
        }
        let progress: Vec<f64> = places.iter().map(|place| place.progress).collect();
        let trajectory = Trajectory::new(checkpoints.view(), &progress);
        for t in [0.05, 0.1, 0.2, 0.5, 0.79] {
            let alignment = Alignment::new(trajectory.at(t).view(), &truth).progress();
            assert_close(alignment, t, 1e-6, 0.0);
        }
        // Identical trajectories are nowhere apart, whatever their checkpoints.
        let others = geodesic(&truth, &[0.2, 0.8]);
        let other = Trajectory::new(others.view(), &[0.2, 0.8]);
        for t in [0.1, 0.3, 0.6, 1.0] {
            let distance = reference::bhattacharyya(trajectory.at(t).view(), other.at(t).view());
            // The sums of f32 probabilities are so far from 1.
            assert_close(distance, 0.0, 1e-7, 0.0);
        }
    }

    #[test]
    fn some_samples_of_a_point_are_the_point_of_some_samples() {
        let (trajectories, progress) = (golden::<f64, 4>("trajectories"), golden::<f64, 2>("progress_prod"));
        let whole = Trajectory::new(trajectories.index_axis(Axis(0), 1), progress.row(1).as_slice().unwrap());
        for progress in [0.05, 0.5, 1.0] {
            let expected = whole.at(progress).slice_move(s![7..20, ..]);
            assert_eq!(whole.samples(7..20).at(progress), expected);
        }
    }

    #[test]
    fn a_trajectory_that_falls_back_stays_at_what_it_reached() {
        let checkpoints = array![[[0.5, 0.5]], [[0.9, 0.1]], [[0.6, 0.4]], [[1.0, 0.0]]];
        let trajectory = Trajectory::new(checkpoints.view(), &[0.0, 0.5, 0.2, 0.6]);
        assert_close(trajectory.at(0.5)[[0, 0]], 0.9, 1e-15, 0.0);
        // Just after that it starts from the checkpoint that fell back.
        assert_close(trajectory.at(0.5 + 1e-12)[[0, 0]], 0.6, 1e-9, 0.0);
        assert_close(trajectory.at(0.6)[[0, 0]], 1.0, 1e-15, 0.0);
        assert_eq!(trajectory.at(0.99), array![[1.0, 0.0]]);
    }

    #[test]
    fn before_its_first_checkpoint_a_trajectory_comes_from_ignorance() {
        let checkpoints = array![[[1.0f32, 0.0]]];
        let trajectory = Trajectory::new(checkpoints.view(), &[0.5]);
        let half = trajectory.at(0.25)[[0, 0]];
        assert_close(half, (std::f64::consts::PI / 8.0).cos().powi(2), 1e-12, 0.0);
    }
}
