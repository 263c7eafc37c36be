//! What can be wrong with pipeline.yaml: every problem with its line and column, and the nearest valid name.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use super::positions::{Place, Position, Positions};

/// Why there is no pipeline.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Its path, as given.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file, `--profile` or `--set` is wrong. Displays a line a problem.
    #[error("{}", lines(file, problems))]
    Invalid {
        /// The file's path, as given.
        file: PathBuf,
        /// At least one, in the order of the file.
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where in the file; none for what the command line says.
    pub position: Option<Position>,
    /// What is wrong and what to do.
    pub text: String,
}

fn lines(file: &Path, problems: &[Problem]) -> String {
    let line = |problem: &Problem| match problem.position {
        Some(position) => format!("{}:{position}: {}", file.display(), problem.text),
        None => problem.text.clone(),
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Collects problems; each phase of the checks ends when it has found any.
pub(super) struct Problems<'a> {
    text: &'a str,
    /// Read at the first problem: usually there is none.
    positions: OnceCell<Positions>,
    found: Vec<Problem>,
}

impl<'a> Problems<'a> {
    /// None so far, in a file with this text.
    pub fn new(text: &'a str) -> Problems<'a> {
        Problems { text, positions: OnceCell::new(), found: Vec::new() }
    }

    fn positions(&self) -> &Positions {
        // Parsers differ in corners of YAML: what only this one refuses has its problems in the first line.
        self.positions.get_or_init(|| Positions::read(self.text).unwrap_or_default())
    }

    /// A problem of a key, or of all that stands under it.
    pub fn key(&mut self, place: &Place, text: impl Into<String>) {
        self.found.push(Problem { position: Some(self.positions().key(place)), text: text.into() });
    }

    /// A problem of a value.
    pub fn value(&mut self, place: &Place, text: impl Into<String>) {
        self.found.push(Problem { position: Some(self.positions().value(place)), text: text.into() });
    }

    /// A problem of the command line.
    pub fn argument(&mut self, text: impl Into<String>) {
        self.found.push(Problem { position: None, text: text.into() });
    }

    /// The problems so far, if any, in the order of the file.
    pub fn so_far(&mut self) -> Result<(), Vec<Problem>> {
        if self.found.is_empty() {
            return Ok(());
        }
        let mut found = std::mem::take(&mut self.found);
        found.sort();
        found.dedup();
        Err(found)
    }
}

/// How many names are worth listing.
const LISTED: usize = 8;

/// Where an unknown name leads: `; did you mean ..?` and the valid names, unless they are many.
pub(super) fn hint<'a>(name: &str, valid: impl IntoIterator<Item = &'a str>) -> String {
    let valid: Vec<&str> = valid.into_iter().collect();
    let nearest = nearest(name, valid.iter().copied());
    let listed = valid.iter().take(LISTED).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match (nearest, valid.len()) {
        (_, 0) => "; there is none".to_owned(),
        (Some(nearest), 1) => format!("; did you mean `{nearest}`?"),
        (Some(nearest), 2..=LISTED) => format!("; did you mean `{nearest}`? (there are {listed})"),
        (Some(nearest), _) => format!("; did you mean `{nearest}`?"),
        (None, 1) => format!("; there is only {listed}"),
        (None, 2..=LISTED) => format!("; there are {listed}"),
        (None, many) => format!("; there are {listed} and {} more", many - LISTED),
    }
}

/// The name that somebody may have meant.
pub(crate) fn nearest<'a>(name: &str, valid: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters may differ, but not all: fewer miss common slips, more propose unrelated names.
    let length = name.chars().count();
    let allowed = (length / 3).max(1).min(length.saturating_sub(1));
    let distances = valid.map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate));
    let near = distances.filter(|(distance, _)| *distance <= allowed);
    near.min_by_key(|(distance, _)| *distance).map(|(_, nearest)| nearest)
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn a_hint_names_the_nearest_and_lists_few() {
        assert_eq!(
            hint("epohs", ["data", "epochs"]),
            "; did you mean `epochs`? (there are `data`, `epochs`)"
        );
        assert_eq!(hint("x", ["data"]), "; there is only `data`");
        assert_eq!(hint("4", ["1", "2"]), "; there are `1`, `2`");
        assert_eq!(hint("x", []), "; there is none");
    }

    #[test]
    fn a_hint_lists_no_more_than_eight() {
        let many = ["aaa", "bbb", "ccc", "ddd", "eee", "fff", "ggg", "hhh", "iii", "jjj"];
        assert_eq!(hint("aab", many), "; did you mean `aaa`?");
        assert!(hint("zzzzz", many).ends_with("`hhh` and 2 more"));
    }
}
