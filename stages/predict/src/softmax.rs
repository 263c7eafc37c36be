//! From logits to probabilities, loss and error, on the host in f64: the same on every device.

use anyhow::{Result, ensure};

/// How far a sample's probabilities may sum from 1.
const TOLERANCE: f64 = 1e-5;

/// Loss and error of one checkpoint on one split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Mean cross-entropy, in nats.
    pub loss: f64,
    /// Share of the samples whose largest logit (the first such) is not that of their label.
    pub error: f64,
}

/// Appends the probabilities of N samples, given logits [N, C] and labels `[N]`, to `probabilities`.
///
/// # Errors
/// When the probabilities of a sample do not sum to 1 (a logit is infinite or not a number); names the sample.
pub fn softmax(logits: &[f32], labels: &[i64], probabilities: &mut Vec<f32>) -> Result<Score> {
    let classes = logits.len() / labels.len();
    let (mut loss, mut wrong) = (0.0, 0);
    let mut powers = vec![0.0; classes];
    for (sample, (logits, &label)) in logits.chunks_exact(classes).zip(labels).enumerate() {
        let first_of_largest = |best, (class, &logit)| if logit > logits[best] { class } else { best };
        let best = logits.iter().enumerate().fold(0, first_of_largest);
        let largest = f64::from(logits[best]);
        for (power, &logit) in powers.iter_mut().zip(logits) {
            *power = (f64::from(logit) - largest).exp();
        }
        let total: f64 = powers.iter().sum();
        let start = probabilities.len();
        probabilities.extend(powers.iter().map(|power| (power / total) as f32));
        let sum: f64 = probabilities[start..].iter().map(|&probability| f64::from(probability)).sum();
        // Not `>`: a sum that is not a number fails as well.
        ensure!(
            (sum - 1.0).abs() <= TOLERANCE,
            "sample {sample}: probabilities sum to {sum}; logits {logits:?}"
        );
        loss += total.ln() + largest - f64::from(logits[label as usize]);
        wrong += usize::from(best as i64 != label);
    }
    let count = labels.len() as f64;
    Ok(Score { loss: loss / count, error: wrong as f64 / count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_loss_and_error_are_those_of_the_definition() {
        let mut probabilities = Vec::new();
        let logits = [0.0, 0.0, 1f32.exp(), 1.0, 2.0, 3.0];
        let score = softmax(&logits, &[2, 0], &mut probabilities).unwrap();
        let e = f64::from(1f32.exp()).exp();
        assert!((f64::from(probabilities[2]) - e / (2.0 + e)).abs() < 1e-7);
        assert!((f64::from(probabilities[3]) - 0.090_030_573).abs() < 1e-7);
        let expected = 0.5 * (-(e / (2.0 + e)).ln() - 0.090_030_573_17f64.ln());
        assert!((score.loss - expected).abs() < 1e-9, "{} for {expected}", score.loss);
        assert_eq!(score.error, 0.5);
    }

    #[test]
    fn roundings_of_a_thousand_classes_do_not_add_up_to_an_error() {
        let logits: Vec<f32> = (0..3_000_i16).map(|at| 8.0 * f32::from(at).sin()).collect();
        let mut probabilities = Vec::new();
        let score = softmax(&logits, &[0, 500, 999], &mut probabilities).unwrap();
        let loss = |sample: usize, label: usize| {
            let logits = logits[1_000 * sample..][..1_000].iter().map(|logit| f64::from(*logit));
            logits.clone().map(f64::exp).sum::<f64>().ln() - logits.clone().nth(label).unwrap()
        };
        let expected = (loss(0, 0) + loss(1, 500) + loss(2, 999)) / 3.0;
        assert!((score.loss - expected).abs() < 1e-9, "{} for {expected}", score.loss);
        let share = (f64::from(logits[2_999]) - f64::from(logits[2_500])).exp();
        assert!((f64::from(probabilities[2_999] / probabilities[2_500]) / share - 1.0).abs() < 1e-6);
    }

    #[test]
    fn large_logits_neither_overflow_nor_lose_their_loss() {
        let mut probabilities = Vec::new();
        let score = softmax(&[1000.0, 0.0], &[1], &mut probabilities).unwrap();
        assert_eq!(probabilities, [1.0, 0.0]);
        assert_eq!((score.loss, score.error), (1000.0, 1.0));
    }

    #[test]
    fn a_logit_that_is_not_a_number_is_told_with_its_sample() {
        for bad in [f32::NAN, f32::INFINITY] {
            let message = softmax(&[0.0, 0.0, 0.0, bad], &[0, 0], &mut Vec::new()).unwrap_err().to_string();
            assert!(message.starts_with("sample 1: probabilities sum to NaN"), "{message}");
        }
    }

    #[test]
    fn equal_logits_count_as_the_first_class() {
        assert_eq!(softmax(&[1.0, 1.0], &[0], &mut Vec::new()).unwrap().error, 0.0);
        assert_eq!(softmax(&[1.0, 1.0], &[1], &mut Vec::new()).unwrap().error, 1.0);
    }
}
