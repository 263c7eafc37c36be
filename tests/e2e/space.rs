//! Space: a run that would fill the disk, and one that does.

use crate::mounts::with_mounts;
use crate::scratch::Scratch;

/// Four jobs that each make a megabyte of their own, and one that sums them up.
const LARGE: &str = r#"version: 1
profile: quick
profiles: {quick: {}}
params: {seed: 1}
sweeps: {numbers: {matrix: {n: [1, 2, 3, 4]}}}
stages:
  large:
    run: [sh, -c, 'echo {params.n} >> "$HOME/ran"; (echo {params.seed} {params.n}; head -c 999996 /dev/zero) > {outputs.data}']
    each: number in numbers
    params: {n: $number.n, seed: $seed}
    outputs: {data: data.bin}
  sum:
    run: [sh, -c, 'cat "$@" | wc -c > {outputs.sum}', sh, "{inputs.all}"]
    inputs: {all: "large[*].data"}
    outputs: {sum: sum.txt}
    publish: {sum: sum.txt}
"#;

/// Runs a script with the project's store on a disk of its own, of 3.5 MB. None when this user may not mount one.
fn on_a_small_disk(project: &Scratch, script: &str) -> Option<String> {
    std::fs::create_dir(project.path("../store")).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=3500k tmpfs \"$RIBBON_STORE\" || exit 77\n\
         ribbon() {{ \"$RIBBON\" \"$@\" 2>&1; echo \"code $?\"; }}\n{script}"
    );
    let cannot = "mount a small disk (unshare -rmu, mount -t tmpfs)";
    with_mounts(project, &script, &[("RIBBON_STORE", &project.path("../store"))], cannot)
}

#[test]
fn a_disk_that_fills_fails_a_job_keeps_the_rest_and_with_room_the_next_run_finishes() {
    let project = Scratch::new(&[("pipeline.yaml", LARGE)]);
    let Some(told) = on_a_small_disk(
        &project,
        "ribbon run -j 1\n echo; mount -o remount,size=20m \"$RIBBON_STORE\"; ribbon run -j 1; ribbon verify",
    ) else {
        return;
    };
    let (first, second) = told.split_once("\n\n").unwrap();
    assert!(first.contains("failed  large[n=4]"), "{told}");
    assert!(first.contains("No space left on device"), "{told}");
    assert!(first.contains("store is full: "), "{told}");
    assert!(first.contains("ran 3, cached 0, failed 1, skipped 1") && first.ends_with("code 1"), "{told}");
    assert!(second.contains("ran 2, cached 3, failed 0") && second.contains("0 damaged"), "{told}");
    assert_eq!(project.told(), ["1", "2", "3", "4", "4"]);
    assert_eq!(project.read("outputs/quick/sum.txt"), "4000000\n");
}

#[test]
fn a_place_of_outputs_that_fails_stops_a_run_as_a_failed_job_does_and_loses_nothing() {
    let published = LARGE.replace("data: data.bin}\n", "data: data.bin}\n    publish: {data: \"{n}.bin\"}\n");
    let project = Scratch::new(&[("pipeline.yaml", &published)]);
    // Where the folder of outputs should be is a file.
    project.write("outputs", "");
    let run = project.run("-j 1");
    assert_eq!((run.code, run.count("ran")), (Some(1), 1), "{run:?}");
    let run = project.run("-j 1 --keep-going");
    assert_eq!((run.code, run.count("ran"), run.count("failed")), (Some(1), 4, 0), "{run:?}");
    assert!(run.err.contains("Not a directory") && run.err.contains("and 4 more outputs"), "{run:?}");
    assert!(run.err.contains("the next run publishes it"), "{run:?}");
    project.remove("outputs");
    assert_eq!(project.run("").made(), "nothing");
    assert_eq!(project.read("outputs/quick/4.bin").len(), 1_000_000);
    assert_eq!(project.read("outputs/quick/sum.txt"), "4000000\n");
}

/// [`LARGE`], of whose four megabytes each goes as soon as it was measured.
fn measured_and_dropped() -> Scratch {
    let project = Scratch::new(&[("pipeline.yaml", LARGE)]);
    project.edit(
        "pipeline.yaml",
        "  sum:\n",
        "  size:\n    run: [sh, -c, 'wc -c < {inputs.data} > {outputs.size}']\n    each: number in numbers\n    \
         inputs: {data: large.data}\n    outputs: {size: size.txt}\n  sum:\n",
    );
    project.edit("pipeline.yaml", "large[*].data", "size[*].size");
    project
}

const DROPPED: [&str; 2] =
    ["    outputs: {data: data.bin}\n", "    outputs: {data: data.bin}\n    keep: false\n"];

#[test]
fn intermediates_find_room_one_after_the_other() {
    let project = measured_and_dropped();
    project.edit("pipeline.yaml", DROPPED[0], DROPPED[1]);
    let Some(told) = on_a_small_disk(&project, "ribbon run -j 1") else { return };
    assert!(told.contains("ran 9, cached 0, failed 0") && told.ends_with("code 0\n"), "{told}");
    assert_eq!(project.told(), ["1", "2", "3", "4"]);
}

#[test]
fn a_run_that_would_not_fit_says_so_and_does_not_begin() {
    let project = Scratch::new(&[("pipeline.yaml", LARGE)]);
    project.run("");
    project.told();
    let Some(told) = on_a_small_disk(
        &project,
        "ribbon run --set seed=2\n echo; ribbon run -n --set seed=2; ribbon run -n 'large[n=1]' --set seed=2\n echo; \
         ribbon run -j 1 --ignore-space --set seed=2",
    ) else {
        return;
    };
    let parts: Vec<&str> = told.split("\n\n").collect();
    assert!(
        parts[0].starts_with("ribbon: the run would not fit (disk: about 3.81 MiB more at the peak"),
        "{told}"
    );
    assert!(parts[0].ends_with("code 1"), "{told}");
    assert!(parts[1].contains("disk: about 3.81 MiB more at the peak, 3.81 MiB to stay, 3.4"), "{told}");
    assert!(parts[1].contains("disk: about 976.56 KiB more at the peak"), "{told}");
    assert!(parts[2].contains("failed  large[n=4]"), "{told}");
    assert_eq!(project.told(), ["1", "2", "3", "4"], "only the last one ran anything");
}

#[test]
fn intermediates_count_as_long_as_they_exist_and_what_is_not_known_is_named() {
    let project = measured_and_dropped();
    let fresh = project.ribbon("run -n").out;
    assert!(
        fresh.contains("disk: about 0 B more at the peak")
            && fresh.contains("without large, size, sum, of which no job has run yet"),
        "{fresh}"
    );
    project.run("");
    let estimate = |words: &str| {
        let told = project.ribbon(&format!("run -n --set seed=2 {words}")).out;
        told.lines().find(|line| line.starts_with("disk: ")).unwrap().split(", ").next().unwrap().to_owned()
    };
    assert_eq!(estimate("-j 1"), "disk: about 3.81 MiB more at the peak");
    project.edit("pipeline.yaml", DROPPED[0], DROPPED[1]);
    assert_eq!(estimate("-j 1"), "disk: about 976.59 KiB more at the peak");
    assert_eq!(estimate("-j 2"), "disk: about 1.91 MiB more at the peak");
}
