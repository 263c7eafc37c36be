//! What graphs are unrolled into, and that keys follow nothing but what a result depends on.

mod properties;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::*;
use crate::hash::{Hash, Key};
use crate::key::{StageFacts, key};

const SPLITS: &str = "splits: {matrix: {split: [train, test]}, settings: [{set: {of: 7}}]}";

/// Unrolls a pipeline with a sweep `networks` of this matrix, the sweep `splits`, and these stages.
fn unroll(networks: &str, stages: &str) -> (Pipeline, Result<Graph, GraphError>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipeline.yaml");
    let head = "version: 1\nprofile: p\nparams: {epochs: 3}\n";
    let text = format!(
        "{head}sweeps: {{{SPLITS}}}\nprofiles: {{p: {{sweeps: {{networks: {networks}}}}}}}\nstages:\n{stages}"
    );
    std::fs::write(&path, text).unwrap();
    std::fs::write(folder.path().join("data"), "").unwrap();
    let pipeline = Pipeline::load(&path, None, &[]).unwrap_or_else(|error| panic!("{error}"));
    let graph = Graph::unroll(&pipeline);
    (pipeline, graph)
}

const NETWORKS: &str = "{matrix: {arch: [vit, fc], seed: [42, 43]}, settings: [{set: {epochs: $epochs}}]}";

const STAGES: &str = r#"
  train: {run: ["true"], each: network in networks, params: {network: $network}, inputs: {data: ./data}, outputs: {x: x, y: y}}
  predict: {run: ["true"], each: network in networks, inputs: {x: train.x}, outputs: {p: p}}
  tile:
    run: ["true"]
    each: split in splits
    pairs: rows, cols in networks by arch
    params: {of: $split.of}
    inputs: {rows: "predict[rows].p", cols: "predict[cols].p"}
    outputs: {t: t}
  points: {run: ["true"], each: split in splits, params: {split: $split.split}, outputs: {t: t}}
  embed:
    run: ["true"]
    each: split in splits
    inputs: {tiles: ["tile[*].t", points.t], other: "points[split=test].t"}
    outputs: {e: e}
    publish: {e: "figures/{split}.svg"}
"#;

/// An input's elements by name: `train[arch=fc,seed=42]`, or a file.
fn taken(pipeline: &Pipeline, graph: &Graph, job: &str, input: usize) -> Vec<String> {
    let name = |origin: &Origin| match origin {
        Origin::File(index) => graph.sources[*index as usize].display().to_string(),
        Origin::Output(job, _) => graph.name(pipeline, *job),
    };
    graph.job(find(pipeline, graph, job)).inputs[input].origins().iter().map(name).collect()
}

fn find(pipeline: &Pipeline, graph: &Graph, job: &str) -> JobId {
    graph.ids().find(|id| graph.name(pipeline, *id) == job).unwrap_or_else(|| panic!("no job {job}"))
}

fn names(pipeline: &Pipeline, graph: &Graph, stage: &str) -> Vec<String> {
    graph
        .ids()
        .map(|id| graph.name(pipeline, id))
        .filter(|name| name.split('[').next() == Some(stage))
        .collect()
}

/// Every job's key by its name, if each artifact's content were its maker's name.
fn keys(networks: &str) -> BTreeMap<String, Key> {
    let (pipeline, graph) = unroll(networks, STAGES);
    let graph = graph.unwrap();
    let content = |origin: Origin| match origin {
        Origin::File(index) => Hash::of(graph.sources[index as usize].as_os_str().as_encoded_bytes()),
        Origin::Output(job, place) => Hash::of(format!("{} {place}", graph.name(&pipeline, job)).as_bytes()),
    };
    let key = |id| key(&pipeline, &graph, &StageFacts::default(), id, content);
    graph.ids().map(|id| (graph.name(&pipeline, id), key(id))).collect()
}

#[test]
fn a_configuration_is_a_job_with_its_values_as_parameters() {
    let (pipeline, graph) = unroll(NETWORKS, STAGES);
    let graph = graph.unwrap();
    let train = [
        "train[arch=vit,seed=42]",
        "train[arch=vit,seed=43]",
        "train[arch=fc,seed=42]",
        "train[arch=fc,seed=43]",
    ];
    assert_eq!(names(&pipeline, &graph, "train"), train);
    let id = find(&pipeline, &graph, "train[arch=fc,seed=43]");
    let expected = json!({"network": {"arch": "fc", "seed": 43, "epochs": 3}});
    assert_eq!(json!(graph.params(&pipeline, id)), expected);
    assert_eq!(taken(&pipeline, &graph, "train[arch=fc,seed=43]", 0), ["data"]);
    assert_eq!(taken(&pipeline, &graph, "predict[arch=fc,seed=43]", 0), ["train[arch=fc,seed=43]"]);
}

#[test]
fn pairs_are_unordered_with_each_group_and_itself() {
    let (pipeline, graph) = unroll(NETWORKS, STAGES);
    let graph = graph.unwrap();
    let tiles = names(&pipeline, &graph, "tile");
    assert_eq!(tiles.len(), 2 * 3);
    for pair in ["cols=fc,rows=fc", "cols=vit,rows=fc", "cols=vit,rows=vit"] {
        assert!(tiles.contains(&format!("tile[{pair},split=test]")), "{pair}: {tiles:?}");
    }
    let tile = "tile[cols=vit,rows=fc,split=test]";
    assert_eq!(taken(&pipeline, &graph, tile, 0), ["predict[arch=vit,seed=42]", "predict[arch=vit,seed=43]"]);
    assert_eq!(taken(&pipeline, &graph, tile, 1), ["predict[arch=fc,seed=42]", "predict[arch=fc,seed=43]"]);
}

#[test]
fn a_list_keeps_common_labels_and_is_ordered_by_source_then_label() {
    let (pipeline, graph) = unroll(NETWORKS, STAGES);
    let graph = graph.unwrap();
    let tile = |pair: &str| format!("tile[{pair},split=train]");
    let expected = [
        tile("cols=fc,rows=fc"),
        tile("cols=vit,rows=fc"),
        tile("cols=vit,rows=vit"),
        "points[split=train]".to_owned(),
    ];
    assert_eq!(taken(&pipeline, &graph, "embed[split=train]", 1), expected);
    assert_eq!(taken(&pipeline, &graph, "embed[split=train]", 0), ["points[split=test]"]);
    let id = find(&pipeline, &graph, "embed[split=train]");
    assert_eq!(graph.published(&pipeline, id), [(0, "figures/train.svg".to_owned())]);
}

#[test]
fn producers_come_first_and_know_their_dependents() {
    let (_, graph) = unroll(NETWORKS, STAGES);
    let graph = graph.unwrap();
    for id in graph.ids() {
        for producer in graph.producers(id) {
            assert!(producer < id);
            assert!(graph.dependents[producer.index()].contains(&id));
        }
        let unique: BTreeSet<_> = graph.dependents[id.index()].iter().collect();
        assert_eq!(unique.len(), graph.dependents[id.index()].len());
    }
}

#[test]
fn another_order_of_configurations_changes_no_key() {
    let sorted = "{matrix: {seed: [42, 43], arch: [fc, vit]}, settings: [{set: {epochs: $epochs}}]}";
    let included = "{matrix: {arch: [fc], seed: [43]}, include: [{seed: 42, arch: vit}, {arch: fc, seed: 42}, {arch: vit, seed: 43}], \
                    settings: [{set: {epochs: 3.0}}]}";
    assert_eq!(keys(NETWORKS), keys(sorted));
    assert_eq!(keys(NETWORKS), keys(included));
}

#[test]
fn another_configuration_changes_the_keys_of_its_groups_alone() {
    let more = "{matrix: {arch: [vit, fc], seed: [42, 43]}, include: [{arch: vit, seed: 44}], settings: [{set: {epochs: $epochs}}]}";
    let (before, after) = (keys(NETWORKS), keys(more));
    let changed: Vec<&str> = after
        .iter()
        .filter(|(name, key)| before.get(*name).is_some_and(|before| before != *key))
        .map(|(name, _)| name.as_str())
        .collect();
    let expected = ["train", "test"].map(|split| {
        [format!("tile[cols=vit,rows=vit,split={split}]"), format!("tile[cols=vit,rows=fc,split={split}]")]
    });
    let mut expected = expected.concat();
    expected.sort();
    assert_eq!(changed, expected, "embed's own inputs are other tiles' content, which is told by name here");
    assert!(before.keys().all(|name| after.contains_key(name)));
}

#[test]
fn jobs_that_differ_have_different_keys() {
    let keys = keys(NETWORKS);
    // Tiles of two splits take the same predictions here and have equal parameters.
    let distinct: BTreeSet<&Key> = keys.values().collect();
    assert_eq!(distinct.len(), keys.len() - 3);
}

#[test]
fn a_single_input_that_finds_no_job_is_told() {
    let stages = "
  few: {run: ['true'], each: part in parts, outputs: {x: x}}
  all: {run: ['true'], each: network in networks, inputs: {x: few.x}, outputs: {x: x}}";
    let networks = "{matrix: {arch: [fc, vit]}}, parts: {matrix: {arch: [fc]}}";
    let (_, graph) = unroll(networks, stages);
    let message = graph.unwrap_err().to_string();
    assert!(
        message.starts_with("all[arch=vit]: input `x` takes 0 jobs of stage few, expected one"),
        "{message}"
    );
}

#[test]
fn more_jobs_than_anybody_can_want_are_refused_before_they_fill_the_memory() {
    let seeds: Vec<String> = (0..4000).map(|seed| seed.to_string()).collect();
    let networks = format!("{{matrix: {{seed: [{}]}}}}", seeds.join(", "));
    let stages = r#"
  zero: {run: ["true"], each: a in networks, params: {a: $a}, outputs: {x: x}}
  one: {run: ["true"], each: [a in networks, "b in networks by seed"], inputs: {x: "zero[b].x", y: zero.x}, outputs: {x: x}}"#;
    let (_, graph) = unroll(&networks, stages);
    let message = graph.unwrap_err().to_string();
    assert_eq!(message, "stage one has more than 10000000 jobs; take a smaller sweep, or a clause less");
}
