//! Great circles between models, and the geodesic from ignorance to truth.

use ndarray::{Array2, Array3, ArrayView2, Zip};

use crate::truth::Truth;

/// The point at `t` on the great circle from `p` (t = 0) to `q` (t = 1), as probabilities [N, C].
///
/// Per sample the square roots r(t) = [sin((1-t)a) sqrt(p) + sin(ta) sqrt(q)] / sin a, where cos a = sum_c sqrt(p q); the
/// probabilities are their squares. Where p and q are equal, the point is p.
///
/// # Panics
/// When the shapes differ.
pub fn great_circle<P, Q>(p: ArrayView2<P>, q: ArrayView2<Q>, t: f64) -> Array2<f64>
where
    P: Copy + Into<f64>,
    Q: Copy + Into<f64>,
{
    let mut point = p.mapv(|p| p.into().sqrt());
    let ends = q.mapv(|q| q.into().sqrt());
    Zip::from(point.rows_mut()).and(ends.rows()).for_each(|mut r, q| {
        let angle = r.dot(&q).min(1.0).acos();
        let sine = angle.sin();
        // An angle of 0 leaves r as it is; so does a sine too small to divide by.
        let (from, to) = if sine > 0.0 {
            (((1.0 - t) * angle).sin() / sine, (t * angle).sin() / sine)
        } else {
            (1.0, 0.0)
        };
        r.zip_mut_with(&q, |r, &q| *r = (from * *r + to * q).powi(2));
    });
    point
}

/// The geodesic from ignorance (1/C everywhere) to truth (one-hot labels) at the values `t`, [G, N, C], f32.
///
/// Every sample has the same angle, so its probabilities are one of two values: of its class, and of any other.
pub fn geodesic(truth: &Truth, t: &[f64]) -> Array3<f32> {
    let (samples, classes) = (truth.samples(), truth.classes());
    let mut points = Array3::zeros((t.len(), samples, classes));
    for (mut point, &t) in points.outer_iter_mut().zip(t) {
        let Weights { ignorance, truth: own } = Weights::at(t, truth);
        let other = ignorance / (classes as f64).sqrt();
        point.fill(other.powi(2) as f32);
        for (mut sample, &label) in point.rows_mut().into_iter().zip(truth.labels()) {
            sample[label] = (other + own).powi(2) as f32;
        }
    }
    points
}

/// How much of the square roots of ignorance and of truth make up those of the geodesic's point at `t`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weights {
    pub(crate) ignorance: f64,
    pub(crate) truth: f64,
}

impl Weights {
    /// sin((1-t)a) / sin a and sin(ta) / sin a.
    pub(crate) fn at(t: f64, truth: &Truth) -> Weights {
        let angle = truth.angle();
        Weights { ignorance: ((1.0 - t) * angle).sin() / angle.sin(), truth: (t * angle).sin() / angle.sin() }
    }

    /// Their derivatives by t.
    pub(crate) fn slope_at(t: f64, truth: &Truth) -> Weights {
        let angle = truth.angle();
        Weights {
            ignorance: -angle * ((1.0 - t) * angle).cos() / angle.sin(),
            truth: angle * (t * angle).cos() / angle.sin(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{array, s};

    use super::*;
    use crate::golden::{assert_close, golden};

    #[test]
    fn the_geodesic_agrees_with_the_golden_points() {
        let truth = Truth::new(golden::<i64, 1>("labels").as_slice().unwrap(), 10).unwrap();
        let t = golden::<f64, 1>("geodesic_t").to_vec();
        let expected = golden::<f64, 3>("geodesic_points");
        let found = geodesic(&truth, &t);
        assert_eq!(found.dim(), expected.dim());
        found.iter().zip(&expected).for_each(|(&p, &q)| assert_close(p.into(), q, 1e-12, 1e-7));
        let (first, last) = (expected.slice(s![0, .., ..]), expected.slice(s![10, .., ..]));
        for (&t, expected) in t.iter().zip(expected.outer_iter()) {
            let point = great_circle(first, last, t);
            point.iter().zip(&expected).for_each(|(&p, &q)| assert_close(p, q, 1e-12, 1e-10));
        }
    }

    #[test]
    fn its_ends_are_ignorance_and_truth_exactly() {
        let ends = geodesic(&Truth::new(&[2, 0], 3).unwrap(), &[0.0, 1.0]);
        assert!(ends.slice(s![0, .., ..]).iter().all(|&p| p == 1.0 / 3.0));
        assert_eq!(ends.slice(s![1, .., ..]), array![[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]);
    }

    #[test]
    fn between_equal_models_there_is_nowhere_to_go() {
        let p = array![[0.25f32, 0.75], [1.0, 0.0]];
        let point = great_circle(p.view(), p.view(), 0.4);
        point.iter().zip(&p).for_each(|(&found, &p)| assert_close(found, p.into(), 1e-15, 0.0));
    }

    #[test]
    fn models_without_overlap_are_a_quarter_turn_apart() {
        let point = great_circle(array![[1.0f32, 0.0]].view(), array![[0.0f32, 1.0]].view(), 1.0 / 3.0);
        assert_close(point[[0, 0]], 0.75, 1e-15, 0.0);
        assert_close(point[[0, 1]], 0.25, 1e-15, 0.0);
    }
}
