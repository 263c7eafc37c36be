//! The stage on small made-up runs.

use std::path::Path;

use geometry::{Truth, geodesic};
use kit::{Job, TensorsWriter};
use serde_json::{Value, json};
use tables::{Column, Table};

const LABELS: [i64; 4] = [0, 1, 2, 1];
const PROGRESS: [f64; 3] = [0.0, 0.5, 0.9];

/// Runs of an architecture each, which go along the geodesic so far aside of it; and a job on them, by architecture.
fn job(folder: &Path, made: &[(&str, f32)]) -> Job {
    job_of(3, folder, made)
}

fn job_of(classes: usize, folder: &Path, made: &[(&str, f32)]) -> Job {
    let truth = Truth::new(&LABELS, classes).unwrap();
    let (mut runs, mut checkpoints, mut progress) = (Vec::new(), Vec::new(), Vec::new());
    let mut predictions: Vec<Value> = Vec::new();
    for (seed, (arch, aside)) in made.iter().enumerate() {
        let mut models = geodesic(&truth, &PROGRESS);
        for mut sample in models.rows_mut() {
            sample[seed % 3] += aside;
            sample /= 1.0 + aside;
        }
        let network = json!({"arch": arch, "seed": seed});
        let path = folder.join(format!("run-{seed}"));
        let values = [0.05; 3];
        TensorsWriter::new()
            .f32s("test", models.shape(), models.as_slice().unwrap())
            .i64s("step", &[3], &[0, 1, 2])
            .f64s("epoch", &[3], &values)
            .f64s("test_loss", &[3], &values)
            .f64s("test_error", &[3], &values)
            .f64s("train_error", &[3], &values)
            .write(&path, &json!({"network": network, "parameters": 10}))
            .unwrap();
        predictions.push(json!({"path": path, "hash": "p"}));
        runs.extend([kit::run_name(&network), kit::run_name(&network), kit::run_name(&network)]);
        checkpoints.extend(0..3_i64);
        progress.extend(PROGRESS);
    }
    TensorsWriter::new()
        .i64s("test_labels", &[4], &LABELS)
        .write(&folder.join("data"), &json!({"classes": vec!["a class"; classes]}))
        .unwrap();
    let trained: Vec<Option<bool>> = vec![Some(true); runs.len()];
    Table::new(vec![
        Column::new("run".into(), runs),
        Column::new("checkpoint".into(), checkpoints),
        Column::new("progress".into(), progress),
        Column::new("trained".into(), trained),
    ])
    .unwrap()
    .write(&folder.join("models"))
    .unwrap();
    let text = json!({
        "stage": "centroids", "key": "k", "device": "cpu", "threads": 2,
        "params": {"split": "test", "by": ["arch"], "grid": 2},
        "inputs": {
            "data": {"path": folder.join("data"), "hash": "d"},
            "models": {"path": folder.join("models"), "hash": "m"},
            "predictions": predictions,
        },
        "outputs": {"centroids": folder.join("centroids")},
    });
    std::fs::write(folder.join("job.json"), text.to_string()).unwrap();
    Job::read(&folder.join("job.json")).unwrap()
}

#[test]
fn each_group_of_several_runs_has_six_averages_at_each_progress() {
    let folder = tempfile::tempdir().unwrap();
    crate::run(&job(folder.path(), &[("fc", 0.1), ("vit", 0.2), ("fc", 0.3), ("wr", 0.1), ("vit", 0.5)]))
        .unwrap();
    let table = Table::read(&folder.path().join("centroids")).unwrap();
    assert_eq!(table.height(), 2 * 2 * 6);
    assert_eq!(table.values::<&str>("arch").unwrap()[11..13], ["fc", "vit"]);
    assert_eq!(table.values::<i64>("runs").unwrap(), [2; 24]);
    assert_eq!(table.values::<f64>("progress").unwrap()[5..7], [0.5, 1.0]);
    let names: Vec<&str> = table.values("centroid").unwrap();
    assert_eq!(names[..6], ["arithmetic", "geometric", "harmonic", "root", "bhattacharyya", "jeffreys"]);
    // Each is nowhere from itself, and the harmonic mean somewhere from the arithmetic; of distributions the Bhattacharyya
    // centroid is nearest to the runs.
    let spread: Vec<f64> = table.values("spread").unwrap();
    for (row, name) in names.iter().enumerate() {
        let distance = |other: &str| table.values::<f64>(&format!("to_{other}")).unwrap()[row];
        assert_eq!(distance(name), 0.0);
        assert!(*name != "harmonic" || distance("arithmetic") > 1e-5, "{}", distance("arithmetic"));
        assert!(spread[row / 6 * 6 + 4] <= spread[row] || *name == "root", "{names:?} {spread:?}");
    }
    let geodesic: Vec<f64> = table.values("geodesic_distance").unwrap();
    assert!(geodesic.iter().all(|distance| (1e-4..0.2).contains(distance)), "{geodesic:?}");
    // The squared mean root is nearly a multiple of the Bhattacharyya centroid: as far from all as their sums are apart.
    let between: Vec<f64> = table.values("to_bhattacharyya").unwrap();
    for row in (3..names.len()).step_by(6) {
        assert!(between[row] > 1e-4, "{between:?}");
        assert!(
            (geodesic[row] - geodesic[row + 1] - between[row]).abs() < 0.1 * between[row],
            "{geodesic:?}"
        );
    }
}

#[test]
fn runs_on_the_geodesic_have_their_averages_on_it_at_their_progress() {
    let folder = tempfile::tempdir().unwrap();
    crate::run(&job(folder.path(), &[("fc", 0.0), ("fc", 0.0)])).unwrap();
    let table = Table::read(&folder.path().join("centroids")).unwrap();
    let progress: Vec<f64> = table.values("own_progress").unwrap();
    assert!(progress[..6].iter().all(|progress| (progress - 0.5).abs() < 1e-6), "{progress:?}");
    let distance: Vec<f64> = table.values("geodesic_distance").unwrap();
    assert!(distance.iter().all(|distance| *distance < 1e-9), "{distance:?}");
}

#[test]
fn a_thousand_classes_are_averaged_as_few_are() {
    let folder = tempfile::tempdir().unwrap();
    crate::run(&job_of(1_000, folder.path(), &[("fc", 0.0), ("fc", 0.0)])).unwrap();
    let table = Table::read(&folder.path().join("centroids")).unwrap();
    let progress: Vec<f64> = table.values("own_progress").unwrap();
    assert!(progress[..6].iter().all(|progress| (progress - 0.5).abs() < 1e-6), "{progress:?}");
    let distance: Vec<f64> = table.values("geodesic_distance").unwrap();
    assert!(distance.iter().all(|distance| *distance < 1e-9), "{distance:?}");
}

#[test]
fn single_runs_leave_an_empty_table_and_a_wrong_label_is_told() {
    let folder = tempfile::tempdir().unwrap();
    crate::run(&job(folder.path(), &[("fc", 0.1), ("vit", 0.1)])).unwrap();
    assert_eq!(Table::read(&folder.path().join("centroids")).unwrap().height(), 0);
    let path = folder.path().join("job.json");
    let text = std::fs::read_to_string(&path).unwrap().replace(r#"["arch"]"#, r#"["depth"]"#);
    std::fs::write(&path, text).unwrap();
    let message = crate::run(&Job::read(&path).unwrap()).unwrap_err().to_string();
    assert_eq!(message, "by: no network has `depth`; they have arch, seed");
}
