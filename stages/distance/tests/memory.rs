//! The stage's process stays within the memory it was given, however large its input is.

#[path = "../../runs/tests/support/process.rs"]
mod process;

use serde_json::json;

const CHECKPOINTS: usize = 800;
const SAMPLES: usize = 4000;
const CLASSES: usize = 10;

/// What a process takes that computes next to nothing: its program and libraries, a thread's stack, the models' views.
const IDLE: usize = 24_000_000;

#[test]
fn predictions_larger_than_the_memory_are_compared_within_it() {
    let folder = tempfile::tempdir().unwrap();
    let predictions = folder.path().join("predictions");
    process::predictions(&predictions, &json!({"seed": 1}), [CHECKPOINTS, SAMPLES, CLASSES]);
    let input = json!([{"path": predictions, "hash": "one"}]);
    let job = json!({
        "stage": "distance", "key": "k", "params": {"split": "test", "memory": "40M"}, "device": "cpu", "threads": 2,
        "inputs": {"rows": input, "cols": input}, "outputs": {"tile": folder.path().join("tile")},
    });
    let peak = process::peak(env!("CARGO_BIN_EXE_distance"), folder.path(), &job);
    let input = CHECKPOINTS * SAMPLES * CLASSES * size_of::<f32>();
    assert!(peak < 40_000_000 + IDLE && 2 * peak < input, "{peak} bytes at the peak, of {input} bytes read");
}
