//! Synthetic data: normal inputs whose variances fall exponentially, labelled by a random network.

use std::path::Path;

use anyhow::{Result, ensure};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::StandardNormal;
use serde::Deserialize;
use serde_json::json;

use crate::eigenvalues;

const INPUTS: usize = 200;
const HIDDEN: usize = 50;
const CLASSES: usize = 5;
const TRAIN: usize = 5000;
const TEST: usize = 1000;

/// What the `data` parameter says of them.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sloppy {
    /// How fast the eigenvalues of the covariance fall: number i, from 0, is 50 c exp(-c i) / 200. 0.5 is sloppy, 0.001 not.
    c: f64,
    /// Of inputs and teacher.
    seed: u64,
}

/// What has random numbers of its own.
#[derive(Debug, Clone, Copy)]
enum Stream {
    Teacher,
    Train,
    Test,
}

impl Sloppy {
    /// Writes the tensors `train_inputs`, `test_inputs` (f32 [N, 1, 1, 200]), `train_labels`, `test_labels` (i64 `[N]`),
    /// and the eigenvalues of the covariance, largest first: `eigenvalues`, the formula's, and `sample_eigenvalues`, those
    /// of the train inputs (f64 `[200]`).
    ///
    /// # Errors
    /// When `c` is not positive, or the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let Sloppy { c, seed } = *self;
        ensure!(c.is_finite() && c > 0.0, "data.c is {c}, must be positive");
        let eigenvalues: Vec<f64> = (0..INPUTS).map(|i| self.eigenvalue(i)).collect();
        let teacher = Teacher::new(&mut self.random(Stream::Teacher));
        let mut tensors = kit::TensorsWriter::new();
        for (name, stream, count) in [("train", Stream::Train, TRAIN), ("test", Stream::Test, TEST)] {
            let inputs = self.inputs(&eigenvalues, count, stream);
            let labels: Vec<i64> =
                inputs.chunks_exact(INPUTS).map(|input| teacher.class(input) as i64).collect();
            tensors.f32s(&format!("{name}_inputs"), &[count, 1, 1, INPUTS], &inputs);
            tensors.i64s(&format!("{name}_labels"), &[count], &labels);
            if let Stream::Train = stream {
                let found = eigenvalues::of_covariance(&inputs, INPUTS);
                tensors.f64s("sample_eigenvalues", &[INPUTS], &found);
            }
        }
        tensors.f64s("eigenvalues", &[INPUTS], &eigenvalues);
        let classes: Vec<String> = (0..CLASSES).map(|class| class.to_string()).collect();
        Ok(tensors.write(path, &json!({"name": "sloppy", "classes": classes, "c": c, "seed": seed}))?)
    }

    fn eigenvalue(&self, i: usize) -> f64 {
        50.0 * self.c * (-self.c * i as f64).exp() / 200.0
    }

    fn random(&self, stream: Stream) -> ChaCha8Rng {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(stream as u64);
        random
    }

    /// [count, INPUTS], row-major. The eigenvectors are the axes.
    fn inputs(&self, eigenvalues: &[f64], count: usize, stream: Stream) -> Vec<f32> {
        let mut random = self.random(stream);
        let input = |place: usize| {
            let normal: f64 = random.sample(StandardNormal);
            (eigenvalues[place % INPUTS].sqrt() * normal) as f32
        };
        (0..count * INPUTS).map(input).collect()
    }
}

/// Linear, tanh, linear, without biases, with PyTorch's initial values.
#[derive(Debug)]
struct Teacher {
    /// [HIDDEN, INPUTS].
    hidden: Vec<f64>,
    /// [CLASSES, HIDDEN].
    head: Vec<f64>,
}

impl Teacher {
    fn new(random: &mut ChaCha8Rng) -> Teacher {
        let mut draw = |inputs: usize, outputs: usize| -> Vec<f64> {
            let bound = 1.0 / (inputs as f64).sqrt();
            (0..inputs * outputs).map(|_| (2.0 * random.random::<f64>() - 1.0) * bound).collect()
        };
        Teacher { hidden: draw(INPUTS, HIDDEN), head: draw(HIDDEN, CLASSES) }
    }

    /// The class with the largest output, the first such.
    fn class(&self, input: &[f32]) -> usize {
        let input: Vec<f64> = input.iter().map(|&x| f64::from(x)).collect();
        let hidden: Vec<f64> = product(&self.hidden, &input).map(f64::tanh).collect();
        let outputs: Vec<f64> = product(&self.head, &hidden).collect();
        (1..CLASSES).fold(0, |best, class| if outputs[class] > outputs[best] { class } else { best })
    }
}

/// A matrix, row-major, times a vector.
fn product<'a>(matrix: &'a [f64], vector: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
    matrix.chunks_exact(vector.len()).map(move |row| row.iter().zip(vector).map(|(a, b)| a * b).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(c: f64, seed: u64) -> kit::Tensors {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("data.safetensors");
        Sloppy { c, seed }.write(&path).unwrap();
        // The mapping outlives the file's name.
        kit::Tensors::open(&path).unwrap()
    }

    #[test]
    fn sample_eigenvalues_agree_with_the_formula_within_their_error() {
        let data = written(0.5, 1);
        let formula = data.f64s("eigenvalues").unwrap().values;
        let sample = data.f64s("sample_eigenvalues").unwrap().values;
        assert_eq!((formula.len(), sample.len()), (200, 200));
        assert_eq!(formula[0], 0.125);
        assert!((formula[10] / (0.125 * (-5f64).exp()) - 1.0).abs() < 1e-12);
        // The relative error of a variance of N normal numbers is sqrt(2 / N); each larger axis takes one of the N; and
        // neighbours drive each other apart, by a few parts in N.
        for (i, (formula, sample)) in formula.iter().zip(sample).enumerate() {
            let expected = 1.0 - i as f64 / TRAIN as f64;
            let error = sample / formula / expected - 1.0;
            assert!(error.abs() < 5.0 * (2.0 / TRAIN as f64).sqrt(), "eigenvalue {i}: {error}");
        }
    }

    #[test]
    fn eigenvalues_that_hardly_fall_are_spread_by_sampling_alone() {
        let data = written(0.001, 1);
        let formula = data.f64s("eigenvalues").unwrap().values;
        let sample = data.f64s("sample_eigenvalues").unwrap().values;
        let (expected, found): (f64, f64) = (formula.iter().sum(), sample.iter().sum());
        // The sum of all is that of N n squares of nearly one variance.
        assert!((found / expected - 1.0).abs() < 5.0 * (2.0 / (TRAIN * INPUTS) as f64).sqrt());
        // Marchenko and Pastur: of equal ones all lie within (1 ± sqrt(n / N))², and here the largest and smallest differ.
        let ratio = (INPUTS as f64 / TRAIN as f64).sqrt();
        assert!(sample[0] < 1.03 * formula[0] * (1.0 + ratio).powi(2), "{}", sample[0] / formula[0]);
        assert!(sample[199] > 0.97 * formula[199] * (1.0 - ratio).powi(2), "{}", sample[199] / formula[199]);
    }

    #[test]
    fn the_teacher_has_the_papers_weights_and_uses_every_class() {
        let sloppy = Sloppy { c: 0.5, seed: 1 };
        let Teacher { hidden, head } = Teacher::new(&mut sloppy.random(Stream::Teacher));
        assert_eq!(hidden.len() + head.len(), 10_250);
        for c in [0.5, 0.001] {
            let data = written(c, 1);
            assert_eq!(data.f32s("train_inputs").unwrap().shape, [5000, 1, 1, 200]);
            assert_eq!(data.f32s("test_inputs").unwrap().shape, [1000, 1, 1, 200]);
            for (name, count) in [("train_labels", 5000), ("test_labels", 1000)] {
                let labels = data.i64s(name).unwrap().values;
                let counts: Vec<usize> =
                    (0..5).map(|class| labels.iter().filter(|&&label| label == class).count()).collect();
                assert_eq!(counts.iter().sum::<usize>(), count);
                assert!(counts.iter().all(|&of| of > count / 100), "c {c}, {name}: {counts:?}");
            }
        }
    }

    #[test]
    fn labels_are_those_of_the_teacher() {
        // A hidden unit that is the first input, and an output that is the opposite of it.
        let mut teacher = Teacher { hidden: vec![0.0; HIDDEN * INPUTS], head: vec![0.0; CLASSES * HIDDEN] };
        teacher.hidden[0] = 1.0;
        teacher.head[3 * HIDDEN] = -1.0;
        let mut input = [0.0; INPUTS];
        assert_eq!(teacher.class(&input), 0);
        input[0] = -0.5;
        assert_eq!(teacher.class(&input), 3);
        input[0] = 0.5;
        assert_eq!(teacher.class(&input), 0);
    }

    #[test]
    fn the_seed_fixes_the_data() {
        let labels = |seed| written(0.5, seed).i64s("train_labels").unwrap().values.to_vec();
        assert_eq!(labels(1), labels(1));
        assert_ne!(labels(1), labels(2));
    }

    #[test]
    fn a_fall_that_is_not_positive_is_refused() {
        let message = Sloppy { c: 0.0, seed: 1 }.write(Path::new("nowhere")).unwrap_err().to_string();
        assert_eq!(message, "data.c is 0, must be positive");
    }
}
