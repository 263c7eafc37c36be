//! The stage's process stays within the memory it was given beside what its program takes, however large its input is.

use std::path::Path;
use std::process::Command;

use kit::{Layout, TensorFile};
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::json;

/// What a process takes that computes next to nothing: libtorch, its threads, the buffers of its matrix products.
const IDLE: usize = 140_000_000;

fn predictions(path: &Path, [checkpoints, samples, classes]: [usize; 3]) {
    let metadata = json!({"network": {"seed": 1}});
    let shape = [checkpoints, samples, classes];
    let file = TensorFile::create(path, Layout::new().f32s("test", &shape), &metadata).unwrap();
    for checkpoint in 0..checkpoints {
        let certain = 0.1 + 0.8 * checkpoint as f32 / checkpoints as f32;
        let rest = (1.0 - certain) / (classes - 1) as f32;
        let sample = (0..classes).map(|class| if class == 0 { certain } else { rest });
        let values: Vec<f32> = sample.cycle().take(samples * classes).collect();
        file.f32s("test", checkpoint * values.len(), &values).unwrap();
    }
}

#[test]
fn predictions_larger_than_the_memory_are_compared_within_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // A child's peak is told of all children together: each next one may take more.
    for (memory, shape, measure) in [
        (50, [800, 4_000, 10], "bhattacharyya"),
        (50, [800, 400, 10], "kl"),
        (50, [400, 200, 1_000], "bhattacharyya"),
        (100, [800, 400, 10], "euclidean"),
        (200, [800, 4_000, 10], "bhattacharyya"),
        (400, [3_000, 100, 10], "bhattacharyya"),
    ] {
        predictions(&folder.join("predictions"), shape);
        let input = json!([{"path": folder.join("predictions"), "hash": "one"}]);
        let params = json!({"split": "test", "memory": format!("{memory}M"), "measure": measure});
        let job = json!({
            "stage": "distance", "key": "k", "params": params, "device": "cpu", "threads": 2,
            "inputs": {"rows": input, "cols": input}, "outputs": {"tile": folder.join("tile")},
        });
        std::fs::write(folder.join("job.json"), job.to_string()).unwrap();
        let output =
            Command::new(env!("CARGO_BIN_EXE_distance-cuda")).arg(folder.join("job.json")).output().unwrap();
        let events = String::from_utf8(output.stdout).unwrap();
        assert!(events.contains(r#""event":"done""#), "{events}");
        let peak = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss() as usize * 1024;
        println!("{measure} {shape:?} in {memory} MB: {} MB at the peak", peak / 1_000_000);
        assert!(peak < memory * 1_000_000 + IDLE, "{measure} {shape:?}: {peak} bytes with {memory} MB");
    }
}
