//! Stage: the figures, one a job, as SVG and PNG.

mod dendrogram;
mod embedding;
mod geodesic_distance;
mod ink;
mod inpca;
mod legend;
mod page;
mod panel;
mod runs;
#[cfg(test)]
mod sample;
mod spectrum;
mod speed;
mod style;
mod trajectories;
mod tree;
mod values;

use anyhow::{Context, Result};
use kit::{Artifact, Job};
use serde::Deserialize;
use tables::Table;

/// The parameters: which figure, and what it needs to know besides its tables.
#[derive(Debug, Deserialize)]
#[serde(tag = "figure", rename_all = "kebab-case", deny_unknown_fields)]
enum Figure {
    /// Every checkpoint in the first four dimensions of its InPCA.
    Embedding { split: String },
    /// Explained stress and eigenvalues of the embeddings of train and test.
    Spectrum {},
    /// Whole trajectories, a point a configuration.
    Trajectories {},
    /// The complete-linkage tree of configurations.
    Dendrogram {},
    /// Progress against epoch.
    Speed {},
    /// Distance to the geodesic against progress.
    GeodesicDistance {},
}

fn main() {
    kit::serve(run)
}

fn run(job: &Job) -> Result<()> {
    let figure: Figure = job.params()?;
    let svg = draw(&figure, job).with_context(|| format!("figure {figure:?}"))?;
    let (svg_path, png_path) = (job.output("svg")?, job.output("png")?);
    std::fs::write(svg_path, &svg).with_context(|| format!("cannot write {}", svg_path.display()))?;
    std::fs::write(png_path, page::png(&svg)?)
        .with_context(|| format!("cannot write {}", png_path.display()))?;
    Ok(())
}

fn draw(figure: &Figure, job: &Job) -> Result<String> {
    let table = |name: &str| -> Result<Table> { Ok(Table::read(&job.input(name)?.path)?) };
    let split = |name: &str| -> Result<String> { Ok(split_of(job.input(name)?)) };
    match figure {
        Figure::Embedding { split } => embedding::draw(&table("points")?, &table("spectrum")?, split),
        Figure::Spectrum {} => spectrum::draw(&table("train")?, &table("test")?),
        Figure::Trajectories {} => {
            trajectories::draw(&table("points")?, &table("spectrum")?, &split("points")?)
        }
        Figure::Dendrogram {} => {
            dendrogram::draw(&table("configurations")?, &table("linkage")?, &split("configurations")?)
        }
        Figure::Speed {} => speed::draw(&table("models")?, &split("models")?),
        Figure::GeodesicDistance {} => geodesic_distance::draw(&table("models")?, &split("models")?),
    }
}

/// The split a table is about, by the label of the job that made it; empty where it has none.
fn split_of(artifact: &Artifact) -> String {
    artifact.labels.get("split").cloned().unwrap_or_default()
}
