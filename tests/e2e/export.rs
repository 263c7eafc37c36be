//! Exporting: published outputs as an RO-Crate, with all that they came from.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::python;
use crate::scratch::Scratch;
use crate::tiny;

/// The entities of an exported crate.
fn entities(paper: &Scratch, folder: &str) -> Vec<Value> {
    let metadata: Value =
        serde_json::from_str(&paper.read(&format!("{folder}/ro-crate-metadata.json"))).unwrap();
    assert_eq!(metadata["@context"], "https://w3id.org/ro/crate/1.1/context");
    metadata["@graph"].as_array().unwrap().clone()
}

fn find<'a>(entities: &'a [Value], id: &str) -> &'a Value {
    entities.iter().find(|entity| entity["@id"] == id).unwrap_or_else(|| panic!("no {id} in {entities:#?}"))
}

/// The ids that a property refers to.
fn refs(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(list) => list.iter().flat_map(refs).collect(),
        Value::Object(object) => object.get("@id").and_then(Value::as_str).into_iter().collect(),
        _ => Vec::new(),
    }
}

#[test]
fn a_crate_holds_published_files_and_every_job_that_led_to_them() {
    let paper = tiny::paper();
    paper.run("");
    let told = paper.ribbon("export ro-crate crate");
    assert_eq!((told.code, told.out.as_str()), (Some(0), "2 published outputs in crate\n"), "{}", told.err);
    for path in ["outputs/quick/figures/figure.svg", "outputs/quick/tables/points.txt", "pipeline.lock"] {
        assert_eq!(paper.read(&format!("crate/{path}")), paper.read(path));
    }
    let all = entities(&paper, "crate");
    let ids: BTreeSet<&str> = all.iter().map(|entity| entity["@id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), all.len(), "each id once");
    let outside = |id: &&str| !ids.contains(id) && !id.starts_with("https://w3id.org/ro/");
    let dangling: Vec<&str> =
        all.iter().flat_map(|it| it.as_object().unwrap().values()).flat_map(refs).filter(outside).collect();
    assert_eq!(dangling, [""; 0], "every reference has its entity");

    let root = find(&all, "./");
    assert_eq!(refs(&root["mainEntity"]), ["pipeline.yaml"]);
    assert!(refs(&root["conformsTo"]).contains(&"https://w3id.org/ro/wfrun/provenance/0.5"));
    let actions = all.iter().filter(|entity| entity["@type"] == "CreateAction").count();
    assert_eq!(actions, 14 + 1, "each job, and the run");
    assert_eq!(refs(&find(&all, "#run")["result"]).len(), 2);

    // Back from the figure to the data.
    let figure = find(&all, "#job/figure");
    assert_eq!(refs(&figure["result"]), ["outputs/quick/figures/figure.svg"]);
    assert_eq!(figure["identifier"], format!("ribbon key {}", paper.locked("figure")[2]));
    assert_eq!(figure["endTime"].as_str().unwrap().len(), "2026-01-01T00:00:00.000+00:00".len());
    let inputs = refs(&figure["object"]);
    assert!(inputs.contains(&"outputs/quick/tables/points.txt"), "{inputs:?}");
    let title = inputs.iter().find(|id| id.starts_with("#setting/params.title/")).unwrap();
    assert_eq!(find(&all, title)["value"], "Networks");
    let train = find(&all, "#job/train%5Barch=fc,seed=1%5D");
    let weights =
        format!("#artifact/{}", &paper.locked("train[arch=fc,seed=1]")[3]["weights=".len()..][..64]);
    assert_eq!(refs(&train["result"]), [weights.as_str()]);
    assert!(refs(&find(&all, "#job/predict%5Barch=fc,seed=1%5D")["object"]).contains(&weights.as_str()));
    let images = find(&all, "#source/images.txt");
    assert_eq!(images["identifier"], format!("blake3:{}", blake3::hash(b"cat dog ship\n").to_hex()));
    assert!(refs(&find(&all, "#job/prepare")["object"]).contains(&"#source/images.txt"));
}

/// The RO-Crate community's own validator, and the terms of the version of RO-Crate that ours are.
const VALIDATOR: &str = "roc-validator==0.13.0\nrocrate==0.13.0\n";

#[test]
fn a_crate_is_valid_by_the_profile_of_provenance_run_crates() {
    let Some(environment) = python::with(VALIDATOR, "rocrate, rocrate_validator") else {
        return python::skipped("the validity of RO-Crates");
    };
    let validate = |paper: &Scratch| {
        let mut python = Command::new(environment.join("bin/python"));
        python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/export.py"));
        let output = python.arg(paper.path("crate")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let paper = tiny::paper();
    paper.run("");
    assert_eq!(paper.ribbon("export ro-crate crate").code, Some(0));
    assert_eq!(validate(&paper), "");
    // It does look.
    let path = "crate/ro-crate-metadata.json";
    paper.write(path, &paper.read(path).replace("\"instrument\"", "\"agent\""));
    assert_ne!(validate(&paper), "");
}

#[test]
fn a_crate_of_a_target_holds_its_outputs_alone_and_is_the_same_again() {
    let paper = tiny::paper();
    paper.run("");
    assert_eq!(paper.ribbon("export ro-crate one embed").out, "1 published outputs in one\n");
    assert_eq!(paper.ribbon("export ro-crate deep/two embed").code, Some(2), "no folder to put it in");
    assert_eq!(paper.ribbon("export ro-crate two embed").code, Some(0));
    assert_eq!(paper.read("one/ro-crate-metadata.json"), paper.read("two/ro-crate-metadata.json"));
    assert!(!paper.exists("one/outputs/quick/figures"));
    assert!(entities(&paper, "one").iter().all(|entity| entity["@id"] != "#job/figure"));
    let nothing = paper.ribbon("export ro-crate three train");
    assert!(nothing.err.contains("the target publishes nothing"), "{}", nothing.err);
}

#[test]
fn what_is_accepted_says_so() {
    let paper = tiny::paper();
    paper.run("");
    let before = paper.locked("figure")[2].clone();
    paper.edit("pipeline.yaml", "title: Networks", "title: Nets");
    paper.ribbon("accept figure --because=synonym");
    paper.ribbon("export ro-crate crate");
    let all = entities(&paper, "crate");
    let text = find(&all, "#job/figure")["description"].as_str().unwrap();
    assert!(text.starts_with(&format!("Its outputs were accepted from key {before} on ")), "{text}");
    assert!(text.contains(": synonym. Ran on cpu ("), "{text}");
}

#[test]
fn nothing_is_exported_that_is_stale_or_gone_and_no_folder_is_touched_that_is_taken() {
    let paper = tiny::paper();
    let stale = paper.ribbon("export ro-crate crate");
    assert_eq!(stale.code, Some(2));
    assert!(stale.err.contains("prepare is not up to date"), "{}", stale.err);
    paper.run("");
    paper.write("taken/file.txt", "mine\n");
    let taken = paper.ribbon("export ro-crate taken");
    assert!(taken.err.contains("taken is not an empty folder"), "{}", taken.err);
    std::fs::remove_file(paper.object("figure")).unwrap();
    let gone = paper.ribbon("export ro-crate crate");
    let expected =
        "the content of outputs/quick/figures/figure.svg is not in the store; `ribbon run --force 'figure'`";
    assert!(gone.err.contains(expected), "{}", gone.err);
    assert!(!paper.exists("crate"), "nothing half-written");
}
