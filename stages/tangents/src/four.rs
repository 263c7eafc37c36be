//! Four points: ignorance, truth and two between them; and all models placed by their distances to these.

use anyhow::{Result, ensure};
use geometry::{Measure, Model, Truth, geodesic};
use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;
use runs::{Placed, Run};
use spectral::Inpca;

use crate::{DIMENSIONS, Params};

/// Samples that a thread averages at a time.
const SAMPLES: usize = 1_024;

/// An embedding of four points, ordered by progress, with all models placed in it.
pub(crate) struct Four {
    /// [4, 3].
    pub(crate) points: Array2<f64>,
    /// [models, 3], by run and checkpoint.
    pub(crate) models: Array2<f64>,
    pub(crate) eigenvalues: Vec<f64>,
}

impl Four {
    /// By the threads of the current pool.
    pub(crate) fn new(params: &Params, runs: &[Run], placed: &Placed, truth: &Truth) -> Result<Four> {
        let ends = geodesic(truth, &[0.0, 1.0]);
        let [low, high] = params.between;
        let (low, high) = (mean(low, params, runs, placed, truth)?, mean(high, params, runs, placed, truth)?);
        let four: [Model; 4] =
            [ends.index_axis(Axis(0), 0), low.view(), high.view(), ends.index_axis(Axis(0), 1)];
        let embedding = spectral::inpca(geometry::within(Measure::Bhattacharyya, &four)?, DIMENSIONS, 1)?;
        let means = geometry::within(Measure::Bhattacharyya, &four)?.mean_axis(Axis(0)).expect("four rows");
        let mut models = Vec::new();
        for run in runs {
            let checkpoints: Vec<Model> = run.models.outer_iter().collect();
            let distances = geometry::between(Measure::Bhattacharyya, &checkpoints, &four)?;
            run.release();
            models.extend(place(&embedding, means.as_slice().expect("a new array"), distances.view()));
        }
        let models = Array2::from_shape_vec((models.len() / DIMENSIONS, DIMENSIONS), models)?;
        Ok(Four { points: embedding.coordinates, models, eigenvalues: embedding.eigenvalues.to_vec() })
    }
}

/// The mean [N, C] of models around a progress, each weighted by a Gaussian of its own progress.
fn mean(at: f64, params: &Params, runs: &[Run], placed: &Placed, truth: &Truth) -> Result<Array2<f32>> {
    let mut sum = Array2::<f64>::zeros((truth.samples(), truth.classes()));
    let mut whole = 0.0;
    for run in runs {
        let (progress, loss) = (placed.progress(run)?, run.train_loss()?);
        for checkpoint in (0..progress.len()).filter(|&checkpoint| loss[checkpoint] < params.loss) {
            let weight = (-0.5 * ((progress[checkpoint] - at) / params.deviation).powi(2)).exp();
            // What is further away than eight deviations adds nothing but time.
            if weight < f64::EPSILON {
                continue;
            }
            whole += weight;
            let model = run.models.slice(s![checkpoint, .., ..]);
            let chunks: Vec<_> = sum
                .axis_chunks_iter_mut(Axis(0), SAMPLES)
                .zip(model.axis_chunks_iter(Axis(0), SAMPLES))
                .collect();
            chunks.into_par_iter().for_each(|(mut sum, model)| {
                sum.zip_mut_with(&model, |sum, &p| *sum += weight * f64::from(p));
            });
        }
        run.release();
    }
    ensure!(
        whole > 0.0,
        "no model of train loss under {} has a progress near {at}: there is no mean there",
        params.loss
    );
    Ok(sum.mapv(|sum| (sum / whole) as f32))
}

/// Coordinates of models out-of-sample, row by row, from their distances \[models, M\] to the M embedded points, whose
/// distances to each other have these means: w = -1/2 (d - mean(d) - means + mean(means)), and coordinate
/// w . v / (sign(l) sqrt|l|) for each eigenvector v of eigenvalue l; 0 where l is 0.
fn place(embedding: &Inpca, means: &[f64], distances: ArrayView2<f64>) -> Vec<f64> {
    let average = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let middle = average(means);
    let mut coordinates = Vec::with_capacity(distances.nrows() * embedding.eigenvalues.len());
    for row in distances.rows() {
        let own = average(&row.to_vec());
        let w: Vec<f64> = row.iter().zip(means).map(|(d, mean)| -0.5 * (d - own - mean + middle)).collect();
        for (axis, &value) in embedding.coordinates.columns().into_iter().zip(&embedding.eigenvalues) {
            // A coordinate of an embedded point is v sqrt|l|: so v / (sign(l) sqrt|l|) is that over l.
            let along: f64 = axis.iter().zip(&w).map(|(x, w)| x * w).sum();
            coordinates.push(if value == 0.0 { 0.0 } else { along / value });
        }
    }
    coordinates
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    #[test]
    fn an_embedded_point_is_placed_where_it_is() {
        let models =
            Array3::from_shape_fn((4, 5, 3), |(m, n, c)| 0.1 + ((m * 7 + n * 3 + c * 5) % 11) as f32);
        let mut models = models;
        models.rows_mut().into_iter().for_each(|mut row| row /= row.sum());
        let views: Vec<Model> = models.outer_iter().collect();
        let distances = geometry::within(Measure::Bhattacharyya, &views).unwrap();
        let means = distances.mean_axis(Axis(0)).unwrap().to_vec();
        let embedding = spectral::inpca(distances.clone(), 3, 1).unwrap();
        let placed = place(&embedding, &means, distances.view());
        for (found, expected) in placed.iter().zip(&embedding.coordinates) {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }
}
