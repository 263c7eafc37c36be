//! A record as it lies on a share: signed, with the job's small outputs in it, so that a small job is one request.
//!
//! Format 1: 8 bytes of magic; the signer's public key and signature (zeros where nobody signed); then, packed
//! ([`super::pack`]), the record (JSON) and the small objects, each after its length (u32, little-endian).

use std::collections::HashMap;
use std::io::Read;

use super::pack::{Packing, unpack};
use super::signature::{OwnKey, PublicKey};
use crate::hash::{Hash, Key};
use crate::store::Record;

const MAGIC: &[u8; 8] = b"ribshar1";
const HEAD: usize = 8 + 32 + 64;

/// Objects up to this many bytes travel in their job's record.
pub const SMALL: u64 = 32 << 10;

/// Bytes of small objects that a record takes; what does not fit lies beside it.
pub const ROOM: u64 = 128 << 10;

/// Bytes that a bundle unpacks to at most: a record that lists a hundred thousand inputs.
const LIMIT: u64 = 16 << 20;

/// Bytes that a bundle has at most.
pub const PACKED_LIMIT: u64 = 8 << 20;

/// A record with who signed it and the small objects that came with it.
#[derive(Debug)]
pub struct Bundle {
    /// The record; it is of the key that was asked for, and its ingredients make that key.
    pub record: Record,
    /// Who signed it, if it is signed and the signature is right.
    pub signer: Option<PublicKey>,
    /// Small objects by the hash of what they are.
    pub objects: HashMap<Hash, Vec<u8>>,
}

/// What lies under a key's name is no record of that key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRecord;

/// The bytes of a record on a share.
///
/// # Errors
/// When a part is too large to be told, 4 GiB.
pub fn encode(record: &Record, own: Option<&OwnKey>, objects: &[Vec<u8>]) -> std::io::Result<Vec<u8>> {
    let json = serde_json::to_vec(record)?;
    let mut bytes = MAGIC.to_vec();
    match own {
        Some(own) => {
            bytes.extend(own.public().0);
            bytes.extend(own.sign(record.key, &json));
        }
        None => bytes.resize(HEAD, 0),
    }
    let mut body = Vec::new();
    for part in std::iter::once(&json).chain(objects) {
        let length = u32::try_from(part.len()).map_err(|_| std::io::Error::other("a record of 4 GiB"))?;
        body.extend(length.to_le_bytes());
        body.extend(part);
    }
    Packing::of(&body[..])?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads what lies under a key's name. Nothing in it is believed before it is checked.
///
/// # Errors
/// When it is anything but a whole record of this key.
pub fn decode(key: Key, bytes: &[u8]) -> Result<Bundle, NoRecord> {
    let (head, body) = bytes.split_at_checked(HEAD).ok_or(NoRecord)?;
    let (magic, head) = head.split_first_chunk::<8>().ok_or(NoRecord)?;
    let (signer, signature) = head.split_first_chunk::<32>().ok_or(NoRecord)?;
    let signature: &[u8; 64] = signature.try_into().map_err(|_| NoRecord)?;
    if magic != MAGIC {
        return Err(NoRecord);
    }
    let mut unpacked = Vec::new();
    unpack(body, LIMIT, &mut unpacked).map_err(|_| NoRecord)?;
    let mut rest = &unpacked[..];
    let json = next(&mut rest).ok_or(NoRecord)?;
    let record: Record = serde_json::from_slice(json).map_err(|_| NoRecord)?;
    if !record.is_of(key) {
        return Err(NoRecord);
    }
    let signer = PublicKey(*signer);
    let signer = signer.signed(key, json, signature).then_some(signer);
    let mut objects = HashMap::new();
    while !rest.is_empty() {
        let object = next(&mut rest).ok_or(NoRecord)?;
        objects.insert(Hash::of(object), object.to_vec());
    }
    Ok(Bundle { record, signer, objects })
}

/// What is read of a record on a share is of the key that was asked for, and the same when it was written again; whether
/// there was one.
#[cfg(any(test, fuzzing))]
pub fn check(key: Key, bytes: &[u8]) -> bool {
    let Ok(first) = decode(key, bytes) else { return false };
    let objects: Vec<Vec<u8>> = first.objects.values().cloned().collect();
    let written = encode(&first.record, None, &objects).expect("its parts are small");
    let second = decode(key, &written).expect("what was written can be read");
    assert_eq!(format!("{:?}", second.record), format!("{:?}", first.record));
    assert_eq!((second.objects, second.record.key), (first.objects, key));
    true
}

fn next<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (part, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = after;
    Some(part)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::key;
    use crate::store::{Machine, RecordedOutput};

    fn record() -> Record {
        let ingredients =
            vec![("code".to_owned(), "cafe".to_owned()), ("threads".to_owned(), "1".to_owned())];
        Record {
            version: Record::VERSION,
            key: key::of(&ingredients),
            job: "train[seed=1]".to_owned(),
            stage: "train".to_owned(),
            labels: BTreeMap::from([("seed".to_owned(), "1".to_owned())]),
            ingredients,
            outputs: BTreeMap::from([(
                "weights".to_owned(),
                RecordedOutput { hash: Hash::of(b"weights"), size: 7, folder: false },
            )]),
            intermediate: false,
            ended: 1,
            seconds: 2.0,
            machine: Machine {
                device: "cpu".into(),
                processor: "".into(),
                features: vec![],
                system: "".into(),
                cards: vec![],
            },
            accepted: None,
        }
    }

    fn own() -> OwnKey {
        let folder = tempfile::tempdir().unwrap();
        OwnKey::create(&folder.path().join("key")).unwrap()
    }

    #[test]
    fn a_record_comes_back_with_its_signer_and_its_objects() {
        let (record, own) = (record(), own());
        let objects = [b"weights".to_vec(), b"log".to_vec()];
        let bundle = decode(record.key, &encode(&record, Some(&own), &objects).unwrap()).unwrap();
        assert_eq!(bundle.signer, Some(own.public()));
        assert_eq!(bundle.record.outputs["weights"].hash, Hash::of(b"weights"));
        assert_eq!(bundle.objects[&Hash::of(b"weights")], b"weights");
        assert_eq!(bundle.objects.len(), 2);
        assert_eq!(decode(record.key, &encode(&record, None, &[]).unwrap()).unwrap().signer, None);
    }

    #[test]
    fn any_changed_bit_leaves_no_record_or_no_signer() {
        let (record, own) = (record(), own());
        let good = encode(&record, Some(&own), &[b"weights".to_vec()]).unwrap();
        for byte in 0..good.len() {
            let mut bad = good.clone();
            bad[byte] ^= 0x10;
            if let Ok(bundle) = decode(record.key, &bad) {
                let weights = bundle.record.outputs.get("weights");
                let harmless = weights.is_some_and(|weights| weights.hash == Hash::of(b"weights"));
                assert!(bundle.signer.is_none() || harmless, "byte {byte}");
            }
        }
        for length in 0..good.len() {
            assert!(decode(record.key, &good[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_record_of_another_key_is_none() {
        let mut record = record();
        let other = key::of(&[]);
        assert!(decode(other, &encode(&record, None, &[]).unwrap()).is_err());
        record.key = other;
        let lies = encode(&record, Some(&own()), &[]).unwrap();
        assert!(decode(other, &lies).is_err(), "its ingredients do not make its key");
    }
}
