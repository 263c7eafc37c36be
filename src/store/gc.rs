//! Collection: what nobody wants any more goes, oldest first, while others may be at work.
//!
//! Wanted are the keys and hashes that the locks of the known workspaces name, and the keys that running processes have
//! leased. A record that is not wanted goes when it is old enough, or when the store is to be smaller. Then go the
//! objects that no record that stays and no lock names, and what killed processes left.
//!
//! All is decided and taken out of the way while nobody can add anything ([`super::locks::Hold`]); removing it, which
//! may take long, comes after that.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::index::Artifact;
use super::lease::{Lease, Leases};
use super::locks::Scratch;
use super::{Store, StoreError, io_error};
use crate::hash::{Hash, Key};

/// What is half written or not yet named by a record for so long, nobody is going to finish.
const LEFTOVER: Duration = Duration::from_secs(3600);

/// What is wanted, whatever its age.
#[derive(Debug, Default)]
pub struct Roots {
    /// Keys whose records stay.
    pub keys: HashSet<Key>,
    /// Content that stays, whether or not a record names it.
    pub artifacts: Vec<Artifact>,
}

/// What a collection is to leave.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Records that are not wanted stay so long after they were made.
    pub keep: Duration,
    /// Of these, the oldest go before their time when the objects take more bytes than this.
    pub max_size: Option<u64>,
    /// Remove nothing.
    pub dry_run: bool,
}

/// What a collection has removed, or would.
#[derive(Debug, Default)]
pub struct Collected {
    /// Records by stage, and the bytes that were theirs alone.
    pub stages: BTreeMap<String, (usize, u64)>,
    /// Objects.
    pub objects: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Logs, code listings, half-written files, and what no job goes on from any more.
    pub leftovers: usize,
    /// Objects that stay.
    pub kept_objects: usize,
    /// Their bytes.
    pub kept_bytes: u64,
    /// Records that stay only because they are young.
    pub young: usize,
}

/// What there is, and how often it is named.
struct Survey {
    /// Objects: where, and how many bytes.
    objects: HashMap<Hash, (PathBuf, u64)>,
    /// How many records and roots name an object.
    names: HashMap<Hash, usize>,
    /// Bytes of objects that something names.
    named_bytes: u64,
    /// Hidden files.
    half_written: Vec<PathBuf>,
}

impl Store {
    /// Removes what is neither wanted nor young. Others may use the store meanwhile. What is wanted is asked when nobody can
    /// add anything any more: a run that ended just before has written its lock.
    ///
    /// # Errors
    /// When something cannot be read or removed; what was removed until then is gone.
    pub fn collect<E: From<StoreError>>(
        &self,
        roots: impl FnOnce() -> Result<Roots, E>,
        limits: &Limits,
    ) -> Result<Collected, E> {
        let trash = if limits.dry_run { None } else { Some(self.scratch()?) };
        // Nobody adds anything from here on.
        let hold = if limits.dry_run { self.hold()? } else { self.hold_alone()? };
        self.refresh()?;
        let roots = roots()?;
        let mut collected = Collected::default();
        let mut survey = self.survey(&roots)?;
        let doomed = self.doom(&roots, limits, &mut survey, &mut collected)?;
        let unnamed: Vec<Hash> =
            survey.objects.keys().filter(|hash| !survey.is_named(**hash)).copied().collect();
        let mut files = std::mem::take(&mut survey.half_written);
        files.extend(self.leftovers(&doomed, limits)?);
        collected.objects = unnamed.len();
        collected.bytes = unnamed.iter().map(|hash| survey.objects[hash].1).sum();
        collected.kept_objects = survey.objects.len() - unnamed.len();
        collected.kept_bytes = survey.objects.values().map(|(_, size)| size).sum::<u64>() - collected.bytes;
        let resumes = self.collect_resumes(limits.keep.max(LEFTOVER), limits.dry_run)?;
        collected.leftovers = files.len() + resumes;
        let Some(trash) = trash else { return Ok(collected) };

        let index = self.root.join("index");
        // First nothing names the objects, then they go.
        self.index().rewrite(|key| !doomed.contains(&key)).map_err(io_error("rewrite", &index))?;
        for (number, hash) in unnamed.iter().enumerate() {
            let object = &survey.objects[hash].0;
            let to = trash.path().join(number.to_string());
            fs::rename(object, to).or_else(gone_is_fine).map_err(io_error("remove", object))?;
        }
        let records = doomed.iter().map(|key| self.path("records", key.0));
        for path in records.chain(files) {
            fs::remove_file(&path).or_else(gone_is_fine).map_err(io_error("remove", &path))?;
        }
        drop(hold);
        drop(trash);
        Ok(collected)
    }

    /// Takes artifacts away, once their last consumer has a record: objects that nothing else needs go, records stay.
    /// `needs` says whether a key of the caller's plan needs its content; none when the plan does not have the key.
    /// `others` are other processes' leases, as far as this one has read them.
    ///
    /// # Errors
    /// When something cannot be read or removed.
    pub fn drop_content(
        &self,
        artifacts: &[Artifact],
        lease: &Lease,
        others: &mut Leases,
        needs: impl Fn(Key) -> Option<bool>,
    ) -> Result<(), StoreError> {
        if !artifacts.iter().any(|artifact| self.objects.path(artifact.hash).exists()) {
            return Ok(());
        }
        let _alone = self.hold_alone()?;
        self.refresh()?;
        let tmp = self.tmp().path;
        let mut alive = Scratch::alive(&tmp).map_err(io_error("read", &tmp))?;
        alive.retain(|scratch| scratch != lease.scratch());
        others.read_on(&alive)?;
        let is_needed = |maker: Key| {
            others.needs(maker)
                || needs(maker).unwrap_or_else(|| !self.record(maker).is_some_and(|it| it.intermediate))
        };
        for artifact in artifacts {
            for part in self.objects.parts(artifact).into_iter().rev() {
                let makers = self.index().makers(part, |artifact| self.objects.parts(artifact));
                if !makers.into_iter().any(&is_needed) {
                    let path = self.objects.path(part);
                    fs::remove_file(&path).or_else(gone_is_fine).map_err(io_error("remove", &path))?;
                }
            }
        }
        Ok(())
    }

    /// What there is, as named by all records and roots.
    fn survey(&self, roots: &Roots) -> Result<Survey, StoreError> {
        let mut survey = Survey {
            objects: HashMap::new(),
            names: HashMap::new(),
            named_bytes: 0,
            half_written: Vec::new(),
        };
        for (hash, path) in self.objects.all()? {
            let metadata = fs::metadata(&path).map_err(io_error("look at", &path))?;
            match hash {
                Some(hash) => drop(survey.objects.insert(hash, (path, metadata.len()))),
                None if is_old(&path, LEFTOVER) => survey.half_written.push(path),
                None => {}
            }
        }
        let index = self.index();
        let named = index.records().values().flatten().chain(&roots.artifacts);
        for part in named.flat_map(|artifact| self.objects.parts(artifact)) {
            *survey.names.entry(part).or_default() += 1;
        }
        survey.named_bytes = survey
            .objects
            .iter()
            .filter(|(hash, _)| survey.is_named(**hash))
            .map(|(_, (_, size))| size)
            .sum();
        Ok(survey)
    }

    /// Chooses the records that go, and takes their names off the objects.
    fn doom(
        &self,
        roots: &Roots,
        limits: &Limits,
        survey: &mut Survey,
        collected: &mut Collected,
    ) -> Result<HashSet<Key>, StoreError> {
        let tmp = self.tmp().path;
        let mut leases = Leases::default();
        leases.read_on(&Scratch::alive(&tmp).map_err(io_error("read", &tmp))?)?;
        let records = self.index().records().clone();
        let now = SystemTime::now();
        let mut unwanted: Vec<(Duration, Key)> = records
            .keys()
            .filter(|key| !roots.keys.contains(key) && !leases.uses(**key))
            .map(|key| (age(&self.path("records", key.0), now), *key))
            .collect();
        // Oldest first; the rest makes the order the same each time.
        unwanted.sort_by(|one, other| other.cmp(one));
        let mut doomed = HashSet::new();
        for (age, key) in unwanted {
            let is_too_much = limits.max_size.is_some_and(|max| survey.named_bytes > max);
            if age < limits.keep && !is_too_much {
                collected.young += 1;
                continue;
            }
            let parts = records[&key].iter().flat_map(|artifact| self.objects.parts(artifact));
            let freed: u64 = parts.map(|part| survey.unname(part)).sum();
            let stage = self.record(key).map_or_else(|| "unknown".to_owned(), |record| record.stage);
            let row = collected.stages.entry(stage).or_default();
            *row = (row.0 + 1, row.1 + freed);
            doomed.insert(key);
        }
        Ok(doomed)
    }

    /// Files beside the objects that belong to nothing that stays.
    fn leftovers(&self, doomed: &HashSet<Key>, limits: &Limits) -> Result<Vec<PathBuf>, StoreError> {
        let mut kept: HashSet<Hash> = self.index().records().keys().map(|key| key.0).collect();
        kept.retain(|key| !doomed.contains(&Key(*key)));
        let mut codes = HashSet::new();
        let mut files = Vec::new();
        for (key, path) in self.section("records")? {
            match key {
                Some(key) if kept.contains(&key) => {
                    codes.extend(self.record(Key(key)).and_then(|record| record.code()));
                }
                // Of the doomed, [`Store::collect`] knows.
                Some(key) if doomed.contains(&Key(key)) => {}
                _ if is_old(&path, LEFTOVER) => files.push(path),
                _ => {}
            }
        }
        for (key, path) in self.section("logs")? {
            let is_doomed = key.is_some_and(|key| doomed.contains(&Key(key)));
            let is_of_none = key.is_none_or(|key| !kept.contains(&key));
            if is_doomed || is_of_none && is_old(&path, limits.keep.max(LEFTOVER)) {
                files.push(path);
            }
        }
        for (code, path) in self.section("code")? {
            if code.is_none_or(|code| !codes.contains(&code)) && is_old(&path, limits.keep.max(LEFTOVER)) {
                files.push(path);
            }
        }
        Ok(files)
    }
}

impl Survey {
    fn is_named(&self, hash: Hash) -> bool {
        self.names.get(&hash).is_some_and(|names| *names > 0)
    }

    /// Takes a name off an object. Returns the bytes of one that has none now.
    fn unname(&mut self, hash: Hash) -> u64 {
        let names = self.names.entry(hash).or_default();
        *names = names.saturating_sub(1);
        let size = self.objects.get(&hash).map_or(0, |(_, size)| *size);
        if *names > 0 {
            return 0;
        }
        self.named_bytes -= size;
        size
    }
}

/// How long ago a file was written; one that is not there is older than any.
pub(super) fn age(path: &Path, now: SystemTime) -> Duration {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.map_or(Duration::MAX, |time| now.duration_since(time).unwrap_or_default())
}

fn is_old(path: &Path, limit: Duration) -> bool {
    age(path, SystemTime::now()) >= limit
}

fn gone_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
