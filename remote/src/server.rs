//! A server through OpenDAL: files that are read, looked for and written, each in good time.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use opendal::layers::RetryLayer;
use opendal::{ErrorKind, HttpTransporter, Operator, Writer, services};
use opendal_http_transport_reqwest::ReqwestTransport;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, OnceCell};

/// Bytes a second that the slowest useful connection moves; what moves more bytes may take longer.
const SLOWEST: u64 = 64 << 10;

/// The same of one of many downloads that share it.
const TRICKLE: u64 = 2 << 10;

/// Bytes that a download is given at once, at most: an HTTP frame, a packet of SFTP.
const CHUNK: u64 = 256 << 10;

/// Bytes in a part of a large upload.
const PART: usize = 8 << 20;

/// Uploads above this size go one at a time where they must be held in memory.
const HEAVY: u64 = 64 << 20;

/// How often a request is tried again that failed for a passing reason, after so much time at first and at most: in all, for
/// some six seconds, or as long as it may take.
const RETRIES: usize = 6;
const PAUSE: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3)];

/// A server.
pub struct Server {
    operator: Operator,
    timeout: Duration,
    /// Whether a write can be seen before it is whole, so that it goes through another name.
    is_torn: bool,
    /// Whether it is asked without a name: then a bucket says "forbidden" of what is not there, unless all may list it.
    is_anonymous: bool,
    /// Held by an upload that is all in memory.
    heavy: Mutex<()>,
    /// Folders that were made, where a write does not make them.
    folders: Option<Mutex<HashMap<String, Arc<OnceCell<()>>>>>,
}

/// Why a request has no result.
#[derive(Debug)]
pub enum Failure {
    /// The file has more bytes, or the folder more files, than it should have.
    Large,
    /// What went wrong, in a line.
    Said(String),
}

impl Server {
    /// Gets ready to reach a service; nothing is sent yet. `timeout` in seconds.
    pub fn open(service: &str, mut options: Vec<(String, String)>, timeout: u64) -> Result<Server, String> {
        let is_dav = service == "webdav";
        if is_dav {
            // OpenDAL would look for all folders above a file before each write.
            options.push(("disable_create_dir".to_owned(), "true".to_owned()));
        }
        let is_anonymous = options.iter().any(|(name, _)| name == "skip_signature");
        let timeout = Duration::from_secs(timeout);
        install_http(timeout)?;
        let opened = match service {
            "s3" => Operator::from_iter::<services::S3>(options),
            "gcs" => Operator::from_iter::<services::Gcs>(options),
            "azblob" => Operator::from_iter::<services::Azblob>(options),
            "webdav" => Operator::from_iter::<services::Webdav>(options),
            "sftp" => Operator::from_iter::<services::Sftp>(options),
            other => return Err(format!("no service is called {other}")),
        };
        let retries =
            RetryLayer::new().with_max_times(RETRIES).with_min_delay(PAUSE[0]).with_max_delay(PAUSE[1]);
        Ok(Server {
            operator: opened.map_err(|error| said(&error))?.layer(retries.with_jitter()),
            timeout,
            is_torn: service == "sftp",
            is_anonymous,
            heavy: Mutex::new(()),
            folders: is_dav.then(Mutex::default),
        })
    }

    /// Whether a file is there.
    pub async fn has(&self, path: &str) -> Result<bool, Failure> {
        self.present(self.within(0, self.operator.stat(path)).await?.map(drop))
    }

    /// The names of the files in a folder (with a slash at its end); none when there is no such folder.
    pub async fn list(&self, folder: &str, limit: usize) -> Result<Vec<String>, Failure> {
        let list = async {
            let mut entries = self.operator.lister(folder).await?;
            let mut names = Vec::new();
            while let Some(entry) = entries.try_next().await? {
                if names.len() == limit {
                    return Ok(None);
                }
                if entry.metadata().is_file() {
                    names.push(entry.name().to_owned());
                }
            }
            Ok(Some(names))
        };
        match self.within(limit as u64 * 100, list).await? {
            Ok(names) => names.ok_or(Failure::Large),
            Err(error) => self.present(Err(error)).map(|_| Vec::new()),
        }
    }

    /// Copies a file to a new local one; whether it was there.
    pub async fn read(&self, path: &str, to: &str, limit: u64) -> Result<bool, Failure> {
        let open = async {
            let mut stream = self.operator.reader(path).await?.into_stream(..).await?;
            let first = stream.try_next().await?;
            Ok::<_, opendal::Error>((stream, first))
        };
        let (mut stream, mut next) = match self.within(0, open).await? {
            Ok(opened) => opened,
            Err(error) => return self.present(Err(error)),
        };
        let mut file = File::create_new(to).await.map_err(local(to))?;
        let (mut read, mut waited) = (0, Duration::ZERO);
        while let Some(chunk) = next {
            read += chunk.len() as u64;
            if read > limit {
                return Err(Failure::Large);
            }
            for bytes in chunk {
                file.write_all(&bytes).await.map_err(local(to))?;
            }
            // A server that trickles holds up a run as one that says nothing does.
            let asked = Instant::now();
            next = self.within(CHUNK, stream.try_next()).await?.map_err(|error| remote(&error))?;
            waited += asked.elapsed();
            if waited > self.time_for(CHUNK) + Duration::from_secs(read / TRICKLE) {
                return Err(Failure::Said(format!("{read} bytes within {} s are too few", waited.as_secs())));
            }
        }
        file.flush().await.map_err(local(to))?;
        Ok(true)
    }

    /// Writes a local file there, whole or not at all; what was there goes.
    pub async fn write(&self, path: &str, from: &str) -> Result<(), Failure> {
        if !self.is_torn {
            self.make_folder(path).await?;
            return self.send(path, from).await;
        }
        // Under a name that nobody looks for, and that no other process or machine takes.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let scratch = format!("{path}.{}-{:x}", std::process::id(), now.as_nanos());
        let write = async || {
            self.send(&scratch, from).await?;
            self.within(0, self.operator.rename(&scratch, path)).await?.map_err(|error| remote(&error))
        };
        let written = write().await;
        if written.is_err() {
            // Nobody would ever remove it.
            let _ = self.within(0, self.operator.delete(&scratch)).await;
        }
        written
    }

    /// Makes the folder of a file, once, where a write does not.
    async fn make_folder(&self, path: &str) -> Result<(), Failure> {
        if let Some(folders) = &self.folders
            && let Some((folder, _)) = path.rsplit_once('/')
        {
            let made = folders.lock().await.entry(folder.to_owned()).or_default().clone();
            let folder = format!("{folder}/");
            // It fails too when somebody else makes it meanwhile; the write tells which it was.
            let make = async || self.within(0, self.operator.create_dir(&folder)).await.map(drop);
            made.get_or_try_init(make).await?;
        }
        Ok(())
    }

    async fn send(&self, path: &str, from: &str) -> Result<(), Failure> {
        let size = tokio::fs::metadata(from).await.map_err(local(from))?.len();
        let in_parts = self.operator.info().capability().write_can_multi;
        if !in_parts || size <= PART as u64 {
            let _heavy = if size > HEAVY { Some(self.heavy.lock().await) } else { None };
            let bytes = tokio::fs::read(from).await.map_err(local(from))?;
            let written = self.within(size, self.operator.write(path, bytes)).await?;
            return written.map(drop).map_err(|error| remote(&error));
        }
        let open = self.operator.writer_with(path).chunk(PART).concurrent(2);
        let mut writer = self.within(0, async { open.await }).await?.map_err(|error| remote(&error))?;
        let sent = self.send_parts(&mut writer, from).await;
        if sent.is_err() {
            // Parts that nobody sees cost as files do.
            let _ = self.within(0, writer.abort()).await;
        }
        sent
    }

    async fn send_parts(&self, writer: &mut Writer, from: &str) -> Result<(), Failure> {
        let mut file = File::open(from).await.map_err(local(from))?;
        loop {
            let mut part = Vec::with_capacity(PART);
            (&mut file).take(PART as u64).read_to_end(&mut part).await.map_err(local(from))?;
            if part.is_empty() {
                let closed = self.within(2 * PART as u64, writer.close()).await?;
                return closed.map(drop).map_err(|error| remote(&error));
            }
            let written = self.within(2 * PART as u64, writer.write(part)).await?;
            written.map_err(|error| remote(&error))?;
        }
    }

    /// Whether something is there, by what came of asking for it.
    fn present(&self, result: opendal::Result<()>) -> Result<bool, Failure> {
        match result {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) if error.kind() == ErrorKind::PermissionDenied && self.is_anonymous => Ok(false),
            Err(error) => Err(remote(&error)),
        }
    }

    /// Waits for an answer, as long as is right for `size` bytes.
    async fn within<T>(&self, size: u64, answer: impl Future<Output = T>) -> Result<T, Failure> {
        let time = self.time_for(size);
        let late = |_| Failure::Said(format!("no answer within {} s", time.as_secs()));
        tokio::time::timeout(time, answer).await.map_err(late)
    }

    /// How long so many bytes may take.
    fn time_for(&self, size: u64) -> Duration {
        self.timeout + Duration::from_secs(size / SLOWEST)
    }
}

/// Tells OpenDAL which HTTP client and which cryptography to use.
fn install_http(timeout: Duration) -> Result<(), String> {
    // Fails only when one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().connect_timeout(timeout).build();
    let client = client.map_err(|error| error.to_string())?;
    HttpTransporter::install_default(ReqwestTransport::new(client));
    Ok(())
}

fn remote(error: &opendal::Error) -> Failure {
    Failure::Said(said(error))
}

fn local(path: &str) -> impl FnOnce(std::io::Error) -> Failure {
    let path = path.to_owned();
    move |error| Failure::Said(format!("{path}: {error}"))
}

/// An error in a line, without the request's headers and address: there may be secrets in them.
fn said(error: &opendal::Error) -> String {
    // Of a page, its title; of anything else the first line.
    let whole = error.message();
    let title = whole.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    let message = title.map_or(whole, |(title, _)| title).lines().next().unwrap_or_default();
    let mut text = format!("{}: {message}", error.kind());
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        source = error.source();
        if source.is_none() {
            text.push_str(&format!(" ({error})"));
        }
    }
    text
}
