//! Collection: what no lock names goes, what any workspace or run needs stays.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::scratch::{Scratch, wait_until};
use crate::tiny::{self, WHOLE_PAPER};

/// The files below a folder that hold a text.
fn files_with(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if fs::read_to_string(&path).is_ok_and(|content| content.contains(text)) {
            found.push(path);
        }
    }
    found
}

/// The record of the figure with a title.
fn record_of(paper: &Scratch, title: &str) -> PathBuf {
    let param = format!(r#"["params.title","\"{title}\""]"#);
    files_with(&paper.path(".ribbon/store/records"), &param).pop().expect("the figure was made")
}

/// Makes a file look as if it had been written so many days ago.
fn age(path: &Path, days: u64) {
    let time = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
    File::open(path).unwrap().set_modified(time).unwrap();
}

fn gc(project: &Scratch, words: &str) -> String {
    let gc = project.ribbon(&format!("gc {words}"));
    assert_eq!(gc.code, Some(0), "{gc:?}");
    gc.out
}

#[test]
fn what_no_lock_names_goes_when_it_is_old_and_nothing_else() {
    let paper = tiny::paper();
    paper.run("--set title=Old");
    let old = paper.object("figure");
    assert_eq!(paper.run("").made(), "figure 1");
    assert!(gc(&paper, "").contains("1 records only because they are younger than 14 days"));
    assert!(old.exists());
    let record = record_of(&paper, "Old");
    age(&record, 15);
    let told = gc(&paper, "--dry-run");
    assert!(told.contains("figure: 1 records") && told.contains("would remove 1 objects"), "{told}");
    assert!(old.exists() && record.exists(), "a dry run removes nothing");
    assert!(gc(&paper, "").contains("removed 1 objects"));
    assert!(!old.exists() && !record.exists());
    assert_eq!(paper.run("").made(), "nothing");
    assert_eq!(paper.ribbon("verify").code, Some(0));
    assert_eq!(paper.run("--set title=Old").made(), "figure 1", "it is made again when it is wanted");
}

#[test]
fn a_smaller_store_loses_the_oldest_first_and_says_when_it_cannot_be_small_enough() {
    let paper = tiny::paper();
    for (title, days) in [("Oldest", 5), ("Older", 3), ("Young", 0)] {
        paper.run(&format!("--set title={title}"));
        age(&record_of(&paper, title), days);
    }
    paper.run("");
    let objects = paper.path(".ribbon/store/objects");
    let bytes = |path: &Path| fs::metadata(path).unwrap().len();
    let all: u64 = files_with(&objects, "").iter().map(|path| bytes(path)).sum();
    gc(&paper, &format!("--max-size {}", all - 1));
    let left = ["Oldest", "Older", "Young"].map(|title| files_with(&objects, &format!("{title}\n")).len());
    assert_eq!(left, [0, 1, 1]);
    let small = paper.ribbon("gc --max-size 10");
    assert_eq!(small.code, Some(1));
    assert!(
        small.out.contains("more than --max-size; all that is left is needed by the locks of:"),
        "{small:?}"
    );
    assert!(files_with(&objects, "Young\n").is_empty());
    assert_eq!(paper.run("").made(), "nothing");
    assert_eq!(paper.ribbon("verify").code, Some(0));
}

#[test]
fn in_a_shared_store_every_workspace_keeps_what_its_lock_names_until_it_is_gone() {
    let mut one = tiny::paper();
    one.set("RIBBON_STORE", one.path("../store").to_str().unwrap());
    let two = one.clone_as("two");
    two.edit("pipeline.yaml", "rate: 0.1", "rate: 0.2");
    assert_eq!(
        (one.run("").made().as_str(), two.run("").made().as_str()),
        (WHOLE_PAPER, "train 4, predict 4, distance 3, embed 1, figure 1")
    );
    assert!(gc(&one, "--keep-days 0").contains("removed 0 objects"));
    two.remove("outputs");
    assert_eq!(two.run("").made(), "nothing");

    // Another machine's cannot be seen; what it needed at its last run is known.
    let notes = one.path("../store/workspaces");
    let note = files_with(&notes, "/two").into_iter().find(|path| path.extension().is_none()).unwrap();
    let text = fs::read_to_string(&note).unwrap();
    // One that is here, and that another machine noted by the same path: it may be another there.
    let elsewhere = format!("not-{text}");
    let as_well = notes.join(&blake3::hash(elsewhere.as_bytes()).to_hex()[..24]);
    fs::write(&as_well, &elsewhere).unwrap();
    let told = gc(&one, "--keep-days 0");
    assert!(told.contains("/two was noted on not-") && told.contains("removed 0 objects"), "{told}");
    fs::remove_file(&as_well).unwrap();
    fs::rename(two.path(""), one.path("../moved")).unwrap();
    fs::write(&note, elsewhere).unwrap();
    let told = gc(&one, "--keep-days 0");
    assert!(told.contains("cannot be seen from here") && told.contains("removed 0 objects"), "{told}");

    fs::write(&note, text).unwrap();
    let told = gc(&one, "--keep-days 0");
    assert!(told.contains("/two is no more") && told.contains("train: 4 records"), "{told}");
    assert!(!note.exists());
    assert_eq!(one.run("").made(), "nothing");
    one.remove("outputs");
    assert_eq!(one.run("").made(), "nothing");
}

#[test]
fn a_lock_that_cannot_be_read_stops_a_collection() {
    let paper = tiny::paper();
    paper.run("");
    let lock = paper.read("pipeline.lock");
    paper.write("pipeline.lock", &format!("{lock}<<<<<<< HEAD\n"));
    let gc = paper.ribbon("gc --keep-days 0");
    assert_eq!(gc.code, Some(2));
    assert!(gc.err.contains("nothing was removed, for it is not known what the workspace"), "{}", gc.err);
}

#[test]
fn a_collection_beside_a_run_takes_nothing_from_it() {
    let project = tiny::slow();
    fs::write(project.home("hold-12"), "").unwrap();
    let run = project.start("run --json -j 2");
    wait_until("the first jobs are done", || project.told_so_far().len() > 2);
    while project.told_so_far().len() < 12 {
        gc(&project, "--keep-days 0");
    }
    assert!(gc(&project, "--keep-days 0").contains("removed 0 objects"));
    fs::remove_file(project.home("hold-12")).unwrap();
    let run = run.end();
    assert_eq!((run.code, run.made().as_str()), (Some(0), "slow 12, join 1"), "{}", run.err);
    assert!(gc(&project, "--keep-days 0").contains("removed 0 objects"), "the lock has them now");
    assert_eq!(project.told().len(), 12);
    assert_eq!(project.ribbon("verify").code, Some(0));
}

#[test]
fn what_killed_processes_left_goes_when_nobody_can_be_at_it() {
    let paper = tiny::paper();
    paper.run("");
    let leftovers = [
        "objects/ab/.cdef.1-0",
        "records/ab/.cdef.1-0",
        "records/ab/0000000000000000000000000000000000000000000000000000000000000000",
        "logs/ab/0000000000000000000000000000000000000000000000000000000000000000",
        "code/ab/0000000000000000000000000000000000000000000000000000000000000000",
    ];
    let path = |name: &str| paper.path(".ribbon/store").join(name);
    for name in leftovers {
        paper.write(&format!(".ribbon/store/{name}"), "half");
    }
    assert!(gc(&paper, "--keep-days 0").contains("0 logs and leftovers"), "they may be somebody's");
    leftovers.iter().for_each(|name| age(&path(name), 1));
    assert!(gc(&paper, "--keep-days 0").contains("5 logs and leftovers"));
    assert!(leftovers.iter().all(|name| !path(name).exists()));
}
