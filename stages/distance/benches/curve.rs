//! Time and peak memory of the stage's program as models, samples and classes grow: `cargo bench --bench curve` for this
//! crate's manifest.
//!
//! Predictions are files, larger than the memory the stage is given in the largest cases, and the tile is one too: what is
//! told is a job's time and memory, reading and writing included.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use kit::{Layout, TensorFile};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::json;

/// The parameter of the stage; the program's own code and libraries come on top.
const MEMORY: &str = "1G";
const THREADS: usize = 2;

fn main() -> Result<()> {
    // A process has the peak of all its children: so each program gets a parent of its own.
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, job] = &arguments[..]
        && Path::new(job).exists()
    {
        return measure(job);
    }
    println!("memory: {MEMORY}, {THREADS} threads; pair-samples per second of wall and of processor time");
    println!(
        "{:>7} {:>7} {:>7}  {:>9} {:>8} {:>8} {:>8} {:>9} {:>9} {:>8}",
        "models", "samples", "classes", "input MB", "tile MB", "seconds", "CPU s", "/s", "/CPU s", "peak MB"
    );
    let cases = [1_000, 2_000, 5_000, 10_000, 20_000].map(|models| (models, 200, 10)).into_iter();
    let cases = cases.chain([1_000, 5_000, 20_000].map(|samples| (2_000, samples, 10)));
    for (models, samples, classes) in cases.chain([2, 100, 1_000].map(|classes| (2_000, 200, classes))) {
        let folder = tempfile::tempdir()?;
        let job = write(folder.path(), [models, samples, classes])?;
        let output = Command::new(std::env::current_exe()?).arg(job).output()?;
        let text = checked(&output)?;
        let numbers: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [wall, cpu, peak] = numbers[..] else { anyhow::bail!("three numbers were expected: {text}") };
        let work = (models * (models + 1) / 2 * samples) as f64;
        println!(
            "{models:>7} {samples:>7} {classes:>7}  {:>9.0} {:>8.0} {wall:>8.2} {cpu:>8.2} {:>9.2e} {:>9.2e} {:>8.0}",
            (models * samples * classes * size_of::<f32>()) as f64 / 1e6,
            (models * models * size_of::<f32>()) as f64 / 1e6,
            work / wall,
            work / cpu,
            peak / 1e6
        );
    }
    Ok(())
}

/// Runs the program on a job, and prints its seconds, its processor's seconds and its bytes.
fn measure(job: &str) -> Result<()> {
    let start = Instant::now();
    checked(&Command::new(env!("CARGO_BIN_EXE_distance")).arg(job).output()?)?;
    let wall = start.elapsed();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu = (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6;
    println!("{} {cpu} {}", wall.as_secs_f64(), usage.max_rss() * 1024);
    Ok(())
}

/// What a program said, if it ended well.
fn checked(output: &Output) -> Result<&str> {
    let text = std::str::from_utf8(&output.stdout)?;
    ensure!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

/// Predictions, and a job for the distances among them.
fn write(folder: &Path, [models, samples, classes]: [usize; 3]) -> Result<std::path::PathBuf> {
    let predictions = folder.join("predictions");
    let metadata = json!({"network": {"seed": 1}});
    let file =
        TensorFile::create(&predictions, Layout::new().f32s("test", &[models, samples, classes]), &metadata)?;
    for model in 0..models {
        let value = |i: usize| (0.5 + ((model * 31 + i * 17) % 1_009) as f32 / 1_009.0) / classes as f32;
        let values: Vec<f32> = (0..samples * classes).map(value).collect();
        file.f32s("test", model * samples * classes, &values)?;
    }
    let input = json!([{"path": predictions, "hash": "one"}]);
    let job = json!({
        "stage": "distance", "key": "k", "params": {"split": "test", "memory": MEMORY}, "device": "cpu",
        "threads": THREADS, "inputs": {"rows": input, "cols": input}, "outputs": {"tile": folder.join("tile")},
    });
    let path = folder.join("job.json");
    std::fs::write(&path, job.to_string()).context("the job file")?;
    Ok(path)
}
