//! The stage on small made-up runs.

use std::path::{Path, PathBuf};

use geometry::Truth;
use kit::{Job, Tensors, TensorsWriter};
use ndarray::Array3;
use serde_json::{Value, json};
use tables::Table;

const LABELS: [i64; 4] = [0, 1, 2, 1];

/// A run that goes along the geodesic, a little to the side of it, to `end`, in `checkpoints` steps.
struct Made {
    arch: &'static str,
    seed: u64,
    rate: Value,
    end: f64,
    train_error: f64,
    samples: usize,
    classes: usize,
}

const MADE: Made =
    Made { arch: "fc", seed: 42, rate: Value::Null, end: 0.9, train_error: 0.05, samples: 4, classes: 3 };
const CHECKPOINTS: usize = 5;

impl Made {
    fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join(format!("{}-{}-{}", self.arch, self.seed, self.rate));
        let t: Vec<f64> = (0..CHECKPOINTS).map(|i| self.end * i as f64 / (CHECKPOINTS - 1) as f64).collect();
        let truth = Truth::new(&LABELS[..self.samples], self.classes).unwrap();
        let aside = 0.02 * self.seed as f32 / 42.0 + if self.arch == "vit" { 0.1 } else { 0.0 };
        let mut models: Array3<f32> = geometry::geodesic(&truth, &t);
        for mut sample in models.rows_mut() {
            sample[0] += aside;
            sample /= 1.0 + aside;
        }
        let network = json!({
            "seed": self.seed, "arch": self.arch, "model": {"kind": self.arch}, "rate": self.rate, "augment": false
        });
        write(&path, &network, &models, self.train_error);
        path
    }
}

/// Predictions of a network, half an epoch from one checkpoint to the next.
fn write(path: &Path, network: &Value, models: &Array3<f32>, train_error: f64) {
    let count = models.shape()[0];
    let of_each = |value: fn(f64) -> f64| (0..count).map(|i| value(i as f64)).collect::<Vec<f64>>();
    let falling = of_each(|i| 2.0 - i / 10.0);
    let errors = [vec![0.6; count - 1], vec![train_error]].concat();
    TensorsWriter::new()
        .f32s("test", models.shape(), models.as_slice().unwrap())
        .i64s("step", &[count], &(0..count as i64).map(|i| 10 * i).collect::<Vec<_>>())
        .f64s("epoch", &[count], &of_each(|i| 0.5 * i))
        .f64s("test_loss", &[count], &falling)
        .f64s("test_error", &[count], &falling)
        .f64s("train_error", &[count], &errors)
        .write(path, &json!({"network": network, "parameters": 1000}))
        .unwrap();
}

/// A folder with data and a geodesic of three points, and a job on some runs.
fn job(folder: &Path, runs: &[Made]) -> Job {
    job_on(2, folder, runs)
}

fn job_on(threads: usize, folder: &Path, runs: &[Made]) -> Job {
    let files: Vec<PathBuf> = runs.iter().map(|run| run.write(folder)).collect();
    job_of(threads, folder, &LABELS, runs[0].classes, &files)
}

fn job_of(threads: usize, folder: &Path, labels: &[i64], classes: usize, files: &[PathBuf]) -> Job {
    let (data, geodesic) = (folder.join("data"), folder.join("geodesic"));
    TensorsWriter::new()
        .i64s("test_labels", &[labels.len()], labels)
        .write(&data, &json!({"classes": vec!["a class"; classes]}))
        .unwrap();
    TensorsWriter::new().f64s("progress", &[3], &[0.0, 0.5, 1.0]).write(&geodesic, &json!({})).unwrap();
    let predictions: Vec<Value> = files.iter().map(|path| json!({"path": path, "hash": "p"})).collect();
    let text = json!({
        "stage": "analyse", "key": "k", "device": "cpu", "threads": threads,
        "params": {"split": "test", "grid": 20, "untrained": 0.1, "memory": "1M"},
        "inputs": {
            "data": {"path": data, "hash": "d"}, "geodesic": {"path": geodesic, "hash": "g"},
            "predictions": predictions,
        },
        "outputs": {
            "models": folder.join("models"), "configurations": folder.join("configurations"),
            "distances": folder.join("distances"), "linkage": folder.join("linkage"),
            "trajectories": folder.join("trajectories"), "tube": folder.join("tube"),
        },
    });
    let path = folder.join("job.json");
    std::fs::write(&path, text.to_string()).unwrap();
    Job::read(&path).unwrap()
}

/// Two seeds of two configurations, one of a third, and one that was not trained.
fn several() -> Vec<Made> {
    vec![
        Made { rate: json!(1), ..MADE },
        Made { arch: "vit", rate: json!(0.5), seed: 43, ..MADE },
        Made { seed: 43, rate: json!(1), ..MADE },
        Made { arch: "vit", rate: json!(0.5), ..MADE },
        Made { arch: "wr", rate: json!(0.1), train_error: 0.3, ..MADE },
        Made { arch: "fc", rate: json!(0.1), end: 0.7, ..MADE },
    ]
}

#[test]
fn models_have_a_row_each_with_their_progress() {
    let folder = tempfile::tempdir().unwrap();
    crate::run(&job(folder.path(), &several())).unwrap();
    let models = Table::read(&folder.path().join("models")).unwrap();
    let names: Vec<&str> = models.columns().iter().map(|column| column.name().as_str()).collect();
    assert_eq!(
        names,
        [
            "run",
            "arch",
            "augment",
            "rate",
            "seed",
            "parameters",
            "checkpoint",
            "step",
            "epoch",
            "loss",
            "error",
            "progress",
            "geodesic_distance",
            "trained",
        ]
    );
    assert_eq!(models.height(), 3 + 6 * CHECKPOINTS);
    let runs: Vec<&str> = models.values("run").unwrap();
    assert!(runs.is_sorted());
    assert_eq!(runs[..3], ["geodesic"; 3]);
    let last = r#"{"arch":"fc","augment":false,"model":{"kind":"fc"},"rate":0.1,"seed":42}"#;
    assert_eq!(runs[3..8], [last; 5]);
    assert_eq!(models.values::<i64>("checkpoint").unwrap()[..8], [0, 1, 2, 0, 1, 2, 3, 4]);
    assert_eq!(models.optional::<f64>("rate").unwrap()[2..4], [None, Some(0.1)]);
    assert_eq!(models.optional::<i64>("step").unwrap()[2..5], [None, Some(0), Some(10)]);

    let progress: Vec<f64> = models.values("progress").unwrap();
    assert_eq!(progress[..3], [0.0, 0.5, 1.0]);
    assert!((progress[7] - 0.7).abs() < 0.02, "{progress:?}");
    let distance: Vec<Option<f64>> = models.optional("geodesic_distance").unwrap();
    assert_eq!(distance[2], None);
    assert!((1e-5..1e-2).contains(&distance[7].unwrap()), "{distance:?}");
    let untrained =
        models.optional::<bool>("trained").unwrap().iter().filter(|&&each| each == Some(false)).count();
    assert_eq!(untrained, CHECKPOINTS);
}

#[test]
fn configurations_are_what_is_left_of_trained_runs_without_the_seed() {
    let folder = tempfile::tempdir().unwrap();
    crate::run(&job(folder.path(), &several())).unwrap();
    let configurations = Table::read(&folder.path().join("configurations")).unwrap();
    let runs: Vec<&str> = configurations.values("run").unwrap();
    assert_eq!(runs.len(), 3);
    assert_eq!(runs[1], r#"{"arch":"fc","augment":false,"model":{"kind":"fc"},"rate":1}"#);
    assert_eq!(configurations.values::<i64>("runs").unwrap(), [1, 2, 2]);
    assert_eq!(configurations.values::<f64>("error").unwrap(), [1.6; 3]);
    assert!(configurations.values::<i64>("seed").is_err());
    let mut leaves: Vec<i64> = configurations.values("leaf").unwrap();
    leaves.sort();
    assert_eq!(leaves, [0, 1, 2]);

    let linkage = Table::read(&folder.path().join("linkage")).unwrap();
    assert_eq!(linkage.values::<i64>("count").unwrap(), [2, 3]);
    let heights: Vec<f64> = linkage.values("height").unwrap();
    let trajectories = Tensors::open(&folder.path().join("trajectories")).unwrap();
    let distances = trajectories.f64s("distances").unwrap();
    assert_eq!(distances.shape, [3, 3]);
    let table = Table::read(&folder.path().join("distances")).unwrap();
    assert_eq!(table.values::<&str>("run").unwrap(), [runs[0], runs[0], runs[1]]);
    assert_eq!(table.values::<&str>("other").unwrap(), [runs[1], runs[2], runs[2]]);
    assert_eq!(table.values::<f64>("distance").unwrap(), [1, 2, 5].map(|pair| distances.values[pair]));
    // The two fully connected ones differ in where they end, the transformer lies aside of both.
    let (ends, vit) = (distances.values[1], distances.values[5]);
    assert!(0.0 < ends && ends < vit, "{distances:?}");
    assert_eq!(heights, [ends, distances.values[2].max(vit)]);
    let metadata: Value = trajectories.metadata().unwrap();
    assert_eq!(metadata["rows"][1], json!({"run": runs[1], "checkpoints": 1}));
    assert_eq!(metadata["rows"], metadata["cols"]);
    assert_eq!(metadata["samples"], 4);
}

#[test]
fn the_tube_has_a_row_for_each_run_that_has_sisters_and_each_progress() {
    let folder = tempfile::tempdir().unwrap();
    crate::run(&job(folder.path(), &several())).unwrap();
    let tube = Table::read(&folder.path().join("tube")).unwrap();
    assert_eq!(tube.height(), 4 * 20);
    let progress: Vec<f64> = tube.values("progress").unwrap();
    assert_eq!((progress[0], progress[19], progress[20]), (0.05, 1.0, 0.05));
    assert_eq!(tube.values::<&str>("arch").unwrap()[39..41], ["fc", "vit"]);
    assert_eq!(tube.values::<i64>("seed").unwrap()[19..21], [42, 43]);
    // The two of a pair are as far from their mean, nearly; and not far: they lie 0.02 / 42 of probability apart.
    let distance: Vec<f64> = tube.values("distance").unwrap();
    let (one, other) = (distance[10], distance[30]);
    assert!(one > 0.0 && one < 1e-6 && (one / other - 1.0).abs() < 0.3, "{one} {other}");
}

#[test]
fn trajectories_are_as_far_apart_as_the_golden_ones() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/reference.safetensors");
    let golden = Tensors::open(Path::new(golden)).unwrap();
    let models = golden.f64s("trajectories").unwrap();
    let [runs, checkpoints, samples, classes] = models.shape[..] else { panic!("{:?}", models.shape) };
    let folder = tempfile::tempdir().unwrap();
    let files = models.values.chunks(checkpoints * samples * classes).enumerate().map(|(run, values)| {
        let values = values.iter().map(|p| *p as f32).collect();
        let models = Array3::from_shape_vec((checkpoints, samples, classes), values).unwrap();
        let path = folder.path().join(format!("run-{run}"));
        write(&path, &json!({"arch": format!("arch-{run}"), "seed": 42}), &models, 0.05);
        path
    });
    let files: Vec<PathBuf> = files.collect();
    let labels = golden.i64s("labels").unwrap().values;
    crate::run(&job_of(2, folder.path(), labels, classes, &files)).unwrap();

    let found = Tensors::open(&folder.path().join("trajectories")).unwrap();
    let expected = golden.f64s("trajectory_distance").unwrap().values;
    for (place, (found, expected)) in found.f64s("distances").unwrap().values.iter().zip(expected).enumerate()
    {
        if place % (runs + 1) != 0 {
            assert!((found - expected).abs() < 1e-6 + 1e-5 * expected, "{place}: {found} is not {expected}");
        }
    }
    let table = Table::read(&folder.path().join("models")).unwrap();
    let progress: Vec<f64> = table.values("progress").unwrap();
    assert_eq!(progress.len(), 3 + runs * checkpoints);
    for (found, expected) in progress[3..].iter().zip(golden.f64s("progress_prod").unwrap().values) {
        assert!((found - expected).abs() < 1e-5, "{found} is not {expected}");
    }
}

#[test]
fn two_runs_that_take_samples_in_another_order_are_as_far_from_their_mean_as_circles_tell() {
    /// By how much one of three samples is ahead, and another one behind, in progress.
    const AHEAD: f64 = 0.1;
    // Of two classes a sample goes an eighth of a circle, from (1, 1) to (1, 0), and its class has the cosine squared.
    let of_class = |t: f64| (std::f64::consts::FRAC_PI_4 * (1.0 - t)).cos().powi(2);
    let folder = tempfile::tempdir().unwrap();
    let files = [AHEAD, -AHEAD].map(|ahead| {
        let models = Array3::from_shape_fn((4, 3, 2), |(checkpoint, sample, class)| {
            let p = of_class(0.2 + 0.2 * checkpoint as f64 + ahead * (1.0 - sample as f64));
            (if class == 0 { p } else { 1.0 - p }) as f32
        });
        let path = folder.path().join(format!("run{ahead}"));
        write(&path, &json!({"arch": "fc", "seed": if ahead > 0.0 { 42 } else { 43 }}), &models, 0.05);
        path
    });
    crate::run(&job_of(2, folder.path(), &[0; 3], 2, &files)).unwrap();
    let tube = Table::read(&folder.path().join("tube")).unwrap();
    let (progress, distance): (Vec<f64>, Vec<f64>) =
        (tube.values("progress").unwrap(), tube.values("distance").unwrap());
    assert_eq!(distance.len(), 2 * 20);
    // Between the first checkpoint and the last; afterwards they stay where the last is.
    for (t, distance) in progress.into_iter().zip(distance).filter(|(t, _)| *t > 0.2) {
        let t = t.min(0.8);
        let (one, other) = (of_class(t + AHEAD), of_class(t - AHEAD));
        let mean = 0.5 * (one + other);
        let apart = |p: f64| -((p * mean).sqrt() + ((1.0 - p) * (1.0 - mean)).sqrt()).ln();
        let expected = (apart(one) + apart(other)) / 3.0;
        assert!((distance - expected).abs() < 1e-6, "at {t}: {distance} is not {expected}");
    }
}

#[test]
fn blocks_of_samples_give_what_all_samples_give() {
    let folder = tempfile::tempdir().unwrap();
    let job = job(folder.path(), &several());
    let truth = runs::truth(&job, "test").unwrap();
    let files = runs::open(job.inputs("predictions").unwrap()).unwrap();
    let runs = runs::read(&files, "test", &truth).unwrap();
    let places: Vec<_> = runs.iter().map(|run| crate::models::places(run, &truth).unwrap()).collect();
    let configurations = crate::Configuration::group(runs.iter().zip(&places));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let with =
        |bytes| crate::along::along(&configurations, 10, (4, 3), bytes, &pool, |_, _| ()).unwrap().distances;
    let (whole, one) = (with(1_000_000), with(600));
    assert!((&whole - &one).iter().all(|error: &f64| error.abs() < 1e-7), "{whole} {one}");
    let error = crate::along::along(&configurations, 10, (4, 3), 100, &pool, |_, _| ()).err().unwrap();
    assert!(
        error.to_string().contains("memory: 100 bytes; a sample of 4 configurations alone takes"),
        "{error}"
    );
}

#[test]
fn the_order_of_runs_and_the_threads_do_not_show() {
    let outputs = |folder: &Path| {
        ["models", "configurations", "distances", "linkage", "trajectories", "tube"]
            .map(|name| std::fs::read(folder.join(name)).unwrap())
    };
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    crate::run(&job(one.path(), &several())).unwrap();
    let mut runs = several();
    runs.reverse();
    crate::run(&job_on(1, other.path(), &runs)).unwrap();
    assert!(outputs(one.path()) == outputs(other.path()));
}

#[test]
fn one_configuration_or_none_leaves_tables_without_merges() {
    for (runs, count) in
        [(vec![MADE, Made { seed: 43, ..MADE }], 1), (vec![Made { train_error: 0.2, ..MADE }], 0)]
    {
        let folder = tempfile::tempdir().unwrap();
        crate::run(&job(folder.path(), &runs)).unwrap();
        let table = |name: &str| Table::read(&folder.path().join(name)).unwrap();
        assert_eq!(table("configurations").values::<&str>("run").unwrap().len(), count);
        assert!(table("linkage").values::<i64>("left").unwrap().is_empty());
        assert!(table("distances").values::<&str>("run").unwrap().is_empty());
        let trajectories = Tensors::open(&folder.path().join("trajectories")).unwrap();
        assert_eq!(trajectories.f64s("distances").unwrap().shape, [count, count]);
    }
}

#[test]
fn predictions_of_other_data_and_doubled_runs_are_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let error = crate::run(&job(folder.path(), &[Made { samples: 3, ..MADE }])).unwrap_err();
    let name = r#"run {"arch":"fc","augment":false,"model":{"kind":"fc"},"rate":null,"seed":42}"#;
    let expected = format!("{name}: `test` has 3 samples x 3 classes, the data have 4 x 3");
    assert_eq!(format!("{error:#}"), expected);
    let error = crate::run(&job(folder.path(), &[MADE, MADE])).unwrap_err();
    assert_eq!(error.to_string(), format!("{name} is given twice"));
}

#[test]
fn a_prediction_that_is_no_distribution_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let error = crate::run(&job(folder.path(), &[Made { end: f64::NAN, ..MADE }])).unwrap_err();
    let message = error.to_string();
    assert!(message.ends_with("checkpoint 0, sample 0: [NaN, NaN, NaN] are not probabilities"), "{message}");
}

#[test]
fn a_thousand_classes_are_analysed_as_few_are() {
    let folder = tempfile::tempdir().unwrap();
    let runs: Vec<Made> = several().into_iter().map(|run| Made { classes: 1_000, ..run }).collect();
    crate::run(&job(folder.path(), &runs)).unwrap();
    let models = Table::read(&folder.path().join("models")).unwrap();
    let progress: Vec<f64> = models.values("progress").unwrap();
    // The first run of the table goes to 0.7, two hundredths to the side of it.
    assert!(progress[3..8].is_sorted() && (progress[7] - 0.7).abs() < 0.05, "{progress:?}");
    let tile = Tensors::open(&folder.path().join("trajectories")).unwrap();
    let distances = tile.f64s("distances").unwrap();
    let all = distances.values.iter().enumerate();
    let mut others = all.filter(|(place, _)| place % (distances.shape[0] + 1) != 0);
    assert!(others.all(|(_, distance)| (1e-4..1.0).contains(distance)), "{:?}", distances.values);
}
