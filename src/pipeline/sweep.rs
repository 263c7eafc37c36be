//! Sweeps: matrix or table, exclude, include and settings unrolled into configurations.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value};

use super::document;
use super::error::{Problems, hint};
use super::literal::Scalar;
use super::params::Params;
use super::positions::Place;
use super::reference::{is_name, name_rule};
use super::{Configuration, Labels, Sweep, table};

/// A sweep of more combinations is taken for a mistake: it would fill the memory before anybody sees it.
const MOST: usize = 1_000_000;

/// Unrolls a sweep. What is wrong goes to `problems`; the sweep is right only if nothing went there.
pub(super) fn unroll(
    name: &str,
    sweep: &document::Sweep,
    place: &Place,
    params: &Params,
    root: &Path,
    problems: &mut Problems,
) -> Sweep {
    if !is_name(name) {
        problems.key(place, name_rule("sweep", name));
    }
    let rows = sweep.table.as_ref().map(|path| table::configurations(sweep, path, place, root, problems));
    if rows.is_none() && !sweep.labels.is_empty() {
        problems.key(&place.key("labels"), "`labels` goes with `table`; the keys of a matrix are its labels");
    }
    let domains = match &rows {
        // Without right rows, all that refers to them would seem wrong too.
        Some(None) => return Sweep { name: name.to_owned(), configurations: Vec::new() },
        Some(Some(rows)) => values_of(rows),
        None => domains(sweep, &place.key("matrix"), problems),
    };
    let excluded = conditions(&sweep.exclude, &place.key("exclude"), &domains, problems);
    // Other configurations would be left, of which other things would seem wrong.
    if !excluded.iter().all(|condition| condition.is_of(&domains)) {
        return Sweep { name: name.to_owned(), configurations: Vec::new() };
    }
    let combinations = sweep.matrix.values().fold(1, |all: usize, values| all.saturating_mul(values.0.len()));
    if combinations > MOST {
        problems.key(place, format!("the matrix of the sweep `{name}` has more than {MOST} combinations"));
        return Sweep { name: name.to_owned(), configurations: Vec::new() };
    }
    let mut configurations = rows.flatten().unwrap_or_else(|| product(&sweep.matrix));
    configurations
        .retain(|configuration| !excluded.iter().any(|condition| condition.meets(&configuration.labels)));
    include(sweep, &place.key("include"), &mut configurations, problems);
    if configurations.is_empty() {
        problems.key(place, format!("the sweep `{name}` has no configuration"));
    }
    apply_settings(sweep, &place.key("settings"), &mut configurations, params, problems);
    Sweep { name: name.to_owned(), configurations }
}

/// Each label's values, as text.
pub(super) type Domains = BTreeMap<String, BTreeSet<String>>;

fn domains(sweep: &document::Sweep, place: &Place, problems: &mut Problems) -> Domains {
    let mut domains = Domains::new();
    for (label, values) in &sweep.matrix {
        let place = place.key(label);
        if !is_name(label) {
            problems.key(&place, name_rule("label", label));
        }
        let domain = domains.entry(label.clone()).or_default();
        for (i, value) in values.0.iter().enumerate() {
            check_value(value, &place.index(i), problems);
            if !domain.insert(value.text()) {
                problems.value(&place.index(i), format!("`{label}` has the value `{}` twice", value.text()));
            }
        }
    }
    domains
}

/// The values of each label of configurations.
fn values_of(configurations: &[Configuration]) -> Domains {
    let mut domains = Domains::new();
    for (label, value) in configurations.iter().flat_map(|configuration| &configuration.labels) {
        domains.entry(label.clone()).or_default().insert(value.clone());
    }
    domains
}

/// Labels stand in the names of jobs and of published files, and between `+`, `,`, `=` and brackets.
pub(super) fn value_rule(text: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.starts_with('.') || !text.chars().all(allowed) {
        return Err(format!(
            "`{text}` cannot be the value of a label; use letters, digits, `-`, `_` and `.`, no `.` at the start"
        ));
    }
    Ok(())
}

fn check_value(value: &Scalar, place: &Place, problems: &mut Problems) {
    value_rule(&value.text()).unwrap_or_else(|what| problems.value(place, what));
}

/// Every combination, the last label changing fastest.
fn product(matrix: &indexmap::IndexMap<String, document::Values>) -> Vec<Configuration> {
    if matrix.is_empty() {
        return Vec::new();
    }
    let mut rows: Vec<Vec<(&String, &Scalar)>> = vec![Vec::new()];
    for (label, values) in matrix {
        let mut longer = Vec::with_capacity(rows.len() * values.0.len());
        for row in &rows {
            longer.extend(values.0.iter().map(|value| row.iter().copied().chain([(label, value)]).collect()));
        }
        rows = longer;
    }
    rows.into_iter().map(configuration).collect()
}

/// A configuration without settings.
fn configuration<'a>(labels: impl IntoIterator<Item = (&'a String, &'a Scalar)>) -> Configuration {
    let mut configuration = Configuration { labels: Labels::new(), values: Map::new() };
    for (label, value) in labels {
        configuration.labels.insert(label.clone(), value.text());
        configuration.values.insert(label.clone(), value.0.0.clone());
    }
    configuration
}

/// A condition of `exclude` or `when`: each label with the values that meet it.
#[derive(Debug)]
pub struct Condition(Domains);

impl Condition {
    /// Whether labels have one of its values each.
    pub fn meets(&self, labels: &Labels) -> bool {
        self.0.iter().all(|(label, values)| labels.get(label).is_some_and(|value| values.contains(value)))
    }

    /// Whether there are its labels, with its values.
    fn is_of(&self, domains: &Domains) -> bool {
        self.0.iter().all(|(label, values)| domains.get(label).is_some_and(|domain| values.is_subset(domain)))
    }
}

fn conditions(
    given: &[document::Condition],
    place: &Place,
    domains: &Domains,
    problems: &mut Problems,
) -> Vec<Condition> {
    let each = |(i, given)| condition(given, &place.index(i), domains, problems);
    given.iter().enumerate().map(each).collect()
}

/// A misspelt value would leave the condition silently unmet, so values that nothing has are problems.
pub(super) fn condition(
    given: &document::Condition,
    place: &Place,
    domains: &Domains,
    problems: &mut Problems,
) -> Condition {
    let mut condition = Domains::new();
    for (label, values) in given {
        let place = place.key(label);
        let Some(domain) = domains.get(label) else {
            let hint = hint(label, domains.keys().map(String::as_str));
            problems.key(&place, format!("there is no label `{label}`{hint}"));
            // Nothing meets it.
            condition.entry(label.clone()).or_default();
            continue;
        };
        for (i, value) in values.as_slice().iter().enumerate() {
            let text = value.text();
            if !domain.contains(&text) {
                let hint = hint(&text, domain.iter().map(String::as_str));
                problems.value(&place.index(i), format!("no configuration has `{label}` = `{text}`{hint}"));
            }
            condition.entry(label.clone()).or_default().insert(text);
        }
    }
    Condition(condition)
}

fn include(
    sweep: &document::Sweep,
    place: &Place,
    configurations: &mut Vec<Configuration>,
    problems: &mut Problems,
) {
    let mut seen: BTreeSet<Labels> = configurations.iter().map(|known| known.labels.clone()).collect();
    let from_matrix = sweep.matrix.keys().map(String::as_str);
    let from_first = sweep.include.first().into_iter().flatten().map(|(label, _)| label.as_str());
    let labels: Vec<&str> =
        if sweep.matrix.is_empty() { from_first.collect() } else { from_matrix.collect() };
    for (i, given) in sweep.include.iter().enumerate() {
        let place = place.index(i);
        for (label, value) in given {
            if !is_name(label) {
                problems.key(&place.key(label), name_rule("label", label));
            } else if !labels.contains(&label.as_str()) {
                let hint = hint(label, labels.iter().copied());
                problems.key(&place.key(label), format!("there is no label `{label}`{hint}"));
            }
            check_value(value, &place.key(label), problems);
        }
        for label in labels.iter().filter(|label| !given.contains_key(**label)) {
            problems.value(&place, format!("the label `{label}` is missing; include gives all labels"));
        }
        let configuration = configuration(given);
        if !seen.insert(configuration.labels.clone()) {
            problems
                .value(&place, format!("there is already a configuration {}", named(&configuration.labels)));
        }
        configurations.push(configuration);
    }
}

/// `arch=fc,seed=42`.
pub(super) fn named(labels: &Labels) -> String {
    labels.iter().map(|(label, value)| format!("{label}={value}")).collect::<Vec<_>>().join(",")
}

fn apply_settings(
    sweep: &document::Sweep,
    place: &Place,
    configurations: &mut [Configuration],
    params: &Params,
    problems: &mut Problems,
) {
    let domains = values_of(configurations);
    for (i, setting) in sweep.settings.iter().enumerate() {
        let place = place.index(i);
        let condition = condition(&setting.when, &place.key("when"), &domains, problems);
        let mut values: Map<String, Value> = Map::new();
        for (name, value) in &setting.set {
            let place = place.key("set").key(name);
            if !is_name(name) {
                problems.key(&place, name_rule("setting", name));
            } else if domains.contains_key(name) {
                problems.key(&place, format!("`{name}` is a label; a setting cannot replace it"));
            }
            values.insert(name.clone(), params.substituted(&value.0, &place, problems));
        }
        for configuration in configurations.iter_mut().filter(|each| condition.meets(&each.labels)) {
            configuration.values.extend(values.clone());
        }
    }
}
