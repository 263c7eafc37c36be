//! Where an artifact came from: its job, that job's inputs, and so on back to the files of the project.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::graph::{JobId, Origin};
use crate::hash::Hash;
use crate::pipeline::StageId;
use crate::plan::{Plan, State};
use crate::project::Project;
use crate::store::{Accepted, Record, moment};

/// Jobs of one stage that are told one by one; of more, one stands for all.
const EACH: usize = 2;

/// Tells where jobs came from. The first paragraphs are the jobs themselves, the last ones the project's files.
pub fn show(project: &Project, plan: &Plan, targets: &BTreeSet<JobId>) -> String {
    let mut text = String::new();
    let mut by_stage: BTreeMap<StageId, Vec<JobId>> = BTreeMap::new();
    for id in plan.needed() {
        by_stage.entry(project.graph.job(id).stage).or_default().push(id);
    }
    for (stage, jobs) in by_stage.iter().rev() {
        let told = if jobs.len() > EACH { &jobs[..1] } else { &jobs[..] };
        for id in told {
            job(project, plan, *id, targets.contains(id), &mut text);
        }
        if told.len() < jobs.len() {
            let name = project.stage_name(*stage);
            let _ =
                writeln!(text, "  .. and {} more {name} jobs (ribbon show '{name}[..]')\n", jobs.len() - 1);
        }
    }
    let files: BTreeSet<u32> = plan
        .needed()
        .flat_map(|id| &project.graph.job(id).inputs)
        .flat_map(|input| input.origins())
        .filter_map(|origin| if let Origin::File(index) = origin { Some(*index) } else { None })
        .collect();
    for index in files {
        let artifact = project.source(index);
        let name = project.origin_name(Origin::File(index));
        let _ = writeln!(text, "{name}\n  {} ({})", artifact.hash, bytes(artifact.size));
    }
    text
}

fn job(project: &Project, plan: &Plan, id: JobId, is_target: bool, text: &mut String) {
    let stage = project.stage(id);
    let _ = writeln!(text, "{}", project.name(id));
    let State::Current(key, artifacts) = plan.state(id) else {
        let _ = writeln!(text, "  not up to date: ribbon why '{}'\n", project.name(id));
        return;
    };
    let published: BTreeMap<u16, String> =
        project.graph.published(&project.pipeline, id).into_iter().collect();
    for (place, (name, artifact)) in stage.outputs.keys().zip(artifacts).enumerate() {
        let _ =
            write!(text, "  made   {name} {} ({})", digest(artifact.hash, is_target), bytes(artifact.size));
        if let Some(path) = published.get(&(place as u16)) {
            let _ = write!(text, " -> outputs/{}/{path}", project.pipeline.profile);
        }
        text.push('\n');
    }
    let _ = writeln!(text, "  key    {key}");
    let record = project.store.record(*key);
    match &record {
        Some(record) => made(record, text),
        None => text.push_str("  record not in this store; known from pipeline.lock\n"),
    }
    let ingredients = record.map_or_else(|| plan.ingredients(id), |record| record.ingredients);
    for (name, value) in ingredients.iter().filter(|(name, _)| !name.starts_with("inputs.")) {
        let value = value.parse::<Hash>().map_or(value.clone(), |hash| digest(hash, is_target));
        let _ = writeln!(text, "  {name} = {value}");
    }
    for (name, input) in stage.inputs.keys().zip(&project.graph.job(id).inputs) {
        match input.origins() {
            [origin] => {
                let hash = plan.artifact(*origin).map_or(String::new(), |it| digest(it.hash, is_target));
                let _ = writeln!(text, "  from   {name}: {} {hash}", project.origin_name(*origin));
            }
            origins => {
                let stages: BTreeSet<&str> = origins
                    .iter()
                    .filter_map(|origin| Some(project.stage(origin.job()?).name.as_str()))
                    .collect();
                let stages: Vec<&str> = stages.into_iter().collect();
                let _ =
                    writeln!(text, "  from   {name}: {} artifacts of {}", origins.len(), stages.join(", "));
            }
        }
    }
    text.push('\n');
}

fn made(record: &Record, text: &mut String) {
    if let Some(Accepted { from, at, because }) = &record.accepted {
        let reason = if because.is_empty() { "no reason given" } else { because };
        let _ = writeln!(text, "  accepted from key {from} on {}: {reason}", time(*at));
    }
    let _ =
        writeln!(text, "  ran    {}, {:.1} s, on {}", time(record.ended), record.seconds, record.machine,);
}

/// A time in seconds since 1970, for people and programs.
pub(crate) fn time(seconds: u64) -> impl std::fmt::Display {
    humantime::format_rfc3339_seconds(moment(seconds as f64))
}

/// A hash: whole for what was asked for, else its first digits.
fn digest(hash: Hash, whole: bool) -> String {
    if whole { hash.to_string() } else { hash.short() }
}

fn bytes(size: u64) -> String {
    indicatif::HumanBytes(size).to_string()
}
