//! The memory of the stage's process does not follow the number of samples times runs.

#[path = "../../runs/tests/support/process.rs"]
mod process;

use kit::TensorsWriter;
use ndarray::Array2;
use serde_json::{Value, json};
use tables::{Column, Table};

const RUNS: usize = 80;
const SHAPE: [usize; 3] = [10, 10_000, 10];

/// What a process takes that computes next to nothing, its labels, and what it holds of all samples or of all pairs.
const HELD: usize = 140_000_000;

#[test]
fn predictions_larger_than_the_memory_have_tangents() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    process::data(&folder.join("data"), SHAPE[1], SHAPE[2]);
    let (mut runs, mut predictions) = (Vec::new(), Vec::new());
    for seed in 0..RUNS {
        let network = json!({"arch": "fc", "seed": seed});
        let path = folder.join(format!("run-{seed}"));
        process::predictions(&path, &network, SHAPE);
        runs.push(kit::run_name(&network));
        predictions.push(json!({"path": path, "hash": seed.to_string()}));
    }
    // How far the models are from each other matters to the memory only by their number.
    let models = RUNS * SHAPE[0];
    let distances =
        Array2::from_shape_fn((models, models), |(i, j)| (i as f64 - j as f64).abs() / models as f64);
    let values: Vec<f32> = distances.iter().map(|&distance| distance as f32).collect();
    let members: Vec<Value> = runs.iter().map(|run| json!({"run": run, "checkpoints": SHAPE[0]})).collect();
    TensorsWriter::new()
        .f32s("distances", &[models, models], &values)
        .write(
            &folder.join("tile"),
            &json!({"rows": members, "cols": members, "samples": SHAPE[1], "measure": "bhattacharyya"}),
        )
        .unwrap();
    let full = spectral::inpca(distances, 3, 1).unwrap();
    let checkpoints: Vec<i64> = (0..RUNS).flat_map(|_| 0..SHAPE[0] as i64).collect();
    let progress: Vec<f64> = checkpoints.iter().map(|&it| it as f64 / SHAPE[0] as f64).collect();
    let mut columns = vec![
        Column::new(
            "run".into(),
            runs.iter().flat_map(|run| vec![run.as_str(); SHAPE[0]]).collect::<Vec<_>>(),
        ),
        Column::new("checkpoint".into(), &checkpoints),
        Column::new("progress".into(), progress),
        Column::new("trained".into(), vec![Some(true); models]),
    ];
    for (k, coordinates) in full.coordinates.columns().into_iter().enumerate() {
        columns.push(Column::new(format!("pc{}", k + 1).into(), coordinates.to_vec()));
    }
    Table::new(columns).unwrap().write(&folder.join("models")).unwrap();
    Table::new(vec![Column::new("eigenvalue".into(), full.eigenvalues.to_vec())])
        .unwrap()
        .write(&folder.join("spectrum"))
        .unwrap();
    let input = |name: &str| json!({"path": folder.join(name), "hash": name});
    let outputs: serde_json::Map<String, Value> = ["tangents", "four", "misfit"]
        .iter()
        .map(|name| (name.to_string(), json!(folder.join(name))))
        .collect();
    let job = json!({
        "stage": "tangents", "key": "k", "device": "cpu", "threads": 2,
        "params": {
            "split": "test", "by": ["arch"], "early": 0.2, "late": 0.8, "between": [0.3, 0.7], "deviation": 0.05,
            "loss": 4,
        },
        "inputs": {
            "data": input("data"), "models": input("models"), "points": input("models"),
            "spectrum": input("spectrum"), "predictions": predictions, "tiles": [input("tile")],
        },
        "outputs": outputs,
    });
    let peak = process::peak(env!("CARGO_BIN_EXE_tangents"), folder, &job);
    let input = RUNS * SHAPE.iter().product::<usize>() * size_of::<f32>();
    println!("{peak} bytes at the peak, of {input} bytes of predictions");
    assert!(peak < HELD && 2 * peak < input, "{peak} bytes at the peak, of {input} bytes read");
}
