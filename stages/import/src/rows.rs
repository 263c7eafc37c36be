//! From what was recorded, probabilities or logits, to probabilities that are checked, and their loss and error.

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// How far from 1 the probabilities of a sample may sum: what rounding to 16 bits does to a thousand classes.
const TOLERANCE: f64 = 1e-3;

/// How far from 1 the f32s of a softmax may sum; nearer ones stay as they are, bit for bit.
const ROUNDING: f64 = 1e-5;

/// Classes of a bad sample that are worth telling.
const TOLD: usize = 10;

/// What the numbers of a sample are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One for each class, of sum 1.
    Probabilities,
    /// What the softmax makes probabilities of.
    Logits,
}

/// Loss and error of a checkpoint on a split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Mean cross-entropy in nats. A label of probability 0 counts as one of the smallest normal f32.
    pub loss: f64,
    /// Share of the samples whose most probable class (the first such) is not their label.
    pub error: f64,
}

/// Makes one checkpoint's rows, [N, C] with a class a label may name, probabilities whose sum is 1 as well as f32 can
/// say it.
///
/// # Errors
/// When a number is not finite or a row is no distribution; names the sample and its values.
pub fn probabilities(kind: Kind, rows: &mut [f32], labels: &[i64]) -> Result<Score> {
    let classes = rows.len() / labels.len();
    ensure!(
        kind == Kind::Probabilities || !rows.chunks_exact(classes).all(is_distribution),
        "every sample's numbers sum to 1: they are probabilities; say `values: probabilities`"
    );
    let (mut loss, mut wrong) = (0.0, 0);
    let mut weights = vec![0.0; classes];
    for (sample, (row, &label)) in rows.chunks_exact_mut(classes).zip(labels).enumerate() {
        let label = label as usize;
        let log = match kind {
            Kind::Probabilities => checked(row, &mut weights).map(|sum| (weights[label] / sum).ln()),
            Kind::Logits => powers(row, &mut weights)
                .map(|(largest, sum)| f64::from(row[label]) - f64::from(largest) - sum.ln()),
        };
        let log = log.with_context(|| format!("sample {sample}"))?;
        loss -= if log.is_finite() { log } else { f64::from(f32::MIN_POSITIVE).ln() };
        let first_of_largest =
            |best, (class, &weight): (usize, &f64)| if weight > weights[best] { class } else { best };
        wrong += usize::from(weights.iter().enumerate().fold(0, first_of_largest) != label);
        let sum: f64 = weights.iter().sum();
        if kind == Kind::Logits || (sum - 1.0).abs() > ROUNDING {
            row.iter_mut().zip(&weights).for_each(|(value, weight)| *value = (weight / sum) as f32);
        }
    }
    let count = labels.len() as f64;
    Ok(Score { loss: loss / count, error: wrong as f64 / count })
}

fn is_distribution(row: &[f32]) -> bool {
    let sum: f64 = row.iter().map(|&value| f64::from(value)).sum();
    (sum - 1.0).abs() <= TOLERANCE && row.iter().all(|&value| value >= 0.0)
}

/// Checks the probabilities of a sample and puts them into `weights`; their sum.
fn checked(row: &[f32], weights: &mut [f64]) -> Result<f64> {
    let mut sum = 0.0;
    for (class, (weight, &value)) in weights.iter_mut().zip(row).enumerate() {
        ensure!(value >= 0.0 && value.is_finite(), "class {class} has the probability {value}{}", hint(row));
        *weight = f64::from(value);
        sum += *weight;
    }
    if (sum - 1.0).abs() > TOLERANCE {
        bail!("the probabilities {} sum to {sum:.6}, not to 1{}", told(row), hint(row));
    }
    Ok(sum)
}

/// Puts the exponentials of logits less the largest into `weights`; the largest, and their sum.
fn powers(row: &[f32], weights: &mut [f64]) -> Result<(f32, f64)> {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if let Some(class) = row.iter().position(|value| value.is_nan() || *value == f32::INFINITY) {
        bail!("class {class} has the logit {}", row[class]);
    }
    ensure!(largest.is_finite(), "all logits are {largest}");
    for (weight, &value) in weights.iter_mut().zip(row) {
        *weight = (f64::from(value) - f64::from(largest)).exp();
    }
    Ok((largest, weights.iter().sum()))
}

/// The first values of a row.
fn told(row: &[f32]) -> String {
    let first: Vec<String> = row.iter().take(TOLD).map(f32::to_string).collect();
    format!("[{}{}]", first.join(", "), if row.len() > TOLD { ", .." } else { "" })
}

/// What to do, where it looks like a mistake of the pipeline and not of the file.
fn hint(row: &[f32]) -> &'static str {
    let looks_like_logits =
        row.iter().all(|value| value.is_finite()) && row.iter().any(|&v| !(0.0..=1.0).contains(&v));
    if looks_like_logits { "; if these are logits, say `values: logits`" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: Kind, mut rows: Vec<f32>) -> String {
        format!("{:#}", probabilities(kind, &mut rows, &[0, 0]).unwrap_err())
    }

    #[test]
    fn probabilities_stay_as_they_are_and_have_their_loss_and_error() {
        let mut rows = [0.25, 0.75, 1.0, 0.0];
        let score = probabilities(Kind::Probabilities, &mut rows, &[1, 1]).unwrap();
        assert_eq!(rows, [0.25, 0.75, 1.0, 0.0]);
        let expected = -(0.75f64.ln() + f64::from(f32::MIN_POSITIVE).ln()) / 2.0;
        assert!((score.loss - expected).abs() < 1e-12, "{score:?}");
        assert_eq!(score.error, 0.5);
    }

    #[test]
    fn what_rounding_to_16_bits_took_from_the_sum_is_given_back() {
        let mut rows = [0.3333f32; 3];
        probabilities(Kind::Probabilities, &mut rows, &[0]).unwrap();
        assert_eq!(rows, [1.0 / 3.0; 3]);
        let mut rows = [0.333_333f32; 3];
        probabilities(Kind::Probabilities, &mut rows, &[0]).unwrap();
        assert_eq!(rows, [0.333_333; 3], "what a softmax gives stays as it is");
    }

    #[test]
    fn logits_become_their_softmax() {
        let mut rows = [1000.0, 1000.0 + 3f32.ln(), 0.0, f32::NEG_INFINITY];
        let score = probabilities(Kind::Logits, &mut rows, &[0, 0]).unwrap();
        assert!((rows[0] - 0.25).abs() < 1e-5 && (rows[1] - 0.75).abs() < 1e-5, "{rows:?}");
        assert_eq!(rows[2..], [1.0, 0.0]);
        assert!((score.loss - 4f64.ln() / 2.0).abs() < 1e-4, "{score:?}");
        assert_eq!(score.error, 0.5);
    }

    #[test]
    fn a_row_that_is_no_distribution_is_told_with_its_sample_and_values() {
        let refused = |rows: [f32; 4]| refused(Kind::Probabilities, rows.to_vec());
        assert_eq!(
            refused([0.5, 0.5, 0.5, 0.75]),
            "sample 1: the probabilities [0.5, 0.75] sum to 1.250000, not to 1"
        );
        assert_eq!(refused([0.5, 0.5, f32::NAN, 0.5]), "sample 1: class 0 has the probability NaN");
        assert_eq!(
            refused([3.5, -1.0, 0.5, 0.5]),
            "sample 0: class 1 has the probability -1; if these are logits, say `values: logits`"
        );
        assert_eq!(
            refused([1.0, 0.0, 0.5, 4.0]),
            "sample 1: the probabilities [0.5, 4] sum to 4.500000, not to 1; if these are logits, say `values: logits`"
        );
    }

    #[test]
    fn logits_that_are_no_numbers_are_told_with_their_sample_and_class() {
        let refused = |rows: [f32; 4]| refused(Kind::Logits, rows.to_vec());
        assert_eq!(refused([0.0, 0.0, 1.0, f32::NAN]), "sample 1: class 1 has the logit NaN");
        assert_eq!(refused([f32::INFINITY, 0.0, 1.0, 1.0]), "sample 0: class 0 has the logit inf");
        let none = [1.0, 1.0, f32::NEG_INFINITY, f32::NEG_INFINITY];
        assert_eq!(refused(none), "sample 1: all logits are -inf");
    }

    #[test]
    fn probabilities_are_not_taken_for_logits() {
        let message = refused(Kind::Logits, vec![0.5, 0.5, 1.0, 0.0]);
        assert!(message.ends_with("they are probabilities; say `values: probabilities`"), "{message}");
        assert!(probabilities(Kind::Logits, &mut [0.5, 0.5, 1.0, 0.1], &[0, 0]).is_ok());
    }

    #[test]
    fn only_the_first_classes_of_many_are_told() {
        let mut row = vec![1.0; 1000];
        let message =
            probabilities(Kind::Probabilities, &mut row, &[0]).unwrap_err().root_cause().to_string();
        assert!(
            message.starts_with("the probabilities [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, ..] sum to 1000"),
            "{message}"
        );
    }
}
