//! Speed of the Bhattacharyya kernel beside the plain formula: `cargo run --release -p geometry --example speed`.

use std::time::Instant;

use geometry::{Measure, Model, reference, within};
use ndarray::Array3;

fn main() -> anyhow::Result<()> {
    for (count, samples, classes) in [(480, 2_000, 10), (1_900, 1_000, 10), (60, 500, 1_000)] {
        let models = Array3::from_shape_fn((count, samples, classes), |(m, n, c)| {
            (((m * 31 + n * 17 + c * 7) as f64).sin().exp() / (1.3 * classes as f64)) as f32
        });
        let views: Vec<Model> = models.outer_iter().collect();
        println!("{count} models, {samples} samples, {classes} classes:");
        for threads in [1, 2] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
            let start = Instant::now();
            let distances = pool.install(|| within(Measure::Bhattacharyya, &views))?;
            let speed = rate(count * (count + 1) / 2 * samples, start);
            println!(
                "  kernel, {threads} threads: {speed:.3e} pair-samples/s (mean {:.6})",
                distances.mean().unwrap_or(0.0)
            );
        }
        let start = Instant::now();
        let some = &views[..12];
        let sum: f64 = some.iter().flat_map(|p| some.iter().map(|q| reference::bhattacharyya(*p, *q))).sum();
        println!(
            "  plain, 1 thread: {:.3e} pair-samples/s (mean {:.6})",
            rate(144 * samples, start),
            sum / 144.0
        );
    }
    Ok(())
}

fn rate(work: usize, start: Instant) -> f64 {
    work as f64 / start.elapsed().as_secs_f64()
}
