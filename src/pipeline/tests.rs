//! What a right pipeline becomes; [`wrong`], [`words`] and [`meant`] have what is said of wrong ones, [`elsewhere`] what others made.

mod elsewhere;
mod meant;
mod words;
mod wrong;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::*;

const RIGHT: &str = r#"version: 1
profile: small
params: {precision: f32, epochs: 1}
profiles:
  small:
    params: {epochs: 3.0, data: {kind: mini}}
    sweeps:
      networks:
        matrix:
          arch: [fc, vit]
          optimizer: [adam, sgd]
          seed: [1, 2]
        exclude: [{arch: vit, optimizer: sgd}]
        include: [{arch: vit, optimizer: sgd, seed: 3}]
        settings:
          - set: {epochs: $epochs, decay: 0.0, rate: 1}
          - {when: {optimizer: [adam]}, set: {rate: 1e-3}}
          - {when: {arch: fc}, set: {model: {widths: [4, 2]}}}
sweeps:
  splits: {matrix: {split: [train, test]}}
stages:
  draw:
    run: [python3, plot.py, "{inputs.table}", "{outputs.figure}"]
    code: [plot.py]
    inputs: {table: "embed[split=train].points"}
    outputs: {figure: figure.svg}
    publish: {figure: figures/figure.svg}
  prepare:
    crate: stages/prepare
    params: {data: $data}
    inputs: {images: ./images}
    outputs: {data: data.safetensors}
  train:
    crate: ./stages/prepare/
    each: network in networks
    params: {network: $network, seed: $network.seed, precision: $precision, list: [$epochs, 2.0]}
    inputs: {data: prepare.data}
    outputs: {weights: weights/}
    needs: {threads: 2, memory: 1.5G, gpu: prefer, per-gpu: 4}
    tools: {libtorch: ./pin.txt}
    env: [CUBLAS_WORKSPACE_CONFIG]
  distance:
    crate: stages/prepare
    each: split in splits
    pairs: rows, cols in networks by arch, optimizer
    inputs: {rows: "train[rows].weights", cols: "train[cols].weights", images: "./images/{split.split}"}
    outputs: {tile: tile.safetensors}
  embed:
    crate: stages/prepare
    each: split in splits
    inputs: {tiles: ["distance[*].tile"], all: "train[*].weights"}
    outputs: {points: points.parquet}
    publish: {points: "tables/points-{split}.parquet"}
"#;

/// A project folder with this pipeline.yaml.
fn project(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("stages/prepare")).unwrap();
    for split in ["train", "test"] {
        fs::create_dir_all(folder.path().join("images").join(split)).unwrap();
    }
    for file in ["stages/prepare/Cargo.toml", "plot.py", "pin.txt"] {
        fs::write(folder.path().join(file), "").unwrap();
    }
    let path = folder.path().join("pipeline.yaml");
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn load(text: &str) -> Pipeline {
    let (_folder, path) = project(text);
    Pipeline::load(&path, None, &[]).unwrap()
}

/// What is said of a pipeline, without the folder's name.
fn said(text: &str, profile: Option<&str>) -> String {
    let (folder, path) = project(text);
    let error = Pipeline::load(&path, profile, &[]).unwrap_err().to_string();
    error.replace(&format!("{}/", folder.path().display()), "")
}

fn stage<'a>(pipeline: &'a Pipeline, name: &str) -> &'a Stage {
    pipeline.stages.iter().find(|stage| stage.name == name).unwrap()
}

#[test]
fn the_shipped_pipeline_is_right() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipeline.yaml");
    let pipeline = Pipeline::load(&path, None, &[]).unwrap();
    assert_eq!(pipeline.profile, "quick");
    let networks = pipeline.sweeps.iter().find(|sweep| sweep.name == "networks").unwrap();
    assert_eq!(networks.configurations.len(), 72);
    assert!(networks.configurations.iter().all(|each| each.values.contains_key("rate")));
    for name in ["prepare", "train", "predict", "distance", "analyse", "embed", "figure-embedding"] {
        assert!(matches!(stage(&pipeline, name).program, Program::Crate(_)), "{name}");
    }
    assert!(profiles(&path).unwrap().iter().all(|listed| listed.is_default == (listed.name == "quick")));
}

#[test]
fn stages_stand_after_those_they_take_inputs_from() {
    let pipeline = load(RIGHT);
    let names: Vec<&str> = pipeline.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ["prepare", "train", "distance", "embed", "draw"]);
    let Input::One(Source::Jobs { stage: producer, output, select }) =
        &stage(&pipeline, "draw").inputs["table"]
    else {
        panic!("not the output of a stage");
    };
    assert_eq!(pipeline.stages[producer.0].name, "embed");
    assert_eq!((output.as_str(), select.labels["split"].as_str(), select.all), ("points", "train", false));
}

#[test]
fn folders_to_read_are_of_the_project_of_the_home_or_anywhere() {
    let settings = "reads: [./lib, ../tools, /srv/data, ~/envs, '~']\n    timeout: 1h 30m\n    retries: 2\n    resume: true";
    let pipeline = load(&RIGHT.replace("env: [CUBLAS_WORKSPACE_CONFIG]", settings));
    let (train, home) = (stage(&pipeline, "train"), std::env::home_dir().unwrap());
    let own = |path: &str| pipeline.root.join(path);
    assert_eq!(train.reads, [own("lib"), own("../tools"), "/srv/data".into(), home.join("envs"), home]);
    assert_eq!((train.timeout.unwrap().as_secs(), train.retries, train.network), (5400, 2, false));
    assert_eq!((train.resume, stage(&pipeline, "prepare").resume), (true, false));
    assert_eq!(stage(&pipeline, "prepare").timeout, None);
}

#[test]
fn a_sweep_is_unrolled_in_the_order_of_the_file_with_its_settings() {
    let pipeline = load(RIGHT);
    let networks = pipeline.sweeps.iter().find(|sweep| sweep.name == "networks").unwrap();
    let names: Vec<String> = networks.configurations.iter().map(|each| sweep::named(&each.labels)).collect();
    assert_eq!(
        names,
        [
            "arch=fc,optimizer=adam,seed=1",
            "arch=fc,optimizer=adam,seed=2",
            "arch=fc,optimizer=sgd,seed=1",
            "arch=fc,optimizer=sgd,seed=2",
            "arch=vit,optimizer=adam,seed=1",
            "arch=vit,optimizer=adam,seed=2",
            "arch=vit,optimizer=sgd,seed=3",
        ]
    );
    let values = |i: usize| json!(networks.configurations[i].values);
    assert_eq!(
        values(0),
        json!({"arch": "fc", "optimizer": "adam", "seed": 1, "epochs": 3, "decay": 0, "rate": 0.001,
               "model": {"widths": [4, 2]}})
    );
    assert_eq!(
        values(6),
        json!({"arch": "vit", "optimizer": "sgd", "seed": 3, "epochs": 3, "decay": 0, "rate": 1})
    );
    assert_eq!(
        group_name(&networks.configurations[0].labels, &["optimizer".into(), "arch".into()]),
        "adam+fc"
    );
}

#[test]
fn parameters_are_literal_or_refer_to_the_configuration() {
    let pipeline = load(RIGHT);
    let params = &stage(&pipeline, "train").params;
    assert!(matches!(&params["network"], Param::Configuration(name) if name == "network"));
    assert!(matches!(&params["seed"], Param::Value(name, value) if name == "network" && value == "seed"));
    assert!(matches!(&params["precision"], Param::Literal(value) if value == "f32"));
    assert!(matches!(&params["list"], Param::Literal(value) if *value == json!([3, 2])));
    assert!(
        matches!(&stage(&pipeline, "prepare").params["data"], Param::Literal(v) if *v == json!({"kind": "mini"}))
    );
}

#[test]
fn set_changes_what_sweeps_and_stages_see() {
    let (_folder, path) = project(RIGHT);
    let sets = [("epochs".to_owned(), "7".to_owned()), ("data.kind".to_owned(), "full".to_owned())];
    let pipeline = Pipeline::load(&path, Some("small"), &sets).unwrap();
    let networks = pipeline.sweeps.iter().find(|sweep| sweep.name == "networks").unwrap();
    assert_eq!(networks.configurations[0].values["epochs"], 7);
    assert!(
        matches!(&stage(&pipeline, "prepare").params["data"], Param::Literal(v) if *v == json!({"kind": "full"}))
    );
    let error = Pipeline::load(&path, None, &[("epoch".to_owned(), "7".to_owned())]).unwrap_err().to_string();
    assert!(
        error.starts_with("--set epoch=7: there is no parameter `epoch`; did you mean `epochs`?"),
        "{error}"
    );
}

#[test]
fn what_a_stage_needs_has_defaults_and_sizes() {
    let pipeline = load(RIGHT);
    let train = stage(&pipeline, "train");
    assert_eq!((train.needs.threads, train.needs.memory), (2, 1_500_000_000));
    assert_eq!((train.needs.gpu, train.needs.per_gpu), (Gpu::Prefer, 4));
    assert_eq!((&*train.outputs["weights"].file, train.outputs["weights"].kind), ("weights", Kind::Folder));
    assert!(matches!(&train.program, Program::Crate(path) if path == Path::new("stages/prepare")));
    let embed = stage(&pipeline, "embed");
    assert_eq!((embed.needs.threads, embed.needs.memory), (1, 0));
    assert_eq!((embed.needs.gpu, embed.needs.per_gpu), (Gpu::None, 1));
}

#[test]
fn profiles_are_listed_with_what_they_are_about() {
    let (_folder, path) = project(&RIGHT.replace("  small:\n", "  large: {about: all of it}\n  small:\n"));
    let listed = |name: &str, about: &str, is_default| Listed {
        name: name.to_owned(),
        about: about.to_owned(),
        is_default,
    };
    assert_eq!(profiles(&path).unwrap(), [listed("large", "all of it", false), listed("small", "", true)]);
}

#[test]
fn a_stage_is_in_the_profiles_that_it_names() {
    let two = RIGHT
        .replace(
            "  small:\n",
            "  large:\n    params: {data: big}\n    sweeps: {extra: {matrix: {n: [1, 2]}}}\n  small:\n",
        )
        .replace("    each: network in networks\n", "    profiles: [small]\n    each: network in networks\n")
        .replace("  distance:\n", "  distance:\n    profiles: [small]\n")
        .replace("  embed:\n", "  embed:\n    profiles: [small]\n")
        .replace("  draw:\n", "  draw:\n    profiles: [small]\n")
        + "  more:\n    profiles: [large]\n    crate: stages/prepare\n    each: number in extra\n    \
           params: {n: $number.n}\n    inputs: {data: prepare.data}\n    outputs: {more: more.txt}\n";
    let (_folder, path) = project(&two);
    let names = |profile| {
        let pipeline = Pipeline::load(&path, Some(profile), &[]).unwrap();
        let names: Vec<String> = pipeline.stages.into_iter().map(|stage| stage.name).collect();
        (names.join(" "), pipeline.elsewhere)
    };
    let (small, elsewhere) = names("small");
    assert_eq!(small, "prepare train distance embed draw");
    assert_eq!(elsewhere, BTreeMap::from([("more".to_owned(), vec!["large".to_owned()])]));
    assert_eq!(names("large").0, "prepare more");
}

#[test]
fn an_input_with_a_question_mark_is_left_out_where_its_stage_is_not() {
    let two = RIGHT
        .replace("  small:\n    params", "  large:\n    params: {data: big}\n  small:\n    params")
        .replace("    each: network in networks\n", "    profiles: [small]\n    each: network in networks\n")
        .replace("  distance:\n", "  distance:\n    profiles: [small]\n")
        .replace("  embed:\n", "  embed:\n    profiles: [small]\n")
        .replace("embed[split=train].points", "embed[split=train].points?");
    let (_folder, path) = project(&two);
    let inputs = |profile| {
        let pipeline = Pipeline::load(&path, Some(profile), &[]).unwrap();
        let draw = pipeline.stages.into_iter().find(|stage| stage.name == "draw").unwrap();
        draw.inputs.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(inputs("small"), ["table"]);
    assert!(inputs("large").is_empty());
    let (_folder, path) = project(&two.replace("embed[split=train].points?", "embd[split=train].points?"));
    let error = Pipeline::load(&path, Some("large"), &[]).unwrap_err().to_string();
    assert!(error.contains("there is no stage `embd`"), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Pipeline::load(Path::new("nowhere/pipeline.yaml"), None, &[]).unwrap_err().to_string();
    assert_eq!(error, "cannot read nowhere/pipeline.yaml: No such file or directory (os error 2)");
}

#[test]
fn the_factors_of_costs_that_a_job_meets_are_multiplied() {
    let costs = "    params: {epochs: 3.0, data: {kind: mini}, image: {fc: 0.5, vit: 4}}
    costs:
      train:
        - {seconds: $epochs, bytes: 4}
        - {when: {arch: fc}, seconds: $image.fc, bytes: 10}
        - {when: {arch: vit, optimizer: [adam]}, seconds: $image.vit}
      distance: [{when: {rows: fc+adam, split: [train]}, bytes: 1e3}]
";
    let text = RIGHT.replace("    params: {epochs: 3.0, data: {kind: mini}}\n", costs);
    let pipeline = load(&text);
    let cost = |name: &str, labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let Costs { seconds, bytes } = stage(&pipeline, name).cost(&labels);
        (seconds, bytes)
    };
    assert_eq!(cost("train", &[("arch", "fc"), ("optimizer", "sgd")]), (Some(1.5), Some(40.0)));
    assert_eq!(cost("train", &[("arch", "vit"), ("optimizer", "adam")]), (Some(12.0), Some(4.0)));
    assert_eq!(cost("train", &[("arch", "vit"), ("optimizer", "sgd")]), (Some(3.0), Some(4.0)));
    assert_eq!(cost("distance", &[("rows", "fc+adam"), ("split", "train")]), (None, Some(1000.0)));
    assert_eq!(cost("distance", &[("rows", "fc+adam"), ("split", "test")]), (None, None));
    assert_eq!(cost("embed", &[("split", "test")]), (None, None));
}

#[test]
fn memory_and_sharing_of_a_card_may_be_parameters() {
    let text = RIGHT
        .replace("data: {kind: mini}}\n", "data: {kind: mini}, memory: 2GiB, cards: {share: 3}}\n")
        .replace(
            "memory: 1.5G, gpu: prefer, per-gpu: 4",
            "memory: $memory, gpu: prefer, per-gpu: $cards.share",
        );
    let pipeline = load(&text);
    let needs = &stage(&pipeline, "train").needs;
    assert_eq!((needs.memory, needs.per_gpu), (2 << 30, 3));
}
