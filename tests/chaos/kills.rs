//! `kill -9` at random instants: what was finished stays, the next run needs no help, and the result is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use hyperribbon::store::Store;
use nix::sys::signal::Signal;

use crate::dice::Dice;
use crate::pipeline::{JOBS, project};
use crate::scratch::{Scratch, wait_until};

/// How many runs are killed.
const KILLS: usize = 200;

/// Jobs that run at once: as many may be lost by a kill.
const AT_ONCE: usize = 3;

fn result(project: &Scratch) -> [String; 2] {
    ["outputs/quick/figure.txt", "pipeline.lock"].map(|path| project.read(path))
}

/// Takes away what a run has made; now and then also what was built.
fn clean(project: &Scratch, dice: &mut Dice) {
    let built = if dice.below(20) == 0 { &[".ribbon/bin"][..] } else { &[] };
    for path in [".ribbon/store", ".ribbon/memo", "outputs", "pipeline.lock"].iter().chain(built) {
        let path = project.path(path);
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
    project.told();
}

#[test]
fn two_hundred_kills_lose_nothing_that_was_finished() {
    let mut dice = Dice::new();
    let undisturbed = project();
    assert_eq!(undisturbed.run("").count("ran"), JOBS);
    let mut all = undisturbed.told();
    all.sort();
    let expected = result(&undisturbed);

    let project = project();
    project.run("");
    clean(&project, &mut dice);
    let started = Instant::now();
    project.run(&format!("-j {AT_ONCE}"));
    let usual = started.elapsed().as_micros() as u64;
    let (mut killed, mut campaigns) = (0, 0);
    while killed < KILLS {
        clean(&project, &mut dice);
        campaigns += 1;
        let mut kills = 0;
        // Of each kill: how many jobs had begun, and which had come to their end.
        let mut finished: Vec<(usize, BTreeSet<String>)> = Vec::new();
        for _ in 0..1 + dice.below(9) {
            let run = project.start(&format!("run -j {AT_ONCE}"));
            // Early more often than late: a run that goes on with what others have done is soon at its end.
            let latest = usual >> dice.below(3);
            std::thread::sleep(Duration::from_micros(dice.below(latest)));
            run.signal(Signal::SIGKILL);
            match run.end().code {
                None => {
                    kills += 1;
                    wait_until("what it had started is gone", || !is_at_work(&project));
                    finished.push((project.told_so_far().len(), with_a_record(&project)));
                }
                Some(code) => assert_eq!(code, 0, "it was too quick for us"),
            }
        }
        killed += kills;
        let last = project.run(&format!("-j {AT_ONCE}"));
        assert_eq!(last.code, Some(0), "{last:?}");
        assert_eq!(result(&project), expected);
        assert_begun_again_only_what_ran(&project, &all, &finished);
        let damaged = project.ribbon("verify");
        assert_eq!(damaged.code, Some(0), "{damaged:?}");
        assert_eq!(project.run("").count("ran"), 0, "nothing is left to do");
    }
    println!("{killed} kills in {campaigns} runs to the end, {:.1} s", started.elapsed().as_secs_f64());
}

/// Whether a process works in a folder of the project: what a run has started ends a moment after it.
fn is_at_work(project: &Scratch) -> bool {
    let folder = fs::canonicalize(project.path("")).unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let works = |process: fs::DirEntry| fs::read_link(process.path().join("cwd"));
    processes.filter_map(|process| works(process).ok()).any(|place| place.starts_with(&folder))
}

/// What the jobs that have a record told.
fn with_a_record(project: &Scratch) -> BTreeSet<String> {
    let store = Store::open(&project.path(".ribbon/store")).unwrap();
    // `sum[n=3]` told what it had read: `sum slow 3`.
    let told = |job: String| job.replace("sum[n=", "sum slow ").replace("[n=", " ").replace(']', "");
    store.records().map(|record| told(record.job)).collect()
}

/// Every job has run, no more than the running ones of each kill twice, and none that had come to its end.
fn assert_begun_again_only_what_ran(
    project: &Scratch,
    all: &[String],
    finished: &[(usize, BTreeSet<String>)],
) {
    let told = project.told_so_far();
    for (kill, (begun, finished)) in finished.iter().enumerate() {
        assert!(finished.iter().all(|job| all.contains(job)), "{finished:?} instead of some of {all:?}");
        let again: Vec<_> = told[*begun..].iter().filter(|job| finished.contains(*job)).collect();
        assert!(again.is_empty(), "{again:?} had come to their end before kill {kill}, and ran again");
    }
    let mut begun: BTreeMap<String, usize> = BTreeMap::new();
    for job in told {
        *begun.entry(job).or_default() += 1;
    }
    assert!(begun.keys().eq(all.iter()), "{begun:?} instead of {all:?}");
    let (again, kills): (usize, usize) = (begun.values().map(|times| times - 1).sum(), finished.len());
    assert!(again <= kills * AT_ONCE, "after {kills} kills {again} jobs ran again: {begun:?}");
}
