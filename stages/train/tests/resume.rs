//! The program as the runner starts it: where the runner says so, what a job needs to go on is kept.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use kit::{Tensors, TensorsWriter};
use serde_json::json;

/// Twelve images of 8x8 in two classes.
fn write_data(path: &Path) {
    let pixels: Vec<u8> = (0..12 * 64).map(|place| (place * 37 % 251) as u8).collect();
    let labels: Vec<i64> = (0..12).map(|sample| sample % 2).collect();
    let mut writer = TensorsWriter::new();
    for split in ["train", "test"] {
        writer.u8s(&format!("{split}_images"), &[12, 1, 8, 8], &pixels);
        writer.i64s(&format!("{split}_labels"), &[12], &labels);
    }
    writer.write(path, &json!({"classes": ["a", "b"], "mean": [0.5], "std": [0.25]})).unwrap();
}

#[test]
fn checkpoints_grow_in_the_folder_that_a_job_goes_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write_data(&path("data"));
    fs::create_dir(path("again")).unwrap();
    let network = json!({
        "arch": "fc", "model": {"kind": "fc", "widths": [4]}, "optimizer": "adam", "batch": 4, "rate": 0.01, "decay": 0,
        "augment": false, "epochs": 2, "seed": 42
    });
    let job = json!({
        "stage": "train", "key": "k", "params": {"network": network, "precision": "f32"},
        "inputs": {"data": {"path": path("data"), "hash": "h"}}, "outputs": {"checkpoints": path("checkpoints")},
        "device": "cpu", "threads": 1, "resume": path("again")
    });
    fs::write(path("job"), job.to_string()).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_train"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(program.stdin.take().unwrap(), "{}", json!({"job": path("job")})).unwrap();
    let output = program.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("\"done\""), "{said}");
    let steps = |name: &str| Tensors::open(&path(name)).unwrap().i64s("step").unwrap().values.to_vec();
    assert_eq!(steps("checkpoints").last(), Some(&6));
    assert_eq!(steps("again/checkpoints"), steps("checkpoints"));
}
