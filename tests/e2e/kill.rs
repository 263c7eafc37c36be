//! Killing: what is finished stays, and nothing is left running or lying about.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::scratch::{Scratch, wait_until};
use crate::tiny;

const RIBBON: &str = env!("CARGO_BIN_EXE_ribbon");

/// No process of a job is left.
fn wait_for_jobs_to_be_gone(project: &Scratch) {
    let processes = fs::read_to_string(project.home("pids")).unwrap();
    for process in processes.lines() {
        wait_until("the job's process ends", || !Path::new("/proc").join(process).exists());
    }
}

/// How many jobs need not run, by `run --dry-run`: `would run 5; 7 up to date`.
fn up_to_date(project: &Scratch) -> usize {
    let told = project.ribbon("run --dry-run").out;
    let (_, last) = told.rsplit_once("; ").unwrap();
    last.strip_suffix(" up to date\n").unwrap().parse().unwrap()
}

fn assert_no_scratch_is_left(project: &Scratch) {
    let left = fs::read_dir(project.path(".ribbon/store/tmp")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn after_a_kill_only_what_was_running_is_done_again_and_the_result_is_equal() {
    let undisturbed = tiny::slow();
    assert_eq!(undisturbed.run("").made(), "slow 12, join 1");
    let project = tiny::slow();
    let moments = [1, 4, 5, 9, 12];
    for begun in moments {
        let run = project.start("run -j 2");
        wait_until("jobs have begun", || project.told_so_far().len() >= begun);
        run.signal(Signal::SIGKILL);
        assert_eq!(run.end().code, None);
        wait_for_jobs_to_be_gone(&project);
        let begun: BTreeSet<String> = project.told_so_far().into_iter().collect();
        let finished = up_to_date(&project);
        assert!(finished + 2 >= begun.len(), "of {} begun jobs only {finished} are finished", begun.len());
    }
    assert_eq!(project.run("-j 2").code, Some(0));
    let again = project.told().len() - 12;
    assert!(again <= 2 * moments.len(), "{again} jobs were done again after {} kills", moments.len());
    assert_eq!(project.read("outputs/quick/all.txt"), undisturbed.read("outputs/quick/all.txt"));
    assert_eq!(project.read("pipeline.lock"), undisturbed.read("pipeline.lock"));
    assert_no_scratch_is_left(&project);
}

#[test]
fn an_interrupt_ends_the_jobs_and_keeps_what_is_finished() {
    let project = tiny::slow();
    fs::write(project.home("hold-7"), "").unwrap();
    // Whoever starts these tests in the background may have them ignore it.
    let run = project.start_by(&["env", "--default-signal=INT", RIBBON], "", "run --json -j 2");
    wait_until("all jobs have begun", || project.told_so_far().len() == 12);
    run.signal(Signal::SIGINT);
    let run = run.end();
    assert_eq!((run.code, run.count("failed")), (Some(130), 0), "{}", run.err);
    assert_eq!(run.events().pop().unwrap()["interrupted"], true);
    wait_for_jobs_to_be_gone(&project);
    assert_no_scratch_is_left(&project);
    let finished = run.count("ran");
    assert!((10..=11).contains(&finished), "{finished} of 12, two at once");
    assert_eq!(project.read("pipeline.lock").lines().count(), 1 + finished, "a line each, after the header");
    fs::remove_file(project.home("hold-7")).unwrap();
    assert_eq!(project.run("").count("ran"), 13 - finished);
}

#[test]
fn a_request_to_terminate_is_an_interrupt_too() {
    let project = tiny::slow();
    fs::write(project.home("hold-1"), "").unwrap();
    let run = project.start("run --json -j 1");
    wait_until("the job has begun", || project.told_so_far().len() == 1);
    run.signal(Signal::SIGTERM);
    let run = run.end();
    assert_eq!((run.code, run.count("ran")), (Some(130), 0), "{}", run.err);
    wait_for_jobs_to_be_gone(&project);
}

#[test]
fn a_run_that_was_started_to_outlive_its_terminal_does() {
    let project = tiny::slow();
    fs::write(project.home("hold-1"), "").unwrap();
    let run = project.start_by(&["env", "--ignore-signal=HUP", RIBBON], "", "run --json -j 1");
    wait_until("the job has begun", || project.told_so_far().len() == 1);
    run.signal(Signal::SIGHUP);
    fs::remove_file(project.home("hold-1")).unwrap();
    let run = run.end();
    assert_eq!((run.code, run.count("ran")), (Some(0), 13), "{}", run.err);
}

#[test]
fn a_signal_to_all_processes_of_a_run_interrupts_it() {
    let slow = tiny::slow();
    for held in 1..=12 {
        fs::write(slow.home(&format!("hold-{held}")), "").unwrap();
    }
    let run = slow.start("run --json -j 2");
    wait_until("two jobs run", || slow.told_so_far().len() == 2);
    // As batch systems do it: what a run has started first.
    let children = |parent: i32| {
        let text = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        let others = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        let all = others.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
        all.chain([text])
            .collect::<Vec<_>>()
            .join(" ")
            .split_whitespace()
            .map(|n| n.parse().unwrap())
            .collect()
    };
    let mut tree: Vec<i32> = vec![run.id()];
    for place in 0.. {
        let Some(&parent) = tree.get(place) else { break };
        let below: Vec<i32> = children(parent);
        tree.extend(below);
    }
    tree.dedup();
    assert!(tree.len() >= 5, "a run, two launchers, two jobs: {tree:?}");
    for process in tree.iter().rev() {
        let _ =
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(*process), nix::sys::signal::Signal::SIGTERM);
    }
    let run = run.end();
    let summary = run.events().pop().unwrap();
    assert_eq!(
        (run.code, summary["interrupted"].as_bool(), run.count("failed")),
        (Some(130), Some(true), 0),
        "{run:?}"
    );
}
