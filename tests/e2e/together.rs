//! Together: runs at the same time in one workspace, and in clones that share a store.

use std::fs;

use crate::scratch::{Scratch, wait_until};
use crate::tiny;

#[test]
fn a_second_run_in_a_workspace_waits_and_says_so() {
    let project = tiny::slow();
    fs::write(project.home("hold-1"), "").unwrap();
    let first = project.start("run --json");
    wait_until("the first run is at work", || project.told_so_far().contains(&"1".to_owned()));
    let second = project.start("run --json");
    wait_until("the second run says that it waits", || second.err().contains("waiting for another run in"));
    fs::remove_file(project.home("hold-1")).unwrap();
    let (first, second) = (first.end(), second.end());
    assert_eq!((first.code, first.made().as_str()), (Some(0), "slow 12, join 1"), "{}", first.err);
    assert_eq!((second.code, second.made().as_str()), (Some(0), "nothing"), "{}", second.err);
    assert_eq!(project.told().len(), 12);
}

#[test]
fn a_run_that_is_not_to_wait_ends_when_another_is_at_work() {
    let project = tiny::slow();
    fs::write(project.home("hold-1"), "").unwrap();
    let first = project.start("run --json");
    wait_until("the first run is at work", || project.told_so_far().contains(&"1".to_owned()));
    let second = project.ribbon("run --no-wait");
    assert_eq!(second.code, Some(1));
    assert!(second.err.starts_with("ribbon: another run is at work in "), "{}", second.err);
    fs::remove_file(project.home("hold-1")).unwrap();
    assert_eq!(first.end().code, Some(0));
    assert_eq!(project.run("--no-wait").made(), "nothing");
}

#[test]
fn two_clones_that_share_a_store_run_each_job_once() {
    let mut one = tiny::slow();
    one.set("RIBBON_STORE", one.path("../store").to_str().unwrap());
    let two = one.clone_as("two");
    let running = [one.start("run --json -j 2"), two.start("run --json -j 2")];
    let [first, second] = running.map(|run| run.end());
    assert_eq!((first.code, second.code), (Some(0), Some(0)), "{}{}", first.err, second.err);
    assert_eq!(first.count("ran") + second.count("ran"), 13);
    assert_eq!(one.told(), ["1", "10", "11", "12", "2", "3", "4", "5", "6", "7", "8", "9"]);
    assert_eq!(one.read("outputs/quick/all.txt"), two.read("outputs/quick/all.txt"));
    assert_eq!(one.read("pipeline.lock"), two.read("pipeline.lock"));
}

#[test]
fn two_profiles_at_once_run_what_they_share_once_and_both_write_their_lines() {
    let paper = tiny::paper();
    let running = ["quick", "paper"].map(|profile| paper.start(&format!("run --json --profile {profile}")));
    let [quick, other] = running.map(|run| run.end());
    assert_eq!((quick.code, other.code), (Some(0), Some(0)), "{}{}", quick.err, other.err);
    assert_eq!((quick.count("ran") + other.count("ran"), paper.told().len()), (14, 14));
    assert_eq!(paper.read("pipeline.lock").lines().count(), 1 + 2 * 14);
    assert!(
        paper.exists("outputs/paper/figures/figure.svg") && paper.exists("outputs/quick/figures/figure.svg")
    );
}

#[test]
fn a_job_that_another_run_loses_is_taken_over() {
    let mut one = tiny::slow();
    one.set("RIBBON_STORE", one.path("../store").to_str().unwrap());
    let two = one.clone_as("two");
    fs::write(one.home("hold-1"), "").unwrap();
    let first = one.start("run --json -j 1");
    wait_until("the first run is at work", || one.told_so_far() == ["1"]);
    let second = two.start("run -j 1 slow[n=1]");
    wait_until("the second run waits for the job", || {
        second.err().contains("waiting: another run is at slow[n=1]")
    });
    fs::remove_file(one.home("hold-1")).unwrap();
    first.signal(nix::sys::signal::Signal::SIGKILL);
    first.end();
    let second = second.end();
    assert_eq!(second.code, Some(0), "{}", second.err);
    assert!(two.read("pipeline.lock").contains("slow[n=1]"));
}

#[test]
fn two_clones_with_one_store_and_other_code_do_not_mix() {
    let mut one = tiny::slow();
    one.set("RIBBON_STORE", one.path("../store").to_str().unwrap());
    let two = one.clone_as("two");
    two.edit("slow.sh", "number $1", "other $1");
    let running = [one.start("run --json"), two.start("run --json")];
    for run in running.map(|run| run.end()) {
        assert_eq!((run.code, run.made().as_str()), (Some(0), "slow 12, join 1"), "{}", run.err);
    }
    assert!(one.read("outputs/quick/all.txt").starts_with("number 1\n"));
    assert!(two.read("outputs/quick/all.txt").starts_with("other 1\n"));
}

/// Six jobs whose labels are no part of their key; each tells that it runs, and then does this.
pub fn alike(then: &str) -> Scratch {
    let pipeline = format!(
        "version: 1\nprofile: quick\nprofiles: {{quick: {{about: six jobs of one key}}}}\n\
         sweeps: {{six: {{matrix: {{n: [1, 2, 3, 4, 5, 6]}}, settings: [{{set: {{all: same}}}}]}}}}\nstages:\n  \
         alike:\n    each: one in six\n    params: {{all: $one.all}}\n    \
         run: [sh, -c, 'echo alike >> \"$HOME/ran\"; sleep 0.2; {then}']\n    outputs: {{o: o.txt}}\n"
    );
    Scratch::new(&[("pipeline.yaml", &pipeline)])
}

#[test]
fn jobs_of_one_key_in_one_run_wait_for_the_first_of_them() {
    let project = alike("echo > {outputs.o}");
    let run = project.run("-j 3");
    assert_eq!((run.code, run.count("ran"), project.told().len()), (Some(0), 1, 1), "{}", run.err);
    // Those that wait for one that fails have their turn, one after the other.
    let project = alike("exit 1");
    let run = project.run("-j 3 --keep-going");
    assert_eq!((run.code, run.count("failed"), project.told().len()), (Some(1), 6, 6), "{}", run.err);
}

#[test]
fn a_run_takes_what_another_one_has_pushed_since_it_asked() {
    let ada = tiny::slow();
    ada.write("pipeline.yaml", &(ada.read("pipeline.yaml") + "share: ../lab\ntrust: any\n"));
    let mut bob = ada.clone_as("bob");
    fs::create_dir(ada.path("../lab")).unwrap();
    let bobs = |name: &str| ada.home("bobs").join(name);
    fs::create_dir(bobs("")).unwrap();
    bob.set("HOME", bobs("").to_str().unwrap());
    for held in 1..=12 {
        fs::write(bobs(&format!("hold-{held}")), "").unwrap();
    }
    let run = bob.start("run --json -j 1");
    wait_until("bob's first job runs", || bobs("ran").exists());
    assert_eq!(ada.run("--push").count("ran"), 13);
    // Longer than an answer is as good as new.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    for held in 1..=12 {
        fs::remove_file(bobs(&format!("hold-{held}"))).unwrap();
    }
    let run = run.end();
    assert_eq!((run.code, run.count("ran")), (Some(0), 1), "{run:?}");
    assert_eq!(bob.read("outputs/quick/all.txt"), ada.read("outputs/quick/all.txt"));
}
