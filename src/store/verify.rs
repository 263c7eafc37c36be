//! Verification: everything in a store is read again, and what is damaged is dropped.
//!
//! An object is what its name says. Records and lists of code have seals, and a record is that of the key that its
//! ingredients hash to. The index is made of whole entries; a record that it has lost comes back when all that the record
//! names is here and sound.

use std::fs;
use std::io;
use std::path::Path;

use super::index::Artifact;
use super::memo::hash_file;
use super::record::Record;
use super::{Store, StoreError, io_error};
use crate::hash::{Hash, Key};
use crate::seal::unseal;

/// What reading everything has shown.
#[derive(Debug, Default)]
pub struct Verified {
    /// How many objects there are, the dropped ones among them.
    pub objects: usize,
    /// Their size.
    pub bytes: u64,
    /// Objects that were dropped because their content is not what their name says.
    pub dropped: Vec<Hash>,
    /// Keys whose records were dropped because they are not what was written. What the keys made still counts.
    pub records: Vec<Key>,
    /// Code hashes of which the same is true for what they are made of.
    pub code: Vec<Hash>,
    /// Bytes of the index that were no entries, and are gone now.
    pub index_bytes: u64,
    /// Jobs that the index had lost and has again.
    pub restored: Vec<String>,
}

impl Verified {
    /// How many things were damaged.
    pub fn damaged(&self) -> usize {
        self.dropped.len() + self.records.len() + self.code.len() + usize::from(self.index_bytes > 0)
    }
}

/// What is in a file; none if a collection, or a run, has taken it away.
fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => text.map(Some).map_err(io_error("read", path)),
    }
}

impl Store {
    /// Reads everything, and drops what is damaged: the next run that needs it makes it again.
    ///
    /// # Errors
    /// When something cannot be read; it stays, for nothing is known of it.
    pub fn verify(&self) -> Result<Verified, StoreError> {
        let mut verified = Verified::default();
        self.refresh()?;
        for (hash, path) in self.objects.all()? {
            let Some(hash) = hash else { continue };
            let found = fs::metadata(&path).and_then(|it| Ok((it.len(), hash_file(&path, it.len())?)));
            let (size, found) = match found {
                Ok(found) => found,
                // A collection, or a run that no longer needs it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(io_error("read", &path)(error)),
            };
            verified.objects += 1;
            verified.bytes += size;
            if found != hash && self.drop_damaged(hash, &path)? {
                verified.dropped.push(hash);
            }
        }
        for (key, path) in self.section("records")? {
            let Some(key) = key.map(Key) else { continue };
            match self.sound_record(key, &path)? {
                Some(record) => self.restore(record, &mut verified)?,
                None => {
                    // A run may have written it anew meanwhile.
                    let _alone = self.hold_alone()?;
                    self.refresh()?;
                    if path.exists() && self.sound_record(key, &path)?.is_none() {
                        fs::remove_file(&path).map_err(io_error("remove", &path))?;
                        verified.records.push(key);
                    }
                }
            }
        }
        for (code, path) in self.section("code")? {
            let is_damaged = || read(&path).map(|text| text.is_some_and(|text| unseal(&text).is_none()));
            let Some(code) = code else { continue };
            if !is_damaged()? {
                continue;
            }
            // A run may have written it anew meanwhile.
            let _alone = self.hold_alone()?;
            if is_damaged()? {
                fs::remove_file(&path).map_err(io_error("remove", &path))?;
                verified.code.push(code);
            }
        }
        verified.index_bytes = self.index().damaged();
        if verified.index_bytes > 0 {
            let path = self.root.join("index");
            self.index().rewrite(|_| true).map_err(io_error("rewrite", &path))?;
        }
        Ok(verified)
    }

    /// The outputs, as `train[seed=42].checkpoints`, of which this object is a part, as records tell.
    pub fn outputs_with(&self, object: Hash) -> Vec<String> {
        let makers = self.makers(object);
        let outputs = |record: Record| {
            let artifacts = record.outputs.keys().zip(record.artifacts());
            let parts = artifacts.filter(|(_, artifact)| self.objects.parts(artifact).contains(&object));
            parts.map(|(name, _)| format!("{}.{name}", record.job)).collect::<Vec<_>>()
        };
        makers.into_iter().filter_map(|key| self.record(key)).flat_map(outputs).collect()
    }

    /// The artifacts of which this object is a part, each with a key that has made it.
    pub fn artifacts_with(&self, object: Hash) -> Vec<(Key, Artifact)> {
        let of_key = |key| {
            let all = self.artifacts(key).unwrap_or_default();
            let with = all.into_iter().filter(|artifact| self.objects.parts(artifact).contains(&object));
            with.map(|artifact| (key, artifact)).collect::<Vec<_>>()
        };
        self.makers(object).into_iter().flat_map(of_key).collect()
    }

    fn makers(&self, object: Hash) -> Vec<Key> {
        self.index().makers(object, |artifact| self.objects.parts(artifact))
    }

    /// Drops an object that is not what its name says, unless a run has made it again meanwhile. Whether it was dropped.
    fn drop_damaged(&self, hash: Hash, path: &Path) -> Result<bool, StoreError> {
        let _alone = self.hold_alone()?;
        let found = fs::metadata(path).and_then(|it| hash_file(path, it.len()));
        match found {
            Ok(found) if found == hash => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            _ => fs::remove_file(path).map(|()| true).map_err(io_error("remove", path)),
        }
    }

    /// A record that is of its key, and says of it what the index says.
    fn sound_record(&self, key: Key, path: &Path) -> Result<Option<Record>, StoreError> {
        let Some(text) = read(path)? else { return Ok(None) };
        let is_sound = |record: &Record| {
            let indexed = self.artifacts(key);
            record.is_of(key) && indexed.is_none_or(|artifacts| artifacts == record.artifacts())
        };
        let record = unseal(&text).and_then(|text| serde_json::from_slice(text).ok());
        Ok(record.filter(is_sound))
    }

    /// Tells the index of a record it does not have.
    fn restore(&self, record: Record, verified: &mut Verified) -> Result<(), StoreError> {
        let is_lost = || self.artifacts(record.key).is_none();
        if !is_lost() {
            return Ok(());
        }
        // What is here now stays until the index tells of it; and a run may have told it meanwhile.
        let _hold = self.hold()?;
        self.refresh()?;
        let artifacts = record.artifacts();
        let is_here = |hash: &Hash| self.objects.path(*hash).exists();
        let mut parts = artifacts.iter().flat_map(|artifact| self.objects.parts(artifact));
        // The content of an intermediate is not here when all is well.
        let is_whole = record.intermediate || parts.all(|part| is_here(&part));
        if is_whole && is_lost() {
            let path = self.root.join("index");
            self.index().insert(record.key, artifacts).map_err(io_error("write", &path))?;
            verified.restored.push(record.job);
        }
        Ok(())
    }
}
