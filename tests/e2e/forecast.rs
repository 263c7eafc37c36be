//! Forecasts: what `run --dry-run` says of the jobs, time and bytes to come.

use crate::scratch::Scratch;

/// Four networks, of which two take long, their predictions, which go once they are summed up, and the sum.
const SWEEP: &str = r#"version: 1
profile: small
params: {epochs: 1, hours: 1}
profiles:
  small: {about: nothing is said of what it takes}
  large:
    params: {epochs: 10}
    costs:
      train:
        - {seconds: 3600, bytes: 1000}
        - {seconds: $hours}
        - {when: {arch: vit}, seconds: 2, bytes: 1.5}
      predict: [{seconds: 600, bytes: 2048000}]
sweeps: {networks: {matrix: {arch: [fc, vit], seed: [1, 2]}}}
stages:
  train:
    run: [sh, -c, 'head -c 3000 /dev/zero > {outputs.weights}; echo {params.epochs}{params.seed} {params.arch} >> {outputs.weights}']
    each: network in networks
    params: {epochs: $epochs, seed: $network.seed, arch: $network.arch}
    outputs: {weights: weights.txt}
    needs: {gpu: prefer, per-gpu: 2}
  predict:
    run: [sh, -c, 'tail -n 1 {inputs.weights} > {outputs.predictions}']
    each: network in networks
    inputs: {weights: train.weights}
    outputs: {predictions: predictions.txt}
    keep: false
  sum:
    run: [sh, -c, 'cat "$@" > {outputs.sum}', sh, "{inputs.all}"]
    inputs: {all: "predict[*].predictions"}
    outputs: {sum: sum.txt}
"#;

/// The cells of the table, row by row, and the line below it.
fn forecast(project: &Scratch, words: &str) -> (Vec<Vec<String>>, String) {
    let told = project.ribbon(&format!("run --dry-run {words}"));
    assert_eq!(told.code, Some(0), "{told:?}");
    let lines: Vec<&str> = told.out.lines().skip_while(|line| !line.starts_with("stage ")).collect();
    let end = lines.iter().position(|line| line.starts_with("time: ")).unwrap();
    let cells = |line: &&str| {
        let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        cells.map(str::to_owned).collect()
    };
    (lines[..end].iter().map(cells).collect(), lines[end].to_owned())
}

#[test]
fn what_the_profile_says_makes_a_table_of_jobs_time_and_bytes_by_stage() {
    let project = Scratch::new(&[("pipeline.yaml", SWEEP)]);
    let (table, time) = forecast(&project, "--profile large -j 2");
    let expected: [&[&str]; 5] = [
        &["stage", "jobs", "job time", "written", "to stay", "as known from"],
        &["train", "4", "6 h 0 min", "4.88 KiB", "4.88 KiB", "the profile"],
        &["predict", "4", "40 min", "7.81 MiB", "0 B", "the profile"],
        &["sum", "1", "?", "?", "?"],
        &["all", "9", "> 6 h 40 min", "> 7.82 MiB", "> 4.88 KiB"],
    ];
    assert_eq!(table, expected);
    let expected = "time: about 3 h 20 min with 2 threads and no GPU; 1 job of unknown length left out";
    assert_eq!(time, expected);
}

#[test]
fn costs_follow_what_is_set_and_cards_count() {
    let mut project = Scratch::new(&[("pipeline.yaml", SWEEP)]);
    let words = "--profile large -j 8 --set hours=0.5 train";
    project.set("CUDA_VISIBLE_DEVICES", "0,1");
    let (table, time) = forecast(&project, words);
    assert_eq!(
        (table[1][2].as_str(), time.as_str()),
        ("3 h 0 min", "time: about 60 min with 8 threads and 2 GPUs")
    );
    project.set("CUDA_VISIBLE_DEVICES", "0");
    assert_eq!(forecast(&project, words).1, "time: about 90 min with 8 threads and 1 GPU");
}

#[test]
fn what_ran_before_tells_more_than_the_profile_and_of_jobs_that_are_alike() {
    let project = Scratch::new(&[("pipeline.yaml", SWEEP)]);
    // One network fc, which says nothing of vit.
    assert_eq!(project.run("--profile large train[arch=fc,seed=1]").code, Some(0));
    let (table, _) = forecast(&project, "--profile large train");
    assert_eq!(table[1], ["train", "3", "4 h 0 min", "5.87 KiB", "5.87 KiB", "past jobs, the profile"]);
    // All of them: what a change takes is what they took.
    assert_eq!(project.run("--profile large").code, Some(0));
    let (table, _) = forecast(&project, "--profile large --set epochs=11");
    assert_eq!((table[1][5].as_str(), table[3][5].as_str()), ("past jobs", "past jobs"));
    // Costs are in no key.
    assert_eq!(project.run("--profile large --set hours=7").made(), "nothing");
    assert_eq!(project.ribbon("run -n --profile large").out, "would run 0; 9 up to date\n");
}

#[test]
fn jobs_of_other_profiles_tell_what_nothing_else_does() {
    let project = Scratch::new(&[("pipeline.yaml", SWEEP)]);
    assert_eq!(project.run("--profile large").code, Some(0));
    let (table, _) = forecast(&project, "");
    assert_eq!((table[1][1].as_str(), table[1][5].as_str()), ("4", "jobs of other profiles"));
}

#[test]
fn what_is_gone_and_would_be_needed_by_jobs_that_wait_counts() {
    // Predictions that are not, as a whole, what a training made too.
    let sweep = SWEEP.replace("tail -n 1", "tail -c 7");
    let project = Scratch::new(&[("pipeline.yaml", &sweep)]);
    assert_eq!(project.run("").code, Some(0));
    // A clone: the lock, and nothing of what it names; with one network more of each kind.
    project.remove(".ribbon");
    project.write("pipeline.yaml", &sweep.replace("seed: [1, 2]", "seed: [1, 2, 3]"));
    let told = project.ribbon("run --dry-run").out;
    assert!(told.ends_with("would run 5, and up to 8 more if outputs change; 0 up to date\n"), "{told}");
    let (table, _) = forecast(&project, "");
    let jobs: Vec<&str> = table.iter().map(|row| row[1].as_str()).collect();
    assert_eq!(jobs, ["jobs", "6", "6", "1", "13"]);
    assert_eq!(project.run("").made(), "train 6, predict 6, sum 1");
}
