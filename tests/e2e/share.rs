//! Sharing: what one clone has made, another one need not make.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::scratch::{Run, Scratch, wait_until};
use crate::servers::{self, Server};
use crate::tiny::{self, WHOLE_PAPER};
use crate::together;

const FIGURE: &str = "outputs/quick/figures/figure.svg";

/// A paper whose share is a folder beside it, and its user ada, who has a key.
pub fn paper() -> Scratch {
    let mut paper = tiny::paper();
    append(&paper, "share: ../lab\n");
    become_user(&mut paper, "ada");
    paper
}

pub fn append(paper: &Scratch, lines: &str) {
    paper.write("pipeline.yaml", &(paper.read("pipeline.yaml") + lines));
}

/// Takes a key of one's own; what `trust:` takes.
pub fn become_user(paper: &mut Scratch, name: &str) -> String {
    paper.set("RIBBON_KEY", paper.home(name).to_str().unwrap());
    let command = if paper.home(name).exists() { "key show" } else { "key new" };
    let run = paper.ribbon(command);
    assert_eq!(run.code, Some(0), "{}", run.err);
    run.out.trim().to_owned()
}

/// Another user's clone, without pipeline.lock: it has to rely on records.
pub fn bobs_clone(paper: &Scratch) -> Scratch {
    let mut clone = paper.clone_as("bob");
    clone.remove("pipeline.lock");
    become_user(&mut clone, "bob");
    clone
}

/// The share's files in a section.
pub fn files(share: &std::path::Path, section: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in fs::read_dir(share.join(section)).into_iter().flatten() {
        files.extend(fs::read_dir(folder.unwrap().path()).unwrap().map(|file| file.unwrap().path()));
    }
    // Those that are being written have names that nobody looks for.
    files.retain(|file| !file.file_name().unwrap().as_encoded_bytes().starts_with(b"."));
    files.sort();
    files
}

pub fn said(run: &Run) -> String {
    let texts = run.events_of("share");
    texts.iter().map(|event| event["text"].as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

#[test]
fn jobs_of_one_key_wait_for_one_answer_of_a_share() {
    let mut alike = together::alike("echo > {outputs.o}");
    append(&alike, "share: ../lab\n");
    become_user(&mut alike, "ada");
    assert_eq!(alike.run("--push").count("ran"), 1);
    let clone = alike.clone_as("clone");
    clone.remove("pipeline.lock");
    let run = clone.run("-j 3");
    assert_eq!((run.code, run.count("ran"), clone.told().len()), (Some(0), 0, 1), "{}", run.err);
}

fn objects_here(paper: &Scratch) -> usize {
    files(&paper.path(".ribbon/store"), "objects").len()
}

#[test]
fn a_clone_with_a_lock_and_an_empty_store_pulls_a_figure_and_nothing_else() {
    let paper = paper();
    assert_eq!(paper.run("--push").made(), WHOLE_PAPER);
    let clone = paper.clone_as("clone");
    let status = clone.ribbon("status").out;
    assert!(status.contains("store; the share was not asked, and may have it: `ribbon pull`\n"), "{status}");
    assert!(status.ends_with("by pipeline.lock, all is up to date\n"), "{status}");
    let pull = clone.ribbon(&format!("pull {FIGURE}"));
    assert_eq!(pull.code, Some(0), "{}", pull.err);
    assert!(pull.out.starts_with("pulled 1 outputs, 143 B, "), "{}", pull.out);
    assert_eq!(clone.read(FIGURE), paper.read(FIGURE));
    assert_eq!((objects_here(&clone), clone.exists("outputs/quick/tables")), (1, false));
    assert!(clone.ribbon(&format!("pull {FIGURE}")).out.contains("pulled 0 outputs, 0 B"));
}

#[test]
fn after_an_edit_a_run_fetches_the_inputs_of_what_it_runs_and_nothing_upstream_runs() {
    let paper = paper();
    paper.run("--push");
    let clone = paper.clone_as("clone");
    clone.edit("pipeline.yaml", "title: Networks", "title: New");
    assert_eq!(clone.run("").made(), "figure 1");
    // The points, which are published too, and the new figure.
    assert_eq!(objects_here(&clone), 2);
    assert!(clone.read(FIGURE).starts_with("New\n"));
    clone.edit("embed.sh", "lies", "rests");
    assert_eq!(clone.run("").made(), "embed 1, figure 1");
    assert_eq!(objects_here(&clone), 2 + 3 + 2, "three tiles came, points and figure were made");
}

#[test]
fn while_a_program_is_built_that_the_share_could_not_spare_other_jobs_go_on() {
    let mut squares = tiny::squares();
    let stages = "  first: {run: [sh, -c, 'echo first | tee -a \"$HOME/ran\" > {outputs.o}'], outputs: {o: o.txt}}\n  \
                  second: {run: [sh, -c, 'echo second | tee -a \"$HOME/ran\" > {outputs.o}'], inputs: {i: first.o}, \
                  outputs: {o: o.txt}}\n";
    squares.edit("pipeline.yaml", "stages:\n", &format!("stages:\n{stages}"));
    append(&squares, "share: ../lab\n");
    let go = squares.home("go");
    let (home, waited_for) = (squares.home(""), go.display());
    let wait = format!("while [ -d {} ] && [ ! -e {waited_for} ]; do sleep 0.02; done", home.display());
    let cargo = format!("#!/bin/sh\n{wait}\nexec cargo \"$@\"\n");
    squares.write("../cargo", &cargo);
    fs::set_permissions(squares.path("../cargo"), fs::Permissions::from_mode(0o755)).unwrap();
    squares.set("CARGO", squares.path("../cargo").to_str().unwrap());
    let running = squares.start("run --json");
    wait_until("a job runs that another one made ready", || {
        squares.told_so_far().contains(&"second".to_owned())
    });
    fs::write(&go, "").unwrap();
    let run = running.end();
    assert_eq!((run.code, run.made().as_str()), (Some(0), "first 1, second 1, square 3, total 1"), "{run:?}");
}

#[test]
fn a_program_that_does_not_build_beside_other_jobs_ends_the_run_and_they_are_kept() {
    let squares = tiny::squares();
    let slow = "  slow: {run: [sh, -c, 'sleep 0.2; echo > {outputs.o}'], outputs: {o: o.txt}}\n";
    squares.edit("pipeline.yaml", "stages:\n", &format!("stages:\n{slow}"));
    append(&squares, "share: ../lab\n");
    squares.edit("stages/square/src/main.rs", "number * number", "number * numbers");
    let run = squares.run("");
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.err.contains("stages/square does not build"), "{}", run.err);
    assert_eq!(run.jobs("done"), ["slow"]);
    assert!(
        run.events_of("build").iter().any(|event| event["text"].to_string().contains("E0425")),
        "{run:?}"
    );
}

#[test]
fn a_trusted_users_work_arrives_without_a_lock() {
    let paper = paper();
    let ada = become_user(&mut paper.clone_as("ada"), "ada");
    append(&paper, &format!("trust: {{ada: '{ada}'}}\n"));
    paper.run("--push");
    let bob = bobs_clone(&paper);
    let run = bob.run("");
    assert_eq!((run.made().as_str(), said(&run).as_str()), ("nothing", ""), "{}", run.err);
    assert_eq!(bob.read("pipeline.lock"), paper.read("pipeline.lock"));
    assert_eq!(bob.read(FIGURE), paper.read(FIGURE));
    assert_eq!(objects_here(&bob), 14, "what is small comes with its record");
}

#[test]
fn records_of_strangers_do_not_count_and_the_run_says_whose_they_are() {
    let mut paper = paper();
    let ada = become_user(&mut paper, "ada");
    paper.run("--push");
    let bob = bobs_clone(&paper);
    let run = bob.run("");
    assert_eq!((run.code, run.made().as_str()), (Some(0), WHOLE_PAPER));
    let first = format!(
        "it has finished work signed by {ada}, which does not count here and is made again; `trust:` in pipeline.yaml says \
         whose counts"
    );
    let last = format!(
        "ignored records on the share: 14 signed by {ada}; `trust:` in pipeline.yaml says whose count"
    );
    assert_eq!(said(&run), format!("{first}\n{last}"));
    append(&bob, "trust: any\n");
    bob.remove(".ribbon");
    bob.remove("pipeline.lock");
    let run = bob.run("");
    assert_eq!((run.made().as_str(), said(&run).as_str()), ("nothing", ""));
}

#[test]
fn unsigned_records_count_where_the_lock_or_trust_any_says_so() {
    let mut paper = paper();
    paper.set("RIBBON_KEY", paper.home("nobody").to_str().unwrap());
    paper.run("");
    let push = paper.ribbon("push");
    assert!(
        push.out.contains("not signed: others use them only where pipeline.lock names them"),
        "{}",
        push.out
    );
    let clone = paper.clone_as("clone");
    clone.edit("pipeline.yaml", "title: Networks", "title: New");
    assert_eq!(clone.run("").made(), "figure 1");
    let bob = bobs_clone(&paper);
    let run = bob.run("");
    assert_eq!(run.made(), WHOLE_PAPER);
    assert!(said(&run).contains("14 that nobody signed"), "{}", said(&run));
}

#[test]
fn a_push_is_repeated_without_sending_anything_and_goes_on_where_it_stopped() {
    let paper = paper();
    paper.run("");
    assert!(paper.ribbon("push train").out.starts_with("pushed 4 jobs, "));
    let push = paper.ribbon("push");
    assert!(push.out.starts_with("pushed 10 jobs, ") && push.out.contains("; 4 were there"), "{}", push.out);
    let lab = paper.path("../lab");
    let written = |path: &PathBuf| fs::metadata(path).unwrap().modified().unwrap();
    let before: Vec<_> = files(&lab, "records").iter().map(written).collect();
    assert!(paper.ribbon("push").out.contains("pushed 0 jobs, 0 B"), "all are there");
    let after: Vec<_> = files(&lab, "records").iter().map(written).collect();
    assert_eq!(before, after);
    assert_eq!(
        (files(&lab, "records").len(), files(&lab, "objects").len()),
        (14, 2),
        "small outputs are in records"
    );
}

#[test]
fn what_a_job_has_made_is_published_while_others_run() {
    let mut slow = tiny::slow();
    append(&slow, "share: ../lab\n");
    become_user(&mut slow, "ada");
    fs::write(slow.home("hold-12"), "").unwrap();
    let run = slow.start("run --push --json -j 2");
    let lab = slow.path("../lab");
    wait_until("the others' records are there", || files(&lab, "records").len() == 11);
    fs::remove_file(slow.home("hold-12")).unwrap();
    let run = run.end();
    assert_eq!((run.code, run.made().as_str()), (Some(0), "slow 12, join 1"), "{}", run.err);
    assert_eq!(files(&lab, "records").len(), 13);
}

/// A project of many jobs whose outputs are objects of their own, and its share, to which one connection leads.
fn many() -> Scratch {
    let script = "head -c 40000 /dev/zero | tr '\\0' x > \"$2\"\necho \"number $1\" >> \"$2\"\n";
    let mut many = tiny::many(MANY, script);
    append(&many, "share: {url: ../lab, connections: 1}\n");
    become_user(&mut many, "ada");
    many
}

const MANY: usize = 400;

/// Kills a command as soon as `count` says that some of its work is done, and tells how much that was then; none where it
/// was all.
fn killed_midway(project: &Scratch, words: &str, count: impl Fn() -> usize) -> Option<usize> {
    let running = project.start(words);
    wait_until("some work is done", || count() > 20);
    running.signal(nix::sys::signal::Signal::SIGKILL);
    running.end();
    Some(count()).filter(|done| *done < MANY)
}

#[test]
fn a_push_and_a_pull_that_are_killed_go_on_where_they_stopped() {
    let project = many();
    project.run("");
    let lab = project.path("../lab");
    let done = (0..5).find_map(|_| {
        let _ = fs::remove_dir_all(&lab);
        killed_midway(&project, "push slow", || files(&lab, "records").len())
    });
    let done = done.expect("a push was killed before its end");
    let push = project.ribbon("push slow");
    assert_eq!(push.code, Some(0), "{}", push.err);
    assert!(push.out.starts_with(&format!("pushed {} jobs, ", MANY - done)), "{done}: {}", push.out);
    let packed: u64 = files(&lab, "objects").iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!(10 * packed < MANY as u64 * 40_000, "{packed} bytes on the share");
    assert!(push.out.contains(&format!("; {done} were there")), "{done}: {}", push.out);

    let pulled = (0..5).find_map(|attempt| {
        let clone = project.clone_as(&format!("clone-{attempt}"));
        let done = killed_midway(&clone, "pull slow", || objects_here(&clone))?;
        Some((clone, done))
    });
    let (clone, done) = pulled.expect("a pull was killed before its end");
    let pull = clone.ribbon("pull slow");
    assert_eq!(pull.code, Some(0), "{}", pull.err);
    assert!(pull.out.starts_with(&format!("pulled {} outputs, ", MANY - done)), "{done}: {}", pull.out);
    assert_eq!(clone.ribbon("verify").code, Some(0));
    assert_eq!(clone.run("slow").made(), "nothing");
}

#[test]
fn where_objects_cannot_be_written_no_record_names_them() {
    let paper = paper();
    paper.run("");
    // A file in the way.
    paper.write("../lab/objects", "");
    let push = paper.ribbon("push");
    assert!(push.code == Some(2) && push.err.contains("/lab: cannot write objects/"), "{push:?}");
    let lab = paper.path("../lab");
    let records =
        || files(&lab, "records").iter().map(|path| path.file_name().unwrap().to_owned()).collect::<Vec<_>>();
    let is_there = |job: &str| records().iter().any(|name| *name == paper.locked(job)[2][2..]);
    assert!(!is_there("embed") && !is_there("figure"), "what they publish is an object");
    paper.remove("../lab/objects");
    assert_eq!(paper.ribbon("push").code, Some(0));
    assert!(is_there("embed") && is_there("figure"));
}

#[test]
fn one_pushes_over_a_strangers_record_and_leaves_a_trusted_ones() {
    let mut paper = paper();
    let ada = become_user(&mut paper, "ada");
    paper.run("--push");
    let bob = bobs_clone(&paper);
    bob.run("");
    assert!(bob.ribbon("push").out.starts_with("pushed 14 jobs"), "ada is a stranger");
    let run = paper.ribbon("push");
    assert!(run.out.starts_with("pushed 14 jobs"), "and so is bob: {}", run.out);
    append(&bob, &format!("trust: {{ada: '{ada}'}}\n"));
    assert!(bob.ribbon("push").out.contains("pushed 0 jobs, 0 B"));
}

#[test]
fn damaged_objects_come_back_from_the_share() {
    let paper = paper();
    paper.run("--push");
    let store = paper.path(".ribbon/store");
    let objects = files(&store, "objects");
    for object in &objects {
        let mut bytes = fs::read(object).unwrap();
        bytes[0] ^= 1;
        fs::write(object, bytes).unwrap();
    }
    let found = paper.ribbon("verify");
    assert_eq!(found.code, Some(1), "there was damage");
    assert_eq!(
        found.out.matches("damaged, fetched from the share: ").count(),
        objects.len(),
        "{}",
        found.out
    );
    assert!(!found.out.contains("dropped"), "{}", found.out);
    assert_eq!(files(&store, "objects"), objects);
    assert_eq!(paper.ribbon("verify").code, Some(0));
    assert_eq!(paper.run("").made(), "nothing");

    // What only the lock names, without a record, and what the share does not have.
    let clone = paper.clone_as("clone");
    clone.ribbon(&format!("pull {FIGURE}"));
    let object = files(&clone.path(".ribbon/store"), "objects").remove(0);
    fs::write(&object, "other").unwrap();
    assert!(clone.ribbon("verify").out.contains("(figure.svg)"));
    assert!(object.exists());
    fs::write(&object, "other").unwrap();
    fs::remove_dir_all(paper.path("../lab/objects")).unwrap();
    let found = clone.ribbon("verify");
    assert!(found.out.contains("damaged, dropped: "), "{}", found.out);
    assert!(found.out.ends_with("`ribbon run` makes again what is needed of them\n"), "{}", found.out);
    assert!(!object.exists());
}

#[test]
fn a_collection_beside_a_run_that_reads_a_share_takes_nothing_from_it() {
    let ada = paper();
    ada.run("--push");
    let bob = bobs_clone(&ada);
    append(&bob, "trust: any\n");
    let run = bob.start("run --json");
    while !bob.exists("pipeline.lock") {
        assert_eq!(bob.ribbon("gc --keep-days 0").code, Some(0));
    }
    let run = run.end();
    assert_eq!((run.code, run.made().as_str()), (Some(0), "nothing"), "{}", run.err);
    assert_eq!(bob.read("pipeline.lock"), ada.read("pipeline.lock"));
    assert_eq!(bob.read(FIGURE), ada.read(FIGURE));
    assert_eq!(bob.ribbon("verify").code, Some(0));
    assert_eq!(bob.run("").made(), "nothing");
}

#[test]
fn a_share_that_is_not_there_is_told_once_and_the_run_goes_on() {
    let paper = paper();
    let run = paper.run("");
    assert_eq!((run.code, run.made().as_str()), (Some(0), WHOLE_PAPER));
    assert_eq!(run.events_of("share").len(), 1, "{}", run.out);
    assert!(said(&run).contains("/lab is not there; is it mounted?"), "{}", said(&run));
    assert!(!paper.exists("../lab"), "a run makes no share");
    let mut server = paper.clone_as("server");
    server.remove("pipeline.lock");
    server.set("RIBBON_SHARE", "dav://127.0.0.1:9/");
    let run = server.run("");
    assert_eq!((run.code, run.made().as_str(), run.events_of("share").len()), (Some(0), WHOLE_PAPER, 1));
    server.set("RIBBON_SHARE", "none");
    assert_eq!(server.ribbon("push").code, Some(2));
    server.set("RIBBON_SHARE", "ftp://host");
    assert!(server.ribbon("run").err.contains("RIBBON_SHARE: no share is reached by ftp://"));
}

#[test]
fn a_clone_whose_share_is_gone_makes_what_its_lock_names_and_it_needs() {
    let paper = paper();
    paper.run("--push");
    fs::remove_dir_all(paper.path("../lab")).unwrap();
    for (file, from, to) in
        [("pipeline.yaml", "title: Networks", "title: New"), ("embed.sh", "lies", "rests")]
    {
        let clone = paper.clone_as(&to[to.len() - 3..]);
        clone.edit(file, from, to);
        let run = clone.run("");
        assert_eq!((run.code, run.made().as_str()), (Some(0), WHOLE_PAPER), "{}", run.err);
        assert_eq!(run.events_of("share").len(), 1, "{}", run.out);
    }
}

#[test]
fn a_server_that_refuses_a_secret_is_told_of_once_without_it_and_the_run_goes_on() {
    for server in [servers::s3(), servers::webdav()].into_iter().flatten() {
        let mut paper = tiny::paper();
        append(&paper, &format!("share:\n{}", server.share));
        let wrong = format!("{}-wrong", server.secret);
        for (name, value) in &server.variables {
            paper.set(name, if *value == server.secret { &wrong } else { value });
        }
        let run = paper.run("");
        assert_eq!((run.code, run.made().as_str()), (Some(0), WHOLE_PAPER), "{run:?}");
        assert_eq!(run.events_of("share").len(), 1, "{}", run.out);
        assert!(!format!("{run:?}").contains(&server.secret), "{run:?}");
        assert_kept_secret(&server, &paper.path(".."));
    }
}

#[test]
fn secrets_in_pipeline_yaml_are_refused_with_their_place() {
    let paper = tiny::paper();
    append(&paper, "share: davs://ada:secret@host/dav\n");
    let run = paper.ribbon("status");
    assert!(
        run.err.contains("no user names or passwords here") && !run.err.contains("secret"),
        "{}",
        run.err
    );
}

/// No file in a folder has a server's secret in it.
fn assert_kept_secret(server: &Server, folder: &Path) {
    for entry in walkdir::WalkDir::new(folder).into_iter().flatten().filter(|it| it.file_type().is_file()) {
        let bytes = fs::read(entry.path()).unwrap_or_default();
        let tells = memchr::memmem::find(&bytes, server.secret.as_bytes()).is_some();
        assert!(!tells, "{}", entry.path().display());
    }
}

/// Two users exchange work in both directions over a server.
fn exchange_over(server: &Server) {
    let ada = exchange(&format!("share:\n{}", server.share), &server.variables);
    assert!(
        !files(&server.files().join("paper"), "records").is_empty() || server.files().join("bucket").exists()
    );
    // Whatever was written and said: projects, stores, logs, locks, output, and the share.
    assert_kept_secret(server, &ada.path(".."));
    assert_kept_secret(server, &server.files());
}

/// Two users exchange work in both directions over what pipeline.yaml calls the share. The project of one of them.
fn exchange(share: &str, variables: &[(&str, String)]) -> Scratch {
    let mut ada = tiny::paper();
    append(&ada, share);
    variables.iter().for_each(|(name, value)| ada.set(name, value));
    let adas = become_user(&mut ada, "ada");
    let bobs = become_user(&mut ada.clone_as("keys"), "bob");
    append(&ada, &format!("trust: {{ada: '{adas}', bob: '{bobs}'}}\n"));
    let run = ada.run("--push");
    assert_eq!((run.code, run.made().as_str(), said(&run).as_str()), (Some(0), WHOLE_PAPER, ""));
    let bob = bobs_clone(&ada);
    let run = bob.run("");
    assert_eq!((run.made().as_str(), said(&run).as_str()), ("nothing", ""));
    assert_eq!(bob.read(FIGURE), ada.read(FIGURE));
    for clone in [&ada, &bob] {
        clone.edit("pipeline.yaml", "title: Networks", "title: New");
    }
    let run = bob.run("--push");
    assert_eq!((run.made().as_str(), said(&run).as_str()), ("figure 1", ""));
    let run = ada.run("");
    assert_eq!((run.made().as_str(), said(&run).as_str()), ("nothing", ""));
    let clone = bob.clone_as("clone");
    let pull = clone.ribbon(&format!("pull {FIGURE}"));
    assert_eq!((pull.code, clone.read(FIGURE)), (Some(0), ada.read(FIGURE)), "{}", pull.err);
    assert!(ada.ribbon("push").out.contains("pushed 0 jobs, 0 B"));
    ada
}

#[test]
fn two_users_exchange_work_over_a_folder() {
    exchange("share: ../lab\n", &[]);
}

#[test]
fn two_users_exchange_work_over_s3() {
    servers::s3().iter().for_each(exchange_over);
}

#[test]
fn two_users_exchange_work_over_webdav() {
    servers::webdav().iter().for_each(exchange_over);
}

#[test]
fn two_users_exchange_work_over_sftp() {
    servers::sftp().iter().for_each(exchange_over);
}
