//! Progress: how far along the geodesic from ignorance to truth a model is.

use ndarray::{ArrayView2, Axis};

use crate::geodesic::Weights;
use crate::reference::EMPTY_OVERLAP;
use crate::truth::Truth;

/// The search for the nearest point ends when that is known to lie in an interval this short; it then says its middle.
const WIDTH: f64 = 1e-10;

/// Samples summed side by side, so that sums are vectorised in one fixed order.
const LANES: usize = 8;

/// Samples whose square roots are taken at once: enough for whole vectors, few enough to stay in cache.
const ROOTS: usize = 64;

/// Where a model is along the geodesic, and how far from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// See [`Alignment::progress`].
    pub progress: f64,
    /// The Bhattacharyya distance to the geodesic's point there.
    pub distance: f64,
}

/// All that tells how a model lies to the geodesic: its overlap with every point of it follows from two numbers a
/// sample, since the point's probabilities are equal but for the true class. Samples may come some at a time.
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

/// The first two derivatives by t of the sum of angles to the geodesic's point at t.
#[derive(Debug, Clone, Copy, Default)]
struct Slopes {
    first: f64,
    second: f64,
}

impl<'a> Alignment<'a> {
    /// Of a model without samples so far.
    pub fn begin(truth: &'a Truth) -> Alignment<'a> {
        let [ignorance, own] = [(); 2].map(|()| Vec::with_capacity(truth.samples()));
        Alignment { truth, ignorance, own }
    }

    /// Of a model [N, C].
    ///
    /// # Panics
    /// When the model has not the samples and classes of the truth.
    pub fn new<T: Copy + Into<f64>>(model: ArrayView2<T>, truth: &'a Truth) -> Alignment<'a> {
        assert_eq!(model.nrows(), truth.samples(), "samples of model and truth");
        let mut alignment = Alignment::begin(truth);
        alignment.add(model);
        alignment
    }

    /// Adds the model's next samples, [samples, C]: finite, non-negative values, some positive in each sample.
    ///
    /// # Panics
    /// When there are more than the truth has, or of other classes.
    pub fn add<T: Copy + Into<f64>>(&mut self, samples: ArrayView2<T>) {
        let Alignment { truth, ignorance, own } = self;
        let classes = truth.classes();
        assert_eq!(samples.ncols(), classes, "classes of model and truth");
        let labels = &truth.labels()[own.len()..][..samples.nrows()];
        let uniform = (1.0 / classes as f64).sqrt();
        let (mut values, mut roots) =
            (Vec::with_capacity(ROOTS * classes), Vec::with_capacity(ROOTS * classes));
        for (samples, labels) in samples.axis_chunks_iter(Axis(0), ROOTS).zip(labels.chunks(ROOTS)) {
            values.clear();
            match samples.as_slice() {
                Some(slice) => values.extend(slice.iter().map(|&p| p.into())),
                None => values.extend(samples.iter().map(|&p| p.into())),
            }
            roots.clear();
            roots.extend(values.iter().map(|p: &f64| p.sqrt()));
            let rows = values.chunks_exact(classes).zip(roots.chunks_exact(classes));
            for ((values, roots), &label) in rows.zip(labels) {
                let whole = values.iter().sum::<f64>().sqrt();
                ignorance.push(uniform * roots.iter().sum::<f64>() / whole);
                own.push(roots[label] / whole);
            }
        }
    }

    /// The progress, and the distance to the geodesic's point there.
    ///
    /// # Panics
    /// Here and below, when samples are missing.
    pub fn place(&self) -> Place {
        let progress = self.progress();
        Place { progress, distance: self.distance(progress) }
    }

    /// The progress: the t in [0, 1] whose point of the geodesic is nearest by the sum over samples of the great-circle
    /// angle, within 5e-11 (flatter minima within what rounding can tell).
    ///
    /// An angle to a point that moves along a great circle is a convex function of where the point is, as long as it is at
    /// most a right angle (its second derivative is a non-negative multiple of its cotangent); angles between square
    /// roots of probabilities are. So the sum is convex, and the sign of its derivative leads to the minimum: by
    /// Newton's steps, or by halves where these leave the interval or do not shrink (a sample that is almost on the
    /// geodesic makes a kink).
    pub fn progress(&self) -> f64 {
        assert_eq!(self.own.len(), self.truth.samples(), "samples of model and truth");
        let (from, to) = (self.slopes(0.0).first, self.slopes(1.0).first);
        if from >= 0.0 {
            return 0.0;
        }
        if to <= 0.0 {
            return 1.0;
        }
        let (mut low, mut high) = (0.0, 1.0);
        let mut t = from / (from - to);
        let mut last_step = 1.0f64;
        while high - low > WIDTH {
            let Slopes { first, second } = self.slopes(t);
            if first < 0.0 {
                low = t
            } else {
                high = t
            }
            let newton = -first / second;
            // The last step goes beyond the minimum, which is then between two points.
            let step = if newton.abs() < WIDTH / 2.0 { (WIDTH / 2.0).copysign(-first) } else { newton };
            let next = t + step;
            let good = low < next && next < high && step.abs() <= 0.5 * last_step;
            let next = if good { next } else { 0.5 * (low + high) };
            last_step = (next - t).abs();
            t = next;
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

    /// With o the overlap of a sample with the point at t, x its angle, and a that between ignorance and truth: o'' = -a^2 o,
    /// so that x' = -o' / sqrt(1 - o^2) and x'' = o (a^2 - x'^2) / sqrt(1 - o^2). A sample that lies on the point itself has no
    /// derivative there; 0 is between those on its two sides.
    fn slopes(&self, t: f64) -> Slopes {
        let (at, by) = (Weights::at(t, self.truth), Weights::slope_at(t, self.truth));
        let square = self.truth.angle().powi(2);
        let term = |ignorance: f64, own: f64| {
            let overlap = at.ignorance * ignorance + at.truth * own;
            let slope = by.ignorance * ignorance + by.truth * own;
            let gap = 1.0 - overlap * overlap;
            // 1 / sqrt(gap): a root and a division of f32 are much cheaper, and one step of Newton's makes 14 digits of 7.
            // A gap that is not 0 is at least 1e-16.
            let rough = f64::from(1.0 / (gap as f32).sqrt());
            let inverse = rough * (1.5 - 0.5 * gap * rough * rough);
            let inverse = if gap > 0.0 { inverse } else { 0.0 };
            let first = -slope * inverse;
            Slopes { first, second: overlap * (square - first * first) * inverse }
        };
        let (ignorance, own) = (self.ignorance.as_chunks::<LANES>(), self.own.as_chunks::<LANES>());
        let (mut first, mut second) = ([0.0; LANES], [0.0; LANES]);
        for (ignorance, own) in ignorance.0.iter().zip(own.0) {
            for lane in 0..LANES {
                let term = term(ignorance[lane], own[lane]);
                first[lane] += term.first;
                second[lane] += term.second;
            }
        }
        let sums = Slopes { first: first.iter().sum(), second: second.iter().sum() };
        ignorance.1.iter().zip(own.1).fold(sums, |sums, (&ignorance, &own)| {
            let term = term(ignorance, own);
            Slopes { first: sums.first + term.first, second: sums.second + term.second }
        })
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
    fn progress_is_what_halving_finds() {
        let (truth, trajectories) = (labels(), golden::<f64, 4>("trajectories"));
        for checkpoints in trajectories.outer_iter() {
            for model in checkpoints.outer_iter() {
                let found = Alignment::new(model, &truth).progress();
                assert_close(found, reference::progress(model, &truth), 1e-9, 0.0);
            }
        }
        // Few samples, almost on the geodesic: kinks, where Newton's steps do not lead far. (Odd numbers of them: with even
        // ones all between the middle two is a minimum.)
        for (count, aside) in [(1, 1e-3), (3, 1e-5), (3, 1e-7), (5, 1e-9), (5, 0.0)] {
            let truth = Truth::new(&[0, 1, 2, 0, 1][..count], 3).unwrap();
            for step in 0..50 {
                let t = |sample: usize| (f64::from(step) / 50.0 + 0.13 * sample as f64) % 1.0;
                let mut model = Array2::<f64>::zeros((count, 3));
                for (sample, mut row) in model.outer_iter_mut().enumerate() {
                    let Weights { ignorance, truth: own } = Weights::at(t(sample), &truth);
                    row.fill((ignorance / 3f64.sqrt()).powi(2));
                    row[truth.labels()[sample]] = (ignorance / 3f64.sqrt() + own).powi(2);
                    row[(truth.labels()[sample] + 1) % 3] += aside;
                    row /= row.sum();
                }
                let found = Alignment::new(model.view(), &truth).progress();
                let expected = reference::progress(model.view(), &truth);
                // Where 1 - overlap^2 is rounding, so is the place of a kink: its square root.
                assert_close(found, expected, if aside > 1e-6 { 1e-9 } else { 1e-7 }, 0.0);
            }
        }
    }

    #[test]
    fn samples_may_come_some_at_a_time() {
        let (truth, models) = (labels(), golden::<f32, 3>("bhattacharyya_p"));
        for model in models.outer_iter() {
            let mut some = Alignment::begin(&truth);
            for samples in model.axis_chunks_iter(Axis(0), 17) {
                some.add(samples);
            }
            assert_eq!(some.place(), Alignment::new(model, &truth).place());
        }
    }

    #[test]
    fn two_classes_lie_on_a_circle() {
        // Square roots of two probabilities are a point of a circle; with one sample progress is an angle on it, from 45
        // degrees to the truth's.
        let truth = Truth::new(&[0], 2).unwrap();
        let eighth = std::f64::consts::FRAC_PI_4;
        for angle in [0.0, 0.1, 0.3, 0.7] {
            let model = ndarray::array![[f64::cos(angle).powi(2), f64::sin(angle).powi(2)]];
            let alignment = Alignment::new(model.view(), &truth);
            assert_close(alignment.progress(), 1.0 - angle / eighth, 1e-7, 0.0);
            assert_close(alignment.distance(1.0), -f64::cos(angle).ln(), 1e-14, 1e-12);
        }
        // Beyond ignorance, on the wrong side of it.
        let wrong = ndarray::array![[0.3, 0.7]];
        assert_eq!(Alignment::new(wrong.view(), &truth).progress(), 0.0);
        // Two samples as far on both sides of a point: half way between them.
        let truth = Truth::new(&[0, 1], 2).unwrap();
        let at = |angle: f64| [angle.cos().powi(2), angle.sin().powi(2)];
        let (near, far) = (at(0.2), at(0.5));
        let model = ndarray::array![near, [far[1], far[0]]];
        let flat = Alignment::new(model.view(), &truth).slopes(1.0 - 0.35 / eighth);
        assert_close(flat.first, 0.0, 1e-12, 0.0);
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
        assert!(Alignment::new(model.view(), &truth).slopes(0.5).first > 0.0);
        model.row_mut(10).fill(0.5);
        model.slice_mut(s![1.., 0]).fill(1.0);
        model.slice_mut(s![1.., 1]).fill(0.0);
        assert!(Alignment::new(model.view(), &truth).slopes(0.5).first < 0.0);
    }
}
