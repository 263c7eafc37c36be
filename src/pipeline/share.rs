//! `share:` and `trust:`: where finished work is exchanged with others, and whose work counts.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document;
use super::error::Problems;
use super::positions::Place;

/// Requests in flight when `connections:` does not say how many.
const CONNECTIONS: u32 = 32;

/// The same over SSH: every connection is a process here and a log-in there, and servers refuse more than ten at once.
const SSH_CONNECTIONS: u32 = 6;

/// How long a request may take when `timeout:` does not say, in seconds.
const TIMEOUT: u64 = 20;

/// A share, as far as it is known without asking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Where it is.
    pub address: Address,
    /// The server of an S3-compatible, Google or Azure store, where it is not the usual one.
    pub endpoint: Option<String>,
    /// The region of a bucket.
    pub region: Option<String>,
    /// Whether everybody may read it.
    pub public: bool,
    /// Requests in flight at most.
    pub connections: u32,
    /// How long a request may take; one that moves much data gets more.
    pub timeout: Duration,
}

/// Where a share is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A folder.
    Folder(PathBuf),
    /// A bucket or container, and a path in it.
    Bucket(Cloud, String, String),
    /// The URL (http or https) of a folder on a WebDAV server.
    WebDav(String),
    /// A folder on an SSH server: `user@host:port`, as `ssh://` takes it, and the path.
    Ssh(String, String),
}

/// Whose bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cloud {
    /// Amazon S3, or a server that is compatible.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage.
    Azure,
}

/// Whose records count beside one's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Everybody's, signed or not.
    Any,
    /// Those signed with one of these ed25519 keys, by their owners' names.
    Keys(BTreeMap<String, [u8; 32]>),
}

/// As in pipeline.yaml.
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Folder(path) => path.display().fmt(f),
            Address::Bucket(cloud, bucket, prefix) => {
                let scheme = match cloud {
                    Cloud::S3 => "s3",
                    Cloud::Google => "gs",
                    Cloud::Azure => "az",
                };
                write!(f, "{scheme}://{bucket}{prefix}")
            }
            Address::WebDav(url) => f.write_str(url),
            Address::Ssh(host, path) => write!(f, "sftp://{host}{path}"),
        }
    }
}

impl Share {
    /// The share that a text means: a URL, or the path of a folder, relative to the project if it is relative.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str, root: &Path) -> Result<Share, String> {
        let address = address(text, root)?;
        let connections = if let Address::Ssh(..) = address { SSH_CONNECTIONS } else { CONNECTIONS };
        let timeout = Duration::from_secs(TIMEOUT);
        Ok(Share { address, endpoint: None, region: None, public: false, connections, timeout })
    }
}

fn address(text: &str, root: &Path) -> Result<Address, String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return match text {
            "" => Err("a share is a folder or a URL".to_owned()),
            _ => Ok(Address::Folder(root.join(text))),
        };
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, server) = host.split_once('@').unwrap_or(("", host));
    if user.contains(':') || !user.is_empty() && scheme != "sftp" {
        return Err("no user names or passwords here: pipeline.yaml is read by everybody; \
                    docs/SHARING.md says which variables hold them"
            .to_owned());
    }
    if server.is_empty() && scheme != "file" {
        return Err(format!("`{text}` names no server or bucket"));
    }
    if rest.contains(['?', '#']) || path.split('/').any(|part| part == "..") {
        // Not as it is: there may be a secret in it.
        return Err(format!("the share on {scheme}://{server}: its path has no `?`, `#` or `..`"));
    }
    let path = path.trim_end_matches('/').to_owned();
    let bucket = |cloud| Address::Bucket(cloud, host.to_owned(), path.clone());
    Ok(match scheme {
        "file" => Address::Folder(PathBuf::from(format!("/{host}{path}").replacen("//", "/", 1))),
        "s3" => bucket(Cloud::S3),
        "gs" | "gcs" => bucket(Cloud::Google),
        "az" | "azblob" => bucket(Cloud::Azure),
        "dav" | "webdav" => Address::WebDav(format!("http://{host}{path}")),
        "davs" | "webdavs" => Address::WebDav(format!("https://{host}{path}")),
        "sftp" => Address::Ssh(host.to_owned(), if path.is_empty() { "/".to_owned() } else { path }),
        _ => {
            return Err(format!(
                "no share is reached by {scheme}://; there are s3, gs, az, dav, davs, sftp, and folders"
            ));
        }
    })
}

/// Checks `share:`.
pub(super) fn check(given: &document::Share, root: &Path, problems: &mut Problems) -> Option<Share> {
    let place = Place::of(&["share"]);
    let (text, place) = match given {
        document::Share::Url(url) => (url, place),
        document::Share::Full(options) => (&options.url, place.key("url")),
    };
    let mut share = Share::parse(text, root).map_err(|error| problems.value(&place, error)).ok()?;
    if let document::Share::Full(options) = given {
        let document::ShareOptions { endpoint, region, connections, timeout, public, .. } = options;
        if endpoint.as_ref().is_some_and(|endpoint| endpoint.contains('@')) {
            problems.value(&Place::of(&["share", "endpoint"]), "no user names or passwords here");
        }
        share.endpoint.clone_from(endpoint);
        share.region.clone_from(region);
        share.public = *public;
        if let Some(connections) = connections {
            share.connections = *connections;
        }
        if let Some(timeout) = timeout {
            share.timeout = Duration::from_secs((*timeout).into());
        }
    }
    Some(share)
}

/// Checks `trust:`.
pub(super) fn trust(given: Option<&document::Trust>, problems: &mut Problems) -> Trust {
    let place = Place::of(&["trust"]);
    let mut keys = BTreeMap::new();
    match given {
        None => {}
        Some(document::Trust::Word(word)) if word == "any" => return Trust::Any,
        Some(document::Trust::Word(word)) => {
            problems.value(
                &place,
                format!("`{word}`: trust is `any`, or names with their keys (`ada: ed25519:..`)"),
            );
        }
        Some(document::Trust::Keys(given)) => {
            for (name, key) in given {
                match public_key(key) {
                    Some(key) => drop(keys.insert(name.clone(), key)),
                    None => problems.value(
                        &place.key(name),
                        format!("`{key}` is no public key; `ribbon key show` prints {name}'s, as ed25519:.."),
                    ),
                }
            }
        }
    }
    Trust::Keys(keys)
}

/// `ed25519:` and 64 hexadecimal digits.
fn public_key(text: &str) -> Option<[u8; 32]> {
    blake3::Hash::from_hex(text.strip_prefix("ed25519:")?).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<String, String> {
        Share::parse(text, Path::new("/project")).map(|share| share.to_string())
    }

    #[test]
    fn a_share_is_a_folder_or_a_url() {
        assert_eq!(parsed("../lab").unwrap(), "/project/../lab");
        assert_eq!(parsed("file:///mnt/lab/").unwrap(), "/mnt/lab");
        assert_eq!(parsed("s3://bucket/paper").unwrap(), "s3://bucket/paper");
        assert_eq!(parsed("gcs://bucket").unwrap(), "gs://bucket");
        assert_eq!(parsed("davs://host:8443/dav/").unwrap(), "https://host:8443/dav");
        assert_eq!(parsed("sftp://ada@host:22/srv/ribbon").unwrap(), "sftp://ada@host:22/srv/ribbon");
    }

    #[test]
    fn secrets_and_unknown_schemes_are_refused() {
        assert!(parsed("davs://ada:secret@host/dav").unwrap_err().contains("no user names or passwords"));
        assert!(parsed("s3://key@bucket").unwrap_err().contains("no user names or passwords"));
        assert!(parsed("ftp://host/x").unwrap_err().contains("there are s3, gs"));
        assert!(parsed("s3:///paper").unwrap_err().contains("names no server"));
        assert!(parsed("s3://bucket/../other").unwrap_err().contains("`..`"));
        assert!(parsed("").is_err());
    }
}
