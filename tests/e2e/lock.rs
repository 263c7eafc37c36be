//! pipeline.lock: sorted lines of every profile, what a run may change in them, and results that differ in bits.

use proptest::prelude::*;

use crate::mounts::with_mounts;
use crate::scratch::Scratch;
use crate::tiny;

/// A stage whose output is never the same, and one below it.
fn clock() -> Scratch {
    let pipeline = "version: 1\nprofile: quick\nprofiles: {quick: {about: a clock}}\nstages:\n  \
        clock: {run: [sh, -c, 'date +%s%N > {outputs.time}'], outputs: {time: time.txt}}\n  \
        face: {run: [sh, -c, 'cat {inputs.time} > {outputs.face}'], inputs: {time: clock.time}, \
               outputs: {face: face.txt}, publish: {face: face.txt}}\n";
    Scratch::new(&[("pipeline.yaml", pipeline)])
}

#[test]
fn its_lines_are_sorted_one_a_job() {
    let paper = tiny::paper();
    paper.run("");
    let text = paper.read("pipeline.lock");
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(lines.len(), 14);
    assert!(lines.is_sorted(), "{text}");
    assert!(lines.iter().all(|line| line.starts_with("quick ")), "{text}");
}

#[test]
fn a_run_leaves_the_lines_of_other_profiles_and_of_other_targets() {
    let paper = tiny::paper();
    paper.run("");
    let quick = paper.read("pipeline.lock");
    paper.run("--profile paper --set rate=0.3");
    paper.run("--profile paper --set rate=0.4 train[arch=fc]");
    let both = paper.read("pipeline.lock");
    let ours: Vec<&str> = both.lines().filter(|line| !line.starts_with("paper ")).collect();
    assert_eq!(ours, quick.lines().collect::<Vec<_>>());
    assert_eq!(both.lines().count(), 1 + 14 + 14);
}

#[test]
fn it_is_written_after_a_failure_too() {
    let paper = tiny::paper();
    let script = paper.read("embed.sh");
    paper.write("embed.sh", "exit 1\n");
    assert_eq!(paper.run("").code, Some(1));
    assert_eq!(paper.read("pipeline.lock").lines().count(), 1 + 12);
    paper.write("embed.sh", &script);
    let clone = paper.clone_as("clone");
    assert!(clone.ribbon("run --dry-run").out.contains("embed: it never ran"));
}

#[test]
fn a_damaged_line_is_told_with_its_place() {
    let paper = tiny::paper();
    paper.run("");
    let text = paper.read("pipeline.lock");
    paper.write("pipeline.lock", &format!("{text}quick train cafe\n"));
    let run = paper.run("");
    assert_eq!(run.code, Some(2));
    assert!(run.err.contains("pipeline.lock:16: `cafe` is not a hash"), "{}", run.err);
}

#[test]
fn other_bits_for_the_same_key_leave_the_committed_lines_and_are_told() {
    let clock = clock();
    assert!(clock.run("").events_of("unreproduced").is_empty());
    let committed = clock.read("pipeline.lock");
    clock.remove(".ribbon");
    clock.remove("outputs");
    let run = clock.run("");
    assert_eq!((run.code, run.made().as_str()), (Some(0), "clock 1, face 1"));
    assert_eq!(run.events_of("unreproduced")[0]["jobs"], serde_json::json!(["clock"]));
    assert_eq!(clock.read("pipeline.lock"), committed, "also of what was made from the other bits");
    let told = clock.ribbon("run").err;
    assert!(told.contains("clock was not reproduced bit for bit: pipeline.lock keeps its line"), "{told}");
}

#[test]
fn update_lock_takes_the_new_bits() {
    let clock = clock();
    clock.run("");
    let committed = clock.locked("clock");
    let run = clock.run("--force clock --update-lock");
    assert_eq!((run.made().as_str(), run.events_of("unreproduced").len()), ("clock 1, face 1", 0));
    let taken = clock.locked("clock");
    assert_eq!(taken[2], committed[2], "the same key");
    assert_ne!(taken[3], committed[3], "other bits");
    assert!(clock.clone_as("clone").ribbon("status").out.ends_with("all is up to date\n"));
}

/// What another machine, another user or another shell may have.
const VARIABLES: [(&str, &[&str]); 9] = [
    ("HOSTNAME", &["cluster-7", "laptop"]),
    ("USER", &["bob", "Ålesund"]),
    ("LOGNAME", &["bob"]),
    ("TZ", &["Asia/Tokyo", "UTC"]),
    ("LANG", &["tr_TR.UTF-8", "C"]),
    ("LC_ALL", &["tr_TR.UTF-8", "de_DE@euro"]),
    ("OMP_NUM_THREADS", &["7"]),
    ("EDITOR", &["ed"]),
    ("XDG_CACHE_HOME", &["/nowhere/cache", ""]),
];

fn variables() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let variable = prop::sample::select(VARIABLES.to_vec());
    let set = variable.prop_flat_map(|(name, values)| (Just(name), prop::sample::select(values)));
    prop::collection::vec(set, 0..VARIABLES.len())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn keys_and_bits_do_not_depend_on_who_runs_where_and_how(
        folder in "([a-zA-Z0-9_.' -]{0,12}[a-zé]/){0,2}[a-z0-9][a-zé .'&$_-]{0,12}[a-z]",
        variables in variables(),
        threads in 1..4u8,
        sandbox in prop::sample::select(&["", " --no-sandbox"]),
    ) {
        let one = tiny::paper();
        prop_assert_eq!(one.run("").code, Some(0));
        let mut two = one.clone_as(&folder);
        two.remove("pipeline.lock");
        variables.into_iter().for_each(|(name, value)| two.set(name, value));
        let run = two.run(&format!("-j {threads}{sandbox}"));
        prop_assert_eq!((run.code, run.made()), (Some(0), tiny::WHOLE_PAPER.to_owned()), "{}", run.err);
        prop_assert_eq!(two.read("pipeline.lock"), one.read("pipeline.lock"));
    }
}

#[test]
fn keys_are_the_same_on_another_machine_in_another_place_for_another_user() {
    let paper = tiny::paper();
    paper.run("");
    let clone = paper.clone_as("elsewhere");
    let script = "hostname elsewhere || exit 77; test \"$(hostname)\" = elsewhere || exit 77\n\
                  umask 077; exec env TZ=Asia/Tokyo LANG=de_DE.UTF-8 USER=bob \"$RIBBON\" status";
    let cannot = "name a machine (unshare -rmu, hostname)";
    let Some(told) = with_mounts(&clone, script, &[], cannot) else { return };
    assert!(told.ends_with("up to date\n"), "{told}");
}
