//! A forecast: what a run is going to take, by stage: jobs, time and bytes, and how that is known.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount};

use super::duration::duration;
use crate::graph::JobId;
use crate::pipeline::StageId;
use crate::plan::Plan;
use crate::project::Project;
use crate::rehearsal;
use crate::slots::Slots;
use crate::usage::{Sizes, Source, Time, Usage};

/// What a run is going to take.
#[derive(Debug)]
pub struct Forecast {
    rows: Vec<Row>,
    /// From its begin to its end.
    time: Duration,
    threads: u32,
    cards: usize,
}

/// What some jobs are going to take.
#[derive(Debug, Default)]
struct Row {
    name: String,
    jobs: usize,
    /// One job after the other.
    time: Duration,
    /// Jobs whose time is not known, which counts as none.
    untimed: usize,
    written: u64,
    /// Of what is written, what is not for its consumers only.
    kept: u64,
    /// Jobs whose bytes are not known, which count as none.
    sizeless: usize,
    sources: BTreeSet<Source>,
}

/// What a plan takes that is executed with these slots; none when nothing has to run. Jobs that may turn out to be up to
/// date count.
pub fn forecast(plan: &Plan, slots: Slots) -> Option<Forecast> {
    let runs = rehearsal::runs(plan);
    let (threads, cards) = (slots.threads(), slots.cards());
    let times = Usage::<Time>::of(plan, &runs, cards > 0);
    let sizes = Usage::<Sizes>::of(plan, &runs, cards > 0);
    let graph = &plan.project().graph;
    let mut rows: Vec<Row> = Vec::new();
    let mut last: Option<StageId> = None;
    for &id in &runs {
        let stage = graph.job(id).stage;
        if last.replace(stage) != Some(stage) {
            rows.push(Row { name: plan.project().stage_name(stage).to_owned(), ..Row::default() });
        }
        rows.last_mut().expect("a stage has begun").add(plan.project(), id, times.get(id), sizes.get(id));
    }
    let time = |id| times.get(id).map_or(Duration::ZERO, |(time, _)| time);
    let nothing = |id| vec![0; plan.project().stage(id).outputs.len()];
    let rehearsal = rehearsal::rehearse(plan, &runs, slots, time, nothing);
    (!rows.is_empty()).then_some(Forecast { rows, time: rehearsal.time, threads, cards })
}

impl Row {
    /// One more job.
    fn add(
        &mut self,
        project: &Project,
        id: JobId,
        time: Option<(Time, Source)>,
        sizes: Option<(Sizes, Source)>,
    ) {
        self.jobs += 1;
        match time {
            Some((time, source)) => {
                self.time += time;
                self.sources.insert(source);
            }
            None => self.untimed += 1,
        }
        let Some((sizes, source)) = sizes else {
            self.sizeless += 1;
            return;
        };
        self.sources.insert(source);
        let published = project.graph.published(&project.pipeline, id);
        let stays = |place: usize| {
            !project.stage(id).intermediate || published.iter().any(|(it, _)| usize::from(*it) == place)
        };
        for (place, size) in sizes.into_iter().enumerate() {
            self.written += size;
            self.kept += if stays(place) { size } else { 0 };
        }
    }

    /// All rows together.
    fn sum(rows: &[Row]) -> Row {
        rows.iter().fold(Row { name: "all".to_owned(), ..Row::default() }, |sum, row| Row {
            jobs: sum.jobs + row.jobs,
            time: sum.time + row.time,
            untimed: sum.untimed + row.untimed,
            written: sum.written + row.written,
            kept: sum.kept + row.kept,
            sizeless: sum.sizeless + row.sizeless,
            ..sum
        })
    }

    /// As it is printed. What is not known of any job is a question mark, what is not of some has a `>`.
    fn cells(&self) -> [String; 6] {
        let known = |unknown: usize, text: String| match unknown {
            0 => text,
            _ if unknown == self.jobs => "?".to_owned(),
            _ => format!("> {text}"),
        };
        let told = |source: &Source| match source {
            Source::Past => "past jobs",
            Source::Profile => "the profile",
            Source::Elsewhere => "jobs of other profiles",
        };
        [
            self.name.clone(),
            HumanCount(self.jobs as u64).to_string(),
            known(self.untimed, duration(self.time.as_secs_f64())),
            known(self.sizeless, HumanBytes(self.written).to_string()),
            known(self.sizeless, HumanBytes(self.kept).to_string()),
            self.sources.iter().map(told).collect::<Vec<_>>().join(", "),
        ]
    }
}

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = Row::sum(&self.rows);
        let head = ["stage", "jobs", "job time", "written", "to stay", "as known from"].map(str::to_owned);
        let rows: Vec<[String; 6]> =
            [head].into_iter().chain(self.rows.iter().chain([&sum]).map(Row::cells)).collect();
        let widths: Vec<usize> =
            (0..6).map(|at| rows.iter().map(|row| row[at].len()).max().unwrap_or(0)).collect();
        for row in &rows {
            write!(f, "{:width$}", row[0], width = widths[0])?;
            for at in 1..5 {
                write!(f, "  {:>width$}", row[at], width = widths[at])?;
            }
            match row[5].as_str() {
                "" => writeln!(f)?,
                sources => writeln!(f, "  {sources}")?,
            }
        }
        let number = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let about = match self.time.is_zero() && sum.untimed > 0 {
            true => "not known".to_owned(),
            false => format!("about {}", duration(self.time.as_secs_f64())),
        };
        write!(f, "time: {about} with {}", number(self.threads as usize, "thread"))?;
        match self.cards {
            0 => write!(f, " and no GPU")?,
            cards => write!(f, " and {}", number(cards, "GPU"))?,
        }
        if sum.untimed > 0 {
            write!(f, "; {} of unknown length left out", number(sum.untimed, "job"))?;
        }
        Ok(())
    }
}
