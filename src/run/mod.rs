//! A run: jobs whose keys have no artifacts are executed, as many at once as there are slots, deepest stage first.

mod assignment;
mod bars;
mod cards;
mod collect;
mod ended;
mod environment;
mod failure;
mod hints;
mod intermediates;
mod interrupts;
mod launcher;
mod light;
mod lines;
mod log;
mod memory;
mod pool;
mod process;
mod program;
mod report;
mod rerun;
mod sandbox;
mod scheduler;
#[cfg(test)]
mod tests;
mod wire;
mod words;
mod worker;

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

use crate::build;
use crate::graph::JobId;
use crate::lockfile::LockError;
use crate::plan::{NewLines, Plan};
use crate::project::{Project, ProjectError};
use crate::share::{Exchange, ShareError};
use crate::slots::Slots;
use crate::space::{self, Estimate};
use crate::store::StoreError;

use self::scheduler::{Outcome, Planned};

pub use bars::Bars;
pub use cards::{Cardless, cardless};
pub use ended::{BadEnd, bad_end};
pub use interrupts::Interrupts;
pub use launcher::serve as launch;
pub use light::{Left, check, left};
pub use report::{Happening, Json, Plain, Report};
pub use rerun::{Rerun, rerun};

/// How to run.
#[derive(Debug, Default, Clone)]
pub struct Options {
    /// CPU threads that jobs share; all there are, when not told.
    pub threads: Option<u32>,
    /// After a failure, go on with what does not depend on it.
    pub keep_going: bool,
    /// Let jobs open every file and reach the network.
    pub no_sandbox: bool,
    /// Take new bits into the lock where a key made others before.
    pub update_lock: bool,
    /// Run no heavy stage; what depends on them takes what they made before.
    pub light: bool,
    /// Publish on the share what jobs have made, as they end.
    pub push: bool,
    /// Begin though the disk seems too small.
    pub ignore_space: bool,
    /// Only look what jobs make: nothing of it is stored, published or dropped.
    pub discard: bool,
}

/// How a run ended.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Summary {
    /// Jobs executed to a good end.
    pub ran: usize,
    /// Jobs needed that did not have to run.
    pub cached: usize,
    /// Jobs that failed.
    pub failed: Vec<JobId>,
    /// Jobs that did not start because of a failure or an interrupt.
    pub skipped: usize,
    /// Jobs executed to a good end whose work should be on the share and is not.
    pub unshared: usize,
    /// Wall time.
    pub seconds: f64,
    /// Whether somebody ended it.
    pub interrupted: bool,
}

/// Why a run did not do all it was to do, failed jobs aside.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stage's program could not be built.
    #[error(transparent)]
    Build(#[from] build::Error),
    /// The project's files could not be read again after a build.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// The lock could not be written.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The share is told wrongly.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// Published outputs could not be placed.
    #[error("{first}{}; what was made is in the store, and the next run publishes it", and_more_outputs(.others))]
    Unpublished {
        /// How many more there are.
        others: usize,
        /// Why the first was not.
        first: StoreError,
    },
    /// A light run has nothing to go on from.
    #[error("{job}{} has made nothing yet that --light could go on from; run it first", and_more(.others))]
    NeverMade {
        /// The first heavy job without outputs.
        job: String,
        /// How many more there are.
        others: usize,
    },
    /// A light run lacks content.
    #[error("{by} needs what {job}{} made, which is not in the store; --light does not run it: run it first", and_more(.others))]
    Gone {
        /// The first heavy job whose content is gone.
        job: String,
        /// How many more there are.
        others: usize,
        /// A job that needs it.
        by: String,
    },
    /// There is no GPU for jobs that need one.
    #[error("{0}; --keep-going makes what does not depend on them")]
    NoCard(Cardless),
    /// The run would fill the disk.
    #[error(
        "the run would not fit ({estimate}, where {store} is); make room (`ribbon gc`), move the store \
         (RIBBON_STORE), or say --ignore-space"
    )]
    Space {
        /// What it needs.
        estimate: Estimate,
        /// The store.
        store: PathBuf,
    },
}

fn and_more(others: &usize) -> String {
    if *others > 0 { format!(", as {others} more jobs of heavy stages,") } else { String::new() }
}

fn and_more_outputs(others: &usize) -> String {
    if *others > 0 { format!(", and {others} more outputs") } else { String::new() }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { ran, cached, failed, skipped, seconds, interrupted, unshared: _ } = self;
        if *interrupted {
            write!(f, "interrupted: ")?;
        }
        write!(f, "ran {ran}, cached {cached}, failed {}", failed.len())?;
        if *skipped > 0 {
            write!(f, ", skipped {skipped}")?;
        }
        write!(f, " in {seconds:.1} s")
    }
}

/// Makes the wanted jobs' artifacts, publishes them and writes the lock; also after failures.
///
/// # Errors
/// When the store, a build or the lock fails, or outputs cannot be published; everything finished until then is kept.
/// Failed jobs are no error: they are counted in the summary.
pub fn run(
    project: &mut Project,
    wanted: &BTreeSet<JobId>,
    forced: &BTreeSet<JobId>,
    options: &Options,
    interrupts: &Interrupts,
    report: &mut dyn Report,
) -> Result<Summary, RunError> {
    let started = Instant::now();
    let exchange = Exchange::open(project)?;
    if options.push {
        exchange.as_ref().ok_or(ShareError::None)?.make_folder()?;
    }
    // Nothing that the plan finds is collected before the run has leased it.
    let hold = project.store.hold()?;
    project.store.refresh()?;
    let mut plan = match options.light {
        true => Plan::light(project, wanted, forced),
        false => Plan::new(project, wanted, forced),
    };
    if exchange.is_none() {
        // With a share, what is gone may be there: that shows while the run goes.
        plan.demand();
    }
    light::check(project, &plan, exchange.is_some() || options.keep_going)?;
    let slots = Slots::here(options.threads);
    for cardless in cardless(&plan, &slots) {
        if cardless.is_certain() && !options.keep_going && exchange.is_none() {
            return Err(RunError::NoCard(cardless));
        }
        report.tell(project, &Happening::Note(&cardless.to_string()));
    }
    if !options.ignore_space
        && let Some(estimate) = space::estimate(&plan, slots)
        && estimate.is_too_much()
    {
        return Err(RunError::Space { estimate, store: project.store.root().to_owned() });
    }
    let Outcome { mut plan, summary, failure, scratch } = std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel();
        let shared: &Project = project;
        scope.spawn(move || keep_safe(shared, &stopped));
        let exchange = exchange.as_ref();
        let ended =
            scheduler::execute(shared, Planned { plan, hold }, options, interrupts, report, exchange, scope);
        drop(stop);
        ended
    })?;
    plan.recheck();
    for note in exchange.iter().flat_map(Exchange::notes) {
        report.tell(project, &Happening::Share(&note));
    }
    if summary.unshared > 0 {
        let note =
            format!("finished jobs that are not there: {}; `ribbon push` publishes them", summary.unshared);
        report.tell(project, &Happening::Share(&note));
    }
    let NewLines { lines, unreproduced } = plan.new_lines(options.update_lock);
    if !unreproduced.is_empty() {
        report.tell(project, &Happening::Unreproduced(&unreproduced));
    }
    for left in light::left(project, &plan) {
        report.tell(project, &Happening::Left(&left));
    }
    drop(plan);
    project.store.sync_new()?;
    for (job, line) in lines {
        project.lock.set(&job, line);
    }
    let names: HashSet<&str> = project.names.iter().map(String::as_str).collect();
    project.lock.retain(|job| names.contains(job));
    project.lock.save()?;
    project.store.note_workspace(&project.root)?;
    drop(scratch);
    // Only speed is lost when this cannot be written.
    let _ = project.memo.save();
    let summary = Summary { seconds: started.elapsed().as_secs_f64(), ..summary };
    report.tell(project, &Happening::Summary(&summary));
    failure.map_or(Ok(summary), Err)
}

/// Lets this process have as many files open as a machine with many cores needs: about five for each process of a stage,
/// and stages keep theirs between jobs. Where even that is refused, a job whose process cannot start says so.
pub fn allow_many_files() {
    const MANY: rlim_t = 1 << 14;
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < MANY
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(MANY), hard);
    }
}

/// Brings what is committed to the disk once a second, until the run ends, and the memo from time to time.
fn keep_safe(project: &Project, stopped: &std::sync::mpsc::Receiver<()>) {
    use std::sync::mpsc::RecvTimeoutError::Timeout;
    for second in 1.. {
        if stopped.recv_timeout(Duration::from_secs(1)) != Err(Timeout) {
            return;
        }
        // A failure shows when the run ends and syncs once more.
        let _ = project.store.sync_new();
        if second % 30 == 0 {
            let _ = project.memo.save();
        }
    }
}

/// Reads what a stage printed, as a run does. For the fuzz targets.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_event(line: &str) -> Option<String> {
    serde_json::from_str::<worker::Event>(line).ok().map(|event| format!("{event:?}"))
}
