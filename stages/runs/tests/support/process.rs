//! A stage as a process, for tests that hold it to its memory: predictions for it, and its peak.

use std::path::Path;
use std::process::{Command, Stdio};

use kit::{Layout, TensorFile, TensorsWriter};
use serde_json::{Value, json};
use wait4::Wait4;

/// Writes the predictions [T, N, C] of a network that grows certain of each sample's class, which is its number modulo C.
pub fn predictions(path: &Path, network: &Value, [checkpoints, samples, classes]: [usize; 3]) {
    let numbers = ["epoch", "test_loss", "test_error", "train_loss", "train_error"];
    let mut layout = Layout::new();
    layout.f32s("test", &[checkpoints, samples, classes]).i64s("step", &[checkpoints]);
    numbers.iter().for_each(|name| {
        layout.f64s(name, &[checkpoints]);
    });
    let metadata = json!({"network": network, "parameters": 10});
    let file = TensorFile::create(path, &layout, &metadata).unwrap();
    file.i64s("step", 0, &(0..checkpoints as i64).collect::<Vec<_>>()).unwrap();
    numbers.iter().for_each(|name| file.f64s(name, 0, &vec![0.05; checkpoints]).unwrap());
    for checkpoint in 0..checkpoints {
        let certain = 0.1 + 0.8 * (checkpoint + 1) as f32 / checkpoints as f32;
        let rest = (1.0 - certain) / (classes - 1) as f32;
        let probability =
            |place: usize| if place % classes == place / classes % classes { certain } else { rest };
        let values: Vec<f32> = (0..samples * classes).map(probability).collect();
        file.f32s("test", checkpoint * values.len(), &values).unwrap();
    }
}

/// Writes the data that these are predictions of.
#[allow(dead_code)] // Distances need none.
pub fn data(path: &Path, samples: usize, classes: usize) {
    let labels: Vec<i64> = (0..samples).map(|sample| (sample % classes) as i64).collect();
    TensorsWriter::new()
        .i64s("test_labels", &[samples], &labels)
        .write(path, &json!({"classes": vec!["a class"; classes]}))
        .unwrap();
}

/// Runs a job, which must end well. Returns the peak of its process in bytes.
pub fn peak(program: &str, folder: &Path, job: &Value) -> usize {
    let path = folder.join("job.json");
    std::fs::write(&path, job.to_string()).unwrap();
    let mut child = Command::new(program).arg(path).stdout(Stdio::piped()).spawn().unwrap();
    let events = std::io::read_to_string(child.stdout.take().unwrap()).unwrap();
    assert!(events.contains(r#""event":"done""#), "{events}");
    child.wait4().unwrap().rusage.maxrss as usize
}
