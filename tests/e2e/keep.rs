//! `keep: false`: the content of intermediates goes when all that takes it is up to date, and comes back when needed.

use std::path::PathBuf;

use crate::scratch::Scratch;
use crate::tiny::{self, WHOLE_PAPER};

/// The paper whose networks are intermediates.
fn paper() -> Scratch {
    let paper = tiny::paper();
    paper.edit(
        "pipeline.yaml",
        "    outputs: {weights: weights.txt}\n",
        "    outputs: {weights: weights.txt}\n    keep: false\n",
    );
    paper
}

fn networks(paper: &Scratch) -> Vec<PathBuf> {
    ["fc,seed=1", "fc,seed=2", "vit,seed=1", "vit,seed=2"]
        .map(|labels| paper.object(&format!("train[arch={labels}]")))
        .into_iter()
        .filter(|object| object.exists())
        .collect()
}

#[test]
fn the_content_goes_and_all_is_up_to_date_without_it() {
    let paper = paper();
    assert_eq!(paper.run("").made(), WHOLE_PAPER);
    assert!(networks(&paper).is_empty());
    assert!(paper.object("predict[arch=fc,seed=1]").exists());
    assert_eq!(paper.ribbon("status --check").code, Some(0));
    assert_eq!(paper.run("").made(), "nothing");
    assert_eq!(paper.run("train").made(), "nothing", "nobody needs the content");
    assert_eq!(paper.ribbon("verify").code, Some(0));
    assert!(networks(&paper).is_empty());
}

#[test]
fn an_index_that_is_lost_and_written_again_knows_of_content_that_went() {
    let paper = paper();
    paper.run("");
    paper.remove(".ribbon/store/index");
    // Which would tell the keys as well.
    paper.remove("pipeline.lock");
    assert_eq!(paper.ribbon("verify").code, Some(0));
    assert_eq!(paper.run("").made(), "nothing");
    assert!(networks(&paper).is_empty());
}

#[test]
fn it_comes_back_for_what_needs_it_and_goes_again() {
    let paper = paper();
    paper.run("");
    paper.told();
    paper.edit("pipeline.yaml", "s/trained/predicts/", "s/trained/foresees/");
    assert_eq!(paper.run("predict[seed=1]").made(), "train 2, predict 2");
    assert_eq!(paper.told(), ["predict", "predict", "train fc 1", "train vit 1"]);
    assert_eq!(paper.run("").made(), "train 2, predict 2, distance 3, embed 1, figure 1");
    assert!(networks(&paper).is_empty());
}

#[test]
fn the_word_changes_no_key_and_drops_what_is_there_already() {
    let paper = tiny::paper();
    paper.run("");
    let lock = paper.read("pipeline.lock");
    assert_eq!(networks(&paper).len(), 4);
    paper.edit(
        "pipeline.yaml",
        "    outputs: {weights: weights.txt}\n",
        "    outputs: {weights: weights.txt}\n    keep: false\n",
    );
    assert_eq!(paper.run("").made(), "nothing");
    assert!(networks(&paper).is_empty());
    assert_eq!(paper.read("pipeline.lock"), lock);
}

#[test]
fn content_waits_for_consumers_that_this_run_is_not_about() {
    let paper = paper();
    paper.edit("pipeline.yaml", "  distance:\n", "  other:\n    run: [cp, '{inputs.weights}', '{outputs.copy}']\n    each: network in networks\n    inputs: {weights: train.weights}\n    outputs: {copy: copy.txt}\n  distance:\n");
    assert_eq!(paper.run("predict").made(), "prepare 1, train 4, predict 4");
    assert_eq!(networks(&paper).len(), 4);
    assert_eq!(paper.run("other").made(), "other 4");
    assert_eq!(networks(&paper).len(), 4, "equal content that is no intermediate is needed");
    let copies = paper.object("other[arch=fc,seed=1]");
    assert!(networks(&paper).contains(&copies));
}

#[test]
fn what_is_published_stays() {
    let paper = paper();
    paper.edit(
        "pipeline.yaml",
        "    keep: false\n",
        "    keep: false\n    publish: {weights: 'weights/{arch}-{seed}.txt'}\n",
    );
    paper.run("");
    assert_eq!(networks(&paper).len(), 4);
    paper.remove("outputs");
    assert_eq!(paper.run("").made(), "nothing");
    assert!(paper.exists("outputs/quick/weights/fc-1.txt"));
}

#[test]
fn a_failed_consumer_keeps_its_input_for_the_next_try() {
    let paper = paper();
    paper.edit(
        "pipeline.yaml",
        "echo predict >>",
        "grep -q fc.1 {inputs.weights} && exit 1; echo predict >>",
    );
    let failed = paper.run("--keep-going");
    assert_eq!(
        (failed.made().as_str(), failed.count("failed")),
        ("prepare 1, train 4, predict 3, distance 1", 1)
    );
    assert_eq!(networks_made(&paper), 1);
}

/// Networks whose content is in the store; not all of them have a line in the lock of a run that failed.
fn networks_made(paper: &Scratch) -> usize {
    let lock = paper.read("pipeline.lock");
    let object = |line: &str| {
        let hash = line.split(' ').nth(3)?.split(['=', ':']).nth(1)?.to_owned();
        Some(paper.path(".ribbon/store/objects").join(&hash[..2]).join(&hash[2..]))
    };
    let trained = lock.lines().filter(|line| line.starts_with("quick train["));
    trained.filter(|line| object(line).is_some_and(|path| path.exists())).count()
}

#[test]
fn two_clones_at_once_make_each_intermediate_once() {
    let mut one = paper();
    one.set("RIBBON_STORE", one.path("../store").to_str().unwrap());
    let two = one.clone_as("two");
    let running = [one.start("run --json -j 2"), two.start("run --json -j 2")];
    let [first, second] = running.map(|run| run.end());
    assert_eq!((first.code, second.code), (Some(0), Some(0)), "{}{}", first.err, second.err);
    assert_eq!((first.count("ran") + second.count("ran"), one.told().len()), (14, 14));
    // Two that ended with it at once left it to each other at worst.
    assert_eq!(one.run("").made(), "nothing");
    let objects = one.path("../store/objects");
    let hash =
        |job: &str| one.object(job).strip_prefix(one.path(".ribbon/store/objects")).unwrap().to_owned();
    assert!(!objects.join(hash("train[arch=fc,seed=1]")).exists());
    assert!(objects.join(hash("predict[arch=fc,seed=1]")).exists());
}

#[test]
fn a_share_gets_the_records_of_intermediates_and_others_need_no_content() {
    for words in ["run --push", "run; push"] {
        let paper = paper();
        paper.write("pipeline.yaml", &(paper.read("pipeline.yaml") + "share: ../lab\ntrust: any\n"));
        for command in words.split("; ") {
            let run = paper.ribbon(command);
            assert_eq!(run.code, Some(0), "{command}: {run:?}");
        }
        let clone = paper.clone_as("clone");
        clone.remove("pipeline.lock");
        assert_eq!(clone.run("").made(), "nothing", "{words}");
        assert_eq!(clone.read("pipeline.lock"), paper.read("pipeline.lock"));
        assert!(networks(&clone).is_empty());
    }
}
