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

/// The forecast: the lines from the head of the table on.
fn forecast(project: &Scratch, words: &str) -> String {
    let told = project.ribbon(&format!("run --dry-run {words}"));
    assert_eq!(told.code, Some(0), "{told:?}");
    let lines = told.out.lines().skip_while(|line| !line.starts_with("stage "));
    let lines = lines.take_while(|line| !line.starts_with("disk: "));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_the_profile_says_makes_a_table_of_jobs_time_and_bytes_by_stage() {
    let project = Scratch::new(&[("pipeline.yaml", SWEEP)]);
    let expected = "\
stage    jobs    job time   written   to stay  as known from
train       4   6 h 0 min  4.88 KiB  4.88 KiB  the profile
predict     4      40 min  7.81 MiB       0 B  the profile
sum         1           ?         ?         ?  \n\
all         9  > 6 h 40 min  > 7.82 MiB  > 4.88 KiB  the profile
time: about 3 h 20 min with 2 threads and no GPU; 1 job of unknown length left out";
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let found = forecast(&project, "--profile large -j 2");
    assert_eq!(words(&found), words(&expected.replace("> 4.88 KiB  the profile", "> 4.88 KiB")), "{found}");
    let columns: Vec<usize> = found.lines().take(4).map(|line| line.find("KiB  ").unwrap_or(0)).collect();
    assert_eq!(columns[1], found.lines().nth(1).unwrap().find("KiB").unwrap(), "{found}");
}

#[test]
fn costs_follow_what_is_set_and_cards_count() {
    let mut project = Scratch::new(&[("pipeline.yaml", SWEEP)]);
    project.set("CUDA_VISIBLE_DEVICES", "0,1");
    let set = forecast(&project, "--profile large -j 8 --set hours=0.5 train");
    assert!(
        set.contains("3 h 0 min") && set.contains("time: about 60 min with 8 threads and 2 GPUs"),
        "{set}"
    );
    project.set("CUDA_VISIBLE_DEVICES", "0");
    let one = forecast(&project, "--profile large -j 8 --set hours=0.5 train");
    assert!(one.contains("time: about 90 min with 8 threads and 1 GPU"), "{one}");
}

#[test]
fn what_ran_before_tells_more_than_the_profile_and_of_jobs_that_are_alike() {
    let project = Scratch::new(&[("pipeline.yaml", SWEEP)]);
    // One fc network, which says nothing of vit.
    assert_eq!(project.run("--profile large train[arch=fc,seed=1]").code, Some(0));
    let found = forecast(&project, "--profile large train");
    let train = found.lines().nth(1).unwrap();
    assert!(train.starts_with("train       3") && train.ends_with("past jobs, the profile"), "{found}");
    assert!(train.contains(" 4 h 0 min "), "two of vit, and one of fc in no time: {found}");
    // All of them: the times of a change are those of before.
    assert_eq!(project.run("--profile large").code, Some(0));
    let changed = forecast(&project, "--profile large --set epochs=11");
    assert!(changed.lines().nth(1).unwrap().ends_with("past jobs") && !changed.contains('?'), "{changed}");
    // The key is the same, whatever the costs.
    assert_eq!(project.run("--profile large --set hours=7").made(), "nothing");
    let dry = project.ribbon("run -n --profile large").out;
    assert!(dry.starts_with("would run 0; 9 up to date"), "{dry}");
}

#[test]
fn jobs_of_other_profiles_tell_what_nothing_else_does() {
    let project = Scratch::new(&[("pipeline.yaml", SWEEP)]);
    assert_eq!(project.run("--profile large").code, Some(0));
    let found = forecast(&project, "");
    assert!(found.lines().nth(1).unwrap().ends_with("jobs of other profiles"), "{found}");
}
