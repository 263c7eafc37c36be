//! Cards: jobs spread over the GPUs that `CUDA_VISIBLE_DEVICES` names. No job here computes on one, so that none is needed.

use std::collections::{BTreeMap, BTreeSet};

use crate::scratch::Scratch;
use crate::tiny;

/// Six jobs that may share a card in twos, and one that runs beside them on the processor. A job tells its device, and does
/// not end before `$HOME/go` is there.
const CARDS: &str = r#"version: 1
profile: quick
profiles: {quick: {about: six networks}}
params: {share: 2}
sweeps: {numbers: {matrix: {n: [1, 2, 3, 4, 5, 6]}}}
stages:
  network:
    run: [sh, cards.sh, "{params.n}", "{outputs.o}"]
    code: [cards.sh]
    each: number in numbers
    params: {n: $number.n}
    outputs: {o: o.txt}
    needs: {gpu: prefer, per-gpu: $share}
  plain:
    run: [sh, cards.sh, plain, "{outputs.o}"]
    code: [cards.sh]
    outputs: {o: o.txt}
"#;

const SCRIPT: &str = r#"echo "$(sed 's/.*"device": *"\([^"]*\)".*/\1/' "$RIBBON_JOB")" >> "$HOME/ran"
until [ "$1" = plain ] || [ -e "$HOME/go" ]; do sleep 0.02; done
echo "$1" > "$2"
"#;

/// The project, on a machine with these cards.
fn cards(visible: &str) -> Scratch {
    let mut cards = Scratch::new(&[("pipeline.yaml", CARDS), ("cards.sh", SCRIPT)]);
    cards.set("CUDA_VISIBLE_DEVICES", visible);
    cards
}

/// How many of the first jobs, which run at once, are on each device.
fn first(cards: &Scratch, words: &str, jobs: usize) -> BTreeMap<String, usize> {
    let running = cards.start(&format!("run {words}"));
    crate::scratch::wait_until("all jobs that fit have begun", || cards.told_so_far().len() >= jobs);
    // Time for one too many.
    std::thread::sleep(std::time::Duration::from_millis(200));
    let mut devices = BTreeMap::new();
    for device in cards.told_so_far() {
        *devices.entry(device).or_default() += 1;
    }
    std::fs::write(cards.home("go"), "").unwrap();
    let run = running.end();
    assert_eq!(run.code, Some(0), "{run:?}");
    devices
}

fn counts(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    expected.iter().map(|(device, count)| (device.to_string(), *count)).collect()
}

#[test]
fn several_networks_share_each_card_and_what_needs_none_runs_beside_them() {
    let cards = cards("4,7");
    assert_eq!(first(&cards, "-j 8", 5), counts(&[("cpu", 1), ("cuda:0", 2), ("cuda:1", 2)]));
    assert_eq!(cards.told().len(), 7, "the others follow");
}

#[test]
fn how_many_share_a_card_is_a_parameter_and_changes_no_key() {
    let cards = cards("0");
    assert_eq!(first(&cards, "-j 8 --set share=1 network", 1), counts(&[("cuda:0", 1)]));
    assert_eq!(cards.run("--set share=3 network").made(), "nothing");
    let refused = cards.ribbon("status --set share=none");
    assert!(refused.err.contains("`$share` is \"none\", expected 1 or more"), "{refused:?}");
}

#[test]
fn where_cuda_is_told_to_show_no_card_jobs_run_on_the_processor_unless_they_require_one() {
    let cards = cards("-1");
    assert_eq!(first(&cards, "-j 2 network", 2), counts(&[("cpu", 2)]));
    cards.edit("pipeline.yaml", "gpu: prefer", "gpu: require");
    cards.edit("cards.sh", "echo \"$1\"", "echo \"number $1\"");
    let run = cards.run("--keep-going network");
    assert_eq!((run.code, run.count("failed")), (Some(1), 6));
    assert_eq!(run.events_of("failed")[0]["what"], "it needs a GPU and this machine has none");
}

#[test]
fn a_machine_without_the_gpu_that_jobs_need_is_told_before_anything_runs() {
    let mut paper = tiny::paper();
    paper.set("CUDA_VISIBLE_DEVICES", "-1");
    paper.edit("pipeline.yaml", "  predict:\n", "  predict:\n    needs: {gpu: require}\n");
    // Jobs that wait may be found to be made already.
    let told = "4 predict jobs that wait for others need a GPU, and this machine has none";
    assert!(paper.ribbon("run -n").out.contains(&format!("\n{told}\n")));
    let run = paper.run("");
    assert_eq!((run.code, run.count("failed")), (Some(1), 1));
    assert_eq!(run.events_of("note")[0]["text"], told);
    paper.run("train");
    paper.told();
    let told = "4 predict jobs need a GPU, and this machine has none";
    let run = paper.ribbon("run");
    assert_eq!(run.code, Some(1));
    assert_eq!(run.err, format!("ribbon: {told}; --keep-going makes what does not depend on them\n"));
    assert_eq!(paper.told(), [""; 0]);
    assert!(paper.ribbon("run -n").out.contains(&format!("\n{told}\n")));
    let run = paper.run("--keep-going");
    assert_eq!((run.code, run.made().as_str()), (Some(1), "nothing"));
    assert_eq!(run.events_of("note")[0]["text"], told);
    // What has been made elsewhere needs no card, nor does what may come out as it was.
    paper.set("CUDA_VISIBLE_DEVICES", "0");
    paper.run("");
    paper.set("CUDA_VISIBLE_DEVICES", "-1");
    paper.edit("pipeline.yaml", "echo 3 images", "echo three images");
    assert_eq!((paper.run("").made().as_str(), paper.run("").code), ("prepare 1", Some(0)));
}

/// Squares of these numbers, each on one of two cards for a while. A job tells `PROCESS CARD`.
fn squares_on_cards(numbers: &str) -> Scratch {
    let mut squares = tiny::squares();
    squares.set("CUDA_VISIBLE_DEVICES", "0,1");
    squares.edit("pipeline.yaml", "n: [1, 2, 3]", &format!("n: [{numbers}]"));
    let needs = "    outputs: {square: square.txt}\n    needs: {gpu: require}\n";
    squares.edit("pipeline.yaml", "    outputs: {square: square.txt}\n", needs);
    squares.edit(
        "stages/square/src/main.rs",
        "        tell(number);\n",
        "        let device = if job.contains(\"cuda:1\") { 1 } else { 0 };\n        tell(device);\n        \
         std::thread::sleep(std::time::Duration::from_millis(50));\n",
    );
    squares
}

/// How many pairs of processes and cards there were, and how many processes.
fn pairs_and_processes(told: &[String]) -> (usize, usize) {
    let pairs: BTreeSet<&String> = told.iter().collect();
    let processes: BTreeSet<&str> = told.iter().map(|line| line.split(' ').next().unwrap()).collect();
    (pairs.len(), processes.len())
}

#[test]
fn a_process_works_on_one_card_only() {
    let squares = squares_on_cards("1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12");
    let run = squares.run("-j 3");
    assert_eq!((run.code, run.made().as_str()), (Some(0), "square 12, total 1"), "{}", run.err);
    let told = squares.told();
    assert_eq!(pairs_and_processes(&told), (2, 2), "two processes, each on its card: {told:?}");
}

#[test]
fn of_two_idle_processes_the_one_on_the_card_takes_the_job() {
    let squares = squares_on_cards("1, 2");
    // After these, both processes wait for what is made of them, and begin again on the first card that is free.
    let again = "  again:\n    crate: stages/square\n    each: number in numbers\n    params: {n: $number.n, again: true}\n    \
                 inputs: {all: total.total}\n    outputs: {square: square.txt}\n    needs: {gpu: require}\n";
    squares.write("pipeline.yaml", &(squares.read("pipeline.yaml") + again));
    let run = squares.run("-j 2");
    assert_eq!(
        (run.code, run.made().as_str()),
        (Some(0), "square 2, total 1, again 2"),
        "{}{}",
        run.err,
        run.out
    );
    let told = squares.told();
    assert_eq!((told.len(), pairs_and_processes(&told)), (4, (2, 2)), "each on its card: {told:?}");
}

#[test]
fn jobs_see_the_cards_and_libraries_that_ribbon_was_given() {
    let mut paper = tiny::paper();
    let names = [
        "CUDA_VISIBLE_DEVICES",
        "CUDA_DEVICE_ORDER",
        "CUDA_MPS_PIPE_DIRECTORY",
        "LD_LIBRARY_PATH",
        "CUDA_HOME",
        "https_proxy",
    ];
    let values = ["4,7", "PCI_BUS_ID", "/nowhere/pipe", "/nowhere/lib", "/nowhere/cuda", "http://proxy"];
    for (name, value) in names.iter().zip(values) {
        paper.set(name, value);
    }
    let words = names.map(|name| format!("${name}")).join(" ");
    paper.edit("pipeline.yaml", "echo 3 images", &format!("echo {words}"));
    assert_eq!(paper.run("prepare").code, Some(0));
    assert_eq!(paper.ribbon("log prepare").out.trim(), values.join(" "));
}
