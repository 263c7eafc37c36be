//! The stage on made-up configurations.

use std::path::Path;

use kit::{Job, TensorsWriter};
use serde_json::{Value, json};
use tables::{Column, Table};

const ARCHS: [&str; 12] = ["fc", "fc", "fc", "fc", "vit", "vit", "vit", "vit", "wr", "wr", "wr", "wr"];

/// Twelve configurations on a line: architecture sets where, the batch adds a little.
fn job(folder: &Path, factors: Value) -> Job {
    let batches: Vec<i64> = (0..12).map(|i| 25 * (1 + i % 2)).collect();
    let at = |i: usize| 3.0 * (i / 4) as f64 + 0.1 * (i % 2) as f64 + 0.01 * (i * 5 % 3) as f64;
    let distances: Vec<f64> = (0..144).map(|pair| (at(pair / 12) - at(pair % 12)).abs()).collect();
    let runs: Vec<String> = (0..12).map(|i| format!("run {i}")).collect();
    let members: Vec<Value> = runs.iter().map(|run| json!({"run": run, "checkpoints": 1})).collect();
    TensorsWriter::new()
        .f64s("distances", &[12, 12], &distances)
        .write(
            &folder.join("distances"),
            &json!({"rows": members, "cols": members, "samples": 4, "measure": "bhattacharyya"}),
        )
        .unwrap();
    // The table has them the other way round.
    let reversed = |values: Vec<f64>| values.into_iter().rev().collect::<Vec<_>>();
    Table::new(vec![
        Column::new("run".into(), runs.iter().rev().map(String::as_str).collect::<Vec<_>>()),
        Column::new("arch".into(), ARCHS.iter().rev().copied().collect::<Vec<_>>()),
        Column::new("batch".into(), batches.into_iter().rev().collect::<Vec<_>>()),
        Column::new("decay".into(), vec![0.0; 12]),
        Column::new("augment".into(), vec![false; 12]),
        Column::new("pc1".into(), reversed((0..12).map(at).collect())),
        Column::new("pc2".into(), vec![0.0; 12]),
    ])
    .unwrap()
    .write(&folder.join("points"))
    .unwrap();
    let text = json!({
        "stage": "factors", "key": "k", "device": "cpu", "threads": 1,
        "params": {"factors": factors, "square": true, "permutations": 99, "dimensions": 2, "seed": 1},
        "inputs": {
            "distances": {"path": folder.join("distances"), "hash": "d"},
            "points": {"path": folder.join("points"), "hash": "p"},
        },
        "outputs": {"factors": folder.join("factors")},
    });
    std::fs::write(folder.join("job.json"), text.to_string()).unwrap();
    Job::read(&folder.join("job.json")).unwrap()
}

#[test]
fn factors_that_differ_have_a_row_each_and_then_all_and_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    crate::run(&job(folder.path(), json!(["arch", "batch", "decay", "augment"]))).unwrap();
    let table = Table::read(&folder.path().join("factors")).unwrap();
    assert_eq!(table.values::<&str>("factor").unwrap(), ["arch", "batch", "all", "residual"]);
    assert_eq!(table.optional::<i64>("levels").unwrap(), [Some(3), Some(2), None, None]);
    assert_eq!(table.values::<i64>("freedom").unwrap(), [2, 1, 3, 8]);
    let r2: Vec<f64> = table.values("r2").unwrap();
    assert!(r2[0] > 0.99 && r2[1] < 0.01, "{r2:?}");
    assert!((r2[2] + r2[3] - 1.0).abs() < 1e-12);
    let p: Vec<Option<f64>> = table.optional("p").unwrap();
    assert_eq!((p[0], p[3]), (Some(0.01), None));
    let importance: Vec<Option<f64>> = table.optional("importance").unwrap();
    assert!(importance[0] > Some(0.5) && importance[1] < Some(0.1), "{importance:?}");
    assert_eq!(importance[2..], [None, None]);
    assert!(table.values::<f64>("forest_r2").unwrap()[0] > 0.5);
}

#[test]
fn what_cannot_be_analysed_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let message = |factors| crate::run(&job(folder.path(), factors)).unwrap_err().to_string();
    assert_eq!(
        message(json!(["decay"])),
        "none of decay differs between the 12 configurations: there is nothing to explain"
    );
    assert!(message(json!(["optimiser"])).contains("no column `optimiser`"));
}
