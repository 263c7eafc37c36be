//! Progress: how far along the geodesic from ignorance to truth a model is.

use ndarray::ArrayView2;

use crate::geodesic::Weights;
use crate::reference::EMPTY_OVERLAP;
use crate::truth::Truth;

/// Halvings of [0, 1] in the search for the nearest point: to within 6e-11.
const HALVINGS: u32 = 34;

/// Samples summed side by side, so that sums are vectorised in one fixed order.
const LANES: usize = 8;

/// All that tells how a model lies to the geodesic: its overlap with every point of it follows from two numbers a
/// sample, since the point's probabilities are equal but for the true class.
///
/// Each sample is taken with its probabilities divided by their sum: the rounding of f32 would else blur small angles.
#[derive(Debug, Clone)]
pub struct Alignment<'a> {
    truth: &'a Truth,
    /// Overlap with ignorance: sqrt(1/C) sum_c sqrt(p_c).
    ignorance: Vec<f64>,
    /// Overlap with truth: sqrt(p of the true class).
    own: Vec<f64>,
}

impl<'a> Alignment<'a> {
    /// Of a model [N, C] of finite, non-negative values, some positive in each sample.
    ///
    /// # Panics
    /// When the model has not the samples and classes of the truth.
    pub fn new<T: Copy + Into<f64>>(model: ArrayView2<T>, truth: &'a Truth) -> Alignment<'a> {
        assert_eq!(model.dim(), (truth.samples(), truth.classes()), "samples and classes of model and truth");
        let uniform = (1.0 / truth.classes() as f64).sqrt();
        let overlaps = model.rows().into_iter().zip(truth.labels()).map(|(sample, &label)| {
            let (sum, roots) = sample.iter().fold((0.0, 0.0), |(sum, roots), &p| {
                let p: f64 = p.into();
                (sum + p, roots + p.sqrt())
            });
            let own: f64 = sample[label].into();
            (uniform * roots / sum.sqrt(), (own / sum).sqrt())
        });
        let (ignorance, own) = overlaps.unzip();
        Alignment { truth, ignorance, own }
    }

    /// The progress: the t in [0, 1] whose point of the geodesic is nearest by the sum over samples of the great-circle
    /// angle, within 6e-11 (flatter minima within what rounding can tell).
    ///
    /// An angle to a point that moves along a great circle is a convex function of where the point is, as long as it is at
    /// most a right angle (its second derivative is a non-negative multiple of its cotangent); angles between square
    /// roots of probabilities are. So the sum is convex, and the sign of its derivative leads to the minimum.
    pub fn progress(&self) -> f64 {
        if self.slope(0.0) >= 0.0 {
            return 0.0;
        }
        if self.slope(1.0) <= 0.0 {
            return 1.0;
        }
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..HALVINGS {
            let middle = 0.5 * (low + high);
            if self.slope(middle) < 0.0 { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    }

    /// The Bhattacharyya distance of the model to the geodesic's point at `t`.
    pub fn distance(&self, t: f64) -> f64 {
        let weights = Weights::at(t, self.truth);
        let samples = self.ignorance.iter().zip(&self.own).map(|(&ignorance, &own)| {
            let overlap = weights.ignorance * ignorance + weights.truth * own;
            if overlap == 0.0 { EMPTY_OVERLAP } else { (-overlap.ln()).max(0.0) }
        });
        samples.sum::<f64>() / self.own.len() as f64
    }

    /// The derivative by t of the sum of angles: -sum_n o'(t) / sqrt(1 - o(t)^2), o the overlap. A sample that lies on the
    /// point itself has no derivative there; 0 is between those on its two sides.
    fn slope(&self, t: f64) -> f64 {
        let (at, by) = (Weights::at(t, self.truth), Weights::slope_at(t, self.truth));
        let term = |ignorance: f64, own: f64| {
            let overlap = at.ignorance * ignorance + at.truth * own;
            let slope = by.ignorance * ignorance + by.truth * own;
            let gap = 1.0 - overlap * overlap;
            let gap = if gap > 0.0 { gap } else { f64::INFINITY };
            -slope / gap.sqrt()
        };
        let (ignorance, own) = (self.ignorance.as_chunks::<LANES>(), self.own.as_chunks::<LANES>());
        let mut sums = [0.0; LANES];
        for (ignorance, own) in ignorance.0.iter().zip(own.0) {
            for lane in 0..LANES {
                sums[lane] += term(ignorance[lane], own[lane]);
            }
        }
        let rest = ignorance.1.iter().zip(own.1).map(|(&ignorance, &own)| term(ignorance, own));
        sums.iter().sum::<f64>() + rest.sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Axis, s};

    use super::*;
    use crate::geodesic::geodesic;
    use crate::golden::{assert_close, golden};
    use crate::reference;

    fn labels() -> Truth {
        Truth::new(golden::<i64, 1>("labels").as_slice().unwrap(), 10).unwrap()
    }

    #[test]
    fn progress_agrees_with_the_golden_values() {
        let (truth, trajectories) = (labels(), golden::<f64, 4>("trajectories"));
        let expected = golden::<f64, 2>("progress_prod");
        for ((k, i), &expected) in expected.indexed_iter() {
            let found = Alignment::new(trajectories.slice(s![k, i, .., ..]), &truth).progress();
            assert_close(found, expected, 1e-6, 0.0);
        }
    }

    #[test]
    fn a_point_of_the_geodesic_is_where_it_is() {
        let truth = labels();
        let t: Vec<f64> = (0..=20).map(|i| f64::from(i) / 20.0).collect();
        for (point, &t) in geodesic(&truth, &t).outer_iter().zip(&t) {
            let alignment = Alignment::new(point, &truth);
            // The probabilities are f32: their rounding moves a point by as much.
            assert_close(alignment.progress(), t, 1e-6, 0.0);
            assert_close(alignment.distance(t), 0.0, 1e-12, 0.0);
        }
    }

    #[test]
    fn ignorance_and_truth_are_exactly_the_ends() {
        let truth = labels();
        let ends = geodesic(&truth, &[0.0, 1.0]);
        let progress = |end| Alignment::new(ends.index_axis(Axis(0), end), &truth).progress();
        assert_eq!((progress(0), progress(1)), (0.0, 1.0));
    }

    #[test]
    fn a_model_that_is_surely_wrong_has_made_no_progress() {
        let truth = Truth::new(&[0, 1, 0], 2).unwrap();
        let wrong = ndarray::array![[0.0f32, 1.0], [1.0, 0.0], [0.0, 1.0]];
        let alignment = Alignment::new(wrong.view(), &truth);
        assert_eq!(alignment.progress(), 0.0);
        assert_eq!(alignment.distance(1.0), EMPTY_OVERLAP);
    }

    #[test]
    fn the_nearest_point_is_nearest() {
        let (truth, models) = (labels(), golden::<f32, 3>("bhattacharyya_p"));
        let angles = |model: ArrayView2<f32>, t: f64| {
            let point = geodesic(&truth, &[t]);
            let overlap = &model.mapv(|p| f64::from(p).sqrt())
                * &point.index_axis(Axis(0), 0).mapv(|p| f64::from(p).sqrt());
            overlap.sum_axis(Axis(1)).mapv(|overlap| overlap.min(1.0).acos()).sum()
        };
        for model in models.outer_iter().take(24) {
            let nearest = Alignment::new(model, &truth).progress();
            let least = angles(model, nearest);
            for other in (0..=50).map(|i| f64::from(i) / 50.0) {
                assert!(angles(model, other) >= least - 1e-4, "{other} is nearer than {nearest}");
            }
        }
    }

    #[test]
    fn the_distance_to_a_point_agrees_with_the_definition() {
        let (truth, models) = (labels(), golden::<f32, 3>("bhattacharyya_p"));
        for (t, point) in [0.0, 0.3, 1.0].iter().zip(geodesic(&truth, &[0.0, 0.3, 1.0]).outer_iter()) {
            for model in models.outer_iter() {
                let expected = reference::bhattacharyya(model, point);
                assert_close(Alignment::new(model, &truth).distance(*t), expected, 1e-7, 1e-7);
            }
        }
    }

    #[test]
    fn samples_beyond_the_lanes_count_as_much() {
        let truth = Truth::new(&[0; 11], 2).unwrap();
        let mut model = Array2::from_elem((11, 2), 0.5f32);
        model.row_mut(10).assign(&ndarray::array![1.0, 0.0]);
        assert!(Alignment::new(model.view(), &truth).slope(0.5) > 0.0);
        model.row_mut(10).fill(0.5);
        model.slice_mut(s![1.., 0]).fill(1.0);
        model.slice_mut(s![1.., 1]).fill(0.0);
        assert!(Alignment::new(model.view(), &truth).slope(0.5) < 0.0);
    }
}
