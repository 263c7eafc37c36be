//! Stage: progress of every model, and the distances between the trajectories of configurations.

mod columns;
mod configurations;
mod models;
mod runs;
#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use geometry::{Measure, Model, Truth};
use kit::{Job, Tensors, TensorsWriter};
use ndarray::Array2;
use rayon::ThreadPool;
use rayon::prelude::*;
use serde::Deserialize;
use serde_json::json;

use configurations::Configuration;
use runs::Run;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    /// `train` or `test`: whose predictions and labels.
    split: String,
    /// Trajectories are compared at so many values of progress: 1/grid, 2/grid .. 1.
    grid: usize,
    /// The largest final train error of a run that counts as trained.
    untrained: f64,
}

/// What this stage reads of the data's metadata.
#[derive(Deserialize)]
struct Data {
    classes: Vec<String>,
}

fn main() {
    kit::serve(run)
}

fn run(job: &Job) -> Result<()> {
    let Params { split, grid, untrained } = job.params()?;
    ensure!(grid > 0, "grid: 0; trajectories are compared at one value of progress or more");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(job.threads).build()?;
    let truth = truth(job, &split)?;
    let geodesic = Tensors::open(&job.input("geodesic")?.path)?;

    let files: Vec<Tensors> = job
        .inputs("predictions")?
        .iter()
        .map(|artifact| Tensors::open(&artifact.path))
        .collect::<Result<_, _>>()?;
    let mut runs: Vec<Run> =
        files.iter().map(|file| Run::new(file, &split, &truth)).collect::<Result<_>>()?;
    runs.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = runs.windows(2).find(|pair| pair[0].name == pair[1].name) {
        anyhow::bail!("run {} is given twice", pair[0].name);
    }

    let steps = (runs.len() + grid) as u64;
    let mut places = Vec::with_capacity(runs.len());
    for (done, run) in runs.iter().enumerate() {
        job.progress(done as u64, steps, "progress");
        places.push(pool.install(|| models::places(run, &truth))?);
    }
    let trained = |run: &Run| run.train_error <= untrained;
    models::write(job.output("models")?, &runs, &places, geodesic.f64s("progress")?.values, trained)?;

    for run in runs.iter().filter(|run| !trained(run)) {
        job.log(&format!("untrained (final train error {:.4} > {untrained}): {}", run.train_error, run.name));
    }
    let configurations = Configuration::group(runs.iter().zip(&places).filter(|(run, _)| trained(run)));
    let kept: usize = configurations.iter().map(Configuration::runs).sum();
    job.log(&format!(
        "trained runs: {kept}, in configurations: {}; untrained: {}",
        configurations.len(),
        runs.len() - kept
    ));
    let distances = trajectory_distances(&configurations, grid, &pool, |done| {
        job.progress((runs.len() + done) as u64, steps, "trajectories");
    })?;
    let tree = geometry::complete_linkage(distances.view());
    configurations::write(job.output("configurations")?, &configurations, &tree)?;
    configurations::write_linkage(job.output("linkage")?, &tree)?;

    write_distances(job.output("trajectories")?, &configurations, &distances, truth.samples())
}

fn truth(job: &Job, split: &str) -> Result<Truth> {
    let data = Tensors::open(&job.input("data")?.path)?;
    let classes = data.metadata::<Data>()?.classes.len();
    let labels = format!("{split}_labels");
    let truth = Truth::new(data.i64s(&labels)?.values, classes).with_context(|| labels.clone())?;
    ensure!(truth.samples() > 0, "{labels} is empty; there is nothing to analyse");
    Ok(truth)
}

/// Distances [K, K] of the mean trajectories: means over the grid of progress of the distances of their points. Only the
/// points at one progress are held at a time.
fn trajectory_distances(
    configurations: &[Configuration],
    grid: usize,
    pool: &ThreadPool,
    report: impl Fn(usize),
) -> Result<Array2<f64>> {
    let mut sum = Array2::zeros((configurations.len(), configurations.len()));
    for index in 1..=grid {
        let progress = index as f64 / grid as f64;
        sum += &pool.install(|| {
            let points: Vec<Array2<f32>> = configurations.par_iter().map(|each| each.at(progress)).collect();
            let points: Vec<Model> = points.iter().map(|point| point.view()).collect();
            geometry::within(Measure::Bhattacharyya, &points)
        })?;
        report(index);
    }
    Ok(sum / grid as f64)
}

/// Writes the distances as a tile of a model a configuration.
fn write_distances(
    path: &Path,
    configurations: &[Configuration],
    distances: &Array2<f64>,
    samples: usize,
) -> Result<()> {
    let members: Vec<_> =
        configurations.iter().map(|each| json!({"run": each.name, "checkpoints": 1})).collect();
    let metadata =
        json!({"rows": members, "cols": members, "samples": samples, "measure": Measure::Bhattacharyya});
    let values = distances.as_slice().context("a new array is contiguous")?;
    Ok(TensorsWriter::new().f64s("distances", distances.shape(), values).write(path, &metadata)?)
}
