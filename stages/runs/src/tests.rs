//! Files of predictions and a table of models, read back.

use std::path::Path;

use geometry::Truth;
use kit::{Tensors, TensorsWriter};
use ndarray::Array3;
use serde_json::{Value, json};
use tables::{Column, Table};

use crate::{Placed, Run, groups, read};

const SAMPLES: usize = 5_000;

/// A run of two checkpoints, on many pages.
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
fn what_was_let_go_of_is_read_again_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "a", &json!({"arch": "fc", "seed": 1}));
    let run = Run::new(&file, "train", &truth()).unwrap();
    let before = run.models.to_owned();
    run.release();
    run.release();
    assert_eq!(run.models, before);
    assert_eq!(run.model(1).unwrap(), before.index_axis(ndarray::Axis(0), 1));
    assert_eq!(run.train_loss().unwrap(), [0.5, 0.25]);
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
        let count = checkpoints.len();
        let table = Table::new(vec![
            Column::new("run".into(), vec![kit::run_name(&network); count]),
            Column::new("checkpoint".into(), checkpoints),
            Column::new("progress".into(), (0..count).map(|i| i as f64 / 10.0).collect::<Vec<_>>()),
            Column::new("trained".into(), vec![Some(true); count]),
        ]);
        Placed::new(&table.unwrap())
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
