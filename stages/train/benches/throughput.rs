//! Samples per second of training, in one run: the stage beside a loop in PyTorch, and two workers of one thread beside one
//! of two; then a sweep beside one network after the other in PyTorch. `RIBBON_PYTHON=/path/of/python cargo bench --bench
//! throughput` for this crate's manifest, where that Python has torch and torchvision; without, PyTorch is left out. Tables
//! (`pytorch`, `workers`, `sweep`) and networks may be named.
//!
//! Each contender is a process on the job protocol that lives as long as the bench; what is timed is a whole job, from its
//! request to its end. The stage's has its checkpoints in it, PyTorch's keeps none. All train with batches of 50, by SGD
//! with Nesterov momentum, in f32.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kit::{Tensors, TensorsWriter};
use serde_json::{Value, json};
use tempfile::TempDir;

const SAMPLES: usize = 2_500;
const BATCH: usize = 50;

/// Seconds that a job of the stage takes, about: by its number of epochs.
const SECONDS: f64 = 0.7;

/// In each round everything is measured once, in turn; the best of each is told, of the rounds that begin within this time:
/// the machine may be shared.
const TIME: Duration = Duration::from_secs(5);

/// Those of profile `cifar10`, with their epochs there.
const NETWORKS: [(&str, usize, &str); 9] = [
    ("allcnn-16", 30, r#"{"kind": "allcnn", "planes": [16, 64]}"#),
    ("allcnn-8", 36, r#"{"kind": "allcnn", "planes": [8, 32]}"#),
    ("convmixer-48", 32, r#"{"kind": "convmixer", "dim": 48, "depth": 2}"#),
    ("fc-128", 30, r#"{"kind": "fc", "widths": [128, 64, 32]}"#),
    ("fc-256", 26, r#"{"kind": "fc", "widths": [256, 128, 64, 32]}"#),
    (
        "vit-32",
        72,
        r#"{"kind": "vit", "patch": 8, "dim": 32, "depth": 2, "heads": 2, "head_dim": 16, "mlp": 64}"#,
    ),
    (
        "vit-64",
        36,
        r#"{"kind": "vit", "patch": 8, "dim": 64, "depth": 2, "heads": 4, "head_dim": 16, "mlp": 128}"#,
    ),
    ("wr-10-1-8", 18, r#"{"kind": "wr", "depth": 10, "widen": 1, "planes": 8}"#),
    ("wr-16-1-8", 26, r#"{"kind": "wr", "depth": 16, "widen": 1, "planes": 8}"#),
];

/// The sweep trains for this part of their epochs, half of the images in each.
const PART: usize = 10;

/// Those that are held to PyTorch.
const BESIDE: [&str; 4] = ["allcnn-16", "convmixer-48", "fc-256", "vit-64"];

fn main() -> Result<()> {
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let is_table = |name: &String| ["pytorch", "workers", "sweep"].contains(&name.as_str());
    let (tables, networks): (Vec<String>, Vec<String>) = named.into_iter().partition(is_table);
    if let Some(unknown) = networks.iter().find(|name| NETWORKS.iter().all(|(known, ..)| known != name)) {
        bail!("`{unknown}` is neither a table nor a network");
    }
    let is_wanted = |list: &[String], name: &str| list.is_empty() || list.iter().any(|wanted| wanted == name);
    let wanted = NETWORKS.iter().filter(|(name, ..)| is_wanted(&networks, name));
    let wanted = wanted
        .map(|&(name, epochs, model)| Ok(Network { name, epochs, model: serde_json::from_str(model)? }))
        .collect::<Result<Vec<_>>>()?;
    let bench = Bench::new(std::env::var_os("RIBBON_PYTHON").map(PathBuf::from))?;
    if is_wanted(&tables, "pytorch") {
        let named = !networks.is_empty();
        bench.beside_pytorch(wanted.iter().filter(|network| named || BESIDE.contains(&network.name)))?;
    }
    if is_wanted(&tables, "workers") {
        bench.workers(&wanted)?;
    }
    if is_wanted(&tables, "sweep") {
        bench.sweep(&wanted)?;
    }
    Ok(())
}

struct Network {
    name: &'static str,
    epochs: usize,
    model: Value,
}

impl Network {
    /// What the sweep does of it.
    fn part(&self) -> Work<'_> {
        Work { model: &self.model, augment: false, epochs: self.epochs.div_ceil(PART) }
    }
}

/// What all measurements share.
struct Bench {
    /// Data, job files and checkpoints.
    folder: TempDir,
    python: Option<PathBuf>,
}

/// A training run that is to be timed.
struct Work<'a> {
    model: &'a Value,
    augment: bool,
    epochs: usize,
}

impl Bench {
    fn new(python: Option<PathBuf>) -> Result<Bench> {
        let folder = tempfile::tempdir()?;
        let pixels: Vec<u8> = (0..SAMPLES * 3 * 32 * 32).map(|place| (place * 37 % 251) as u8).collect();
        let labels: Vec<i64> = (0..SAMPLES as i64).map(|sample| sample % 10).collect();
        let classes: Vec<String> = (0..10).map(|class| format!("class {class}")).collect();
        let metadata =
            json!({"classes": classes, "mean": [0.4914, 0.4822, 0.4465], "std": [0.2471, 0.2435, 0.2616]});
        let mut writer = TensorsWriter::new();
        for split in ["train", "test"] {
            writer.u8s(&format!("{split}_images"), &[SAMPLES, 3, 32, 32], &pixels);
            writer.i64s(&format!("{split}_labels"), &[SAMPLES], &labels);
        }
        writer.write(&folder.path().join("data"), &metadata)?;
        Ok(Bench { folder, python })
    }

    fn beside_pytorch<'a>(&self, networks: impl Iterator<Item = &'a Network>) -> Result<()> {
        println!(
            "one thread; samples per second: the stage, PyTorch by batches and sample by sample; times the stage"
        );
        println!(
            "{:>13} {:>9}  {:>9} {:>9} {:>9}  {:>10} {:>10}",
            "network", "augmented", "stage", "batches", "samples", "of batches", "of samples"
        );
        let mut workers = vec![self.stage(1)?];
        for loader in ["batches", "samples"] {
            workers.extend(self.pytorch(1, loader)?);
        }
        for Network { name, model, .. } in networks {
            for augment in [false, true] {
                let mut groups: Vec<&mut [Worker]> = workers.chunks_mut(1).collect();
                let rates = self.rates(&mut groups, model, augment)?;
                let rate = |at: usize| rates.get(at).map_or_else(String::new, |rate| format!("{rate:.0}"));
                let ratio = |at: usize| {
                    rates.get(at).map_or_else(String::new, |rate| format!("{:.2}", rates[0] / rate))
                };
                println!(
                    "{name:>13} {augment:>9}  {:>9} {:>9} {:>9}  {:>10} {:>10}",
                    rate(0),
                    rate(1),
                    rate(2),
                    ratio(1),
                    ratio(2)
                );
            }
        }
        Ok(())
    }

    fn workers(&self, networks: &[Network]) -> Result<()> {
        println!("samples per second of all workers, and two workers of one thread to the others");
        println!(
            "{:>13}  {:>9} {:>9} {:>9} {:>9}  {:>8} {:>8} {:>8}",
            "network", "2 x 1", "1 x 2", "1 x 1", "PyTorch", "to 1 x 2", "to 1 x 1", "PyTorch"
        );
        let mut groups =
            vec![vec![self.stage(1)?, self.stage(1)?], vec![self.stage(2)?], vec![self.stage(1)?]];
        groups.extend(self.pytorch(2, "samples")?.map(|worker| vec![worker]));
        for Network { name, model, .. } in networks {
            let mut groups: Vec<&mut [Worker]> = groups.iter_mut().map(Vec::as_mut_slice).collect();
            let rates = self.rates(&mut groups, model, false)?;
            print!("{name:>13} ");
            (0..4).for_each(|at| {
                print!(" {:>9}", rates.get(at).map_or_else(String::new, |rate| format!("{rate:.0}")));
            });
            print!(" ");
            (1..4).for_each(|at| {
                let ratio = rates.get(at).map(|rate| format!("{:.2}", rates[0] / rate));
                print!(" {:>8}", ratio.unwrap_or_default());
            });
            println!();
        }
        Ok(())
    }

    /// Two networks of each kind, trained by two workers of one thread, each taking the next; and one after the other by
    /// PyTorch's usual loop with two threads.
    fn sweep(&self, networks: &[Network]) -> Result<()> {
        let queue: Vec<Work> = networks.iter().flat_map(|network| [network.part(), network.part()]).collect();
        println!("seconds of a sweep of {} networks, and times the stage's", queue.len());
        let ours = self.seconds(&mut [self.stage(1)?, self.stage(1)?], &queue)?;
        println!("{:>13} {ours:>9.1}", "2 x 1");
        if let Some(loop_of_python) = self.pytorch(2, "samples")? {
            let theirs = self.seconds(&mut [loop_of_python], &queue)?;
            println!("{:>13} {theirs:>9.1} {:>8.2}", "PyTorch", theirs / ours);
        }
        Ok(())
    }

    /// Seconds until workers have done all of a queue, once each has shown that it has started.
    fn seconds(&self, workers: &mut [Worker], queue: &[Work]) -> Result<f64> {
        for worker in &mut *workers {
            self.time(std::slice::from_mut(worker), &Work { epochs: 1, ..queue[0] })?;
        }
        let (next, start) = (AtomicUsize::new(0), Instant::now());
        std::thread::scope(|scope| {
            let next = &next;
            let run = |(at, worker): (usize, &'_ mut Worker)| -> Result<()> {
                while let Some(work) = queue.get(next.fetch_add(1, Ordering::Relaxed)) {
                    worker.begin(work, self.folder.path(), at)?;
                    worker.end()?;
                }
                Ok(())
            };
            let threads = workers.iter_mut().enumerate().map(|worker| scope.spawn(move || run(worker)));
            let threads: Vec<_> = threads.collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
        })?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Samples per second that each group of workers trains with, all of a group at once: the best of the rounds.
    fn rates(&self, groups: &mut [&mut [Worker]], model: &Value, augment: bool) -> Result<Vec<f64>> {
        // The first job of a kind also finds out how to compute it; the second says how long one takes.
        let warm = Work { model, augment, epochs: 1 };
        let parameters =
            groups.iter_mut().map(|group| Ok(self.time(group, &warm)?.1)).collect::<Result<Vec<_>>>()?;
        ensure!(parameters.iter().all(|&count| count == parameters[0]), "other networks: {parameters:?}");
        let (seconds, _) = self.time(groups[0], &warm)?;
        let work = Work { epochs: (SECONDS / seconds).ceil().max(1.0) as usize, ..warm };
        let mut best = vec![0.0_f64; groups.len()];
        let begin = Instant::now();
        while begin.elapsed() < TIME {
            for (group, best) in groups.iter_mut().zip(&mut best) {
                let (seconds, _) = self.time(group, &work)?;
                *best = best.max((group.len() * work.epochs * SAMPLES) as f64 / seconds);
            }
        }
        Ok(best)
    }

    /// Seconds that a group of workers takes if each does this work, all at once, and how many numbers the network has.
    fn time(&self, group: &mut [Worker], work: &Work) -> Result<(f64, u64)> {
        let start = Instant::now();
        for (at, worker) in group.iter_mut().enumerate() {
            worker.begin(work, self.folder.path(), at)?;
        }
        let counts = group.iter_mut().map(Worker::end).collect::<Result<Vec<_>>>()?;
        Ok((start.elapsed().as_secs_f64(), counts[0]))
    }

    fn stage(&self, threads: usize) -> Result<Worker> {
        Worker::start(&mut Command::new(env!("CARGO_BIN_EXE_train")), threads, None)
    }

    /// None without a Python.
    fn pytorch(&self, threads: usize, loader: &'static str) -> Result<Option<Worker>> {
        let Some(python) = &self.python else { return Ok(None) };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/throughput.py");
        Worker::start(Command::new(python).arg(script), threads, Some(loader)).map(Some)
    }
}

/// A process that trains, job after job.
struct Worker {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    threads: usize,
    /// A parameter of PyTorch's.
    loader: Option<&'static str>,
    /// Where the stage's checkpoints of the job are.
    checkpoints: PathBuf,
}

impl Worker {
    fn start(command: &mut Command, threads: usize, loader: Option<&'static str>) -> Result<Worker> {
        let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = process.with_context(|| format!("{command:?}"))?;
        let (requests, answers) = (process.stdin.take(), process.stdout.take());
        Ok(Worker {
            process,
            requests: requests.context("no standard input")?,
            answers: BufReader::new(answers.context("no standard output")?),
            threads,
            loader,
            checkpoints: PathBuf::new(),
        })
    }

    /// Asks for a job; its file and checkpoints are in a folder, under a number of this worker's own.
    fn begin(&mut self, &Work { model, augment, epochs }: &Work, folder: &Path, number: usize) -> Result<()> {
        let (file, data) = (folder.join(format!("job-{number}")), folder.join("data"));
        self.checkpoints = folder.join(format!("checkpoints-{number}"));
        let network = json!({
            "arch": "network", "model": model, "optimizer": "nesterov", "batch": BATCH, "rate": 0.01, "decay": 0,
            "augment": augment, "epochs": epochs, "seed": 42, "early": 0
        });
        let params = match self.loader {
            Some(loader) => json!({"network": network, "loader": loader}),
            None => json!({"network": network, "precision": "f32"}),
        };
        let job = json!({
            "stage": "train", "key": "k", "params": params, "inputs": {"data": {"path": data, "hash": "h"}},
            "outputs": {"checkpoints": self.checkpoints}, "device": "cpu", "threads": self.threads
        });
        std::fs::write(&file, job.to_string())?;
        Ok(writeln!(self.requests, "{}", json!({"job": file}))?)
    }

    /// Waits for the end of the job. Returns how many numbers of the network were trained.
    fn end(&mut self) -> Result<u64> {
        loop {
            let mut line = String::new();
            ensure!(self.answers.read_line(&mut line)? > 0, "a worker ended before its job did");
            let event: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            match event["event"].as_str() {
                Some("done") => {
                    let count = match self.loader {
                        Some(_) => event["parameters"].clone(),
                        None => Tensors::open(&self.checkpoints)?.metadata::<Value>()?["parameters"].clone(),
                    };
                    return count.as_u64().context("no number of parameters");
                }
                Some("error") => bail!("{line}"),
                _ => (),
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It waits for its next job, or failed.
        let _ = self.process.kill().and_then(|()| self.process.wait());
    }
}
