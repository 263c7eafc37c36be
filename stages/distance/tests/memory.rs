//! The stage's process stays within the memory it was given, however large its input is.

#[path = "../../runs/tests/support/process.rs"]
mod process;

use serde_json::json;

/// What a process takes that computes next to nothing: its program and libraries, a thread's stack, the models' views.
const IDLE: usize = 24_000_000;

#[test]
fn predictions_larger_than_the_memory_are_compared_within_it() {
    let folder = tempfile::tempdir().unwrap();
    let predictions = folder.path().join("predictions");
    for (memory, shape, measure) in [
        // More samples than find room, more models than do, more classes, and the other measures.
        (40, [800, 4_000, 10], "bhattacharyya"),
        (40, [4_000, 100, 10], "bhattacharyya"),
        (40, [400, 200, 1_000], "bhattacharyya"),
        (40, [3_000, 20, 10], "kl"),
        (40, [3_000, 20, 10], "euclidean"),
    ] {
        process::predictions(&predictions, &json!({"seed": 1}), shape);
        let input = json!([{"path": predictions, "hash": "one"}]);
        let params = json!({"split": "test", "memory": format!("{memory}M"), "measure": measure});
        let job = json!({
            "stage": "distance", "key": "k", "params": params, "device": "cpu", "threads": 2,
            "inputs": {"rows": input, "cols": input}, "outputs": {"tile": folder.path().join("tile")},
        });
        let peak = process::peak(env!("CARGO_BIN_EXE_distance"), folder.path(), &job);
        let most = memory * 1_000_000 + IDLE;
        assert!(peak < most, "{measure} {shape:?}: {peak} bytes at the peak, {most} at most");
    }
}
