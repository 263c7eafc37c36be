//! Comparing and merging locks: revisions, profiles, and what git does with two branches.

use std::process::Command;

use serde_json::Value;

use crate::scratch::Scratch;
use crate::tiny;

/// git in a project, to a good end.
pub fn git(project: &Scratch, words: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=A", "-c", "user.email=a@example.org"]).args(words);
    git.current_dir(project.path(""))
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null");
    let output = git.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "git {words:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout) + &text(&output.stderr)
}

/// The paper, run and committed.
fn committed() -> Scratch {
    let paper = tiny::paper();
    paper.run("");
    paper.write(".gitignore", ".ribbon\noutputs\n");
    paper.write(".gitattributes", "pipeline.lock merge=ribbon-lock\n");
    git(&paper, &["init", "-q", "-b", "main"]);
    let driver = format!("{} merge-lock %O %A %B", env!("CARGO_BIN_EXE_ribbon"));
    git(&paper, &["config", "merge.ribbon-lock.driver", &driver]);
    commit(&paper);
    paper
}

pub fn commit(paper: &Scratch) {
    git(paper, &["add", "."]);
    git(paper, &["commit", "-q", "-m", "a state"]);
}

#[test]
fn revisions_are_spoken_of_only_where_git_keeps_them() {
    let paper = tiny::paper();
    paper.run("");
    assert_eq!(paper.ribbon("why figure").out, "would run 0; 14 up to date\n");
    let refused = paper.ribbon("diff");
    let expected = "is in no work tree of git, and without one there is no other version of pipeline.lock";
    assert!(refused.err.contains(expected) && refused.code == Some(2), "{refused:?}");
    assert_eq!(paper.ribbon("diff --profiles quick quick").out, "no job differs\n");
    let why = committed().ribbon("why figure").out;
    let expected =
        "would run 0; 14 up to date\nwhat differs from the last commit's pipeline.lock: ribbon diff\n";
    assert_eq!(why, expected);
}

#[test]
fn a_revision_differs_in_parameters_jobs_and_outputs() {
    let paper = committed();
    assert_eq!(paper.ribbon("diff").out, "no job differs\n");
    paper.edit("pipeline.yaml", "rate: 0.1", "rate: 0.2");
    paper.edit("pipeline.yaml", "    settings:\n", "    exclude: [{arch: vit, seed: 2}]\n    settings:\n");
    paper.edit("embed.sh", "sort -u", "sort  -u");
    paper.run("");
    let told = paper.ribbon("diff HEAD").out;
    let expected = "\
train[arch=vit,seed=2] removed
3 train jobs: other weights
    params.rate 0.1 -> 0.2
";
    assert!(told.starts_with(expected), "{told}");
    assert_eq!(paper.ribbon("diff").out, told);
    assert!(
        told.contains("embed: other points\n    code: embed.sh changed\n    inputs.tiles: 3 changed\n"),
        "{told}"
    );
    commit(&paper);
    assert_eq!(paper.ribbon("diff HEAD~1 HEAD").out, told, "two revisions, whatever lies in the folder");
    let json: Value = serde_json::from_str(&paper.ribbon("diff HEAD~1 --json").out).unwrap();
    let train = &json[1];
    assert_eq!((&train["stage"], &train["change"]), (&"train".into(), &"changed".into()));
    let rate = serde_json::json!({"value": {"name": "params.rate", "before": "0.1", "after": "0.2"}});
    assert_eq!(train["differences"], serde_json::json!([rate]));
}

#[test]
fn keys_that_differ_with_equal_outputs_are_told_apart() {
    let paper = committed();
    paper.edit("embed.sh", "sort -u", "sort  -u");
    paper.run("");
    assert_eq!(paper.ribbon("diff HEAD").out, "embed: equal outputs\n    code: embed.sh changed\n");
    let clone = paper.clone_as("clone");
    clone.write("pipeline.lock", &git(&paper, &["show", "HEAD:pipeline.lock"]));
    git(&clone, &["commit", "-q", "--allow-empty", "-m", "no change"]);
    clone.write("pipeline.lock", &paper.read("pipeline.lock"));
    let told = clone.ribbon("diff HEAD").out;
    let unknown = &paper.locked("embed")[2][..10];
    assert!(told.starts_with("embed: equal outputs\n    the record of key "), "{told}");
    assert!(
        told.ends_with(" is not in this store\n") && !told.contains(unknown),
        "the first unknown: {told}"
    );
}

#[test]
fn two_profiles_are_compared_job_by_job() {
    let paper = tiny::paper();
    paper.run("");
    paper.run("--profile paper --set rate=0.3 --set title=Large");
    let told = paper.ribbon("diff --profiles quick paper").out;
    assert!(told.starts_with("4 train jobs: other weights\n    params.rate 0.1 -> 0.3\n"), "{told}");
    assert!(told.contains("    params.title \"Networks\" -> \"Large\"\n"), "{told}");
    let wrong = paper.ribbon("diff --profiles quick papier");
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.err.contains("has no lines of a profile papier; run it first"), "{}", wrong.err);
}

#[test]
fn a_revision_that_is_none_is_told() {
    let paper = committed();
    let wrong = paper.ribbon("diff HEAD~9");
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.err.contains("pipeline.lock of revision HEAD~9: "), "{}", wrong.err);
    assert_eq!(paper.ribbon("diff --output=x").code, Some(2));
    assert!(!paper.exists("x"), "no option for git");
}

#[test]
fn git_merges_branches_that_changed_different_jobs() {
    let paper = committed();
    git(&paper, &["checkout", "-q", "-b", "theirs"]);
    paper.edit("train.sh", "trained at", "trained  at");
    paper.run("train");
    commit(&paper);
    git(&paper, &["checkout", "-q", "main"]);
    paper.edit("pipeline.yaml", "title: Networks", "title: Nets");
    paper.run("figure");
    commit(&paper);
    git(&paper, &["merge", "-q", "-m", "merged", "theirs"]);
    let merged = paper.read("pipeline.lock");
    assert_eq!(merged.lines().count(), 1 + 14);
    for (revision, job) in [("theirs", "train[arch=fc,seed=1]"), ("main~1", "figure")] {
        let from = git(&paper, &["show", &format!("{revision}:pipeline.lock")]);
        let of = |text: &str| text.lines().find(|line| line.contains(&format!(" {job} "))).map(str::to_owned);
        assert_eq!(of(&merged), of(&from), "{job} of {revision}");
    }
}

#[test]
fn git_merges_branches_that_changed_the_same_job_and_the_next_run_writes_its_line() {
    let paper = committed();
    git(&paper, &["checkout", "-q", "-b", "theirs"]);
    paper.edit("embed.sh", "sort -u", "sort  -u");
    paper.run("");
    commit(&paper);
    git(&paper, &["checkout", "-q", "main"]);
    paper.write("other.txt", "so that code differs elsewhere\n");
    paper.edit("pipeline.yaml", "code: [embed.sh]", "code: [embed.sh, other.txt]");
    paper.run("");
    commit(&paper);
    let told = git(&paper, &["merge", "-m", "merged", "theirs"]);
    assert!(told.contains("both sides changed quick embed; left out"), "{told}");
    assert_eq!(paper.read("pipeline.lock").lines().count(), 1 + 13);
    paper.run("");
    assert_eq!(paper.read("pipeline.lock").lines().count(), 1 + 14);
    assert_eq!(paper.ribbon("status --check").code, Some(0));
}
