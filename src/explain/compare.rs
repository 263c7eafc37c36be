//! What differs between the ingredients of two keys: told by `why`, `diff` and `accept` in the same words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::hash::Hash;

/// Values longer than this are cut for people.
const WIDTH: usize = 60;

/// The files and packages that a code hash is made of.
pub type Parts = BTreeMap<String, Hash>;

/// Something of a key that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Difference {
    /// An ingredient has another value; none where there was or is none.
    Value {
        /// Like `params.network.rate`.
        name: String,
        /// What it was.
        before: Option<String>,
        /// What it is.
        after: Option<String>,
    },
    /// A list of inputs has other elements.
    List {
        /// Like `inputs.tiles`.
        name: String,
        /// Elements that were not there.
        added: usize,
        /// Elements that are not there any more.
        removed: usize,
        /// Elements with other content.
        changed: usize,
    },
    /// A file or package of the code.
    Code {
        /// Its path or name.
        part: String,
        /// `changed`, `is new` or `is gone`.
        change: &'static str,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Value { name, before, after } => {
                write!(f, "{name} {} -> {}", value(before.as_deref()), value(after.as_deref()))
            }
            Difference::List { name, added, removed, changed } => {
                let told = [(added, "added"), (removed, "removed"), (changed, "changed")];
                let told = told.iter().filter(|(count, _)| **count > 0);
                let told: Vec<String> = told.map(|(count, what)| format!("{count} {what}")).collect();
                write!(f, "{name}: {}", told.join(", "))
            }
            Difference::Code { part, change } => write!(f, "code: {part} {change}"),
        }
    }
}

/// Compares the ingredients of two keys. Where `inputs_known` is not said, an input that both have counts as equal.
/// `code` tells how two code hashes differ.
pub fn compare(
    before: &[(String, String)],
    after: &[(String, String)],
    inputs_known: bool,
    code: impl Fn(Option<&str>, Option<&str>) -> Vec<Difference>,
) -> Vec<Difference> {
    let (old, new) = (to_map(before), to_map(after));
    let mut differences = Vec::new();
    let mut lists: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for place in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let (name, (before, after)) = (place.0, (old.get(place).copied(), new.get(place).copied()));
        let is_unknown = !inputs_known && name.starts_with("inputs.") && before.is_some() && after.is_some();
        if before == after || is_unknown {
            continue;
        }
        if let Some((list, _)) = name.split_once('[').filter(|_| name.starts_with("inputs.")) {
            let kind = match (before, after) {
                (None, _) => 0,
                (_, None) => 1,
                _ => 2,
            };
            lists.entry(list).or_default()[kind] += 1;
        } else if name == "code" {
            differences.extend(code(before, after));
        } else if !before.into_iter().chain(after).any(|value| value.ends_with(" artifacts")) {
            differences.push(changed(name, before, after));
        }
    }
    let list = |(name, [added, removed, changed]): (&str, [usize; 3])| Difference::List {
        name: name.to_owned(),
        added,
        removed,
        changed,
    };
    differences.extend(lists.into_iter().map(list));
    differences
}

/// An ingredient with another value.
pub fn changed(name: &str, before: Option<&str>, after: Option<&str>) -> Difference {
    let [before, after] = [before, after].map(|value| value.map(str::to_owned));
    Difference::Value { name: name.to_owned(), before, after }
}

/// Compares what two code hashes are made of.
pub fn compare_code(before: &Parts, after: &Parts) -> Vec<Difference> {
    let change = |part: &String| {
        let change = match (before.get(part), after.get(part)) {
            (Some(before), Some(after)) if before == after => return None,
            (Some(_), Some(_)) => "changed",
            (None, _) => "is new",
            (_, None) => "is gone",
        };
        Some(Difference::Code { part: part.clone(), change })
    };
    before.keys().chain(after.keys()).collect::<BTreeSet<_>>().into_iter().filter_map(change).collect()
}

/// Values by name, and by how many of the name came before: files in a list have no labels to tell them apart.
fn to_map(ingredients: &[(String, String)]) -> BTreeMap<(&str, usize), &str> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut map = BTreeMap::new();
    for (name, value) in ingredients {
        let count = counts.entry(name).or_default();
        map.insert((name.as_str(), *count), value.as_str());
        *count += 1;
    }
    map
}

/// A value for people: a hash by its first digits, a long text cut.
fn value(value: Option<&str>) -> String {
    match value {
        None => "(none)".to_owned(),
        Some(text) => match text.parse::<Hash>() {
            Ok(hash) => hash.short(),
            Err(_) if text.chars().count() > WIDTH => text.chars().take(WIDTH).collect::<String>() + "..",
            Err(_) => text.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(before: &[(&str, &str)], after: &[(&str, &str)], inputs_known: bool) -> Vec<String> {
        let own = |list: &[(&str, &str)]| -> Vec<_> {
            list.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
        };
        let code = |before: Option<&str>, after: Option<&str>| vec![changed("code", before, after)];
        let differences = compare(&own(before), &own(after), inputs_known, code);
        differences.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn values_are_told_old_and_new_and_lists_by_their_numbers() {
        let before =
            [("inputs.l", "2 artifacts"), ("inputs.l[a]", "1"), ("inputs.l[b]", "2"), ("params.n", "3")];
        let after = [("inputs.l", "1 artifacts"), ("inputs.l[a]", "9"), ("params.m", "true")];
        let expected = ["params.m (none) -> true", "params.n 3 -> (none)", "inputs.l: 1 removed, 1 changed"];
        assert_eq!(told(&before, &after, true), expected);
        let files = |first| [("inputs.l", "2 artifacts"), ("inputs.l[]", first), ("inputs.l[]", "2")];
        assert_eq!(told(&files("1"), &files("3"), true), ["inputs.l: 1 changed"]);
    }

    #[test]
    fn an_input_that_is_not_known_yet_is_no_difference() {
        assert_eq!(told(&[("inputs.x", "1")], &[("inputs.x", "0")], false), [""; 0]);
        assert_eq!(told(&[("inputs.x", "1")], &[], false), ["inputs.x 1 -> (none)"]);
    }

    #[test]
    fn code_is_told_by_its_files() {
        let parts = |list: &[(&str, u8)]| -> Parts {
            list.iter().map(|(name, n)| (name.to_string(), Hash([*n; 32]))).collect()
        };
        let told = compare_code(&parts(&[("a.py", 1), ("b.py", 1)]), &parts(&[("a.py", 2), ("c.py", 1)]));
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["code: a.py changed", "code: b.py is gone", "code: c.py is new"]);
    }
}
