//! Stage: how each run ended, whether it counts as trained, and how often it was far from truth: a row a run.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use kit::Job;
use serde::Deserialize;
use tables::{Column, Table};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    /// Models that are farther than this from truth are counted.
    far: f64,
}

/// The columns of a table of models that change from checkpoint to checkpoint; the others are the run's.
const CHANGING: [&str; 7] = ["checkpoint", "step", "epoch", "loss", "error", "progress", "geodesic_distance"];

fn main() {
    kit::serve(run)
}

fn run(job: &Job) -> Result<()> {
    let Params { far } = job.params()?;
    ensure!(far.is_finite() && far >= 0.0, "far: {far}; a distance is a number from 0 on");
    let table = |name: &str| -> Result<Table> { Ok(Table::read(&job.input(name)?.path)?) };
    let splits = [("train", table("train")?), ("test", table("test")?)];
    let runs = runs(&splits[0].1)?;
    let others = self::runs(&splits[1].1)?;
    ensure!(
        runs.keys().eq(others.keys()),
        "the tables of train and test are not of the same runs: {} and {}",
        runs.len(),
        others.len()
    );
    let firsts: Vec<usize> = runs.values().map(|rows| rows[0]).collect();
    let own = splits[0].1.rows(&firsts)?;
    let mut columns: Vec<Column> =
        own.columns().iter().filter(|column| !CHANGING.contains(&column.name().as_str())).cloned().collect();
    let counts: Vec<i64> = runs.values().map(|rows| rows.len() as i64).collect();
    columns.push(Column::new("checkpoints".into(), counts));
    for ((split, models), runs) in splits.iter().zip([&runs, &others]) {
        columns.extend(outcomes(split, models, runs, far)?);
    }
    Table::new(columns)?.write(job.output("runs")?)?;
    Ok(())
}

/// The rows of each run of a table of models, in the order of checkpoints; the geodesic is none.
fn runs(models: &Table) -> Result<BTreeMap<&str, Vec<usize>>> {
    let (run, checkpoint) = (models.values::<&str>("run")?, models.values::<i64>("checkpoint")?);
    let trained = models.optional::<bool>("trained")?;
    let mut runs: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for row in (0..models.height()).filter(|&row| trained[row].is_some()) {
        runs.entry(run[row]).or_default().push(row);
    }
    runs.values_mut().for_each(|rows| rows.sort_by_key(|&row| checkpoint[row]));
    Ok(runs)
}

/// Of a split: where each run ended, and how far from truth it was.
///
/// The Bhattacharyya distance to truth is half the cross-entropy: truth has all its weight on the label, so that
/// -log sqrt(p) is left of each sample.
fn outcomes(split: &str, models: &Table, runs: &BTreeMap<&str, Vec<usize>>, far: f64) -> Result<Vec<Column>> {
    let column = |name: &str| models.optional::<f64>(name);
    let (epoch, loss) = (column("epoch")?, column("loss")?);
    let last = |values: &[Option<f64>]| -> Vec<Option<f64>> {
        runs.values().map(|rows| rows.last().and_then(|&row| values[row])).collect()
    };
    let distance = |row: &usize| Some((loss[*row]? / 2.0, *row));
    let farthest: Vec<Option<(f64, usize)>> = runs
        .values()
        .map(|rows| {
            rows.iter().filter_map(distance).reduce(|far, next| if next.0 > far.0 { next } else { far })
        })
        .collect();
    let count =
        |rows: &Vec<usize>| rows.iter().filter_map(distance).filter(|(it, _)| *it > far).count() as i64;
    let name = |what: &str| format!("{split}_{what}").into();
    Ok(vec![
        Column::new(name("error"), last(&column("error")?)),
        Column::new(name("loss"), last(&loss)),
        Column::new(name("progress"), last(&column("progress")?)),
        Column::new(name("far"), runs.values().map(count).collect::<Vec<_>>()),
        Column::new(name("farthest"), farthest.iter().map(|it| it.map(|it| it.0)).collect::<Vec<_>>()),
        Column::new(
            name("farthest_epoch"),
            farthest.iter().map(|it| it.and_then(|it| epoch[it.1])).collect::<Vec<_>>(),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use serde_json::json;

    use super::*;

    /// Two runs and a point of the geodesic; the loss of the second run's checkpoints is given.
    fn models(folder: &Path, name: &str, losses: [f64; 3]) -> PathBuf {
        let rows = [("a", 0), ("a", 1), ("b", 2), ("b", 0), ("b", 1), ("geodesic", 0)];
        let of_runs = |values: [f64; 5]| values.into_iter().map(Some).chain([None]).collect::<Vec<_>>();
        let [first, second, third] = losses;
        let path = folder.join(name);
        Table::new(vec![
            Column::new("run".into(), rows.map(|row| row.0)),
            Column::new("arch".into(), ["fc", "fc", "vit", "vit", "vit", "geodesic"]),
            Column::new("parameters".into(), [Some(7_i64), Some(7), Some(9), Some(9), Some(9), None]),
            Column::new("checkpoint".into(), rows.map(|row| row.1 as i64)),
            Column::new("epoch".into(), of_runs([0.0, 1.0, 2.0, 0.0, 1.0])),
            Column::new("loss".into(), of_runs([2.3, 0.1, third, first, second])),
            Column::new("error".into(), of_runs([0.9, 0.0, 0.2, 0.9, 0.5])),
            Column::new("progress".into(), [0.0, 0.9, 0.8, 0.0, 0.5, 1.0]),
            Column::new(
                "trained".into(),
                [Some(true), Some(true), Some(false), Some(false), Some(false), None],
            ),
        ])
        .unwrap()
        .write(&path)
        .unwrap();
        path
    }

    fn made(folder: &Path, train: &Path, test: &Path, far: f64) -> Result<Table> {
        let job = json!({
            "stage": "outcomes", "key": "k", "params": {"far": far}, "device": "cpu", "threads": 1,
            "inputs": {"train": {"path": train, "hash": "a"}, "test": {"path": test, "hash": "b"}},
            "outputs": {"runs": folder.join("runs")},
        });
        let path = folder.join("job.json");
        std::fs::write(&path, job.to_string())?;
        run(&Job::read(&path)?)?;
        Ok(Table::read(&folder.join("runs"))?)
    }

    #[test]
    fn a_run_has_its_end_and_its_farthest_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let (train, test) =
            (models(folder.path(), "train", [4.2, 5.0, 1.0]), models(folder.path(), "test", [4.0, 1.0, 4.5]));
        let table = made(folder.path(), &train, &test, 2.0).unwrap();
        assert_eq!(table.values::<&str>("run").unwrap(), ["a", "b"]);
        assert_eq!(table.values::<&str>("arch").unwrap(), ["fc", "vit"]);
        assert_eq!(table.values::<i64>("checkpoints").unwrap(), [2, 3]);
        assert_eq!(table.values::<bool>("trained").unwrap(), [true, false]);
        assert_eq!(table.values::<f64>("train_error").unwrap(), [0.0, 0.2]);
        assert_eq!(table.values::<f64>("test_progress").unwrap(), [0.9, 0.8]);
        assert_eq!(table.values::<i64>("train_far").unwrap(), [0, 2]);
        assert_eq!(table.values::<f64>("train_farthest").unwrap(), [1.15, 2.5]);
        assert_eq!(table.values::<f64>("train_farthest_epoch").unwrap(), [0.0, 1.0]);
        // At a distance of exactly 2 it is not farther than that.
        assert_eq!(table.values::<i64>("test_far").unwrap(), [0, 1]);
        assert_eq!(table.values::<f64>("test_farthest_epoch").unwrap(), [0.0, 2.0]);
        assert!(table.values::<i64>("checkpoint").is_err());
    }

    #[test]
    fn tables_of_different_runs_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let train = models(folder.path(), "train", [1.0; 3]);
        let one = folder.path().join("one");
        Table::read(&train).unwrap().rows(&[0, 1]).unwrap().write(&one).unwrap();
        let message = made(folder.path(), &train, &one, 2.0).unwrap_err().to_string();
        assert_eq!(message, "the tables of train and test are not of the same runs: 2 and 1");
    }

    #[test]
    fn a_distance_below_0_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let train = models(folder.path(), "train", [1.0; 3]);
        let message = made(folder.path(), &train, &train, -1.0).unwrap_err().to_string();
        assert_eq!(message, "far: -1; a distance is a number from 0 on");
    }
}
