//! Stages that misbehave: that job fails with a clear word, and all else is kept.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::run::{stage, why_it_failed};
use crate::skip::skipped;
use crate::tiny;

#[test]
fn a_link_out_of_an_output_folder_is_refused_by_its_name() {
    let project = stage("made/", "mkdir $1; echo > $1/fine; ln -s /etc/hostname $1/link");
    let what = why_it_failed(&project.run(""));
    assert!(what.contains("made/link is a symbolic link"), "{what}");
    assert!(!project.exists("outputs"));
}

#[test]
fn what_a_job_leaves_running_is_killed_and_its_log_says_so() {
    let leave = "setsid sh -c 'echo $$ > \"$HOME/pids\"; exec sleep 300' & while [ ! -s \"$HOME/pids\" ]; do sleep 0.01; done";
    let project = stage("made.txt", &format!("{leave}\necho > $1"));
    let started = Instant::now();
    assert_eq!(project.run("").code, Some(0));
    assert!(started.elapsed() < Duration::from_secs(60));
    let left = fs::read_to_string(project.home("pids")).unwrap();
    assert!(!Path::new("/proc").join(left.trim()).exists());
    let log = project.ribbon("log make").out;
    assert_eq!(log, "[it left a process running, which was killed]\n");
}

#[test]
fn what_a_job_of_a_worker_leaves_running_is_killed_before_the_next_one_begins() {
    let squares = tiny::squares();
    // One that left the process's group and lost its parent, and one that did neither.
    let leave = r#"    if number == 1 {
        let script = "for n in 1 2; do $(test $n = 1 && echo setsid) sh -c 'echo $$ >> \"$HOME/pids\"; exec sleep 300' & done; \
                      test \"$1\" = wait && wait";
        std::process::Command::new("sh").args(["-c", script]).status().unwrap();
        std::process::Command::new("sh").args(["-c", script, "sh", "wait"]).spawn().unwrap();
        let pids = std::env::var("HOME").unwrap() + "/pids";
        while !std::fs::read_to_string(&pids).is_ok_and(|pids| pids.lines().count() == 4) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
    if number == 2 {
        let pids = std::fs::read_to_string(std::env::var("HOME").unwrap() + "/pids").unwrap();
        let is_running = |pid: &str| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z")
        };
        let left: Vec<&str> = pids.lines().filter(|pid| is_running(pid)).collect();
        assert!(left.is_empty(), "{left:?} still run");
    }
"#;
    squares.edit("stages/square/src/main.rs", "    tell(number);\n", &format!("    tell(number);\n{leave}"));
    let run = squares.run("-j 1");
    assert_eq!((run.code, run.made().as_str()), (Some(0), "square 3, total 1"), "{run:?}");
    let log = squares.ribbon("log square[n=1]").out;
    assert_eq!(log, "[it left 5 processes running, which were killed]\n");
    assert_eq!(squares.ribbon("log square[n=2]").out, "");

    // What was killed then, and its parent never asked after, is no other job's when that parent ends.
    squares.edit(
        "stages/square/src/main.rs",
        "    tell(number);\n",
        "    tell(number);\n    if number == 3 { panic!() }\n",
    );
    let _ = fs::remove_file(squares.home("pids"));
    assert_eq!(squares.run("-j 1").made(), "square 2");
    let log = squares.ribbon("log square[n=3]").out;
    assert!(log.contains("panicked") && !log.contains("it left"), "{log}");
}

#[test]
fn a_job_is_out_of_reach_of_the_terminal() {
    let project = stage("made.txt", "cut -d' ' -f6 /proc/self/stat > $1; cp $1 \"$HOME/ran\"");
    assert_eq!(project.run("").code, Some(0));
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let session = stat.split(' ').nth(5).unwrap();
    assert_ne!(project.told(), [session], "a session has a terminal, or none");
}

#[test]
fn a_flood_of_output_is_read_quickly_and_its_log_is_cut() {
    let project = stage(
        "made.txt",
        "yes 'it goes on and on' | head -c 1000000000; echo > $1; echo; echo the end; exit 3",
    );
    let started = Instant::now();
    let run = project.run("");
    assert_eq!(why_it_failed(&run), "it ended with exit status 3");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    let tail = run.events_of("failed")[0]["log"].as_array().unwrap().clone();
    assert_eq!(tail.last().unwrap(), "the end");
    let logs = walkdir::WalkDir::new(project.path(".ribbon/store/logs"));
    let size: u64 = logs
        .into_iter()
        .map(|entry| entry.unwrap().metadata().unwrap())
        .filter(|it| it.is_file())
        .map(|it| it.len())
        .sum();
    assert!((16 << 20..17 << 20).contains(&size), "{size}");
}

#[test]
fn a_job_that_takes_longer_than_it_may_is_ended_with_all_it_started() {
    let script = "trap '' TERM; sh -c 'echo $$ > \"$HOME/pids\"; trap \"\" TERM; sleep 300; sleep 300' & echo begun; wait; sleep 300";
    let project = stage("made.txt", script);
    project.edit("pipeline.yaml", "  make:\n", "  fine: {run: [touch, '{outputs.o}'], outputs: {o: o.txt}}\n  make:\n    timeout: 300ms\n    retries: 5\n");
    let started = Instant::now();
    let run = project.run("--keep-going");
    assert_eq!(why_it_failed(&run), "it was ended after 300ms, the stage's `timeout`");
    assert_eq!(
        (run.made().as_str(), run.events_of("failed")[0]["log"][0].as_str()),
        ("fine 1", Some("begun"))
    );
    assert!(started.elapsed() < Duration::from_secs(30));
    let left = fs::read_to_string(project.home("pids")).unwrap();
    assert!(!Path::new("/proc").join(left.trim()).exists());
}

#[test]
fn a_job_that_never_stops_printing_is_ended_in_time() {
    let project = stage("made.txt", "yes");
    project.edit("pipeline.yaml", "  make:\n", "  make:\n    timeout: 300ms\n");
    assert_eq!(why_it_failed(&project.run("")), "it was ended after 300ms, the stage's `timeout`");
}

/// A job that is killed the first three times: the script's first words decide how.
fn unlucky(end: &str, retries: u32) -> crate::scratch::Scratch {
    let count = "echo ran >> \"$HOME/ran\"; [ $(wc -l < \"$HOME/ran\") -gt 3 ]";
    let project = stage("made.txt", &format!("{count} || {end}; echo > $1"));
    project.edit("pipeline.yaml", "  make:\n", &format!("  make:\n    retries: {retries}\n"));
    project
}

#[test]
fn a_job_that_was_killed_runs_again_as_often_as_it_may() {
    let project = unlucky("kill -KILL $$", 3);
    assert_eq!(project.run("").code, Some(0));
    assert_eq!(project.told().len(), 4);
    let log = project.ribbon("log make").out;
    assert!(
        log.contains("it was killed (signal 9)") && log.contains("running again, 3 of 3 retries]"),
        "{log}"
    );

    let project = unlucky("kill -SEGV $$", 2);
    assert_eq!(why_it_failed(&project.run("")), "it was ended by signal 11");
    assert_eq!(project.told().len(), 3);
}

#[test]
fn a_job_of_which_a_part_was_killed_runs_again_and_one_that_failed_by_itself_does_not() {
    let project = unlucky("{ sh -c 'kill -KILL $$'; exit $?; }", 3);
    assert_eq!(project.run("").code, Some(0));
    assert_eq!(project.told().len(), 4);

    let project = unlucky("exit 1", 3);
    assert_eq!(why_it_failed(&project.run("")), "it ended with exit status 1");
    assert_eq!(project.told().len(), 1);
}

/// Processes that have 100 MB together, if this user may limit them so.
struct SmallMemory(PathBuf);

impl SmallMemory {
    fn new() -> Option<SmallMemory> {
        // Both versions of control groups.
        let kinds = [
            ("/sys/fs/cgroup", "memory.max", "memory.swap.max"),
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.swappiness"),
        ];
        for (root, memory, swap) in kinds {
            let group = SmallMemory(Path::new(root).join(format!("ribbon-test-{}", std::process::id())));
            let _ = fs::create_dir(&group.0);
            let set = |name: &str, value: &str| {
                fs::File::options().write(true).open(group.0.join(name))?.write_all(value.as_bytes())
            };
            if group.0.join("cgroup.procs").exists() && set(memory, "100000000").and(set(swap, "0")).is_ok() {
                return Some(group);
            }
        }
        skipped(
            "running out of memory is not tested: there is no control group to limit it (root may make one)",
        );
        None
    }
}

impl Drop for SmallMemory {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_job_that_runs_out_of_memory_is_told_so_and_runs_again_as_often_as_it_may() {
    let Some(group) = SmallMemory::new() else { return };
    let hog = "python3 -c 'b\"x\" * 300000000'";
    let script = format!(
        "echo ran >> \"$HOME/ran\"\ncase $(wc -l < \"$HOME/ran\") in\n1) exec {hog};;\n2) {hog} || exit 1;;\nesac\necho > $1"
    );
    let project = stage("made.txt", &script);
    project.edit("pipeline.yaml", "  make:\n", "  make:\n    retries: 2\n");
    let enter = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", group.0.display());
    let run =
        project.start_by(&["sh", "-c", &enter, "sh", env!("CARGO_BIN_EXE_ribbon")], "", "run --json").end();
    assert_eq!((run.code, project.told().len()), (Some(0), 3), "{run:?}");
    let log = project.ribbon("log make").out;
    assert!(
        log.contains("[it was killed (signal 9): the system ran out of memory; running again, 1 of 2"),
        "{log}"
    );
    assert!(
        log.contains("[it ended with exit status 1, and the system ran out of memory; running again, 2 of 2"),
        "{log}"
    );
}

/// Three squares, of which the second job does this; what is said of it.
fn second_square(what_it_does: &str, settings: &str) -> String {
    let squares = tiny::squares();
    let code = format!("    tell(number);\n    if number == 2 {{ {what_it_does} }}\n");
    squares.edit("stages/square/src/main.rs", "    tell(number);\n", &code);
    squares.edit(
        "pipeline.yaml",
        "    each: number in numbers\n",
        &format!("    each: number in numbers\n{settings}"),
    );
    let run = squares.run("-j 1 --keep-going");
    assert_eq!((run.made().as_str(), run.count("skipped")), ("square 2", 1), "{run:?}");
    why_it_failed(&run)
}

#[test]
fn a_worker_that_closes_its_output_is_told_from_one_that_was_killed_or_ended() {
    let close = "use std::os::fd::FromRawFd; drop(unsafe { std::fs::File::from_raw_fd(1) }); loop { std::thread::sleep(std::time::Duration::from_secs(9)) }";
    let what = second_square(close, "");
    assert!(what.starts_with("it closed its standard output in the middle of the job"), "{what}");
    let kill = "std::process::Command::new(\"sh\").args([\"-c\", \"kill -KILL $PPID\"]).status().unwrap();";
    let what = second_square(kill, "");
    assert!(what.starts_with("it was killed (signal 9)"), "{what}");
    assert_eq!(second_square("std::process::exit(0)", ""), "it ended with exit status 0");
}

#[test]
fn a_worker_that_hangs_is_ended_and_another_goes_on() {
    let hang = "loop { std::thread::sleep(std::time::Duration::from_secs(9)) }";
    assert_eq!(second_square(hang, "    timeout: 1s\n"), "it was ended after 1s, the stage's `timeout`");
}

#[test]
fn a_worker_that_was_killed_is_started_again_for_its_job() {
    let squares = tiny::squares();
    let kill = "    if number == 2 && std::fs::create_dir(std::env::var(\"HOME\").unwrap() + \"/once\").is_ok() { std::process::abort() }\n";
    squares.edit("stages/square/src/main.rs", "    tell(number);\n", &format!("    tell(number);\n{kill}"));
    squares.edit(
        "pipeline.yaml",
        "    each: number in numbers\n",
        "    each: number in numbers\n    retries: 1\n",
    );
    let run = squares.run("-j 1");
    assert_eq!((run.code, run.made().as_str()), (Some(0), "square 3, total 1"), "{run:?}");
    assert_eq!(squares.told().len(), 4);
}
