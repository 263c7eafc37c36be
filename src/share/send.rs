//! Sending: what a job made, to where others find it. Objects first, then the record that names them.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use super::bundle::{self, Bundle, ROOM, SMALL};
use super::pack::Packing;
use super::{Exchange, ShareError, Wanted, crew, path};
use crate::hash::Hash;
use crate::store::{Part, Record, RecordedOutput, Store};

/// Bytes of an object that is sent without asking whether it is there: that would take as long, and mostly it is not, as
/// the record that names it is not there either.
const UNASKED: u64 = 256 << 10;

/// Names in a folder of a share that are listened to.
const LISTED: usize = 1 << 16;

/// What is sent of a job whose record is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// What this process has found gone or damaged.
    Lost,
    /// What is gone, for which it looks.
    Gone,
    /// Everything.
    All,
}

/// What came of publishing a job's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It is there now.
    New {
        /// Bytes that were sent.
        bytes: u64,
    },
    /// It was there.
    Known,
    /// Somebody else's work with other bits is there under the same key, and counts; it stays.
    Other,
}

/// The objects of a job's work, but for empty ones.
struct Parcel {
    /// Those that travel in the record.
    small: Vec<Part>,
    /// Those that lie beside it.
    large: Vec<Part>,
}

impl Parcel {
    fn of(wanted: &[Wanted], store: &Store) -> Parcel {
        let (mut parcel, mut room) = (Parcel { small: Vec::new(), large: Vec::new() }, ROOM);
        for Wanted { artifact, alone } in wanted {
            let parts = store.parts(artifact).unwrap_or_default();
            for part in parts.into_iter().filter(|part| part.size > 0) {
                if !alone && part.size <= SMALL.min(room) {
                    room -= part.size;
                    parcel.small.push(part);
                } else {
                    parcel.large.push(part);
                }
            }
        }
        parcel
    }
}

impl Exchange {
    /// Puts what a job made where others find it.
    ///
    /// # Errors
    /// When the share or the store fails. The share is not written any more then, until it is tried again.
    pub fn publish(
        &self,
        record: &Record,
        wanted: &[Wanted],
        store: &Store,
        again: Again,
    ) -> Result<Published, ShareError> {
        if let Some(why) = self.unwritten() {
            return Err(ShareError::GivenUp(why));
        }
        let published = self.send(record, &Parcel::of(wanted, store), store, again);
        if let Err(error) = &published {
            self.give_up(&error.to_string());
        }
        published
    }

    /// Looks which records are there, a folder at a time, for somebody who is about to publish many: then it need not be
    /// asked for those that are not. A share that cannot tell, or has too many to tell, is asked.
    pub(super) fn look(&self) {
        let mut names = Some(HashSet::new());
        let list = |first: u8| {
            let folder = format!("records/{first:02x}");
            let listed = self.open_share().ok()?.remote.list(&folder, LISTED).ok()??;
            Some(listed.into_iter().map(move |name| format!("{folder}/{name}")).collect::<Vec<_>>())
        };
        crew::each(self.width(), 0..=u8::MAX, list, |listed| match (listed, &mut names) {
            (Some(listed), Some(names)) => names.extend(listed),
            _ => names = None,
        });
        if let Some(names) = names {
            let _ = self.survey.set(names);
        }
    }

    fn send(
        &self,
        record: &Record,
        parcel: &Parcel,
        store: &Store,
        again: Again,
    ) -> Result<Published, ShareError> {
        let is_new = self.survey.get().is_some_and(|names| !names.contains(&path("records", record.key.0)));
        if again != Again::All
            && !is_new
            && let Some(there) = self.try_bundle(record.key)?
        {
            let is_same = there.record.outputs.iter().map(bits).eq(record.outputs.iter().map(bits));
            let is_trusted = self.is_trusted(&there);
            if is_trusted && !is_same {
                return Ok(Published::Other);
            }
            // One's own unsigned copy adds nothing to what a stranger has signed.
            if is_same && (is_trusted || self.own.is_none()) {
                return self.mend(parcel, &there, store, again);
            }
        }
        let sent = self.send_objects(store, &parcel.large, again == Again::All)?;
        let small: Vec<Vec<u8>> =
            parcel.small.iter().map(|part| read_object(store, *part)).collect::<Result<_, _>>()?;
        let bytes = bundle::encode(record, self.own.as_ref(), &small)
            .map_err(|source| ShareError::Io { path: PathBuf::from(&record.job), source })?;
        let open = self.open_share()?;
        let file = open.passing();
        fs::write(&file.0, &bytes).map_err(file.error())?;
        open.remote.write(&path("records", record.key.0), &file.0)?;
        Ok(Published::New { bytes: sent + bytes.len() as u64 })
    }

    /// Sends what the share lacks of a job whose record is there; the record stays, whoever has signed it.
    fn mend(
        &self,
        parcel: &Parcel,
        there: &Bundle,
        store: &Store,
        again: Again,
    ) -> Result<Published, ShareError> {
        let parts = parcel.small.iter().chain(&parcel.large);
        let parts: Vec<Part> =
            parts.filter(|part| !there.objects.contains_key(&part.hash)).copied().collect();
        let mut lost = Ok(Vec::new());
        let is_lost = |part: &Part| self.lacks(*part, again).map(|is_lost| is_lost.then_some(*part));
        self.helpers.each(&parts, is_lost, |found| match (&mut lost, found) {
            (Ok(lost), Ok(found)) => lost.extend(found),
            (Ok(_), Err(error)) => lost = Err(error),
            (Err(_), _) => {}
        });
        Ok(match self.send_objects(store, &lost?, true)? {
            0 => Published::Known,
            bytes => Published::New { bytes },
        })
    }

    /// Whether an object of a record is gone or damaged.
    fn lacks(&self, part: Part, again: Again) -> Result<bool, ShareError> {
        let name = path("objects", part.hash);
        let is_seen = {
            let tally = self.tally();
            tally.damaged.contains(&name) || tally.gone.contains(&name)
        };
        Ok(is_seen || again == Again::Gone && !self.open_share()?.remote.has(&name)?)
    }

    /// Sends objects, all of them with `all`, and otherwise those that are not there; the bytes that were sent.
    fn send_objects(&self, store: &Store, parts: &[Part], all: bool) -> Result<u64, ShareError> {
        let mut sent = Ok(0);
        let send = |part: &Part| self.send_object(store, *part, all);
        self.helpers.each(parts, send, |result| match (&mut sent, result) {
            (Ok(sent), Ok(bytes)) => *sent += bytes,
            (Ok(_), Err(error)) => sent = Err(error),
            (Err(_), _) => {}
        });
        sent
    }

    /// Sends an object unless it is there; the bytes that were sent.
    fn send_object(&self, store: &Store, part: Part, always: bool) -> Result<u64, ShareError> {
        let path = path("objects", part.hash);
        let is_needed = always || self.tally().damaged.contains(&path);
        if !is_needed && self.tally().sent.contains(&part.hash) {
            return Ok(0);
        }
        let open = self.open_share()?;
        let mut sent = 0;
        if is_needed || part.size <= UNASKED || !open.remote.has(&path)? {
            let object = store.object_path(part.hash);
            let failed = |source| ShareError::Io { path: object.clone(), source };
            let mut content = Packing::of(File::open(&object).map_err(failed)?).map_err(failed)?;
            let packed = open.passing();
            let file = if content.is_packed() {
                let mut file = File::create_new(&packed.0).map_err(packed.error())?;
                sent = io::copy(&mut content, &mut file).map_err(packed.error())?;
                &packed.0
            } else {
                sent = part.size;
                &object
            };
            open.remote.write(&path, file)?;
        }
        let mut tally = self.tally();
        tally.sent.insert(part.hash);
        tally.damaged.remove(&path);
        tally.gone.remove(&path);
        Ok(sent)
    }
}

fn bits((name, output): (&String, &RecordedOutput)) -> (String, Hash, bool) {
    (name.clone(), output.hash, output.folder)
}

fn read_object(store: &Store, part: Part) -> Result<Vec<u8>, ShareError> {
    let path = store.object_path(part.hash);
    fs::read(&path).map_err(|source| ShareError::Io { path, source })
}
