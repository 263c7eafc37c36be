//! The graph of stages as HTML that needs nothing else: a drawing, and of each stage its jobs and settings. A page of its
//! own, or a section of a page that the pipeline made, which tells where that page came from.

mod layout;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use self::layout::{Layout, layout};
use super::draw::edges;
use super::duration::duration;
use super::show::time;
use super::why::why;
use crate::graph::{JobId, join};
use crate::pipeline::StageId;
use crate::plan::{Plan, State};
use crate::project::Project;

const PAGE: &str = include_str!("html/page.html");
const SECTION: &str = include_str!("html/section.html");
const STYLE: &str = include_str!("html/section.css");
const SCRIPT: &str = include_str!("html/section.js");

/// A box, and the room of one with what is around it, in pixels.
const BOX: (f64, f64) = (184.0, 64.0);
const ROOM: (f64, f64) = (234.0, 84.0);

/// Letters of a name that fit a box, and those that do when they are squeezed.
const LETTERS: (usize, usize) = (19, 26);

/// A stage as the page's script reads it.
#[derive(Debug, Serialize)]
struct Told<'a> {
    name: &'a str,
    about: &'a str,
    settings: Vec<(String, String)>,
    why: Vec<String>,
    jobs: Vec<Job>,
}

#[derive(Debug, Serialize)]
struct Job {
    /// Labels; the stage's name where there are none.
    name: String,
    state: &'static str,
    /// How long it ran, or when it is not up to date, how long it ran last; if a record is here.
    seconds: Option<f64>,
    /// When and on what it ran.
    note: String,
    /// Its key, when it is up to date.
    key: Option<String>,
    /// Of a job that publishes: its parameters, by which a reader tells what was drawn.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    params: Vec<(String, String)>,
    /// Of a job that publishes: the hashes of all it made, by which a page finds the job of what it shows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    made: Vec<String>,
    /// Published paths, relative to the project's folder.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<String>,
}

/// The graph with what a plan knows of all jobs, as a page. Links to published files are relative to the project's folder.
pub fn page(project: &Project, plan: &Plan) -> String {
    let title = format!("Pipeline, profile {}", project.pipeline.profile);
    let all = project.graph.ids().collect();
    PAGE.replace("{{title}}", &title).replace("{{section}}", &filled("h1", &title, "", project, plan, &all))
}

/// The part of the graph that these jobs are, as a section of a page whose links to the project's folder begin with
/// `base`.
pub fn section(project: &Project, plan: &Plan, jobs: &BTreeSet<JobId>, base: &str) -> String {
    filled("h2", "How all was made", base, project, plan, jobs)
}

fn filled(
    heading: &str,
    title: &str,
    base: &str,
    project: &Project,
    plan: &Plan,
    jobs: &BTreeSet<JobId>,
) -> String {
    let (stages, edges) = stages(project, plan, jobs);
    let jobs: Vec<&Job> = stages.iter().flat_map(|stage| &stage.jobs).collect();
    let current = jobs.iter().filter(|job| job.state == "current").count();
    let summary = format!(
        "{} stages, {} jobs, {current} up to date, {} of computing so far",
        stages.len(),
        jobs.len(),
        duration(jobs.iter().filter_map(|job| job.seconds).sum())
    );
    // A script ends at the first `</`, whatever it is part of.
    let data = serde_json::to_string(&stages).expect("text and numbers").replace('<', "\\u003c");
    // What may hold braces of its own comes last.
    SECTION
        .replace("{{heading}}", heading)
        .replace("{{title}}", title)
        .replace("{{summary}}", &summary)
        .replace("{{base}}", base)
        .replace("{{style}}", STYLE)
        .replace("{{script}}", SCRIPT)
        .replace("{{drawing}}", &drawing(&stages, &edges))
        .replace("{{data}}", &data)
}

/// The stages that have some of these jobs, and which takes outputs of which.
fn stages<'a>(
    project: &'a Project,
    plan: &Plan,
    jobs: &BTreeSet<JobId>,
) -> (Vec<Told<'a>>, Vec<(usize, usize)>) {
    let why = why(project, plan);
    let mut places = BTreeMap::new();
    let mut told = Vec::new();
    for (index, stage) in project.pipeline.stages.iter().enumerate() {
        let of_stage = project.graph.jobs_of(StageId(index)).filter(|id| jobs.contains(id));
        let of_stage: Vec<Job> = of_stage.map(|id| job(project, plan, id)).collect();
        if of_stage.is_empty() {
            continue;
        }
        places.insert(index, told.len());
        told.push(Told {
            name: &stage.name,
            about: &stage.about,
            settings: settings::settings(project, stage, &project.code[index]),
            why: why.iter().filter(|group| group.stage == stage.name).map(ToString::to_string).collect(),
            jobs: of_stage,
        });
    }
    let edge = |(from, to): (usize, usize)| Some((*places.get(&from)?, *places.get(&to)?));
    (told, edges(project).into_iter().filter_map(edge).collect())
}

fn job(project: &Project, plan: &Plan, id: JobId) -> Job {
    let labels = join(&project.graph.job(id).labels);
    let before = project.lock.get(project.name(id)).map(|line| line.key);
    let (state, key) = match plan.state(id) {
        State::Current(key, _) => ("current", Some(*key)),
        State::Stale(..) => ("stale", before),
        State::Waiting | State::Kept(_) | State::Unneeded => ("waiting", before),
    };
    let record = key.and_then(|key| project.store.record(key));
    let note = record.as_ref().map_or(String::new(), |record| {
        let accepted = if record.accepted.is_some() { ", accepted" } else { "" };
        format!("{} on {}{accepted}", time(record.ended), record.machine.device)
    });
    let name = if labels.is_empty() { project.stage(id).name.clone() } else { labels };
    let mut told = Job {
        name,
        state,
        seconds: record.map(|record| record.seconds),
        note,
        key: plan.current_key(id).map(|key| key.to_string()),
        params: Vec::new(),
        made: Vec::new(),
        files: Vec::new(),
    };
    let published = project.graph.published(&project.pipeline, id);
    if !published.is_empty() {
        let param = |(name, value): (String, String)| Some((name.strip_prefix("params.")?.to_owned(), value));
        told.params = plan.ingredients(id).into_iter().filter_map(param).collect();
        if let State::Current(_, artifacts) = plan.state(id) {
            told.made = artifacts.iter().map(|artifact| artifact.hash.to_string()).collect();
        }
        let path = |(_, path)| format!("outputs/{}/{path}", project.pipeline.profile);
        told.files = published.into_iter().map(path).collect();
    }
    told
}

fn drawing(stages: &[Told], edges: &[(usize, usize)]) -> String {
    let Layout { nodes, routes, layers, lowest } = layout(stages.len(), edges);
    let (width, height) = (layers as f64 * ROOM.0, (lowest + 1.0) * ROOM.1);
    let at = |(layer, row): (f64, f64)| ((layer + 0.5) * ROOM.0, (row + 0.5) * ROOM.1);
    let mut svg = format!("<svg viewBox=\"0 0 {width:.0} {height:.0}\" style=\"max-width: {width:.0}px\">\n");
    svg.push_str(
        "<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
         markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 0.5 8 4 0 7.5z\"/></marker></defs>\n",
    );
    for ((from, to), route) in edges.iter().zip(routes) {
        let points: Vec<(f64, f64)> = route.into_iter().map(at).collect();
        let _ = writeln!(
            svg,
            "<path class=\"edge\" data-from=\"{from}\" data-to=\"{to}\" marker-end=\"url(#tip)\" d=\"{}\"/>",
            curve(&points)
        );
    }
    for (index, (stage, node)) in stages.iter().zip(nodes).enumerate() {
        boxed(index, stage, at(node), &mut svg);
    }
    svg.push_str("</svg>\n");
    svg
}

/// Flat where it passes a layer, so that it meets boxes at right angles and passes between others straight.
fn curve(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (i, (x, y)) in points.iter().enumerate() {
        let half = BOX.0 / 2.0;
        let (left, right) = (x - half, x + half);
        if i == 0 {
            let _ = write!(path, "M{right:.1} {y:.1}");
            continue;
        }
        let (from, above) = (points[i - 1].0 + half, points[i - 1].1);
        let middle = f64::midpoint(from, left);
        let _ = write!(path, "C{middle:.1} {above:.1} {middle:.1} {y:.1} {left:.1} {y:.1}");
        if i + 1 < points.len() {
            let _ = write!(path, "H{right:.1}");
        }
    }
    path
}

/// A stage's box: its name, its jobs and their time, a bar of their states.
fn boxed(index: usize, stage: &Told, (x, y): (f64, f64), svg: &mut String) {
    let (left, top) = (x - BOX.0 / 2.0, y - BOX.1 / 2.0);
    let seconds: Vec<f64> = stage.jobs.iter().filter_map(|job| job.seconds).collect();
    let jobs = match stage.jobs.len() {
        1 => "1 job".to_owned(),
        jobs => format!("{jobs} jobs"),
    };
    let time =
        if seconds.is_empty() { String::new() } else { format!(" · {}", duration(seconds.iter().sum())) };
    let name = stage.name;
    let squeezed = format!(" textLength=\"{}\" lengthAdjust=\"spacingAndGlyphs\"", BOX.0 - 24.0);
    let _ = writeln!(
        svg,
        "<g class=\"stage\" data-stage=\"{index}\" tabindex=\"0\" role=\"button\" aria-label=\"{name}, {jobs}\">\
         <rect class=\"box\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{}\" height=\"{}\" rx=\"6\"/>\
         <text class=\"name\" x=\"{:.1}\" y=\"{:.1}\"{}>{}</text>\
         <text class=\"about\" x=\"{:.1}\" y=\"{:.1}\">{jobs}{time}</text>",
        BOX.0,
        BOX.1,
        left + 12.0,
        top + 23.0,
        if name.len() > LETTERS.0 { squeezed.as_str() } else { "" },
        shortened(name),
        left + 12.0,
        top + 42.0,
    );
    let (mut from, room) = (left + 12.0, BOX.0 - 24.0);
    for state in ["current", "stale", "waiting"] {
        let part = stage.jobs.iter().filter(|job| job.state == state).count() as f64;
        let width = room * part / stage.jobs.len().max(1) as f64;
        if width > 0.0 {
            let _ = write!(
                svg,
                "<rect class=\"{state}\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"5\"/>",
                top + 50.0
            );
        }
        from += width;
    }
    svg.push_str("</g>\n");
}

/// A name that fits its box; names have no letters of several bytes.
fn shortened(name: &str) -> String {
    match name.len() > LETTERS.1 {
        true => name.chars().take(LETTERS.1 - 1).collect::<String>() + "…",
        false => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_leaves_and_meets_boxes_at_their_sides() {
        let path = curve(&[(100.0, 50.0), (300.0, 90.0)]);
        assert_eq!(path, "M192.0 50.0C200.0 50.0 200.0 90.0 208.0 90.0");
    }
}
