//! Shares that lost something, or could not be reached for a while, and what was not told or kept of them.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

use crate::diff::{commit, git};
use crate::scratch::{Scratch, wait_until};
use crate::share::{append, become_user, bobs_clone, files, paper, said};
use crate::tiny::{self, WHOLE_PAPER};

const FIGURE: &str = "outputs/quick/figures/figure.svg";

#[test]
fn what_a_share_has_lost_is_pushed_again() {
    let paper = paper();
    paper.run("--push");
    let lab = paper.path("../lab");
    let objects = files(&lab, "objects");
    assert_eq!(objects.len(), 2);
    paper.remove("../lab/objects");
    let clone = paper.clone_as("clone");
    let pull = clone.ribbon(&format!("pull {FIGURE}"));
    assert!(pull.code == Some(1) && pull.out.contains("who has it can `ribbon push` it again"), "{pull:?}");
    let push = paper.ribbon("push");
    assert!(push.out.starts_with("pushed 2 jobs, ") && push.out.contains("; 12 were there"), "{}", push.out);
    assert_eq!(files(&lab, "objects"), objects);
    assert!(paper.ribbon("push").out.starts_with("pushed 0 jobs, 0 B"));
    assert_eq!(clone.ribbon(&format!("pull {FIGURE}")).code, Some(0));
}

#[test]
fn a_run_that_makes_what_is_lost_on_a_share_puts_it_back() {
    let mut paper =
        tiny::many(3, "head -c 40000 /dev/zero | tr '\\0' x > \"$2\"\necho \"number $1\" >> \"$2\"\n");
    append(&paper, "share: ../lab\n");
    become_user(&mut paper, "ada");
    paper.run("--push");
    let objects = files(&paper.path("../lab"), "objects");
    let read = || objects.iter().map(|object| fs::read(object).unwrap_or_default()).collect::<Vec<_>>();
    let before = read();
    fs::remove_file(&objects[0]).unwrap();
    fs::write(&objects[1], "garbage").unwrap();
    let clone = paper.clone_as("clone");
    clone.edit("pipeline.yaml", "cat \"$@\"", "cat  \"$@\"");
    let run = clone.run("--push");
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert_eq!(read(), before, "{}", said(&run));
    assert_eq!(said(&run), "", "what is put back is damaged no more");
}

#[test]
fn what_a_run_could_not_publish_is_tried_once_more_at_its_end() {
    let mut slow = tiny::slow();
    append(&slow, "share: ../lab\n");
    become_user(&mut slow, "ada");
    // Beside it the others go on, in whatever order.
    fs::write(slow.home("hold-12"), "").unwrap();
    let run = slow.start("run --push -j 2");
    let (lab, away) = (slow.path("../lab"), slow.path("../away"));
    wait_until("some records are there", || files(&lab, "records").len() > 3);
    fs::rename(&lab, &away).unwrap();
    wait_until("a job has no share", || run.err().contains("going on without the share"));
    fs::rename(&away, &lab).unwrap();
    fs::remove_file(slow.home("hold-12")).unwrap();
    let run = run.end();
    assert_eq!((run.code, files(&lab, "records").len()), (Some(0), 13), "{}", run.err);
}

#[test]
fn a_push_of_something_that_is_not_up_to_date_fails() {
    let paper = paper();
    paper.run("");
    paper.edit("pipeline.yaml", "title: Networks", "title: New");
    let push = paper.ribbon("push figure");
    assert_eq!(push.code, Some(1));
    assert!(push.out.contains("1 were left out: they are not up to date"), "{}", push.out);
    assert_eq!(paper.ribbon("push").code, Some(0), "everything is what there is");
}

#[test]
fn a_pull_without_a_share_says_so_and_nothing_of_others() {
    let paper = paper();
    paper.run("--push");
    let clone = paper.clone_as("clone");
    fs::rename(paper.path("../lab"), paper.path("../away")).unwrap();
    let pull = clone.ribbon(&format!("pull {FIGURE}"));
    assert_eq!((pull.code, pull.err.as_str()), (Some(1), ""));
    assert!(pull.out.contains("the share could not be asked for figure: "), "{}", pull.out);
    assert!(pull.out.contains("is it mounted?") && !pull.out.contains("not on the share"), "{}", pull.out);
}

#[test]
fn what_was_pulled_is_in_the_lock_and_can_be_pushed_elsewhere() {
    let mut paper = paper();
    let ada = become_user(&mut paper, "ada");
    paper.run("--push");
    append(&paper, &format!("trust: {{ada: '{ada}'}}\n"));
    let mut bob = bobs_clone(&paper);
    assert_eq!(bob.ribbon("pull figure").code, Some(0));
    assert_eq!(bob.locked("figure"), paper.locked("figure"));
    bob.set("RIBBON_SHARE", bob.path("../other").to_str().unwrap());
    let push = bob.ribbon("push figure");
    assert!(push.code == Some(0) && push.out.starts_with("pushed 1 jobs"), "{push:?}");
    // So with the lock, which needs no record.
    let mut clone = paper.clone_as("clone");
    assert_eq!(clone.ribbon("pull embed").code, Some(0));
    clone.set("RIBBON_SHARE", clone.path("../third").to_str().unwrap());
    let push = clone.ribbon("push embed");
    assert!(push.code == Some(0) && push.out.starts_with("pushed 1 jobs"), "{push:?}");
}

#[test]
fn what_only_another_branch_needs_stays_in_the_store() {
    let paper = tiny::paper();
    paper.run("--set title=Other");
    paper.write(".gitignore", ".ribbon\noutputs\n");
    git(&paper, &["init", "-q", "-b", "main"]);
    commit(&paper);
    let other = paper.object("figure");
    git(&paper, &["checkout", "-q", "-b", "feature"]);
    assert_eq!(paper.run("").made(), "figure 1");
    commit(&paper);
    let told = paper.ribbon("gc --keep-days 0");
    assert!(told.code == Some(0) && other.exists(), "{told:?}");
    git(&paper, &["branch", "-q", "-m", "main", "trunk"]);
    git(&paper, &["tag", "v1", "trunk"]);
    git(&paper, &["branch", "-q", "-D", "trunk"]);
    assert!(paper.ribbon("gc --keep-days 0").code == Some(0) && other.exists(), "a tag names it");
    assert_eq!(paper.ribbon("gc --keep-days 0 --no-branches").code, Some(0));
    assert!(!other.exists());
    assert_eq!(paper.run("").made(), "nothing");
    // Where git is at work and does not tell, nothing goes.
    paper.write(".git/HEAD", "nonsense");
    let told = paper.ribbon("gc --keep-days 0");
    assert!(told.code == Some(2) && told.err.contains("nothing was removed"), "{told:?}");
}

#[test]
fn a_lock_that_is_a_link_stays_one() {
    let paper = tiny::paper();
    paper.write("elsewhere/pipeline.lock", "");
    std::os::unix::fs::symlink("elsewhere/pipeline.lock", paper.path("pipeline.lock")).unwrap();
    assert_eq!(paper.run("").made(), WHOLE_PAPER);
    assert!(fs::symlink_metadata(paper.path("pipeline.lock")).unwrap().is_symlink());
    assert_eq!(paper.read("elsewhere/pipeline.lock").lines().count(), 15);
}

#[test]
fn an_error_tells_its_cause_once() {
    let paper = tiny::paper();
    let err = paper.ribbon("status --pipeline nowhere/pipeline.yaml").err;
    assert_eq!(err.matches("No such file").count(), 1, "{err}");
}

/// A bucket whose files are in a folder, and which everybody may read and nobody list: what is not there is forbidden. Who
/// asks with a signature is not answered well.
fn public_bucket(folder: std::path::PathBuf) -> String {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", server.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in server.incoming() {
            let (mut connection, folder) = (connection.unwrap(), folder.clone());
            std::thread::spawn(move || {
                let mut request = [0; 8192];
                while let Ok(read @ 1..) = connection.read(&mut request) {
                    let head = String::from_utf8_lossy(&request[..read]).into_owned();
                    let path = head
                        .split([' ', '?'])
                        .nth(1)
                        .unwrap()
                        .trim_start_matches("/bucket/paper/")
                        .to_owned();
                    let is_signed = head.to_lowercase().contains("authorization:");
                    let (status, body) = match fs::read(folder.join(path)) {
                        _ if is_signed => ("500 Signed", Vec::new()),
                        Ok(body) => ("200 OK", body),
                        Err(_) => ("403 Forbidden", Vec::new()),
                    };
                    let length = body.len();
                    let _ = write!(connection, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n");
                    let body = if head.starts_with("HEAD") { Vec::new() } else { body };
                    let _ = connection.write_all(&body);
                }
            });
        }
    });
    address
}

#[test]
fn who_has_no_credentials_reads_a_public_bucket() {
    if crate::servers::remote().is_none() {
        return;
    }
    let paper = paper();
    paper.run("--push");
    let bucket = public_bucket(paper.path("../lab"));
    let clone = paper.clone_as("clone");
    clone.edit(
        "pipeline.yaml",
        "share: ../lab\n",
        &format!("share: {{url: 's3://bucket/paper', endpoint: '{bucket}'}}\n"),
    );
    let refused = clone.ribbon(&format!("pull {FIGURE}"));
    assert!(refused.code == Some(1) && refused.out.contains("could not be asked for"), "{refused:?}");
    clone.edit("pipeline.yaml", "endpoint:", "public: true, endpoint:");
    let pull = clone.ribbon(&format!("pull {FIGURE}"));
    assert_eq!((pull.code, clone.read(FIGURE)), (Some(0), paper.read(FIGURE)), "{pull:?}");
    clone.edit("pipeline.yaml", "title: Networks", "title: New");
    let run = clone.run("");
    assert_eq!(
        (run.code, run.made().as_str(), said(&run).as_str()),
        (Some(0), "figure 1", ""),
        "what nobody has made is not there"
    );
}

#[test]
fn branches_are_asked_of_the_repository_that_a_workspace_is_in() {
    let mut one = tiny::paper();
    one.set("RIBBON_STORE", one.path("../store").to_str().unwrap());
    let two = one.clone_as("two");
    for workspace in [&one, &two] {
        workspace.write(".gitignore", ".ribbon\noutputs\n");
        git(workspace, &["init", "-q", "-b", "main"]);
    }
    two.run("--set title=Other");
    commit(&two);
    git(&two, &["checkout", "-q", "-b", "feature"]);
    two.run("");
    commit(&two);
    one.run("");
    one.set("GIT_DIR", one.path(".git").to_str().unwrap());
    let told = one.ribbon("gc --keep-days 0");
    assert!(told.code == Some(0) && told.out.contains("removed 0 objects"), "{told:?}");
    // A branch of which something is damaged is none that needs nothing.
    let tree = git(&two, &["rev-parse", "main^{tree}"]);
    two.remove(&format!(".git/objects/{}/{}", &tree[..2], tree[2..].trim()));
    let told = one.ribbon("gc --keep-days 0");
    assert!(told.code == Some(2) && told.err.contains("nothing was removed"), "{told:?}");
}

#[test]
fn who_pulls_keeps_the_lines_of_what_was_not_reproduced() {
    let project = Scratch::new(&[(
        "pipeline.yaml",
        "version: 1\nprofile: p\nprofiles: {p: {}}\nshare: ../lab\nstages:\n  s: {run: [sh, -c, 'date +%N > {outputs.o}'], \
         outputs: {o: o.txt}}\n  t: {run: [cp, '{inputs.o}', '{outputs.o}'], inputs: {o: s.o}, outputs: {o: o.txt}}\n",
    )]);
    project.run("--push");
    let lock = project.read("pipeline.lock");
    project.run("--force s");
    assert_eq!(project.read("pipeline.lock"), lock);
    project.ribbon("pull");
    assert_eq!(project.read("pipeline.lock"), lock);
}

#[test]
fn who_has_no_key_leaves_a_signature_where_it_is() {
    let mut paper = paper();
    let ada = become_user(&mut paper, "ada");
    append(&paper, &format!("trust: {{ada: '{ada}'}}\n"));
    paper.run("--push");
    // Whose pipeline publishes less has small outputs in the record; they lie beside it.
    let mut bob = paper.clone_as("bob");
    bob.set("RIBBON_KEY", bob.home("none").to_str().unwrap());
    bob.edit("pipeline.yaml", "    publish: {points: tables/points.txt}\n", "");
    assert_eq!((bob.run("").code, bob.ribbon("pull embed").code), (Some(0), Some(0)));
    paper.remove("../lab/objects");
    let push = bob.ribbon("push embed");
    assert!(push.code == Some(0) && push.out.starts_with("pushed 1 jobs"), "{push:?}");
    let carl = bobs_clone(&paper);
    assert_eq!(carl.ribbon("pull embed").code, Some(0));
    let run = carl.run("embed");
    assert_eq!((run.made().as_str(), said(&run).as_str()), ("nothing", ""));
}
