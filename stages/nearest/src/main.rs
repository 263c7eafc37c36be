//! Stage: of each model, the nearest model of another run, among the runs of a sweep.
//!
//! The sweep's own models get it too: what is near is seen beside them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use kit::Job;
use rayon::prelude::*;
use tables::{Column, Table};
use tiles::Tile;

/// A model near another: how far it is, of which run, its checkpoint. The smallest is the nearest.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
struct Near<'a>(f64, &'a str, usize);

/// The nearest to each model of each run, where there is one.
type Nearest<'a> = BTreeMap<&'a str, Vec<Option<Near<'a>>>>;

fn main() {
    kit::serve(run)
}

fn run(job: &Job) -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(job.threads).build()?;
    let table = |name: &str| -> Result<Table> { Ok(Table::read(&job.input(name)?.path)?) };
    let (models, others) = (table("models")?, networks(&table("others")?)?);
    let sweep = networks(&models)?;
    let sweep: BTreeSet<&str> = sweep.values("run")?.into_iter().collect();
    let tiles = job.inputs("tiles")?.iter().map(Tile::new).collect::<Result<Vec<_>>>()?;
    let of_tiles: Vec<Nearest> =
        pool.install(|| tiles.par_iter().map(|tile| nearest(tile, &sweep)).collect::<Result<_>>())?;
    let mut all = Nearest::new();
    for (run, found) in of_tiles.into_iter().flatten() {
        let known = all.entry(run).or_insert_with(|| vec![None; found.len()]);
        ensure!(
            known.len() == found.len(),
            "run {run} has {} models in a tile, {} in another",
            known.len(),
            found.len()
        );
        known
            .iter_mut()
            .zip(found)
            .for_each(|(known, found)| found.into_iter().for_each(|it| take(known, it)));
    }
    let both = Table::stacked(&[models, others])?;
    let found = of_rows(&both, &all)?;
    let mut columns = both.columns().to_vec();
    let distance = |near: &Option<Near>| near.map(|near| near.0);
    columns.push(Column::new("nearest".into(), found.iter().map(distance).collect::<Vec<_>>()));
    let run = |near: &Option<Near<'_>>| near.map(|near| near.1.to_owned());
    columns.push(Column::new("nearest_run".into(), found.iter().map(run).collect::<Vec<_>>()));
    let checkpoint = |near: &Option<Near>| near.map(|near| near.2 as i64);
    columns.push(Column::new("nearest_checkpoint".into(), found.iter().map(checkpoint).collect::<Vec<_>>()));
    Table::new(columns)?.write(job.output("models")?)?;
    Ok(())
}

/// The rows of a table of models that are of networks: those of the geodesic are in the table of the sweep already.
fn networks(models: &Table) -> Result<Table> {
    let trained = models.optional::<bool>("trained")?;
    let rows: Vec<usize> = (0..models.height()).filter(|&row| trained[row].is_some()).collect();
    Ok(models.rows(&rows)?)
}

/// Keeps the nearer of two.
fn take<'a>(known: &mut Option<Near<'a>>, other: Near<'a>) {
    if known.is_none_or(|known| other < known) {
        *known = Some(other);
    }
}

/// The nearest models of the sweep among those of a tile, to each model of the tile.
fn nearest<'a>(tile: &'a Tile, sweep: &BTreeSet<&str>) -> Result<Nearest<'a>> {
    let (rows, cols) = (&tile.about.rows, &tile.about.cols);
    let open = tile.open()?;
    let members = rows.iter().chain(cols);
    let mut found: Nearest = members.map(|it| (it.run.as_str(), vec![None; it.checkpoints])).collect();
    for (run, rows) in tiles::places(rows) {
        for (other, cols) in tiles::places(cols).filter(|(other, _)| *other != run) {
            let block = open.block(rows.clone(), cols)?;
            for (from, to, distances) in [(run, other, block.view()), (other, run, block.t())] {
                // Not all runs of a tile are of the sweep.
                let Some(models) = found.get_mut(from).filter(|_| sweep.contains(to)) else { continue };
                for (model, distances) in models.iter_mut().zip(distances.rows()) {
                    let near = |(checkpoint, &distance)| Near(distance, to, checkpoint);
                    distances.iter().enumerate().map(near).for_each(|near| take(model, near));
                }
            }
        }
    }
    Ok(found)
}

/// The nearest model of each row of a table of models; none of a point of the geodesic.
fn of_rows<'a>(models: &Table, all: &Nearest<'a>) -> Result<Vec<Option<Near<'a>>>> {
    let (run, checkpoint) = (models.values::<&str>("run")?, models.values::<i64>("checkpoint")?);
    let trained = models.optional::<bool>("trained")?;
    let row = |row: usize| {
        if trained[row].is_none() {
            return Ok(None);
        }
        let (run, checkpoint) = (run[row], checkpoint[row]);
        let found = all.get(run).with_context(|| format!("no tile has run {run}"))?;
        let place = usize::try_from(checkpoint).ok();
        let near = place.and_then(|place| found.get(place));
        near.copied().with_context(|| {
            format!(
                "run {run} has checkpoint {checkpoint} in the table, and {} models in the tiles",
                found.len()
            )
        })
    };
    (0..models.height()).map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use kit::TensorsWriter;
    use serde_json::{Value, json};

    use super::*;

    /// Runs whose models are numbers, as far apart as these are.
    const RUNS: [(&str, &[f32]); 4] =
        [("a", &[0.0, 5.0]), ("b", &[1.0, 4.5]), ("c", &[9.0, 4.0]), ("d", &[9.0])];

    fn tile(folder: &Path, rows: &[usize], cols: &[usize]) -> PathBuf {
        let members = |side: &[usize]| -> Value {
            side.iter().map(|&i| json!({"run": RUNS[i].0, "checkpoints": RUNS[i].1.len()})).collect()
        };
        let models = |side: &[usize]| side.iter().flat_map(|&i| RUNS[i].1.to_vec()).collect::<Vec<_>>();
        let (down, along) = (models(rows), models(cols));
        let values: Vec<f32> = down.iter().flat_map(|a| along.iter().map(move |b| (a - b).abs())).collect();
        let path = folder.join(format!("tile-{rows:?}-{cols:?}"));
        TensorsWriter::new()
            .f32s("distances", &[down.len(), along.len()], &values)
            .write(
                &path,
                &json!({"rows": members(rows), "cols": members(cols), "samples": 1, "measure": "kl"}),
            )
            .unwrap();
        path
    }

    /// A table of these runs and of a point of the geodesic.
    fn table(folder: &Path, name: &str, runs: &[usize]) -> PathBuf {
        let rows =
            runs.iter().flat_map(|&i| (0..RUNS[i].1.len()).map(move |t| (RUNS[i].0, t as i64, Some(true))));
        let rows: Vec<_> = rows.chain([("geodesic", 0, None)]).collect();
        let path = folder.join(name);
        Table::new(vec![
            Column::new("run".into(), rows.iter().map(|row| row.0).collect::<Vec<_>>()),
            Column::new("checkpoint".into(), rows.iter().map(|row| row.1).collect::<Vec<_>>()),
            Column::new("trained".into(), rows.iter().map(|row| row.2).collect::<Vec<_>>()),
        ])
        .unwrap()
        .write(&path)
        .unwrap();
        path
    }

    /// Of each row that comes of it: run, checkpoint, and what is nearest.
    fn made(sweep: &[usize], others: &[usize], tiles: &[PathBuf]) -> Result<Vec<String>> {
        let folder = tempfile::tempdir()?;
        let input = |path: &PathBuf| json!({"path": path, "hash": path});
        let job = json!({
            "stage": "nearest", "key": "k", "params": {}, "device": "cpu", "threads": 2,
            "inputs": {
                "tiles": tiles.iter().map(input).collect::<Vec<_>>(),
                "models": input(&table(folder.path(), "models", sweep)),
                "others": input(&table(folder.path(), "others", others)),
            },
            "outputs": {"models": folder.path().join("made")},
        });
        let path = folder.path().join("job.json");
        std::fs::write(&path, job.to_string())?;
        run(&Job::read(&path)?)?;
        let made = Table::read(&folder.path().join("made"))?;
        let (run, checkpoint) = (made.values::<&str>("run")?, made.values::<i64>("checkpoint")?);
        let (near, of) = (made.optional::<f64>("nearest")?, made.optional::<&str>("nearest_run")?);
        let at = made.optional::<i64>("nearest_checkpoint")?;
        let row = |i: usize| match (near[i], of[i], at[i]) {
            (Some(near), Some(of), Some(at)) => format!("{} {}: {near} to {of} {at}", run[i], checkpoint[i]),
            _ => format!("{} {}: none", run[i], checkpoint[i]),
        };
        Ok((0..made.height()).map(row).collect())
    }

    #[test]
    fn every_model_has_the_nearest_of_another_run_of_the_sweep() {
        let folder = tempfile::tempdir().unwrap();
        let tiles = [
            tile(folder.path(), &[0, 1], &[0, 1]),
            tile(folder.path(), &[0, 1], &[2]),
            tile(folder.path(), &[3], &[1, 0]),
        ];
        // c and d, which are not of the sweep, are near to nothing, though d lies on a model of c.
        assert_eq!(
            made(&[0, 1], &[2, 3], &tiles).unwrap(),
            [
                "a 0: 1 to b 0",
                "a 1: 0.5 to b 1",
                "b 0: 1 to a 0",
                "b 1: 0.5 to a 1",
                "geodesic 0: none",
                "c 0: 4 to a 1",
                "c 1: 0.5 to b 1",
                "d 0: 4 to a 1",
            ]
        );
    }

    #[test]
    fn a_sweep_of_one_run_has_nothing_near_itself() {
        let folder = tempfile::tempdir().unwrap();
        let tiles = [tile(folder.path(), &[0], &[0]), tile(folder.path(), &[0], &[3])];
        let expected = ["a 0: none", "a 1: none", "geodesic 0: none", "d 0: 4 to a 1"];
        assert_eq!(made(&[0], &[3], &tiles).unwrap(), expected);
    }

    #[test]
    fn a_run_without_distances_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let message = made(&[0, 1], &[2], &[tile(folder.path(), &[0, 1], &[0, 1])]).unwrap_err().to_string();
        assert_eq!(message, "no tile has run c");
    }
}
