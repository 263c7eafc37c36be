//! Signatures: whose a record is. One ed25519 key a person, in the user's configuration folder.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::hash::{Hash, Key};

/// First line of the key's file; the number is the format.
const HEADER: &str = "ribbon secret key 1";

/// What is signed begins with this, so that no signature made for something else counts.
const DOMAIN: &[u8] = b"hyperribbon record 1\0";

/// A public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

/// One's own key: what signs.
pub struct OwnKey(SigningKey);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Nobody knows where it would be.
    #[error("no place for a key: neither RIBBON_KEY, XDG_CONFIG_HOME nor HOME is set")]
    NoPlace,
    /// It cannot be read or written.
    #[error("key {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is one already.
    #[error(
        "there is a key already: {0}; what others trust is this one. To make another, move it away first"
    )]
    Exists(PathBuf),
    /// Others may read it.
    #[error("key {0} can be read by others, so that it proves nothing: chmod 600 it, or make a new one")]
    Open(PathBuf),
    /// The file is something else.
    #[error("{0} is no key of ribbon")]
    Damaged(PathBuf),
}

/// As `trust:` takes it.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519:{}", Hash(self.0))
    }
}

impl PublicKey {
    /// Whether it has signed a key's record.
    pub fn signed(&self, key: Key, record: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|public| {
            public.verify_strict(&message(key, record), &Signature::from_bytes(signature)).is_ok()
        })
    }
}

impl OwnKey {
    /// Where one's key is: `RIBBON_KEY`, or in the user's configuration folder.
    ///
    /// # Errors
    /// When no variable says where that is.
    pub fn path() -> Result<PathBuf, KeyError> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        set("RIBBON_KEY")
            .or_else(|| {
                let folder = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
                Some(folder?.join("hyperribbon/key"))
            })
            .ok_or(KeyError::NoPlace)
    }

    /// Makes a key, which nobody else can read.
    ///
    /// # Errors
    /// When there is one already, or it cannot be written.
    pub fn create(path: &Path) -> Result<OwnKey, KeyError> {
        let mut seed = [0; 32];
        let failed = |source| KeyError::Io { path: path.to_owned(), source };
        getrandom::fill(&mut seed).map_err(|error| failed(io::Error::other(error.to_string())))?;
        let write = || {
            crate::store::make_parent(path)?;
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(format!("{HEADER}\n{}\n", Hash(seed)).as_bytes())?;
            file.sync_all()
        };
        match write() {
            Ok(()) => Ok(OwnKey(SigningKey::from_bytes(&seed))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(KeyError::Exists(path.to_owned()))
            }
            Err(source) => Err(failed(source)),
        }
    }

    /// Reads a key; none when there is no file.
    ///
    /// # Errors
    /// When it cannot be read, others can read it, or it is something else.
    pub fn load(path: &Path) -> Result<Option<OwnKey>, KeyError> {
        let failed = |source| KeyError::Io { path: path.to_owned(), source };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed(source)),
        };
        if fs::metadata(path).map_err(failed)?.mode() & 0o077 != 0 {
            return Err(KeyError::Open(path.to_owned()));
        }
        let seed = text
            .strip_prefix(HEADER)
            .and_then(|rest| rest.trim().parse::<Hash>().ok())
            .ok_or_else(|| KeyError::Damaged(path.to_owned()))?;
        Ok(Some(OwnKey(SigningKey::from_bytes(&seed.0))))
    }

    /// What others put into `trust:`.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs a key's record.
    pub fn sign(&self, key: Key, record: &[u8]) -> [u8; 64] {
        self.0.sign(&message(key, record)).to_bytes()
    }
}

/// Never the secret.
impl fmt::Debug for OwnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnKey({})", self.public())
    }
}

fn message(key: Key, record: &[u8]) -> Vec<u8> {
    [DOMAIN, &key.0.0, record].concat()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn key(n: u8) -> Key {
        Key(Hash([n; 32]))
    }

    #[test]
    fn a_signature_counts_for_its_record_its_key_and_its_signer() {
        let folder = tempfile::tempdir().unwrap();
        let ada = OwnKey::create(&folder.path().join("ada")).unwrap();
        let bob = OwnKey::create(&folder.path().join("bob")).unwrap();
        let signature = ada.sign(key(1), b"record");
        assert!(ada.public().signed(key(1), b"record", &signature));
        assert!(!ada.public().signed(key(2), b"record", &signature));
        assert!(!ada.public().signed(key(1), b"recorD", &signature));
        assert!(!bob.public().signed(key(1), b"record", &signature));
        assert!(!PublicKey([0xff; 32]).signed(key(1), b"record", &signature));
    }

    #[test]
    fn a_key_is_its_owners_alone_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config/key");
        assert!(OwnKey::load(&path).unwrap().is_none());
        let made = OwnKey::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(OwnKey::load(&path).unwrap().unwrap().public(), made.public());
        assert!(matches!(OwnKey::create(&path), Err(KeyError::Exists(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(OwnKey::load(&path), Err(KeyError::Open(_))));
        fs::write(&path, "ribbon secret key 1\ncafe\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(OwnKey::load(&path), Err(KeyError::Damaged(_))));
        assert!(!format!("{made:?}").contains(&Hash(made.0.to_bytes()).to_string()), "no secret in logs");
    }
}
