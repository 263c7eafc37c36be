//! Which profiles have a stage: those that its `profiles` name, or all.

use super::document::{self, Document, OneOrMany, Stage};
use super::error::{Problems, hint};
use super::positions::Place;
use super::reference;

/// Whether a profile has a stage.
pub(super) fn is_in(stage: &Stage, profile: &str) -> bool {
    stage.profiles.as_ref().is_none_or(|profiles| profiles.iter().any(|name| name == profile))
}

/// A stage's name with its `profiles`.
pub(super) fn profiles_of((name, stage): (&String, &Stage)) -> (String, Vec<String>) {
    (name.clone(), stage.profiles.clone().unwrap_or_default())
}

/// Checks `profiles` of all stages, for all profiles at once: each is there, and where it has the stage it also has the
/// sweeps and the stages that this one names. What no profile has is told when these are resolved.
pub(super) fn check(document: &Document, problems: &mut Problems) {
    for (name, stage) in &document.stages {
        let place = Place::of(&["stages", name]);
        names(document, stage, &place.key("profiles"), problems);
        let each = stage.each.as_ref().map_or(&[][..], OneOrMany::as_slice).iter();
        let each = each.enumerate().map(|(i, text)| (place.key("each").index(i), reference::each(text)));
        let pairs = stage.pairs.iter().map(|text| (place.key("pairs"), reference::pairs(text)));
        for (place, clause) in each.chain(pairs) {
            let what = clause.ok().and_then(|clause| without_sweep(document, (name, stage), clause.sweep));
            what.into_iter().for_each(|what| problems.value(&place, what));
        }
        for (input, sources) in &stage.inputs {
            for (i, text) in sources.as_slice().iter().enumerate() {
                let source = reference::reference(text).ok();
                let source = source.filter(|source| !source.optional);
                let what = source.and_then(|source| without_stage(document, (name, stage), source.stage));
                let place = place.key("inputs").key(input).index(i);
                what.into_iter().for_each(|what| problems.value(&place, what));
            }
        }
    }
}

fn names(document: &Document, stage: &Stage, place: &Place, problems: &mut Problems) {
    let profiles = stage.profiles.as_deref().unwrap_or_default();
    for (i, name) in profiles.iter().enumerate() {
        if !document.profiles.contains_key(name) {
            let hint = hint(name, document.profiles.keys().map(String::as_str));
            problems.value(&place.index(i), format!("there is no profile `{name}`{hint}"));
        } else if profiles[..i].contains(name) {
            problems.value(&place.index(i), format!("`{name}` is here twice"));
        }
    }
}

/// What to say if a profile has the stage and not the sweep, but others do.
fn without_sweep(document: &Document, (name, stage): (&str, &Stage), sweep: &str) -> Option<String> {
    let has = |profile: &document::Profile| profile.sweeps.contains_key(sweep);
    let there: Vec<&str> =
        document.profiles.iter().filter(|(_, it)| has(it)).map(|(name, _)| name.as_str()).collect();
    if there.is_empty() || document.sweeps.contains_key(sweep) {
        return None;
    }
    let lacks = |(profile, it): &(&String, &document::Profile)| is_in(stage, profile) && !has(it);
    let (profile, _) = document.profiles.iter().find(lacks)?;
    Some(advice(profile, name, sweep, &there))
}

/// What to say if a profile has the stage and not the one that it takes from, but others do.
fn without_stage(document: &Document, (name, stage): (&str, &Stage), producer: &str) -> Option<String> {
    let takes_from = document.stages.get(producer)?;
    let lacks = |profile: &&String| is_in(stage, profile) && !is_in(takes_from, profile);
    let profile = document.profiles.keys().find(lacks)?;
    let there: Vec<&str> = takes_from.profiles.iter().flatten().map(String::as_str).collect();
    Some(advice(profile, name, producer, &there))
}

fn advice(profile: &str, stage: &str, lacking: &str, there: &[&str]) -> String {
    let there = there.join(", ");
    format!(
        "profile {profile} has `{stage}` but not `{lacking}`; `profiles: [{there}]` keeps it where both are"
    )
}
