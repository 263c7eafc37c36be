//! A lab: a store that a group writes to, and one that may only be read.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use walkdir::WalkDir;

use crate::scratch::Scratch;
use crate::skip::skipped;
use crate::tiny::{self, WHOLE_PAPER};

/// Two users of one group that every Linux has, by their numbers, and the group's.
const USERS: [u32; 2] = [65501, 65502];
const GROUP: u32 = 65500;

/// Only root can become somebody else.
fn is_root() -> bool {
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !is_root {
        skipped("only root can run as two users");
    }
    is_root
}

/// `ribbon` with these words as another user, with the strictest of umasks.
fn ribbon_as(user: u32, project: &Scratch, store: &Path, words: &str) -> Output {
    command_of(user, project, store, words).output().unwrap()
}

fn command_of(user: u32, project: &Scratch, store: &Path, words: &str) -> Command {
    let script = format!("umask 077; exec \"$RIBBON\" {words}");
    let mut command = Command::new("setpriv");
    command
        .args([
            &format!("--reuid={user}"),
            &format!("--regid={GROUP}"),
            "--clear-groups",
            "sh",
            "-c",
            &script,
        ])
        .current_dir(project.path(""))
        .env("HOME", project.home(""))
        .env("RIBBON", project.path("../ribbon"))
        .env("RIBBON_STORE", store);
    command
}

/// Gives a project and the home of its jobs to a user; the home's folders are open to all.
fn give(project: &Scratch, user: u32) {
    for entry in WalkDir::new(project.path("")).into_iter().flatten() {
        chown(entry.path(), Some(user), Some(GROUP)).unwrap();
    }
}

fn open(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Two users' clones of a paper, and a store of their group's.
fn lab() -> ([Scratch; 2], std::path::PathBuf) {
    shared(tiny::paper())
}

/// A project, given to one of the users, and a clone of the other; and a store of their group's.
fn shared(one: Scratch) -> ([Scratch; 2], std::path::PathBuf) {
    let two = one.clone_as("two");
    open(&one.home(""), 0o777);
    open(&one.path(".."), 0o755);
    // Whatever the mode of the folder that cargo builds in.
    fs::copy(env!("CARGO_BIN_EXE_ribbon"), one.path("../ribbon")).unwrap();
    let store = one.path("../store");
    fs::create_dir(&store).unwrap();
    chown(&store, Some(USERS[0]), Some(GROUP)).unwrap();
    open(&store, 0o2775);
    give(&one, USERS[0]);
    give(&two, USERS[1]);
    ([one, two], store)
}

#[test]
fn two_users_share_a_store_whatever_their_umask() {
    if !is_root() {
        return;
    }
    let ([one, two], store) = lab();
    let first = ribbon_as(USERS[0], &one, &store, "run");
    assert!(first.status.success(), "{first:?}");
    assert_eq!(one.told().len(), 14);
    fs::write(one.home("ran"), "").unwrap();
    open(&one.home("ran"), 0o666);
    let second = ribbon_as(USERS[1], &two, &store, "run --set title=Second");
    assert!(second.status.success(), "{second:?}");
    assert_eq!(two.told(), ["figure"], "the other user's work is used");
    let object = |project: &Scratch, job: &str| {
        store
            .join("objects")
            .join(project.object(job).strip_prefix(project.path(".ribbon/store/objects")).unwrap())
    };
    assert!(object(&two, "figure").exists());

    // One finds the other's object damaged, drops it, and makes it again.
    let embed = object(&one, "embed");
    fs::write(&embed, "damaged").unwrap();
    fs::write(one.home("ran"), "").unwrap();
    open(&one.home("ran"), 0o666);
    let again = ribbon_as(USERS[1], &two, &store, "run --set title=Third");
    assert!(again.status.success(), "{again:?}");
    assert_eq!(two.told(), ["embed", "figure"]);
    for user in USERS {
        let project = if user == USERS[0] { &one } else { &two };
        let gc = ribbon_as(user, project, &store, "gc --keep-days 0");
        assert!(gc.status.success(), "{gc:?}");
        let told = String::from_utf8_lossy(&gc.stdout).into_owned();
        assert!(told.contains("cannot be seen from here"), "the other's lock is closed: {told}");
        assert!(ribbon_as(user, project, &store, "verify").status.success());
    }
    for entry in WalkDir::new(&store).into_iter().flatten() {
        let metadata = entry.metadata().unwrap();
        let mode = metadata.permissions().mode() & 0o7777;
        let name = entry.path().strip_prefix(&store).unwrap().to_string_lossy().into_owned();
        match () {
            () if metadata.is_dir() => assert_eq!(mode, 0o2775, "{name}"),
            () if name.starts_with("objects/") => assert_eq!(mode, 0o444, "{name}"),
            () => assert_eq!(mode, 0o664, "{name}"),
        }
    }
}

#[test]
fn two_users_at_once_do_each_job_once() {
    if !is_root() {
        return;
    }
    let ([one, two], store) = lab();
    fs::write(one.home("ran"), "").unwrap();
    open(&one.home("ran"), 0o666);
    let start = |user, project| {
        let mut command = command_of(user, project, &store, "run -j 2");
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let runs = [start(USERS[0], &one), start(USERS[1], &two)];
    for run in runs {
        let run = run.wait_with_output().unwrap();
        assert!(run.status.success(), "{run:?}");
    }
    let mut told = one.told();
    told.sort();
    assert_eq!(told.len(), 14, "{told:?}");
    assert_eq!(one.read("pipeline.lock"), two.read("pipeline.lock"));
}

#[test]
fn two_users_push_to_a_folder_of_their_group() {
    if !is_root() {
        return;
    }
    let ([one, two], _) = lab();
    let share = one.path("../share");
    fs::create_dir(&share).unwrap();
    chown(&share, Some(USERS[0]), Some(GROUP)).unwrap();
    open(&share, 0o2775);
    for (user, project) in USERS.into_iter().zip([&one, &two]) {
        let pipeline = project.read("pipeline.yaml") + "share: ../share\ntrust: any\n";
        project.write("pipeline.yaml", &pipeline);
        give(project, user);
    }
    let run = |user: u32, project: &Scratch, words: &str| {
        let run = ribbon_as(user, project, &project.path(".ribbon/store"), words);
        assert!(run.status.success(), "{run:?}");
        assert!(!String::from_utf8_lossy(&run.stderr).contains("without the share"), "{run:?}");
    };
    run(USERS[0], &one, "run --push");
    assert_eq!(one.told().len(), 14);
    run(USERS[1], &two, "run --push --set title=Second");
    assert_eq!(two.told(), ["figure"], "the other user's work is used");
    run(USERS[0], &one, "run --set title=Second");
    assert_eq!(one.told(), [""; 0], "and goes back");
    for entry in WalkDir::new(&share).into_iter().flatten() {
        let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
        let expected = if entry.file_type().is_dir() { 0o2775 } else { 0o664 };
        assert_eq!(mode, expected, "{}", entry.path().display());
    }
}

#[test]
fn a_store_without_write_permission_can_be_asked_and_says_what_to_do() {
    if !is_root() {
        return;
    }
    let ([one, two], store) = lab();
    assert!(ribbon_as(USERS[0], &one, &store, "run").status.success());
    fs::copy(one.path("pipeline.lock"), two.path("pipeline.lock")).unwrap();
    give(&two, USERS[1]);
    for entry in WalkDir::new(&store).into_iter().flatten() {
        let mode = entry.metadata().unwrap().permissions().mode() & 0o7555;
        open(entry.path(), mode);
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let status = ribbon_as(USERS[1], &two, &store, "status");
    assert!(status.status.success() && text(&status.stdout).ends_with("up to date\n"), "{status:?}");
    for words in ["run", "gc"] {
        let refused = ribbon_as(USERS[1], &two, &store, words);
        let why = text(&refused.stderr);
        assert_ne!(refused.status.code(), Some(0), "{words}");
        assert!(
            why.contains(&format!("the store {} can only be read here: ", store.display())),
            "{words}: {why}"
        );
        assert!(why.contains("chmod 2775") && why.contains("RIBBON_STORE"), "{why}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let mut paper = tiny::paper();
    fs::write(paper.path("../file"), "").unwrap();
    paper.set("RIBBON_STORE", paper.path("../file/store").to_str().unwrap());
    let run = paper.ribbon("run");
    assert_eq!(run.code, Some(2));
    assert!(run.err.contains("store: cannot make ") && run.err.contains("file/store"), "{}", run.err);
    paper.set("RIBBON_STORE", paper.path("../store").to_str().unwrap());
    assert_eq!(paper.run("").made(), WHOLE_PAPER);
}

#[test]
fn one_goes_on_from_what_a_job_of_the_other_has_left() {
    if !is_root() {
        return;
    }
    let script = r#"folder=$(sed -n 's/.*"resume":"\([^"]*\)".*/\1/p' "$RIBBON_JOB")
echo step >> "$folder/at"
mkdir -p "$folder/more"; echo step >> "$folder/more/at"
[ $(wc -l < "$folder/at") -lt 3 ] && exit 1
cat "$folder/at" "$folder/more/at" > "$1"
"#;
    let stage = "version: 1\nprofile: quick\nprofiles: {quick: {}}\nstages:\n  count:\n    run: [sh, count.sh, \"{outputs.o}\"]\n    \
                 code: [count.sh]\n    outputs: {o: o.txt}\n    publish: {o: o.txt}\n    resume: true\n";
    let ([one, two], store) = shared(Scratch::new(&[("pipeline.yaml", stage), ("count.sh", script)]));
    let first = ribbon_as(USERS[0], &one, &store, "run");
    assert_eq!(first.status.code(), Some(1), "{first:?}");
    let second = ribbon_as(USERS[1], &two, &store, "run");
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    let third = ribbon_as(USERS[0], &one, &store, "run");
    assert!(third.status.success(), "{third:?}");
    assert_eq!(one.read("outputs/quick/o.txt"), "step\n".repeat(6));
}

#[test]
fn folders_that_a_job_has_closed_are_in_no_other_ones_way() {
    if !is_root() {
        return;
    }
    let closed = "mkdir -p closed/more && touch closed/more/x && chmod 555 closed closed/more\necho \"number $1\" > \"$2\"\n";
    let one = tiny::many(3, closed);
    let ([one, _], store) = shared(one);
    let run = ribbon_as(USERS[0], &one, &store, "run -j 1");
    assert!(run.status.success(), "{run:?}");
    let left = fs::read_dir(store.join("tmp")).unwrap().flatten().filter(|it| it.path().is_dir());
    assert_eq!(left.map(|it| it.path()).collect::<Vec<_>>(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_file_that_cannot_be_read_fails_the_jobs_that_take_it_and_no_others() {
    if !is_root() {
        return;
    }
    let stages = "version: 1\nprofile: quick\nprofiles: {quick: {}}\nstages:\n  \
                  closed: {run: [cp, '{inputs.i}', '{outputs.o}'], inputs: {i: ./closed.txt}, outputs: {o: o.txt}}\n  \
                  open: {run: [cp, '{inputs.i}', '{outputs.o}'], inputs: {i: ./open.txt}, outputs: {o: o.txt}}\n";
    let files = [("pipeline.yaml", stages), ("closed.txt", "closed"), ("open.txt", "open")];
    let ([one, _], store) = shared(Scratch::new(&files));
    let closed = one.path("closed.txt");
    chown(&closed, Some(0), Some(0)).unwrap();
    open(&closed, 0o600);
    let run = ribbon_as(USERS[0], &one, &store, "run --keep-going");
    let told = String::from_utf8_lossy(&run.stderr).into_owned() + &String::from_utf8_lossy(&run.stdout);
    assert_eq!(run.status.code(), Some(1), "{told}");
    assert!(told.contains("ran 1, cached 0, failed 1"), "{told}");
    assert!(told.contains("closed.txt: Permission denied"), "{told}");
    open(&closed, 0o644);
    let run = ribbon_as(USERS[0], &one, &store, "run");
    assert!(
        run.status.success() && String::from_utf8_lossy(&run.stdout).contains("ran 1, cached 1"),
        "{run:?}"
    );
}
