//! The store: objects that are deleted or damaged come back, and the store can go altogether.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::tiny::{self, WHOLE_PAPER};

/// Writes other bytes of the same length, as a failing disk or a careless user does.
fn damage(object: &Path) {
    let length = fs::read(object).unwrap().len();
    fs::set_permissions(object, Permissions::from_mode(0o644)).unwrap();
    fs::write(object, "x".repeat(length)).unwrap();
}

#[test]
fn a_deleted_object_is_missed_only_when_it_is_needed_and_then_only_its_job_runs() {
    let paper = tiny::paper();
    paper.run("");
    fs::remove_file(paper.object("embed")).unwrap();
    assert_eq!(paper.run("").made(), "nothing", "the published copy is all that anybody wants");
    assert_eq!(paper.run("--set title=New").made(), "embed 1, figure 1");
}

#[test]
fn objects_deleted_in_a_row_come_back_from_the_first_that_is_there() {
    let paper = tiny::paper();
    paper.run("");
    for job in ["train[arch=fc,seed=1]", "predict[arch=fc,seed=1]", "distance[cols=vit,rows=fc]", "embed"] {
        fs::remove_file(paper.object(job)).unwrap();
    }
    assert_eq!(paper.run("--set title=New").made(), "train 1, predict 1, distance 1, embed 1, figure 1");
}

#[test]
fn a_damaged_object_is_dropped_and_made_again() {
    let paper = tiny::paper();
    paper.run("");
    let object = paper.object("embed");
    let good = fs::read(&object).unwrap();
    damage(&object);
    assert_eq!(paper.run("--set title=New").made(), "embed 1, figure 1");
    assert_eq!(fs::read(&object).unwrap(), good);
    assert!(!paper.read("outputs/quick/figures/figure.svg").contains('x'));
}

#[test]
fn a_damaged_object_is_never_published() {
    let paper = tiny::paper();
    paper.run("");
    let good = paper.read("outputs/quick/tables/points.txt");
    damage(&paper.object("embed"));
    paper.remove("outputs/quick/tables");
    assert_eq!(paper.run("").made(), "embed 1");
    assert_eq!(paper.read("outputs/quick/tables/points.txt"), good);
}

#[test]
fn a_clone_is_up_to_date_by_its_lock_alone() {
    let paper = tiny::paper();
    paper.run("");
    paper.remove(".ribbon");
    let status = paper.ribbon("status --check");
    assert_eq!(status.code, Some(0), "{status:?}");
    assert!(status.out.ends_with("up to date\n"), "{}", status.out);
    assert_eq!(paper.run("").made(), "nothing");
}

#[test]
fn a_clone_without_outputs_makes_them_anew_and_comes_to_the_same_lock() {
    let paper = tiny::paper();
    paper.run("");
    let clone = paper.clone_as("clone");
    let status = clone.ribbon("status --check");
    let expected = "not as published: tables/points.txt, figures/figure.svg (not in this store)\n\
                    14 jobs would run again to make what is needed and not in this store\n\
                    by pipeline.lock, all is up to date\n";
    assert!(status.out.ends_with(expected), "{}", status.out);
    assert_eq!(status.code, Some(1));
    assert_eq!(clone.run("").made(), WHOLE_PAPER);
    assert_eq!(clone.read("pipeline.lock"), paper.read("pipeline.lock"));
}

#[test]
fn a_lost_memo_costs_time_and_nothing_else() {
    let paper = tiny::paper();
    paper.run("");
    paper.remove(".ribbon/memo");
    assert_eq!(paper.run("").made(), "nothing");
    paper.write(".ribbon/memo", "no memo at all");
    assert_eq!(paper.run("--paranoid").made(), "nothing");
}

#[test]
fn objects_are_read_only_and_named_by_their_content() {
    let paper = tiny::paper();
    paper.run("");
    let names = ["prepare", "train[arch=fc,seed=1]", "embed", "figure"];
    for object in names.map(|job| paper.object(job)) {
        assert_eq!(fs::metadata(&object).unwrap().permissions().mode() & 0o777, 0o444);
        let hash = blake3::hash(&fs::read(&object).unwrap()).to_hex();
        assert_eq!(object, object.parent().unwrap().with_file_name(&hash[..2]).join(&hash[2..]));
    }
}

#[test]
fn verify_reads_everything_and_drops_and_names_what_is_damaged() {
    let paper = tiny::paper();
    paper.run("");
    let fine = paper.ribbon("verify");
    assert_eq!(fine.code, Some(0));
    assert!(fine.out.ends_with(", 0 damaged\n"), "{}", fine.out);
    let object = paper.object("embed");
    let times = fs::metadata(&object).unwrap().modified().unwrap();
    damage(&object);
    fs::File::options().append(true).open(&object).unwrap().set_modified(times).unwrap();
    let found = paper.ribbon("verify");
    assert_eq!(found.code, Some(1));
    assert!(found.out.contains("(embed."), "{}", found.out);
    assert!(!object.exists());
    assert_eq!(paper.run("--set title=New").made(), "embed 1, figure 1");
}
