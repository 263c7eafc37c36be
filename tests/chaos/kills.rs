//! `kill -9` at random instants: what was finished stays, the next run needs no help, and the result is the same.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::dice::Dice;
use crate::pipeline::{JOBS, project};
use crate::scratch::Scratch;

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
        for _ in 0..1 + dice.below(9) {
            let run = project.start(&format!("run -j {AT_ONCE}"));
            // Early more often than late: a run that goes on with what others have done is soon at its end.
            let latest = usual >> dice.below(3);
            std::thread::sleep(Duration::from_micros(dice.below(latest)));
            run.signal(Signal::SIGKILL);
            match run.end().code {
                None => kills += 1,
                Some(code) => assert_eq!(code, 0, "it was too quick for us"),
            }
        }
        killed += kills;
        let last = project.run(&format!("-j {AT_ONCE}"));
        assert_eq!(last.code, Some(0), "{last:?}");
        assert_eq!(result(&project), expected);
        assert_begun_again_only_what_ran(&project, &all, kills);
        let damaged = project.ribbon("verify");
        assert_eq!(damaged.code, Some(0), "{damaged:?}");
        assert_eq!(project.run("").count("ran"), 0, "nothing is left to do");
    }
    println!("{killed} kills in {campaigns} runs to the end, {:.1} s", started.elapsed().as_secs_f64());
}

/// Every job has run, and no more than the running ones of each kill twice.
fn assert_begun_again_only_what_ran(project: &Scratch, all: &[String], kills: usize) {
    let mut begun: BTreeMap<String, usize> = BTreeMap::new();
    for job in project.told() {
        *begun.entry(job).or_default() += 1;
    }
    assert!(begun.keys().eq(all.iter()), "{begun:?} instead of {all:?}");
    let again: usize = begun.values().map(|times| times - 1).sum();
    assert!(again <= kills * AT_ONCE, "after {kills} kills {again} jobs ran again: {begun:?}");
}
