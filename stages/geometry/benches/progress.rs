//! Progress of the checkpoints of a run beside the plain search by halves, in one run: `cargo bench -p geometry --bench
//! progress`. One thread each.

use std::hint::black_box;
use std::time::Instant;

use geometry::{Alignment, Truth, reference};
use ndarray::Array3;

/// Each time is the best of so many repetitions: the machine may be shared.
const REPETITIONS: usize = 3;

fn main() -> anyhow::Result<()> {
    println!("checkpoints  samples  classes  halves s   ours s  ratio  largest difference");
    for (checkpoints, samples, classes) in
        [(67, 1_000, 10), (67, 10_000, 10), (20, 50_000, 10), (20, 10_000, 100), (4, 5_000, 1_000)]
    {
        let labels: Vec<i64> = (0..samples).map(|n| ((n * 7) % classes) as i64).collect();
        let truth = Truth::new(&labels, classes)?;
        let run = run(checkpoints, samples, &truth);
        let (mut halves, mut fast) = (f64::INFINITY, f64::INFINITY);
        let mut difference = 0.0f64;
        for _ in 0..REPETITIONS {
            let start = Instant::now();
            let plain = run.outer_iter().map(|model| reference::progress(model, &truth));
            let plain: Vec<f64> = black_box(plain.collect());
            halves = halves.min(start.elapsed().as_secs_f64());
            let start = Instant::now();
            let place = |model| Alignment::new(model, &truth).place();
            let found: Vec<_> = black_box(run.outer_iter().map(place).collect());
            fast = fast.min(start.elapsed().as_secs_f64());
            for (plain, found) in plain.iter().zip(&found) {
                difference = difference.max((plain - found.progress).abs());
            }
        }
        println!(
            "{checkpoints:>11}  {samples:>7}  {classes:>7}  {halves:>8.3}  {fast:>8.3}  {:>5.1}  {difference:>18.1e}",
            halves / fast
        );
    }
    Ok(())
}

/// Checkpoints [T, N, C] that go from ignorance to truth, each sample at its own pace and a little to the side.
fn run(checkpoints: usize, samples: usize, truth: &Truth) -> Array3<f32> {
    let classes = truth.classes();
    let mut run = Array3::from_shape_fn((checkpoints, samples, classes), |(t, n, c)| {
        let wave = ((n * 31 + c * 17 + t * 7) % 1_009) as f32 / 1_009.0;
        let pace = 0.5 + ((n * 13) % 101) as f32 / 101.0;
        let logit = 8.0 * pace * (t + 1) as f32 / checkpoints as f32;
        (wave + if c == truth.labels()[n] { logit } else { 0.0 }).exp()
    });
    for mut sample in run.rows_mut() {
        sample /= sample.sum();
    }
    run
}
