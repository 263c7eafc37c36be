//! Directions between models: velocities of great circles.

use ndarray::{Array2, ArrayView2, Zip};

/// The velocity at `p` of the great circle that is at `q` after a time of 1, [N, C]: per sample
/// v = a / sin a (sqrt(q) - cos a sqrt(p)), cos a = sum_c sqrt(p q). It is orthogonal to sqrt(p) and as long as the angle
/// a; 0 where p and q are equal.
///
/// # Panics
/// When the shapes differ.
pub fn velocity<P, Q>(p: ArrayView2<P>, q: ArrayView2<Q>) -> Array2<f64>
where
    P: Copy + Into<f64>,
    Q: Copy + Into<f64>,
{
    let from = p.mapv(|p| p.into().sqrt());
    let mut velocity = q.mapv(|q| q.into().sqrt());
    Zip::from(velocity.rows_mut()).and(from.rows()).for_each(|mut v, p| {
        let cosine = v.dot(&p).min(1.0);
        // What is left without the part along p, and its length: near an angle of 0 better than its cosine's sine.
        v.zip_mut_with(&p, |v, &p| *v -= cosine * p);
        let sine = v.dot(&v).sqrt();
        let angle = sine.atan2(cosine);
        if sine > 0.0 {
            v *= angle / sine;
        }
    });
    velocity
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::geodesic::{geodesic, great_circle};
    use crate::golden::{assert_close, golden};
    use crate::truth::Truth;

    #[test]
    fn it_is_the_derivative_of_the_great_circle() {
        let models = golden::<f32, 3>("bhattacharyya_p");
        let (p, q) = (models.index_axis(ndarray::Axis(0), 2), models.index_axis(ndarray::Axis(0), 5));
        let v = velocity(p, q);
        let step = 1e-6;
        let ahead = great_circle(p, q, step).mapv(f64::sqrt);
        let numeric = (ahead - p.mapv(|p| f64::from(p).sqrt())) / step;
        v.iter().zip(&numeric).for_each(|(&v, &numeric)| assert_close(v, numeric, 1e-5, 0.0));
    }

    #[test]
    fn it_is_as_long_as_the_angle_and_orthogonal_to_where_it_starts() {
        let models = golden::<f64, 4>("trajectories");
        let (p, q) = (models.slice(ndarray::s![0, 1, .., ..]), models.slice(ndarray::s![1, 9, .., ..]));
        let v = velocity(p, q);
        for ((v, p), q) in v.rows().into_iter().zip(p.rows()).zip(q.rows()) {
            let (p, q) = (p.mapv(f64::sqrt), q.mapv(f64::sqrt));
            assert_close(v.dot(&p), 0.0, 1e-12, 0.0);
            assert_close(v.dot(&v).sqrt(), p.dot(&q).min(1.0).acos(), 1e-7, 0.0);
        }
    }

    #[test]
    fn along_the_geodesic_it_grows_with_progress() {
        let truth = Truth::new(&[1, 0], 3).unwrap();
        let points = geodesic(&truth, &[0.0, 0.25, 1.0]);
        let at = |index| points.index_axis(ndarray::Axis(0), index);
        let (quarter, whole) = (velocity(at(0), at(1)), velocity(at(0), at(2)));
        quarter.iter().zip(&whole).for_each(|(&a, &b)| assert_close(a, 0.25 * b, 1e-6, 0.0));
    }

    #[test]
    fn from_a_model_to_itself_there_is_no_direction() {
        let p = array![[0.25, 0.75], [1.0, 0.0]];
        assert!(velocity(p.view(), p.view()).iter().all(|v| v.abs() < 1e-15));
    }
}
