//! What a user is told beside a failure: what to declare, what to write otherwise.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::run::{stage, why_it_failed};
use crate::scratch::{Run, Scratch};

/// The hints of the one job that failed.
fn hints(run: &Run) -> Vec<String> {
    let failed = run.events_of("failed");
    let lines = failed[0]["log"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned());
    lines.filter(|line| line.starts_with("hint: ")).collect()
}

/// A stage whose command is its script, which may be run or not.
fn script(text: &str, mode: u32) -> Scratch {
    let project = stage("made.txt", text);
    project.edit("pipeline.yaml", "[sh, make.sh, ", "[make.sh, ");
    fs::set_permissions(project.path("make.sh"), fs::Permissions::from_mode(mode)).unwrap();
    project
}

#[test]
fn a_network_that_is_not_declared_is_told_of() {
    let print = "echo 'curl: (6) Could not resolve host: example.org' >&2; exit 6";
    let project = stage("made.txt", print);
    let hints_of = || hints(&project.run(""));
    let found = hints_of();
    assert!(found.len() == 1 && found[0].contains("`network: true`"), "{found:?}");
    project.edit("pipeline.yaml", "  make:\n", "  make:\n    network: true\n");
    assert_eq!(hints_of(), [""; 0]);
}

#[test]
fn an_output_in_the_working_folder_is_told_of() {
    let run = stage("made.txt", "echo > made.txt").run("");
    let hint = "hint: made.txt lies in the folder that the job worked in, which is emptied; write it to `{outputs.made}`";
    assert_eq!(hints(&run), [hint]);
    assert_eq!(hints(&stage("made.txt", "echo > other.txt").run("")), [""; 0]);
}

#[test]
fn a_module_that_code_does_not_name_is_told_of() {
    let python = |import: &str, code: &str| {
        let project = stage("made.txt", "");
        project.edit("pipeline.yaml", "[sh, make.sh, ", "[python3, code/make.py, ");
        project.edit("pipeline.yaml", "code: [make.sh]", &format!("code: [{code}]"));
        project.write(
            "code/make.py",
            &format!("import sys\nimport {import}\nopen(sys.argv[1], 'w').write('1')\n"),
        );
        project.write("code/helpers/text.py", "");
        project.write("more.py", "");
        project.write("numpie/table.csv", "");
        // Of a network or a refusal nothing is said here, whatever this Python prints.
        let run = project.run("");
        (run.code == Some(1)).then(|| hints(&run).pop()).flatten().unwrap_or_default()
    };
    let hint = |path: &str, kind: &str| {
        format!(
            "hint: {path} is a {kind} of the project; name it in the stage's `code`, so that the job gets it, and runs again when it changes"
        )
    };
    assert_eq!(python("helpers.text", "code/make.py"), hint("code/helpers", "folder"));
    assert_eq!(python("more", "code/make.py"), hint("more.py", "file"));
    assert_eq!(python("numpie", "code/make.py"), "");
    assert_eq!(python("nothing_of_us", "code/make.py"), "");
    assert_eq!(python("helpers.text", "code"), "");
}

#[test]
fn a_python_without_its_library_is_told_of() {
    let print = "echo 'Fatal Python error: init_fs_encoding: failed to get the Python codec' >&2; exit 1";
    let found = hints(&stage("made.txt", print).run(""));
    assert!(found.len() == 1 && found[0].contains("Call that Python directly"), "{found:?}");
}

#[test]
fn a_script_that_nobody_may_run_is_told_of_and_not_the_sandbox() {
    let run = script("#!/bin/sh\necho > $1\n", 0o644).run("");
    let (what, hints_of) = (why_it_failed(&run), hints(&run));
    assert!(what.contains("make.sh is not executable; say `chmod +x "), "{what}");
    assert_eq!(hints_of, [""; 0]);
    let project = stage("made.txt", "");
    project.edit("pipeline.yaml", "[sh, make.sh, ", "[sh, -c, '\"$0\" \"$1\"', make.sh, ");
    fs::set_permissions(project.path("make.sh"), fs::Permissions::from_mode(0o644)).unwrap();
    let found = hints(&project.run(""));
    assert_eq!(
        found,
        [
            "hint: make.sh is not executable; say `chmod +x make.sh`, or name what runs it, as in [sh, make.sh]"
        ]
    );
}

#[test]
fn an_interpreter_that_is_not_there_and_ends_of_lines_of_windows_are_told_of() {
    let says = |first: &str, told: &str| {
        let run = script(&format!("{first}\necho > $1\n"), 0o755).run("");
        let what = format!("{} {:?}", why_it_failed(&run), hints(&run));
        assert!(what.contains(told), "{what}");
    };
    says("#!/nowhere/python3 -u", "its first line names /nowhere/python3, which is not there");
    let windows = "make.sh ends as on Windows; take the carriage returns out: sed -i 's/";
    says("#!/bin/sh\r", windows);
    says("#!/usr/bin/env sh\r", &format!("\"hint: the first line of {windows}"));
}
