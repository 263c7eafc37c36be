//! Images a second in training and in predicting, by architecture of a profile: `cargo bench --bench throughput`.
//!
//! The stages' programs are given jobs by the protocol, as `ribbon` would, and are timed between what they tell of their
//! progress; a training is ended once it was timed. The images are noise, which takes as long as any other. What it prints
//! last goes to `ribbon run`, whose `--dry-run` then tells how long the profile takes on this machine.

mod job;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Parser;
use hyperribbon::pipeline::{Configuration, Pipeline};
use serde_json::{Value, json};

use self::job::{Data, Program};

/// Times training and predicting.
#[derive(Debug, Parser)]
struct Options {
    /// The profile whose networks are trained, the first of each architecture.
    #[arg(long, default_value = "paper")]
    profile: String,
    /// Where: `cpu` or `cuda:N`.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// CPU threads.
    #[arg(long, default_value_t = 1)]
    threads: u32,
    /// `f32` or `mixed`; the profile's own when not given.
    #[arg(long)]
    precision: Option<String>,
    /// Images a step; the profile's own when not given.
    #[arg(long)]
    batch: Option<u64>,
    /// How many train images there are.
    #[arg(long, default_value_t = 5000)]
    images: usize,
    /// How long training is timed, after its first steps; at least two steps.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Only these architectures.
    #[arg(long, value_delimiter = ',')]
    arch: Vec<String>,
    /// Cargo says so to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    // `cargo test --all-targets` starts benchmarks as well.
    if !options.bench {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pipeline = Pipeline::load(&root.join("pipeline.yaml"), Some(&options.profile), &[])
        .unwrap_or_else(|error| panic!("{error}"));
    let precision = options.precision.clone().unwrap_or_else(|| precision(&pipeline));
    let [train, predict] = ["train", "predict"].map(|stage| built(root, stage));
    let folder = tempfile::tempdir().expect("a folder for what is trained");
    println!(
        "{}, {} threads, {precision}, {} images, profile {}",
        options.device, options.threads, options.images, options.profile
    );
    println!("{:12} {:>14} {:>16}", "", "trained/s", "predicted/s");
    let mut costs = [Vec::new(), Vec::new()];
    for network in networks(&pipeline, &options) {
        let arch = network["arch"].as_str().expect("networks have an architecture");
        let bench = Bench { options: &options, precision: &precision, folder: folder.path() };
        let rates = [bench.train(&train, &network), bench.predict(&train, &predict, &network)];
        println!("{arch:12} {:>14.2} {:>16.2}", rates[0], rates[1]);
        for (costs, rate) in costs.iter_mut().zip(rates) {
            costs.push(format!("{arch}: {:.3e}", 1.0 / rate));
        }
    }
    for (name, costs) in ["train-image", "predict-image"].iter().zip(costs) {
        println!("--set '{name}={{{}}}'", costs.join(", "));
    }
}

/// The first network of each architecture, as the train stage gets it.
fn networks(pipeline: &Pipeline, options: &Options) -> Vec<Value> {
    let sweep = pipeline.sweeps.iter().find(|sweep| sweep.name == "networks").expect("a sweep `networks`");
    let mut networks: Vec<Value> = Vec::new();
    for Configuration { values, .. } in &sweep.configurations {
        let is_asked_for =
            options.arch.is_empty() || options.arch.iter().any(|arch| values["arch"] == arch.as_str());
        if is_asked_for && networks.iter().all(|network| network["arch"] != values["arch"]) {
            let mut network = values.clone();
            if let Some(batch) = options.batch {
                network.insert("batch".to_owned(), json!(batch));
            }
            networks.push(Value::Object(network));
        }
    }
    networks
}

/// The precision that the profile trains in.
fn precision(pipeline: &Pipeline) -> String {
    let stage = pipeline.stages.iter().find(|stage| stage.name == "train").expect("a stage `train`");
    match &stage.params["precision"] {
        hyperribbon::pipeline::Param::Literal(Value::String(precision)) => precision.clone(),
        other => panic!("train's precision is {other:?}"),
    }
}

/// A stage's program, beside this one.
fn built(root: &Path, stage: &str) -> PathBuf {
    let manifest = root.join("stages").join(stage).join("Cargo.toml");
    let target = std::env::current_exe().expect("a bench has a path");
    let target = target.ancestors().nth(3).expect("it is target/release/deps/throughput").to_owned();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--quiet", "--manifest-path"]).arg(manifest);
    let status = cargo.env("CARGO_TARGET_DIR", &target).current_dir(root).status().expect("cargo starts");
    assert!(status.success(), "{stage} is not built");
    target.join("release").join(stage)
}

struct Bench<'a> {
    options: &'a Options,
    precision: &'a str,
    folder: &'a Path,
}

impl Bench<'_> {
    /// Images trained a second.
    fn train(&self, program: &Path, network: &Value) -> f64 {
        let data = Data::noise(&self.folder.join("train-data"), self.options.images, 10);
        let batch = network["batch"].as_f64().expect("a batch size");
        let mut program = Program::start(program, self.folder, self.options.threads);
        program.give(self.job(network, &data));
        let asked = Duration::from_secs_f64(self.options.seconds);
        // The first steps make ready what is used in all.
        program.progress(|done, _| done >= 2).expect("a training has more than two steps");
        let begun = program.progress(|_, _| true).expect("a training has more than three steps");
        let ended = program.progress(|done, at| done >= begun.0 + 2 && at - begun.1 >= asked);
        let ended = ended.expect("a training outlives its measurement: take more --images");
        (ended.0 - begun.0) as f64 * batch / (ended.1 - begun.1).as_secs_f64()
    }

    /// Images predicted a second: of the checkpoints of a training that is over in a moment.
    fn predict(&self, train: &Path, predict: &Path, network: &Value) -> f64 {
        let few = Data::noise(&self.folder.join("few-data"), 16, 4);
        let mut network = network.clone();
        network["batch"] = json!(4);
        network["epochs"] = json!(1);
        let mut program = Program::start(train, self.folder, self.options.threads);
        program.give(self.job(&network, &few));
        program.end();
        // So many that a checkpoint is read in no time beside them.
        let images = self.options.images.div_ceil(10);
        let data = Data::noise(&self.folder.join("predict-data"), images, 10);
        let mut program = Program::start(predict, self.folder, self.options.threads);
        program.give(json!({
            "stage": "predict", "params": {},
            "inputs": {"data": data.input(), "checkpoints": {"path": self.folder.join("checkpoints"), "hash": "c"}},
            "outputs": {"predictions": self.folder.join("predictions")},
            "device": self.options.device, "threads": self.options.threads,
        }));
        let begun = program.progress(|_, _| true).expect("there are five checkpoints");
        let ended = program.progress(|done, _| done >= begun.0 + 2).expect("there are five checkpoints");
        (ended.0 - begun.0) as f64 * (images + 10) as f64 / (ended.1 - begun.1).as_secs_f64()
    }

    fn job(&self, network: &Value, data: &Data) -> Value {
        let checkpoints = self.folder.join("checkpoints");
        json!({
            "stage": "train", "params": {"network": network, "precision": self.precision},
            "inputs": {"data": data.input()}, "outputs": {"checkpoints": checkpoints},
            "device": self.options.device, "threads": self.options.threads,
        })
    }
}
