//! Space: how much more disk a run is going to need at its peak.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use indicatif::HumanBytes;

use crate::plan::Plan;
use crate::rehearsal::{self, Rehearsal};
use crate::slots::Slots;
use crate::usage::{Sizes, Usage};

/// What a run is going to need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimate {
    /// Bytes at its peak, beyond what is taken now.
    pub peak: u64,
    /// Bytes of this that stay.
    pub kept: u64,
    /// Bytes that are free where the store is, as far as the system says.
    pub free: Option<u64>,
    /// Stages with jobs of which nothing is known: they count as nothing.
    pub unknown: Vec<String>,
}

/// Estimates what a plan needs that is executed with these slots; none when nothing has to run.
///
/// All jobs count as equally long. Their times are in their records, which a run of thousands of jobs need not read.
pub fn estimate(plan: &Plan, slots: Slots) -> Option<Estimate> {
    let runs = rehearsal::runs(plan);
    if runs.is_empty() {
        return None;
    }
    let project = plan.project();
    let usage = Usage::<Sizes>::of(plan, &runs, slots.cards() > 0);
    let mut unknown: Vec<String> = Vec::new();
    for id in runs.iter().filter(|id| usage.get(**id).is_none()) {
        let stage = &project.stage(*id).name;
        if unknown.last() != Some(stage) {
            unknown.push(stage.clone());
        }
    }
    let nothing = |id| vec![0; project.stage(id).outputs.len()];
    let sizes = |id| usage.get(id).map_or_else(|| nothing(id), |(sizes, _)| sizes);
    let Rehearsal { peak, kept, .. } =
        rehearsal::rehearse(plan, &runs, slots, |_| Duration::from_secs(1), sizes);
    Some(Estimate { peak, kept, free: free(project.store.root()), unknown })
}

impl Estimate {
    /// Whether more is needed than is free.
    pub fn is_too_much(&self) -> bool {
        self.free.is_some_and(|free| self.peak > free)
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "disk: about {} more at the peak, {} to stay",
            HumanBytes(self.peak),
            HumanBytes(self.kept)
        )?;
        if let Some(free) = self.free {
            write!(f, ", {} free", HumanBytes(free))?;
        }
        if !self.unknown.is_empty() {
            write!(f, "; without {}, of which no job has run yet", self.unknown.join(", "))?;
        }
        Ok(())
    }
}

/// Bytes that this user may still write where a path is.
pub fn free(path: &Path) -> Option<u64> {
    let system = nix::sys::statvfs::statvfs(path).ok()?;
    Some(system.blocks_available() as u64 * system.fragment_size() as u64)
}
