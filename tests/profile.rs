//! The profile `paper` of pipeline.yaml beside docs/PAPER.md: the sweep as the paper has it.

// The stage's own schedule, which decides how many checkpoints there are.
#[path = "../stages/train/src/schedule.rs"]
mod schedule;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hyperribbon::graph::Graph;
use hyperribbon::pipeline::{Configuration, Pipeline};
use serde_json::{Value, json};

/// Architectures of docs/PAPER.md at full size: name, sizes, trained parameters, epochs.
fn architectures() -> [(&'static str, Value, u64, u64); 6] {
    let vit =
        json!({"kind": "vit", "patch": 4, "dim": 512, "depth": 6, "heads": 8, "head_dim": 64, "mlp": 512});
    let wr = |depth: u64, planes: u64| json!({"kind": "wr", "depth": depth, "widen": 4, "planes": planes});
    [
        ("allcnn", json!({"kind": "allcnn", "planes": [96, 144]}), 399_486, 200),
        ("convmixer", json!({"kind": "convmixer", "dim": 256, "depth": 8}), 594_186, 200),
        ("fc", json!({"kind": "fc", "widths": [1024, 512, 256, 128]}), 3_837_066, 200),
        ("vit", vit, 9_523_722, 300),
        ("wr-10-4-8", wr(10, 8), 300_226, 200),
        ("wr-16-4-64", wr(16, 64), 43_890_122, 200),
    ]
}

/// Of each batch size: the rate of Adam, that of both kinds of gradient descent, steps an epoch, and checkpoints of 200 and
/// of 300 epochs.
const BATCHES: [(u64, f64, f64, u64, [usize; 2]); 3] =
    [(200, 0.001, 0.1, 250, [67, 73]), (500, 0.0025, 0.25, 100, [62, 68]), (1000, 0.005, 0.5, 50, [67, 73])];

/// Where an image of the first architecture takes a second, of the second two seconds, and so on.
fn paper() -> Pipeline {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipeline.yaml");
    let each = (1..).zip(architectures()).map(|(seconds, (arch, ..))| format!("{arch}: {seconds}"));
    let seconds = format!("{{{}}}", each.collect::<Vec<_>>().join(", "));
    let sets = ["train-image", "predict-image"].map(|name| (name.to_owned(), seconds.clone()));
    Pipeline::load(&file, Some("paper"), &sets).unwrap_or_else(|error| panic!("{error}"))
}

fn networks(pipeline: &Pipeline) -> &[Configuration] {
    &pipeline.sweeps.iter().find(|sweep| sweep.name == "networks").unwrap().configurations
}

#[test]
fn the_sweep_is_the_papers_grid_of_2160_runs() {
    let pipeline = paper();
    let mut expected = BTreeSet::new();
    for (arch, model, _, epochs) in architectures() {
        for (optimizer, is_adam) in [("adam", true), ("sgd", false), ("nesterov", false)] {
            for (batch, adam, descent, ..) in BATCHES {
                for decay in [0.0, if is_adam { 1e-5 } else { 1e-3 }] {
                    for augment in [false, true] {
                        for seed in 42..=51 {
                            let run = json!({
                                "arch": arch, "model": model, "optimizer": optimizer, "batch": batch,
                                "rate": if is_adam { adam } else { descent }, "decay": decay, "augment": augment,
                                "epochs": epochs, "seed": seed,
                            });
                            expected.insert(canonical(&run));
                        }
                    }
                }
            }
        }
    }
    assert_eq!(expected.len(), 2160);
    let found: Vec<String> = networks(&pipeline).iter().map(|each| canonical(&json!(each.values))).collect();
    assert_eq!(found.len(), 2160);
    assert_eq!(BTreeSet::from_iter(found), expected);
    let params = |name: &str| {
        let graph = Graph::unroll(&pipeline).unwrap();
        let index = pipeline.stages.iter().position(|stage| stage.name == name).unwrap();
        let id = graph.ids().find(|id| graph.job(*id).stage.0 == index).unwrap();
        graph.params(&pipeline, id)
    };
    assert_eq!(params("train")["precision"], "mixed");
    assert_eq!(params("prepare")["data"], json!({"kind": "cifar10"}));
}

/// JSON with sorted keys and each number as a float, so that equal numbers are equal.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(entries) => {
            let sorted: BTreeMap<&String, String> =
                entries.iter().map(|(key, value)| (key, canonical(value))).collect();
            format!("{sorted:?}")
        }
        Value::Array(items) => format!("{:?}", items.iter().map(canonical).collect::<Vec<_>>()),
        Value::Number(number) => number.as_f64().unwrap().to_string(),
        other => other.to_string(),
    }
}

#[test]
fn runs_keep_as_many_checkpoints_as_the_paper_and_the_costs_count_them() {
    let pipeline = paper();
    let stage = |name: &str| pipeline.stages.iter().find(|stage| stage.name == name).unwrap();
    let (train, predict) = (stage("train"), stage("predict"));
    let mut models = 0;
    for Configuration { labels, values } in networks(&pipeline) {
        let place = architectures().iter().position(|(arch, ..)| *arch == labels["arch"]).unwrap();
        let (_, _, parameters, epochs) = architectures()[place].clone();
        let (.., steps, counts) =
            BATCHES.into_iter().find(|(batch, ..)| batch.to_string() == labels["batch"]).unwrap();
        assert_eq!(50_000_u64.div_ceil(values["batch"].as_u64().unwrap()), steps);
        let count = counts[usize::from(epochs == 300)];
        assert_eq!(
            schedule::checkpoints(values["epochs"].as_u64().unwrap(), steps, None).len(),
            count,
            "{labels:?}"
        );
        models += count;
        let [trained, predicted] = [train, predict].map(|stage| stage.cost(labels));
        assert_eq!(trained.bytes, Some((count as u64 * parameters * 4) as f64), "{labels:?}");
        assert_eq!(predicted.bytes, Some((count * 60_000 * 10 * 4) as f64), "{labels:?}");
        let image = (place + 1) as f64;
        assert_eq!(trained.seconds, Some((epochs * 50_000) as f64 * image), "{labels:?}");
        assert_eq!(predicted.seconds, Some((count * 60_000) as f64 * image), "{labels:?}");
    }
    assert_eq!(models, 143_280);
}

#[test]
fn what_every_stage_of_the_paper_takes_is_known() {
    let pipeline = paper();
    let mut labels = networks(&pipeline)[0].labels.clone();
    let others = [("split", "train"), ("from", "random-labels"), ("c", "0.5")];
    labels.extend(others.map(|(name, value)| (name.to_owned(), value.to_owned())));
    for stage in &pipeline.stages {
        let cost = stage.cost(&labels);
        assert!(cost.seconds.is_some() && cost.bytes.is_some(), "{}: {cost:?}", stage.name);
    }
}

#[test]
fn the_profile_for_two_cores_varies_all_that_the_paper_varies() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipeline.yaml");
    let pipeline = Pipeline::load(&file, Some("cifar10"), &[]).unwrap();
    let all = networks(&pipeline);
    assert!(all.len() >= 108, "{} networks", all.len());
    let values =
        |name: &str| -> BTreeSet<String> { all.iter().map(|each| each.values[name].to_string()).collect() };
    assert_eq!(values("optimizer").len(), 3);
    assert_eq!((values("batch").len(), values("augment").len()), (2, 2));
    assert!(values("decay").len() >= 2 && values("seed").len() >= 2);

    let mut sizes: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for each in all {
        let arch = each.labels["arch"].as_str();
        let families = ["allcnn", "convmixer", "fc", "vit", "wr-10", "wr-16"];
        let family = families.into_iter().find(|family| arch.starts_with(family)).unwrap();
        sizes.entry(family).or_default().insert(each.values["model"].to_string());
        let number = |name: &str| each.values.get(name).and_then(Value::as_u64);
        let steps = 5_000_u64.div_ceil(number("batch").unwrap());
        let kept = schedule::checkpoints(number("epochs").unwrap(), steps, number("early")).len();
        assert!(kept >= 30, "{kept} checkpoints of {:?}", each.labels);
    }
    assert_eq!(sizes.len(), 6);
    assert!(sizes.values().filter(|sizes| sizes.len() >= 2).count() >= 3, "{sizes:?}");
}
