//! Stages that are crates: one process takes job after job.

use std::collections::BTreeSet;

use crate::tiny;

/// The processes that jobs told of.
fn processes(told: &[String]) -> BTreeSet<&str> {
    told.iter().map(|line| line.split(' ').next().unwrap()).collect()
}

#[test]
fn one_process_does_all_jobs_of_a_thread() {
    let squares = tiny::squares();
    let run = squares.run("-j 1");
    assert_eq!((run.code, run.made().as_str()), (Some(0), "square 3, total 1"), "{}", run.err);
    let told = squares.told();
    assert_eq!((told.len(), processes(&told).len()), (3, 1), "{told:?}");
    assert_eq!(squares.read("outputs/quick/total.txt"), "square 1\nsquare 4\nsquare 9\n");
}

#[test]
fn a_crash_fails_its_job_only_and_another_process_goes_on() {
    let squares = tiny::squares();
    squares.edit(
        "stages/square/src/main.rs",
        "    tell(number);\n",
        "    tell(number);\n    if number == 2 { panic!(\"two!\") }\n",
    );
    let run = squares.run("-j 1 --keep-going");
    assert_eq!(
        (run.code, run.made().as_str(), run.count("skipped")),
        (Some(1), "square 2", 1),
        "{}",
        run.err
    );
    let failed = &run.events_of("failed")[0];
    assert_eq!(
        (failed["job"].as_str(), failed["what"].as_str()),
        (Some("square[n=2]"), Some("it ended with exit status 101"))
    );
    assert!(failed["log"].to_string().contains("two!"), "{failed}");
    assert_eq!(processes(&squares.told()).len(), 2);
}

/// Squares of which the second is an error, whose stage has such lines beside its parameters: how many processes made them.
fn processes_beside_an_error(more: &str) -> usize {
    let mut squares = tiny::squares();
    // One card, which nobody looks for.
    squares.set("CUDA_VISIBLE_DEVICES", "0");
    squares.edit(
        "pipeline.yaml",
        "    params: {n: $number.n}\n",
        &format!("    params: {{n: $number.n}}\n    {more}\n"),
    );
    let error =
        r##"    if number == 2 { println!(r#"{{"event": "error", "what": "two is odd"}}"#); continue }"##;
    squares.edit(
        "stages/square/src/main.rs",
        "    tell(number);\n",
        &format!("    tell(number);\n{error}\n"),
    );
    let run = squares.run("-j 1 --keep-going");
    assert_eq!((run.code, run.made().as_str()), (Some(1), "square 2"), "{}", run.err);
    assert_eq!(run.events_of("failed")[0]["what"], "two is odd");
    processes(&squares.told()).len()
}

#[test]
fn a_job_that_ends_with_an_error_leaves_its_process_for_the_next_but_on_a_card() {
    assert_eq!(processes_beside_an_error(""), 1);
    assert_eq!(processes_beside_an_error("needs: {gpu: require}"), 2);
}

#[test]
fn results_are_equal_whatever_the_order_and_the_number_of_processes() {
    let together = tiny::squares();
    assert_eq!(together.run("-j 2").code, Some(0));
    let one_by_one = tiny::squares();
    for target in ["square[n=3]", "square[n=1]", "square[n=2]", "total"] {
        assert_eq!(one_by_one.run(target).count("ran"), 1);
    }
    assert_eq!(one_by_one.read("pipeline.lock"), together.read("pipeline.lock"));
}

#[test]
fn a_stage_that_only_commands_need_is_not_built() {
    let mut squares = tiny::squares();
    squares.edit(
        "pipeline.yaml",
        "stages:\n",
        "stages:\n  alone: {run: [sh, -c, 'echo > {outputs.o}'], outputs: {o: o.txt}}\n",
    );
    squares.forbid_cargo();
    assert_eq!(squares.run("alone").made(), "alone 1");
    let built = squares.run("");
    assert_eq!(built.code, Some(1));
    assert!(built.err.contains("cannot start cargo"), "{}", built.err);
}

#[test]
fn a_worker_that_keeps_paths_of_its_jobs_finds_nothing_there_and_its_results_are_equal_in_any_order() {
    let forth = tiny::keepers();
    let run = forth.run("-j 1");
    assert_eq!((run.code, run.made().as_str()), (Some(0), "number 3, square 3, total 1"), "{run:?}");
    assert_eq!(processes(&forth.told()).len(), 1);
    assert_eq!(forth.read("outputs/quick/total.txt"), "square 1 1 0\nsquare 4 2 0\nsquare 9 3 0\n");

    // The other way round: the sweep's last number comes first.
    let back = tiny::keepers();
    back.edit("pipeline.yaml", "n: [1, 2, 3]", "n: [3, 2, 1]");
    assert_eq!(back.run("-j 1").code, Some(0));
    let told = back.told_so_far();
    let order: Vec<&str> = told.iter().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!((order.as_slice(), processes(&told).len()), (["3", "2", "1"].as_slice(), 1));
    assert_eq!(back.read("pipeline.lock"), forth.read("pipeline.lock"));
}

/// After each square a job of another stage, with the same needs, tells which processes of squares are there. How many
/// were, in all, and how many processes made squares.
fn idle_processes(needs: &str) -> (usize, usize) {
    let mut squares = tiny::squares();
    // One card, which nobody looks for.
    squares.set("CUDA_VISIBLE_DEVICES", "0");
    squares.edit(
        "pipeline.yaml",
        "    params: {n: $number.n}\n",
        &format!("    params: {{n: $number.n}}\n    {needs}\n"),
    );
    let look = format!(
        r#"  look:
    run: [sh, -c, 'for p in $(cut -d" " -f1 "$HOME/ran" | sort -u); do [ ! -e /proc/$p ] || echo $p; done > {{outputs.there}}']
    each: number in numbers
    inputs: {{square: square.square}}
    outputs: {{there: there.txt}}
    publish: {{there: "there-{{n}}.txt"}}
    {needs}
"#
    );
    squares.write("pipeline.yaml", &(squares.read("pipeline.yaml") + &look));
    let run = squares.run("-j 1");
    assert_eq!((run.code, run.made().as_str()), (Some(0), "square 3, total 1, look 3"), "{run:?}");
    // After the last one none waits for another.
    let there = (1..=2).map(|n| squares.read(&format!("outputs/quick/there-{n}.txt")).lines().count());
    (there.sum(), processes(&squares.told()).len())
}

#[test]
fn a_process_that_waits_for_its_next_job_goes_when_another_stage_needs_its_memory_or_its_card() {
    assert_eq!(idle_processes("needs: {memory: 1K}"), (2, 1), "there is enough for both");
    assert_eq!(idle_processes("needs: {memory: 1000T}"), (0, 3));
    assert_eq!(idle_processes("needs: {gpu: require}"), (0, 3));
}
