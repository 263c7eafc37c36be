//! The stage's process stays within the memory it was given, however large the matrix is.

#[allow(dead_code)] // It reads no predictions.
#[path = "../../runs/tests/support/process.rs"]
mod process;

use std::path::Path;

use kit::{Layout, TensorFile};
use serde_json::{Value, json};
use tables::{Column, Table};

const CHECKPOINTS: usize = 100;

/// The distances of points that lie near a few lines, [runs of 100, the same], with the table of these points.
fn write(folder: &Path, runs: usize) {
    let names: Vec<String> = (0..runs).map(|run| format!("run-{run:03}")).collect();
    let points = runs * CHECKPOINTS;
    let places: Vec<[f32; 8]> = (0..points)
        .map(|point| {
            let (run, t) = ((point / CHECKPOINTS) as f32, (point % CHECKPOINTS) as f32 / CHECKPOINTS as f32);
            std::array::from_fn(|d| ((1.0 + d as f32) * t + 0.1 * run).sin() / (1.0 + d as f32))
        })
        .collect();
    let members: Vec<Value> =
        names.iter().map(|name| json!({"run": name, "checkpoints": CHECKPOINTS})).collect();
    let about = json!({"rows": members, "cols": members, "samples": 10, "measure": "bhattacharyya"});
    let mut layout = Layout::new();
    layout.f32s("distances", &[points, points]);
    let file = TensorFile::create(&folder.join("tile"), &layout, &about).unwrap();
    for (row, a) in places.iter().enumerate() {
        let distance = |b: &[f32; 8]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        file.f32s("distances", row * points, &places.iter().map(distance).collect::<Vec<_>>()).unwrap();
    }
    let column = names.iter().flat_map(|name| [name.as_str(); CHECKPOINTS]).collect::<Vec<_>>();
    let checkpoints: Vec<i64> = (0..points).map(|point| (point % CHECKPOINTS) as i64).collect();
    Table::new(vec![Column::new("run".into(), column), Column::new("checkpoint".into(), checkpoints)])
        .unwrap()
        .write(&folder.join("table"))
        .unwrap();
}

/// The largest resident set of a job on so many runs, in bytes.
fn peak(folder: &Path, runs: usize, memory: usize) -> usize {
    write(folder, runs);
    let job = json!({
        "stage": "embed", "key": "k", "params": {"memory": format!("{memory}M")}, "device": "cpu", "threads": 2,
        "inputs": {
            "tiles": [{"path": folder.join("tile"), "hash": "t"}],
            "table": {"path": folder.join("table"), "hash": "h"},
        },
        "outputs": {"points": folder.join("points"), "spectrum": folder.join("spectrum")},
    });
    process::peak(env!("CARGO_BIN_EXE_embed"), folder, &job)
}

#[test]
fn a_matrix_larger_than_the_memory_is_embedded_within_it() {
    let folder = tempfile::tempdir().unwrap();
    // The program, its libraries, and what these keep for themselves.
    let idle = peak(folder.path(), 2, 100);
    let found = peak(folder.path(), 60, 100);
    let matrix = (60 * CHECKPOINTS).pow(2) * size_of::<f32>();
    println!(
        "{} MB idle, {} MB of a matrix of {} MB",
        idle / 1_000_000,
        found / 1_000_000,
        matrix / 1_000_000
    );
    assert!(found < idle + 100_000_000 && found < matrix, "{found} bytes, {idle} of them idle");
}
