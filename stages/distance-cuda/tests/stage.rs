//! The program makes the tile that the processor's program makes, from the same job.

use std::path::Path;
use std::process::Command;

use kit::{Job, Layout, TensorFile, Tensors};
use serde_json::{Value, json};

const CHECKPOINTS: usize = 40;
const SAMPLES: usize = 60;
const CLASSES: usize = 5;

fn predictions(path: &Path, seed: usize) -> Value {
    let shape = [CHECKPOINTS, SAMPLES, CLASSES];
    let file =
        TensorFile::create(path, Layout::new().f32s("test", &shape), &json!({"network": {"seed": seed}}))
            .unwrap();
    for sample in 0..CHECKPOINTS * SAMPLES {
        let wave = |class: usize| ((seed + sample * sample + 7 * class) as f32).sin().exp();
        let sum: f32 = (0..CLASSES).map(wave).sum();
        let values: Vec<f32> = (0..CLASSES).map(|class| wave(class) / sum).collect();
        file.f32s("test", sample * CLASSES, &values).unwrap();
    }
    json!({"path": path, "hash": seed.to_string()})
}

/// A job file, and its tile.
fn job(folder: &Path, rows: &[&Value], cols: &[&Value], measure: &str, device: &str) -> std::path::PathBuf {
    let job = json!({
        "stage": "distance", "key": "k", "params": {"split": "test", "measure": measure, "memory": "300K"},
        "device": device, "threads": 2, "inputs": {"rows": rows, "cols": cols},
        "outputs": {"tile": folder.join("tile")},
    });
    let path = folder.join("job.json");
    std::fs::write(&path, job.to_string()).unwrap();
    path
}

fn tile(folder: &Path) -> (Vec<usize>, Vec<f32>, Value) {
    let file = Tensors::open(&folder.join("tile")).unwrap();
    let distances = file.f32s("distances").unwrap();
    (distances.shape, distances.values.to_vec(), file.metadata().unwrap())
}

#[test]
fn both_programs_make_the_same_tile() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (one, other) = (predictions(&folder.join("one"), 1), predictions(&folder.join("other"), 2));
    for measure in ["bhattacharyya", "kl", "euclidean"] {
        // More models than a block has: with those on and off the diagonal.
        for (rows, cols) in [(vec![&one, &other], vec![&one, &other]), (vec![&one], vec![&other, &one])] {
            let path = job(folder, &rows, &cols, measure, "cpu");
            distance::run(&Job::read(&path).unwrap(), distance::on_processor).unwrap();
            let (shape, expected, metadata) = tile(folder);

            let output = Command::new(env!("CARGO_BIN_EXE_distance-cuda")).arg(&path).output().unwrap();
            let events = String::from_utf8(output.stdout).unwrap();
            assert!(events.contains(r#""event":"done""#), "{events}");
            let found = tile(folder);
            assert_eq!((&found.0, &found.2), (&shape, &metadata));
            for (found, expected) in found.1.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-6, "{measure}: {found} is not {expected}");
            }
        }
    }
}

#[test]
fn a_device_that_is_not_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let one = predictions(&folder.path().join("one"), 1);
    let path = job(folder.path(), &[&one], &[&one], "bhattacharyya", "cuda:999");
    let output = Command::new(env!("CARGO_BIN_EXE_distance-cuda")).arg(&path).output().unwrap();
    let events = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success() && events.contains("device `cuda:999`: libtorch sees"), "{events}");
}

#[test]
fn the_program_holds_libtorch_and_no_openblas() {
    let bytes = std::fs::read(env!("CARGO_BIN_EXE_distance-cuda")).unwrap();
    let names = |library: &str| bytes.windows(library.len()).any(|window| window == library.as_bytes());
    assert!(names("libtorch_cpu.so") && !names("libopenblas.so"));
}
