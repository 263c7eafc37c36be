//! The runner's side of the job protocol, for one job that is timed, and its data.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

/// A data set in a file.
pub struct Data(PathBuf);

impl Data {
    /// Noise in the shape of CIFAR-10, the same each time.
    pub fn noise(path: &Path, train: usize, test: usize) -> Data {
        const IMAGE: usize = 3 * 32 * 32;
        let metadata = json!({"name": "noise", "classes": ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
            "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]});
        let mut header = json!({"__metadata__": {"hyperribbon": metadata.to_string()}});
        let mut bytes: Vec<u8> = Vec::new();
        let mut state = 1_u64;
        let mut tensor = |name: &str, kind: &str, shape: &[usize], values: Vec<u8>| {
            let begin = bytes.len();
            bytes.extend(values);
            header[name] = json!({"dtype": kind, "shape": shape, "data_offsets": [begin, bytes.len()]});
        };
        for (split, count) in [("train", train), ("test", test)] {
            let labels = (0..count).flat_map(|sample| (sample as i64 % 10).to_le_bytes()).collect();
            tensor(&format!("{split}_labels"), "I64", &[count], labels);
        }
        for (split, count) in [("train", train), ("test", test)] {
            let mut pixel = || {
                // Knuth's linear congruential generator.
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            };
            let pixels = (0..count * IMAGE).map(|_| pixel()).collect();
            tensor(&format!("{split}_images"), "U8", &[count, 3, 32, 32], pixels);
        }
        let mut header = header.to_string();
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        let mut file = File::create(path).expect("the data can be written");
        for part in [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &bytes] {
            file.write_all(part).expect("the data can be written");
        }
        Data(path.to_owned())
    }

    /// As an input of a job.
    pub fn input(&self) -> Value {
        json!({"path": self.0, "hash": self.0})
    }
}

/// A stage's program with a job. It ends with this.
pub struct Program {
    child: Child,
    events: BufReader<ChildStdout>,
    folder: PathBuf,
}

impl Program {
    /// Starts it in a folder.
    pub fn start(program: &Path, folder: &Path, threads: u32) -> Program {
        let mut command = Command::new(program);
        command.current_dir(folder).env("OMP_NUM_THREADS", threads.to_string());
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let events = BufReader::new(child.stdout.take().expect("its output is piped"));
        Program { child, events, folder: folder.to_owned() }
    }

    /// Gives it a job.
    pub fn give(&mut self, mut job: Value) {
        job["key"] = json!("");
        let path = self.folder.join("job.json");
        std::fs::write(&path, job.to_string()).expect("a job can be written");
        let input = self.child.stdin.as_mut().expect("its input is piped");
        writeln!(input, "{}", json!({"job": path})).expect("it takes a job");
    }

    /// The first progress that is as wanted: steps done, and when that was told. None if the job ended before.
    pub fn progress(&mut self, is_wanted: impl Fn(u64, Instant) -> bool) -> Option<(u64, Instant)> {
        loop {
            let event = self.event()?;
            let done = event["done"].as_u64().filter(|_| event["event"] == "progress");
            let now = Instant::now();
            if let Some(done) = done.filter(|done| is_wanted(*done, now)) {
                return Some((done, now));
            }
        }
    }

    /// Waits until the job is done.
    pub fn end(&mut self) {
        while self.event().is_some() {}
    }

    /// What it tells next; none once the job is done.
    fn event(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.events.read_line(&mut line).expect("it writes text");
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        match event["event"].as_str() {
            Some("done") => None,
            Some("error") => panic!("{}", event["what"]),
            _ => Some(event),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
