//! `ribbon push`: what is finished here, to where others find it.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Instant;

use super::crew::each;
use super::{Again, Exchange, Published, ShareError};
use crate::graph::JobId;
use crate::plan::{Plan, State};
use crate::project::Project;

/// From this many jobs on it is quicker to list what the share has, which takes 256 requests.
const MANY: usize = 512;

/// What a push has done.
#[derive(Debug, Default)]
pub struct Pushed {
    /// Jobs whose work is there now and was not.
    pub new: usize,
    /// Jobs whose work was there.
    pub known: usize,
    /// Jobs of which others have pushed other bits, which stay.
    pub other: usize,
    /// Jobs of which something is not in this store.
    pub absent: usize,
    /// Jobs that are not up to date.
    pub stale: usize,
    /// Bytes that were sent.
    pub bytes: u64,
    /// Wall time.
    pub seconds: f64,
    /// Whether the records are signed.
    pub signed: bool,
}

impl fmt::Display for Pushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pushed { new, known, other, absent, stale, bytes, seconds, signed } = self;
        let bytes = indicatif::HumanBytes(*bytes);
        write!(f, "pushed {new} jobs, {bytes}, in {seconds:.1} s; {known} were there")?;
        if *other > 0 {
            write!(f, "\n{other} were there with other bits, from somebody trusted; those stay")?;
        }
        if *absent > 0 {
            write!(f, "\n{absent} were left out: what they made is not in this store")?;
        }
        if *stale > 0 {
            write!(f, "\n{stale} were left out: they are not up to date")?;
        }
        if !signed && *new > 0 {
            write!(
                f,
                "\nnot signed: others use them only where pipeline.lock names them; `ribbon key new` makes a key"
            )?;
        }
        Ok(())
    }
}

/// Pushes jobs. `told` is called after each.
///
/// # Errors
/// When the share does not work; what was pushed until then stays, and another push goes on from there.
pub fn push(
    project: &Project,
    exchange: &Exchange,
    jobs: &BTreeSet<JobId>,
    again: Again,
    mut told: impl FnMut(),
) -> Result<Pushed, ShareError> {
    let started = Instant::now();
    exchange.make_folder()?;
    if jobs.len() > MANY && again != Again::All {
        exchange.look();
    }
    let plan = Plan::new(project, jobs, &BTreeSet::new());
    let mut pushed = Pushed { signed: exchange.own.is_some(), ..Pushed::default() };
    let mut failure = None;
    let act = |id: JobId| outcome(project, exchange, &plan, id, again);
    each(exchange.width(), jobs.iter().copied(), act, |result| {
        told();
        match result {
            Ok(Outcome::Stale) => pushed.stale += 1,
            Ok(Outcome::Absent) => pushed.absent += 1,
            Ok(Outcome::Done(Published::Known)) => pushed.known += 1,
            Ok(Outcome::Done(Published::Other)) => pushed.other += 1,
            Ok(Outcome::Done(Published::New { bytes })) => {
                pushed.new += 1;
                pushed.bytes += bytes;
            }
            Err(error) => drop(failure.get_or_insert(error)),
        }
    });
    pushed.seconds = started.elapsed().as_secs_f64();
    failure.map_or(Ok(pushed), Err)
}

enum Outcome {
    Stale,
    Absent,
    Done(Published),
}

fn outcome(
    project: &Project,
    exchange: &Exchange,
    plan: &Plan,
    id: JobId,
    again: Again,
) -> Result<Outcome, ShareError> {
    let State::Current(key, artifacts) = plan.state(id) else { return Ok(Outcome::Stale) };
    let given = super::given(project, id, artifacts);
    let is_here = given.iter().all(|given| project.store.holds(&given.artifact, &project.memo));
    match project.store.record(*key).filter(|_| is_here) {
        Some(record) => exchange.publish(&record, &given, &project.store, again).map(Outcome::Done),
        None => Ok(Outcome::Absent),
    }
}
