//! Stage: progress of every model, and the distances between the trajectories of configurations.

mod along;
mod configurations;
mod models;
#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use geometry::Measure;
use kit::{Job, Memory, Tensors, TensorsWriter};
use ndarray::Array2;
use runs::Run;
use serde::Deserialize;
use tiles::{About, Member};

use configurations::Configuration;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    /// `train` or `test`: whose predictions and labels.
    split: String,
    /// Trajectories are compared at so many values of progress: 1/grid, 2/grid .. 1.
    grid: usize,
    /// The largest final train error of a run that counts as trained.
    untrained: f64,
    /// For points of trajectories.
    memory: Memory,
}

fn main() {
    kit::serve(run)
}

fn run(job: &Job) -> Result<()> {
    let Params { split, grid, untrained, memory } = job.params()?;
    ensure!(grid > 0, "grid: 0; trajectories are compared at one value of progress or more");
    let bytes = usize::try_from(memory.0).unwrap_or(usize::MAX);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(job.threads).build()?;
    let truth = runs::truth(job, &split)?;
    let geodesic = Tensors::open(&job.input("geodesic")?.path)?;
    let files = runs::open(job.inputs("predictions")?)?;
    let runs = runs::read(&files, &split, &truth)?;

    let mut places = Vec::with_capacity(runs.len());
    for (done, run) in runs.iter().enumerate() {
        job.progress(done as u64, runs.len() as u64, "progress");
        places.push(pool.install(|| models::places(run, &truth))?);
    }
    let trained = |run: &Run| run.train_error <= untrained;
    models::write(job.output("models")?, &runs, &places, geodesic.f64s("progress")?.values, trained)?;

    for run in runs.iter().filter(|run| !trained(run)) {
        job.log(&format!("untrained (final train error {:.4} > {untrained}): {}", run.train_error, run.name));
    }
    let configurations = Configuration::group(runs.iter().zip(&places).filter(|(run, _)| trained(run)));
    let kept: usize = configurations.iter().map(|each| each.members.len()).sum();
    job.log(&format!(
        "trained runs: {kept}, in configurations: {}; untrained: {}",
        configurations.len(),
        runs.len() - kept
    ));
    let shape = (truth.samples(), truth.classes());
    let along = along::along(&configurations, grid, shape, bytes, &pool, |done, of| {
        job.progress(done, of, "trajectories");
    })?;
    along.write_tube(job.output("tube")?, &configurations)?;
    let tree = geometry::complete_linkage(along.distances.view());
    configurations::write(job.output("configurations")?, &configurations, &tree)?;
    configurations::write_linkage(job.output("linkage")?, &tree)?;
    configurations::write_distances(job.output("distances")?, &configurations, &along.distances)?;

    write_tile(job.output("trajectories")?, &configurations, &along.distances, truth.samples())
}

/// Writes the distances as a tile of a model a configuration.
fn write_tile(
    path: &Path,
    configurations: &[Configuration],
    distances: &Array2<f64>,
    samples: usize,
) -> Result<()> {
    let member = |each: &Configuration| Member { run: each.name.to_owned(), checkpoints: 1 };
    let members: Vec<Member> = configurations.iter().map(member).collect();
    let about = About { rows: members.clone(), cols: members, samples, measure: Measure::Bhattacharyya };
    let values = distances.as_slice().context("a new array is contiguous")?;
    Ok(TensorsWriter::new().f64s("distances", distances.shape(), values).write(path, &about)?)
}
