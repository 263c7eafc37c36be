//! How a stage fans out: its `each` and `pairs`, and the labels its jobs get from them.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use serde_json::Value;

use super::document;
use super::error::{Problems, hint};
use super::literal::Literal;
use super::positions::Place;
use super::reference::{self, Clause};
use super::stage::Scope;
use super::{Each, Param, Source, Stage, Sweep, SweepId, group_name, table};

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

/// The value of a label of these clauses that is a number in its sweep, and the one that was typed: `1.0` is `1`, `1e-3` is
/// `0.001`.
pub(crate) fn by_number<'a>(typed: &str, label: &str, each: &[Each], sweeps: &'a [Sweep]) -> Option<&'a str> {
    let number = table::number(typed)?;
    let configurations = |clause: &Each| match clause {
        Each::Configuration { sweep, .. } => &sweeps[sweep.0].configurations[..],
        Each::Group { .. } | Each::Pairs { .. } => &[],
    };
    let mut all = each.iter().flat_map(configurations);
    let found = all.find(|it| it.values.get(label).and_then(Value::as_number) == Some(&number))?;
    found.labels.get(label).map(String::as_str)
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

/// What to write instead of this in braces, where it is a label or a variable of these clauses, or a value of one: braces
/// take what a stage declares. None if it is nothing of them.
pub(super) fn instead(
    inside: &str,
    params: &IndexMap<String, Literal>,
    each: &[Each],
    sweeps: &[Sweep],
) -> Option<String> {
    let (name, value) = inside.split_once('.').map_or((inside, None), |(name, value)| (name, Some(value)));
    let of_label = |clause: &Each| match clause {
        Each::Configuration { variable, sweep } if value.is_none() => {
            let mut labels = sweeps[sweep.0].label_names();
            labels.any(|label| label == name).then(|| param(variable, name, params))
        }
        _ => None,
    };
    let of_variable = |clause: &Each| match clause {
        Each::Configuration { variable, sweep } if variable == name => {
            let first = || sweeps[sweep.0].label_names().next().map(str::to_owned);
            let is_there = |value: &&str| {
                sweeps[sweep.0].configurations.iter().any(|each| each.values.contains_key(*value))
            };
            let value = match value {
                Some(value) => Some(value).filter(is_there).map(str::to_owned),
                None => first(),
            };
            value.map(|value| param(variable, &value, params))
        }
        clause if value.is_none() && groups(clause).iter().any(|group| group == name) => Some(format!(
            "`{name}` is a group of configurations, which reaches the stage through its inputs: `{{inputs.NAME}}`"
        )),
        _ => None,
    };
    each.iter().find_map(of_label).or_else(|| each.iter().find_map(of_variable))
}

/// How a command gets a value of a configuration.
fn param(variable: &str, value: &str, params: &IndexMap<String, Literal>) -> String {
    let dollar = format!("${variable}.{value}");
    match params.iter().find(|(_, param)| param.0 == dollar.as_str()) {
        Some((name, _)) => format!("write `{{params.{name}}}`"),
        None => format!("write `params: {{{value}: {dollar}}}` and `{{params.{value}}}`"),
    }
}

/// The names of the groups that a clause binds.
fn groups(clause: &Each) -> &[String] {
    match clause {
        Each::Configuration { .. } => &[],
        Each::Group { variable, .. } => std::slice::from_ref(variable),
        Each::Pairs { variables, .. } => variables,
    }
}

/// Checks that each clause tells jobs apart: of one that nothing uses, all jobs would have one key, and one result. Inputs
/// are resolved.
pub(super) fn check_used(
    given: &[&document::Stage],
    stages: &[Stage],
    sweeps: &[Sweep],
    problems: &mut Problems,
) {
    for (stage, given) in stages.iter().zip(given) {
        // What is left out here may use it where it is not.
        if given.inputs.values().flat_map(document::OneOrMany::as_slice).any(|text| text.ends_with('?')) {
            continue;
        }
        for (i, clause) in stage.each.iter().enumerate() {
            let place = Place::of(&["stages", &stage.name]);
            let place = match clause {
                Each::Pairs { .. } => place.key("pairs"),
                _ => place.key("each").index(i),
            };
            if makes_several(clause, sweeps) && !is_used(clause, stage, stages, sweeps) {
                problems.value(&place, unused(clause, sweeps));
            }
        }
    }
}

fn makes_several(clause: &Each, sweeps: &[Sweep]) -> bool {
    let none = Vec::new();
    let (sweep, by) = match clause {
        Each::Configuration { sweep, .. } => (sweep, &none),
        Each::Group { sweep, by, .. } | Each::Pairs { sweep, by, .. } => (sweep, by),
    };
    let mut configurations = sweeps[sweep.0].configurations.iter().map(|each| &each.labels);
    let first = configurations.next();
    configurations.any(|labels| {
        by.is_empty() || first.map(|first| group_name(first, by)) != Some(group_name(labels, by))
    })
}

/// Whether a parameter or an input of a stage follows from what a clause binds.
fn is_used(clause: &Each, stage: &Stage, stages: &[Stage], sweeps: &[Sweep]) -> bool {
    let bound: Vec<&str> = match clause {
        Each::Configuration { sweep, .. } => sweeps[sweep.0].label_names().collect(),
        clause => groups(clause).iter().map(String::as_str).collect(),
    };
    let takes = |source: &Source| match source {
        Source::File(_) => false,
        Source::Files { variable, .. } => is_variable(clause, variable),
        Source::Jobs { stage, select, .. } => {
            let theirs = labels(&stages[stage.0].each, sweeps);
            let agrees = |name: &&str| theirs.contains_key(name) && !select.labels.contains_key(*name);
            bound.iter().any(agrees) || select.group.iter().any(|group| groups(clause).contains(group))
        }
    };
    stage.params.values().any(|param| refers(param, clause))
        || stage.inputs.values().flat_map(super::Input::sources).any(takes)
}

fn is_variable(clause: &Each, name: &str) -> bool {
    matches!(clause, Each::Configuration { variable, .. } if variable == name)
}

fn refers(param: &Param, clause: &Each) -> bool {
    match param {
        Param::Literal(_) => false,
        Param::Configuration(name) | Param::Value(name, _) => is_variable(clause, name),
        Param::Mapping(params) => params.values().any(|param| refers(param, clause)),
        Param::List(params) => params.iter().any(|param| refers(param, clause)),
    }
}

fn unused(clause: &Each, sweeps: &[Sweep]) -> String {
    let (names, instead) = match clause {
        Each::Configuration { variable, sweep } => {
            let label = sweeps[sweep.0].label_names().next().unwrap_or("NAME");
            (
                format!("`{variable}`"),
                format!("`params: {{{label}: ${variable}.{label}}}`, or an input that has it"),
            )
        }
        clause => {
            let names: Vec<String> = groups(clause).iter().map(|name| format!("`{name}`")).collect();
            (names.join(" or "), format!("an input of the group: STAGE[{}].OUTPUT", groups(clause)[0]))
        }
    };
    format!("the jobs would all be the same: nothing of the stage uses {names}; add {instead}")
}
