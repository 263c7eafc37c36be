//! The doubly centred matrix of distances, W = -1/2 L D L, as an operator: D is read, W is nowhere.

use std::sync::{Mutex, PoisonError};

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Zip, s};

use crate::SpectralError;
use crate::blocks::Blocks;

/// R W R, where R is diagonal: the roots of weights. With weights of 1 it is W.
pub(crate) struct Centred<'a> {
    blocks: Blocks<'a>,
    /// The roots of the weights \[M\]; what the operator makes nothing of.
    pub(crate) roots: Array1<f64>,
    /// Means of D's rows, by weight \[M\].
    pub(crate) means: Array1<f64>,
    /// Their mean, by weight.
    mean: f64,
    /// The operator's squared Frobenius norm.
    pub(crate) stress: f64,
    /// W's diagonal \[M\].
    pub(crate) diagonal: Array1<f64>,
}

/// What a pass adds up for a row of blocks.
struct Sums {
    /// Of D's rows, by weight.
    rows: Array1<f64>,
    /// Of the squares of D on and above its diagonal's blocks, by both weights.
    squares: f64,
    diagonal: Array1<f64>,
}

impl<'a> Centred<'a> {
    /// Takes one pass over the distances. `weights` \[M\] are above 0.
    pub(crate) fn new(
        blocks: Blocks<'a>,
        weights: ArrayView1<f64>,
        threads: usize,
    ) -> Result<Centred<'a>, SpectralError> {
        let empty = |range: std::ops::Range<usize>| {
            let zeros = Array1::zeros(range.len());
            Mutex::new(Sums { rows: zeros.clone(), squares: 0.0, diagonal: zeros })
        };
        let sums: Vec<Mutex<Sums>> = blocks.ranges().map(empty).collect();
        blocks.each(threads, |a, b, block| {
            let [own, other] = [a, b].map(|block| weights.slice(s![blocks.range(block)]));
            let mut squares = 0.0;
            let mut across = Array1::zeros(own.len());
            let mut down = Array1::zeros(other.len());
            let mut row = Array1::zeros(other.len());
            for ((values, own), across) in block.rows().zip(own).zip(&mut across) {
                row.iter_mut().zip(values).for_each(|(to, value)| *to = f64::from(*value));
                *across = row.dot(&other);
                down.scaled_add(*own, &row);
                squares += own * (&row * &row).dot(&other);
            }
            let mut sums_of_a = sums[a].lock().unwrap_or_else(PoisonError::into_inner);
            sums_of_a.rows += &across;
            if a == b {
                sums_of_a.squares += squares;
                sums_of_a.diagonal = (0..across.len()).map(|point| block.at(point, point)).collect();
            } else {
                sums_of_a.squares += 2.0 * squares;
                sums[b].lock().unwrap_or_else(PoisonError::into_inner).rows += &down;
            }
        })?;

        let (mut means, mut diagonal) = (Array1::zeros(blocks.points()), Array1::zeros(blocks.points()));
        let mut squares = 0.0;
        for (sums, range) in sums.into_iter().zip(blocks.ranges()) {
            let sums = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
            means.slice_mut(s![range.clone()]).assign(&sums.rows);
            diagonal.slice_mut(s![range]).assign(&sums.diagonal);
            squares += sums.squares;
        }
        let total = weights.sum();
        means /= total;
        let mean = weights.dot(&means) / total;
        // The sum of w_i w_j (D_ij - m_i - m_j + m)², multiplied out.
        let stress =
            0.25 * (squares - 2.0 * total * weights.dot(&(&means * &means)) + total * total * mean * mean);
        Zip::from(&mut diagonal)
            .and(&means)
            .for_each(|value, own| *value = -0.5 * (*value - 2.0 * own + mean));
        Ok(Centred { blocks, roots: weights.mapv(f64::sqrt), means, mean, stress: stress.max(0.0), diagonal })
    }

    /// The operator times each row of `x` \[b, M\]; takes one pass.
    pub(crate) fn times(&self, threads: usize, x: ArrayView2<f64>) -> Result<Array2<f64>, SpectralError> {
        let scaled = &x * &self.roots;
        let sums = scaled.sum_axis(Axis(1));
        let by_means = scaled.dot(&self.means);
        let mut image = self.blocks.times(threads, scaled)?;
        Zip::from(image.rows_mut()).and(&sums).and(&by_means).for_each(|mut row, sum, by_means| {
            Zip::from(&mut row).and(&self.means).and(&self.roots).for_each(|value, own, root| {
                *value = -0.5 * root * (*value - own * sum - by_means + self.mean * sum);
            });
        });
        Ok(image)
    }
}
