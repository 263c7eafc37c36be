//! Room for what is computed of some samples, taken once for a block of models: a step allocates next to nothing, so that
//! what a job takes is what is counted here, whatever libtorch's allocator does with memory that is freed.

use geometry::{Measure, Model};
use ndarray::s;
use tch::{Device, Kind, TchError, Tensor};

use crate::measures::GROUP;

/// Bytes of a pair, whatever the number of samples: its sum, [`Scratch::product`], a copy that libtorch makes of that's
/// factor in f64 on a processor, and the mean.
pub(crate) const PAIR: usize = 4 * size_of::<f64>();

/// Bytes of a pair and a sample at most.
pub(crate) const PAIR_SAMPLE: usize = size_of::<f64>();

/// Bytes of a probability: it, gathered, as a tensor and on the device; its root; and two numbers in f64.
const VALUE: usize = 4 * size_of::<f32>() + 2 * size_of::<f64>();

/// Tensors on a device for a number of samples at most, S, of m rows and n columns.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// S.
    pub(crate) step: usize,
    pub(crate) rows: Side,
    /// None where the columns are the rows.
    cols: Option<Side>,
    /// A number for each pair and sample, [S, m, n].
    pub(crate) pairs: Tensor,
    /// A number for each pair, f64 [m, n].
    pub(crate) product: Tensor,
}

/// The models of one side.
#[derive(Debug)]
pub(crate) struct Side {
    is_by_model: bool,
    gathered: Vec<f32>,
    /// Probabilities, f32 [S, m, C], or [m, S, C] for [`Measure::Kl`].
    pub(crate) values: Tensor,
    /// The same, f32.
    pub(crate) roots: Tensor,
    /// The same, f64.
    pub(crate) doubles: Tensor,
    /// The same, f64.
    pub(crate) others: Tensor,
}

/// Samples at a time. Pairs have half of the memory, in which those of the largest block have room for [`GROUP`] samples;
/// blocks that are smaller take no more for theirs, so that they find the room that a larger one leaves. Predictions have
/// a quarter.
pub(crate) fn step(memory: usize, rows: usize, cols: usize, classes: usize) -> usize {
    let pairs = rows * cols;
    let of_group = GROUP * PAIR_SAMPLE;
    let for_pairs = memory / 2 / (PAIR + of_group) * of_group / (pairs * PAIR_SAMPLE).max(1);
    let for_values = memory / 4 / ((rows + cols) * classes * VALUE).max(1);
    let step = for_pairs.min(for_values);
    // Whole groups, if there is room for one.
    if step < GROUP { step.max(1) } else { step - step % GROUP }
}

impl Scratch {
    pub(crate) fn new(
        device: Device,
        measure: Measure,
        step: usize,
        (rows, cols): (usize, Option<usize>),
        classes: usize,
    ) -> Result<Scratch, TchError> {
        let side = |models| Side::new(device, measure, step, models, classes);
        let kind = if measure == Measure::Bhattacharyya { Kind::Float } else { Kind::Double };
        let [samples, height, width] = [step, rows, cols.unwrap_or(rows)].map(|size| size as i64);
        // The divergence is a product of matrices over all samples at once.
        let samples = if measure == Measure::Kl { 0 } else { samples };
        Ok(Scratch {
            step,
            rows: side(rows)?,
            cols: cols.map(side).transpose()?,
            pairs: Tensor::f_empty([samples, height, width], (kind, device))?,
            product: Tensor::f_empty([height, width], (Kind::Double, device))?,
        })
    }

    /// Brings so many samples from `start` on to the device.
    pub(crate) fn fill(
        &mut self,
        rows: &[Model],
        cols: &[Model],
        start: usize,
        count: usize,
    ) -> Result<(), TchError> {
        self.rows.fill(rows, start, count)?;
        self.cols.as_mut().map_or(Ok(()), |side| side.fill(cols, start, count))
    }

    /// Both sides.
    pub(crate) fn sides(&mut self) -> (&mut Side, Option<&mut Side>) {
        (&mut self.rows, self.cols.as_mut())
    }

    /// The columns, which may be the rows.
    pub(crate) fn cols(&self) -> &Side {
        self.cols.as_ref().unwrap_or(&self.rows)
    }
}

impl Side {
    fn new(
        device: Device,
        measure: Measure,
        step: usize,
        models: usize,
        classes: usize,
    ) -> Result<Side, TchError> {
        let [step, models, classes] = [step, models, classes].map(|size| size as i64);
        let is_by_model = measure == Measure::Kl;
        let size = if is_by_model { [models, step, classes] } else { [step, models, classes] };
        let empty = |kind| Tensor::f_empty(size, (kind, device));
        Ok(Side {
            is_by_model,
            gathered: vec![1.0; (step * models * classes) as usize],
            values: empty(Kind::Float)?,
            roots: empty(Kind::Float)?,
            doubles: empty(Kind::Double)?,
            others: empty(Kind::Double)?,
        })
    }

    /// Samples that are missing in the last step have 1 everywhere.
    fn fill(&mut self, models: &[Model], start: usize, count: usize) -> Result<(), TchError> {
        let (first, second, classes) = self.values.size3()?;
        let classes = classes as usize;
        let strides = match self.is_by_model {
            true => (second as usize * classes, classes),
            false => (classes, second as usize * classes),
        };
        self.gathered.fill(1.0);
        for (number, model) in models.iter().enumerate() {
            let samples = model.slice(s![start..start + count, ..]);
            for (sample, values) in samples.rows().into_iter().enumerate() {
                let place = number * strides.0 + sample * strides.1;
                self.gathered[place..place + classes].iter_mut().zip(values).for_each(|(to, p)| *to = *p);
            }
        }
        self.values.f_copy_(&Tensor::f_from_slice(&self.gathered)?.f_view([first, second, classes as i64])?)
    }
}
