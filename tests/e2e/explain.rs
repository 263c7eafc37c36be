//! Explaining: why, dry runs, status, where a figure came from, and what other programs read.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::scratch::{Scratch, wait_until};
use crate::tiny;

#[test]
fn why_tells_old_and_new_values_and_alike_jobs_together_root_first() {
    let paper = tiny::paper();
    paper.run("");
    let why = paper.ribbon("why figure --set rate=0.2").out;
    let lines: Vec<&str> = why.lines().collect();
    assert_eq!(lines[0], "4 train jobs: params.rate 0.1 -> 0.2");
    assert_eq!(lines[1], "4 predict jobs: if outputs of train change");
    assert_eq!(lines.last(), Some(&"would run 4, and up to 9 more if outputs change; 1 up to date"));
    let dry_run = paper.ribbon("run --dry-run --set rate=0.2").out;
    // It says the same, and what that costs.
    let (same, costs): (Vec<&str>, Vec<&str>) = dry_run.lines().partition(|line| lines.contains(line));
    assert_eq!(same, lines);
    assert!(
        costs[0].starts_with("stage ") && costs.iter().any(|line| line.starts_with("disk: ")),
        "{costs:?}"
    );
    assert_eq!(paper.told().len(), 14, "nothing ran but the first run");
}

#[test]
fn why_tells_of_one_job_by_its_name() {
    let paper = tiny::paper();
    paper.run("");
    let why = |words: &str| paper.ribbon(&format!("why {words}")).out;
    assert_eq!(
        why("figure --set title=New").lines().next(),
        Some("figure: params.title \"Networks\" -> \"New\"")
    );
    assert_eq!(why("figure"), "would run 0; 14 up to date\n");
    assert_eq!(
        why("train[arch=fc,seed=1] --set rate=0.2").lines().next(),
        Some("train[arch=fc,seed=1]: params.rate 0.1 -> 0.2")
    );
}

#[test]
fn why_tells_which_file_of_the_code_changed() {
    let paper = tiny::paper();
    paper.run("");
    paper.edit("train.sh", "trained", "finished");
    assert_eq!(paper.ribbon("why train").out.lines().next(), Some("4 train jobs: code: train.sh changed"));
}

#[test]
fn why_tells_which_file_of_a_crate_changed() {
    let squares = tiny::squares();
    squares.run("");
    squares.edit("stages/square/src/main.rs", "\"square\";", "\"the square\";");
    let why = squares.ribbon("why square").out;
    assert_eq!(why.lines().next(), Some("3 square jobs: code: stages/square/src/main.rs changed"));
}

#[test]
fn why_tells_which_inputs_changed_and_how_many() {
    let paper = tiny::paper();
    paper.run("");
    paper.edit("pipeline.yaml", "    settings:\n", "    include: [{arch: vit, seed: 3}]\n    settings:\n");
    paper.run("predict");
    let why = paper.ribbon("why distance").out;
    assert!(why.contains("distance[cols=vit,rows=fc]: inputs.cols: 1 added\n"), "{why}");
    assert!(
        why.contains("distance[cols=vit,rows=vit]\n    inputs.cols: 1 added\n    inputs.rows: 1 added\n"),
        "{why}"
    );
}

#[test]
fn why_tells_what_never_ran_what_is_forced_and_what_is_gone() {
    let paper = tiny::paper();
    assert!(paper.ribbon("why train").out.starts_with("prepare: it never ran\n"));
    paper.run("");
    assert_eq!(paper.ribbon("run --dry-run --force prepare").out.lines().next(), Some("prepare: --force"));
    std::fs::remove_file(paper.object("embed")).unwrap();
    let why = paper.ribbon("why figure --set title=New").out;
    assert_eq!(why.lines().next(), Some("embed: its output `points` is needed and not in the store"));
}

#[test]
fn a_job_that_failed_is_not_called_one_that_never_ran() {
    let paper = tiny::paper();
    let train = paper.read("train.sh");
    paper.write("train.sh", &format!("{train}[ $1 = vit ] || exit 3\n"));
    let failed = "2 train jobs: it failed when it last ran (ribbon log 'train[arch=fc,seed=1]')\n";
    assert_eq!(paper.run("--keep-going").count("failed"), 2);
    for words in ["why train", "run -n"] {
        let told = paper.ribbon(words).out;
        assert!(told.starts_with(failed), "{told}");
        assert!(told.contains("\nembed: it never ran\n") || words == "why train", "{told}");
    }
    let status = paper.ribbon("status").out;
    let failed = "failed when last run: train[arch=fc,seed=1], train[arch=fc,seed=2] (ribbon log 'train[arch=fc,seed=1]')\n";
    assert!(status.contains(failed), "{status}");
    // After another change it is a job that has not run yet, as it is now.
    paper.write("train.sh", &train);
    assert!(paper.ribbon("why train[arch=fc]").out.starts_with("2 train jobs: it never ran\n"));
    assert_eq!(paper.run("").code, Some(0));
    // One that ran well before.
    paper.write("train.sh", "exit 3\n");
    paper.run("");
    let why = paper.ribbon("why train[arch=fc,seed=1]").out;
    let failed =
        "train[arch=fc,seed=1]\n    code: train.sh changed\n    it failed when it last ran (ribbon log ";
    assert!(why.starts_with(failed), "{why}");
}

/// Ends a run of the first of slow jobs, which is told as such.
fn interrupt_the_first(slow: &Scratch) {
    let running = slow.start("run slow[n=1]");
    wait_until("it has begun", || slow.told_so_far().len() == 1);
    running.signal(Signal::SIGINT);
    assert_eq!(running.end().code, Some(130));
    let why = slow.ribbon("why slow[n=1]").out;
    assert!(why.starts_with("slow[n=1]: it was ended when it last ran (ribbon log "), "{why}");
}

#[test]
fn a_job_whose_run_was_interrupted_is_not_called_one_that_failed() {
    let slow = tiny::slow();
    std::fs::write(slow.home("hold-1"), "").unwrap();
    interrupt_the_first(&slow);
    assert!(!slow.ribbon("status").out.contains("failed"));
}

#[test]
fn a_job_that_ends_itself_with_its_run_did_not_fail() {
    let slow = tiny::slow();
    std::fs::write(slow.home("hold-1"), "").unwrap();
    let script = slow.read("slow.sh");
    slow.write("slow.sh", &format!("trap 'echo failed: no time; exit 1' TERM\n{script}"));
    interrupt_the_first(&slow);
    let log = slow.ribbon("log slow[n=1]").out;
    assert!(log.ends_with("failed: no time\n[ribbon: interrupted] it ended with exit status 1\n"), "{log}");
}

#[test]
fn what_a_job_prints_of_failures_is_not_how_it_ended() {
    let slow = tiny::slow();
    std::fs::write(slow.home("hold-1"), "").unwrap();
    let script = slow.read("slow.sh");
    slow.write("slow.sh", &format!("echo failed: to read the weather\n{script}"));
    let running = slow.start("run slow[n=1]");
    wait_until("it has said so", || slow.ribbon("log slow[n=1]").out == "failed: to read the weather\n");
    running.signal(Signal::SIGKILL);
    running.end();
    assert_eq!(slow.ribbon("why slow[n=1]").out.lines().next(), Some("slow[n=1]: it never ran"));
}

#[test]
fn a_job_that_failed_after_many_words_failed() {
    let many = tiny::many(1, "head -c 17000000 /dev/zero | tr '\\0' x | fold -w 100000\nexit 3\n");
    assert_eq!(many.run("").count("failed"), 1);
    assert!(many.ribbon("why slow").out.starts_with("slow[n=1]: it failed when it last ran"));
    many.write("slow.sh", r#"printf '{"event": "error", "what": "Traceback:\\nValueError"}\n'"#);
    assert_eq!(many.run("").count("failed"), 1);
    assert!(many.ribbon("log slow").out.ends_with("Traceback:\n[ribbon: failed] ValueError\n"));
    assert!(many.ribbon("why slow").out.starts_with("slow[n=1]: it failed when it last ran"));
}

#[test]
fn status_counts_jobs_and_check_sets_the_exit_code() {
    let paper = tiny::paper();
    let row = |text: &str, stage: &str| -> Vec<String> {
        let line = text.lines().find(|line| line.starts_with(stage)).unwrap();
        line.split_whitespace().map(str::to_owned).collect()
    };
    let before = paper.ribbon("status");
    assert_eq!(
        (before.code, row(&before.out, "prepare")),
        (Some(0), ["prepare", "1", "0", "1", "0"].map(String::from).to_vec())
    );
    assert_eq!(row(&before.out, "train"), ["train", "4", "0", "4", "0"], "it is certain to run");
    assert_eq!(paper.ribbon("status --check").code, Some(1));
    paper.run("");
    let after = paper.ribbon("status --check");
    assert_eq!(
        (after.code, row(&after.out, "train")),
        (Some(0), ["train", "4", "4", "0", "0"].map(String::from).to_vec())
    );
    paper.remove("outputs/quick/figures");
    assert_eq!(paper.ribbon("status --check").code, Some(1));
}

#[test]
fn jobs_without_records_are_told_together() {
    let paper = tiny::paper();
    paper.run("");
    let why = paper.clone_as("clone").ribbon("why train --set rate=0.2").out;
    let expected = "4 train jobs: its key differs from pipeline.lock's, whose record is not in this store\n";
    assert!(why.contains(expected), "{why}");
}

/// The last line of what a dry run tells.
fn last(project: &Scratch, words: &str) -> String {
    project.ribbon(&format!("run -n {words}")).out.lines().last().unwrap().to_owned()
}

#[test]
fn what_never_ran_or_has_another_setting_runs_whatever_its_inputs_come_out_as() {
    let paper = tiny::paper();
    assert_eq!(last(&paper, ""), "would run 14; 0 up to date");
    paper.run("");
    let expected = "would run 5, and up to 9 more if outputs change; 0 up to date";
    paper.write("images.txt", "horse\n");
    assert_eq!(last(&paper, "--set rate=0.2"), expected);
    // Without records, by the lock.
    let clone = paper.clone_as("clone");
    assert_eq!(last(&clone, "--set rate=0.2"), expected);
    assert_eq!(last(&clone, ""), "would run 1, and up to 13 more if outputs change; 0 up to date");
}

#[test]
fn what_the_store_has_of_an_earlier_setting_is_not_certain_to_run() {
    let paper = tiny::paper();
    paper.run("");
    paper.run("--set rate=0.2");
    let expected = "would run 1, and up to 13 more if outputs change; 0 up to date";
    paper.edit("pipeline.yaml", "echo 3 images", "echo three images");
    assert_eq!(last(&paper, ""), expected);
    assert_eq!(paper.run("").made(), "prepare 1");
    // Without a lock, by the record of what runs again.
    paper.remove("pipeline.lock");
    assert_eq!(last(&paper, "--force prepare"), expected);
    assert_eq!(paper.run("--force prepare").made(), "prepare 1");
}

#[test]
fn an_output_more_makes_what_takes_the_others_not_certain_to_run() {
    let paper = tiny::paper();
    paper.run("");
    let clone = paper.clone_as("clone");
    clone.edit("pipeline.yaml", "cat {inputs.images} >", "echo > {outputs.more}; cat {inputs.images} >");
    clone.edit("pipeline.yaml", "{data: data.txt}", "{data: data.txt, more: more.txt}");
    assert_eq!(last(&clone, ""), "would run 1, and up to 13 more if outputs change; 0 up to date");
}

#[test]
fn status_tells_what_would_run_again_for_its_content_is_nowhere() {
    let paper = tiny::paper();
    paper.edit("pipeline.yaml", "    publish: {svg: figures/figure.svg}\n", "");
    paper.run("");
    assert_eq!(paper.ribbon("status --check").code, Some(0));
    std::fs::remove_file(paper.object("figure")).unwrap();
    let status = paper.ribbon("status --check");
    let expected = "1 job would run again to make what is needed and not in this store\n\
                    by pipeline.lock, all is up to date\n";
    assert!(status.out.ends_with(expected) && !status.out.contains("published"), "{}", status.out);
    assert_eq!(status.code, Some(1));
    assert_eq!(paper.run("").made(), "figure 1");
}

#[test]
fn status_is_told_to_programs_and_of_targets() {
    let paper = tiny::paper();
    paper.run("");
    let json = |words: &str| -> Value { serde_json::from_str(&paper.ribbon(words).out).unwrap() };
    let status = json("status --json --set title=New");
    assert_eq!(
        (&status["current"], &status["done"], &status["again"]),
        (&false.into(), &false.into(), &0.into())
    );
    let figure = serde_json::json!({"stage": "figure", "jobs": 1, "current": 0, "stale": 1, "waiting": 0});
    assert_eq!((&status["stages"][5], status["stages"].as_array().unwrap().len()), (&figure, 6));
    let status = json("status --json --set title=New outputs/quick/tables");
    assert_eq!((&status["done"], status["stages"].as_array().unwrap().len()), (&true.into(), 5));
    paper.remove("outputs/quick/tables");
    assert_eq!(json("status --json")["unplaced"], serde_json::json!(["tables/points.txt"]));
    paper.remove(".ribbon");
    let status = json("status --json");
    assert_eq!(status["absent"], serde_json::json!(["tables/points.txt"]));
    assert_eq!((&status["current"], &status["again"]), (&true.into(), &13.into()));
}

#[test]
fn status_names_the_first_of_many_paths() {
    let many = tiny::many(12, "echo $1 > $2\n");
    many.edit("pipeline.yaml", "    outputs: {made: made.txt}\n", PUBLISHED);
    many.run("");
    many.remove("outputs");
    let status = many.ribbon("status").out;
    assert!(status.contains("not as published: 1.txt, 2.txt, "), "{status}");
    assert!(status.contains(" and 5 more (ribbon run places them)\n"), "{status}");
}

const PUBLISHED: &str = "    outputs: {made: made.txt}\n    publish: {made: \"{n}.txt\"}\n";

#[test]
fn show_goes_back_from_a_figure_to_the_hash_of_the_data() {
    let paper = tiny::paper();
    paper.run("");
    let show = paper.ribbon("show outputs/quick/figures/figure.svg").out;
    assert!(show.starts_with("figure\n"), "{show}");
    assert!(show.contains("-> outputs/quick/figures/figure.svg"), "{show}");
    assert!(show.contains(&paper.locked("figure")[2]), "the figure's key\n{show}");
    for job in [
        "embed\n",
        "train[arch=fc,seed=1]\n",
        "prepare\n",
        "params.title = \"Networks\"",
        "from   points: embed.points",
    ] {
        assert!(show.contains(job), "no {job} in\n{show}");
    }
    let images = blake3::hash(b"cat dog ship\n").to_hex();
    assert!(show.contains(&format!("./images.txt\n  {images} (13 B)\n")), "{show}");
}

#[test]
fn show_says_what_is_not_up_to_date() {
    let paper = tiny::paper();
    assert!(paper.ribbon("show figure").out.starts_with("figure\n  not up to date: ribbon why 'figure'\n"));
}

#[test]
fn the_graph_is_drawn_for_two_programs() {
    let paper = tiny::paper();
    let dot = paper.ribbon("graph --format dot").out;
    assert!(dot.starts_with("digraph pipeline {\n") && dot.ends_with("}\n"), "{dot}");
    assert!(dot.contains("s1 [label = \"train x 4\"") && dot.contains("s0 -> s1;"), "{dot}");
    let mermaid = paper.ribbon("graph --format mermaid").out;
    assert!(mermaid.starts_with("flowchart LR\n") && mermaid.contains("s1[\"train x 4\"]"), "{mermaid}");
}

#[test]
fn the_graph_is_a_page_with_states_that_needs_nothing_else() {
    let paper = tiny::paper();
    paper.run("");
    paper.edit("pipeline.yaml", "title: Networks", "title: \"</script>{{data}}\"");
    let page = paper.ribbon("graph --format html").out;
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"), "{page}");
    assert!(page.contains("6 stages, 14 jobs, 13 up to date, "), "{page}");
    for outside in ["http:", "https:", "src=", "@import", "{{style}}", "{{drawing}}", "{{section}}"] {
        assert!(!page.contains(outside), "{outside} in\n{page}");
    }
    assert_eq!(page.matches("class=\"stage\"").count(), 6);
    assert_eq!(page.matches("class=\"edge\"").count(), 5);
    let data = page.split("id=\"pipeline-data\">").nth(1).unwrap().split("</script>").next().unwrap();
    let stages: Value = serde_json::from_str(data).unwrap();
    let (train, figure) = (&stages[1], &stages[5]);
    assert_eq!((&train["name"], &train["jobs"][0]["name"]), (&"train".into(), &"arch=fc,seed=1".into()));
    assert_eq!(train["jobs"][0]["state"], "current");
    assert!(train["jobs"][0]["seconds"].as_f64().unwrap() > 0.0);
    assert!(
        train["settings"].as_array().unwrap().contains(&serde_json::json!(["inputs.data", "prepare.data"]))
    );
    assert_eq!(figure["jobs"][0]["state"], "stale");
    assert_eq!(figure["jobs"][0]["files"], serde_json::json!(["outputs/quick/figures/figure.svg"]));
    assert_eq!(
        figure["why"],
        serde_json::json!(["figure: params.title \"Networks\" -> \"</script>{{data}}\""])
    );
}

#[test]
fn the_schema_is_json_and_knows_the_words_of_a_stage() {
    let schema: Value = serde_json::from_str(&tiny::paper().ribbon("schema").out).unwrap();
    assert!(schema["$schema"].is_string());
    for word in ["crate", "publish", "pairs", "needs", "matrix"] {
        assert!(schema.to_string().contains(&format!("\"{word}\":")), "{word}");
    }
}

#[test]
fn completions_are_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let run = tiny::paper().ribbon(&format!("completions {shell}"));
        assert_eq!(run.code, Some(0));
        assert!(run.out.contains("keep-going"), "{shell}: {}", run.out);
    }
}

#[test]
fn profiles_are_listed_and_a_path_under_outputs_says_which() {
    let paper = tiny::paper();
    assert_eq!(paper.ribbon("profiles").out, "* quick  four networks\n  paper  the same ones\n");
    let run = paper.run("outputs/paper/figures/figure.svg");
    assert_eq!((run.code, run.made().as_str()), (Some(0), tiny::WHOLE_PAPER));
    assert!(paper.exists("outputs/paper/figures/figure.svg") && !paper.exists("outputs/quick"));
    let shown = |words: &str| paper.ribbon(&format!("show {words}"));
    assert!(shown("outputs/paper/figures/figure.svg").out.starts_with("figure\n"));
    assert!(shown("./outputs/paper/tables").out.starts_with("embed\n"));
    let unknown = shown("outputs/papr/figures/figure.svg");
    let none = "no stage publishes outputs/papr/figures/figure.svg in profile quick";
    assert!(unknown.err.contains(none), "{}", unknown.err);
    assert!(
        shown("outputs/figure.svg").err.contains("no stage publishes outputs/figure.svg in profile quick")
    );
    let end = shown("figures/figure.svg");
    assert!(end.err.contains("did you mean `outputs/quick/figures/figure.svg`?"), "{}", end.err);
    assert!(shown("figure.svg").err.contains("did you mean `outputs/quick/figures/figure.svg`?"));
    let other = shown("outputs/paper/figures/figure.svg --profile quick");
    assert!(other.err.contains("no stage publishes outputs/paper/figures/figure.svg in profile quick"));
}

#[test]
fn a_path_that_is_forced_says_the_profile_and_all_paths_say_the_same() {
    let paper = tiny::paper();
    assert_eq!(paper.run("outputs/paper/figures/figure.svg").code, Some(0));
    assert_eq!(paper.run("--force outputs/paper/tables/points.txt").made(), "embed 1");
    assert!(!paper.exists("outputs/quick"));
    let two = paper.ribbon("run outputs/paper/tables --force outputs/quick/tables");
    let told =
        "a command is about one profile; outputs/paper/tables is of paper, outputs/quick/tables of quick";
    assert_eq!((two.code, two.err.as_str()), (Some(2), format!("ribbon: {told}\n").as_str()));
}

#[test]
fn a_dry_run_has_no_events_to_tell() {
    let run = tiny::paper().ribbon("run --dry-run --json");
    assert_eq!(run.code, Some(2));
}
