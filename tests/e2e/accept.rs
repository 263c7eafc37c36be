//! Accepting: outputs are kept over a cosmetic change, on the record.

use crate::tiny;

#[test]
fn what_was_made_counts_for_the_new_key_and_so_does_what_is_below() {
    let paper = tiny::paper();
    paper.run("");
    let (before, figure) = (paper.locked("train[arch=fc,seed=1]"), paper.locked("figure"));
    paper.told();
    paper.edit("train.sh", "trained at", "TRAINED at");
    let accepted = paper.ribbon("accept train --because=spelling");
    assert_eq!(accepted.out, "accepted 4 train jobs: code: train.sh changed\n", "{}", accepted.err);
    assert_eq!(accepted.code, Some(0));
    assert_eq!(paper.ribbon("why figure").out, "would run 0; 14 up to date\n");
    assert_eq!(paper.run("").made(), "nothing");
    assert_eq!(paper.told(), [""; 0]);
    let after = paper.locked("train[arch=fc,seed=1]");
    assert_ne!(after[2], before[2], "another key");
    assert_eq!(after[3..], before[3..], "the same outputs");
    assert_eq!(paper.locked("figure"), figure, "what is below never heard of it");
    let show = paper.ribbon("show train[arch=fc,seed=1]").out;
    let mark = format!("  accepted from key {} on ", before[2]);
    let line = show.lines().find(|line| line.starts_with(&mark)).unwrap_or_else(|| panic!("{show}"));
    assert!(line.ends_with("Z: spelling"), "{line}");
    let clone = paper.clone_as("clone");
    let status = clone.ribbon("status").out;
    assert!(status.ends_with("by pipeline.lock, all is up to date\n"), "the lock knows it: {status}");
}

#[test]
fn what_changes_after_it_is_told_against_what_was_accepted() {
    let paper = tiny::paper();
    paper.run("");
    paper.edit("pipeline.yaml", "rate: 0.1", "rate: 0.2");
    let accepted = paper.ribbon("accept train[arch=fc] train[arch=vit]").out;
    assert_eq!(accepted, "accepted 4 train jobs: params.rate 0.1 -> 0.2\n");
    paper.edit("pipeline.yaml", "rate: 0.2", "rate: 0.3");
    let why = paper.ribbon("why train").out;
    assert_eq!(why.lines().next(), Some("4 train jobs: params.rate 0.2 -> 0.3"));
    assert!(paper.ribbon("show train[arch=fc,seed=1] --set rate=0.2").out.contains("Z: no reason given\n"));
}

#[test]
fn several_stages_are_accepted_together_and_one_that_waits_is_not() {
    let paper = tiny::paper();
    paper.run("");
    paper.edit("train.sh", "trained at", "TRAINED at");
    paper.edit("pipeline.yaml", "title: Networks", "title: Nets");
    let refused = paper.ribbon("accept figure");
    assert_eq!(refused.code, Some(1));
    assert_eq!(
        refused.out,
        "not accepted figure: its key is not known before embed is up to date: accept or run that first\n"
    );
    let accepted = paper.ribbon("accept figure predict distance embed train");
    assert_eq!(
        accepted.out,
        "accepted 4 train jobs: code: train.sh changed\n\
         accepted figure: params.title \"Networks\" -> \"Nets\"\n"
    );
    assert_eq!(paper.ribbon("status --check").code, Some(0));
    assert_eq!(paper.ribbon("accept figure").out, "nothing to accept: up to date\n");
}

#[test]
fn what_never_ran_or_is_not_in_the_store_has_nothing_to_keep() {
    let paper = tiny::paper();
    let refused = paper.ribbon("accept prepare");
    assert_eq!(refused.out, "not accepted prepare: it never ran: there are no outputs to keep\n");
    assert_eq!(refused.code, Some(1));
    paper.run("");
    paper.edit("train.sh", "trained at", "TRAINED at");
    let clone = paper.clone_as("clone");
    let refused = clone.ribbon("accept train").out;
    assert_eq!(refused, "not accepted 4 train jobs: what it made is not in this store\n");
    paper.edit("pipeline.yaml", "outputs: {weights: weights.txt}", "outputs: {weights: w.txt, log: log.txt}");
    let refused = paper.ribbon("accept train").out;
    assert_eq!(
        refused,
        "not accepted 4 train jobs: its output `log` is new: there is nothing to keep for it\n"
    );
}
