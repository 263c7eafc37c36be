//! Points that are placed in an embedding without being part of it.

use ndarray::{Array2, ArrayView2, Axis};

use crate::inpca::Inpca;

impl Inpca {
    /// Coordinates \[q, k\] of further points, from their distances to all embedded ones \[q, M\].
    ///
    /// A point with the distances d has w = -1/2 (d - mean(d) - means + mean(means)), as a row of W has, and the
    /// coordinate (w . v) / (sign(λ) sqrt|λ|) in the dimension of the eigenvector v; means are by weight, and with weights v
    /// is sqrt(weight) times the vector that is in this formula. An embedded point is placed where it is. In a dimension of
    /// eigenvalue 0 all coordinates are 0.
    ///
    /// # Panics
    /// When there is not a distance to each embedded point.
    pub fn place(&self, distances: ArrayView2<f64>) -> Array2<f64> {
        assert_eq!(distances.ncols(), self.weights.len(), "distances to all embedded points");
        let total = self.weights.sum();
        let mean = self.means.dot(&self.weights) / total;
        // With x = v sqrt|λ|, v / (sign(λ) sqrt|λ|) is x / λ.
        let mut axes = &self.coordinates * &self.weights.view().insert_axis(Axis(1));
        for (mut axis, &value) in axes.columns_mut().into_iter().zip(&self.eigenvalues) {
            axis.mapv_inplace(|x| if value == 0.0 { 0.0 } else { x / value });
        }
        let mut centred = distances.to_owned();
        for mut row in centred.rows_mut() {
            let own = row.dot(&self.weights) / total;
            row.zip_mut_with(&self.means, |d, other| *d = -0.5 * (*d - own - other + mean));
        }
        centred.dot(&axes)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, s};

    use crate::golden::matrix;
    use crate::inpca::{inpca, whole};

    #[test]
    fn points_are_placed_where_the_reference_has_them_up_to_sign() {
        let found = inpca(matrix("inpca_distances"), 6, 1).unwrap();
        // The last model of the reference is not embedded.
        let distances = matrix("bhattacharyya_qp");
        let placed = found.place(distances.slice(s![.., ..26]));
        let (expected, axes) = (matrix("out_of_sample_coordinates"), matrix("out_of_sample_eigenvectors"));
        assert_eq!(placed.dim(), (5, 6));
        for k in 0..6 {
            let sign = found.coordinates.column(k).dot(&axes.column(k)).signum();
            for q in 0..5 {
                let (x, other) = (placed[[q, k]], sign * expected[[q, k]]);
                assert!((x - other).abs() < 1e-10, "{q} {k}: {x} {other}");
            }
        }
    }

    #[test]
    fn embedded_points_are_placed_where_they_are_with_and_without_weights() {
        let distances = matrix("inpca_distances");
        let weights = Array1::from_shape_fn(26, |point| 1.0 + (point % 5) as f64);
        let weights = &weights / weights.sum();
        for weights in [None, Some(weights)] {
            let found = whole(distances.clone(), weights, 10, 1).unwrap();
            let error = found.place(distances.view()) - &found.coordinates;
            assert!(error.iter().all(|error| error.abs() < 1e-9), "{error}");
        }
    }
}
