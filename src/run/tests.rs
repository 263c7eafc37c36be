//! Runs of small pipelines of shell commands: every needed job ends current, failed or skipped, whatever happens.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::hash::Hash;
use crate::plan::State;
use crate::project::Selection;
use crate::target;

struct Lab {
    folder: tempfile::TempDir,
}

/// Keeps what it is told, as `done a[n=1]`.
#[derive(Default)]
struct Heard {
    lines: Vec<String>,
    on_start: Option<Box<dyn Fn() + Send>>,
}

impl Report for Heard {
    fn tell(&mut self, project: &Project, happening: &Happening) {
        let (what, id) = match happening {
            Happening::Started(id) => {
                self.on_start.iter().for_each(|act| act());
                ("started", id)
            }
            Happening::Done(id, _) => ("done", id),
            Happening::Spared(id) => ("spared", id),
            Happening::Failed { id, .. } => ("failed", id),
            _ => return,
        };
        self.lines.push(format!("{what} {}", project.name(*id)));
    }
}

impl Heard {
    fn count(&self, line: &str) -> usize {
        self.lines.iter().filter(|heard| *heard == line).count()
    }
}

impl Lab {
    /// A pipeline with a sweep `s` of three configurations; `ROOT` in the stages is its folder.
    fn new(stages: &str) -> Lab {
        let lab = Lab { folder: tempfile::tempdir().unwrap() };
        lab.write(stages);
        lab
    }

    fn write(&self, stages: &str) {
        let head = "version: 1\nprofile: p\nsweeps: {s: {matrix: {n: [0, 1, 2]}, settings: [{set: {all: same}}]}}\nprofiles: {p: {}}\nstages:\n";
        let stages = stages.replace("ROOT", &self.folder.path().to_string_lossy());
        fs::write(self.path("pipeline.yaml"), format!("{head}{stages}")).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn open(&self) -> Project {
        let pipeline = Some(self.path("pipeline.yaml"));
        Project::open(&Selection { pipeline, ..Selection::default() })
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_run(
        &self,
        options: &Options,
        interrupts: &Interrupts,
        heard: &mut Heard,
    ) -> Result<Summary, RunError> {
        let mut project = self.open();
        let wanted = target::everything(&project);
        run(&mut project, &wanted, &BTreeSet::new(), options, interrupts, heard)
    }

    fn run(&self) -> (Summary, Heard) {
        // Some jobs leave signs of themselves in the project's folder.
        let options = Options { threads: Some(3), no_sandbox: true, ..Options::default() };
        let mut heard = Heard::default();
        let summary = self.try_run(&options, &Interrupts::default(), &mut heard).unwrap();
        (summary, heard)
    }

    /// Jobs that another run would execute, or would have to look at again.
    fn left(&self) -> Vec<String> {
        let project = self.open();
        let mut plan = Plan::new(&project, &target::everything(&project), &BTreeSet::new());
        plan.demand();
        let is_current = |id: &JobId| matches!(plan.state(*id), State::Current(..));
        plan.needed().filter(|id| !is_current(id)).map(|id| project.name(id).to_owned()).collect()
    }

    fn object(&self, text: &str) -> PathBuf {
        let hex = Hash::of(text.as_bytes()).to_string();
        self.path(".ribbon/store/objects").join(&hex[..2]).join(&hex[2..])
    }
}

fn counts(summary: &Summary) -> [usize; 4] {
    [summary.ran, summary.cached, summary.failed.len(), summary.skipped]
}

/// Every kind of edge; `seed` makes one of two contents, by chance: other bits than before, which may be known.
const NET: &str = r#"
  seed: {run: [sh, -c, "head -c 1 /proc/sys/kernel/random/uuid | tr 0-9a-f aaaaaaaabbbbbbbb > {outputs.x}; echo fixed > {outputs.y}"], each: c in s, params: {n: $c.n}, outputs: {x: x, y: y}}
  copy: {run: [cp, "{inputs.x}", "{outputs.x}"], each: c in s, inputs: {x: seed.x}, outputs: {x: x}}
  cut: {run: [sh, -c, "head -c {params.n} {inputs.x} > {outputs.x}"], each: c in s, params: {n: $c.n}, inputs: {x: copy.x}, outputs: {x: x}}
  all: {run: [sh, -c, "cat \"$@\" > {outputs.x}", all, "{inputs.l}"], inputs: {l: ["cut[*].x", "seed[*].x"]}, outputs: {x: x}, publish: {x: all.txt}}
  side: {run: [sh, -c, "cat {inputs.a} {inputs.c} {inputs.s} {inputs.y} > {outputs.x}"], each: c in s, inputs: {a: all.x, c: copy.x, s: seed.x, y: seed.y}, outputs: {x: x}}
  last: {run: [sh, -c, "mkdir {outputs.f}; cat \"$@\" > {outputs.f}/x", last, "{inputs.l}"], inputs: {l: ["side[*].x", "cut[*].x"]}, outputs: {f: f/}, publish: {f: last}}
"#;

#[test]
fn a_second_run_has_nothing_to_do() {
    let lab = Lab::new(NET);
    let first = lab.run().0;
    assert_eq!(
        (first.ran + first.cached, first.failed.len(), first.skipped),
        (14, 0, 0),
        "equal inputs make equal keys"
    );
    let (summary, heard) = lab.run();
    assert_eq!((counts(&summary), heard.lines.len()), ([0, 14, 0, 0], 0));
}

#[test]
fn whatever_content_is_gone_one_run_is_enough() {
    lose_content(&Lab::new(NET));
}

#[test]
fn whatever_content_is_gone_one_run_is_enough_with_intermediates_too() {
    let stages = ["seed: {", "copy: {", "side: {"];
    lose_content(&Lab::new(
        &stages
            .iter()
            .fold(NET.to_owned(), |net, stage| net.replace(stage, &format!("{stage}keep: false, "))),
    ));
}

fn lose_content(lab: &Lab) {
    lab.run();
    // A fixed sequence of choices, so that a failure can be met again.
    let mut state = 7_u64;
    let mut chance = |one_in: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33).is_multiple_of(one_in)
    };
    for round in 0..60 {
        let objects = walkdir::WalkDir::new(lab.path(".ribbon/store/objects")).sort_by_file_name();
        for object in objects.into_iter().flatten().filter(|entry| entry.file_type().is_file()) {
            if chance(2 + round % 5) {
                fs::remove_file(object.path()).unwrap();
            }
        }
        if chance(2) {
            fs::remove_dir_all(lab.path("outputs")).unwrap();
        }
        let (summary, heard) = lab.run();
        assert_eq!((summary.failed.len(), summary.skipped), (0, 0), "round {round}: {:?}", heard.lines);
        assert_eq!(lab.left(), [""; 0], "round {round}: {:?}", heard.lines);
        assert!(
            lab.path("outputs/p/last/x").exists() && lab.path("outputs/p/all.txt").exists(),
            "round {round}"
        );
    }
}

#[test]
fn of_many_intermediates_only_a_handful_exist_at_once() {
    let lab = Lab::new("");
    let numbers: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    let stages = r#"
  train: {run: [sh, -c, "echo network {params.n} > {outputs.x}"], each: c in s, params: {n: $c.n}, outputs: {x: x}, keep: false}
  predict: {run: [sh, -c, "sed s/network/prediction/ {inputs.x} > {outputs.x}"], each: c in s, inputs: {x: train.x}, outputs: {x: x}}
  all: {run: [sh, -c, "cat \"$@\" > {outputs.x}", all, "{inputs.l}"], inputs: {l: "predict[*].x"}, outputs: {x: x}, publish: {x: all.txt}}
"#;
    let head =
        format!("version: 1\nprofile: p\nsweeps: {{s: {{matrix: {{n: [{}]}}}}}}\n", numbers.join(", "));
    fs::write(lab.path("pipeline.yaml"), format!("{head}profiles: {{p: {{}}}}\nstages:{stages}")).unwrap();
    let networks: Vec<PathBuf> = (0..60).map(|n| lab.object(&format!("network {n}\n"))).collect();
    let most = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = most.clone();
    let on_start = move || {
        let there = networks.iter().filter(|path| path.exists()).count();
        seen.fetch_max(there, std::sync::atomic::Ordering::Relaxed);
    };
    let mut heard = Heard { on_start: Some(Box::new(on_start)), ..Heard::default() };
    let options = Options { threads: Some(3), ..Options::default() };
    let summary = lab.try_run(&options, &Interrupts::default(), &mut heard).unwrap();
    assert_eq!(counts(&summary), [121, 0, 0, 0]);
    let most = most.load(std::sync::atomic::Ordering::Relaxed);
    assert!((1..=4).contains(&most), "{most} at once, with 3 threads");
    assert!((0..60).all(|n| !lab.object(&format!("network {n}\n")).exists()));
    assert_eq!(counts(&lab.run().0), [0, 121, 0, 0]);
}

#[test]
fn a_job_whose_input_is_made_again_with_other_bits_while_it_runs_runs_again() {
    let lab = Lab::new("");
    let gone = lab.object("fixed\n");
    let stages = r#"
  a: {run: [sh, -c, "cat /proc/sys/kernel/random/uuid > {outputs.x}; echo fixed > {outputs.y}"], outputs: {x: x, y: y}}
  quick: {run: [sh, -c, "sleep 0.3; echo > {outputs.x}"], outputs: {x: x}, inputs: {y: a.y}}
  slow: {run: [sh, -c, "[ -e ROOT/once ] || { touch ROOT/once; rm GONE; sleep 1; }; cp {inputs.x} {outputs.x}"], inputs: {x: a.x}, outputs: {x: x}}
  needs: {run: [sh, -c, "cp {inputs.y} {outputs.x}"], inputs: {q: quick.x, y: a.y}, outputs: {x: x}}
"#;
    lab.write(&stages.replace("GONE", &gone.to_string_lossy()));
    let (summary, heard) = lab.run();
    assert_eq!((heard.count("done a"), heard.count("done slow")), (2, 2), "{:?}", heard.lines);
    assert_eq!((summary.failed.len(), summary.skipped), (0, 0));
    assert_eq!(lab.left(), [""; 0]);
}

#[test]
fn jobs_with_one_key_run_once() {
    let lab = Lab::new(
        r#"  same: {run: [sh, -c, "echo ran >> ROOT/ran; sleep 0.3; echo > {outputs.x}"], each: c in s, params: {all: $c.all}, outputs: {x: x}}"#,
    );
    let (summary, heard) = lab.run();
    assert_eq!(fs::read_to_string(lab.path("ran")).unwrap(), "ran\n", "{:?}", heard.lines);
    assert_eq!(counts(&summary), [1, 2, 0, 0]);
}

/// Runs a pipeline in two projects with one store at once.
fn run_twice(stages: &str) -> (Vec<Summary>, Lab, Lab) {
    let (here, there) = (Lab::new(stages), Lab::new(""));
    // The same text: the command is part of the key.
    fs::copy(here.path("pipeline.yaml"), there.path("pipeline.yaml")).unwrap();
    fs::create_dir_all(here.path(".ribbon/store")).unwrap();
    fs::create_dir_all(there.path(".ribbon")).unwrap();
    std::os::unix::fs::symlink(here.path(".ribbon/store"), there.path(".ribbon/store")).unwrap();
    let summaries = std::thread::scope(|scope| {
        [&here, &there].map(|lab| scope.spawn(move || lab.run().0)).map(|run| run.join().unwrap())
    });
    (summaries.to_vec(), here, there)
}

#[test]
fn two_runs_over_one_store_share_the_work_and_both_come_to_the_end() {
    let (summaries, here, there) = run_twice(
        r#"
  one: {run: [sh, -c, "echo {params.n} >> ROOT/ran; sleep 0.2; echo {params.n} > {outputs.x}"], each: c in s, params: {n: $c.n}, outputs: {x: x}}
  two: {run: [sh, -c, "echo two >> ROOT/ran; cp {inputs.x} {outputs.x}"], each: c in s, inputs: {x: one.x}, outputs: {x: x}, publish: {x: "{n}.txt"}}
"#,
    );
    assert!(summaries.iter().all(|it| it.failed.is_empty() && it.skipped == 0), "{summaries:?}");
    assert_eq!(summaries.iter().map(|it| it.ran).sum::<usize>(), 6, "{summaries:?}");
    assert_eq!(fs::read_to_string(here.path("ran")).unwrap().lines().count(), 6);
    assert!(here.path("outputs/p/2.txt").exists() && there.path("outputs/p/2.txt").exists());
}

#[test]
fn a_run_that_only_waits_for_another_goes_on_when_that_is_done() {
    let (summaries, here, there) = run_twice(
        r#"
  one: {run: [sh, -c, "sleep 0.5; echo > {outputs.x}"], outputs: {x: x}}
  two: {run: [cp, "{inputs.x}", "{outputs.x}"], inputs: {x: one.x}, outputs: {x: x}, publish: {x: x.txt}}
"#,
    );
    assert!(summaries.iter().all(|it| it.failed.is_empty() && it.skipped == 0), "{summaries:?}");
    assert_eq!(summaries.iter().map(|it| it.ran).sum::<usize>(), 2, "{summaries:?}");
    assert!(here.path("outputs/p/x.txt").exists() && there.path("outputs/p/x.txt").exists());
}

const FAILS: &str = r#"
  one: {run: [sh, -c, "echo {params.n} > {outputs.x}; [ {params.n} != 1 ]"], each: c in s, params: {n: $c.n}, outputs: {x: x}}
  two: {run: [cp, "{inputs.x}", "{outputs.x}"], each: c in s, inputs: {x: one.x}, outputs: {x: x}}
  all: {run: [cp, "{inputs.x}", "{outputs.x}"], inputs: {x: "two[n=0].x", l: "two[*].x"}, outputs: {x: x}}
"#;

#[test]
fn after_a_failure_goes_on_what_does_not_depend_on_it_if_asked() {
    let lab = Lab::new(FAILS);
    let options = Options { threads: Some(1), keep_going: true, ..Options::default() };
    let mut heard = Heard::default();
    let summary = lab.try_run(&options, &Interrupts::default(), &mut heard).unwrap();
    assert_eq!(counts(&summary), [4, 0, 1, 2], "{:?}", heard.lines);
    assert_eq!(heard.count("failed one[n=1]"), 1);

    let lab = Lab::new(FAILS);
    let options = Options { threads: Some(1), ..Options::default() };
    let summary = lab.try_run(&options, &Interrupts::default(), &mut Heard::default()).unwrap();
    assert_eq!(counts(&summary), [2, 0, 1, 4], "one[n=0] and, deepest first, two[n=0]");
}

#[test]
fn an_interrupt_ends_also_jobs_that_do_not_heed_it_and_keeps_what_is_finished() {
    let lab = Lab::new(
        r#"
  quick: {run: [sh, -c, "echo > {outputs.x}"], outputs: {x: x}}
  deaf: {run: [sh, -c, "trap '' TERM; sleep 60"], inputs: {x: quick.x}, outputs: {x: x}}"#,
    );
    let interrupts = Interrupts::default();
    let (caught, starts) = (interrupts.clone(), std::sync::atomic::AtomicU32::new(0));
    let on_start = move || {
        if starts.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1 {
            caught.interrupt();
        }
    };
    let mut heard = Heard { on_start: Some(Box::new(on_start)), ..Heard::default() };
    let summary = lab.try_run(&Options::default(), &interrupts, &mut heard).unwrap();
    assert!(summary.interrupted && summary.seconds < 30.0, "{summary}");
    assert_eq!(counts(&summary), [1, 0, 0, 1]);
    assert_eq!(lab.left(), ["deaf"]);
}

#[test]
fn an_interrupt_before_the_first_job_starts_none() {
    let lab = Lab::new(NET);
    let interrupts = Interrupts::default();
    interrupts.interrupt();
    let mut heard = Heard::default();
    let summary = lab.try_run(&Options::default(), &interrupts, &mut heard).unwrap();
    assert_eq!((counts(&summary), summary.interrupted), ([0, 0, 0, 14], true));
    assert_eq!(heard.lines, [""; 0]);
}

#[test]
fn what_cannot_be_published_ends_the_run_but_not_what_runs() {
    let lab = Lab::new(
        r#"
  quick: {run: [sh, -c, "echo > {outputs.x}"], outputs: {x: x}, publish: {x: x.txt}}
  slow: {run: [sh, -c, "sleep 0.5; echo > {outputs.x}"], params: {a: 1}, outputs: {x: x}}"#,
    );
    fs::write(lab.path("outputs"), "in the way").unwrap();
    let mut heard = Heard::default();
    let options = Options { threads: Some(2), ..Options::default() };
    let error = lab.try_run(&options, &Interrupts::default(), &mut heard).unwrap_err().to_string();
    assert!(error.contains("outputs/p/x.txt"), "{error}");
    assert_eq!(heard.count("done slow"), 1);
    assert_eq!(
        fs::read_to_string(lab.path("pipeline.lock")).unwrap().lines().count(),
        3,
        "a header and both jobs"
    );
    fs::remove_file(lab.path("outputs")).unwrap();
    assert_eq!(counts(&lab.run().0), [0, 2, 0, 0]);
    assert!(lab.path("outputs/p/x.txt").exists());
}

#[test]
fn a_command_finds_its_code_files_and_those_in_its_code_folders() {
    let lab = Lab::new("");
    fs::create_dir(lab.path("scripts")).unwrap();
    fs::write(lab.path("scripts/main.sh"), "echo made > $1").unwrap();
    lab.write(r#"  a: {run: [sh, ./scripts/main.sh, "{outputs.x}"], code: [scripts], outputs: {x: x}, publish: {x: x.txt}}"#);
    assert_eq!(counts(&lab.run().0), [1, 0, 0, 0]);
    assert_eq!(fs::read_to_string(lab.path("outputs/p/x.txt")).unwrap(), "made\n");
}

#[test]
fn braces_that_are_no_placeholders_are_the_commands_own() {
    let lab = Lab::new(
        r#"  a: {run: [sh, -c, "A={}; { echo \"${A}{params.b}\"; } > {outputs.x}"], params: {b: 1}, outputs: {x: x}, publish: {x: x.txt}}"#,
    );
    assert_eq!(counts(&lab.run().0), [1, 0, 0, 0]);
    assert_eq!(fs::read_to_string(lab.path("outputs/p/x.txt")).unwrap(), "{}1\n");
}

#[test]
fn a_job_that_takes_its_time_after_closing_its_output_is_waited_for() {
    let lab =
        Lab::new(r#"  a: {run: [sh, -c, "exec >&- 2>&-; sleep 3; echo > {outputs.x}"], outputs: {x: x}}"#);
    let (summary, _) = lab.run();
    assert_eq!(counts(&summary), [1, 0, 0, 0]);
    assert!(Duration::from_secs_f64(summary.seconds) > Duration::from_secs(2));
}
