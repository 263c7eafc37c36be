//! pipeline.lock: every job's key and its artifacts' hashes, committed beside pipeline.yaml.
//!
//! One line a job, sorted: profile, job, key, and `NAME=HASH:SIZE` per output (`NAME/=..` for a folder), separated by
//! spaces; a space in a name is written `%20`, a percent sign `%25`. A run writes only its own profile's lines.

mod git;
mod merge;

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::hash::{Hash, Key};
use crate::pipeline::Kind;
use crate::store::Artifact;

pub use git::{RevisionError, at_revision, is_in_repository, on_branches};
pub use merge::{Merged, NotALock, merge};

const HEADER: &str = "# pipeline.lock 1: every job's key and what it made. Written by ribbon; commit it.\n";

/// What the first line begins with in every format.
const BEGINNING: &str = "# pipeline.lock ";

const NOT_UTF8: &str = "it is not UTF-8";
const CONFLICT: &str = "git left a conflict here";
const TWICE: &str = "its job stands more than once";

/// What is wrong with a lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is none.
    #[error(
        "{path}:{line}: {why}; remove the line (in its project `ribbon verify` does), and `ribbon run` writes it anew"
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// Its first line says so, or no line of it is one, nor is its first.
    #[error(
        "{0} is not a pipeline.lock of format 1; if no newer ribbon wrote it, take it from git, or remove it, and `ribbon run` \
         writes it anew"
    )]
    Format(PathBuf),
}

/// A job's line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The job's key.
    pub key: Key,
    /// What it made, by the output's name.
    pub outputs: BTreeMap<String, Artifact>,
}

/// A lock, of which one profile's lines are open for change.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    profile: String,
    /// By job.
    lines: BTreeMap<String, Line>,
    /// The other profiles' lines, as they are.
    others: Vec<String>,
    /// The file's text, so that an equal one is not written again.
    text: String,
    /// Whether a line was set or removed since, or there is no file yet.
    changed: bool,
    /// The jobs of which that was.
    touched: BTreeSet<String>,
}

/// The lines of all profiles in the lock at `path`; there may be none.
///
/// # Errors
/// When it cannot be read, or a line is none.
pub fn all(path: &Path) -> Result<Vec<Line>, LockError> {
    let text = read(path)?;
    check_format(path, text.as_bytes())?;
    let line = |(number, text)| match of_any_profile(text) {
        Ok(line) => line.map(|(.., line)| Ok(line)),
        Err(why) => Some(Err(LockError::Line { path: path.to_owned(), line: number + 1, why })),
    };
    lines_of(&text).enumerate().filter_map(line).collect()
}

/// The lines of all profiles in the text of a lock, as far as they are lines.
pub fn lines_in(text: &str) -> impl Iterator<Item = Line> {
    lines_of(text).filter_map(|text| Some(of_any_profile(text).ok()??.2))
}

/// A line of a lock that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Counted from 1.
    pub line: usize,
    /// Its first two words, which are a profile and a job if these are not damaged.
    pub names: String,
    /// What is wrong with it.
    pub why: String,
}

/// The lines, of all profiles, in the lock at `path` that are none, or have another line of their job beside them.
///
/// # Errors
/// When it cannot be read, or is none at all.
pub fn damaged(path: &Path) -> Result<Vec<Damaged>, LockError> {
    sift(path).map(|(_, damaged)| damaged)
}

/// Puts back what was written to the lock at `path`, and tells of the lines that are otherwise now.
///
/// # Errors
/// When it cannot be read or written.
pub fn put_back(path: &Path, written: &[u8]) -> Result<Vec<Damaged>, LockError> {
    let now = read_bytes(path)?;
    let lines = |text: &[u8]| text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (now, then) = (lines(&now), lines(written));
    let changed = (1..).zip(&then).filter(|(number, line)| now.get(number - 1) != Some(line));
    let why = "it is not as it was written";
    let damaged =
        changed.map(|(number, line)| Damaged::new(number, &String::from_utf8_lossy(line), why.to_owned()));
    let damaged = damaged.collect();
    write(path, &String::from_utf8_lossy(written)).map_err(io_error(path))?;
    Ok(damaged)
}

/// Takes the lines that [`damaged`] tells of out of the lock at `path`, and tells of them.
///
/// # Errors
/// When it cannot be read or written, or is none at all.
pub fn mend(path: &Path) -> Result<Vec<Damaged>, LockError> {
    let (text, damaged) = sift(path)?;
    if !damaged.is_empty() {
        write(path, &text).map_err(io_error(path))?;
    }
    Ok(damaged)
}

/// The text of the lock at `path` without the lines that are none, and these.
fn sift(path: &Path) -> Result<(String, Vec<Damaged>), LockError> {
    let bytes = read_bytes(path)?;
    check_format(path, &bytes)?;
    let mut damaged = Vec::new();
    let mut sound: Vec<(usize, &str)> = Vec::new();
    // By profile and job.
    let mut places: BTreeMap<(&str, String), Vec<usize>> = BTreeMap::new();
    for (number, bytes) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let line = str::from_utf8(bytes).map(|line| line.trim_end_matches('\r'));
        let parsed = line.map_err(|_| NOT_UTF8.to_owned()).and_then(|line| Ok((line, of_any_profile(line)?)));
        match parsed {
            Ok((line, Some((profile, job, _)))) => {
                places.entry((profile, job)).or_default().push(sound.len());
                sound.push((number, line));
            }
            // The header, or nothing.
            Ok((_, None)) => {}
            Err(why) => damaged.push(Damaged::new(number, &String::from_utf8_lossy(bytes), why)),
        }
    }
    if sound.is_empty() && !damaged.is_empty() && !bytes.starts_with(HEADER.as_bytes()) {
        return Err(LockError::Format(path.to_owned()));
    }
    // Two versions that were merged by hand, say. Which one counts is not known; of equal lines one is enough.
    let mut left_out = BTreeSet::new();
    for places in places.into_values().filter(|places| places.len() > 1) {
        let is_one = places.iter().all(|place| sound[*place].1 == sound[places[0]].1);
        for place in places.into_iter().skip(usize::from(is_one)) {
            let (number, line) = sound[place];
            damaged.push(Damaged::new(number, line, TWICE.to_owned()));
            left_out.insert(place);
        }
    }
    damaged.sort_by_key(|damaged| damaged.line);
    let kept = sound.iter().enumerate().filter(|(place, _)| !left_out.contains(place));
    let lines = kept.flat_map(|(_, (_, line))| [line, "\n"]);
    Ok(([HEADER].into_iter().chain(lines).collect(), damaged))
}

impl Damaged {
    fn new(line: usize, text: &str, why: String) -> Damaged {
        Damaged { line, names: text.split(' ').take(2).collect::<Vec<_>>().join(" "), why }
    }
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pipeline.lock:{}: {} ({})", self.line, self.why, self.names)
    }
}

/// A job's line, of whatever profile, with both names; a comment or an empty line is of none.
fn of_any_profile(text: &str) -> Result<Option<(&str, String, Line)>, String> {
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    if is_of_a_conflict(text) {
        return Err(CONFLICT.to_owned());
    }
    let (profile, rest) = text.split_once(' ').ok_or("a job is missing")?;
    parse(rest).map(|(job, line)| Some((profile, job, line)))
}

/// Refuses a text whose first line tells of another format: what a newer ribbon writes, this one would lose.
fn check_format(path: &Path, text: &[u8]) -> Result<(), LockError> {
    let version = text.strip_prefix(BEGINNING.as_bytes()).unwrap_or_default();
    let digits: Vec<u8> = version.iter().copied().take_while(u8::is_ascii_digit).collect();
    match digits.is_empty() || digits == b"1" {
        true => Ok(()),
        false => Err(LockError::Format(path.to_owned())),
    }
}

/// Whether git has written this line between two versions that it could not merge.
fn is_of_a_conflict(line: &str) -> bool {
    ["<<<<<<<", "|||||||", "=======", ">>>>>>>"].iter().any(|marker| line.starts_with(marker))
}

/// Lines without their ends, whichever system's they are: what is not ours is written again with our own.
fn lines_of(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(|line| line.trim_end_matches('\r'))
}

impl Lock {
    /// Reads the lock at `path`; there may be none yet.
    ///
    /// # Errors
    /// When it cannot be read, or a line of this profile is none.
    pub fn open(path: &Path, profile: &str) -> Result<Lock, LockError> {
        Lock::parse(path, profile, read(path)?)
    }

    /// Reads a lock's text as that of the file at `path`, which may be a committed version of it.
    ///
    /// # Errors
    /// When it is of another format, or a line of this profile is none.
    pub fn parse(path: &Path, profile: &str, text: String) -> Result<Lock, LockError> {
        check_format(path, text.as_bytes())?;
        let (mut lines, mut others) = (BTreeMap::new(), Vec::new());
        for (number, line) in lines_of(&text).enumerate().filter(|(_, line)| !line.starts_with('#')) {
            let bad = |why| LockError::Line { path: path.to_owned(), line: number + 1, why };
            match line.split_once(' ') {
                _ if is_of_a_conflict(line) => return Err(bad(CONFLICT.to_owned())),
                Some((name, rest)) if unescape(name) == profile => {
                    let (job, line) = parse(rest).map_err(bad)?;
                    match lines.entry(job) {
                        Entry::Vacant(place) => drop(place.insert(line)),
                        Entry::Occupied(before) if *before.get() == line => {}
                        Entry::Occupied(_) => return Err(bad(TWICE.to_owned())),
                    }
                }
                _ if line.is_empty() => {}
                _ => others.push(line.to_owned()),
            }
        }
        Ok(Lock {
            path: path.to_owned(),
            profile: profile.to_owned(),
            lines,
            others,
            changed: text.is_empty(),
            touched: BTreeSet::new(),
            text,
        })
    }

    /// A job's line.
    pub fn get(&self, job: &str) -> Option<&Line> {
        self.lines.get(job)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The profile's lines, by job.
    pub fn lines(&self) -> &BTreeMap<String, Line> {
        &self.lines
    }

    /// The outputs, as `train[seed=42].checkpoints`, whose content this is.
    pub fn outputs_with(&self, hash: Hash) -> Vec<String> {
        let outputs = |(job, line): (&String, &Line)| {
            let named = line.outputs.iter().filter(|(_, artifact)| artifact.hash == hash);
            named.map(|(name, _)| format!("{job}.{name}")).collect::<Vec<_>>()
        };
        self.lines.iter().flat_map(outputs).collect()
    }

    /// The jobs with this key.
    pub fn jobs_with(&self, key: Key) -> Vec<String> {
        self.lines.iter().filter(|(_, line)| line.key == key).map(|(job, _)| job.clone()).collect()
    }

    /// Sets a job's line.
    pub fn set(&mut self, job: &str, line: Line) {
        self.lines.insert(job.to_owned(), line);
        self.touched.insert(job.to_owned());
        self.changed = true;
    }

    /// Removes the lines of jobs that are no more.
    pub fn retain(&mut self, exists: impl Fn(&str) -> bool) {
        for (job, _) in self.lines.extract_if(.., |job, _| !exists(job)) {
            self.touched.insert(job);
            self.changed = true;
        }
    }

    /// Writes the lock, if its text changed. What somebody else has changed in the file meanwhile (a merge, say) stays,
    /// but for lines that were set or removed here.
    ///
    /// # Errors
    /// When it cannot be written, or the file is no lock any more; it then stays as it is.
    pub fn save(&mut self) -> Result<(), LockError> {
        if !self.changed {
            return Ok(());
        }
        let now = read(&self.path)?;
        if now != self.text && !now.is_empty() {
            let mut now = Lock::parse(&self.path, &self.profile, now)?;
            now.lines.retain(|job, _| !self.touched.contains(job));
            self.lines.retain(|job, _| self.touched.contains(job));
            self.lines.append(&mut now.lines);
            (self.others, self.text) = (now.others, now.text);
        }
        let profile = escape(&self.profile);
        let mut all = self.others.clone();
        all.extend(self.lines.iter().map(|(job, line)| format!("{profile} {}", render(job, line))));
        all.sort();
        let mut text = HEADER.to_owned();
        for line in all {
            text.push_str(&line);
            text.push('\n');
        }
        if text != self.text {
            write(&self.path, &text).map_err(io_error(&self.path))?;
            self.text = text;
        }
        self.changed = false;
        Ok(())
    }
}

/// Through the disk before it takes the old one's place: a power loss leaves one of the two. A link stays one.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file =
        tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o644)).tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn read(path: &Path) -> Result<String, LockError> {
    String::from_utf8(read_bytes(path)?).map_err(|error| {
        let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + sound.iter().filter(|byte| **byte == b'\n').count();
        LockError::Line { path: path.to_owned(), line, why: NOT_UTF8.to_owned() }
    })
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, LockError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        bytes => bytes.map_err(io_error(path)),
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> LockError {
    |source| LockError::Io { path: path.to_owned(), source }
}

fn render(job: &str, line: &Line) -> String {
    let mut text = format!("{} {}", escape(job), line.key);
    for (name, Artifact { kind, hash, size }) in &line.outputs {
        let slash = if *kind == Kind::Folder { "/" } else { "" };
        let _ = write!(text, " {}{slash}={hash}:{size}", escape(name));
    }
    text
}

fn parse(text: &str) -> Result<(String, Line), String> {
    let mut words = text.split(' ');
    let job = words.next().filter(|job| !job.is_empty()).ok_or("a job is missing")?;
    let key = words.next().ok_or("a key is missing")?.parse::<Key>().map_err(|error| error.to_string())?;
    let output = |word: &str| {
        let (name, rest) = word.split_once('=')?;
        let (hash, size) = rest.split_once(':')?;
        let (name, kind) = name.strip_suffix('/').map_or((name, Kind::File), |name| (name, Kind::Folder));
        let artifact = Artifact { kind, hash: hash.parse::<Hash>().ok()?, size: size.parse().ok()? };
        Some((unescape(name), artifact))
    };
    let outputs = words
        .map(|word| output(word).ok_or_else(|| format!("`{word}` is not NAME=HASH:SIZE")))
        .collect::<Result<_, _>>()?;
    Ok((unescape(job), Line { key, outputs }))
}

/// Names rarely need it, and there are thousands.
fn escape(text: &str) -> Cow<'_, str> {
    match text.contains(['%', ' ', '\n']) {
        true => text.replace('%', "%25").replace(' ', "%20").replace('\n', "%0A").into(),
        false => text.into(),
    }
}

fn unescape(text: &str) -> String {
    match text.contains('%') {
        true => text.replace("%0A", "\n").replace("%20", " ").replace("%25", "%"),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(n: u8) -> Line {
        let artifact = Artifact { kind: Kind::File, hash: Hash([n; 32]), size: 7 };
        let folder = Artifact { kind: Kind::Folder, ..artifact };
        let outputs = [("table".to_owned(), artifact), ("images".to_owned(), folder)];
        Line { key: Key(Hash([n; 32])), outputs: outputs.into() }
    }

    #[test]
    fn a_run_changes_its_own_profile_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipeline.lock");
        let mut quick = Lock::open(&path, "quick").unwrap();
        quick.set("train[arch=my net,seed=42]", line(1));
        quick.save().unwrap();
        let mut paper = Lock::open(&path, "paper").unwrap();
        assert_eq!(paper.get("train[arch=my net,seed=42]"), None);
        paper.set("prepare", line(2));
        paper.save().unwrap();
        let mut quick = Lock::open(&path, "quick").unwrap();
        assert_eq!(quick.get("train[arch=my net,seed=42]"), Some(&line(1)));
        quick.retain(|_| false);
        quick.save().unwrap();
        assert_eq!(Lock::open(&path, "paper").unwrap().get("prepare"), Some(&line(2)));
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2, "a header and one line");
        assert_eq!(all(&path).unwrap(), [line(2)]);
    }

    #[test]
    fn what_changed_in_the_file_meanwhile_stays_but_for_ones_own_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipeline.lock");
        let open = |profile: &str| Lock::open(&path, profile).unwrap();
        let mut first = open("quick");
        ["gone", "kept", "mine"].into_iter().for_each(|job| first.set(job, line(1)));
        first.save().unwrap();
        let (mut long, mut merge, mut paper) = (open("quick"), open("quick"), open("paper"));
        ["kept", "mine", "new"].into_iter().for_each(|job| merge.set(job, line(2)));
        merge.retain(|job| job != "gone");
        merge.save().unwrap();
        paper.set("prepare", line(2));
        paper.save().unwrap();
        long.set("mine", line(3));
        long.save().unwrap();
        let found = open("quick");
        let lines: Vec<_> = found.lines().iter().map(|(job, line)| (job.as_str(), line.key.0.0[0])).collect();
        assert_eq!(lines, [("kept", 2), ("mine", 3), ("new", 2)]);
        assert_eq!(open("paper").get("prepare"), Some(&line(2)));
    }

    #[test]
    fn ends_of_lines_of_another_system_are_written_as_ours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipeline.lock");
        let key = "07".repeat(32);
        fs::write(&path, format!("paper prepare {key}\r\nquick prepare {key}\r")).unwrap();
        let mut lock = Lock::open(&path, "quick").unwrap();
        assert!(lock.get("prepare").is_some());
        lock.set("train", line(1));
        lock.save().unwrap();
        assert!(!fs::read_to_string(&path).unwrap().contains('\r'));
        assert!(Lock::open(&path, "paper").unwrap().get("prepare").is_some());
    }

    #[test]
    fn a_damaged_line_is_told_with_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipeline.lock");
        fs::write(&path, format!("{HEADER}other lines are not ours\nquick prepare cafe\n")).unwrap();
        let message = Lock::open(&path, "quick").unwrap_err().to_string();
        assert!(message.contains("pipeline.lock:3: `cafe` is not a hash"), "{message}");
        assert!(Lock::open(&path, "paper").is_ok());
        assert!(all(&path).unwrap_err().to_string().contains("pipeline.lock:2: `are` is not a hash"));
        fs::write(&path, b"# \nquick pr\xe5pare").unwrap();
        let message = Lock::open(&path, "quick").unwrap_err().to_string();
        assert!(message.contains("pipeline.lock:2: it is not UTF-8"), "{message}");
    }

    #[test]
    fn mending_takes_damaged_lines_of_all_profiles_out_and_leaves_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipeline.lock");
        let sound = |profile| format!("{profile} {}\n", render("prepare", &line(1)));
        let (quick, paper) = (sound("quick"), sound("paper"));
        let mut bytes = format!("{HEADER}{paper}{quick}paper train cafe\nquick\n").into_bytes();
        bytes.extend(b"quick em\xe2ed\n");
        fs::write(&path, &bytes).unwrap();
        let told = ["4: `cafe` is not a hash", "5: a job is missing (quick)", "6: it is not UTF-8 (quick em"];
        let check = |damaged: Vec<Damaged>| {
            assert_eq!(damaged.len(), told.len());
            for (damaged, told) in damaged.iter().zip(told) {
                assert!(damaged.to_string().starts_with(&format!("pipeline.lock:{told}")), "{damaged}");
            }
        };
        check(damaged(&path).unwrap());
        assert_eq!(fs::read(&path).unwrap(), bytes, "looking changes nothing");
        check(mend(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{HEADER}{paper}{quick}"));
        assert_eq!(mend(&path).unwrap(), []);
        assert_eq!(mend(&folder.path().join("none")).unwrap(), []);
        assert!(!folder.path().join("none").exists());
    }

    #[test]
    fn a_conflict_stops_a_run_and_mending_takes_both_versions_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipeline.lock");
        let text = |job: &str, n| format!("quick {}\n", render(job, &line(n)));
        let (prepare, ours, theirs) = (text("prepare", 1), text("train", 2), text("train", 3));
        fs::write(
            &path,
            format!("{HEADER}{prepare}<<<<<<< HEAD\n{ours}=======\n{theirs}>>>>>>> other\n{prepare}"),
        )
        .unwrap();
        let message = Lock::open(&path, "paper").unwrap_err().to_string();
        assert!(message.contains("pipeline.lock:3: git left a conflict here"), "{message}");
        let lines: Vec<usize> = mend(&path).unwrap().iter().map(|damaged| damaged.line).collect();
        assert_eq!(lines, [3, 4, 5, 6, 7, 8]);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{HEADER}{prepare}"));
        // Somebody took the markers away, and no version with them.
        fs::write(&path, format!("{HEADER}{ours}{theirs}")).unwrap();
        let message = Lock::open(&path, "quick").unwrap_err().to_string();
        assert!(message.contains("pipeline.lock:3: its job stands more than once"), "{message}");
    }

    #[test]
    fn a_file_of_another_format_is_not_mended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipeline.lock");
        let text = "# pipeline.lock 2\njob=train key=cafe\n";
        fs::write(&path, text).unwrap();
        assert!(matches!(mend(&path), Err(LockError::Format(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        // Nor is one opened whose lines could be read, and written again with less in them.
        let text = format!("# pipeline.lock 2: more in it.\nquick {}\n", render("prepare", &line(1)));
        fs::write(&path, &text).unwrap();
        for refused in [Lock::open(&path, "quick").map(drop), all(&path).map(drop), mend(&path).map(drop)] {
            assert!(matches!(refused, Err(LockError::Format(_))), "{refused:?}");
        }
        // One that was open while a newer ribbon wrote it stays as that left it.
        fs::remove_file(&path).unwrap();
        let mut open = Lock::open(&path, "quick").unwrap();
        open.set("prepare", line(2));
        fs::write(&path, &text).unwrap();
        assert!(matches!(open.save(), Err(LockError::Format(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        fs::write(&path, format!("{HEADER}quick train cafe\n")).unwrap();
        assert_eq!(mend(&path).unwrap().len(), 1);
        assert_eq!(fs::read_to_string(&path).unwrap(), HEADER);
    }
}
