//! The runs of one side of a tile: their files, names and models.

use anyhow::{Context, Result, ensure};
use geometry::Model;
use kit::{Artifact, Tensors};
use ndarray::{ArrayView3, Axis};
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
        let mut side = Side { members: Vec::new(), models: Vec::new() };
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
    pub(crate) fn describe(&self, mut index: usize) -> String {
        for member in &self.members {
            if index < member.checkpoints {
                return format!("run {}, checkpoint {index}", member.run);
            }
            index -= member.checkpoints;
        }
        format!("no run, {index} models after the last")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_by_counting_checkpoints() {
        let member = |run: &str, checkpoints| Member { run: run.to_owned(), checkpoints };
        let side = Side { members: vec![member("a", 2), member("b", 3)], models: Vec::new() };
        assert_eq!(side.describe(1), "run a, checkpoint 1");
        assert_eq!(side.describe(2), "run b, checkpoint 0");
    }
}
