//! The distance kernel beside the formula as one writes it in PyTorch, on the same arrays with as many threads, in one run:
//! `cargo bench --bench pytorch` for this crate's manifest.
//!
//! The plain formula is computed by libtorch itself, so that no time of Python is in it: the logarithms of a batched product
//! of square roots, in f32, samples in chunks of 50. It computes every pair of models twice, the kernel once; rates are of
//! what each computes, ratios are of the time until the same matrix is there. By default glibc maps large memory anew for each
//! result and gives it back after use, and the plain formula mostly waits for pages that are cleared; so it is measured as
//! PyTorch has it, and where freed memory is kept, as the stages have it. "Of peak" are the kernel's multiply-adds, C a
//! pair-sample, of those that the processor can do.

#[path = "../../geometry/benches/peak/mod.rs"]
mod peak;

use std::time::{Duration, Instant};

use anyhow::Result;
use distance::{Pairs, Sums};
use distance_cuda::TensorSums;
use geometry::{Measure, Model, within};
use kit::Memory;
use ndarray::{Array2, Array3};
use tch::{Device, Kind, Tensor};

const THREADS: usize = 2;
const SAMPLES: usize = 2_000;
/// Samples at a time of the plain formula.
const CHUNK: i64 = 50;
/// Each figure is the best of the runs that begin within this time: the machine may be shared.
const TIME: Duration = Duration::from_secs(3);
/// What the stage's sums get by default.
const MEMORY: Memory = Memory(1_000_000_000);

fn main() -> Result<()> {
    tch::set_num_threads(THREADS as i32);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build()?;
    let cases = [(480, 10), (480, 100), (1_200, 10), (1_200, 100)];
    // The allocator of a process is changed for good by what readies a device.
    let mut plain = Vec::new();
    for (models, classes) in cases {
        let tensor = by_sample(&predictions(models, classes));
        plain.push(best(|| formula(&tensor))?.0);
    }
    device::prepare("cpu", THREADS)?;

    println!("pair-samples per second, {THREADS} threads; the plain formula also where freed memory is kept");
    println!(
        "{:>6} {:>7} {:>7}  {:>8} {:>8} {:>11} {:>8} {:>7}  {:>14} {:>16} {:>10}",
        "models",
        "samples",
        "classes",
        "plain",
        "kept",
        "through tch",
        "kernel",
        "of peak",
        "kernel / plain",
        "through / plain",
        "difference"
    );
    for ((models, classes), plain) in cases.into_iter().zip(plain) {
        let all = predictions(models, classes);
        let tensor = by_sample(&all);
        let views: Vec<Model> = all.outer_iter().collect();
        let (kept, expected) = best(|| formula(&tensor))?;
        let (kernel, found) = best(|| Ok(pool.install(|| within(Measure::Bhattacharyya, &views))?))?;
        let peak = best(|| Ok(pool.broadcast(|_| peak::multiply_adds()).into_iter().sum::<f64>()))?;
        let (through, _) = best(|| {
            let mut sums =
                TensorSums::new(Device::Cpu, Measure::Bhattacharyya, Pairs::Within(models), MEMORY)?;
            sums.add(&views, &[], views[0])?;
            sums.mean()
        })?;
        let square = (models * models * SAMPLES) as f64;
        let half = (models * (models + 1) / 2 * SAMPLES) as f64;
        let difference = (found - expected).into_iter().fold(0.0, |most: f64, d| most.max(d.abs()));
        println!(
            "{models:>6} {SAMPLES:>7} {classes:>7}  {:>8.2e} {:>8.2e} {:>11.2e} {:>8.2e} {:>5.0} %  {:>6.0}, {:>6.0} {:>8.1}, {:>6.1} {difference:>10.1e}",
            square / plain,
            square / kept,
            square / through,
            half / kernel,
            100.0 * half * classes as f64 / kernel / (peak.1 / peak.0),
            plain / kernel,
            kept / kernel,
            plain / through,
            kept / through
        );
    }
    Ok(())
}

/// The least seconds that some work took, and what it gave.
fn best<T>(work: impl Fn() -> Result<T>) -> Result<(f64, T)> {
    let (begin, mut least) = (Instant::now(), f64::INFINITY);
    loop {
        let start = Instant::now();
        let done = work()?;
        least = least.min(start.elapsed().as_secs_f64());
        if begin.elapsed() > TIME {
            return Ok((least, done));
        }
    }
}

/// Models [M, N, C], no two alike.
fn predictions(models: usize, classes: usize) -> Array3<f32> {
    let wave = |(m, n, c)| 0.5 + ((m * 31 + n * 17 + c * 7) % 1_009) as f32 / 1_009.0;
    let mut all = Array3::from_shape_fn((models, SAMPLES, classes), wave);
    for mut sample in all.rows_mut() {
        let sum = sample.sum();
        sample /= sum;
    }
    all
}

/// Models [M, N, C] as a tensor [N, M, C].
fn by_sample(models: &Array3<f32>) -> Tensor {
    let size = [models.dim().0, models.dim().1, models.dim().2].map(|length| length as i64);
    Tensor::from_slice(models.as_slice().unwrap_or_default()).view(size).transpose(0, 1).contiguous()
}

/// The distances of models [N, M, C], as one writes it down.
fn formula(models: &Tensor) -> Result<Array2<f64>> {
    let (samples, count, _) = models.size3()?;
    let mut sums = Tensor::zeros([count, count], (Kind::Float, Device::Cpu));
    for chunk in models.split(CHUNK, 0) {
        let roots = chunk.sqrt();
        let distances = -roots.bmm(&roots.transpose(1, 2)).log();
        sums += distances.clamp_min(0.0).sum_dim_intlist(0, false, Kind::Float);
    }
    let values = Vec::<f64>::try_from((sums / samples as f64).to_kind(Kind::Double).flatten(0, -1))?;
    Ok(Array2::from_shape_vec((count as usize, count as usize), values)?)
}
