//! Editing: sources touched, comments, a renamed variable, a changed constant, compile errors, scripts, parameters.

use std::fs::{self, File};
use std::time::SystemTime;

use crate::scratch::{Scratch, wait_until};
use crate::tiny::{self, WHOLE_PAPER};

const MAIN: &str = "stages/square/src/main.rs";

#[test]
fn touching_every_source_runs_nothing() {
    let paper = tiny::paper();
    paper.run("");
    for file in ["pipeline.yaml", "images.txt", "train.sh", "embed.sh", "pipeline.lock"] {
        File::open(paper.path(file)).unwrap().set_modified(SystemTime::now()).unwrap();
    }
    assert_eq!(paper.run("").made(), "nothing");
    // Written anew with the same text, as an editor or a checkout does.
    for file in ["images.txt", "train.sh"] {
        let text = paper.read(file);
        paper.remove(file);
        paper.write(file, &text);
    }
    assert_eq!(paper.run("").made(), "nothing");
}

#[test]
fn what_does_not_change_a_program_starts_neither_cargo_nor_a_job() {
    let mut squares = tiny::squares();
    assert_eq!(squares.run("").code, Some(0));
    squares.forbid_cargo();
    let source = squares.read(MAIN);
    let edits = [
        ("touched", source.clone()),
        ("a comment", source.replace("    tell(number);", "    // Says so.\n    tell(number);")),
        ("a doc line", source.replace("//! Squares numbers.", "//! Squares numbers, one after the other.")),
        ("other line breaks", source.replace("fn tell(number: u64) {", "fn tell(\n    number: u64,\n)\n{")),
        (
            "a unit test",
            format!("{source}\n#[cfg(test)]\nmod tests {{\n    #[test]\n    fn one() {{}}\n}}\n"),
        ),
    ];
    for (what, text) in edits {
        squares.write(MAIN, &text);
        let run = squares.run("");
        assert_eq!((run.code, run.made().as_str()), (Some(0), "nothing"), "{what}: {}", run.err);
    }
}

#[test]
fn a_renamed_variable_runs_its_stage_and_nothing_below() {
    let squares = tiny::squares();
    squares.run("");
    squares.write(MAIN, &squares.read(MAIN).replace("squared", "product"));
    let run = squares.run("");
    assert_eq!((run.code, run.made().as_str()), (Some(0), "square 3"), "{}", run.err);
    assert_eq!(run.jobs("spared"), ["total"]);
    assert_eq!(squares.run("").made(), "nothing");
}

#[test]
fn a_changed_constant_runs_what_is_below_and_going_back_runs_nothing() {
    let mut squares = tiny::squares();
    squares.run("");
    squares.edit(MAIN, "= \"square\";", "= \"the square\";");
    assert_eq!(squares.run("").made(), "square 3, total 1");
    assert!(squares.read("outputs/quick/total.txt").starts_with("the square 1\n"));
    squares.edit(MAIN, "= \"the square\";", "= \"square\";");
    squares.forbid_cargo();
    assert_eq!(squares.run("").made(), "nothing");
    assert!(squares.read("outputs/quick/total.txt").starts_with("square 1\n"));
}

#[test]
fn a_compile_error_is_shown_as_the_compiler_writes_it_and_all_else_stays() {
    let squares = tiny::squares();
    squares.run("");
    squares.edit(MAIN, "number * number", "number * nubmer");
    let run = squares.ribbon("run");
    assert_eq!(run.code, Some(1));
    let lines = [
        "error[E0425]: cannot find value `nubmer` in this scope",
        "--> stages/square/src/main.rs:18:32",
        "stages/square does not build",
    ];
    for line in lines {
        assert!(run.err.contains(line), "no `{line}` in\n{}", run.err);
    }
    squares.edit(MAIN, "number * nubmer", "number * number");
    assert_eq!(squares.run("").made(), "nothing");
}

#[test]
fn an_edited_script_runs_its_jobs_and_nothing_below_that_comes_out_equal() {
    let paper = tiny::paper();
    paper.run("");
    paper.edit("train.sh", "trained at $3 on", "trained  at $3 on");
    assert_eq!(paper.run("").made(), "train 4, predict 4, distance 3, embed 1, figure 1");
    paper.edit("embed.sh", "sort -u \"$@\" |", "cat \"$@\" | sort -u |");
    assert_eq!(paper.run("").made(), "embed 1");
}

#[test]
fn an_edited_source_file_runs_what_reads_it() {
    let paper = tiny::paper();
    paper.run("");
    paper.write("images.txt", "cat dog ship plane\n");
    assert_eq!(paper.run("").made(), WHOLE_PAPER);
    // As long as before, and at once: no clock is fine enough to tell.
    paper.write("images.txt", "cat dog ship horse\n");
    assert_eq!(paper.run("").made(), WHOLE_PAPER);
    assert!(paper.read("outputs/quick/figures/figure.svg").contains("horse"));
}

#[test]
fn a_changed_parameter_runs_the_stages_that_declare_it() {
    let paper = tiny::paper();
    paper.run("");
    paper.edit("pipeline.yaml", "title: Networks", "title: Four networks");
    assert_eq!(paper.run("").made(), "figure 1");
    paper.edit("pipeline.yaml", "rate: 0.1", "rate: 0.2");
    assert_eq!(paper.run("").made(), "train 4, predict 4, distance 3, embed 1, figure 1");
    paper.edit("pipeline.yaml", "rate: 0.2", "rate: 2.0e-1 # another way to write it");
    assert_eq!(paper.run("").made(), "nothing");
}

#[test]
fn what_only_schedules_or_tells_people_is_in_no_key() {
    let paper = tiny::paper();
    paper.run("");
    paper.edit(
        "pipeline.yaml",
        "  embed:\n",
        "  embed:\n    about: InPCA\n    needs: {memory: 1G, gpu: prefer}\n",
    );
    paper.edit("pipeline.yaml", "tables/points.txt", "tables/embedding.txt");
    assert_eq!(paper.run("").made(), "nothing");
    assert!(paper.exists("outputs/quick/tables/embedding.txt"));
}

#[test]
fn code_that_is_edited_while_its_jobs_run_is_not_cached_under_the_old_key() {
    let project = tiny::slow();
    fs::write(project.home("hold-1"), "").unwrap();
    let run = project.start("run --json --keep-going -j 1");
    wait_until("the first job is at work", || project.told_so_far() == ["1"]);
    let before = project.read("slow.sh");
    project.edit("slow.sh", "number $1", "edited $1");
    fs::remove_file(project.home("hold-1")).unwrap();
    let run = run.end();
    assert_eq!((run.code, run.count("ran"), run.count("failed")), (Some(1), 0, 12), "{run:?}");
    let why: Vec<String> =
        run.events_of("failed").iter().map(|event| event["what"].as_str().unwrap().to_owned()).collect();
    assert_eq!(why[0], "slow.sh changed while the job ran; run again");
    assert_eq!(why[11], "slow.sh changed since the run began; run again");
    assert_eq!(project.told(), ["1"], "the others did not even begin");
    project.write("slow.sh", &before);
    assert_eq!(project.run("").made(), "slow 12, join 1", "nothing stands under the old keys");
    assert!(project.read("outputs/quick/all.txt").starts_with("number 1\n"));
}

#[test]
fn a_file_that_is_added_to_a_code_folder_while_a_job_runs_is_noticed() {
    let project = Scratch::new(&[
        (
            "pipeline.yaml",
            "version: 1\nprofile: quick\nprofiles: {quick: {}}\nstages:\n  a:\n    run: [sh, code/main.sh, '{outputs.x}']\n    code: [code]\n    outputs: {x: x.txt}\n",
        ),
        (
            "code/main.sh",
            "echo begun >> $HOME/ran\nwhile [ -e $HOME/hold ]; do sleep 0.02; done\necho > $1\n",
        ),
    ]);
    fs::write(project.home("hold"), "").unwrap();
    let run = project.start("run --json");
    wait_until("the job is at work", || project.told_so_far() == ["begun"]);
    project.write("code/helper.sh", "more\n");
    fs::remove_file(project.home("hold")).unwrap();
    let failed = run.end().events_of("failed");
    assert_eq!(failed[0]["what"], "code/helper.sh changed while the job ran; run again");
}

/// A stage that reads a folder, and waits while there is a file `hold` in its home.
fn held() -> Scratch {
    Scratch::new(&[
        (
            "pipeline.yaml",
            "version: 1\nprofile: quick\nprofiles: {quick: {}}\nstages:\n  a:\n    run: [sh, -c, 'echo begun >> $HOME/ran; \
             while [ -e $HOME/hold ]; do sleep 0.02; done; cat {inputs.images}/* > {outputs.x}']\n    \
             inputs: {images: ./images}\n    tools: {sh: ./sh.txt}\n    outputs: {x: x.txt}\n",
        ),
        ("images/one.txt", "one\n"),
        ("sh.txt", "dash 0.5\n"),
    ])
}

#[test]
fn inputs_and_pins_that_change_while_a_job_runs_are_noticed() {
    let project = held();
    for (file, other) in [("sh.txt", "dash 0.6\n"), ("images/one.txt", "two\n"), ("images/two.txt", "two\n")]
    {
        fs::write(project.home("hold"), "").unwrap();
        let run = project.start("run --json");
        wait_until("the job is at work", || project.told_so_far() == ["begun"]);
        let before = project.exists(file).then(|| project.read(file));
        project.write(file, other);
        fs::remove_file(project.home("hold")).unwrap();
        let failed = run.end().events_of("failed");
        assert_eq!(failed.len(), 1, "{file}");
        let what = failed[0]["what"].as_str().unwrap();
        assert!(what.ends_with(" changed while the job ran; run again"), "{file}: {what}");
        assert!(what.contains(file.split('/').next().unwrap()), "{file}: {what}");
        project.told();
        match before {
            Some(text) => project.write(file, &text),
            None => project.remove(file),
        }
    }
    assert_eq!(project.run("").made(), "a 1", "nothing stands under the old key");
}

#[test]
fn an_input_that_changes_and_changes_back_while_a_job_runs_is_noticed() {
    let project = held();
    fs::write(project.home("hold"), "").unwrap();
    let run = project.start("run --json");
    wait_until("the job is at work", || project.told_so_far() == ["begun"]);
    for text in ["two\n", "one\n"] {
        project.write("images/one.txt", text);
    }
    fs::remove_file(project.home("hold")).unwrap();
    let failed = run.end().events_of("failed");
    let what = failed[0]["what"].as_str().unwrap();
    assert!(what.ends_with("images/one.txt changed while the job ran; run again"), "{what}");
    assert_eq!(project.run("").made(), "a 1");
}

#[test]
fn a_failed_command_is_told_of_a_file_that_its_code_does_not_name() {
    let project = Scratch::new(&[
        (
            "pipeline.yaml",
            "version: 1\nprofile: p\nprofiles: {p: {}}\nstages:\n  a:\n    run: [sh, code/main.sh, '{outputs.x}']\n    \
             outputs: {x: x.txt}\n",
        ),
        ("code/main.sh", "echo 1 > $1\n"),
    ]);
    let run = project.ribbon("run");
    assert_eq!(run.code, Some(1));
    let hint = "hint: code/main.sh is a file of the project; name it in the stage's `code`";
    assert!(run.err.contains(hint), "{run:?}");
    project.edit("pipeline.yaml", "    outputs:", "    code: [code]\n    outputs:");
    let run = project.run("");
    assert_eq!((run.code, run.out.contains("hint:")), (Some(0), false));
}
