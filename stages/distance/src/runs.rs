//! The runs of one side of a tile: their files, names and models.

use std::ops::Range;

use anyhow::{Context, Result, ensure};
use geometry::Model;
use kit::{Artifact, Tensors};
use ndarray::{Array3, ArrayView3, Axis, s};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a tile says about each run of a side.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Member {
    pub(crate) run: String,
    pub(crate) checkpoints: usize,
}

/// The models of a side, one run after the other.
pub(crate) struct Side<'a> {
    files: &'a [Tensors],
    pub(crate) members: Vec<Member>,
    pub(crate) models: Vec<Model<'a>>,
}

#[derive(Deserialize)]
struct Metadata {
    network: Value,
}

/// Maps the files of an input.
pub(crate) fn open(artifacts: &[Artifact]) -> Result<Vec<Tensors>> {
    artifacts.iter().map(|artifact| Ok(Tensors::open(&artifact.path)?)).collect()
}

impl<'a> Side<'a> {
    /// The models of a split [T, N, C] in each file.
    pub(crate) fn new(files: &'a [Tensors], split: &str) -> Result<Side<'a>> {
        let mut side = Side { files, members: Vec::new(), models: Vec::new() };
        for file in files {
            let run = kit::run_name(&file.metadata::<Metadata>()?.network);
            let tensor = file.f32s(split).with_context(|| format!("run {run}"))?;
            let [checkpoints, samples, classes] = tensor.shape[..] else {
                anyhow::bail!("run {run}: `{split}` has the shape {:?}, expected [T, N, C]", tensor.shape)
            };
            let models = ArrayView3::from_shape((checkpoints, samples, classes), tensor.values)
                .with_context(|| format!("run {run}"))?;
            if let (Some(first), Some(member)) = (side.models.first(), side.members.first()) {
                ensure!(
                    first.dim() == (samples, classes),
                    "run {run} has {samples} samples x {classes} classes, run {} has {} x {}; \
                     predictions of the same data are wanted",
                    member.run,
                    first.nrows(),
                    first.ncols()
                );
            }
            side.models.extend((0..checkpoints).map(|index| models.index_axis_move(Axis(0), index)));
            side.members.push(Member { run, checkpoints });
        }
        Ok(side)
    }

    /// Which run and checkpoint a model is, for messages.
    pub(crate) fn describe(&self, index: usize) -> String {
        match self.places().nth(index) {
            Some((member, checkpoint)) => {
                format!("run {}, checkpoint {checkpoint}", self.members[member].run)
            }
            None => format!("no run, model {index} of {}", self.models.len()),
        }
    }

    /// Copies some samples of some models, [models, samples, C].
    pub(crate) fn read(&self, models: Range<usize>, samples: Range<usize>) -> Result<Array3<f32>> {
        let classes = self.models[0].ncols();
        let mut copies = Array3::zeros((models.len(), samples.len(), classes));
        let of_side = self.models[models.clone()].iter().zip(self.places().skip(models.start));
        for (mut copy, (model, (member, _))) in copies.outer_iter_mut().zip(of_side) {
            let values = model.slice(s![samples.clone(), ..]);
            let values = values.to_slice().context("a file has its models row by row")?;
            self.files[member].read(values, copy.as_slice_mut().context("a new array is contiguous")?)?;
        }
        Ok(copies)
    }

    /// Of each model, its run's place and its checkpoint.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        let of_run = |(run, member): (usize, &Member)| {
            (0..member.checkpoints).map(move |checkpoint| (run, checkpoint))
        };
        self.members.iter().enumerate().flat_map(of_run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_by_counting_checkpoints() {
        let member = |run: &str, checkpoints| Member { run: run.to_owned(), checkpoints };
        let side = Side { files: &[], members: vec![member("a", 2), member("b", 3)], models: Vec::new() };
        assert_eq!(side.describe(1), "run a, checkpoint 1");
        assert_eq!(side.describe(2), "run b, checkpoint 0");
    }
}
