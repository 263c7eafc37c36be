//! Four points: ignorance, truth and two between them; and all models placed by their distances to these.

use anyhow::{Context, Result};
use geometry::{Measure, Model, Truth, geodesic};
use ndarray::{Array2, ArrayView2, Axis, concatenate, s};
use rayon::prelude::*;
use runs::{Placed, Run};

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
    /// By the threads of the current pool. None where no model is near one of the two points between.
    pub(crate) fn new(params: &Params, runs: &[Run], placed: &Placed, truth: &Truth) -> Result<Option<Four>> {
        let ends = geodesic(truth, &[0.0, 1.0]);
        let [low, high] = params.between;
        let means = (mean(low, params, runs, placed, truth)?, mean(high, params, runs, placed, truth)?);
        let (Some(low), Some(high)) = means else { return Ok(None) };
        let four: [Model; 4] =
            [ends.index_axis(Axis(0), 0), low.view(), high.view(), ends.index_axis(Axis(0), 1)];
        let embedding = spectral::inpca(geometry::within(Measure::Bhattacharyya, &four)?, DIMENSIONS, 1)?;
        let mut all = Vec::new();
        for run in runs {
            let checkpoints: Vec<Model> = run.models.outer_iter().collect();
            let distances = geometry::between(Measure::Bhattacharyya, &checkpoints, &four)?;
            run.release();
            all.push(embedding.place(distances.view()));
        }
        let views: Vec<ArrayView2<f64>> = all.iter().map(|models| models.view()).collect();
        let models = concatenate(Axis(0), &views).context("there are no runs to place")?;
        let eigenvalues = embedding.eigenvalues.to_vec();
        Ok(Some(Four { points: embedding.coordinates, models, eigenvalues }))
    }
}

/// The mean [N, C] of models around a progress, each weighted by a Gaussian of its own progress; none where there are
/// none.
fn mean(
    at: f64,
    params: &Params,
    runs: &[Run],
    placed: &Placed,
    truth: &Truth,
) -> Result<Option<Array2<f32>>> {
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
    Ok((whole > 0.0).then(|| sum.mapv(|sum| (sum / whole) as f32)))
}
