//! What reads bytes that others wrote, for any bytes: it gives an error or a value, and never breaks.
//!
//! The targets in `fuzz/` call these; the tests below do so with right inputs that were mutated, in seconds.

use std::collections::BTreeMap;
use std::fs;

use tempfile::TempDir;

use crate::graph::Graph;
use crate::hash::{Hash, Key};
use crate::lockfile::{self, Line, Lock};
use crate::pipeline::Pipeline;
use crate::store::Store;

fn folder() -> TempDir {
    tempfile::tempdir().expect("there is a place for temporary folders")
}

/// A pipeline.yaml: checked, and unrolled.
pub fn pipeline(text: &[u8]) {
    let folder = folder();
    let path = folder.path().join("pipeline.yaml");
    fs::write(&path, text).expect("the folder is ours");
    match Pipeline::load(&path, None, &[]) {
        Ok(pipeline) => drop(Graph::unroll(&pipeline)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// What a stage prints.
pub fn events(text: &[u8]) {
    for line in String::from_utf8_lossy(text).lines() {
        crate::run::read_event(line);
    }
}

/// A record.
pub fn record(text: &[u8]) {
    let folder = folder();
    let store = Store::open(folder.path()).expect("an empty store opens");
    let key = Key(Hash([7; 32]));
    crate::store::write_record(folder.path(), key, text).expect("the folder is ours");
    if let Some(record) = store.record(key) {
        let again = serde_json::to_vec(&record).expect("a record can be written");
        crate::store::write_record(folder.path(), key, &again).expect("the folder is ours");
        assert_eq!(format!("{:?}", store.record(key)), format!("{:?}", Some(record)));
    }
}

/// A record as it lies on a share; whether it is one of the key that the right one has.
pub fn bundle(bytes: &[u8]) -> bool {
    let ingredients = [("code".to_owned(), "cafe".to_owned()), ("threads".to_owned(), "1".to_owned())];
    crate::share::check_bundle(crate::key::of(&ingredients), bytes)
}

/// The index of a store.
pub fn index(bytes: &[u8]) {
    let folder = folder();
    fs::write(folder.path().join("index"), bytes).expect("the folder is ours");
    drop(Store::open(folder.path()));
}

/// A pipeline.lock: what is read of it is what stands there after it was written again. Mending leaves nothing to mend.
pub fn lock(text: &[u8]) {
    let folder = folder();
    let path = folder.path().join("pipeline.lock");
    fs::write(&path, text).expect("the folder is ours");
    if lockfile::mend(&path).is_ok() {
        assert!(lockfile::all(&path).is_ok(), "all lines that are left are lines");
        assert_eq!(lockfile::damaged(&path).expect("it was read before"), []);
    }
    fs::write(&path, text).expect("the folder is ours");
    let Ok(mut first) = Lock::open(&path, "quick") else { return };
    let line = Line { key: Key(Hash([7; 32])), outputs: BTreeMap::new() };
    first.set("a job", line.clone());
    first.save().expect("the folder is ours");
    let written = fs::read(&path).expect("it was written");
    let mut second = Lock::open(&path, "quick").expect("what was written can be read");
    assert_eq!(second.get("a job"), Some(&line));
    second.set("a job", line);
    second.save().expect("the folder is ours");
    assert_eq!(fs::read(&path).expect("it was written"), written);
}

/// The listing of a folder.
pub fn listing(text: &[u8]) {
    crate::store::check_listing(&String::from_utf8_lossy(text));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Right inputs, one of each kind; the fuzz targets start from them as well.
    const PIPELINE: &[u8] = include_bytes!("../fuzz/seeds/pipeline/right.yaml");
    const EVENTS: &[u8] = include_bytes!("../fuzz/seeds/events/right.jsonl");
    const RECORD: &[u8] = include_bytes!("../fuzz/seeds/record/right.json");
    const BUNDLE: &[u8] = include_bytes!("../fuzz/seeds/bundle/right");
    const LOCK: &[u8] = include_bytes!("../fuzz/seeds/lock/right.lock");
    const INDEX: &[u8] = include_bytes!("../fuzz/seeds/index/right");
    const LISTING: &[u8] = include_bytes!("../fuzz/seeds/listing/right.txt");

    /// A change of some bytes: another in the place of some, a piece of it twice, or cut out.
    #[derive(Debug, Clone)]
    enum Change {
        Put(prop::sample::Index, u8),
        Repeat(prop::sample::Index, usize),
        Cut(prop::sample::Index, usize),
    }

    fn mutated(right: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
        let place = any::<prop::sample::Index>;
        // Bytes that mean something in one of the formats, and any.
        let byte = prop_oneof![prop::sample::select(&b"0127 \n:,[]{}\"'*&!|>$./%=#-"[..]), any::<u8>(),];
        let change = prop_oneof![
            (place(), byte).prop_map(|(place, byte)| Change::Put(place, byte)),
            (place(), 1..40usize).prop_map(|(place, length)| Change::Repeat(place, length)),
            (place(), 1..40usize).prop_map(|(place, length)| Change::Cut(place, length)),
        ];
        prop::collection::vec(change, 1..6).prop_map(move |changes| {
            changes.iter().fold(right.to_vec(), |mut bytes, change| {
                let (Change::Put(place, _) | Change::Repeat(place, _) | Change::Cut(place, _)) = change;
                let at = place.index(bytes.len() + 1);
                let piece = |length: usize| at..(at + length).min(bytes.len());
                match change {
                    Change::Put(_, byte) => drop(bytes.splice(piece(1), [*byte])),
                    Change::Repeat(_, length) => {
                        let piece = bytes[piece(*length)].to_vec();
                        drop(bytes.splice(at..at, piece));
                    }
                    Change::Cut(_, length) => drop(bytes.drain(piece(*length))),
                }
                bytes
            })
        })
    }

    #[test]
    fn the_right_inputs_are_right() {
        let folder = folder();
        let path = folder.path().join("pipeline.yaml");
        fs::write(&path, PIPELINE).unwrap();
        let pipeline = Pipeline::load(&path, None, &[]).unwrap_or_else(|error| panic!("{error}"));
        assert!(Graph::unroll(&pipeline).unwrap().jobs.len() > 10);
        for line in std::str::from_utf8(EVENTS).unwrap().lines() {
            assert!(crate::run::read_event(line).is_some(), "{line}");
        }
        let key = Key(Hash([7; 32]));
        crate::store::write_record(folder.path(), key, RECORD).unwrap();
        assert!(Store::open(folder.path()).unwrap().record(key).is_some());
        assert!(bundle(BUNDLE));
        let path = folder.path().join("pipeline.lock");
        fs::write(&path, LOCK).unwrap();
        assert!(Lock::open(&path, "quick").unwrap().get("train[arch=my net,seed=42]").is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_pipeline_breaks_it(text in mutated(PIPELINE)) {
            pipeline(&text);
        }

        #[test]
        fn no_event_breaks_it(text in mutated(EVENTS)) {
            events(&text);
        }

        #[test]
        fn no_record_breaks_it(text in mutated(RECORD)) {
            record(&text);
        }

        #[test]
        fn no_bundle_breaks_it(text in mutated(BUNDLE)) {
            bundle(&text);
        }

        #[test]
        fn no_lock_breaks_it(text in mutated(LOCK)) {
            lock(&text);
        }

        #[test]
        fn no_listing_breaks_it(text in mutated(LISTING)) {
            listing(&text);
        }

        #[test]
        fn no_index_breaks_it(bytes in mutated(INDEX)) {
            index(&bytes);
        }
    }
}
