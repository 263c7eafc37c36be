//! Merging two versions of a lock, line by line: what `git merge` asks for.

use std::collections::{BTreeMap, BTreeSet};

use super::{HEADER, unescape};

/// A version that is no lock this program can merge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotALock {
    /// It begins otherwise.
    #[error("it does not begin as a pipeline.lock of format 1 does; was it written by a newer ribbon?")]
    Header,
    /// A line is none, or one of a conflict.
    #[error("line {0} is not PROFILE JOB KEY ..")]
    Line(usize),
}

/// Two versions as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The lock's text. Each of its lines stands in one of the two versions.
    pub text: String,
    /// The jobs, as `PROFILE JOB`, whose lines were changed to different ones on both sides. They have no line now; the
    /// next run writes them.
    pub dropped: Vec<String>,
}

/// Merges what became of `base` on two sides: a job's line is taken from the side that changed it, and left out when
/// both did, to different ones.
///
/// # Errors
/// With the place of the text (0 base, 1 ours, 2 theirs) that is no lock.
pub fn merge(base: &str, ours: &str, theirs: &str) -> Result<Merged, (usize, NotALock)> {
    let [base, ours, theirs] =
        [(0, base), (1, ours), (2, theirs)].map(|(place, text)| lines(text).map_err(|error| (place, error)));
    let (base, ours, theirs) = (base?, ours?, theirs?);
    let mut dropped = Vec::new();
    let mut kept: Vec<&str> = Vec::new();
    for job in ours.keys().chain(theirs.keys()).copied().collect::<BTreeSet<_>>() {
        let [before, one, other] = [&base, &ours, &theirs].map(|lines| lines.get(job).copied());
        match () {
            () if one == other || other == before => kept.extend(one),
            () if one == before => kept.extend(other),
            () => dropped.push(unescape(job)),
        }
    }
    kept.sort_unstable();
    let lines = kept.iter().flat_map(|line| [line, "\n"]);
    Ok(Merged { text: [HEADER].into_iter().chain(lines).collect(), dropped })
}

/// The lines of a lock by `PROFILE JOB`.
fn lines(text: &str) -> Result<BTreeMap<&str, &str>, NotALock> {
    if !text.is_empty() && !text.starts_with(HEADER) {
        return Err(NotALock::Header);
    }
    let mut lines = BTreeMap::new();
    for (index, line) in
        text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.is_empty())
    {
        let mut spaces = line.match_indices(' ').map(|(at, _)| at);
        let (_, end) = spaces.next().zip(spaces.next()).ok_or(NotALock::Line(index + 1))?;
        // Conflict markers have words too, but no key.
        let key = line[end + 1..].split(' ').next().unwrap_or_default();
        key.parse::<crate::hash::Key>().map_err(|_| NotALock::Line(index + 1))?;
        if lines.insert(&line[..end], line).is_some() {
            return Err(NotALock::Line(index + 1));
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Hash;

    fn line(profile: &str, job: &str, n: u8) -> String {
        format!("{profile} {job} {} out={}:7", Hash([n; 32]), Hash([n; 32]))
    }

    fn lock(lines: &[String]) -> String {
        let mut lines = lines.to_vec();
        lines.sort();
        lines.iter().fold(HEADER.to_owned(), |text, line| text + line + "\n")
    }

    #[test]
    fn what_one_side_changed_is_taken_and_what_both_changed_is_dropped() {
        // Every way a line can be in three versions: not at all, or one of three lines.
        let choices = [None, Some(1), Some(2), Some(3)];
        let text = |choice: Option<u8>| {
            let line = choice.map(|n| line("quick", "train[seed=1]", n));
            lock(&[vec![line_of_another_job()], line.into_iter().collect()].concat())
        };
        for base in choices {
            for ours in choices {
                for theirs in choices {
                    let merged = merge(&text(base), &text(ours), &text(theirs)).unwrap();
                    let expected = match () {
                        () if ours == theirs => Some(ours),
                        () if ours == base => Some(theirs),
                        () if theirs == base => Some(ours),
                        () => None,
                    };
                    let case = format!("{base:?} {ours:?} {theirs:?}");
                    assert_eq!(merged.text, text(expected.flatten()), "{case}");
                    let dropped = if expected.is_some() { vec![] } else { vec!["quick train[seed=1]"] };
                    assert_eq!(merged.dropped, dropped, "{case}");
                    let invented = |line: &&str| !text(ours).contains(*line) && !text(theirs).contains(*line);
                    assert_eq!(merged.text.lines().find(invented), None, "{case}");
                }
            }
        }
    }

    fn line_of_another_job() -> String {
        line("paper", "train[seed=1]", 9)
    }

    #[test]
    fn sides_that_changed_different_jobs_are_both_taken() {
        let base = lock(&[line("quick", "a", 1), line("quick", "b", 1)]);
        let ours = lock(&[line("quick", "a", 2), line("quick", "b", 1)]);
        let theirs = lock(&[line("quick", "a", 1), line("quick", "b", 3), line("quick", "c", 3)]);
        let merged = merge(&base, &ours, &theirs).unwrap();
        assert_eq!(merged.text, lock(&[line("quick", "a", 2), line("quick", "b", 3), line("quick", "c", 3)]));
        assert_eq!(merge("", &ours, &ours).unwrap().text, ours, "no version before: both sides made one");
    }

    #[test]
    fn what_is_no_lock_is_refused_with_its_place() {
        let good = lock(&[line("quick", "a", 1)]);
        let conflict = format!("{good}<<<<<<< HEAD of ours\n");
        assert_eq!(merge(&good, &conflict, &good), Err((1, NotALock::Line(3))));
        assert_eq!(merge(&good, &good, "# pipeline.lock 2\n"), Err((2, NotALock::Header)));
        let twice = format!("{good}{}\n", line("quick", "a", 2));
        assert_eq!(merge(&twice, &good, &good), Err((0, NotALock::Line(3))));
    }
}
