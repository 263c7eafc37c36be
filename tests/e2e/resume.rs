//! Resuming: a job that was interrupted goes on from what it left, and nobody else sees that.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;

use crate::scratch::{Scratch, wait_until};

const PIPELINE: &str = r#"version: 1
profile: quick
profiles: {quick: {about: counting}}
sweeps:
  numbers: {matrix: {n: [1, 2]}}
stages:
  count:
    run: [sh, count.sh, "{params.n}", "{outputs.made}"]
    code: [count.sh]
    each: number in numbers
    params: {n: $number.n}
    outputs: {made: made.txt}
    publish: {made: "{n}.txt"}
    resume: true
"#;

/// Counts to ten times its number; tells each count, and waits before the one that it finds held.
const COUNT: &str = r#"folder=$(sed -n 's/.*"resume":"\([^"]*\)".*/\1/p' "$RIBBON_JOB")
at=$(cat "$folder/at" || echo 0)
while [ $at -lt ${1}0 ]; do
    at=$((at + 1))
    while [ -e "$HOME/hold-$1-$at" ]; do sleep 0.02; done
    [ -e "$HOME/fail-$1-$at" ] && exit 1
    echo $1 $at >> "$HOME/ran"
    if [ "$folder" ]; then echo $at > "$folder/new"; mv "$folder/new" "$folder/at"; fi
done
echo counted to $at > "$2"
"#;

fn counting() -> Scratch {
    Scratch::new(&[("pipeline.yaml", PIPELINE), ("count.sh", COUNT)])
}

/// The folders that jobs have left.
fn left(project: &Scratch) -> Vec<PathBuf> {
    let folders = |path: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(path).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    folders(&project.path(".ribbon/store/resume")).iter().flat_map(|slot| folders(slot)).collect()
}

fn gc(project: &Scratch, words: &str) -> String {
    let gc = project.ribbon(&format!("gc {words}"));
    assert_eq!(gc.code, Some(0), "{gc:?}");
    gc.out
}

#[test]
fn after_a_kill_a_job_does_no_step_twice() {
    let project = counting();
    for (number, at, signal) in [(1, 4, Signal::SIGKILL), (1, 9, Signal::SIGINT), (2, 15, Signal::SIGKILL)] {
        let hold = project.home(&format!("hold-{number}-{at}"));
        fs::write(&hold, "").unwrap();
        let by = ["env", "--default-signal=INT", env!("CARGO_BIN_EXE_ribbon")];
        let run = project.start_by(&by, "", "run --json -j 1");
        let before = format!("{number} {}", at - 1);
        wait_until("the job is there", || project.told_so_far().contains(&before));
        // The step is told before it is kept.
        wait_until("it is kept", || {
            left(&project).iter().any(|it| {
                fs::read_to_string(it.join("at")).is_ok_and(|kept| kept.trim() == (at - 1).to_string())
            })
        });
        run.signal(signal);
        assert_ne!(run.end().code, Some(0));
        fs::remove_file(hold).unwrap();
    }
    let run = project.run("-j 1");
    assert_eq!((run.code, run.made().as_str()), (Some(0), "count 1"), "{}", run.err);
    let expected = |number, to| (1..=to).map(move |at| format!("{number} {at}"));
    assert_eq!(project.told_so_far(), expected(1, 10).chain(expected(2, 20)).collect::<Vec<_>>());
    assert_eq!(project.read("outputs/quick/2.txt"), "counted to 20\n");
    assert!(left(&project).is_empty(), "what is done needs it no more");
}

#[test]
fn a_job_that_failed_goes_on_too_and_one_that_is_only_tried_out_does_not() {
    let project = counting();
    fs::write(project.home("fail-1-7"), "").unwrap();
    let run = project.run("-j 1 --keep-going");
    assert_eq!((run.code, run.made().as_str(), run.count("failed")), (Some(1), "count 1", 1));
    fs::remove_file(project.home("fail-1-7")).unwrap();
    project.told();
    assert_eq!(project.run("").code, Some(0));
    assert_eq!(project.told().len(), 4, "7 to 10");
    assert_eq!(project.ribbon("verify --rerun count").code, Some(0));
    assert_eq!(project.told().len(), 10 + 20);
    assert!(left(&project).is_empty());
}

#[test]
fn what_is_left_of_a_job_goes_when_it_is_old() {
    let project = counting();
    fs::write(project.home("fail-1-3"), "").unwrap();
    fs::write(project.home("fail-2-3"), "").unwrap();
    assert_eq!(project.run("--keep-going").count("failed"), 2);
    let folders = left(&project);
    assert_eq!(folders.len(), 2);
    let age = |path: &Path| {
        let time = SystemTime::now() - Duration::from_secs(15 * 24 * 3600);
        File::open(path).unwrap().set_modified(time).unwrap();
    };
    age(&folders[0].join("at"));
    age(&folders[0]);
    age(&folders[1]);
    assert!(gc(&project, "--dry-run").contains("1 logs and leftovers"));
    assert_eq!(left(&project).len(), 2);
    assert!(gc(&project, "").contains("1 logs and leftovers"));
    assert_eq!(left(&project), [folders[1].clone()], "a file in it is young");

    // Nor what a job has that runs, however old.
    age(&folders[1].join("at"));
    ["fail-1-3", "fail-2-3"].iter().for_each(|name| fs::remove_file(project.home(name)).unwrap());
    ["hold-1-3", "hold-2-3"].iter().for_each(|name| fs::write(project.home(name), "").unwrap());
    let run = project.start("run --json -j 2");
    wait_until("both are at it", || {
        left(&project).iter().filter(|folder| folder.join("at").exists()).count() == 2
    });
    for folder in left(&project) {
        age(&folder.join("at"));
        age(&folder);
    }
    assert!(gc(&project, "--keep-days 0").contains("0 logs and leftovers"));
    ["hold-1-3", "hold-2-3"].iter().for_each(|name| fs::remove_file(project.home(name)).unwrap());
    let run = run.end();
    assert_eq!((run.code, run.count("ran")), (Some(0), 2), "{}", run.err);
}
