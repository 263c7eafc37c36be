//! Groups of runs that agree on some of their scalars.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::{Run, Scalars};

/// The runs that agree on some scalars.
#[derive(Debug)]
pub struct Group {
    /// What they agree on.
    pub labels: Scalars,
    /// The places of its runs in the list that was grouped.
    pub runs: Vec<usize>,
}

impl Group {
    /// For messages: `arch=fc, optimizer=adam`.
    pub fn name(&self) -> String {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let labels: Vec<String> =
            self.labels.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
        labels.join(", ")
    }
}

/// Groups runs by scalars of these names; ordered by their values. A run without one counts as having null.
///
/// # Errors
/// When no run has a scalar of a name.
pub fn groups<'a, 'f: 'a>(
    runs: impl Iterator<Item = &'a Run<'f>> + Clone,
    by: &[String],
) -> Result<Vec<Group>> {
    let mut there = runs.clone().map(|run| &run.scalars);
    if let (Some(first), Some(missing)) =
        (there.next(), by.iter().find(|name| !runs.clone().any(|run| run.scalars.contains_key(*name))))
    {
        let there: Vec<&str> = first.keys().map(String::as_str).collect();
        bail!("by: no network has `{missing}`; they have {}", there.join(", "));
    }
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for (place, run) in runs.enumerate() {
        let value = |name: &String| (name.clone(), run.scalars.get(name).cloned().unwrap_or(Value::Null));
        // In the order of `by`, which `Scalars` does not keep.
        let values: Vec<Value> = by.iter().map(|name| value(name).1).collect();
        let group = groups
            .entry(Value::Array(values).to_string())
            .or_insert_with(|| Group { labels: by.iter().map(value).collect(), runs: Vec::new() });
        group.runs.push(place);
    }
    Ok(groups.into_values().collect())
}
