//! Running: targets, threads, events, exit codes, failures, logs, and what a stage has to make.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::scratch::{Run, Scratch};
use crate::tiny::{self, WHOLE_PAPER};

#[test]
fn a_first_run_makes_everything_and_the_next_one_nothing() {
    let paper = tiny::paper();
    let first = paper.run("");
    assert_eq!((first.code, first.made().as_str()), (Some(0), WHOLE_PAPER), "{}", first.err);
    assert_eq!(paper.read(".ribbon/.gitignore"), "*\n", "nobody commits a store");
    assert_eq!(paper.told().len(), 14);
    let figure = "Networks\nfc 1 lies at 0.1 on cat dog ship\nfc 2 lies at 0.1 on cat dog ship\n\
                  vit 1 lies at 0.1 on cat dog ship\nvit 2 lies at 0.1 on cat dog ship\n";
    assert_eq!(paper.read("outputs/quick/figures/figure.svg"), figure);
    let second = paper.run("");
    assert_eq!((second.code, second.made().as_str(), second.count("cached")), (Some(0), "nothing", 14));
    assert_eq!(paper.told(), [""; 0]);
}

#[test]
fn a_target_is_a_stage_or_jobs_by_their_labels_or_a_published_path() {
    let paper = tiny::paper();
    assert_eq!(paper.run("train[arch=fc,seed=2]").made(), "prepare 1, train 1");
    assert_eq!(paper.run("predict[arch=fc]").made(), "train 1, predict 2");
    assert_eq!(paper.run("train").made(), "train 2");
    assert_eq!(paper.run("outputs/quick/tables/points.txt").made(), "predict 2, distance 3, embed 1");
    assert!(paper.exists("outputs/quick/tables/points.txt"));
    assert!(!paper.exists("outputs/quick/figures"));
    assert_eq!(paper.run("").made(), "figure 1");
}

#[test]
fn a_folder_of_outputs_is_a_target() {
    let paper = tiny::paper();
    assert_eq!(paper.run("outputs/quick/figures/").made(), WHOLE_PAPER);
    assert_eq!(paper.run("outputs/quick").made(), "nothing");
}

#[test]
fn the_pipeline_is_found_from_a_folder_below_and_by_its_path() {
    let paper = tiny::paper();
    paper.write("notes/today.txt", "");
    assert_eq!(paper.start_in("notes", "run --json prepare").end().made(), "prepare 1");
    assert_eq!(paper.run("--pipeline notes/../pipeline.yaml prepare").count("cached"), 1);
    std::fs::copy(paper.path("pipeline.yaml"), paper.path("notes/other.yaml")).unwrap();
    let other = paper.run("--pipeline notes/other.yaml prepare");
    assert!(other.code == Some(2) && other.err.contains("called pipeline.yaml"), "{other:?}");
    assert!(!paper.path("notes/.ribbon").exists());
    let elsewhere = Scratch::new(&[("notes.txt", "")]).ribbon("run");
    assert_eq!(elsewhere.code, Some(2));
    assert!(elsewhere.err.contains("above it; go to the project, or name one"), "{}", elsewhere.err);
    let called =
        Scratch::new(&[("pipeline.yml", ""), ("notes/today.txt", "")]).start_in("notes", "run").end();
    assert!(called.err.contains("/pipeline.yml is there: call it pipeline.yaml"), "{}", called.err);
}

#[test]
fn a_label_of_a_target_is_a_number_however_it_is_written() {
    let paper = tiny::paper();
    paper.edit("pipeline.yaml", "seed: [1, 2]", "seed: [1, 0.00001]");
    assert_eq!(paper.run("train[seed=1.0]").made(), "prepare 1, train 2");
    assert_eq!(paper.run("train[arch=fc,seed=1e-5]").made(), "train 1");
    assert_eq!(paper.run("train[arch=vit,seed=0.00001]").made(), "train 1");
    // Text that looks like one is none.
    paper.edit("pipeline.yaml", "seed: [1, 0.00001]", "seed: ['1.1', 1]");
    let refused = paper.ribbon("status train[seed=1.10]");
    assert!(refused.err.contains("has seed=1.10; seed is one of 1, 1.1"), "{refused:?}");
}

#[test]
fn a_wrong_target_is_told_with_what_is_near() {
    let paper = tiny::paper();
    let says = |target: &str, message: &str| {
        let run = paper.run(target);
        assert_eq!(run.code, Some(2));
        assert!(run.err.contains(message), "{}", run.err);
    };
    says("trian", "no stage `trian`, did you mean `train`?");
    says("train[arch=cnn]", "no job of stage train has arch=cnn; arch is one of fc, vit");
    says("train[width=3]", "its labels are arch, seed");
    says("train[arch", "`train[arch`: labels are written NAME=VALUE");
    says(
        "train[seed=1,seed=2]",
        "`train[seed=1,seed=2]`: the label seed is here twice; a job has one value of it",
    );
    says("train[seed=1.5]", "no job of stage train has seed=1.5; seed is one of 1, 2");
    says("outputs/quick/figures/figur.svg", "did you mean `outputs/quick/figures/figure.svg`?");
}

#[test]
fn a_stage_of_some_profiles_is_run_there_and_its_jobs_are_the_same() {
    let paper = tiny::paper();
    paper.edit("pipeline.yaml", "  figure:\n", "  figure:\n    profiles: [quick]\n");
    assert_eq!(paper.run("--profile paper").made(), "prepare 1, train 4, predict 4, distance 3, embed 1");
    let elsewhere = paper.run("--profile paper figure");
    assert_eq!(elsewhere.code, Some(2));
    let message = "profile paper has no stage `figure`; say --profile quick";
    assert!(elsewhere.err.contains(message), "{}", elsewhere.err);
    assert_eq!(paper.run("").made(), "figure 1");
}

#[test]
fn words_that_name_an_input_are_left_out_where_the_profile_has_none() {
    let stages = "version: 1\nprofile: whole\nprofiles: {whole: {}, part: {}}\nstages:\n  \
                  extra: {profiles: [whole], run: [touch, '{outputs.o}'], outputs: {o: o.txt}}\n  \
                  count:\n    run: [sh, -c, 'echo $# > \"$0\"', '{outputs.o}', a, '{inputs.more}', '--more={inputs.more}']\n    \
                  inputs: {more: 'extra.o?'}\n    outputs: {o: o.txt}\n    publish: {o: o.txt}\n";
    let project = Scratch::new(&[("pipeline.yaml", stages)]);
    for (profile, words) in [("whole", "3\n"), ("part", "1\n")] {
        let run = project.run(&format!("--profile {profile}"));
        assert_eq!(run.code, Some(0), "{}", run.err);
        assert_eq!(project.read(&format!("outputs/{profile}/o.txt")), words);
    }
}

#[test]
fn a_project_whose_path_is_no_text_is_refused_before_a_job_would_be_told_it() {
    let paper = tiny::paper();
    let folder = paper.path("..").join(OsStr::from_bytes(b"caf\xe9"));
    std::fs::rename(paper.path(""), &folder).unwrap();
    std::fs::create_dir(paper.path("")).unwrap();
    let there = "cd \"$(printf '../caf\\351')\" && exec \"$0\" \"$@\"";
    let run = paper.start_by(&["sh", "-c", there, env!("CARGO_BIN_EXE_ribbon")], "", "run").end();
    assert!(run.code == Some(2) && run.err.contains("caf\\xE9\" is not written in UTF-8"), "{run:?}");
}

#[test]
fn wrong_use_exits_with_2() {
    let paper = tiny::paper();
    for words in ["", "run --nonsense", "fly", "run --set rate", "run --profile none", "run --set nothing=1"]
    {
        assert_eq!(paper.ribbon(words).code, Some(2), "{words}");
    }
    assert_eq!(paper.ribbon("--help").code, Some(0));
}

#[test]
fn json_tells_every_job_from_its_start_to_its_end() {
    let run = tiny::paper().run("train");
    let kinds = |job: &str| -> Vec<String> {
        let events = run.events().into_iter().filter(|event| event["job"] == job);
        events.map(|event| event["event"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds("prepare"), ["started", "done"]);
    assert_eq!(kinds("train[arch=vit,seed=2]"), ["started", "done"]);
    let stages = run.events_of("stage");
    assert_eq!(stages[1]["stage"], "train");
    assert_eq!((stages[1]["needed"].as_u64(), stages[1]["current"].as_u64()), (Some(4), Some(0)));
    assert_eq!(run.count("ran") + run.count("cached") + run.count("failed") + run.count("skipped"), 5);
}

#[test]
fn without_json_people_get_a_line_a_job_and_a_last_one() {
    let run = tiny::paper().ribbon("run train");
    assert!(run.out.starts_with("ran 5, cached 0, failed 0 in "), "{}", run.out);
    assert_eq!(run.out.lines().count(), 1);
    assert!(run.err.contains("done    train[arch=fc,seed=1] ("), "{}", run.err);
    assert_eq!(run.err.lines().count(), 5);
}

/// Two jobs; each fails unless it meets the other.
fn meeting() -> Scratch {
    let script = r#"touch "$HOME/here-$1"; i=0
while [ ! -e "$HOME/here-$2" ] && [ $i -lt $3 ]; do sleep 0.02; i=$((i + 1)); done
[ -e "$HOME/here-$2" ] && echo met > "$4""#;
    let pipeline = r#"version: 1
profile: quick
params: {patience: 3000}
profiles: {quick: {about: two jobs}}
stages:
  one: {run: [sh, meet.sh, a, b, "{params.patience}", "{outputs.o}"], code: [meet.sh], params: {patience: $patience}, outputs: {o: o.txt}}
  two: {run: [sh, meet.sh, b, a, "{params.patience}", "{outputs.o}"], code: [meet.sh], params: {patience: $patience}, outputs: {o: o.txt}}
"#;
    Scratch::new(&[("pipeline.yaml", pipeline), ("meet.sh", script)])
}

#[test]
fn as_many_jobs_run_at_once_as_there_are_threads() {
    assert_eq!(meeting().run("-j 2").code, Some(0));
    let alone = meeting().run("-j 1 --set patience=1");
    assert_eq!((alone.code, alone.count("failed")), (Some(1), 1));
}

#[test]
fn a_job_of_two_threads_runs_alone_on_two() {
    let meeting = meeting();
    meeting.edit("pipeline.yaml", "  one: {", "  one: {needs: {threads: 2}, ");
    let run = meeting.run("-j 2 --keep-going --set patience=1");
    assert_eq!((run.code, run.count("failed")), (Some(1), 1));
}

/// The paper, in which one network does not train.
fn failing() -> Scratch {
    let paper = tiny::paper();
    let fails = "[ \"$1 $2\" = 'fc 1' ] && { echo 'step 120: the loss is NaN' >&2; exit 3; }\n";
    let script = paper.read("train.sh");
    paper.write("train.sh", &format!("{fails}{script}"));
    paper
}

#[test]
fn a_failure_stops_the_run_and_keeps_what_is_finished() {
    let paper = failing();
    let run = paper.run("-j 1");
    assert_eq!((run.code, run.made().as_str()), (Some(1), "prepare 1"));
    assert_eq!(run.jobs("failed"), ["train[arch=fc,seed=1]"]);
    assert_eq!((run.count("failed"), run.count("skipped")), (1, 12));
    paper.edit("train.sh", "fc 1", "none");
    assert_eq!(paper.run("").made(), "train 4, predict 4, distance 3, embed 1, figure 1");
}

#[test]
fn keep_going_makes_all_that_does_not_depend_on_a_failure() {
    let paper = failing();
    let run = paper.run("--keep-going");
    assert_eq!((run.code, run.made().as_str()), (Some(1), "prepare 1, train 3, predict 3, distance 1"));
    assert_eq!((run.count("failed"), run.count("skipped")), (1, 5));
    let again = paper.run("--keep-going");
    assert_eq!((again.made().as_str(), again.count("cached"), again.count("failed")), ("nothing", 8, 1));
}

#[test]
fn a_failure_shows_what_the_job_said_and_where_the_log_is() {
    let paper = failing();
    let run = paper.ribbon("run -j 1");
    let expected = "failed  train[arch=fc,seed=1]: it ended with exit status 3\n  | step 120: the loss is NaN\n  \
                    the whole log: ribbon log 'train[arch=fc,seed=1]'\n";
    assert!(run.err.contains(expected), "{}", run.err);
    assert!(run.out.starts_with("ran 1, cached 0, failed 1, skipped 12"), "{}", run.out);
    let log = paper.ribbon("log train[arch=fc,seed=1]");
    assert_eq!(log.out, "step 120: the loss is NaN\n[ribbon: failed] it ended with exit status 3\n");
}

#[test]
fn several_failed_jobs_are_named_at_the_end() {
    let many = tiny::many(12, "[ $1 = 2 ] && echo $1 > $2\n");
    let out = many.ribbon("run -j 1 --keep-going").out;
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..3], ["failed:", "  slow[n=1]", "  slow[n=3]"], "{out}");
    assert_eq!(lines[10..12], ["  slow[n=11]", "  and 1 more"], "{out}");
    assert!(lines[12].starts_with("ran 1, cached 0, failed 11, skipped 1 in "), "{out}");
}

#[test]
fn only_the_end_of_a_long_log_is_shown_with_a_failure() {
    let paper = tiny::paper();
    paper.write("train.sh", "seq 1 3000; exit 1\n");
    let run = paper.run("train[arch=fc,seed=1]");
    let lines: Vec<String> =
        run.events_of("failed")[0]["log"].as_array().unwrap().iter().map(|it| it.to_string()).collect();
    assert_eq!((lines.len(), lines[0].as_str(), lines[19].as_str()), (20, "\"2981\"", "\"3000\""));
    assert_eq!(paper.ribbon("log train[arch=fc,seed=1]").out.lines().count(), 3001);
}

#[test]
fn the_log_of_a_job_that_went_well_is_kept() {
    let paper = tiny::paper();
    paper.run("prepare");
    assert_eq!(paper.ribbon("log prepare").out, "3 images\n");
    let silent = paper.ribbon("log figure");
    assert_eq!((silent.code, silent.out.as_str()), (Some(0), ""));
    let several = paper.ribbon("log train");
    assert_eq!(several.code, Some(2));
    assert!(
        several.err.contains("train is 4 jobs; a log is of one: add labels in brackets"),
        "{}",
        several.err
    );
}

#[test]
fn force_runs_what_is_up_to_date_and_equal_outputs_end_it_there() {
    let paper = tiny::paper();
    paper.run("");
    assert_eq!(paper.run("--force train[arch=fc]").made(), "train 2");
    assert_eq!(paper.run("").made(), "nothing");
}

#[test]
fn jobs_that_differ_in_nothing_are_one() {
    let paper = tiny::paper();
    paper.edit("pipeline.yaml", "seed: $network.seed, rate", "seed: 7, rate");
    let run = paper.run("-j 2 train");
    assert_eq!((run.code, run.made().as_str()), (Some(0), "prepare 1, train 2"));
    assert_eq!(run.jobs("spared"), ["train[arch=fc,seed=2]", "train[arch=vit,seed=2]"]);
    assert_eq!(paper.told(), ["prepare", "train fc 7", "train vit 7"]);
}

#[test]
fn set_changes_a_parameter_for_this_run() {
    let paper = tiny::paper();
    paper.run("");
    assert_eq!(paper.run("--set title=Changed").made(), "figure 1");
    assert!(paper.read("outputs/quick/figures/figure.svg").starts_with("Changed\n"));
    assert_eq!(paper.run("").made(), "nothing");
    assert!(paper.read("outputs/quick/figures/figure.svg").starts_with("Networks\n"));
}

/// A stage `make` with one output, a file or a folder, that runs this script.
pub fn stage(output: &str, script: &str) -> Scratch {
    let pipeline = format!(
        "version: 1\nprofile: quick\nprofiles: {{quick: {{about: one stage}}}}\nstages:\n  make:\n    \
         run: [sh, make.sh, '{{outputs.made}}']\n    code: [make.sh]\n    outputs: {{made: {output}}}\n    \
         publish: {{made: {output}}}\n"
    );
    Scratch::new(&[("pipeline.yaml", &pipeline), ("make.sh", script)])
}

/// What is said of the one job that failed.
pub fn why_it_failed(run: &Run) -> String {
    assert_eq!(run.code, Some(1));
    run.events_of("failed")[0]["what"].as_str().unwrap().to_owned()
}

#[test]
fn a_stage_makes_what_it_declares_and_nothing_else() {
    let says = |output: &str, script: &str, message: &str| {
        let what = why_it_failed(&stage(output, script).run(""));
        assert!(what.ends_with(message), "{what}");
    };
    says("made.txt", "true", "it ended without making its output `made` (made.txt)");
    says(
        "made.txt",
        "echo > $1; echo > $(dirname $1)/x.txt",
        "it made `x.txt`, which pipeline.yaml does not declare as an output",
    );
    says("made.txt", "mkdir $1", "made.txt is a folder, expected a file");
    says("made/", "echo > $1", "made is a file, expected a folder");
    says("made.txt", "ln -s /etc/hostname $1", "made.txt is a symbolic link, expected a file");
    says("made.txt", "echo > $1; kill -SEGV $$", "it was ended by signal 11");
    says("made.txt", "echo '{\"event\": \"error\", \"what\": \"no images\"}'; echo > $1", "no images");
}

#[test]
fn nothing_of_a_failed_job_is_kept() {
    let project = stage("made.txt", "echo half > $1; exit 1");
    project.run("");
    assert!(!project.exists("outputs"));
    assert!(!project.path(".ribbon/store/objects").exists());
    assert_eq!(project.read("pipeline.lock").lines().count(), 1, "the header");
}

#[test]
fn a_folder_is_an_artifact_too() {
    let project = stage("made/", "mkdir -p $1/deep; echo one > $1/one.txt; echo two > $1/deep/two.txt");
    assert_eq!(project.run("").code, Some(0));
    assert_eq!(project.read("outputs/quick/made/deep/two.txt"), "two\n");
    assert_eq!(project.run("").count("ran"), 0);
    assert!(project.locked("make")[3].starts_with("made/="), "{:?}", project.locked("make"));
}

#[test]
fn a_flood_of_progress_is_told_as_often_as_it_can_be_read() {
    let project = stage(
        "made.txt",
        "yes '{\"event\": \"progress\", \"done\": 3, \"of\": 7, \"note\": \"\"}' | head -200000; echo > $1",
    );
    let run = project.run("");
    assert_eq!(run.code, Some(0), "{}", run.err);
    let told = run.events_of("progress").len();
    assert!((1..2000).contains(&told), "{told} of 200,000");
}

#[test]
fn a_command_tells_its_progress() {
    let project = stage(
        "made.txt",
        "echo '{\"event\": \"progress\", \"done\": 3, \"of\": 7, \"note\": \"loss 0.3\"}'; echo > $1",
    );
    let event = &project.run("").events_of("progress")[0];
    assert_eq!(
        (event["done"].as_u64(), event["of"].as_u64(), event["note"].as_str()),
        (Some(3), Some(7), Some("loss 0.3"))
    );
}

#[test]
fn a_command_has_braces_of_its_own_and_a_list_is_a_word_of_its_own() {
    let paper = tiny::paper();
    paper.edit(
        "pipeline.yaml",
        "cat {inputs.images} > {outputs.data}",
        "{ cat {inputs.images}; echo ${LANG}; } > {outputs.data}",
    );
    assert_eq!(paper.run("prepare").code, Some(0));
    paper.edit("pipeline.yaml", "weights: train.weights", "weights: \"train[*].weights\"");
    let run = paper.run("predict");
    assert_eq!((run.code, paper.told().len()), (Some(2), 1), "{run:?}");
    assert!(run.err.contains("pipeline.yaml:29:19: `{inputs.weights}` is a list"), "{run:?}");
}

#[test]
fn a_shell_takes_the_name_of_an_input_for_one_word() {
    let project = stage("made.txt", "");
    let name = "my data; rm -rf $HOME 'é' (2).v1.txt";
    let run = "run: [sh, -c, 'cat {inputs.from} > {outputs.made}; echo {inputs.from} >> {outputs.made}']";
    project.edit("pipeline.yaml", "run: [sh, make.sh, '{outputs.made}']", run);
    let input = format!("  make:\n    inputs: {{from: \"./{name}\"}}\n");
    project.edit("pipeline.yaml", "  make:\n", &input);
    project.write(name, "data\n");
    let run = project.run("");
    assert_eq!(run.code, Some(0), "{run:?}");
    let made = project.read("outputs/quick/made.txt");
    assert!(
        made.starts_with("data\n") && made.ends_with(".from.0.my_data__rm_-rf__HOME__é___2_.v1.txt\n"),
        "{made}"
    );
}

#[test]
fn a_job_sees_only_the_variables_that_are_declared_and_these_are_part_of_its_key() {
    let mut project = stage("made.txt", "echo $SEEN $HIDDEN > $1");
    project.edit("pipeline.yaml", "  make:\n", "  make:\n    env: [SEEN]\n");
    project.set("SEEN", "seen");
    project.set("HIDDEN", "hidden");
    project.run("");
    assert_eq!(project.read("outputs/quick/made.txt"), "seen\n");
    project.set("HIDDEN", "changed");
    assert_eq!(project.run("").count("ran"), 0);
    project.set("SEEN", "changed");
    assert_eq!(project.run("").count("ran"), 1);
    assert_eq!(project.read("outputs/quick/made.txt"), "changed\n");
}

#[test]
fn a_source_that_changes_under_a_job_fails_it() {
    let project = stage("made.txt", "");
    project.edit("pipeline.yaml", "  make:\n", "  make:\n    inputs: {from: ./from.txt}\n");
    project.write("from.txt", "before");
    let source = project.path("from.txt");
    project.write("make.sh", &format!("echo after > {}; echo > $1", source.display()));
    // In its sandbox a job cannot do this itself.
    let what = why_it_failed(&project.run("--no-sandbox"));
    assert!(what.ends_with("from.txt changed while the job ran; run again"), "{what}");
}

#[test]
fn a_run_takes_the_cores_it_may_run_on_and_no_more_than_slurm_gives() {
    let mut slow = tiny::slow();
    let about = "profiles: {quick: {about: twelve slow jobs}}";
    slow.edit("pipeline.yaml", about, "profiles: {quick: {costs: {slow: [{seconds: 1}]}}}");
    let ribbon = env!("CARGO_BIN_EXE_ribbon");
    let one = slow.start_by(&["taskset", "-c", "0", ribbon], "", "run -n").end();
    assert!(one.code == Some(0) && one.out.contains(" with 1 thread"), "{one:?}");
    slow.set("SLURM_CPUS_ON_NODE", "1");
    let one = slow.ribbon("run -n");
    assert!(one.code == Some(0) && one.out.contains(" with 1 thread"), "{one:?}");
}

#[test]
fn braces_in_a_parameter_reach_the_program() {
    let many = tiny::many(1, "echo $3\necho $1 > $2\n");
    many.edit("pipeline.yaml", "{n: $number.n}", "{n: $number.n, name: '{n}'}");
    many.edit("pipeline.yaml", "\"{outputs.made}\"]", "\"{outputs.made}\", 'run_{params.name}.png']");
    assert_eq!(many.run("slow").code, Some(0));
    assert_eq!(many.ribbon("log slow").out, "run_{n}.png\n");
}

#[test]
fn names_with_an_equals_sign_stay_as_they_are_in_a_shells_program() {
    let paper = tiny::paper();
    paper.edit("pipeline.yaml", "{data: data.txt}", "{data: 'lr=0.1.csv'}");
    paper.edit("pipeline.yaml", "echo 3 images", "echo {outputs.data}");
    assert_eq!(paper.run("prepare").code, Some(0));
    let log = paper.ribbon("log prepare").out;
    assert!(log.ends_with("/lr=0.1.csv\n"), "{log}");
}
