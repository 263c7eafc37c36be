//! Sums of distances between models through libtorch: all pairs of a block at once, for as many samples at a time as find
//! room.
//!
//! A Bhattacharyya distance is `-1/N sum_n log sum_c sqrt(p_nc q_nc)`. The sums over classes are batched products of
//! matrices in f32, which libtorch computes in full f32 unless it is told otherwise. A few samples' overlaps are multiplied
//! in f64 before one logarithm is taken of them; all sums are in f64.
//!
//! The other measures are plain formulas, in f64 throughout.

mod measures;
mod scratch;

use anyhow::{Context, Result};
use distance::{Pairs, Sums};
use geometry::{Measure, Model};
use kit::Memory;
use ndarray::Array2;
use tch::{Device, Kind, TchError, Tensor};

use scratch::Scratch;

/// Distances in the making, on a device.
#[derive(Debug)]
pub struct TensorSums {
    measure: Measure,
    is_half: bool,
    memory: usize,
    /// f64 [rows, cols], on the device.
    sums: Tensor,
    /// So far.
    samples: usize,
    /// Once there are samples.
    scratch: Option<Scratch>,
}

impl TensorSums {
    /// Begins a block's sums on a device, which with the samples at hand take no more than three quarters of the memory.
    ///
    /// # Errors
    /// When the device has no room for them.
    pub fn new(device: Device, measure: Measure, pairs: Pairs, memory: Memory) -> Result<TensorSums> {
        let (rows, cols) = match pairs {
            Pairs::Between(rows, cols) => (rows, cols),
            Pairs::Within(models) => (models, models),
        };
        let sums = Tensor::f_zeros([rows as i64, cols as i64], (Kind::Double, device))
            .with_context(|| room(device, rows, cols))?;
        let memory = usize::try_from(memory.0).unwrap_or(usize::MAX);
        Ok(TensorSums {
            measure,
            is_half: matches!(pairs, Pairs::Within(_)),
            memory,
            sums,
            samples: 0,
            scratch: None,
        })
    }

    fn add_samples(&mut self, rows: &[Model], cols: &[Model]) -> Result<(), TchError> {
        let (samples, classes) = rows[0].dim();
        let TensorSums { measure, is_half, memory, sums, scratch, .. } = self;
        let scratch = match scratch {
            Some(scratch) => scratch,
            None => {
                let step = scratch::step(*memory, rows.len(), cols.len(), classes).min(samples);
                let size = (rows.len(), (!*is_half).then_some(cols.len()));
                scratch.insert(Scratch::new(sums.device(), *measure, step, size, classes)?)
            }
        };
        for start in (0..samples).step_by(scratch.step) {
            let count = scratch.step.min(samples - start);
            scratch.fill(rows, cols, start, count)?;
            measures::add(*measure, scratch, count, sums)?;
        }
        Ok(())
    }
}

impl Sums for TensorSums {
    const PAIR: usize = scratch::PAIR + measures::GROUP * scratch::PAIR_SAMPLE;

    fn add(&mut self, rows: &[Model], cols: &[Model], _like: Model) -> Result<()> {
        let cols = if self.is_half { rows } else { cols };
        let (Some(first), false) = (rows.first(), cols.is_empty()) else { return Ok(()) };
        geometry::check("row", rows, first.dim(), self.samples)?;
        if !self.is_half {
            geometry::check("column", cols, first.dim(), self.samples)?;
        }
        let device = self.sums.device();
        tch::no_grad(|| self.add_samples(rows, cols))
            .with_context(|| room(device, rows.len(), cols.len()))?;
        self.samples += first.nrows();
        Ok(())
    }

    fn mean(&self) -> Result<Array2<f64>> {
        let size = self.sums.size2()?;
        let (rows, cols) = (size.0 as usize, size.1 as usize);
        let mut totals = vec![0f64; rows * cols];
        self.sums
            .f_copy_data(&mut totals, rows * cols)
            .with_context(|| room(self.sums.device(), rows, cols))?;
        // Not in each step: a sum of few samples may be below 0 by what the others are above.
        let samples = self.samples.max(1) as f64;
        totals.iter_mut().for_each(|total| *total = total.max(0.0) / samples);
        let mut means = Array2::from_shape_vec((rows, cols), totals)?;
        if self.is_half {
            means.diag_mut().fill(0.0);
            geometry::mirror(&mut means);
        }
        Ok(means)
    }
}

/// What to say where libtorch fails.
fn room(device: Device, rows: usize, cols: usize) -> String {
    format!(
        "{rows} x {cols} distances on {device:?}; if it has no room for them, give the stage less with its parameter \
         `memory`, or let fewer jobs share it with `needs: {{per-gpu: 1}}`"
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use geometry::reference;
    use ndarray::{Array3, s};

    use super::*;

    const MEASURES: [Measure; 3] = [Measure::Bhattacharyya, Measure::Kl, Measure::Euclidean];

    fn sums(measure: Measure, pairs: Pairs, memory: u64) -> TensorSums {
        let device = device::prepare("cpu", 1).unwrap();
        TensorSums::new(device, measure, pairs, Memory(memory)).unwrap()
    }

    fn between(measure: Measure, rows: &[Model], cols: &[Model], memory: u64) -> Array2<f64> {
        let mut sums = sums(measure, Pairs::Between(rows.len(), cols.len()), memory);
        sums.add(rows, cols, rows[0]).unwrap();
        sums.mean().unwrap()
    }

    fn within(measure: Measure, models: &[Model], memory: u64) -> Array2<f64> {
        let mut sums = sums(measure, Pairs::Within(models.len()), memory);
        sums.add(models, &[], models[0]).unwrap();
        sums.mean().unwrap()
    }

    /// Panics unless all are as expected, to `absolute + relative * expected`.
    #[track_caller]
    fn assert_close(found: &Array2<f64>, expected: &Array2<f64>, absolute: f64, relative: f64) {
        assert_eq!(found.dim(), expected.dim());
        for (found, expected) in found.iter().zip(expected) {
            let error = (found - expected).abs();
            assert!(error <= absolute + relative * expected, "{found} is not {expected}: off by {error:e}");
        }
    }

    /// Deterministic models of all kinds of sharpness, softmax of sines: the sharpest have overlaps of exactly 0.
    fn models(count: usize, samples: usize, classes: usize) -> Array3<f32> {
        let logit = |(m, n, c)| ((1 + m * 31 + n * 17 + c * 7) as f64).sin() * (m * m + 1) as f64;
        let mut models = Array3::from_shape_fn((count, samples, classes), logit).mapv(f64::exp);
        for mut sample in models.rows_mut() {
            let sum = sample.sum();
            sample /= sum;
        }
        models.mapv(|p| p as f32)
    }

    #[test]
    fn agrees_with_the_kernel_however_much_memory_there_is() {
        for (rows, cols, samples, classes) in [(1, 1, 1, 1), (7, 4, 45, 10), (5, 9, 17, 300), (4, 2, 8, 2)] {
            let all = models(rows + cols, samples, classes);
            let views: Vec<Model> = all.outer_iter().collect();
            let (first, others) = views.split_at(rows);
            for measure in MEASURES {
                let expected = geometry::between(measure, first, others).unwrap();
                let expected_within = geometry::within(measure, &views).unwrap();
                for memory in [0, 20_000, 1 << 30] {
                    assert_close(&between(measure, first, others, memory), &expected, 1e-6, 1e-6);
                    let found = within(measure, &views, memory);
                    assert_close(&found, &expected_within, 1e-6, 1e-6);
                    assert_eq!(found, found.t());
                    assert!(found.diag().iter().all(|distance| distance.to_bits() == 0));
                }
            }
        }
    }

    #[test]
    fn agrees_with_the_golden_values() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/reference.safetensors");
        let file = kit::Tensors::open(Path::new(path)).unwrap();
        let models = |name| {
            let tensor = file.f32s(name).unwrap();
            let shape: [usize; 3] = tensor.shape.try_into().unwrap();
            Array3::from_shape_vec(shape, tensor.values.to_vec()).unwrap()
        };
        let matrix = |name| {
            let tensor = file.f64s(name).unwrap();
            let shape: [usize; 2] = tensor.shape.try_into().unwrap();
            Array2::from_shape_vec(shape, tensor.values.to_vec()).unwrap()
        };
        let (p, q) = (models("bhattacharyya_p"), models("bhattacharyya_q"));
        let [p, q] = [&p, &q].map(|models| models.outer_iter().collect::<Vec<Model>>());
        let found = between(Measure::Bhattacharyya, &q, &p, 1 << 30);
        assert_close(&found, &matrix("bhattacharyya_qp"), 2e-7, 1e-6);
        let found = within(Measure::Bhattacharyya, &p, 1 << 30);
        assert_close(&found, &matrix("bhattacharyya_pp"), 2e-7, 1e-6);
        let mut expected = matrix("euclidean_pp");
        expected.diag_mut().fill(0.0);
        assert_close(&within(Measure::Euclidean, &p, 1 << 30), &expected, 1e-7, 0.0);
    }

    #[test]
    fn an_empty_overlap_counts_a_hundred_and_the_smallest_keeps_its_digits() {
        let tiny = f32::from_bits(0b101);
        let p = ndarray::array![[1.0, 0.0], [0.5, 0.5], [tiny, 0.0], [1.0, 0.0]];
        let q = ndarray::array![[0.0, 1.0], [0.5, 0.5], [tiny, 0.0], [1.0, 0.0]];
        let found = between(Measure::Bhattacharyya, &[p.view()], &[q.view()], 1 << 30)[[0, 0]];
        assert!((found - (100.0 - f64::from(tiny).ln()) / 4.0).abs() < 1e-6, "{found}");
    }

    #[test]
    fn a_group_of_empty_or_of_smallest_overlaps_does_not_vanish() {
        let empty = Array2::from_shape_fn((20, 2), |(_, c)| [1.0, 0.0][c]);
        let other = Array2::from_shape_fn((20, 2), |(_, c)| [0.0, 1.0][c]);
        let found = between(Measure::Bhattacharyya, &[empty.view()], &[other.view()], 1 << 30)[[0, 0]];
        assert!((found - 100.0).abs() < 1e-6, "{found}");
        let tiny = Array2::from_elem((20, 1), f32::from_bits(1));
        let found = between(Measure::Bhattacharyya, &[tiny.view()], &[tiny.view()], 1 << 30)[[0, 0]];
        assert!((found - 149.0 * 2f64.ln()).abs() < 1e-5, "{found}");
    }

    #[test]
    fn no_sample_counts_less_than_zero() {
        let p = ndarray::array![[1.5f32, 0.0], [0.5, 0.5]];
        let q = ndarray::array![[1.5f32, 0.0], [0.25, 0.75]];
        let expected = -(0.125f64.sqrt() + 0.375f64.sqrt()).ln() / 2.0;
        let found = between(Measure::Bhattacharyya, &[p.view()], &[q.view()], 1 << 30)[[0, 0]];
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }

    #[test]
    fn certain_models_that_nearly_agree_are_within_one_percent() {
        let all = Array3::from_shape_fn((20, 200, 10), |(m, n, c)| {
            let rest = 1e-6 + 4e-6 * ((m * 7 + n * 3 + c * 5) as f64).sin().powi(2);
            if c == n % 10 { (1.0 - 9.0 * rest) as f32 } else { rest as f32 }
        });
        let views: Vec<Model> = all.outer_iter().collect();
        let (rows, cols) = views.split_at(10);
        let expected = Array2::from_shape_fn((10, 10), |(i, j)| reference::bhattacharyya(rows[i], cols[j]));
        assert!(expected.iter().all(|distance| (1e-6..1e-4).contains(distance)));
        assert_close(&between(Measure::Bhattacharyya, rows, cols, 1 << 30), &expected, 0.0, 0.01);
    }

    #[test]
    fn samples_that_come_some_at_a_time_make_the_same_distances() {
        let all = models(6, 50, 10);
        let part = |range: std::ops::Range<usize>| all.slice(s![.., range, ..]);
        for measure in MEASURES {
            let mut sums = sums(measure, Pairs::Within(6), 1 << 30);
            for range in [0..16, 16..32, 32..50] {
                let part = part(range);
                let models: Vec<Model> = part.outer_iter().collect();
                sums.add(&models, &[], models[0]).unwrap();
            }
            let views: Vec<Model> = all.outer_iter().collect();
            assert_close(&sums.mean().unwrap(), &within(measure, &views, 1 << 30), 1e-9, 1e-9);
        }
    }

    #[test]
    fn as_many_samples_are_taken_at_a_time_as_find_room() {
        let memory = 1_000_000_000;
        for (models, classes) in [(100, 10), (1000, 1000), (2000, 10), (1400, 1000)] {
            let step = scratch::step(memory, models, models, classes);
            let pairs = models * models * (scratch::PAIR + step * scratch::PAIR_SAMPLE);
            let values = 2 * models * step * classes * 32;
            assert!(step > 0 && pairs <= 500_000_000 && values <= 250_000_000, "{models} {classes}: {step}");
        }
        assert_eq!(scratch::step(memory, 1400, 1400, 10) % measures::GROUP, 0);
        assert_eq!(scratch::step(memory, 9000, 9000, 10), 1);
    }

    #[test]
    fn a_value_that_is_no_probability_is_told_with_its_place() {
        let mut all = models(3, 5, 4);
        all[[2, 3, 1]] = f32::NAN;
        let views: Vec<Model> = all.outer_iter().collect();
        let mut sums = sums(Measure::Kl, Pairs::Between(1, 2), 1 << 30);
        let error = sums.add(&views[..1], &views[1..], views[0]).unwrap_err();
        assert_eq!(error.to_string(), "column model 1, sample 3: NaN is not a probability");
    }
}
