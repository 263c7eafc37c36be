//! Files on a server: what `ribbon` starts to reach a share that is no folder.
//!
//! The first line on standard input is a JSON object that says where the share is ([`Setup`]); every other line is a
//! request ([`Request`]), answered by a line on standard output ([`Answer`]), in any order. Content goes through files.
//! It ends with its input. Credentials come from where each service's own tools look for them.

mod server;

use std::process::ExitCode;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{Semaphore, mpsc};

use crate::server::{Failure, Server};

/// Where a share is.
#[derive(Debug, Deserialize)]
struct Setup {
    /// `s3`, `gcs`, `azblob`, `webdav` or `sftp`, as OpenDAL calls them.
    service: String,
    /// OpenDAL's options for it: (name, value).
    options: Vec<(String, String)>,
    /// Requests in flight at most.
    connections: usize,
    /// Seconds a request may take; one that moves much data gets more.
    timeout: u64,
}

/// Something to do with a file of the share.
#[derive(Debug, Deserialize)]
struct Request {
    /// Told again in the answer.
    id: u64,
    /// What to do.
    #[serde(flatten)]
    act: Act,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Act {
    /// Is it there?
    Has { path: String },
    /// The names of the files in a folder, unless they are more than `limit`.
    List { path: String, limit: usize },
    /// Copy it to a new local file, unless it has more than `limit` bytes.
    Read { path: String, file: String, limit: u64 },
    /// Write a local file there, whole or not at all.
    Write { path: String, file: String },
}

/// What came of a request.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Answer {
    /// It is done (`true`), or there is no such file (`false`).
    Done { id: u64, done: bool },
    /// The names in a folder.
    Names { id: u64, names: Vec<String> },
    /// It has more bytes, or more files, than the limit.
    Large { id: u64, large: bool },
    /// It cannot be done.
    Error { id: u64, error: String },
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        let ended = runtime.block_on(serve());
        // What is still under way has nobody to answer to.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ribbon-remote: {error}");
            ExitCode::from(2)
        }
    }
}

async fn serve() -> Result<(), String> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let said = |error: std::io::Error| error.to_string();
    let first =
        lines.next_line().await.map_err(said)?.ok_or("ribbon starts this program; it needs a share")?;
    let setup: Setup = serde_json::from_str(&first).map_err(|error| error.to_string())?;
    let slots = Arc::new(Semaphore::new(setup.connections.max(1)));
    let server = Arc::new(Server::open(&setup.service, setup.options, setup.timeout)?);
    let (answer, mut answers) = mpsc::unbounded_channel::<Answer>();
    tokio::spawn(async move {
        let mut out = tokio::io::stdout();
        while let Some(answer) = answers.recv().await {
            let mut text = serde_json::to_vec(&answer).unwrap_or_default();
            text.push(b'\n');
            // Nobody to tell: the input has ended too.
            if out.write_all(&text).await.is_err() || out.flush().await.is_err() {
                return;
            }
        }
    });
    while let Some(line) = lines.next_line().await.map_err(said)? {
        let request: Request = serde_json::from_str(&line).map_err(|error| error.to_string())?;
        let (server, slots, answer) = (server.clone(), slots.clone(), answer.clone());
        tokio::spawn(async move {
            // The semaphore is never closed.
            let _slot = slots.acquire().await;
            let _ = answer.send(perform(&server, request).await);
        });
    }
    Ok(())
}

async fn perform(server: &Server, Request { id, act }: Request) -> Answer {
    let result = match &act {
        Act::List { path, limit } => match server.list(path, *limit).await {
            Ok(names) => return Answer::Names { id, names },
            Err(failure) => Err(failure),
        },
        Act::Has { path } => server.has(path).await,
        Act::Read { path, file, limit } => server.read(path, file, *limit).await,
        Act::Write { path, file } => server.write(path, file).await.map(|()| true),
    };
    match result {
        Ok(done) => Answer::Done { id, done },
        Err(Failure::Large) => Answer::Large { id, large: true },
        Err(Failure::Said(error)) => Answer::Error { id, error },
    }
}
