//! Where a share's files are: a folder, or a server that `ribbon-remote` reaches for this process. Content goes through
//! local files; calls wait, and come from any thread.
//!
//! What speaks to servers is a program of its own (`remote/`): it is larger than all of the runner, its dependencies
//! change often, and neither the runner's build nor the keys of stages should follow them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::libc;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::pipeline::{Address, Cloud, Share};
use crate::store::Access;

/// The program that reaches servers.
const PROGRAM: &str = "ribbon-remote";

/// Why a share is of no use.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The program that reaches servers is not there.
    #[error(
        "{place} needs {PROGRAM}, which is neither beside ribbon nor in PATH: \
         `make share` in ribbon's repository builds it"
    )]
    NoProgram {
        /// The share.
        place: String,
    },
    /// A request failed.
    #[error("{place}: cannot {what} {path}: {why}")]
    Request {
        /// The share.
        place: String,
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: String,
        /// Why not.
        why: String,
    },
}

/// What came of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// The local file is there now.
    Done,
    /// There is no such file.
    Absent,
    /// It is larger than it should be; there may be a local file.
    Large,
}

/// A share's files.
#[derive(Debug)]
pub struct Remote {
    /// The share's name, without secrets.
    place: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Folder(PathBuf, Access),
    Server(Server),
}

/// `ribbon-remote`, running. Ends with this.
#[derive(Debug)]
struct Server {
    child: Mutex<Child>,
    requests: Mutex<(u64, Option<ChildStdin>)>,
    /// Who waits for the answers to which requests; none when there are no more answers.
    waiting: Waiting,
}

type Waiting = Arc<Mutex<Option<HashMap<u64, Sender<Answer>>>>>;

#[derive(Debug, Deserialize)]
struct Answer {
    id: u64,
    done: Option<bool>,
    #[serde(default)]
    large: bool,
    names: Option<Vec<String>>,
    error: Option<String>,
}

impl Remote {
    /// Gets ready to reach a share.
    ///
    /// # Errors
    /// When the program for it is not there or does not start.
    pub fn open(share: &Share) -> Result<Remote, RemoteError> {
        let place = share.to_string();
        let kind = match &share.address {
            // A folder of a group has what its members may all write.
            Address::Folder(path) => Kind::Folder(path.clone(), Access::of(path).unwrap_or_default()),
            _ => Kind::Server(Server::start(share)?),
        };
        Ok(Remote { place, kind })
    }

    /// Ends all requests to a server, now and from now on.
    pub fn stop(&self) {
        if let Kind::Server(server) = &self.kind {
            let _ = lock(&server.child).kill();
        }
    }

    /// Whether a file is there.
    ///
    /// # Errors
    /// When the share does not work.
    pub fn has(&self, path: &str) -> Result<bool, RemoteError> {
        let found = match &self.kind {
            Kind::Folder(folder, _) => present(fs::metadata(folder.join(path)).map(drop)),
            Kind::Server(server) => server.ask(json!({"do": "has", "path": path})).map(Answer::read),
        };
        found.map(|read| read == Read::Done).map_err(|why| self.failed("look for", path, why))
    }

    /// The names of the files in a folder, `a/b`; none when they are more than `limit`.
    ///
    /// # Errors
    /// When the share does not work.
    pub fn list(&self, path: &str, limit: usize) -> Result<Option<Vec<String>>, RemoteError> {
        let names = match &self.kind {
            Kind::Folder(folder, _) => list_local(&folder.join(path), limit),
            Kind::Server(server) => server
                .ask(json!({"do": "list", "path": format!("{path}/"), "limit": limit}))
                .map(|answer| answer.names),
        };
        names.map_err(|why| self.failed("list", path, why))
    }

    /// Copies a file to a new local one, unless it has more than `limit` bytes.
    ///
    /// # Errors
    /// When the share does not work.
    pub fn read(&self, path: &str, to: &Path, limit: u64) -> Result<Read, RemoteError> {
        let read = match &self.kind {
            Kind::Folder(folder, _) => read_local(&folder.join(path), to, limit),
            Kind::Server(server) => {
                server.ask(json!({"do": "read", "path": path, "file": to, "limit": limit})).map(Answer::read)
            }
        };
        read.map_err(|why| self.failed("read", path, why))
    }

    /// Writes a local file there, whole or not at all; what was there goes. Objects are there to stay when this returns, so
    /// that a power loss leaves no record of one that is not.
    ///
    /// # Errors
    /// When the share does not work.
    pub fn write(&self, path: &str, from: &Path) -> Result<(), RemoteError> {
        let written = match &self.kind {
            Kind::Folder(folder, access) => {
                let sync = path.starts_with("objects/");
                write_local(&folder.join(path), from, *access, sync).map_err(|error| error.to_string())
            }
            Kind::Server(server) => {
                server.ask(json!({"do": "write", "path": path, "file": from})).map(|_| ())
            }
        };
        written.map_err(|why| self.failed("write", path, why))
    }

    fn failed(&self, what: &'static str, path: &str, why: String) -> RemoteError {
        RemoteError::Request { place: self.place.clone(), what, path: path.to_owned(), why }
    }
}

impl Answer {
    fn read(self) -> Read {
        match self.done {
            _ if self.large => Read::Large,
            Some(true) => Read::Done,
            _ => Read::Absent,
        }
    }
}

impl Server {
    fn start(share: &Share) -> Result<Server, RemoteError> {
        let place = share.to_string();
        let started = |why: io::Error| match why.kind() {
            io::ErrorKind::NotFound => RemoteError::NoProgram { place: place.clone() },
            _ => RemoteError::Request {
                place: place.clone(),
                what: "start",
                path: PROGRAM.to_owned(),
                why: why.to_string(),
            },
        };
        let mut child =
            Command::new(program()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(started)?;
        let (mut requests, answers) = (child.stdin.take(), child.stdout.take());
        if let Some(requests) = &mut requests {
            writeln!(requests, "{}", setup(share)).map_err(started)?;
        }
        let waiting = Waiting::new(Mutex::new(Some(HashMap::new())));
        let told = waiting.clone();
        std::thread::spawn(move || {
            for line in answers.into_iter().flat_map(|answers| BufReader::new(answers).lines()) {
                let Ok(answer) = line.and_then(|line| Ok(serde_json::from_str::<Answer>(&line)?)) else {
                    break;
                };
                let asker = lock(&told).as_mut().and_then(|waiting| waiting.remove(&answer.id));
                // Nobody waits any more when the run has ended.
                asker.map(|asker| asker.send(answer));
            }
            // Whoever still waits learns that there is no answer.
            lock(&told).take();
        });
        Ok(Server { child: Mutex::new(child), requests: Mutex::new((0, requests)), waiting })
    }

    /// Sends a request and waits for its answer, which comes in time: the program sees to that.
    fn ask(&self, mut request: Value) -> Result<Answer, String> {
        let ended = || format!("{PROGRAM} has ended");
        let (tell, told) = channel();
        {
            let mut requests = lock(&self.requests);
            let (id, input) = &mut *requests;
            *id += 1;
            request["id"] = (*id).into();
            lock(&self.waiting).as_mut().ok_or_else(ended)?.insert(*id, tell);
            let line = format!("{request}\n");
            input.as_mut().ok_or_else(ended)?.write_all(line.as_bytes()).map_err(|_| ended())?;
        }
        let answer = told.recv().map_err(|_| ended())?;
        match answer.error {
            Some(error) => Err(error),
            None => Ok(answer),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Beside this program, or wherever PATH finds it.
fn program() -> PathBuf {
    let beside = std::env::current_exe().ok().map(|path| path.with_file_name(PROGRAM));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(PROGRAM))
}

/// The first line that `ribbon-remote` reads. Credentials come from where each service's own tools look for them; WebDAV
/// has no such place, so that variables of ours name them. The line goes through a pipe, and is never shown.
fn setup(share: &Share) -> Value {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let some = |value: &str| Some(value.to_owned());
    let (service, options): (_, Vec<(&str, Option<String>)>) = match &share.address {
        Address::Folder(_) => ("fs", Vec::new()),
        Address::Bucket(cloud, bucket, prefix) => {
            let mut options = vec![("root", some(prefix)), ("endpoint", share.endpoint.clone())];
            match cloud {
                Cloud::S3 => {
                    let known = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
                    // Servers that are not Amazon's seldom care.
                    let region = share.region.clone().or(known).or_else(|| some("us-east-1"));
                    options.extend([("bucket", some(bucket)), ("region", region)]);
                    ("s3", options)
                }
                Cloud::Google => {
                    options.push(("bucket", some(bucket)));
                    ("gcs", options)
                }
                Cloud::Azure => {
                    let account = variable("AZURE_STORAGE_ACCOUNT_NAME");
                    let usual = account.as_ref().map(|it| format!("https://{it}.blob.core.windows.net"));
                    options.extend([
                        ("endpoint", usual.filter(|_| share.endpoint.is_none())),
                        ("container", some(bucket)),
                        ("account_name", account),
                        ("account_key", variable("AZURE_STORAGE_ACCOUNT_KEY")),
                        ("sas_token", variable("AZURE_STORAGE_SAS_TOKEN")),
                    ]);
                    ("azblob", options)
                }
            }
        }
        Address::WebDav(url) => {
            // The folder is made when it is not there; what is above it belongs to the server.
            let host = url.find("://").and_then(|at| Some(at + 3 + url[at + 3..].find('/')?));
            let (server, folder) = url.split_at(host.unwrap_or(url.len()));
            let options = vec![
                ("endpoint", some(server)),
                ("root", some(folder)),
                ("username", variable("RIBBON_SHARE_USER")),
                ("password", variable("RIBBON_SHARE_PASSWORD")),
                ("token", variable("RIBBON_SHARE_TOKEN")),
            ];
            ("webdav", options)
        }
        Address::Ssh(host, path) => {
            ("sftp", vec![("endpoint", Some(format!("ssh://{host}"))), ("root", some(path))])
        }
    };
    let mut options = options;
    if share.public && !has_credentials(&share.address) {
        options.push(("skip_signature", some("true")));
    }
    let options: Vec<(&str, String)> =
        options.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    json!({
        "service": service, "options": options,
        "connections": share.connections, "timeout": share.timeout.as_secs(),
    })
}

/// Whether the user has what a service's own tools would ask a bucket with. Roles of virtual machines are not looked for.
fn has_credentials(address: &Address) -> bool {
    let Address::Bucket(cloud, ..) = address else { return true };
    let (variables, file): (&[&str], _) = match cloud {
        Cloud::S3 => (
            &[
                "AWS_ACCESS_KEY_ID",
                "AWS_PROFILE",
                "AWS_WEB_IDENTITY_TOKEN_FILE",
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            ],
            ".aws/credentials",
        ),
        Cloud::Google => {
            (&["GOOGLE_APPLICATION_CREDENTIALS"], ".config/gcloud/application_default_credentials.json")
        }
        Cloud::Azure => (&["AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN"], ".azure/credentials"),
    };
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    variables.iter().any(|name| is_set(name)) || std::env::home_dir().is_some_and(|it| it.join(file).exists())
}

fn list_local(folder: &Path, limit: usize) -> Result<Option<Vec<String>>, String> {
    let list = || fs::read_dir(folder)?.take(limit + 1).collect::<io::Result<Vec<_>>>();
    let entries = list().or_else(|error| present(Err(error)).map(|_| Vec::new()))?;
    let name = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    Ok((entries.len() <= limit).then(|| entries.iter().map(name).collect()))
}

/// Only files are read: something else may never come to an end, or never begin.
fn read_local(from: &Path, to: &Path, limit: u64) -> Result<Read, String> {
    let read = || {
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(from)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() > limit {
            return Ok(Read::Large);
        }
        // It may grow.
        let copied = io::copy(&mut file.take(limit.saturating_add(1)), &mut File::create_new(to)?)?;
        Ok(if copied > limit { Read::Large } else { Read::Done })
    };
    read().or_else(|error: io::Error| present(Err(error)))
}

/// With `sync`, the bytes are on the disk before the file has its name.
fn write_local(to: &Path, from: &Path, access: Access, sync: bool) -> io::Result<()> {
    access.make_parent(to)?;
    let scratch = crate::store::beside(to);
    let write = || {
        let mut from = File::open(from)?;
        let mut file = access.open(&scratch, File::options().write(true).truncate(true))?;
        // Bytes, not the file: objects are read-only, and a share's files are their owner's to remove.
        io::copy(&mut from, &mut file)?;
        if sync { file.sync_data() } else { Ok(()) }
    };
    let written = write().and_then(|()| fs::rename(&scratch, to));
    if written.is_err() {
        let _ = fs::remove_file(&scratch);
    }
    written
}

fn present(result: io::Result<()>) -> Result<Read, String> {
    match result {
        Ok(()) => Ok(Read::Done),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Read::Absent),
        Err(error) => Err(error.to_string()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves it readable: it changes in one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
