//! The Bhattacharyya kernel beside the processor's peak and the plain formula, in one run: `cargo bench -p geometry`.
//!
//! Everything is told per second of wall time and, because machines are shared, per second of CPU time that was had.

use std::hint::black_box;
use std::time::{Duration, Instant};

use geometry::{Measure, Model, reference, within};
use ndarray::Array3;
use nix::time::{ClockId, clock_gettime};

/// Each figure is the best of so many repetitions: the machine may be shared.
const REPETITIONS: usize = 5;

fn main() -> anyhow::Result<()> {
    println!("pair-samples per second; share of the peak: a pair-sample takes C multiply-adds");
    println!(
        "{:>6} {:>7} {:>7} {:>7}  {:>10} {:>10} {:>6} {:>13} {:>8}",
        "models", "samples", "classes", "threads", "peak fma/s", "kernel", "share", "share of CPU", "x plain"
    );
    for (count, samples, classes) in [
        (1_200, 2_000, 10),
        (2_400, 4_000, 10),
        (4_800, 500, 10),
        (1_200, 4_000, 2),
        (1_200, 2_000, 5),
        (1_200, 1_000, 33),
        (1_200, 400, 100),
        (600, 100, 1_000),
    ] {
        let models = Array3::from_shape_fn((count, samples, classes), |(m, n, c)| {
            let wave = ((m * 31 + n * 17 + c * 7) % 1_009) as f32 / 1_009.0;
            (0.5 + wave) / classes as f32
        });
        let views: Vec<Model> = models.outer_iter().collect();
        let work = (count * (count + 1) / 2 * samples) as f64;
        for threads in [1, 2] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
            let (mut peak, mut kernel, mut plain) = (Rate::default(), Rate::default(), Rate::default());
            for _ in 0..REPETITIONS {
                let steps = || pool.broadcast(|_| chains()).into_iter().sum::<usize>();
                peak.best(|| (STEPS * CHAINS * steps()) as f64)?;
                kernel.best(|| {
                    black_box(pool.install(|| within(Measure::Bhattacharyya, &views))).map_or(0.0, |_| work)
                })?;
            }
            plain.best(|| {
                let some = &views[..12];
                let pairs = some.iter().flat_map(|p| some.iter().map(|q| reference::bhattacharyya(*p, *q)));
                black_box(pairs.sum::<f64>());
                (144 * samples) as f64
            })?;
            println!(
                "{count:>6} {samples:>7} {classes:>7} {threads:>7}  {:>10.2e} {:>10.2e} {:>5.0}% {:>12.0}% {:>8.0}",
                peak.wall,
                kernel.wall,
                100.0 * kernel.wall * classes as f64 / peak.wall,
                100.0 * kernel.cpu * classes as f64 / peak.cpu,
                kernel.wall / plain.wall
            );
        }
    }
    Ok(())
}

/// Work done per second.
#[derive(Default)]
struct Rate {
    wall: f64,
    /// Of CPU time, all threads together.
    cpu: f64,
}

impl Rate {
    /// Does some work, which tells how much it was, and keeps its rate if it is the best so far.
    fn best(&mut self, work: impl FnOnce() -> f64) -> anyhow::Result<()> {
        let cpu = || clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map(Duration::from);
        let (start, cpu_start) = (Instant::now(), cpu()?);
        let done = work();
        self.wall = self.wall.max(done / start.elapsed().as_secs_f64());
        self.cpu = self.cpu.max(done / (cpu()? - cpu_start).as_secs_f64());
        Ok(())
    }
}

/// Independent chains of multiply-adds, more than one takes cycles, with no operand but registers: what the widest vectors
/// of this processor reach.
const CHAINS: usize = 12;
const STEPS: usize = 10_000_000;

/// Runs the chains and returns how many numbers a vector has.
#[cfg(target_arch = "x86_64")]
fn chains() -> usize {
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f")]
    fn wide() {
        let (factor, term) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(0.001)));
        let mut sums = [term; CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, factor, term);
            }
        }
        black_box(sums);
    }
    #[target_feature(enable = "avx2,fma")]
    fn narrow() {
        let (factor, term) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(0.001)));
        let mut sums = [term; CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, factor, term);
            }
        }
        black_box(sums);
    }
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has the instructions.
        unsafe { wide() };
        return 16;
    }
    assert!(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"), "no fused multiply-add");
    // SAFETY: the processor has the instructions.
    unsafe { narrow() };
    8
}

/// Runs the chains and returns how many numbers a vector has.
#[cfg(target_arch = "aarch64")]
fn chains() -> usize {
    use std::arch::aarch64::*;

    // SAFETY: every processor of this architecture has the instructions.
    unsafe {
        let (factor, term) = (vdupq_n_f32(black_box(0.999)), vdupq_n_f32(black_box(0.001)));
        let mut sums = [term; CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = vfmaq_f32(term, *sum, factor);
            }
        }
        black_box(sums);
    }
    4
}
