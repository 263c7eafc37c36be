//! When a training run keeps a checkpoint, and its rate at each step.

use std::f64::consts::PI;

/// The run length, in epochs, that the paper's thresholds are meant for. Its longer runs keep them and go on.
const REFERENCE_EPOCHS: u64 = 200;

/// The checkpoints of a run, as numbers of steps done, ascending.
///
/// With epochs counted from 0: before training; in epochs 0..4 four or five times; after every epoch 5..25; after epochs
/// 28, 32, .. 64; after 75, 90, ..; after the last. In runs shorter than 200 epochs these epochs shrink in proportion,
/// rounded to whole ones, and what then coincides is kept once. `early` says of how many first epochs four or five are
/// kept, instead of 5 shrunken ones.
pub fn checkpoints(epochs: u64, steps_per_epoch: u64, early: Option<u64>) -> Vec<u64> {
    let scale = (epochs as f64 / REFERENCE_EPOCHS as f64).min(1.0);
    let scaled = |epoch: u64| (epoch as f64 * scale).round() as u64;
    let mut steps = vec![0, epochs * steps_per_epoch];
    for epoch in 0..early.unwrap_or_else(|| scaled(5).max(1)).min(epochs) {
        let often = usize::try_from((steps_per_epoch / 4).max(1)).unwrap_or(usize::MAX);
        steps.extend((0..steps_per_epoch).step_by(often).map(|step| epoch * steps_per_epoch + step + 1));
    }
    let seldom = (75..epochs.max(REFERENCE_EPOCHS)).step_by(15);
    let later = (5..=25).chain((28..=64).step_by(4)).chain(seldom).map(scaled);
    steps.extend(later.filter(|&epoch| epoch < epochs).map(|epoch| (epoch + 1) * steps_per_epoch));
    steps.sort_unstable();
    steps.dedup();
    steps
}

/// The rate of a step, counted from 0: half a cosine from `rate` to 0.
pub fn cosine(rate: f64, step: u64, steps: u64) -> f64 {
    0.5 * rate * (1.0 + (PI * step as f64 / steps as f64).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_runs_keep_as_many_checkpoints_as_the_paper() {
        let count = |epochs, steps| checkpoints(epochs, steps, None).len();
        assert_eq!([count(200, 250), count(200, 100), count(200, 50)], [67, 62, 67]);
        assert_eq!([count(300, 250), count(300, 100), count(300, 50)], [73, 68, 73]);
    }

    #[test]
    fn early_epochs_are_kept_after_steps_1_63_125_187_and_249() {
        let kept = checkpoints(200, 250, None);
        assert_eq!(kept[..11], [0, 1, 63, 125, 187, 249, 251, 313, 375, 437, 499]);
        assert_eq!(kept[26], 6 * 250, "the first whole epoch is epoch 5");
        assert_eq!(kept[64..], [181 * 250, 196 * 250, 200 * 250]);
    }

    #[test]
    fn short_runs_keep_the_start_and_the_end_and_nothing_twice() {
        assert_eq!(checkpoints(1, 8, None), [0, 1, 3, 5, 7, 8]);
        assert_eq!(checkpoints(2, 1, None), [0, 1, 2]);
        for epochs in 1..60 {
            let kept = checkpoints(epochs, 40, None);
            assert!(kept.windows(2).all(|pair| pair[0] < pair[1]), "{epochs} epochs: {kept:?}");
            assert_eq!((kept[0], kept[kept.len() - 1]), (0, epochs * 40));
        }
        assert_eq!(checkpoints(30, 40, None)[..6], [0, 1, 11, 21, 31, 80], "thresholds shrink to 30/200");
    }

    #[test]
    fn more_first_epochs_may_be_kept_in_detail() {
        let kept = checkpoints(20, 100, Some(5));
        let detailed =
            [0, 1, 26, 51, 76, 101, 126, 151, 176, 200, 201, 226, 251, 276, 300, 301, 326, 351, 376];
        assert_eq!(kept[..19], detailed);
        let count = |epochs| checkpoints(epochs, 100, Some(5)).len();
        assert_eq!([16, 20, 24, 30].map(count), [36, 36, 38, 40]);
        assert_eq!(checkpoints(200, 250, Some(5)), checkpoints(200, 250, None));
        assert_eq!(
            checkpoints(2, 8, Some(5)),
            [0, 1, 3, 5, 7, 8, 9, 11, 13, 15, 16],
            "no more than there are"
        );
        assert_eq!(checkpoints(2, 8, Some(0)), [0, 8, 16]);
    }

    #[test]
    fn the_rate_falls_from_its_value_to_nearly_0() {
        assert_eq!(cosine(0.1, 0, 5), 0.1);
        assert!((cosine(0.1, 50, 100) - 0.05).abs() < 1e-15);
        assert!(cosine(0.1, 99, 100) < 3e-5);
    }
}
