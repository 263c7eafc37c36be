//! The stage on small made-up runs.

use std::path::Path;

use geometry::{Measure, Model, Truth, geodesic};
use kit::{Job, TensorsWriter};
use ndarray::{Array2, Array3};
use serde_json::{Value, json};
use tables::{Column, Table};

const LABELS: [i64; 4] = [0, 1, 2, 1];
const PROGRESS: [f64; 5] = [0.05, 0.3, 0.5, 0.7, 0.95];

/// A run that goes along the geodesic.
fn on_geodesic(classes: usize) -> Array3<f32> {
    geodesic(&Truth::new(&LABELS, classes).unwrap(), &PROGRESS)
}

/// Three runs, so far aside of it each.
fn models(classes: usize) -> [Array3<f32>; 3] {
    let aside = |(class, aside): (usize, f32)| {
        let mut models = on_geodesic(classes);
        for mut sample in models.rows_mut() {
            sample[class] += aside;
            sample /= 1.0 + aside;
        }
        models
    };
    [(0, 0.05), (1, 0.1), (2, 0.15)].map(aside)
}

fn job(folder: &Path) -> Job {
    job_of(3, folder)
}

fn job_of(classes: usize, folder: &Path) -> Job {
    job_of_models(classes, folder, &models(classes))
}

fn job_of_models(classes: usize, folder: &Path, all: &[Array3<f32>; 3]) -> Job {
    let mut predictions: Vec<Value> = Vec::new();
    let mut names = Vec::new();
    for (seed, models) in all.iter().enumerate() {
        let arch = if seed < 2 { "fc" } else { "vit" };
        let network = json!({"arch": arch, "seed": seed});
        let path = folder.join(format!("run-{seed}"));
        let mut file = TensorsWriter::new();
        file.f32s("test", models.shape(), models.as_slice().unwrap())
            .i64s("step", &[5], &[0, 1, 2, 3, 4])
            .f64s("epoch", &[5], &PROGRESS);
        for name in ["test_loss", "test_error", "train_loss", "train_error"] {
            file.f64s(name, &[5], &[0.05; 5]);
        }
        file.write(&path, &json!({"network": network, "parameters": 10})).unwrap();
        predictions.push(json!({"path": path, "hash": "p"}));
        names.push(kit::run_name(&network));
    }
    TensorsWriter::new()
        .i64s("test_labels", &[4], &LABELS)
        .write(&folder.join("data"), &json!({"classes": vec!["a class"; classes]}))
        .unwrap();
    // One tile of all, and the embedding of all by the real thing.
    let flat: Vec<Model> = all.iter().flat_map(|models| models.outer_iter()).collect();
    let distances: Array2<f64> = geometry::within(Measure::Bhattacharyya, &flat).unwrap();
    let values: Vec<f32> = distances.iter().map(|&distance| distance as f32).collect();
    let members: Vec<Value> = names.iter().map(|name| json!({"run": name, "checkpoints": 5})).collect();
    TensorsWriter::new()
        .f32s("distances", &[15, 15], &values)
        .write(
            &folder.join("tile"),
            &json!({"rows": members, "cols": members, "samples": 4, "measure": "bhattacharyya"}),
        )
        .unwrap();
    let full = spectral::inpca(distances, 3, 1).unwrap();
    let runs: Vec<&str> = names.iter().flat_map(|name| [&**name; 5]).collect();
    let mut columns = vec![
        Column::new("run".into(), runs),
        Column::new("checkpoint".into(), (0..15_i64).map(|i| i % 5).collect::<Vec<_>>()),
        Column::new("progress".into(), [PROGRESS; 3].concat()),
        Column::new("trained".into(), vec![Some(true); 15]),
    ];
    for k in 0..3 {
        columns.push(Column::new(format!("pc{}", k + 1).into(), full.coordinates.column(k).to_vec()));
    }
    Table::new(columns).unwrap().write(&folder.join("models")).unwrap();
    Table::new(vec![Column::new("eigenvalue".into(), full.eigenvalues.to_vec())])
        .unwrap()
        .write(&folder.join("spectrum"))
        .unwrap();
    let text = json!({
        "stage": "tangents", "key": "k", "device": "cpu", "threads": 2,
        "params": {
            "split": "test", "by": ["arch"], "early": 0.1, "late": 0.9, "between": [0.3, 0.7], "deviation": 0.05,
            "loss": 4,
        },
        "inputs": {
            "data": {"path": folder.join("data"), "hash": "d"},
            "models": {"path": folder.join("models"), "hash": "m"},
            "points": {"path": folder.join("models"), "hash": "m"},
            "spectrum": {"path": folder.join("spectrum"), "hash": "s"},
            "predictions": predictions,
            "tiles": [{"path": folder.join("tile"), "hash": "t"}],
        },
        "outputs": {
            "tangents": folder.join("tangents"), "four": folder.join("four"), "misfit": folder.join("misfit"),
        },
    });
    std::fs::write(folder.join("job.json"), text.to_string()).unwrap();
    Job::read(&folder.join("job.json")).unwrap()
}

#[test]
fn tangents_are_told_for_both_ends_and_all_pairs_of_groups() {
    let folder = tempfile::tempdir().unwrap();
    crate::run(&job(folder.path())).unwrap();
    let table = Table::read(&folder.path().join("tangents")).unwrap();
    assert_eq!(table.values::<&str>("end").unwrap()[3..5], ["ignorance", "truth"]);
    assert_eq!(table.values::<&str>("arch").unwrap(), ["fc", "fc", "vit", "vit", "fc", "fc", "vit", "vit"]);
    assert_eq!(table.values::<&str>("other_arch").unwrap()[..2], ["fc", "vit"]);
    assert_eq!(table.values::<i64>("runs").unwrap()[..4], [2, 2, 1, 1]);
    let cosine: Vec<f64> = table.values("cosine").unwrap();
    assert!((cosine[0] - 1.0).abs() < 1e-12 && cosine[1] == cosine[2] && cosine[1] < 0.95, "{cosine:?}");
    let (norm, of_runs): (Vec<f64>, Vec<f64>) =
        (table.values("norm").unwrap(), table.values("run_norm").unwrap());
    // A mean of two that differ is shorter than they are; of one it is that one.
    assert!(norm[0] < of_runs[0] && (norm[2] - of_runs[2]).abs() < 1e-12, "{norm:?} {of_runs:?}");
    let geodesic: Vec<f64> = table.values("geodesic_cosine").unwrap();
    assert!(geodesic.iter().all(|cosine| (0.05..1.0).contains(cosine)), "{geodesic:?}");
}

#[test]
fn four_points_and_all_models_are_placed_and_what_they_miss_is_told() {
    let folder = tempfile::tempdir().unwrap();
    crate::run(&job(folder.path())).unwrap();
    let table = Table::read(&folder.path().join("four")).unwrap();
    assert_eq!(table.height(), 4 + 15);
    assert_eq!(table.values::<&str>("run").unwrap()[..4], ["ignorance", "0.3", "0.7", "truth"]);
    assert_eq!(table.optional::<&str>("arch").unwrap()[3..5], [None, Some("fc")]);
    let along: Vec<f64> = table.values("pc1").unwrap();
    // Along the first axis progress is in order, of the four points and of each run.
    assert!(along[..4].is_sorted() || along[..4].iter().rev().is_sorted(), "{along:?}");
    let forward = along[0] < along[3];
    assert!(along[4..9].windows(2).all(|pair| (pair[0] < pair[1]) == forward), "{along:?}");

    let misfit = Table::read(&folder.path().join("misfit")).unwrap();
    assert_eq!(misfit.values::<i64>("dimensions").unwrap(), [1, 2, 3]);
    let (four, full): (Vec<f64>, Vec<f64>) = (misfit.values("four").unwrap(), misfit.values("full").unwrap());
    assert!(full.is_sorted_by(|a, b| a > b), "{full:?}");
    assert!(four.iter().zip(&full).all(|(four, full)| four > full && *four < 1.0), "{four:?} {full:?}");
}

#[test]
fn what_four_points_and_all_miss_is_what_their_tables_say() {
    let folder = tempfile::tempdir().unwrap();
    crate::run(&job(folder.path())).unwrap();
    let table = |name: &str| Table::read(&folder.path().join(name)).unwrap();
    let (four, whole, misfit) = (table("four"), table("models"), table("misfit"));
    let flat = models(3);
    let views: Vec<Model> = flat.iter().flat_map(|models| models.outer_iter()).collect();
    let distances = geometry::within(Measure::Bhattacharyya, &views).unwrap();
    // Squared distances in the first dimensions, with the eigenvalues' signs.
    let squares = |table: &Table, first: usize, signs: &[f64], i: usize, j: usize| -> f64 {
        let along = |k: usize| table.values::<f64>(&format!("pc{}", k + 1)).unwrap();
        let terms = signs
            .iter()
            .enumerate()
            .map(|(k, sign)| sign.signum() * (along(k)[first + i] - along(k)[first + j]).powi(2));
        terms.sum()
    };
    let own: Vec<f64> = misfit.values("eigenvalue").unwrap();
    let full: Vec<f64> = table("spectrum").values("eigenvalue").unwrap();
    let pairs = || (0..15).flat_map(|i| (0..i).map(move |j| (i, j)));
    let total: f64 = pairs().map(|(i, j)| distances[[i, j]]).sum();
    for dimensions in 1..=3 {
        let (mut four_misses, mut full_misses, mut apart, mut all) = (0.0, 0.0, 0.0, 0.0);
        for (i, j) in pairs() {
            let a = squares(&four, 4, &own[..dimensions], i, j);
            let b = squares(&whole, 0, &full[..dimensions], i, j);
            four_misses += (a - distances[[i, j]]).abs();
            full_misses += (b - distances[[i, j]]).abs();
            apart += (a - b).abs();
            all += b.abs();
        }
        let expected = [four_misses / total, full_misses / total, apart / all];
        let found =
            ["four", "full", "four_to_full"].map(|name| misfit.values::<f64>(name).unwrap()[dimensions - 1]);
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5 * expected, "{dimensions}: {found} is not {expected}");
        }
    }
}

#[test]
fn runs_on_the_geodesic_go_where_it_goes_and_as_far_as_it_is_to_their_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    crate::run(&job_of_models(3, folder.path(), &[0; 3].map(|_| on_geodesic(3)))).unwrap();
    let table = Table::read(&folder.path().join("tangents")).unwrap();
    let ends: Vec<&str> = table.values("end").unwrap();
    let (cosine, norm): (Vec<f64>, Vec<f64>) =
        (table.values("geodesic_cosine").unwrap(), table.values("norm").unwrap());
    // Of three classes: cos a = 1 / sqrt 3. One checkpoint is near each end, at 0.05 and at 0.95.
    let far = 0.05 * (1.0 / 3f64.sqrt()).acos();
    for (end, (cosine, norm)) in ends.into_iter().zip(cosine.into_iter().zip(norm)) {
        assert!((cosine - 1.0).abs() < 1e-6, "{end}: {cosine}");
        assert!((norm - far).abs() < 1e-5, "{end}: {norm} is not {far}");
    }
}

#[test]
fn a_thousand_classes_have_tangents_and_four_points_as_few_have() {
    let folder = tempfile::tempdir().unwrap();
    crate::run(&job_of(1_000, folder.path())).unwrap();
    let tangents = Table::read(&folder.path().join("tangents")).unwrap();
    let cosine: Vec<f64> = tangents.values("geodesic_cosine").unwrap();
    assert_eq!(cosine.len(), 8);
    assert!(cosine.iter().all(|cosine| (0.01..1.0).contains(cosine)), "{cosine:?}");
    let along: Vec<f64> = Table::read(&folder.path().join("four")).unwrap().values("pc1").unwrap();
    assert!(along[..4].is_sorted() || along[..4].iter().rev().is_sorted(), "{along:?}");
}

#[test]
fn tiles_that_leave_out_pairs_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let job = job(folder.path());
    let path = folder.path().join("job.json");
    let mut text: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    text["inputs"]["tiles"] = json!([]);
    std::fs::write(&path, text.to_string()).unwrap();
    drop(job);
    let message = crate::run(&Job::read(&path).unwrap()).unwrap_err().to_string();
    assert_eq!(message, "the tiles have 0 pairs of models, the runs 105");
}

#[test]
fn without_models_between_there_are_no_four_points() {
    let folder = tempfile::tempdir().unwrap();
    let job = job(folder.path());
    let path = folder.path().join("job.json");
    let mut text: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    text["params"]["deviation"] = json!(1e-9);
    text["params"]["between"] = json!([0.312, 0.712]);
    std::fs::write(&path, text.to_string()).unwrap();
    drop(job);
    crate::run(&Job::read(&path).unwrap()).unwrap();
    let [four, misfit, tangents] =
        ["four", "misfit", "tangents"].map(|name| Table::read(&folder.path().join(name)).unwrap());
    assert_eq!((four.height(), misfit.height()), (0, 0));
    assert!(four.values::<&str>("run").is_ok() && four.values::<f64>("pc3").is_ok());
    assert!(misfit.values::<f64>("four_to_full").is_ok() && tangents.height() > 0);
}
