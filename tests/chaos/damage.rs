//! Bits that flip on the disk, in whatever file and with its times put back: no wrong artifact is ever used.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::dice::Dice;
use crate::pipeline::{JOBS, figure, project};
use crate::scratch::{Run, Scratch};

/// How many bits flip, and how many of them at most before somebody uses the workspace.
const FLIPS: usize = 1000;
const AT_ONCE: u64 = 8;

/// What is damaged; by turns, however few files of a kind there are.
const VICTIMS: [&str; 10] = [
    ".ribbon/store/objects",
    ".ribbon/store/records",
    ".ribbon/store/index",
    ".ribbon/store/code",
    ".ribbon/store/workspaces",
    ".ribbon/memo",
    ".ribbon/code-memo.json",
    ".ribbon/bin",
    "pipeline.lock",
    "outputs",
];

#[test]
fn a_thousand_flipped_bits_change_no_artifact() {
    let mut dice = Dice::new();
    let started = Instant::now();
    let project = project();
    assert_eq!(project.run("").count("ran"), JOBS);
    let lock = project.read("pipeline.lock");
    let (mut flipped, mut rounds) = (0, 0);
    while flipped < FLIPS {
        rounds += 1;
        let mut damaged = Vec::new();
        for _ in 0..1 + dice.below(AT_ONCE) {
            let victim = *dice.pick(&VICTIMS);
            damaged.extend(flip(&project.path(victim), &mut dice));
        }
        flipped += damaged.len();
        if dice.below(4) == 0 {
            verify(&project, &damaged, &lock);
        }
        // All jobs' outputs, or those that only a new figure needs, or those that are to be published.
        let title = match dice.below(3) {
            0 => format!("Title-{rounds}"),
            _ => "Numbers".to_owned(),
        };
        if dice.below(4) == 0 {
            let _ = fs::remove_dir_all(project.path("outputs"));
        }
        let run = run(&project, &title);
        assert_eq!(run.code, Some(0), "{run:?} in round {rounds}, after damage to {damaged:#?}");
        let made = project.read("outputs/quick/figure.txt");
        assert_eq!(made, figure(&title), "round {rounds}, after damage to {damaged:#?}");
        // Of a damaged line the run says that it is not what was made; whether that is damage, git knows.
        if title == "Numbers" && !damaged.iter().any(|path| path.ends_with("pipeline.lock")) {
            assert_eq!(project.read("pipeline.lock"), lock, "round {rounds}, after damage to {damaged:#?}");
        }
        // As git would: the next round starts with the committed lock, of which the first command makes a copy.
        if fs::read(project.path("pipeline.lock")).unwrap() != lock.as_bytes() {
            project.write("pipeline.lock", &lock);
            assert_eq!(project.ribbon("status").code, Some(0));
        }
    }
    verify(&project, &[], &lock);
    println!("{flipped} bits in {rounds} rounds, {:.1} s", started.elapsed().as_secs_f64());
}

/// Runs the pipeline. Where a line of the lock is damaged beyond reading, the message says so, and `verify` mends it.
fn run(project: &Scratch, title: &str) -> Run {
    let run = || project.ribbon(&format!("run --set title={title}"));
    match run() {
        stopped if stopped.code == Some(2) => {
            assert!(
                stopped.err.contains("pipeline.lock:") && stopped.err.contains("`ribbon verify`"),
                "{stopped:?}"
            );
            let mended = project.ribbon("verify");
            let is_named = ["put back", "dropped"].map(|how| format!("damaged, {how}: pipeline.lock:"));
            assert!(is_named.iter().any(|named| mended.out.contains(named)), "{mended:?} after {stopped:?}");
            run()
        }
        run => run,
    }
}

/// `verify` names each damaged object and record and a damaged memo, and leaves none.
fn verify(project: &Scratch, damaged: &[PathBuf], lock: &str) {
    let first = project.ribbon("verify");
    for path in damaged {
        let place = path.to_string_lossy();
        let name = ["/objects/", "/records/"].iter().find_map(|section| place.split_once(section));
        if let Some((_, name)) = name {
            let hash = name.replace('/', "");
            assert!(first.out.contains(&hash), "{hash} in {first:?} after damage to {damaged:#?}");
        }
    }
    // Where the copy that tells how it was is damaged as well, now or rounds ago, that is not known.
    let is_known = !first.out.contains("damaged, written anew: the store's copy of pipeline.lock");
    if is_known && damaged.iter().any(|path| path.ends_with("pipeline.lock")) {
        assert!(
            first.out.contains("damaged, put back: pipeline.lock:"),
            "{first:?} after damage to {damaged:#?}"
        );
        assert_eq!(project.read("pipeline.lock"), lock);
    }
    if damaged.iter().any(|path| path.ends_with(".ribbon/memo")) {
        assert!(first.out.contains("the memo of hashes"), "{first:?} after damage to {damaged:#?}");
    }
    // What `verify` says of a lock that is unlike its records is for git to put right.
    project.write("pipeline.lock", lock);
    let second = project.ribbon("verify");
    assert_eq!(second.code, Some(0), "{second:?} after damage to {damaged:#?}");
    for path in files(&project.path(".ribbon/store/objects")) {
        let name = path.strip_prefix(project.path(".ribbon/store/objects")).unwrap();
        let hash = blake3::hash(&fs::read(&path).unwrap()).to_hex();
        assert_eq!(name.to_string_lossy().replace('/', ""), hash.as_str());
    }
}

/// Flips a bit of some file in a folder, or of this file, and puts its times and permissions back.
fn flip(victim: &Path, dice: &mut Dice) -> Option<PathBuf> {
    let files: Vec<PathBuf> =
        files(victim).into_iter().filter(|it| it.metadata().unwrap().len() > 0).collect();
    if files.is_empty() {
        return None;
    }
    let path = dice.pick(&files).clone();
    let metadata = path.metadata().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let bit = dice.below(8 * bytes.len() as u64);
    bytes[bit as usize / 8] ^= 1 << (bit % 8);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, bytes).unwrap();
    File::options().append(true).open(&path).unwrap().set_modified(metadata.modified().unwrap()).unwrap();
    fs::set_permissions(&path, metadata.permissions()).unwrap();
    Some(path)
}

/// All files in a folder, or this file, sorted.
fn files(path: &Path) -> Vec<PathBuf> {
    match fs::read_dir(path) {
        Ok(entries) => {
            let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
            paths.sort();
            paths.iter().flat_map(|path| files(path)).collect()
        }
        Err(_) if path.is_file() => vec![path.to_owned()],
        Err(_) => Vec::new(),
    }
}
