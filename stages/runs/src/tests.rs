//! Files of predictions and a table of models, read back.

use std::path::Path;

use geometry::Truth;
use kit::{Tensors, TensorsWriter};
use ndarray::Array3;
use serde_json::{Value, json};

use crate::{Placed, Predictions, Run, groups, read};

const SAMPLES: usize = 50;

/// A run of two checkpoints.
fn write(folder: &Path, name: &str, network: &Value) -> Tensors {
    let models = Array3::from_shape_fn((2, SAMPLES, 2), |(t, n, c)| {
        let first = ((n + t) % 7) as f32 / 8.0;
        if c == 0 { first } else { 1.0 - first }
    });
    let mut file = TensorsWriter::new();
    file.f32s("train", models.shape(), models.as_slice().unwrap()).i64s("step", &[2], &[0, 1]);
    for column in ["epoch", "train_loss", "train_error"] {
        file.f64s(column, &[2], &[0.5, 0.25]);
    }
    file.write(&folder.join(name), &json!({"network": network, "parameters": 3})).unwrap();
    Tensors::open(&folder.join(name)).unwrap()
}

fn truth() -> Truth {
    Truth::new(&[0; SAMPLES], 2).unwrap()
}

#[test]
fn of_a_model_the_samples_asked_for_are_read_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "a", &json!({"arch": "fc", "seed": 1}));
    let run = Run::new(&file, "train", &truth()).unwrap();
    assert_eq!(run.checked(1, 5..7).unwrap(), ndarray::array![[0.75, 0.25], [0.0, 1.0]]);
    assert_eq!(run.predictions.model(0, 0..SAMPLES).unwrap().nrows(), SAMPLES);
    assert_eq!(run.train_loss().unwrap(), [0.5, 0.25]);
    let bad = folder.path().join("bad");
    let mut writer = TensorsWriter::new();
    writer.f32s("train", &[1, 2, 2], &[0.5, 0.5, 0.5, 0.6]).i64s("step", &[1], &[0]);
    for column in ["epoch", "train_loss", "train_error"] {
        writer.f64s(column, &[1], &[0.5]);
    }
    writer.write(&bad, &json!({"network": {"arch": "fc"}, "parameters": 3})).unwrap();
    let file = Tensors::open(&bad).unwrap();
    let run = Run::new(&file, "train", &Truth::new(&[0, 1], 2).unwrap()).unwrap();
    let message = run.checked(0, 1..2).unwrap_err().to_string();
    assert_eq!(message, r#"run {"arch":"fc"}, checkpoint 0, sample 1: [0.5, 0.6] are not probabilities"#);
}

#[test]
fn the_geodesic_is_computed_from_labels_and_progress() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("geodesic");
    let write = |progress: &[f64]| {
        TensorsWriter::new()
            .i64s("test_labels", &[4], &[2, 0, 1, 2])
            .f64s("progress", &[2], progress)
            .write(&path, &json!({"network": {"arch": "geodesic"}, "classes": 3}))
            .unwrap();
        Tensors::open(&path).unwrap()
    };
    let file = write(&[0.25, 1.0]);
    let found = Predictions::new(&file, "test").unwrap();
    let expected = geometry::geodesic(&Truth::new(&[2, 0, 1, 2], 3).unwrap(), &[0.25, 1.0]);
    assert_eq!((&*found.name, found.checkpoints, found.samples, found.classes), ("geodesic", 2, 4, 3));
    for point in 0..2 {
        assert_eq!(found.model(point, 1..4).unwrap(), expected.slice(ndarray::s![point, 1..4, ..]));
    }
    let file = write(&[0.25, 1.5]);
    let message = format!("{:#}", Predictions::new(&file, "test").unwrap_err());
    assert_eq!(message, "run geodesic: `progress` has a value that is not between 0 and 1");
}

#[test]
fn groups_are_ordered_by_the_labels_asked_for_and_null_is_one_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let networks = [
        json!({"arch": "vit", "batch": 50}),
        json!({"arch": "fc", "batch": 25, "optimizer": "adam"}),
        json!({"arch": "fc", "batch": 50, "optimizer": "adam"}),
        json!({"arch": "fc", "batch": 50}),
    ];
    let files: Vec<Tensors> = networks
        .iter()
        .enumerate()
        .map(|(i, network)| write(folder.path(), &i.to_string(), network))
        .collect();
    let runs = read(&files, "train", &truth()).unwrap();
    let by = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        groups(runs.iter(), &names).map(|groups| {
            groups.into_iter().map(|group| (group.name(), group.runs.len())).collect::<Vec<_>>()
        })
    };
    let expected =
        [("arch=fc, optimizer=adam", 2), ("arch=fc, optimizer=null", 1), ("arch=vit, optimizer=null", 1)];
    assert_eq!(by(&["optimizer", "arch"]).unwrap(), expected.map(|(name, count)| (name.to_owned(), count)));
    let message = by(&["depth"]).unwrap_err().to_string();
    assert!(message.starts_with("by: no network has `depth`; they have arch, batch"), "{message}");
}

#[test]
fn a_table_of_models_that_does_not_fit_the_predictions_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let network = json!({"arch": "fc"});
    let file = write(folder.path(), "a", &network);
    let run = Run::new(&file, "train", &truth()).unwrap();
    let placed = |checkpoints: &[i64]| {
        let names = vec![kit::run_name(&network); checkpoints.len()];
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        let progress: Vec<f64> = (0..checkpoints.len()).map(|i| i as f64 / 10.0).collect();
        Placed::new(&names, checkpoints, &progress, &vec![Some(true); checkpoints.len()])
    };
    let fitting = placed(&[0, 1]).unwrap();
    assert_eq!(fitting.progress(&run).unwrap(), [0.0, 0.1]);
    assert!(fitting.is_trained(&run).unwrap());
    let name = r#"run {"arch":"fc"}"#;
    let message = placed(&[0]).unwrap().progress(&run).unwrap_err().to_string();
    assert_eq!(message, format!("{name}: 1 checkpoints in the table of models, 2 in the predictions"));
    let message = placed(&[0, 2]).unwrap_err().to_string();
    assert_eq!(message, format!("the table of models has checkpoint 2 of {name} where 1 comes next"));
    let message = placed(&[]).unwrap().is_trained(&run).unwrap_err().to_string();
    assert_eq!(message, format!("the table of models has no {name}"));
}
