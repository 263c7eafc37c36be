//! The example with stages in Rust and in Python, and the first one of the docs, as somebody who copies them runs them.

use std::path::Path;
use std::process::Command;

use crate::python::{self, skipped};
use crate::scratch::Scratch;

/// A copy of an example.
fn copied(name: &str) -> Scratch {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let scratch = Scratch::new(&[]);
    copy(&folder, &folder, &scratch);
    scratch
}

fn copy(root: &Path, folder: &Path, to: &Scratch) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
        match name {
            ".ribbon" | ".venv" | "outputs" | "target" => {}
            _ if path.is_dir() => copy(root, &path, to),
            _ => to.write(name, &std::fs::read_to_string(&path).unwrap()),
        }
    }
}

#[test]
fn the_smallest_pipeline_of_the_docs_runs() {
    let docs = include_str!("../../docs/PIPELINE.md");
    let pipeline = docs.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let smallest = Scratch::new(&[("pipeline.yaml", pipeline), ("animals.txt", "cat\ndog\ncat\n")]);
    assert_eq!(smallest.run("").made(), "count 1");
    assert_eq!(smallest.read("outputs/main/cats.txt"), "2\n");
}

#[test]
fn stages_in_rust_and_in_plain_python_make_a_figure() {
    if !python::succeeds(Command::new("python3").arg("--version")) {
        return skipped("a test of examples/python-figure");
    }
    let example = copied("python-figure");
    let run = example.run("sketch");
    assert_eq!((run.code, run.made().as_str()), (Some(0), "walk 3, sketch 1"), "{}", run.err);
    let sketch = example.read("outputs/small/sketch.svg");
    assert!(sketch.starts_with("<svg ") && sketch.contains(">drift 0.05</text>"), "{sketch}");
    example.edit("sketch.py", "#4878d0", "#6acc64");
    assert_eq!(example.run("sketch").made(), "sketch 1");
    assert_eq!(example.run("sketch --set steps=10").made(), "walk 3, sketch 1");
}

#[test]
fn a_figure_of_a_virtual_environment_is_drawn_again_when_its_code_or_its_pinned_versions_change() {
    let example = copied("python-figure");
    let Some(environment) = python::environment() else {
        return skipped("a test of examples/python-figure");
    };
    std::os::unix::fs::symlink(environment, example.path(".venv")).unwrap();
    let run = example.run("figure");
    assert_eq!((run.code, run.made().as_str()), (Some(0), "walk 3, figure 1"), "{}", run.err);
    assert!(!run.out.contains("no-sandbox") && !run.err.contains("Landlock"), "{}", run.err);
    let figure = example.read("outputs/small/figure.svg");
    assert!(figure.contains("<svg ") && figure.contains("drift 0.05"), "{figure}");
    example.run("--force figure");
    assert_eq!(example.read("outputs/small/figure.svg"), figure, "the same bits again");
    assert_eq!(example.run("figure").made(), "nothing");
    example.edit("requirements.lock", "cycler==", "# cycler\ncycler==");
    assert_eq!(example.run("figure").made(), "figure 1");
    example.edit("plot.py", "linewidth=1", "linewidth=2");
    assert_eq!(example.run("figure").made(), "figure 1");
    let why = example.ribbon("why figure --set steps=500").out;
    assert!(why.starts_with("3 walk jobs: params.steps 400 -> 500\n"), "{why}");
    // What is installed is not read unless it is declared.
    example.edit("pipeline.yaml", "    reads: [.venv]\n", "    env: [LANG]\n");
    let run = example.run("figure");
    assert_eq!((run.code, run.count("failed")), (Some(1), 1), "{}", run.err);
}

/// What the two pipelines share has to be the same: only where predictions come from differs, which factors vary, and that
/// there are no other starts.
#[test]
fn the_stages_of_own_predictions_are_those_of_the_paper() {
    let read = |path: &str| -> serde_yaml::Value {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let text = std::fs::read_to_string(path).unwrap();
        // What a profile may lack, this pipeline does.
        let text: String =
            text.lines().filter(|line| !line.ends_with("?\"")).map(|line| line.to_owned() + "\n").collect();
        let text = text.replace("predict[", "import[").replace("prepare.data", "labels.data");
        serde_yaml::from_str(&text.replace("batch, decay, augment]", "batch]")).unwrap()
    };
    let (own, paper) = (read("examples/own-predictions/pipeline.yaml"), read("pipeline.yaml"));
    let mut shared = 0;
    for (name, stage) in own["stages"].as_mapping().unwrap() {
        let name = name.as_str().unwrap();
        if !["labels", "import"].contains(&name) {
            assert_eq!(Some(stage), paper["stages"].get(name), "{name}");
            shared += 1;
        }
    }
    assert!(shared >= 12, "{shared}");
}
