//! Measures without a kernel of their own: samples in chunks, each prepared once per model, then pair by pair in f64.

use ndarray::{Array2, s};
use rayon::prelude::*;

use crate::bhattacharyya;
use crate::distance::{Model, Sums, are_probabilities};
use crate::reference::PROBABILITY_FLOOR;

/// Numbers prepared from a probability.
type Prepared = [f64; 2];

/// How a measure is computed from what can be prepared of each model.
#[derive(Clone, Copy)]
pub(crate) struct Plain {
    prepare: fn(f64) -> Prepared,
    /// The distance of two samples, from what was prepared of their C probabilities.
    sample: fn(&[Prepared], &[Prepared]) -> f64,
}

/// Symmetrised Kullback-Leibler divergence: `1/2 sum_c (p - q) (log p - log q)`, the logarithms prepared.
pub(crate) const KL: Plain = Plain {
    prepare: |p| {
        let p = p.max(PROBABILITY_FLOOR);
        [p, p.ln()]
    },
    sample: |p, q| 0.5 * p.iter().zip(q).map(|(p, q)| (p[0] - q[0]) * (p[1] - q[1])).sum::<f64>(),
};

/// Euclidean distance of the probability vectors.
pub(crate) const EUCLIDEAN: Plain = Plain {
    prepare: |p| [p, 0.0],
    sample: |p, q| p.iter().zip(q).map(|(p, q)| (p[0] - q[0]).powi(2)).sum::<f64>().sqrt(),
};

/// Sums of the distances between `rows` and `cols` models.
pub(crate) fn between(measure: Plain, rows: usize, cols: usize) -> Box<dyn Sums> {
    Box::new(Pairs { measure, is_half: false, sums: Array2::zeros((rows, cols)) })
}

/// Sums of the distances among so many models.
pub(crate) fn within(measure: Plain, models: usize) -> Box<dyn Sums> {
    Box::new(Pairs { measure, is_half: true, sums: Array2::zeros((models, models)) })
}

/// The sums of all pairs.
struct Pairs {
    measure: Plain,
    /// Whether rows and columns are the same models, so that only pairs above the diagonal count.
    is_half: bool,
    sums: Array2<f64>,
}

impl Sums for Pairs {
    fn add(&mut self, rows: &[Model], cols: &[Model], _like: Model) -> bool {
        let (Some(model), false) = (rows.first(), cols.is_empty()) else { return true };
        if !rows.par_iter().chain(cols).all(|model| are_probabilities(*model)) {
            return false;
        }
        let Pairs { measure, is_half, sums } = self;
        let (samples, classes) = model.dim();
        let chunk = bhattacharyya::chunk(classes);
        for start in (0..samples).step_by(chunk) {
            let range = start..samples.min(start + chunk);
            let prepare = |model: &Model| {
                let values = model.slice(s![range.clone(), ..]);
                values.iter().map(|&p| (measure.prepare)(p.into())).collect::<Vec<_>>()
            };
            let rows: Vec<_> = rows.par_iter().map(prepare).collect();
            let cols: Vec<_> = cols.par_iter().map(prepare).collect();
            let lines = sums.as_slice_mut().expect("a new array is contiguous");
            lines.par_chunks_mut(cols.len()).enumerate().for_each(|(i, line)| {
                let first = if *is_half { i + 1 } else { 0 };
                for (sum, col) in line.iter_mut().zip(&cols).skip(first) {
                    let pairs = rows[i].chunks_exact(classes).zip(col.chunks_exact(classes));
                    *sum += pairs.map(|(p, q)| (measure.sample)(p, q)).sum::<f64>();
                }
            });
        }
        true
    }

    fn over(&self, divisor: f64) -> Array2<f64> {
        &self.sums / divisor
    }
}
