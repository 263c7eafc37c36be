//! Stage: how much of the distances between trajectories each factor explains.

mod design;
mod forest;
mod permanova;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use kit::Job;
use ndarray::Array2;
use serde::Deserialize;
use tables::{Column, Table};
use tiles::Tile;

use design::Factor;
use permanova::Explained;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    /// Columns of the table of configurations; those that are constant are left out.
    factors: Vec<String>,
    /// Whether the distances are squared, as is usual; InPCA takes a Bhattacharyya distance for a square already.
    square: bool,
    /// Of the analysis of variance, and of each factor in the forest.
    permutations: usize,
    /// Leading dimensions of the embedding that the forest predicts.
    dimensions: usize,
    seed: u64,
}

fn main() {
    kit::serve(run)
}

fn run(job: &Job) -> Result<()> {
    let Params { factors, square, permutations, dimensions, seed } = job.params()?;
    let tile = Tile::new(job.input("distances")?)?;
    ensure!(
        tile.is_symmetric() && tile.about.rows.iter().all(|member| member.checkpoints == 1),
        "tile {tile}: distances of whole trajectories among themselves are wanted"
    );
    let members: Vec<&str> = tile.about.rows.iter().map(|member| &*member.run).collect();
    let distances = tile.distances()?;
    // The embedding's table has the columns of the configurations too.
    let table = Table::read(&job.input("points")?.path)?;
    let table = table.rows(&find(&table, &members)?)?;

    let mut varying = Vec::new();
    for name in &factors {
        match factor(&table, name)? {
            Some(factor) => varying.push(factor),
            None => job.log(&format!("{name} is the same for all configurations: left out")),
        }
    }
    ensure!(
        !varying.is_empty(),
        "none of {} differs between the {} configurations: there is nothing to explain",
        factors.join(", "),
        members.len()
    );
    let squared = if square { distances.mapv_into(|distance| distance * distance) } else { distances };
    let mut random = fastrand::Rng::with_seed(seed);
    job.progress(0, 2, "analysis of variance");
    let analysis = permanova::permanova(squared.view(), &varying, permutations, &mut random);
    job.progress(1, 2, "forest");
    let coordinates = coordinates(&table, dimensions)?;
    let forest = forest::importances(coordinates.view(), &varying, permutations, &mut random)?;

    let mut rows: Vec<(&str, Option<usize>, &Explained)> = Vec::new();
    for (factor, explained) in varying.iter().zip(&analysis.factors) {
        rows.push((&factor.name, Some(factor.count), explained));
    }
    rows.push(("all", None, &analysis.model));
    rows.push(("residual", None, &analysis.residual));
    let column = |values: fn(&Explained) -> Option<f64>| {
        rows.iter().map(|(_, _, explained)| values(explained)).collect::<Vec<_>>()
    };
    let of_factors = |value: fn(&forest::Importance) -> f64| {
        forest.factors.iter().map(|each| Some(value(each))).chain([None, None]).collect::<Vec<_>>()
    };
    let integers = |value: usize| value as i64;
    Table::new(vec![
        Column::new("factor".into(), rows.iter().map(|row| row.0).collect::<Vec<_>>()),
        Column::new("levels".into(), rows.iter().map(|row| row.1.map(integers)).collect::<Vec<_>>()),
        Column::new("freedom".into(), rows.iter().map(|row| integers(row.2.freedom)).collect::<Vec<_>>()),
        Column::new("squares".into(), column(|row| Some(row.squares))),
        Column::new("r2".into(), column(|row| Some(row.r2))),
        Column::new("f".into(), column(|row| row.f)),
        Column::new("p".into(), column(|row| row.p)),
        Column::new("importance".into(), of_factors(|each| each.mean)),
        Column::new("importance_sd".into(), of_factors(|each| each.spread)),
        Column::new("importance_p".into(), of_factors(|each| each.p)),
        Column::new("forest_r2".into(), vec![forest.r2; rows.len()]),
    ])?
    .write(job.output("factors")?)?;
    job.progress(2, 2, "");
    Ok(())
}

/// The row of each configuration.
fn find(table: &Table, members: &[&str]) -> Result<Vec<usize>> {
    let rows: HashMap<&str, usize> =
        table.values::<&str>("run")?.into_iter().enumerate().map(|(row, run)| (run, row)).collect();
    let row = |member: &&str| {
        rows.get(member).copied().with_context(|| format!("the table of points has no run {member}"))
    };
    members.iter().map(row).collect()
}

/// A column as a factor, whatever it holds; nothing when it is constant.
fn factor(table: &Table, name: &str) -> Result<Option<Factor>> {
    if let Ok(values) = table.optional::<&str>(name) {
        return Ok(Factor::new(name, &values));
    }
    if let Ok(values) = table.optional::<bool>(name) {
        return Ok(Factor::new(name, &values));
    }
    let values = table.optional::<f64>(name)?;
    if let Some(value) = values.iter().flatten().find(|value| !value.is_finite()) {
        bail!("column `{name}` has the value {value}");
    }
    // Numbers in their order: the bits of floats sort so once those of negative ones are turned over.
    let ordered = |value: f64| {
        let bits = value.to_bits() as i64;
        bits ^ (((bits >> 63) as u64) >> 1) as i64
    };
    Ok(Factor::new(name, &values.into_iter().map(|value| value.map(ordered)).collect::<Vec<_>>()))
}

/// The columns `pc1`, `pc2`, .., [rows, dimensions].
fn coordinates(table: &Table, dimensions: usize) -> Result<Array2<f64>> {
    let mut coordinates = Array2::zeros((table.height(), dimensions));
    for (k, mut column) in coordinates.columns_mut().into_iter().enumerate() {
        let values: Vec<f64> = table.values(&format!("pc{}", k + 1))?;
        column.iter_mut().zip(values).for_each(|(here, value)| *here = value);
    }
    Ok(coordinates)
}
