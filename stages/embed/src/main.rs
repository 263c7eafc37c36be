//! Stage: InPCA of a matrix of distances, which comes in tiles; a table of coordinates, and one of the spectrum.

mod matrix;
mod tile;

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use kit::Job;
use spectral::Inpca;
use tables::{Column, Table};

use matrix::{Distances, Point};
use tile::Tile;

/// Coordinates in the table of points: `pc1` to `pc10`.
const COORDINATES: usize = 10;

/// Rows of the spectrum.
const DIMENSIONS: usize = 50;

fn main() {
    kit::serve(run)
}

fn run(job: &Job) -> Result<()> {
    job.progress(0, 3, "distances");
    let tiles: Vec<Tile> = job.inputs("tiles")?.iter().map(Tile::open).collect::<Result<_>>()?;
    let Distances { points, matrix, samples } = Distances::assemble(&tiles)?;
    drop(tiles);
    ensure!(
        points.len() > 1,
        "an embedding needs two points and the tiles have {}; where they are of trajectories, too few configurations \
         were trained (the table of models tells how far each run came)",
        points.len()
    );
    let table = Table::read(&job.input("table")?.path)?;
    let rows = find(&table, &points)?;

    job.progress(1, 3, "eigenpairs");
    let embedding = spectral::inpca(matrix, DIMENSIONS, job.threads)?;

    job.progress(2, 3, "tables");
    with_coordinates(&table, &rows, &embedding)?.write(job.output("points")?)?;
    spectrum(&embedding, points.len(), samples)?.write(job.output("spectrum")?)?;
    job.progress(3, 3, "");
    Ok(())
}

/// The number of each point's row in the table. Rows of the table that are no points stay out.
fn find(table: &Table, points: &[Point]) -> Result<Vec<usize>> {
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
    let row = |point: &Point| rows.get(&(&*point.run, point.checkpoint)).copied();
    points
        .iter()
        .map(|point| {
            row(point).with_context(|| {
                format!(
                    "the tiles have run {}, checkpoint {}, the table has not",
                    point.run, point.checkpoint
                )
            })
        })
        .collect()
}

/// The table's columns of these rows, and the coordinates; those of dimensions that there are not are 0.
fn with_coordinates(table: &Table, rows: &[usize], embedding: &Inpca) -> Result<Table> {
    let mut columns = table.rows(rows)?.columns().to_vec();
    let dimensions = embedding.eigenvalues.len();
    for k in 0..COORDINATES {
        let values =
            if k < dimensions { embedding.coordinates.column(k).to_vec() } else { vec![0.0; rows.len()] };
        columns.push(Column::new(format!("pc{}", k + 1).into(), values));
    }
    Ok(Table::new(columns)?)
}

/// A row a dimension.
fn spectrum(embedding: &Inpca, points: usize, samples: i64) -> Result<Table> {
    let dimensions = embedding.eigenvalues.len();
    let count = i64::try_from(points)?;
    Ok(Table::new(vec![
        Column::new("dimension".into(), (1_i64..).take(dimensions).collect::<Vec<_>>()),
        Column::new("eigenvalue".into(), embedding.eigenvalues.to_vec()),
        Column::new("explained_stress".into(), embedding.explained_stress.to_vec()),
        Column::new("explained_distance".into(), embedding.explained_distance.to_vec()),
        Column::new("models".into(), vec![count; dimensions]),
        Column::new("samples".into(), vec![samples; dimensions]),
    ])?)
}

#[cfg(test)]
mod tests;
