//! The stage's process stays within the memory it was given, however large its input is.

use std::process::Command;

use kit::{Layout, TensorFile};
use nix::sys::resource::{UsageWho, getrusage};
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
    let shape = [CHECKPOINTS, SAMPLES, CLASSES];
    let metadata = json!({"network": {"seed": 1}});
    let file = TensorFile::create(&predictions, Layout::new().f32s("test", &shape), &metadata).unwrap();
    for checkpoint in 0..CHECKPOINTS {
        let certain = 0.1 + 0.8 * checkpoint as f32 / CHECKPOINTS as f32;
        let sample = (0..CLASSES).map(|class| if class == 0 { certain } else { (1.0 - certain) / 9.0 });
        let values: Vec<f32> = sample.cycle().take(SAMPLES * CLASSES).collect();
        file.f32s("test", checkpoint * values.len(), &values).unwrap();
    }
    let input = json!([{"path": predictions, "hash": "one"}]);
    let job = json!({
        "stage": "distance", "key": "k", "params": {"split": "test", "memory": "40M"}, "device": "cpu", "threads": 2,
        "inputs": {"rows": input, "cols": input}, "outputs": {"tile": folder.path().join("tile")},
    });
    let job_file = folder.path().join("job.json");
    std::fs::write(&job_file, job.to_string()).unwrap();

    let output = Command::new(env!("CARGO_BIN_EXE_distance")).arg(job_file).output().unwrap();
    let events = String::from_utf8(output.stdout).unwrap();
    assert!(events.contains(r#""event":"done""#), "{events}");

    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss() as usize * 1024;
    let input = CHECKPOINTS * SAMPLES * CLASSES * size_of::<f32>();
    assert!(peak < 40_000_000 + IDLE && 2 * peak < input, "{peak} bytes at the peak, of {input} bytes read");
}
