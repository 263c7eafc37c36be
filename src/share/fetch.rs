//! Fetching: one job's artifacts into the store, each object from where it should be, checked.

use std::fs::File;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::bundle::{Bundle, SMALL};
use super::pack::{self, unpack};
use super::remote::Read;
use super::{Exchange, ShareError, Wanted, path};
use crate::hash::{Hash, Key};
use crate::pipeline::Kind;
use crate::store::{Memo, Part, Store};

/// Bytes of a folder's listing that are read at most; nothing announces its size.
const LISTING: u64 = 256 << 20;

/// Why an object did not come.
pub enum Missed {
    /// It is not there, or not what it should be.
    Absent,
    /// The share, or this machine, is of no use.
    Trouble(ShareError),
}

impl From<ShareError> for Missed {
    fn from(error: ShareError) -> Missed {
        Missed::Trouble(error)
    }
}

/// The fetching of one job's artifacts.
pub struct Fetching<'a> {
    pub exchange: &'a Exchange,
    pub key: Key,
    pub store: &'a Store,
    pub memo: &'a Memo,
    /// The job's record, once it was asked for.
    pub bundle: OnceLock<Option<Bundle>>,
}

impl Fetching<'_> {
    /// Brings an artifact, all of it.
    pub fn artifact(&self, wanted: &Wanted) -> Result<(), Missed> {
        let Wanted { artifact, alone } = *wanted;
        match artifact.kind {
            Kind::File => self.object(artifact.hash, Some(artifact.size), alone),
            Kind::Folder => {
                self.object(artifact.hash, None, alone)?;
                if !self.store.is_right_listing(&artifact).map_err(ShareError::from)? {
                    return Err(self.damaged(path("objects", artifact.hash)));
                }
                let parts = self.store.parts(&artifact).ok_or(Missed::Absent)?;
                let mut came = Ok(());
                let is_missed = AtomicBool::new(false);
                let fetch = |part: &Part| match is_missed.load(Ordering::Relaxed) {
                    true => Err(Missed::Absent),
                    false => self.object(part.hash, Some(part.size), alone),
                };
                self.exchange.helpers.each(&parts[1..], fetch, |result| {
                    is_missed.fetch_or(result.is_err(), Ordering::Relaxed);
                    // Trouble with the share says more than that something is not there.
                    if came.is_ok() || matches!(result, Err(Missed::Trouble(_))) {
                        came = result;
                    }
                });
                came
            }
        }
    }

    /// Brings an object: where it should be by its size first, and then where it may be all the same.
    fn object(&self, hash: Hash, size: Option<u64>, alone: bool) -> Result<(), Missed> {
        if self.store.has(hash, self.memo) {
            return Ok(());
        }
        if size == Some(0) {
            return self.adopt_bytes(hash, &[]);
        }
        let is_small = size.is_none_or(|size| size <= SMALL);
        if is_small && !alone && self.out_of_bundle(hash).is_ok() {
            return Ok(());
        }
        let came = match self.by_itself(hash, size) {
            Err(Missed::Absent) if is_small && alone => self.out_of_bundle(hash),
            other => other,
        };
        if matches!(came, Err(Missed::Absent)) {
            self.exchange.tally().gone.insert(path("objects", hash));
        }
        came
    }

    fn out_of_bundle(&self, hash: Hash) -> Result<(), Missed> {
        let bundle = self.bundle.get_or_init(|| self.exchange.bundle(self.key));
        let bytes = bundle.as_ref().and_then(|bundle| bundle.objects.get(&hash)).ok_or(Missed::Absent)?;
        let bytes = bytes.clone();
        self.adopt_bytes(hash, &bytes)
    }

    fn adopt_bytes(&self, hash: Hash, bytes: &[u8]) -> Result<(), Missed> {
        match self.store.adopt_bytes(hash, bytes, self.memo) {
            Ok(true) => {
                self.count(bytes.len() as u64);
                Ok(())
            }
            Ok(false) => Err(Missed::Absent),
            Err(error) => Err(ShareError::from(error).into()),
        }
    }

    fn by_itself(&self, hash: Hash, size: Option<u64>) -> Result<(), Missed> {
        let name = path("objects", hash);
        let limit = size.unwrap_or(LISTING);
        let (came, from) = self.exchange.read(&name, pack::most(limit))?;
        match came {
            Read::Absent => return Err(Missed::Absent),
            Read::Large => return Err(self.damaged(name)),
            Read::Done => {}
        }
        let to = self.exchange.open_share()?.passing();
        let mut packed = io::BufReader::new(File::open(&from.0).map_err(from.error())?);
        let mut file = File::create_new(&to.0).map_err(to.error())?;
        let bytes = match unpack(&mut packed, limit, &mut file) {
            Ok(bytes) if size.is_none_or(|size| size == bytes) => bytes,
            // The system's errors have numbers; those of what was sent have none.
            Err(source) if source.raw_os_error().is_some() => return Err(to.error()(source).into()),
            _ => return Err(self.damaged(name)),
        };
        if !self.store.adopt(hash, &to.0, self.memo).map_err(ShareError::from)? {
            return Err(self.damaged(name));
        }
        self.count(bytes);
        Ok(())
    }

    fn damaged(&self, name: String) -> Missed {
        self.exchange.tally().damaged.insert(name);
        Missed::Absent
    }

    fn count(&self, bytes: u64) {
        let mut tally = self.exchange.tally();
        tally.fetched += 1;
        tally.fetched_bytes += bytes;
    }
}
