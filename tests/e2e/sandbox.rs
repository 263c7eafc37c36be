//! The sandbox: a job opens what is declared and nothing else, and reaches no network.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::run::{stage, why_it_failed};
use crate::scratch::{Run, Scratch};
use crate::skip::skipped;
use crate::tiny;

const HINT: &str = "hint: the sandbox lets a job open its inputs";

/// Whether a job failed for it was refused something, and its user was told what to do.
fn was_refused(run: &Run) -> bool {
    let failed = run.events_of("failed");
    let log = failed.first().map(|event| event["log"].to_string()).unwrap_or_default();
    run.code == Some(1) && log.contains("Permission denied") && log.contains(HINT)
}

#[test]
fn a_job_opens_neither_secrets_nor_the_project_nor_other_jobs_artifacts() {
    let paper = tiny::paper();
    assert_eq!(paper.run("train").code, Some(0));
    paper.write("../secret", "secret");
    let others = paper.object("train[arch=fc,seed=1]");
    for path in [paper.path("../secret"), paper.path("images.txt"), paper.path("pipeline.lock"), others] {
        let project = stage("made.txt", &format!("cat {} > $1", path.display()));
        let run = project.run("");
        assert!(was_refused(&run), "{run:?}");
        let free = project.run("--no-sandbox");
        assert_eq!((free.code, free.count("ran")), (Some(0), 1), "{free:?}");
    }
}

#[test]
fn a_job_writes_its_outputs_and_its_scratch_and_nothing_else() {
    let project = stage("made.txt", "");
    let makes = |script: &str| {
        project.write("make.sh", script);
        project.run("")
    };
    let elsewhere = project.path("../elsewhere");
    assert!(was_refused(&makes(&format!("echo > {} || exit 1; echo > $1", elsewhere.display()))));
    assert!(!elsewhere.exists());
    assert!(was_refused(&makes("echo > $(dirname $RIBBON_JOB)/job.json || exit 1; echo > $1")));
    let run = makes("echo one > here; echo two > $TMPDIR/there; cat here there > all; mv all $1");
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(project.read("outputs/quick/made.txt"), "one\ntwo\n");
    let run = makes("ls -A > $1");
    assert_eq!((run.code, project.read("outputs/quick/made.txt").as_str()), (Some(0), ""), "{run:?}");
}

#[test]
fn a_job_cannot_write_to_its_inputs() {
    let project = stage("made.txt", "chmod u+w $2; echo changed > $2; cat $2 > $1");
    project.edit("pipeline.yaml", "'{outputs.made}'", "'{outputs.made}', '{inputs.from}'");
    project.edit("pipeline.yaml", "  make:\n", "  make:\n    inputs: {from: ./from.txt}\n");
    project.write("from.txt", "before\n");
    assert_eq!(project.run("").code, Some(0));
    assert_eq!(project.read("outputs/quick/made.txt"), "before\n");
    assert_eq!(project.read("from.txt"), "before\n");
}

#[test]
fn only_a_stage_that_says_so_reaches_the_network() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    for protocol in ["tcp", "udp"] {
        let script = format!("exec 3<>/dev/{protocol}/127.0.0.1/{port} || exit 1; echo > $1");
        let project = stage("made.txt", &script);
        project.edit("pipeline.yaml", "[sh, make.sh", "[bash, make.sh");
        let run = project.run("");
        assert!(was_refused(&run), "{protocol}: {run:?}");
        project.edit("pipeline.yaml", "  make:\n", "  make:\n    network: true\n");
        let run = project.run("");
        assert_eq!(run.code, Some(0), "{protocol}: {run:?}");
    }
}

#[test]
fn a_declared_folder_is_read_and_a_missing_one_is_named() {
    let project = stage("made.txt", "cat \"$2\" > $1");
    project.edit("pipeline.yaml", "'{outputs.made}'", "'{outputs.made}', ../lib/one.txt");
    project.edit("pipeline.yaml", "  make:\n", "  make:\n    reads: [../lib]\n");
    let lib = project.path("../lib").display().to_string();
    let what = why_it_failed(&project.run(""));
    assert_eq!(what, format!("{lib} of the stage's `reads` is not there; make it first"));
    project.write("../lib/one.txt", "one\n");
    let run = project.run("");
    assert_eq!((run.code, project.read("outputs/quick/made.txt").as_str()), (Some(0), "one\n"), "{run:?}");
}

#[test]
fn of_a_folder_of_code_a_job_reads_what_is_in_its_key_and_no_more() {
    let project = stage("made.txt", "");
    project.edit("pipeline.yaml", "code: [make.sh]", "code: [make.sh, lib]");
    project.edit("pipeline.yaml", "'{outputs.made}'", "'{outputs.made}', lib");
    project.write("lib/in/one.txt", "one\n");
    for script in ["ls $2 > /dev/null && cat $2/in/one.txt > $1", "cat $2/in/* > $1"] {
        project.write("make.sh", script);
        let run = project.run("");
        assert_eq!(
            (run.code, project.read("outputs/quick/made.txt").as_str()),
            (Some(0), "one\n"),
            "{run:?}"
        );
    }
    // What is hidden may change without anybody noticing.
    for hidden in ["lib/.style", "lib/in/.git/config", "lib/__pycache__/one.pyc"] {
        project.write(hidden, "style\n");
        project.write("make.sh", &format!("cat $2{} > $1", hidden.strip_prefix("lib").unwrap()));
        assert!(was_refused(&project.run("")), "{hidden}");
    }
}

/// A device that looks like a GPU's and takes everything, as `/dev/null` does; none where this user makes no devices.
struct FakeGpu(PathBuf);

impl FakeGpu {
    fn new() -> Option<FakeGpu> {
        let path = PathBuf::from(format!("/dev/nvidia-fake-{}", std::process::id()));
        let made = Command::new("mknod").args(["-m", "666"]).arg(&path).args(["c", "1", "3"]).output();
        // Where a container lets nobody use new devices, it can be made and not opened.
        if made.is_ok_and(|made| made.status.success()) && fs::write(&path, "").is_ok() {
            return Some(FakeGpu(path));
        }
        skipped(&format!("jobs with GPUs are not tested: {} cannot be made (root may)", path.display()));
        None
    }
}

impl Drop for FakeGpu {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn only_a_stage_that_needs_a_gpu_opens_its_device() {
    let Some(gpu) = FakeGpu::new() else { return };
    let mut project = stage("made.txt", &format!("echo > {} || exit 1; echo > $1", gpu.0.display()));
    // One card, which nobody looks for.
    project.set("CUDA_VISIBLE_DEVICES", "0");
    let run = project.run("");
    assert!(was_refused(&run), "{run:?}");
    for (from, to) in [("  make:\n", "  make:\n    needs: {gpu: prefer}\n"), ("prefer", "require")] {
        project.edit("pipeline.yaml", from, to);
        let run = project.run("--force make");
        assert_eq!(run.code, Some(0), "{run:?}");
    }
}

#[test]
fn only_a_stage_that_needs_a_gpu_names_its_threads_as_the_driver_does() {
    let mut project =
        stage("made.txt", "printf named >> /proc/self/task/$$/comm || exit 1; cat /proc/$$/comm > $1");
    project.set("CUDA_VISIBLE_DEVICES", "");
    let run = project.run("");
    assert!(was_refused(&run), "{run:?}");
    project.edit("pipeline.yaml", "  make:\n", "  make:\n    needs: {gpu: prefer}\n");
    let run = project.run("");
    assert_eq!((run.code, project.read("outputs/quick/made.txt").as_str()), (Some(0), "named\n"), "{run:?}");
}

#[test]
fn what_a_job_may_reach_and_how_long_it_may_take_is_not_part_of_its_key() {
    let project = stage("made.txt", "echo > $1");
    assert_eq!(project.run("").count("ran"), 1);
    let settings = "  make:\n    reads: [/usr]\n    network: true\n    timeout: 1h 30m\n    retries: 3\n";
    project.edit("pipeline.yaml", "  make:\n", settings);
    assert_eq!(project.run("").count("ran"), 0);
}

/// A stage that runs Python out of a virtual environment of the project, whose packages `requirements.txt` pins.
fn python() -> Scratch {
    let pipeline = r#"version: 1
profile: quick
profiles: {quick: {about: a Python stage}}
stages:
  plot:
    run: [.venv/bin/python, plot.py, "{outputs.o}"]
    code: [plot.py]
    reads: [.venv]
    tools: {python: ./requirements.txt}
    outputs: {o: o.txt}
    publish: {o: o.txt}
"#;
    let plot =
        "import sys, ctypes, tempfile, numbers_of\nopen(sys.argv[1], 'w').write(f'{numbers_of.N}\\n')\n";
    let files = [("pipeline.yaml", pipeline), ("plot.py", plot), ("requirements.txt", "numbers-of==1\n")];
    let project = Scratch::new(&files);
    let venv =
        Command::new("python3").args(["-m", "venv", "--without-pip"]).arg(project.path(".venv")).status();
    assert!(venv.unwrap().success(), "python3 makes virtual environments");
    project
}

#[test]
fn a_python_stage_in_a_virtual_environment_works_and_its_pinned_packages_are_part_of_its_key() {
    let project = python();
    let library = fs::read_dir(project.path(".venv/lib")).unwrap().next().unwrap().unwrap().path();
    let package = library.join("site-packages/numbers_of.py");
    fs::write(&package, "N = 1").unwrap();
    let run = project.run("");
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(project.read("outputs/quick/o.txt"), "1\n");
    fs::write(&package, "N = 20").unwrap();
    project.write("requirements.txt", "numbers-of==20\n");
    assert_eq!(project.run("").count("ran"), 1);
    assert_eq!(project.read("outputs/quick/o.txt"), "20\n");
    project.write("plot.py", &format!("open('{}')", project.path("pipeline.lock").display()));
    let run = project.run("");
    assert!(was_refused(&run), "{run:?}");
}

#[test]
fn a_stage_that_is_a_crate_is_in_the_sandbox_too() {
    let squares = tiny::squares();
    squares.write("secret.txt", "secret");
    let secret = squares.path("secret.txt");
    let read = format!("    tell(number);\n    std::fs::read({secret:?}).unwrap();\n");
    squares.edit("stages/square/src/main.rs", "    tell(number);\n", &read);
    let run = squares.run("-j 1");
    assert_eq!(run.code, Some(1));
    let failed = run.events_of("failed")[0]["log"].to_string();
    assert!(failed.contains("PermissionDenied") || failed.contains("Permission denied"), "{failed}");
    assert!(failed.contains(HINT), "{failed}");
}

#[test]
fn where_the_kernel_has_no_landlock_a_run_says_so_once_and_goes_on() {
    let run = std::thread::spawn(|| {
        // This thread, and what it starts, finds the system call missing.
        let calls = [(nix::libc::SYS_landlock_create_ruleset, Vec::new())];
        let missing = SeccompAction::Errno(nix::libc::ENOSYS as u32);
        let arch = std::env::consts::ARCH.try_into().unwrap();
        let filter = SeccompFilter::new(calls.into(), SeccompAction::Allow, missing, arch).unwrap();
        seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
        tiny::paper().run("")
    });
    let run = run.join().unwrap();
    assert_eq!((run.code, run.made().as_str()), (Some(0), tiny::WHOLE_PAPER), "{run:?}");
    let notes = run.events_of("note");
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0]["text"].as_str().unwrap().contains("no Landlock"), "{notes:?}");
}
