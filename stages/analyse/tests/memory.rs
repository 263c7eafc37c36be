//! The stage's process stays within the memory it was given, however many runs and samples there are.

#[path = "../../runs/tests/support/process.rs"]
mod process;

use kit::TensorsWriter;
use serde_json::{Value, json};

const RUNS: usize = 40;
const SHAPE: [usize; 3] = [10, 10_000, 10];

/// What a process takes that computes next to nothing, its labels and a model a thread.
const IDLE: usize = 40_000_000;

#[test]
fn predictions_larger_than_the_memory_are_analysed_within_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    process::data(&folder.join("data"), SHAPE[1], SHAPE[2]);
    TensorsWriter::new()
        .f64s("progress", &[3], &[0.0, 0.5, 1.0])
        .write(&folder.join("geodesic"), &json!({}))
        .unwrap();
    let run = |seed: usize| {
        let path = folder.join(format!("run-{seed}"));
        // A configuration each.
        process::predictions(&path, &json!({"arch": "fc", "rate": seed, "seed": 1}), SHAPE);
        json!({"path": path, "hash": seed.to_string()})
    };
    let input = |name: &str| json!({"path": folder.join(name), "hash": name});
    let names = ["models", "configurations", "distances", "linkage", "trajectories", "tube"];
    let outputs: serde_json::Map<String, Value> =
        names.iter().map(|name| (name.to_string(), json!(folder.join(name)))).collect();
    let job = json!({
        "stage": "analyse", "key": "k", "device": "cpu", "threads": 2,
        "params": {"split": "test", "grid": 5, "untrained": 0.1, "memory": "8M"},
        "inputs": {
            "data": input("data"), "geodesic": input("geodesic"),
            "predictions": (0..RUNS).map(run).collect::<Vec<_>>(),
        },
        "outputs": outputs,
    });
    let peak = process::peak(env!("CARGO_BIN_EXE_analyse"), folder, &job);
    let input = RUNS * SHAPE.iter().product::<usize>() * size_of::<f32>();
    println!("{peak} bytes at the peak, of {input} bytes of predictions");
    assert!(peak < 8_000_000 + IDLE && 2 * peak < input, "{peak} bytes at the peak, of {input} bytes read");
}
