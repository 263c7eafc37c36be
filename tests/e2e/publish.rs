//! Publishing: outputs/ is the user's copy, put right by every run.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::tiny;

const FIGURE: &str = "outputs/quick/figures/figure.svg";

#[test]
fn an_edited_figure_is_put_right_without_running_anything() {
    let paper = tiny::paper();
    paper.run("");
    let text = paper.read(FIGURE);
    paper.write(FIGURE, "mine");
    let status = paper.ribbon("status").out;
    assert!(
        status.ends_with("not as published: figures/figure.svg (ribbon run places them)\nup to date\n"),
        "{status}"
    );
    assert_eq!(paper.run("").made(), "nothing");
    assert_eq!(paper.read(FIGURE), text);
}

#[test]
fn deleted_outputs_come_back_without_running_anything() {
    let paper = tiny::paper();
    paper.run("");
    let text = paper.read(FIGURE);
    paper.remove("outputs");
    assert_eq!(paper.run(FIGURE).made(), "nothing");
    assert_eq!(paper.read(FIGURE), text);
    assert_eq!(paper.run("").made(), "nothing");
    assert!(paper.exists("outputs/quick/tables/points.txt"));
}

#[test]
fn no_edit_of_a_published_file_reaches_the_store() {
    let paper = tiny::paper();
    paper.run("");
    let (object, published) = (paper.object("figure"), paper.path(FIGURE));
    let [of_object, of_published] = [&object, &published].map(|path| fs::metadata(path).unwrap());
    assert_ne!(of_object.ino(), of_published.ino());
    assert_eq!((of_object.nlink(), of_object.mode() & 0o777), (1, 0o444));
    assert_eq!(of_published.mode() & 0o200, 0o200, "its user may write it");
    let text = fs::read(&object).unwrap();
    fs::set_permissions(&published, Permissions::from_mode(0o666)).unwrap();
    fs::write(&published, "mine").unwrap();
    assert_eq!(fs::read(&object).unwrap(), text);
}

#[test]
fn a_published_folder_holds_what_its_job_made_and_nothing_else() {
    let paper = tiny::paper();
    paper.edit("pipeline.yaml", "outputs: {svg: figure.svg}", "outputs: {svg: pages/}");
    paper.edit("pipeline.yaml", "publish: {svg: figures/figure.svg}", "publish: {svg: pages}");
    paper.edit(
        "pipeline.yaml",
        "(echo \"$1\"; cat {inputs.points}) > {outputs.svg}",
        "mkdir {outputs.svg}; echo > {outputs.svg}/\"$1\"",
    );
    paper.run("");
    assert!(paper.exists("outputs/quick/pages/Networks"));
    paper.write("outputs/quick/pages/deep/note.txt", "mine");
    assert_eq!(paper.run("--set title=New").made(), "figure 1");
    let pages = fs::read_dir(paper.path("outputs/quick/pages")).unwrap();
    let names: Vec<_> = pages.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["New"], "neither the page of before nor a stray file");
    assert_eq!(paper.ribbon("status --check --set title=New").code, Some(0));
}

#[test]
fn what_becomes_a_folder_takes_the_place_of_the_file_and_back() {
    let paper = tiny::paper();
    paper.run("");
    let file = paper.read("pipeline.yaml");
    paper.edit("pipeline.yaml", "outputs: {svg: figure.svg}", "outputs: {svg: pages/}");
    paper.edit(
        "pipeline.yaml",
        "(echo \"$1\"; cat {inputs.points}) > {outputs.svg}",
        "mkdir {outputs.svg}; echo > {outputs.svg}/one",
    );
    assert_eq!(paper.run("").made(), "figure 1");
    assert!(paper.exists("outputs/quick/figures/figure.svg/one"));
    paper.write("pipeline.yaml", &file);
    assert_eq!(paper.run("").made(), "nothing");
    assert!(paper.path(FIGURE).is_file());
}
