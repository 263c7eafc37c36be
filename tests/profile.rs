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
    sweep(pipeline, "networks")
}

fn sweep<'a>(pipeline: &'a Pipeline, name: &str) -> &'a [Configuration] {
    &pipeline.sweeps.iter().find(|sweep| sweep.name == name).unwrap().configurations
}

/// A profile as pipeline.yaml has it.
fn profile(name: &str) -> Pipeline {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipeline.yaml");
    Pipeline::load(&file, Some(name), &[]).unwrap_or_else(|error| panic!("{error}"))
}

/// The parameters of a stage's first job.
fn params(pipeline: &Pipeline, stage: &str) -> Value {
    let graph = Graph::unroll(pipeline).unwrap();
    let index = pipeline.stages.iter().position(|it| it.name == stage).unwrap();
    let id = graph.ids().find(|id| graph.job(*id).stage.0 == index).unwrap();
    json!(graph.params(pipeline, id))
}

/// A sweep's values, in a form in which equal ones are equal.
fn all_values(configurations: &[Configuration]) -> BTreeSet<String> {
    configurations.iter().map(|each| canonical(&json!(each.values))).collect()
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
    assert_eq!(networks(&pipeline).len(), 2160);
    assert_eq!(all_values(networks(&pipeline)), expected);
    assert_eq!(params(&pipeline, "train")["precision"], "mixed");
    assert_eq!(params(&pipeline, "prepare")["data"], json!({"kind": "cifar10"}));
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
    let pipeline = profile("cifar10");
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

#[test]
fn imagenet_is_three_architectures_at_full_size() {
    let pipeline = profile("imagenet");
    let vit = json!({
        "kind": "vit", "patch": 16, "dim": 384, "depth": 12, "heads": 6, "head_dim": 64, "mlp": 1536, "qkv_bias": true,
    });
    let resnet = |depth: u64| json!({"kind": "resnet", "depth": depth, "planes": 64});
    let models = [("resnet-18", resnet(18)), ("resnet-50", resnet(50)), ("vit-s-16", vit)];
    let mut expected = BTreeSet::new();
    for (arch, model) in models {
        for (optimizer, rate) in [("adam", 0.001), ("nesterov", 0.1)] {
            for seed in [42, 43] {
                expected.insert(canonical(&json!({
                    "arch": arch, "model": model, "optimizer": optimizer, "batch": 200, "rate": rate, "decay": 0,
                    "augment": true, "epochs": 200, "seed": seed,
                })));
            }
        }
    }
    assert_eq!((networks(&pipeline).len(), all_values(networks(&pipeline))), (12, expected));
    let data = &params(&pipeline, "prepare")["data"];
    assert_eq!(data["subset"], json!({"train": 50_000, "test": 50_000}));
    assert_eq!(data["size"], json!({"resize": 256, "crop": 224}));
    assert_eq!((&data["mean"], &data["std"]), (&json!([0.485, 0.456, 0.406]), &json!([0.229, 0.224, 0.225])));
    assert_eq!(params(&pipeline, "train")["precision"], "mixed");
    assert_eq!(schedule::checkpoints(200, 250, None).len(), 67);
}

#[test]
fn imagenet_mini_is_the_same_architectures_on_1000_images() {
    let (mini, full) = (profile("imagenet-mini"), profile("imagenet"));
    let names = |pipeline: &Pipeline| -> BTreeSet<String> {
        networks(pipeline).iter().map(|each| each.labels["arch"].clone()).collect()
    };
    assert_eq!((networks(&mini).len(), names(&mini)), (18, names(&full)));
    let [mini, full] = [&mini, &full].map(|pipeline| params(pipeline, "prepare")["data"].clone());
    assert_eq!(mini["subset"], json!({"train": 1_000, "test": 500}));
    assert_eq!((&mini["mean"], &mini["std"]), (&full["mean"], &full["std"]), "the usual normalisation");
}

#[test]
fn other_starts_are_random_labels_and_the_papers_shares_of_the_samples() {
    for (name, samples, archs) in
        [("paper", 50_000, ["allcnn", "fc"]), ("cifar10", 5_000, ["fc-256", "vit-64"])]
    {
        let pipeline = profile(name);
        let starts = sweep(&pipeline, "starts");
        let mut found = BTreeSet::new();
        for each in starts {
            let start = &each.values["start"];
            let first = match start["samples"].as_u64() {
                Some(count) => format!("{} of 50,000", count * 50_000 / samples),
                None => format!("{} labels", start["labels"].as_str().unwrap()),
            };
            // Nothing else sets them apart from an ordinary network.
            assert_eq!((&each.values["augment"], &each.values["decay"]), (&json!(false), &json!(0)));
            found.insert((each.labels["arch"].clone(), first));
        }
        let firsts = ["random labels", "200 of 50,000", "2000 of 50,000"];
        let expected =
            archs.iter().flat_map(|arch| firsts.map(|first| ((*arch).to_owned(), first.to_owned())));
        assert_eq!((starts.len(), found), (6, expected.collect()), "{name}");
    }
}

#[test]
fn students_and_data_are_those_of_the_paper() {
    let pipeline = profile("paper");
    let values = |name: &str, value: &str| -> BTreeSet<String> {
        sweep(&pipeline, name).iter().map(|each| each.values[value].to_string()).collect()
    };
    assert_eq!(values("spectra", "c"), ["0.001", "0.5"].map(str::to_owned).into());
    let widths = [json!([512]), json!([512, 512])];
    let models = widths.map(|widths| json!({"kind": "fc", "widths": widths}).to_string());
    assert_eq!(values("students", "model"), models.into());
    assert_eq!(values("students", "optimizer").len(), 3);
    assert_eq!(sweep(&pipeline, "students").len(), 12);
    // The paper tells none of these, docs/RESULTS.md does.
    for each in sweep(&pipeline, "students") {
        let values = &each.values;
        let rate = if values["optimizer"] == "adam" { 0.001 } else { 0.1 };
        assert_eq!(
            (&values["batch"], &values["epochs"], &values["rate"]),
            (&json!(200), &json!(60), &json!(rate))
        );
    }
}
