//! The graph of stages as text that other programs draw.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::html;
use crate::pipeline::{Source, StageId};
use crate::plan::Plan;
use crate::project::Project;
use crate::target;

/// For which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Graphviz.
    Dot,
    /// Mermaid, as README pages show it.
    Mermaid,
    /// A browser: a page with states, times, jobs and settings, that needs nothing else.
    Html,
}

/// Which stage takes outputs of which: (producer, consumer), by their indices.
pub(super) fn edges(project: &Project) -> BTreeSet<(usize, usize)> {
    project
        .pipeline
        .stages
        .iter()
        .enumerate()
        .flat_map(|(to, stage)| stage.inputs.values().map(move |input| (to, input)))
        .flat_map(|(to, input)| input.sources().iter().map(move |source| (to, source)))
        .filter_map(|(to, source)| match source {
            Source::Jobs { stage, .. } => Some((stage.0, to)),
            Source::File(_) | Source::Files { .. } => None,
        })
        .collect()
}

/// Draws stages with their numbers of jobs, and which takes outputs of which.
pub fn draw(project: &Project, format: Format) -> String {
    let (stages, edges) = (&project.pipeline.stages, edges(project));
    let label = |index: usize| match project.graph.jobs_of(StageId(index)).count() {
        1 => stages[index].name.clone(),
        jobs => format!("{} x {jobs}", stages[index].name),
    };
    let mut text = String::new();
    match format {
        Format::Html => {
            return html::page(project, &Plan::new(project, &target::everything(project), &BTreeSet::new()));
        }
        Format::Dot => {
            text.push_str(
                "digraph pipeline {\n  rankdir = LR;\n  node [shape = box, fontname = \"sans-serif\"];\n",
            );
            for (index, stage) in stages.iter().enumerate() {
                let about = stage.about.replace('\\', "\\\\").replace('"', "\\\"");
                let _ = writeln!(text, "  s{index} [label = \"{}\", tooltip = \"{about}\"];", label(index));
            }
            for (from, to) in edges {
                let _ = writeln!(text, "  s{from} -> s{to};");
            }
            text.push_str("}\n");
        }
        Format::Mermaid => {
            text.push_str("flowchart LR\n");
            for index in 0..stages.len() {
                let _ = writeln!(text, "  s{index}[\"{}\"]", label(index));
            }
            for (from, to) in edges {
                let _ = writeln!(text, "  s{from} --> s{to}");
            }
        }
    }
    text
}
