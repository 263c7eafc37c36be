//! Where the checkpoints of runs are along the geodesic, from the table that says so.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use geometry::Trajectory;

use crate::Run;

/// Of each run in a table of models: the progress of its checkpoints, and whether it was trained.
#[derive(Debug)]
pub struct Placed {
    runs: HashMap<String, (Vec<f64>, bool)>,
}

impl Placed {
    /// Of the columns `run`, `checkpoint`, `progress` and `trained` of a table of models; rows of what is no network
    /// (where `trained` is null) are passed over.
    ///
    /// # Errors
    /// When the checkpoints of a run are not in order from 0.
    ///
    /// # Panics
    /// When the columns are not of one length.
    pub fn new(
        names: &[&str],
        checkpoints: &[i64],
        progress: &[f64],
        trained: &[Option<bool>],
    ) -> Result<Placed> {
        let mut runs: HashMap<String, (Vec<f64>, bool)> = HashMap::new();
        for (row, &name) in names.iter().enumerate() {
            let Some(trained) = trained[row] else { continue };
            let (places, _) = runs.entry(name.to_owned()).or_insert_with(|| (Vec::new(), trained));
            ensure!(
                usize::try_from(checkpoints[row]) == Ok(places.len()),
                "the table of models has checkpoint {} of run {name} where {} comes next",
                checkpoints[row],
                places.len()
            );
            places.push(progress[row]);
        }
        Ok(Placed { runs })
    }

    /// The progress of each checkpoint of a run.
    ///
    /// # Errors
    /// When the table does not have the run, or not as many checkpoints of it.
    pub fn progress(&self, run: &Run) -> Result<&[f64]> {
        let (progress, _) = self.find(run)?;
        ensure!(
            progress.len() == run.checkpoints(),
            "run {}: {} checkpoints in the table of models, {} in the predictions",
            run.name,
            progress.len(),
            run.checkpoints()
        );
        Ok(progress)
    }

    /// Whether a run was trained.
    ///
    /// # Errors
    /// When the table does not have the run.
    pub fn is_trained(&self, run: &Run) -> Result<bool> {
        Ok(self.find(run)?.1)
    }

    /// The trajectory of a run.
    ///
    /// # Errors
    /// As [`Placed::progress`].
    pub fn trajectory(&self, run: &Run) -> Result<Trajectory> {
        Ok(Trajectory::new(self.progress(run)?))
    }

    fn find(&self, run: &Run) -> Result<&(Vec<f64>, bool)> {
        self.runs.get(&run.name).with_context(|| format!("the table of models has no run {}", run.name))
    }
}
