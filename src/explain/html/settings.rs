//! What pipeline.yaml says of a stage, in its own words again.

use crate::code::Code;
use crate::pipeline::{Each, Gpu, Param, Pipeline, Program, Select, Source, Stage, SweepId};
use crate::project::Project;

/// A stage's settings as (word of pipeline.yaml, value), and its code's hash; but for threads, what has its default value is
/// left out.
pub fn settings(project: &Project, stage: &Stage, code: &Code) -> Vec<(String, String)> {
    let pipeline = &project.pipeline;
    let mut told: Vec<(String, String)> = Vec::new();
    let mut tell = |name: &str, value: String| told.push((name.to_owned(), value));
    match &stage.program {
        Program::Crate(folder) => tell("crate", folder.display().to_string()),
        Program::Command { command, .. } => tell("run", command.join(" ")),
    }
    tell("code hash", code.hash.short());
    for each in &stage.each {
        match each {
            Each::Pairs { .. } => tell("pairs", clause(pipeline, each)),
            _ => tell("each", clause(pipeline, each)),
        }
    }
    for (name, param) in &stage.params {
        tell(&format!("params.{name}"), written(param));
    }
    for (name, input) in &stage.inputs {
        let sources: Vec<String> = input.sources().iter().map(|it| source(pipeline, it)).collect();
        tell(&format!("inputs.{name}"), sources.join(", "));
    }
    for (name, output) in &stage.outputs {
        tell(&format!("outputs.{name}"), output.file.clone());
    }
    for (name, path) in &stage.publish {
        tell(&format!("publish.{name}"), path.clone());
    }
    let needs = &stage.needs;
    tell("threads", needs.threads.to_string());
    if needs.memory > 0 {
        tell("memory", indicatif::DecimalBytes(needs.memory).to_string());
    }
    match needs.gpu {
        Gpu::None => {}
        Gpu::Prefer => tell("gpu", format!("prefer, {} a card", needs.per_gpu)),
        Gpu::Require => tell("gpu", format!("require, {} a card", needs.per_gpu)),
    }
    let flags = [
        ("keep", stage.intermediate.then_some("false")),
        ("provenance", stage.provenance.then_some("true")),
        ("heavy", stage.heavy.then_some("true")),
        ("network", stage.network.then_some("true")),
        ("resume", stage.resume.then_some("true")),
    ];
    flags
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .for_each(|(name, value)| tell(name, value.to_owned()));
    if let Some(timeout) = stage.timeout {
        tell("timeout", humantime::format_duration(timeout).to_string());
    }
    if stage.retries > 0 {
        tell("retries", stage.retries.to_string());
    }
    if !stage.reads.is_empty() {
        let reads: Vec<String> = stage.reads.iter().map(|path| path.display().to_string()).collect();
        tell("reads", reads.join(", "));
    }
    for (name, path) in &stage.tools {
        tell(&format!("tools.{name}"), path.display().to_string());
    }
    if !stage.env.is_empty() {
        tell("env", stage.env.join(", "));
    }
    told
}

fn clause(pipeline: &Pipeline, each: &Each) -> String {
    let sweep = |id: &SweepId| pipeline.sweeps[id.0].name.as_str();
    match each {
        Each::Configuration { variable, sweep: id } => format!("{variable} in {}", sweep(id)),
        Each::Group { variable, sweep: id, by } => {
            format!("{variable} in {} by {}", sweep(id), by.join(", "))
        }
        Each::Pairs { variables, sweep: id, by } => {
            format!("{} in {} by {}", variables.join(", "), sweep(id), by.join(", "))
        }
    }
}

fn source(pipeline: &Pipeline, source: &Source) -> String {
    match source {
        Source::File(path) => format!("./{}", path.display()),
        Source::Files { text, .. } => text.clone(),
        Source::Jobs { stage, output, select } => {
            format!("{}{}.{output}", pipeline.stages[stage.0].name, selected(select))
        }
    }
}

fn selected(select: &Select) -> String {
    let all = select.all.then(|| "*".to_owned());
    let labels = select.labels.iter().map(|(name, value)| format!("{name}={value}"));
    let parts: Vec<String> = all.into_iter().chain(select.group.clone()).chain(labels).collect();
    if parts.is_empty() { String::new() } else { format!("[{}]", parts.join(", ")) }
}

fn written(param: &Param) -> String {
    let entries = |(name, param): (&String, &Param)| format!("{name}: {}", written(param));
    match param {
        Param::Literal(value) => value.to_string(),
        Param::Configuration(name) => format!("${name}"),
        Param::Value(name, value) => format!("${name}.{value}"),
        Param::Mapping(map) => format!("{{{}}}", map.iter().map(entries).collect::<Vec<_>>().join(", ")),
        Param::List(list) => format!("[{}]", list.iter().map(written).collect::<Vec<_>>().join(", ")),
    }
}
