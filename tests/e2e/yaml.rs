//! Breaking YAML: every mistake is told with file, line, column and what is near.

use crate::tiny;

/// Replaces a piece of the paper's pipeline and expects this message and nothing run.
fn breaks(from: &str, to: &str, message: &str) {
    let paper = tiny::paper();
    paper.edit("pipeline.yaml", from, to);
    let run = paper.ribbon("run");
    assert_eq!(run.code, Some(2), "{}", run.err);
    assert!(run.err.contains(message), "no `{message}` in\n{}", run.err);
    assert_eq!(paper.told(), [""; 0]);
    assert!(!paper.exists("pipeline.lock"));
}

#[test]
fn an_unknown_key_is_told_with_the_nearest_one() {
    breaks("    outputs: {points:", "    ouputs: {points:", "pipeline.yaml:42:5: ");
    breaks("    outputs: {points:", "    ouputs: {points:", "did you mean `outputs`?");
}

#[test]
fn an_unknown_reference_is_told_with_the_nearest_one() {
    breaks("data: prepare.data", "data: prepar.data", "did you mean `prepare`?");
    breaks("data: prepare.data", "data: prepare.dat", "did you mean `data`?");
    breaks("title: $title", "title: $titel", "did you mean `title`?");
    breaks("in networks by arch", "in network by arch", "did you mean `networks`?");
    breaks("seed: $network.seed", "seed: $network.sede", "did you mean `seed`?");
}

#[test]
fn a_wrong_type_a_cycle_and_a_missing_file_are_told() {
    breaks("arch: [fc, vit]", "arch: fc", "pipeline.yaml:");
    breaks(
        "inputs: {images: ./images.txt}",
        "inputs: {images: ./images.txt, loop: figure.svg}",
        "stages wait for each other's outputs",
    );
    breaks("./images.txt", "./image.txt", "image.txt");
    breaks("code: [train.sh]", "code: [trian.sh]", "trian.sh");
}

#[test]
fn an_input_of_several_jobs_and_a_path_published_twice_are_told() {
    let taken = "pipeline.yaml:49:20: `tables/points.txt` is taken: embed.points is published as";
    breaks("publish: {svg: figures/figure.svg}", "publish: {svg: tables/points.txt}", taken);
    breaks(
        "publish: {points: tables/points.txt}",
        "publish: {points: figures}",
        "`figures/figure.svg` is taken",
    );
    breaks("points: embed.points", "points: predict.predictions", "this leaves several jobs of `predict`");
}

#[test]
fn all_mistakes_of_a_kind_are_told_at_once() {
    let paper = tiny::paper();
    paper.edit("pipeline.yaml", "title: $title", "title: $titel");
    paper.edit("pipeline.yaml", "rate: $network.rate", "rate: $network.rat");
    let run = paper.ribbon("status");
    assert_eq!(run.code, Some(2));
    assert_eq!(run.err.matches("did you mean").count(), 2, "{}", run.err);
}
