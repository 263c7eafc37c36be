//! Stage: Frechet distances between the trajectories of runs, from the distances of their models.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use kit::{Artifact, Job};
use rayon::prelude::*;
use tables::{Column, Table};
use tiles::Tile;

/// Two runs, the names in order.
type Pair = (String, String);

fn main() {
    kit::serve(run)
}

fn run(job: &Job) -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(job.threads).build()?;
    let tiles = job.inputs("tiles")?;
    let of_tiles: Vec<Vec<(Pair, f64)>> =
        pool.install(|| tiles.par_iter().map(distances).collect::<Result<_>>())?;
    let mut all: BTreeMap<Pair, f64> = BTreeMap::new();
    for (pair, distance) in of_tiles.into_iter().flatten() {
        ensure!(!all.contains_key(&pair), "two tiles have the runs {} and {}", pair.0, pair.1);
        all.insert(pair, distance);
    }
    let names = |name: fn(&Pair) -> &String| all.keys().map(|pair| name(pair).as_str()).collect::<Vec<_>>();
    Table::new(vec![
        Column::new("run".into(), names(|pair| &pair.0)),
        Column::new("other".into(), names(|pair| &pair.1)),
        Column::new("frechet".into(), all.values().copied().collect::<Vec<_>>()),
    ])?
    .write(job.output("frechet")?)?;
    Ok(())
}

/// The distances between the runs of a tile's rows and those of its columns; of a tile of runs with themselves, each pair
/// once.
fn distances(tile: &Artifact) -> Result<Vec<(Pair, f64)>> {
    let tile = Tile::new(tile)?;
    let open = tile.open()?;
    let mut found = Vec::new();
    for (row, (run, rows)) in tiles::places(&tile.about.rows).enumerate() {
        let first = if tile.is_symmetric() { row + 1 } else { 0 };
        for (other, cols) in tiles::places(&tile.about.cols).skip(first) {
            let between = open.block(rows.clone(), cols)?;
            let (first, second) = if run < other { (run, other) } else { (other, run) };
            found.push(((first.to_owned(), second.to_owned()), geometry::frechet(between.view())));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use kit::TensorsWriter;
    use serde_json::{Value, json};

    use super::*;

    /// A tile of distances between numbers: those of a run's models.
    fn tile(folder: &Path, name: &str, rows: &[(&str, &[f32])], cols: &[(&str, &[f32])]) -> PathBuf {
        let members = |side: &[(&str, &[f32])]| -> Value {
            side.iter().map(|(run, models)| json!({"run": run, "checkpoints": models.len()})).collect()
        };
        let models =
            |side: &[(&str, &[f32])]| side.iter().flat_map(|(_, it)| it.to_vec()).collect::<Vec<_>>();
        let (row_models, col_models) = (models(rows), models(cols));
        let values: Vec<f32> =
            row_models.iter().flat_map(|a| col_models.iter().map(move |b| (a - b).abs())).collect();
        let path = folder.join(name);
        TensorsWriter::new()
            .f32s("distances", &[row_models.len(), col_models.len()], &values)
            .write(
                &path,
                &json!({"rows": members(rows), "cols": members(cols), "samples": 1, "measure": "kl"}),
            )
            .unwrap();
        path
    }

    fn made(folder: &Path, tiles: &[PathBuf]) -> Result<Vec<(String, String, f64)>> {
        let inputs: Vec<Value> = tiles.iter().map(|path| json!({"path": path, "hash": path})).collect();
        let job = json!({
            "stage": "frechet", "key": "k", "params": {}, "device": "cpu", "threads": 2,
            "inputs": {"tiles": inputs}, "outputs": {"frechet": folder.join("frechet.parquet")},
        });
        let path = folder.join("job.json");
        std::fs::write(&path, job.to_string()).unwrap();
        run(&Job::read(&path)?)?;
        let table = Table::read(&folder.join("frechet.parquet"))?;
        let (runs, others) = (table.values::<&str>("run")?, table.values::<&str>("other")?);
        let rows = runs.iter().zip(others).zip(table.values::<f64>("frechet")?);
        Ok(rows.map(|((run, other), distance)| ((*run).to_owned(), other.to_owned(), distance)).collect())
    }

    #[test]
    fn every_pair_of_runs_has_its_distance_once() {
        let folder = tempfile::tempdir().unwrap();
        // b goes where a goes, but back once; c stays away by 3 at the end.
        let (a, b, c): (&[f32], &[f32], &[f32]) = (&[0.0, 1.0, 2.0], &[0.0, 2.0, 1.0, 2.0], &[0.0, 5.0]);
        let tiles = [
            tile(folder.path(), "ba", &[("b", b), ("a", a)], &[("b", b), ("a", a)]),
            tile(folder.path(), "c", &[("c", c)], &[("b", b), ("a", a)]),
            tile(folder.path(), "cc", &[("c", c)], &[("c", c)]),
        ];
        let pair = |run: &str, other: &str, distance| (run.to_owned(), other.to_owned(), distance);
        let expected = [pair("a", "b", 1.0), pair("a", "c", 3.0), pair("b", "c", 3.0)];
        assert_eq!(made(folder.path(), &tiles).unwrap(), expected);
        let twice = [tiles[1].clone(), tiles[1].clone()];
        assert_eq!(made(folder.path(), &twice).unwrap_err().to_string(), "two tiles have the runs b and c");
    }
}
