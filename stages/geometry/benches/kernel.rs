//! The Bhattacharyya kernel beside the processor's peak and the plain formula, in one run: `cargo bench -p geometry`.
//!
//! Everything is told per second of wall time and, because machines are shared, per second of CPU time that was had.

mod peak;

use std::hint::black_box;
use std::time::{Duration, Instant};

use geometry::{Measure, Model, reference, within};
use ndarray::Array3;
use nix::time::{ClockId, clock_gettime};
use peak::multiply_adds;

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
        (1_200, 2_000, 11),
        (1_200, 1_500, 14),
        (1_200, 1_000, 20),
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
                peak.best(|| pool.broadcast(|_| multiply_adds()).into_iter().sum())?;
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
