//! Light runs: cheap stages on what heavy ones made before, said loudly, and never taken for up to date.

use crate::scratch::Scratch;
use crate::tiny;

/// The paper with `train` marked heavy, run.
fn paper() -> Scratch {
    let paper = tiny::paper();
    paper.run("");
    paper.edit("pipeline.yaml", "  train:\n", "  train:\n    heavy: true\n");
    assert_eq!(paper.run("").made(), "nothing", "the mark is in no key");
    paper.told();
    paper
}

#[test]
fn cheap_stages_run_on_what_heavy_ones_made_and_the_lock_stays_true() {
    let paper = paper();
    let train = paper.locked("train[arch=fc,seed=1]");
    paper.edit("train.sh", "trained at", "TRAINED at");
    paper.edit("pipeline.yaml", "title: Networks", "title: Nets");
    let dry = paper.ribbon("run --light --dry-run").out;
    assert!(dry.starts_with("figure: params.title \"Networks\" -> \"Nets\"\n"), "{dry}");
    let run = paper.run("--light");
    assert_eq!((run.code, run.made().as_str(), run.count("skipped")), (Some(0), "figure 1", 0));
    let left = &run.events_of("left")[0];
    assert_eq!(left["stage"], "train");
    assert_eq!(left["jobs"].as_array().unwrap().len(), 4);
    assert_eq!(left["results"], serde_json::json!(["tables/points.txt", "figures/figure.svg"]));
    assert!(paper.read("outputs/quick/figures/figure.svg").starts_with("Nets\n"));
    assert_eq!(paper.told(), ["figure"], "nothing heavy ran");
    assert_eq!(
        paper.locked("train[arch=fc,seed=1]"),
        train,
        "its line is of what it made, for the key it had"
    );
    let status = paper.ribbon("status --check");
    assert_eq!(status.code, Some(1));
    let of = |stage: &str| status.out.lines().find(|line| line.starts_with(stage)).unwrap().to_owned();
    assert_eq!(of("train").split_whitespace().collect::<Vec<_>>(), ["train", "4", "0", "4", "0"]);
    assert_eq!(of("figure").split_whitespace().collect::<Vec<_>>(), ["figure", "1", "0", "0", "1"]);
    // In full: what is heavy runs, what depends on it follows, and nothing of the light run is taken for it.
    assert_eq!(paper.run("").made(), "train 4, predict 4, distance 3, embed 1, figure 1");
    assert!(paper.read("outputs/quick/figures/figure.svg").contains("TRAINED"));
}

#[test]
fn what_a_light_run_made_counts_when_the_heavy_stage_comes_out_equal() {
    let paper = paper();
    paper.edit("train.sh", "trained at", "trained  at");
    paper.edit("train.sh", "echo \"$1 $2 trained  at", "echo $1 $2 trained  at");
    paper.edit("train.sh", "$(cat \"$4\")\"", "$(cat \"$4\")");
    paper.edit("pipeline.yaml", "title: Networks", "title: Nets");
    assert_eq!(paper.run("--light").made(), "figure 1");
    assert_eq!(paper.run("").made(), "train 4");
}

#[test]
fn people_are_told_which_results_are_from_what_is_out_of_date() {
    let paper = paper();
    paper.edit("pipeline.yaml", "rate: 0.1", "rate: 0.2");
    let told = paper.ribbon("run --light");
    let expected = "note    tables/points.txt, figures/figure.svg are from 4 train jobs that are out of date; \
                    a run without --light brings all up to date\n";
    assert_eq!((told.err.as_str(), told.code), (expected, Some(0)));
    assert!(told.out.starts_with("ran 0, cached 10, failed 0 in "), "{}", told.out);
}

#[test]
fn a_heavy_job_whose_inputs_come_out_equal_is_not_called_out_of_date() {
    let paper = paper();
    paper.edit("pipeline.yaml", "echo 3 images", "echo three images");
    let run = paper.run("--light");
    assert_eq!((run.made().as_str(), run.events_of("left").len()), ("prepare 1", 0));
    assert_eq!(paper.ribbon("status --check").code, Some(0));
}

#[test]
fn a_heavy_job_whose_inputs_come_out_different_stays_as_it_is() {
    let paper = paper();
    paper.write("images.txt", "horse\n");
    let run = paper.run("--light");
    assert_eq!((run.code, run.made().as_str()), (Some(0), "prepare 1"));
    assert_eq!(run.events_of("left")[0]["jobs"].as_array().unwrap().len(), 4);
    assert!(!paper.read("outputs/quick/figures/figure.svg").contains("horse"));
    assert_eq!(paper.run("").made(), "train 4, predict 4, distance 3, embed 1, figure 1");
    assert!(paper.read("outputs/quick/figures/figure.svg").contains("horse"));
}

#[test]
fn a_heavy_stage_below_a_kept_one_is_kept_too_only_if_it_changed_itself() {
    let paper = paper();
    paper.edit("pipeline.yaml", "  predict:\n", "  predict:\n    heavy: true\n");
    paper.edit("train.sh", "trained at", "TRAINED at");
    let left = |run: &crate::scratch::Run| -> Vec<String> {
        run.events_of("left").iter().map(|event| event["stage"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(left(&paper.run("--light")), ["train"]);
    paper.edit("pipeline.yaml", "s/trained/predicts/", "s/TRAINED/predicts/");
    paper.edit("embed.sh", "sort -u", "sort  -u");
    let run = paper.run("--light");
    assert_eq!(
        (left(&run), run.made()),
        (vec!["train".to_owned(), "predict".to_owned()], "embed 1".to_owned())
    );
}

#[test]
fn a_heavy_job_that_made_nothing_or_whose_outputs_are_gone_is_named() {
    let fresh = tiny::paper();
    fresh.edit("pipeline.yaml", "  train:\n", "  train:\n    heavy: true\n");
    for words in ["run --light", "run --light --dry-run"] {
        let run = fresh.ribbon(words);
        assert_ne!(run.code, Some(0));
        let expected = "train[arch=fc,seed=1], as 3 more jobs of heavy stages, has made nothing yet that --light \
                        could go on from; run it first";
        assert!(run.err.contains(expected), "{}", run.err);
    }
    assert_eq!(fresh.told(), [""; 0]);
    let paper = paper();
    std::fs::remove_file(paper.object("train[arch=fc,seed=1]")).unwrap();
    paper.edit("pipeline.yaml", "s/trained/predicts/", "s/trained/guesses/");
    for words in ["run --light predict[arch=fc,seed=1]", "run --light -n predict[arch=fc,seed=1]"] {
        let run = paper.ribbon(words);
        assert_ne!(run.code, Some(0));
        let expected = "predict[arch=fc,seed=1] needs what train[arch=fc,seed=1] made, which is not in the store; \
                        --light does not run it: run it first";
        assert!(run.err.contains(expected), "{}", run.err);
    }
}

#[test]
fn a_clone_without_the_content_of_heavy_jobs_is_told_before_anything_runs() {
    let paper = paper();
    let mut clone = paper.clone_as("clone");
    clone.edit("pipeline.yaml", "title: Networks", "title: Nets");
    let expected = "predict[arch=fc,seed=1] needs what train[arch=fc,seed=1], as 3 more jobs of heavy stages, made, \
                    which is not in the store; --light does not run it: run it first";
    for (words, code) in [("run --light", 1), ("run --light -n", 2)] {
        let run = clone.ribbon(words);
        assert!(run.err.contains(expected) && run.code == Some(code), "{run:?}");
    }
    assert_eq!(clone.told(), [""; 0]);
    // A share may have it; that shows while the run goes.
    clone.set("RIBBON_SHARE", clone.path("nothing").to_str().unwrap());
    assert_eq!(clone.ribbon("run --light -n").code, Some(0));
    let run = clone.run("--light");
    // Which of them is by chance, where work is exchanged.
    let what = run.events_of("failed")[0]["what"].as_str().unwrap().to_owned();
    assert!(
        what.starts_with("it needs what train[") && what.ends_with("; --light does not run it"),
        "{what}"
    );
}

#[test]
fn force_of_a_heavy_stage_contradicts_light() {
    let run = paper().ribbon("run --light --force train");
    assert_eq!(run.code, Some(2));
    assert!(run.err.contains("--force train[arch=fc,seed=1] and --light: train is heavy"), "{}", run.err);
}
