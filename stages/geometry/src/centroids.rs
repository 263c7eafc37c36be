//! Six ways to average models.
//!
//! Each takes every sample for itself: K distributions over C classes become one.

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::reference::PROBABILITY_FLOOR;

/// An iteration ends when no probability changes by more than this, or after so many steps.
const TOLERANCE: f64 = 1e-12;
const MOST_STEPS: usize = 2_000;

/// A way to average distributions p_1 .. p_K.
///
/// The geometric and the harmonic mean and the Jeffreys centroid see probabilities floored at
/// [`PROBABILITY_FLOOR`]: a single 0 would else be a 0 of the centroid, however sure the others are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Centroid {
    /// `mean p`.
    Arithmetic,
    /// `exp mean log p`, divided by its sum.
    Geometric,
    /// `1 / mean (1 / p)`, divided by its sum.
    Harmonic,
    /// `(mean sqrt p)^2`. It sums to less than 1 where the distributions differ, and stays so.
    Root,
    /// The minimiser of the summed Bhattacharyya distance.
    Bhattacharyya,
    /// The minimiser of the summed symmetrised Kullback-Leibler divergence.
    Jeffreys,
}

impl Centroid {
    /// All of them.
    pub const ALL: [Centroid; 6] = [
        Centroid::Arithmetic,
        Centroid::Geometric,
        Centroid::Harmonic,
        Centroid::Root,
        Centroid::Bhattacharyya,
        Centroid::Jeffreys,
    ];

    /// As in tables: `arithmetic`, `geometric`, ..
    pub fn name(self) -> &'static str {
        match self {
            Centroid::Arithmetic => "arithmetic",
            Centroid::Geometric => "geometric",
            Centroid::Harmonic => "harmonic",
            Centroid::Root => "root",
            Centroid::Bhattacharyya => "bhattacharyya",
            Centroid::Jeffreys => "jeffreys",
        }
    }

    /// The centroid of models [N, C] of distributions, [N, C].
    ///
    /// # Panics
    /// When there are no models or their shapes differ.
    pub fn of<T: Copy + Into<f64>>(self, models: &[ArrayView2<T>]) -> Array2<f64> {
        let shape = models.first().expect("a centroid is of one model or more").dim();
        assert!(models.iter().all(|model| model.dim() == shape), "models of one shape");
        let mut centroid = Array2::zeros(shape);
        // The K distributions of a sample, [K, C].
        let mut sample = Array2::zeros((models.len(), shape.1));
        for (n, mut centre) in centroid.rows_mut().into_iter().enumerate() {
            for (mut row, model) in sample.rows_mut().into_iter().zip(models) {
                row.zip_mut_with(&model.row(n), |here, &p| *here = p.into());
            }
            let centre = centre.as_slice_mut().expect("a new array is contiguous");
            match self {
                Centroid::Arithmetic => mean(sample.view(), |p| p, centre),
                Centroid::Geometric => {
                    mean(sample.view(), |p| p.max(PROBABILITY_FLOOR).ln(), centre);
                    centre.iter_mut().for_each(|each| *each = each.exp());
                    normalise(centre);
                }
                Centroid::Harmonic => {
                    mean(sample.view(), |p| 1.0 / p.max(PROBABILITY_FLOOR), centre);
                    centre.iter_mut().for_each(|each| *each = 1.0 / *each);
                    normalise(centre);
                }
                Centroid::Root => {
                    mean(sample.view(), f64::sqrt, centre);
                    centre.iter_mut().for_each(|each| *each *= *each);
                }
                Centroid::Bhattacharyya => {
                    mean(sample.view(), |p| p, centre);
                    sample.mapv_inplace(f64::sqrt);
                    bhattacharyya(sample.view(), centre);
                }
                Centroid::Jeffreys => {
                    sample.mapv_inplace(|p| p.max(PROBABILITY_FLOOR));
                    sample.rows_mut().into_iter().for_each(|mut row| row /= row.sum());
                    jeffreys(sample.view(), centre);
                }
            }
        }
        centroid
    }
}

/// The mean over rows of a function of each value.
fn mean(sample: ArrayView2<f64>, of: impl Fn(f64) -> f64, centre: &mut [f64]) {
    centre.fill(0.0);
    for row in sample.rows() {
        centre.iter_mut().zip(row).for_each(|(sum, &p)| *sum += of(p));
    }
    centre.iter_mut().for_each(|sum| *sum /= sample.nrows() as f64);
}

fn normalise(centre: &mut [f64]) {
    let sum: f64 = centre.iter().sum();
    centre.iter_mut().for_each(|each| *each /= sum);
}

/// From square roots [K, C] and a first guess that is positive wherever one of them is: the concave-convex iteration of
/// Nielsen and Boltz (IEEE Trans. Inf. Theory 57(8), 2011, "The Burbea-Rao and Bhattacharyya centroids"), which never
/// goes uphill.
///
/// For distributions over classes the natural parameters are logarithms of probabilities, and the gradient of the
/// log-normaliser gives the probabilities back; so the step `gradF^-1 (mean gradF((theta_k + theta) / 2))` is:
/// the mean over k of the geometric means sqrt(p_k c), each divided by its sum.
fn bhattacharyya(roots: ArrayView2<f64>, centre: &mut [f64]) {
    let mut root = vec![0.0; centre.len()];
    let mut next = vec![0.0; centre.len()];
    for _ in 0..MOST_STEPS {
        root.iter_mut().zip(&*centre).for_each(|(root, centre)| *root = centre.sqrt());
        next.fill(0.0);
        for row in roots.rows() {
            let overlap: f64 = row.iter().zip(&root).map(|(p, c)| p * c).sum();
            // Divided one by one: the inverse of the smallest overlaps is no number.
            next.iter_mut().zip(row.iter().zip(&root)).for_each(|(next, (p, c))| *next += p * c / overlap);
        }
        normalise(&mut next);
        let change = next.iter().zip(&*centre).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        centre.copy_from_slice(&next);
        if change <= TOLERANCE {
            break;
        }
    }
}

/// Of positive distributions [K, C], by Nielsen ("Jeffreys centroids: a closed-form expression for positive histograms
/// and a guaranteed tight approximation for frequency histograms", IEEE Signal Process. Lett. 20(7), 2013): with the
/// arithmetic mean a and the geometric mean g, c = a / W(a / g exp(1 + l)), W Lambert's function and l the number
/// that makes the sum 1.
fn jeffreys(sample: ArrayView2<f64>, centre: &mut [f64]) {
    mean(sample, |p| p, centre);
    let arithmetic = centre.to_vec();
    mean(sample, f64::ln, centre);
    let logs: Vec<f64> = arithmetic.iter().zip(&*centre).map(|(a, log)| a.ln() - log).collect();
    // The sum falls with l and is convex, so Newton's steps come to the root from its left, after the first one at most.
    let mut multiplier = 0.0;
    for _ in 0..MOST_STEPS {
        let (mut sum, mut slope) = (0.0, 0.0);
        for ((centre, a), log) in centre.iter_mut().zip(&arithmetic).zip(&logs) {
            let w = lambert_of_exp(log + 1.0 + multiplier);
            *centre = a / w;
            sum += a / w;
            slope -= a / (w * (1.0 + w));
        }
        let step = (1.0 - sum) / slope;
        multiplier += step;
        if step.abs() <= TOLERANCE {
            break;
        }
    }
    normalise(centre);
}

/// Lambert's W of exp(z): the w with w + ln w = z. (W of the exponential itself would overflow.)
fn lambert_of_exp(z: f64) -> f64 {
    // Newton's steps on ln w, from an approximation that is good at both ends: exp(z) far below, z - ln z far above.
    let mut log = if z < 1.0 { z - z.exp().min(1.0) * 0.5 } else { (z - z.ln()).ln() };
    for _ in 0..MOST_STEPS {
        let w = log.exp();
        let step = (z - w - log) / (w + 1.0);
        log += step;
        if step.abs() <= f64::EPSILON * (1.0 + log.abs()) {
            break;
        }
    }
    log.exp()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, Axis, array, s};

    use super::*;
    use crate::geodesic::great_circle;
    use crate::golden::{assert_close, golden};
    use crate::reference;

    /// Positive models from the golden ones, without the rounding of f32.
    fn models(count: usize) -> Vec<Array2<f64>> {
        let all: Array3<f32> = golden("bhattacharyya_p");
        let mut models: Vec<_> = all.outer_iter().take(count).map(|model| model.mapv(f64::from)).collect();
        models.iter_mut().flat_map(|model| model.rows_mut()).for_each(|mut row| row /= row.sum());
        models
    }

    fn views(models: &[Array2<f64>]) -> Vec<ArrayView2<'_, f64>> {
        models.iter().map(|model| model.view()).collect()
    }

    #[test]
    fn equal_models_are_their_own_centroid() {
        let model = models(1).remove(0);
        for kind in Centroid::ALL {
            let centroid = kind.of(&[model.view(), model.view(), model.view()]);
            centroid.iter().zip(&model).for_each(|(&found, &p)| assert_close(found, p, 1e-9, 0.0));
        }
    }

    #[test]
    fn means_of_two_classes_are_what_the_formulas_say() {
        let (p, q) = (array![[0.9, 0.1]], array![[0.5, 0.5]]);
        let both = [p.view(), q.view()];
        let of = |kind: Centroid| kind.of(&both)[[0, 0]];
        assert_close(of(Centroid::Arithmetic), 0.7, 1e-15, 0.0);
        // sqrt(0.45) : sqrt(0.05) = 3 : 1
        assert_close(of(Centroid::Geometric), 0.75, 1e-14, 0.0);
        // 2 / (1/0.9 + 2) : 2 / (10 + 2) = 9/14 : 1/6
        assert_close(of(Centroid::Harmonic), 27.0 / 34.0, 1e-14, 0.0);
        assert_close(of(Centroid::Root), ((0.9f64.sqrt() + 0.5f64.sqrt()) / 2.0).powi(2), 1e-15, 0.0);
    }

    #[test]
    fn mirrored_distributions_meet_in_the_middle() {
        let (p, q) = (array![[0.9, 0.1]], array![[0.1, 0.9]]);
        for kind in Centroid::ALL {
            let centroid = kind.of(&[p.view(), q.view()]);
            assert_close(centroid[[0, 0]], centroid[[0, 1]], 1e-12, 0.0);
        }
    }

    #[test]
    fn two_models_have_their_bhattacharyya_centroid_half_way_on_the_great_circle() {
        let models = models(2);
        let centroid = Centroid::Bhattacharyya.of(&views(&models));
        let middle = great_circle(models[0].view(), models[1].view(), 0.5);
        centroid.iter().zip(&middle).for_each(|(&found, &p)| assert_close(found, p, 1e-9, 0.0));
        // There, too, but for its length, is the mean of the square roots.
        let mut root = Centroid::Root.of(&views(&models));
        root.rows_mut().into_iter().for_each(|mut row| row /= row.sum());
        root.iter().zip(&middle).for_each(|(&found, &p)| assert_close(found, p, 1e-12, 0.0));
    }

    #[test]
    fn minimisers_are_below_all_points_around_them() {
        let models = models(5);
        let views = views(&models);
        type Pair = fn(ArrayView2<f64>, ArrayView2<f64>) -> f64;
        let measures: [(Centroid, Pair); 2] =
            [(Centroid::Bhattacharyya, reference::bhattacharyya), (Centroid::Jeffreys, reference::kl)];
        for (kind, pair) in measures {
            let summed =
                |centre: ArrayView2<f64>| views.iter().map(|model| pair(*model, centre)).sum::<f64>();
            let centroid = kind.of(&views);
            centroid.rows().into_iter().for_each(|row| assert_close(row.sum(), 1.0, 1e-14, 0.0));
            let least = summed(centroid.view());
            for class in 0..9 {
                for shift in [-1e-3, 1e-3] {
                    let mut other = centroid.clone();
                    for mut row in other.rows_mut() {
                        let moved = shift * row[class].min(row[class + 1]);
                        row[class] += moved;
                        row[class + 1] -= moved;
                    }
                    assert!(summed(other.view()) > least, "{kind:?} {class} {shift}");
                }
            }
            for other in Centroid::ALL.into_iter().filter(|&other| other != kind && other != Centroid::Root) {
                assert!(summed(other.of(&views).view()) > least, "{other:?} is better than {kind:?}");
            }
        }
    }

    #[test]
    fn sure_models_have_centroids_that_are_distributions() {
        // The last golden models are truth, and one that gives the true class of sample 0 no probability at all.
        let all: Array3<f32> = golden("bhattacharyya_p");
        let sure = all.slice(s![24.., .., ..]);
        for kind in Centroid::ALL {
            let centroid = kind.of(&sure.axis_iter(Axis(0)).collect::<Vec<_>>());
            for row in centroid.rows() {
                assert!(row.iter().all(|p| (0.0..=1.0).contains(p)), "{kind:?}: {row}");
                let whole = if kind == Centroid::Root { 0.2..1.0 + 1e-12 } else { 1.0 - 1e-6..1.0 + 1e-6 };
                assert!(whole.contains(&row.sum()), "{kind:?}: {}", row.sum());
            }
        }
    }

    #[test]
    fn lamberts_function_solves_its_equation() {
        for z in [-700.0, -20.0, -1.0, 0.0, 0.5, 1.0, 1.5, 30.0, 1e4] {
            let w = lambert_of_exp(z);
            assert_close(w.ln() + w, z, 1e-13, 1e-13);
        }
        // W(1), the omega constant.
        assert_close(lambert_of_exp(0.0), 0.567_143_290_409_783_8, 1e-15, 0.0);
    }
}
