//! A loss of power, as the next boot sees it: what was brought to the disk counts.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::mounts::with_mounts;
use crate::scratch::{Scratch, wait_until};
use crate::tiny;

/// What `ribbon` says, with these words, after the machine has booted again. None when this user cannot pretend that.
fn after_another_boot(project: &Scratch, words: &str) -> Option<String> {
    let id = project.path("../boot_id");
    std::fs::write(&id, "00000000-0000-4000-8000-000000000000\n").unwrap();
    let script =
        format!("mount --bind \"$ID\" /proc/sys/kernel/random/boot_id || exit 77; exec \"$RIBBON\" {words}");
    let cannot = "give a machine another boot (unshare -rmu, mount --bind)";
    with_mounts(project, &script, &[("ID", &id)], cannot)
}

#[test]
fn what_a_finished_run_has_made_is_on_the_disk() {
    let paper = tiny::paper();
    paper.run("");
    paper.remove("pipeline.lock");
    let Some(told) = after_another_boot(&paper, "run") else { return };
    assert!(told.contains("ran 0, cached 14, failed 0"), "{told}");
}

#[test]
fn what_was_made_a_while_before_a_run_was_cut_off_is_on_the_disk() {
    let stage = |name: &str, script: &str| {
        format!("  {name}: {{run: [sh, -c, '{script}'], outputs: {{o: o.txt}}}}\n")
    };
    let stages =
        stage("quick", "echo quick | tee -a \"$HOME/ran\" > {outputs.o}") + &stage("slow", "exec sleep 60");
    let text = format!("version: 1\nprofile: quick\nprofiles: {{quick: {{}}}}\nstages:\n{stages}");
    let project = Scratch::new(&[("pipeline.yaml", &text)]);
    let run = project.start("run -j 2");
    wait_until("the quick job has run", || !project.told_so_far().is_empty());
    // More than the second within which it is brought to the disk.
    std::thread::sleep(Duration::from_secs(3));
    run.signal(Signal::SIGKILL);
    assert_eq!(run.end().code, None);
    let Some(told) = after_another_boot(&project, "run --dry-run") else { return };
    assert!(told.contains("; 1 up to date"), "{told}");
}
