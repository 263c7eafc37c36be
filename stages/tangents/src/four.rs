//! Four points: ignorance, truth and two between them; and all models placed by their distances to these.

use std::ops::Range;

use anyhow::{Context, Result};
use geometry::{Distances, Model, Truth, geodesic};
use ndarray::{Array2, ArrayView2, Axis, concatenate};
use rayon::prelude::*;
use runs::{Placed, Run};

use crate::{DIMENSIONS, Params};

/// Probabilities of a model that are held at a time, of the four points and of all checkpoints of a run in each thread.
const VALUES: usize = 1 << 16;

/// Of these, those that a thread averages at a time.
const PIECE: usize = 1 << 12;

/// An embedding of four points, ordered by progress, with all models placed in it.
pub(crate) struct Four {
    /// [4, 3].
    pub(crate) points: Array2<f64>,
    /// [models, 3], by run and checkpoint.
    pub(crate) models: Array2<f64>,
    pub(crate) eigenvalues: Vec<f64>,
}

/// Models around a progress, each weighted by a Gaussian of its own progress.
struct Mean<'a> {
    models: Vec<(&'a Run<'a>, usize, f64)>,
    whole: f64,
}

impl Four {
    /// By the threads of the current pool. None where no model is near one of the two points between.
    ///
    /// # Errors
    /// When the table of models does not fit the runs, or predictions cannot be read.
    pub(crate) fn new(params: &Params, runs: &[Run], placed: &Placed, truth: &Truth) -> Result<Option<Four>> {
        let [low, high] = params.between;
        let (low, high) = (Mean::new(low, params, runs, placed)?, Mean::new(high, params, runs, placed)?);
        if low.models.is_empty() || high.models.is_empty() {
            return Ok(None);
        }
        let step = (VALUES / truth.classes()).next_multiple_of(Distances::step(truth.classes()));
        let mut among = Distances::within(params.measure, 4);
        let mut from_runs: Vec<Distances> =
            runs.iter().map(|run| Distances::between(params.measure, run.checkpoints(), 4)).collect();
        for start in (0..truth.samples()).step_by(step) {
            let samples = start..truth.samples().min(start + step);
            let ends = geodesic(&truth.part(samples.clone()), &[0.0, 1.0]);
            let (low, high) = (low.of(&samples, truth.classes())?, high.of(&samples, truth.classes())?);
            let four: [Model; 4] =
                [ends.index_axis(Axis(0), 0), low.view(), high.view(), ends.index_axis(Axis(0), 1)];
            among.add(&four, &[])?;
            runs.par_iter().zip(&mut from_runs).try_for_each(|(run, distances)| {
                let checkpoints: Vec<Array2<f32>> = (0..run.checkpoints())
                    .map(|checkpoint| run.predictions.model(checkpoint, samples.clone()))
                    .collect::<Result<_>>()?;
                let views: Vec<Model> = checkpoints.iter().map(|model| model.view()).collect();
                anyhow::Ok(distances.add(&views, &four)?)
            })?;
        }
        let embedding = spectral::inpca(among.mean(), DIMENSIONS, 1)?;
        let all: Vec<Array2<f64>> =
            from_runs.iter().map(|distances| embedding.place(distances.mean().view())).collect();
        let views: Vec<ArrayView2<f64>> = all.iter().map(|models| models.view()).collect();
        let models = concatenate(Axis(0), &views).context("there are no runs to place")?;
        let eigenvalues = embedding.eigenvalues.to_vec();
        Ok(Some(Four { points: embedding.coordinates, models, eigenvalues }))
    }
}

impl<'a> Mean<'a> {
    fn new(at: f64, params: &Params, runs: &'a [Run<'a>], placed: &Placed) -> Result<Mean<'a>> {
        let mut models = Vec::new();
        for run in runs {
            let (progress, loss) = (placed.progress(run)?, run.train_loss()?);
            for checkpoint in (0..progress.len()).filter(|&checkpoint| loss[checkpoint] < params.loss) {
                let weight = (-0.5 * ((progress[checkpoint] - at) / params.deviation).powi(2)).exp();
                // What is further away than eight deviations adds nothing but time.
                if weight >= f64::EPSILON {
                    models.push((run, checkpoint, weight));
                }
            }
        }
        let whole = models.iter().map(|(_, _, weight)| weight).sum();
        Ok(Mean { models, whole })
    }

    /// Some samples of the mean, [samples, C].
    fn of(&self, samples: &Range<usize>, classes: usize) -> Result<Array2<f32>> {
        let mut mean = Array2::zeros((samples.len(), classes));
        let piece = (PIECE / classes).max(1);
        let pieces: Vec<_> = mean.axis_chunks_iter_mut(Axis(0), piece).collect();
        pieces.into_par_iter().enumerate().try_for_each(|(index, mut mean)| {
            let start = samples.start + index * piece;
            let samples = start..start + mean.nrows();
            let mut sum = Array2::<f64>::zeros(mean.dim());
            for (run, checkpoint, weight) in &self.models {
                let model = run.predictions.model(*checkpoint, samples.clone())?;
                sum.zip_mut_with(&model, |sum, &p| *sum += weight * f64::from(p));
            }
            mean.zip_mut_with(&sum, |mean, sum| *mean = (sum / self.whole) as f32);
            anyhow::Ok(())
        })?;
        Ok(mean)
    }
}
