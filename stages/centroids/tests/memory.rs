//! The memory of the stage's process does not follow the number of runs.

#[path = "../../runs/tests/support/process.rs"]
mod process;

use serde_json::json;
use tables::{Column, Table};

const RUNS: usize = 40;
const SHAPE: [usize; 3] = [10, 10_000, 10];

/// What a process takes that computes next to nothing, its labels, and the averages that it holds of all samples.
const HELD: usize = 60_000_000;

#[test]
fn predictions_larger_than_the_memory_are_averaged() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    process::data(&folder.join("data"), SHAPE[1], SHAPE[2]);
    let (mut names, mut predictions) = (Vec::new(), Vec::new());
    for seed in 0..RUNS {
        let network = json!({"arch": "fc", "seed": seed});
        let path = folder.join(format!("run-{seed}"));
        process::predictions(&path, &network, SHAPE);
        names.extend(vec![kit::run_name(&network); SHAPE[0]]);
        predictions.push(json!({"path": path, "hash": seed.to_string()}));
    }
    let checkpoints: Vec<i64> = (0..RUNS).flat_map(|_| 0..SHAPE[0] as i64).collect();
    let progress: Vec<f64> = checkpoints.iter().map(|&it| it as f64 / SHAPE[0] as f64).collect();
    Table::new(vec![
        Column::new("run".into(), names),
        Column::new("checkpoint".into(), &checkpoints),
        Column::new("progress".into(), progress),
        Column::new("trained".into(), vec![Some(true); checkpoints.len()]),
    ])
    .unwrap()
    .write(&folder.join("models"))
    .unwrap();
    let input = |name: &str| json!({"path": folder.join(name), "hash": name});
    let job = json!({
        "stage": "centroids", "key": "k", "device": "cpu", "threads": 2,
        "params": {"split": "test", "by": ["arch"], "grid": 3},
        "inputs": {"data": input("data"), "models": input("models"), "predictions": predictions},
        "outputs": {"centroids": folder.join("centroids")},
    });
    let peak = process::peak(env!("CARGO_BIN_EXE_centroids"), folder, &job);
    let input = RUNS * SHAPE.iter().product::<usize>() * size_of::<f32>();
    println!("{peak} bytes at the peak, of {input} bytes of predictions");
    assert!(peak < HELD && 2 * peak < input, "{peak} bytes at the peak, of {input} bytes read");
}
