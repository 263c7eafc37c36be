//! What a run tells while it goes: one set of happenings, shown as bars, as plain lines, or as JSON lines.

use std::io::Write;

use serde_json::json;

use super::{Left, Summary};
use crate::graph::JobId;
use crate::pipeline::StageId;
use crate::project::Project;

/// Failed jobs that are named at the end; of more, the number is told.
const NAMED: usize = 10;

/// Something that happens in a run.
#[derive(Debug)]
pub enum Happening<'a> {
    /// Jobs of a stage that are needed, and how many of them are up to date; said for each stage in order.
    Stage {
        /// Which stage.
        stage: StageId,
        /// Jobs needed.
        needed: usize,
        /// Of them, known to be up to date.
        current: usize,
    },
    /// A line that the build of a stage's program prints.
    Build(&'a str),
    /// Something to know of the whole run.
    Note(&'a str),
    /// Waiting for another run, for this reason.
    Waiting(&'a str),
    /// A job began.
    Started(JobId),
    /// A job is so far.
    Progress(JobId, u64, u64, &'a str),
    /// A job ended well after so many seconds.
    Done(JobId, f64),
    /// A job needed no running after all: its inputs came out as they were, or another run did it.
    Spared(JobId),
    /// A job failed.
    Failed {
        /// Which job.
        id: JobId,
        /// Why.
        what: &'a str,
        /// The last lines of what it printed.
        tail: &'a [String],
        /// Whether its log is kept.
        is_logged: bool,
    },
    /// Jobs made other bits than the lock says for their keys.
    Unreproduced(&'a [JobId]),
    /// A light run left these as they were.
    Left(&'a Left),
    /// What people should know about the share.
    Share(&'a str),
    /// The end.
    Summary(&'a Summary),
}

/// Shows happenings.
pub trait Report: Send {
    /// Shows one.
    fn tell(&mut self, project: &Project, happening: &Happening);
}

/// Lines for people, where there is no terminal.
pub struct Plain;

/// A JSON object a line, for programs.
pub struct Json;

impl Report for Plain {
    fn tell(&mut self, project: &Project, happening: &Happening) {
        // Nobody to tell when the reader is gone; the run goes on.
        let _ = match (plain(project, happening), happening) {
            (Some(text), Happening::Summary(_)) => writeln!(std::io::stdout(), "{text}"),
            (Some(text), _) => writeln!(std::io::stderr(), "{text}"),
            (None, _) => Ok(()),
        };
    }
}

/// The plain lines of a happening; none for those that only a terminal shows.
pub fn plain(project: &Project, happening: &Happening) -> Option<String> {
    Some(match happening {
        Happening::Stage { .. } | Happening::Started(_) | Happening::Progress(..) | Happening::Spared(_) => {
            return None;
        }
        Happening::Build(line) => (*line).to_owned(),
        Happening::Note(text) => format!("note    {text}"),
        Happening::Waiting(why) => format!("waiting: {why}"),
        Happening::Done(id, seconds) => format!("done    {} ({seconds:.1} s)", project.name(*id)),
        Happening::Failed { id, what, tail, is_logged } => {
            let mut text = format!("failed  {}: {what}", project.name(*id));
            for line in *tail {
                text.push_str("\n  | ");
                text.push_str(line);
            }
            if *is_logged {
                text.push_str(&format!("\n  the whole log: ribbon log '{}'", project.name(*id)));
            }
            text
        }
        Happening::Unreproduced(ids) => {
            let others = match ids.len() {
                1 => "was not reproduced bit for bit: pipeline.lock keeps its line".to_owned(),
                jobs => format!(
                    "and {} more were not reproduced bit for bit: pipeline.lock keeps their lines",
                    jobs - 1
                ),
            };
            format!("note    {} {others}; --update-lock takes the new bits", project.name(ids[0]))
        }
        Happening::Left(left) => format!("note    {left}"),
        Happening::Share(text) => format!("share   {text}"),
        Happening::Summary(summary) => failed_jobs(project, &summary.failed) + &summary.to_string(),
    })
}

/// The names of failed jobs, a line each, where there are several.
fn failed_jobs(project: &Project, failed: &[JobId]) -> String {
    if failed.len() < 2 {
        return String::new();
    }
    let named = failed.iter().take(NAMED).map(|id| format!("  {}\n", project.name(*id)));
    let more = failed.len().saturating_sub(NAMED);
    let more = if more > 0 { format!("  and {more} more\n") } else { String::new() };
    format!("failed:\n{}{more}", named.collect::<String>())
}

impl Report for Json {
    fn tell(&mut self, project: &Project, happening: &Happening) {
        let name = |id: &JobId| project.name(*id);
        let event = match happening {
            Happening::Stage { stage, needed, current } => {
                json!({"event": "stage", "stage": project.stage_name(*stage), "needed": needed, "current": current})
            }
            Happening::Build(line) => json!({"event": "build", "text": line}),
            Happening::Note(text) => json!({"event": "note", "text": text}),
            Happening::Waiting(why) => json!({"event": "waiting", "for": why}),
            Happening::Started(id) => json!({"event": "started", "job": name(id)}),
            Happening::Progress(id, done, of, note) => {
                json!({"event": "progress", "job": name(id), "done": done, "of": of, "note": note})
            }
            Happening::Done(id, seconds) => json!({"event": "done", "job": name(id), "seconds": seconds}),
            Happening::Spared(id) => json!({"event": "spared", "job": name(id)}),
            Happening::Failed { id, what, tail, .. } => {
                json!({"event": "failed", "job": name(id), "what": what, "log": tail})
            }
            Happening::Unreproduced(ids) => {
                json!({"event": "unreproduced", "jobs": ids.iter().map(name).collect::<Vec<_>>()})
            }
            Happening::Left(left) => {
                json!({"event": "left", "stage": left.stage, "jobs": left.jobs, "results": left.results})
            }
            Happening::Share(text) => json!({"event": "share", "text": text}),
            Happening::Summary(summary) => json!({
                "event": "summary", "ran": summary.ran, "cached": summary.cached, "failed": summary.failed.len(),
                "skipped": summary.skipped, "unshared": summary.unshared, "seconds": summary.seconds, "interrupted": summary.interrupted,
            }),
        };
        // Nobody to tell when the reader is gone; the run goes on.
        let _ = writeln!(std::io::stdout(), "{event}");
    }
}
