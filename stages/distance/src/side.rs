//! One side of a tile: runs, whose models are its rows or columns, read where they are needed.

use std::ops::Range;

use anyhow::{Result, ensure};
use geometry::Model;
use kit::Tensors;
use ndarray::ArrayView2;
use rayon::prelude::*;
use runs::Predictions;
use tiles::Member;

/// The models of a side, one run after the other.
pub(crate) struct Side<'a> {
    runs: Vec<Predictions<'a>>,
    /// Of each model, its run's place and its checkpoint.
    places: Vec<(usize, usize)>,
    /// Of each model, samples and classes.
    shape: (usize, usize),
}

impl<'a> Side<'a> {
    /// The models of a split in each file.
    ///
    /// # Errors
    /// When a file does not have them, they are of different data, or there are none.
    pub(crate) fn new(files: &'a [Tensors], split: &str) -> Result<Side<'a>> {
        let runs: Vec<Predictions> =
            files.iter().map(|file| Predictions::new(file, split)).collect::<Result<_>>()?;
        let places: Vec<(usize, usize)> = (0..)
            .zip(&runs)
            .flat_map(|(run, of_run)| (0..of_run.checkpoints).map(move |checkpoint| (run, checkpoint)))
            .collect();
        ensure!(!places.is_empty(), "no models to compare");
        let first = &runs[0];
        let shape = (first.samples, first.classes);
        ensure!(
            shape.0 > 0 && shape.1 > 0,
            "run {} has {} samples x {} classes",
            first.name,
            shape.0,
            shape.1
        );
        for run in &runs {
            ensure!(
                (run.samples, run.classes) == shape,
                "run {} has {} samples x {} classes, run {} has {} x {}; predictions of the same data are wanted",
                run.name,
                run.samples,
                run.classes,
                first.name,
                shape.0,
                shape.1
            );
        }
        Ok(Side { runs, places, shape })
    }

    /// How many models there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Of each model, samples and classes.
    pub(crate) fn shape(&self) -> (usize, usize) {
        self.shape
    }

    /// What a tile says of the side.
    pub(crate) fn members(&self) -> Vec<Member> {
        self.runs.iter().map(|run| Member { run: run.name.clone(), checkpoints: run.checkpoints }).collect()
    }

    /// Which run and checkpoint a model is, for messages.
    pub(crate) fn describe(&self, index: usize) -> String {
        let (run, checkpoint) = self.places[index];
        format!("run {}, checkpoint {checkpoint}", self.runs[run].name)
    }

    /// Reads some samples of some models to `copies`, in place of what is there, by the threads of the current pool.
    pub(crate) fn read<'c>(
        &self,
        models: Range<usize>,
        samples: Range<usize>,
        copies: &'c mut Vec<f32>,
    ) -> Result<Vec<Model<'c>>> {
        let shape = (samples.len(), self.shape.1);
        let size = shape.0 * shape.1;
        copies.resize(models.len() * size, 0.0);
        copies.par_chunks_exact_mut(size).zip(&self.places[models]).try_for_each(
            |(values, &(run, checkpoint))| self.runs[run].read(checkpoint, samples.clone(), values),
        )?;
        let view = |values| ArrayView2::from_shape(shape, values).expect("a model has so many values");
        Ok(copies.chunks_exact(size).map(view).collect())
    }
}
