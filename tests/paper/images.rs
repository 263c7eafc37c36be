//! Somebody's own images, from folders of classes to figures, with the programs that the paper has built.

use std::fs;
use std::os::unix::fs::symlink;

use super::{FIGURES, OTHERS, Ran, Workspace};

/// Networks that count as trained wherever they end. Their source is told no hash at first.
const PROFILE: &str = "
  images:
    about: four networks on pictures of figures
    params:
      untrained: 1
      data:
        kind: image-folder
        name: figures
        source: figures
        train: train
        test: test
        size: {resize: 18, crop: 16}
        mean: [0.9, 0.9, 0.9]
        std: [0.2, 0.2, 0.2]
    sweeps:
      networks:
        matrix: {arch: [resnet-18, vit], optimizer: [adam], batch: [5], seed: [42, 43]}
        settings:
          - set: {epochs: 30, augment: false, decay: 0, rate: 0.005}
          - {when: {arch: resnet-18}, set: {model: {kind: resnet, depth: 18, planes: 8}}}
          - {when: {arch: vit}, set: {model: {kind: vit, patch: 8, dim: 32, depth: 1, heads: 2, head_dim: 16, mlp: 32}}}
";

fn run(workspace: &Workspace, arguments: &[&str]) -> (Ran, bool) {
    workspace.run_in("", &[&["--profile", "images"], arguments].concat())
}

/// What is said of the one job that failed, and the last lines of its log.
fn failure((ran, is_well): (Ran, bool)) -> String {
    let failed: Vec<String> =
        ran.events.iter().filter(|event| event["event"] == "failed").map(ToString::to_string).collect();
    assert!(!is_well && failed.len() == 1, "{:?}", ran.events);
    failed[0].clone()
}

/// A step of the paper's test, in its workspace: the figures drawn before are the images, in three classes, five of each
/// for training and one for testing.
pub fn folders_of_images_get_the_same_figures(workspace: &Workspace) {
    let data = workspace.path("data/figures");
    for (i, figure) in FIGURES.into_iter().chain(OTHERS).take(18).enumerate() {
        let split = if i < 15 { "train" } else { "test" };
        let class = data.join(split).join(["one", "three", "two"][i % 3]);
        fs::create_dir_all(&class).unwrap();
        fs::write(class.join(format!("{figure}.png")), workspace.figure(&format!("{figure}.png"))).unwrap();
    }
    workspace.edit("pipeline.yaml", "\n  cifar10:\n", &format!("{PROFILE}\n  cifar10:\n"));

    // An image that is a link to elsewhere is refused by the sandbox, by its path.
    let (image, elsewhere) = (data.join("train/two/spectrum.png"), workspace.path("spectrum.png"));
    fs::rename(&image, &elsewhere).unwrap();
    symlink(&elsewhere, &image).unwrap();
    let refused = failure(run(workspace, &["prepare"]));
    assert!(refused.contains("train/two/spectrum.png: Permission denied"), "{refused}");
    assert!(refused.contains("hint: the sandbox lets a job open its inputs"), "{refused}");
    fs::remove_file(&image).unwrap();
    fs::rename(&elsewhere, &image).unwrap();

    // Which images they are is said first.
    let asked = failure(run(workspace, &["prepare"]));
    let hash = &asked.split_once("say `sha256: ").expect("it says what to do").1[..64];
    workspace.edit(
        "pipeline.yaml",
        "source: figures\n",
        &format!("source: figures\n        sha256: {hash}\n"),
    );
    let before = workspace.programs().len();
    let (made, is_well) = run(workspace, &[]);
    assert!(is_well, "{:?}", made.events);
    assert_eq!(workspace.programs().len(), before);
    let stages = made.stages();
    for (stage, count) in [("prepare", 1), ("train", 4), ("predict", 4), ("distance", 6)] {
        assert!(stages.contains(&(stage.to_owned(), count)), "{stage}: {stages:?}");
    }
    for figure in FIGURES {
        let figure = workspace.path(&format!("outputs/images/figures/{figure}.png"));
        assert!(fs::read(&figure).unwrap().starts_with(b"\x89PNG"), "{}", figure.display());
    }
    let report = workspace.page("", "images", "report");
    assert_eq!(report.matches("<img ").count(), FIGURES.len());
    assert_eq!(run(workspace, &[]).0.count(), 0);
}
