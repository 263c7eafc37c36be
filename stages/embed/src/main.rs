//! Stage: InPCA of a matrix of distances, which comes in tiles; a table of coordinates, and one of the spectrum.

mod distances;
mod points;
mod sheet;
mod weights;

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use kit::{Job, Memory};
use ndarray::{Array2, Axis, concatenate};
use serde::Deserialize;
use spectral::{Inpca, Settings};
use tables::{Column, Table};
use tiles::Tile;

use distances::Distances;
use points::{Point, Points};

/// Coordinates in the table of points: `pc1` to `pc10`.
const COORDINATES: usize = 10;

/// Rows of the spectrum.
const DIMENSIONS: usize = 50;

/// Points that are placed at a time.
const PLACED: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    /// What to stay within: distances that find no room are read from their tiles for each pass over them.
    #[serde(default = "gigabyte")]
    memory: Memory,
    /// The column of the table with what each model counts; without, all count alike.
    weights: Option<String>,
}

fn gigabyte() -> Memory {
    Memory(1_000_000_000)
}

fn main() {
    kit::serve(run)
}

fn run(job: &Job) -> Result<()> {
    let params: Params = job.params()?;
    job.progress(0, 3, "distances");
    let tiles = tiles(job, "tiles")?;
    let placed = if job.has_input("placed") { Some(self::tiles(job, "placed")?) } else { None };
    let joint = if job.has_input("joint") { Some(self::tiles(job, "joint")?) } else { None };
    let places = placed.is_some();
    let distances = Distances::new(tiles, placed.unwrap_or_default(), joint)?;
    let points = &distances.points;
    ensure!(
        points.embedded() > 1,
        "an embedding needs two points and the tiles have {}; where they are of trajectories, too few configurations \
         were trained (the table of models tells how far each run came)",
        points.embedded()
    );
    let table = Table::read(&job.input("table")?.path)?;
    let rows = find(&table, points)?;
    let weights =
        params.weights.map(|column| weights::weights(&table, &column, &rows[..points.embedded()], points));

    job.progress(1, 3, "eigenpairs");
    let settings = Settings {
        dimensions: DIMENSIONS,
        threads: job.threads,
        memory: params.memory.0,
        weights: weights.transpose()?,
    };
    let embedding = spectral::embed(&distances, &settings, |pass| {
        job.progress(1, 3, &format!("eigenpairs, pass {pass}"));
    })?;
    let placed = place(&distances, &embedding)?;

    job.progress(2, 3, "tables");
    let coordinates = concatenate(Axis(0), &[embedding.coordinates.view(), placed.view()])?;
    let mut columns = table.rows(&rows)?.columns().to_vec();
    columns.extend(coordinate_columns(&coordinates));
    if places {
        let placed = (0..points.len()).map(|point| point >= points.embedded());
        columns.push(Column::new("placed".into(), placed.collect::<Vec<_>>()));
    }
    Table::new(columns)?.write(job.output("points")?)?;
    spectrum(&embedding, points.embedded(), &distances)?.write(job.output("spectrum")?)?;
    job.progress(3, 3, "");
    Ok(())
}

fn tiles(job: &Job, input: &str) -> Result<Vec<Tile>> {
    job.inputs(input)?.iter().map(Tile::new).collect()
}

/// Coordinates of the points that are not embedded, out-of-sample \[q, k\].
fn place(distances: &Distances, embedding: &Inpca) -> Result<Array2<f64>> {
    let (first, end) = (distances.points.embedded(), distances.points.len());
    let mut placed = Array2::zeros((0, embedding.eigenvalues.len()));
    for from in (first..end).step_by(PLACED) {
        let some = distances.from(from..end.min(from + PLACED))?;
        placed.append(Axis(0), embedding.place(some.view()).view())?;
    }
    Ok(placed)
}

/// The number of each point's row in the table. Rows of the table that are no points stay out.
fn find(table: &Table, points: &Points) -> Result<Vec<usize>> {
    let runs: Vec<&str> = table.values("run")?;
    let checkpoints: Vec<i64> = table.values("checkpoint")?;
    let mut rows = HashMap::with_capacity(runs.len());
    for (row, (run, checkpoint)) in runs.into_iter().zip(checkpoints).enumerate() {
        if let Some(other) = rows.insert((run, checkpoint), row) {
            bail!(
                "the table has run {run}, checkpoint {checkpoint} twice, in rows {other} and {row} (from 0)"
            );
        }
    }
    let row = |point: Point<'_>| rows.get(&(point.run, point.checkpoint)).copied();
    let row = |point| row(point).with_context(|| format!("the tiles have {point}, the table has not"));
    points.iter().map(row).collect()
}

/// `pc1` and so on, of coordinates \[M, k\]; those of dimensions that there are not are 0.
fn coordinate_columns(coordinates: &Array2<f64>) -> impl Iterator<Item = Column> {
    (0..COORDINATES).map(|k| {
        let values = match k < coordinates.ncols() {
            true => coordinates.column(k).to_vec(),
            false => vec![0.0; coordinates.nrows()],
        };
        Column::new(format!("pc{}", k + 1).into(), values)
    })
}

/// A row a dimension.
fn spectrum(embedding: &Inpca, points: usize, distances: &Distances) -> Result<Table> {
    let dimensions = embedding.eigenvalues.len();
    let (count, samples) = (i64::try_from(points)?, i64::try_from(distances.samples())?);
    Ok(Table::new(vec![
        Column::new("dimension".into(), (1_i64..).take(dimensions).collect::<Vec<_>>()),
        Column::new("eigenvalue".into(), embedding.eigenvalues.to_vec()),
        Column::new("explained_stress".into(), embedding.explained_stress.to_vec()),
        Column::new("explained_distance".into(), embedding.explained_distance.to_vec()),
        Column::new("models".into(), vec![count; dimensions]),
        Column::new("samples".into(), vec![samples; dimensions]),
        Column::new("measure".into(), vec![distances.measure(); dimensions]),
    ])?)
}

#[cfg(test)]
mod tests;
