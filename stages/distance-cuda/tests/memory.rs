//! The stage's process stays within the memory it was given beside what its program takes, however large its input is.

#[path = "../../runs/tests/support/process.rs"]
mod process;

use serde_json::json;

/// What a job takes beside its memory and what one takes that computes next to nothing: buffers of larger products.
const BUFFERS: usize = 20_000_000;

#[test]
fn predictions_larger_than_the_memory_are_compared_within_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // libtorch, its threads and first buffers: other processors have others.
    let mut idle = None;
    for (memory, shape, measure) in [
        (1, [2, 4, 10], "bhattacharyya"),
        (50, [800, 4_000, 10], "bhattacharyya"),
        (50, [800, 400, 10], "kl"),
        (50, [400, 200, 1_000], "bhattacharyya"),
        (100, [800, 400, 10], "euclidean"),
        (200, [800, 4_000, 10], "bhattacharyya"),
        (400, [3_000, 100, 10], "bhattacharyya"),
    ] {
        process::predictions(&folder.join("predictions"), &json!({"seed": 1}), shape);
        let input = json!([{"path": folder.join("predictions"), "hash": "one"}]);
        let params = json!({"split": "test", "memory": format!("{memory}M"), "measure": measure});
        let job = json!({
            "stage": "distance", "key": "k", "params": params, "device": "cpu", "threads": 2,
            "inputs": {"rows": input, "cols": input}, "outputs": {"tile": folder.join("tile")},
        });
        let peak = process::peak(env!("CARGO_BIN_EXE_distance-cuda"), folder, &job);
        println!("{measure} {shape:?} in {memory} MB: {} MB at the peak", peak / 1_000_000);
        let most = *idle.get_or_insert(peak) + memory * 1_000_000 + BUFFERS;
        assert!(peak < most, "{measure} {shape:?}: {peak} bytes with {memory} MB, {most} at most");
    }
}
