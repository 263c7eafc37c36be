//! The entries of the index, as bytes: format 1. Entries of another format must not be taken for these: they need another
//! seal.
//!
//! Length of the body (u16, little-endian), body, the first 8 bytes of the body's hash. Bodies: `R` key, then per output
//! kind (`f` file, `d` folder), hash, size (u64): a record; `D` key: the record does not count any more; `B` 16 bytes:
//! the machine and its boot under which the entries that follow were written; `S` offset (u64): every byte before that
//! offset, and the objects its records name, are on disk.

use std::fs;
use std::io;

use super::index::{Artifact, Artifacts};
use super::locks::{machine, random};
use crate::hash::{Hash, Key};
use crate::pipeline::Kind;

/// No entry is longer.
pub const LONGEST: usize = u16::MAX as usize + AROUND;

/// The bytes around a body: its length and its hash.
const AROUND: usize = 2 + 8;

/// The bytes of an artifact.
const ARTIFACT: usize = 1 + 32 + 8;

/// An entry.
#[derive(Debug)]
pub enum Entry {
    /// A key's artifacts.
    Record(Key, Artifacts),
    /// A key whose artifacts do not count any more.
    Dropped(Key),
    /// Under which boot the following entries were written.
    Boot(Boot),
    /// What is on disk.
    Synced(u64),
}

/// A boot of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boot {
    /// Which machine.
    pub machine: [u8; 8],
    /// Which of its boots.
    pub boot: [u8; 8],
}

impl Entry {
    /// The entry that some bytes begin with, and its length; none when they begin with none, or not with all of it.
    pub fn read(bytes: &[u8]) -> Option<(Entry, usize)> {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let length = u16::from_le_bytes(*length) as usize;
        let (body, rest) = rest.split_at_checked(length)?;
        // First what costs little: damaged stretches are searched for entries byte by byte.
        let entry = Entry::of_body(body)?;
        (rest.get(..8)? == &Hash::of(body).0[..8]).then_some((entry, length + AROUND))
    }

    /// Its bytes.
    ///
    /// # Errors
    /// When there are more outputs than an entry holds.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        let body = self.body();
        let length = u16::try_from(body.len())
            .map_err(|_| io::Error::other("a job has more outputs than an index entry holds"))?;
        let mut bytes = Vec::with_capacity(body.len() + AROUND);
        bytes.extend(length.to_le_bytes());
        bytes.extend(&body);
        bytes.extend(&Hash::of(&body).0[..8]);
        Ok(bytes)
    }

    fn body(&self) -> Vec<u8> {
        match self {
            Entry::Record(key, artifacts) => {
                let mut body = vec![b'R'];
                body.extend(key.0.0);
                for artifact in artifacts {
                    body.push(if artifact.kind == Kind::File { b'f' } else { b'd' });
                    body.extend(artifact.hash.0);
                    body.extend(artifact.size.to_le_bytes());
                }
                body
            }
            Entry::Dropped(key) => [b"D", &key.0.0[..]].concat(),
            Entry::Boot(Boot { machine, boot }) => [b"B", &machine[..], boot].concat(),
            Entry::Synced(end) => [b"S", &end.to_le_bytes()[..]].concat(),
        }
    }

    fn of_body(body: &[u8]) -> Option<Entry> {
        let (tag, body) = body.split_first()?;
        Some(match tag {
            b'R' => {
                let (key, artifacts) = body.split_first_chunk::<32>()?;
                let (artifacts, rest) = artifacts.as_chunks::<ARTIFACT>();
                if !rest.is_empty() {
                    return None;
                }
                Entry::Record(Key(Hash(*key)), artifacts.iter().map(artifact).collect())
            }
            b'D' => Entry::Dropped(Key(Hash(body.try_into().ok()?))),
            b'B' => {
                let (machine, boot) = body.split_first_chunk::<8>()?;
                Entry::Boot(Boot { machine: *machine, boot: boot.try_into().ok()? })
            }
            b'S' => Entry::Synced(u64::from_le_bytes(body.try_into().ok()?)),
            _ => return None,
        })
    }
}

fn artifact(bytes: &[u8; ARTIFACT]) -> Artifact {
    let kind = if bytes[0] == b'f' { Kind::File } else { Kind::Folder };
    let hash = Hash(bytes[1..33].try_into().expect("32 bytes"));
    Artifact { kind, hash, size: u64::from_le_bytes(bytes[33..].try_into().expect("8 bytes")) }
}

impl Boot {
    /// The one this process runs under; where the system does not say, every process counts as a machine of its own. So do
    /// machines of one id and different names: images of containers and of virtual machines come with the id in them.
    pub fn current() -> Boot {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        Boot::of(&read("/etc/machine-id"), &machine(), &read("/proc/sys/kernel/random/boot_id"))
    }

    fn of(id: &str, name: &str, boot: &str) -> Boot {
        let part = |text: &str| Hash::of(text.as_bytes()).0[..8].try_into().expect("eight bytes of a hash");
        let machine = match id.is_empty() || boot.is_empty() {
            true => random().to_le_bytes(),
            false => part(&format!("{id}\n{name}")),
        };
        Boot { machine, boot: part(boot) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_that_cannot_be_told_apart_are_not_taken_for_one() {
        let machine = |id, name| Boot::of(id, name, "a boot").machine;
        assert_eq!(machine("id", "node"), machine("id", "node"));
        assert_ne!(machine("id", "node"), machine("id", "other"));
        assert_ne!(machine("", "node"), machine("", "node"), "an image without an id");
        assert_ne!(Boot::of("id", "node", "").machine, Boot::of("id", "node", "").machine);
    }
}
