//! Healing: content that was damaged here comes back from a share.

use std::collections::HashSet;

use super::crew::each;
use super::{Exchange, Wanted};
use crate::hash::{Hash, Key};
use crate::project::Project;
use crate::store::Artifact;

/// Fetches all artifacts that had these objects in them, as far as records and pipeline.lock tell. The objects that are
/// here now.
pub fn heal(project: &Project, exchange: &Exchange, lost: &[Hash]) -> HashSet<Hash> {
    let (store, memo) = (&project.store, &project.memo);
    let recorded = lost.iter().flat_map(|object| store.artifacts_with(*object));
    let locked = project.lock.lines().values();
    let locked = locked.flat_map(|line| line.outputs.values().map(|artifact| (line.key, *artifact)));
    let has_lost = |artifact: &Artifact| {
        store.parts(artifact).into_iter().flatten().any(|part| lost.contains(&part.hash))
            || lost.contains(&artifact.hash)
    };
    let owners: HashSet<(Key, Artifact)> =
        recorded.chain(locked.filter(|(_, artifact)| has_lost(artifact))).collect();
    let fetch = |(key, artifact)| exchange.fetch(key, &[Wanted { artifact, alone: false }], store, memo);
    each(exchange.width(), owners, fetch, drop);
    lost.iter().filter(|object| store.has(**object, memo)).copied().collect()
}
