//! Progress on a terminal: a bar per stage with its estimate, and a line per running job.

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::report::{Happening, Report, plain};
use crate::graph::JobId;
use crate::project::Project;

/// Bars on standard error.
pub struct Bars {
    all: MultiProgress,
    stages: Vec<Option<ProgressBar>>,
    jobs: HashMap<JobId, ProgressBar>,
}

impl Bars {
    /// No bars yet.
    pub fn new() -> Bars {
        Bars { all: MultiProgress::new(), stages: Vec::new(), jobs: HashMap::new() }
    }

    fn count(&self, project: &Project, id: JobId) {
        let stage = project.graph.job(id).stage.0;
        if let Some(Some(bar)) = self.stages.get(stage) {
            bar.inc(1);
            if bar.length() == Some(bar.position()) {
                bar.finish();
            }
        }
    }

    fn end_job(&mut self, id: JobId) {
        if let Some(bar) = self.jobs.remove(&id) {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
    }
}

impl Default for Bars {
    fn default() -> Self {
        Self::new()
    }
}

impl Report for Bars {
    fn tell(&mut self, project: &Project, happening: &Happening) {
        match happening {
            Happening::Stage { stage, needed, current } => {
                let bar = (*current < *needed).then(|| {
                    // A bar draws itself where it stands: it must belong to the others before it is touched.
                    let bar = self.all.add(ProgressBar::new(*needed as u64));
                    bar.set_style(stage_style());
                    bar.set_prefix(project.stage_name(*stage).to_owned());
                    bar.set_position(*current as u64);
                    bar.reset_eta();
                    // The estimate goes on while no job ends.
                    bar.enable_steady_tick(Duration::from_secs(1));
                    bar
                });
                self.stages.resize(stage.0, None);
                self.stages.push(bar);
            }
            Happening::Started(id) => {
                let bar = self.all.add(ProgressBar::new(1));
                bar.set_style(job_style());
                bar.set_prefix(project.name(*id).to_owned());
                self.jobs.insert(*id, bar);
            }
            Happening::Progress(id, done, of, note) => {
                if let Some(bar) = self.jobs.get(id) {
                    bar.set_length(*of);
                    bar.set_position(*done);
                    bar.set_message((*note).to_owned());
                }
            }
            Happening::Done(id, _) => {
                self.end_job(*id);
                self.count(project, *id);
            }
            Happening::Spared(id) => self.count(project, *id),
            other => {
                if let Happening::Failed { id, .. } = other {
                    self.end_job(*id);
                }
                if let Happening::Summary(_) = other {
                    self.jobs.drain().for_each(|(_, bar)| bar.finish_and_clear());
                    self.stages.drain(..).flatten().for_each(|bar| bar.finish_and_clear());
                }
                if let Some(text) = plain(project, other) {
                    // Above the bars; plainly when standard error is no terminal after all.
                    let _ = self.all.suspend(|| writeln!(std::io::stderr(), "{text}"));
                }
            }
        }
    }
}

fn stage_style() -> ProgressStyle {
    style("{prefix:>26} {bar:30} {pos:>5}/{len:<5} {elapsed:>4}, {eta:>4} left")
}

fn job_style() -> ProgressStyle {
    style("{spinner} {prefix} {percent:>3} % {msg}")
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a constant").progress_chars("━╸ ")
}
