//! How a stage fans out: its `each` and `pairs`, and the labels its jobs get from them.

use std::collections::{BTreeMap, BTreeSet};

use super::document;
use super::error::{Problems, hint};
use super::positions::Place;
use super::reference::{self, Clause};
use super::stage::Scope;
use super::{Each, Sweep, SweepId, group_name};

/// What a label of a stage's jobs stands for; labels of two stages are the same only if this is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Label<'a> {
    /// A label of a configuration.
    Configuration,
    /// A group of this sweep's configurations.
    Group(SweepId, &'a [String]),
}

/// A label with what it stands for and the values it has.
#[derive(Debug)]
pub(super) struct StageLabel<'a> {
    /// What it stands for.
    pub label: Label<'a>,
    /// The values that jobs have.
    pub values: BTreeSet<String>,
}

/// The labels of a stage's jobs, by name.
pub(super) type StageLabels<'a> = BTreeMap<&'a str, StageLabel<'a>>;

/// The labels that fan-out clauses give.
pub(super) fn labels<'a>(each: &'a [Each], sweeps: &'a [Sweep]) -> StageLabels<'a> {
    let mut labels = StageLabels::new();
    let mut group = |variable: &'a str, sweep: SweepId, by: &'a [String]| {
        let configurations = &sweeps[sweep.0].configurations;
        let values = configurations.iter().map(|each| group_name(&each.labels, by)).collect();
        labels.insert(variable, StageLabel { label: Label::Group(sweep, by), values });
    };
    for clause in each {
        match clause {
            Each::Group { variable, sweep, by } => group(variable, *sweep, by),
            Each::Pairs { variables, sweep, by } => {
                variables.iter().for_each(|variable| group(variable, *sweep, by));
            }
            Each::Configuration { .. } => {}
        }
    }
    for clause in each {
        let Each::Configuration { sweep, .. } = clause else { continue };
        for (label, value) in sweeps[sweep.0].configurations.iter().flat_map(|each| &each.labels) {
            let new = || StageLabel { label: Label::Configuration, values: BTreeSet::new() };
            labels.entry(label).or_insert_with(new).values.insert(value.clone());
        }
    }
    labels
}

/// Reads a stage's `each` and `pairs`; none if something is wrong with them.
pub(super) fn clauses(
    given: &document::Stage,
    place: &Place,
    scope: &Scope,
    problems: &mut Problems,
) -> Option<Vec<Each>> {
    let mut clauses: Vec<Each> = Vec::new();
    let mut right = true;
    let each = given.each.as_ref().map_or(&[][..], document::OneOrMany::as_slice);
    let texts = each.iter().enumerate().map(|(i, text)| (place.key("each").index(i), reference::each(text)));
    let pairs = given.pairs.iter().map(|text| (place.key("pairs"), reference::pairs(text)));
    for (place, clause) in texts.chain(pairs) {
        match clause.and_then(|clause| found(&clause, &clauses, scope)) {
            Ok(clause) => clauses.push(clause),
            Err(what) => {
                right = false;
                problems.value(&place, what);
            }
        }
    }
    right.then_some(clauses)
}

/// What a clause names, and that it does not collide with those before it.
fn found(clause: &Clause, before: &[Each], scope: &Scope) -> Result<Each, String> {
    let known = || scope.sweeps.iter().map(|sweep| sweep.name.as_str());
    let index = known().position(|name| name == clause.sweep).ok_or_else(|| {
        format!("the profile has no sweep `{}`{}", clause.sweep, hint(clause.sweep, known()))
    })?;
    let labels = || scope.sweeps[index].label_names();
    for (i, label) in clause.by.iter().enumerate() {
        if !labels().any(|known| known == *label) {
            let hint = hint(label, labels());
            return Err(format!("the sweep `{}` has no label `{label}`{hint}", clause.sweep));
        }
        if clause.by[..i].contains(label) {
            return Err(format!("`{label}` is here twice"));
        }
    }
    if let Some(name) = clause.names.iter().find(|name| scope.params.contains(name)) {
        return Err(format!("`{name}` is a parameter already; choose another name"));
    }
    let by = || clause.by.iter().map(|&label| label.to_owned()).collect();
    let (sweep, name) = (SweepId(index), |i: usize| clause.names[i].to_owned());
    let new = match (clause.names.len(), clause.by.is_empty()) {
        (1, true) => Each::Configuration { variable: name(0), sweep },
        (1, false) => Each::Group { variable: name(0), sweep, by: by() },
        _ => Each::Pairs { variables: [name(0), name(1)], sweep, by: by() },
    };
    let taken: BTreeSet<&str> = before.iter().flat_map(|clause| names(clause, scope.sweeps)).collect();
    if let Some(name) = names(&new, scope.sweeps).find(|name| taken.contains(name)) {
        return Err(format!("`{name}` is the name of another label or variable of this stage already"));
    }
    match &new {
        Each::Pairs { variables: [a, b], .. } if a == b => {
            Err(format!("`{a}` is here twice; give the two groups different names"))
        }
        _ => Ok(new),
    }
}

/// All names that a clause takes: of its variables and of its labels.
fn names<'a>(clause: &'a Each, sweeps: &'a [Sweep]) -> impl Iterator<Item = &'a str> {
    let (variables, sweep) = match clause {
        Each::Configuration { variable, sweep } => (std::slice::from_ref(variable), Some(&sweeps[sweep.0])),
        Each::Group { variable, .. } => (std::slice::from_ref(variable), None),
        Each::Pairs { variables, .. } => (&variables[..], None),
    };
    variables.iter().map(String::as_str).chain(sweep.into_iter().flat_map(Sweep::label_names))
}
