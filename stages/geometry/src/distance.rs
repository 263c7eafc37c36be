//! Matrices of distances between models, by any of the measures.

use std::ops::Range;

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::GeometryError;
use crate::{bhattacharyya, plain};

/// A model: f32 probabilities [N, C]. Models of several files need not be copied into one array.
pub type Model<'a> = ArrayView2<'a, f32>;

/// A way to tell how far two models are apart; each is a mean over samples. [`crate::reference`] defines them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// `-log sum_c sqrt(p_c q_c)`, within 2e-7 + 1e-6 d of the distance of the same f32 probabilities in f64.
    #[default]
    Bhattacharyya,
    /// `1/2 (KL(p, q) + KL(q, p))` of probabilities floored at 1e-10.
    Kl,
    /// `|p - q|`.
    Euclidean,
}

/// Sums over samples of the distances of pairs of models.
pub(crate) trait Sums: Send {
    /// Adds samples. All models have the same shape; where the sums are among models, these are rows and columns. To the
    /// class that gets most from `like`, others probably give most, too. Says whether all values are probabilities; if
    /// not, the sums are of no use.
    fn add(&mut self, rows: &[Model], cols: &[Model], like: Model) -> bool;

    /// The sums so far, each divided by the same number, [rows, cols]. Of those among models only what is above the
    /// diagonal counts.
    fn over(&self, divisor: f64) -> Array2<f64>;
}

/// Distances in the making: samples come some at a time, so that not all of them need to be in memory.
pub struct Distances {
    sums: Box<dyn Sums>,
    /// Of columns; none where they are the rows.
    cols: Option<usize>,
    rows: usize,
    /// So far, and classes.
    shape: (usize, usize),
}

impl Distances {
    /// Of models of so many classes, a multiple of so many samples, except for the last of them, gives the same bits
    /// whatever the multiple.
    pub fn step(classes: usize) -> usize {
        // Every other sample is summed in another order.
        bhattacharyya::chunk(classes).next_multiple_of(2)
    }

    /// Samples that are worth adding at a time: the sums of all pairs are read and written each time.
    pub fn worth_adding(classes: usize) -> usize {
        bhattacharyya::MULTIPLY_ADDS.div_ceil(classes.max(1)).next_multiple_of(Distances::step(classes))
    }

    /// Of each of so many rows and each of so many columns.
    pub fn between(measure: Measure, rows: usize, cols: usize) -> Distances {
        let sums = match measure {
            Measure::Bhattacharyya => bhattacharyya::between(rows, cols),
            Measure::Kl => plain::between(plain::KL, rows, cols),
            Measure::Euclidean => plain::between(plain::EUCLIDEAN, rows, cols),
        };
        Distances { sums, cols: Some(cols), rows, shape: (0, 0) }
    }

    /// Among so many models; each pair is computed once.
    pub fn within(measure: Measure, models: usize) -> Distances {
        let sums = match measure {
            Measure::Bhattacharyya => bhattacharyya::within(models),
            Measure::Kl => plain::within(plain::KL, models),
            Measure::Euclidean => plain::within(plain::EUCLIDEAN, models),
        };
        Distances { sums, cols: None, rows: models, shape: (0, 0) }
    }

    /// Adds samples of all models; `cols` are not looked at where the distances are among the rows. Of one sample at a time
    /// the roundings of models that are certain of another class than the last row is may all go to one side: up to 3e-8 for
    /// each of up to ten classes.
    ///
    /// # Errors
    /// When the models differ in shape, have no samples, or hold a value that is no probability.
    ///
    /// # Panics
    /// When there are not as many models as was said.
    pub fn add(&mut self, rows: &[Model], cols: &[Model]) -> Result<(), GeometryError> {
        let Some(like) = rows.last().or(cols.last()) else { return Ok(()) };
        self.add_like(rows, cols, *like)
    }

    /// The same for some of the rows and columns of a larger matrix: their distances have the same bits whichever they
    /// are, if `like`, a model of it with the same samples, is the same for all. Best is one that has learnt most: the
    /// classes to which others probably give most as well are summed last, which keeps what is small.
    ///
    /// # Errors
    /// As [`Distances::add`].
    ///
    /// # Panics
    /// As [`Distances::add`].
    pub fn add_like(&mut self, rows: &[Model], cols: &[Model], like: Model) -> Result<(), GeometryError> {
        let cols = if self.cols.is_none() { rows } else { cols };
        assert_eq!(
            (rows.len(), cols.len()),
            (self.rows, self.cols.unwrap_or(self.rows)),
            "models were announced"
        );
        let Some(first) = rows.first().or(cols.first()) else { return Ok(()) };
        let (samples, classes) = first.dim();
        let expected = if self.shape.0 == 0 { (samples, classes) } else { (samples, self.shape.1) };
        check_shapes("row", rows, expected)?;
        check_shapes("column", cols, expected)?;
        check_shapes("row", &[like], expected)?;
        if !self.sums.add(rows, cols, like) {
            check("row", rows, expected, self.shape.0)?;
            check("column", cols, expected, self.shape.0)?;
        }
        self.shape = (self.shape.0 + samples, classes);
        Ok(())
    }

    /// The distances, means over the samples, [rows, cols]. Those among models are symmetric, with a diagonal of exactly 0.
    pub fn mean(&self) -> Array2<f64> {
        let mut distances = self.sums.over(self.shape.0.max(1) as f64);
        if self.cols.is_none() {
            mirror(&mut distances);
        }
        distances
    }
}

/// Distances between `rows` and `cols`, [m, n].
///
/// # Errors
/// When the models differ in shape, have no samples, or hold a value that is no probability.
pub fn between(measure: Measure, rows: &[Model], cols: &[Model]) -> Result<Array2<f64>, GeometryError> {
    let mut distances = Distances::between(measure, rows.len(), cols.len());
    distances.add(rows, cols)?;
    Ok(distances.mean())
}

/// Distances among `models`, [m, m]: symmetric, the diagonal exactly 0. Each pair is computed once.
///
/// # Errors
/// As [`between`].
pub fn within(measure: Measure, models: &[Model]) -> Result<Array2<f64>, GeometryError> {
    let mut distances = Distances::within(measure, models.len());
    distances.add(models, models)?;
    Ok(distances.mean())
}

/// Copies the part above the diagonal to below it.
///
/// # Panics
/// When the matrix is not square, or not row-major.
pub fn mirror(distances: &mut Array2<f64>) {
    let order = distances.nrows();
    assert!(distances.is_square(), "only a square matrix is its own mirror image");
    mirror_square(distances.as_slice_mut().expect("the matrix is row-major"), order, 0..order);
}

/// Mirrors the square of these rows and columns, of which `lines` are the rows, each of `width` numbers: its two halves on
/// the diagonal, and the half below and beside them, which is the one above turned over.
fn mirror_square(lines: &mut [f64], width: usize, square: Range<usize>) {
    /// A side that stays in cache.
    const SIDE: usize = 64;
    if square.len() <= SIDE {
        for i in 1..square.len() {
            for j in 0..i {
                lines[i * width + square.start + j] = lines[j * width + square.start + i];
            }
        }
        return;
    }
    let half = (square.len() / 2).next_multiple_of(SIDE);
    let middle = square.start + half;
    let (above, below) = lines.split_at_mut(half * width);
    below.par_chunks_mut(SIDE * width).enumerate().for_each(|(block, below)| {
        let first = middle + block * SIDE;
        for (j, above) in above.chunks_exact(width).enumerate() {
            for (i, below) in below.chunks_exact_mut(width).enumerate() {
                below[square.start + j] = above[first + i];
            }
        }
    });
    rayon::join(
        || mirror_square(above, width, square.start..middle),
        || mirror_square(below, width, middle..square.end),
    );
}

/// Checks the shape of models [samples, C] of one side, "row" or "column".
fn check_shapes(side: &'static str, models: &[Model], expected: (usize, usize)) -> Result<(), GeometryError> {
    if expected.0 == 0 || expected.1 == 0 {
        return Err(GeometryError::Empty { samples: expected.0, classes: expected.1 });
    }
    let wrong = models.iter().enumerate().find(|(_, model)| model.dim() != expected);
    wrong.map_or(Ok(()), |(index, model)| {
        Err(GeometryError::Shape { side, index, found: model.dim(), expected })
    })
}

/// Checks models [samples, C] of one side, "row" or "column", against their shape and looks at each value. `before` is how
/// many samples came before these.
///
/// # Errors
/// When a model has another shape, the shape is empty, or a value is no probability.
pub fn check(
    side: &'static str,
    models: &[Model],
    expected: (usize, usize),
    before: usize,
) -> Result<(), GeometryError> {
    check_shapes(side, models, expected)?;
    let wrong = |index: usize| {
        if are_probabilities(models[index]) {
            return None;
        }
        let ((sample, _), &value) =
            models[index].indexed_iter().find(|(_, value)| !is_probability(**value))?;
        Some(GeometryError::Probability { side, index, sample: before + sample, value })
    };
    (0..models.len()).into_par_iter().filter_map(wrong).find_first(|_| true).map_or(Ok(()), Err)
}

/// Whether all values of a model are probabilities.
pub(crate) fn are_probabilities(model: Model) -> bool {
    // `&` without a way out, so that the scan is done many values at a time.
    let all = |all: bool, value: &f32| all & is_probability(*value);
    model.as_slice().map_or_else(|| model.iter().fold(true, all), |values| values.iter().fold(true, all))
}

fn is_probability(value: f32) -> bool {
    (0.0..f32::INFINITY).contains(&value)
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;
    use crate::golden::{assert_close, golden};
    use crate::reference;

    const MEASURES: [Measure; 3] = [Measure::Bhattacharyya, Measure::Kl, Measure::Euclidean];

    fn views(models: &Array3<f32>) -> Vec<Model<'_>> {
        models.outer_iter().collect()
    }

    #[test]
    fn bhattacharyya_agrees_with_the_golden_values() {
        let (p, q) = (golden::<f32, 3>("bhattacharyya_p"), golden::<f32, 3>("bhattacharyya_q"));
        let (pp, qp) = (golden::<f64, 2>("bhattacharyya_pp"), golden::<f64, 2>("bhattacharyya_qp"));
        let found = between(Measure::Bhattacharyya, &views(&q), &views(&p)).unwrap();
        assert_eq!(found.dim(), (5, 27));
        found.iter().zip(&qp).for_each(|(&found, &expected)| assert_close(found, expected, 2e-7, 1e-6));
        let found = within(Measure::Bhattacharyya, &views(&p)).unwrap();
        found.iter().zip(&pp).for_each(|(&found, &expected)| assert_close(found, expected, 2e-7, 1e-6));
    }

    #[test]
    fn plain_measures_agree_with_their_definitions() {
        let p = golden::<f32, 3>("bhattacharyya_p");
        for (measure, pair) in [
            (Measure::Kl, reference::kl::<f32, f32> as fn(_, _) -> _),
            (Measure::Euclidean, reference::euclidean::<f32, f32>),
        ] {
            let found = between(measure, &views(&p), &views(&p)).unwrap();
            for ((i, j), &found) in found.indexed_iter() {
                assert_close(
                    found,
                    pair(p.index_axis(ndarray::Axis(0), i), p.index_axis(ndarray::Axis(0), j)),
                    1e-12,
                    1e-10,
                );
            }
        }
    }

    #[test]
    fn within_is_between_a_set_and_itself_with_a_diagonal_of_zeros() {
        let p = golden::<f32, 3>("bhattacharyya_p");
        for measure in MEASURES {
            let mut expected = between(measure, &views(&p), &views(&p)).unwrap();
            expected.diag_mut().fill(0.0);
            assert_eq!(within(measure, &views(&p)).unwrap(), expected, "{measure:?}");
        }
    }

    #[test]
    fn the_bits_do_not_depend_on_the_number_of_threads() {
        let p = golden::<f32, 3>("bhattacharyya_p");
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| MEASURES.map(|measure| within(measure, &views(&p)).unwrap()))
        };
        assert_eq!(with(1), with(3));
    }

    #[test]
    fn no_models_give_an_empty_matrix() {
        let p = golden::<f32, 3>("bhattacharyya_p");
        for measure in MEASURES {
            assert_eq!(within(measure, &[]).unwrap().dim(), (0, 0));
            assert_eq!(between(measure, &views(&p), &[]).unwrap().dim(), (27, 0));
            assert_eq!(between(measure, &[], &views(&p)).unwrap().dim(), (0, 27));
        }
    }

    #[test]
    fn models_of_other_data_are_refused() {
        let (a, b) = (Array2::zeros((4, 3)), Array2::zeros((5, 3)));
        let error = between(Measure::Kl, &[a.view()], &[a.view(), b.view()]).unwrap_err();
        let expected = GeometryError::Shape { side: "column", index: 1, found: (5, 3), expected: (4, 3) };
        assert_eq!(error, expected);
        let none = Array2::zeros((0, 3));
        let error = within(Measure::Euclidean, &[none.view()]).unwrap_err();
        assert_eq!(error, GeometryError::Empty { samples: 0, classes: 3 });
    }

    #[test]
    fn a_value_that_is_no_probability_is_told_with_its_place() {
        for bad in [-0.5, f32::NAN, f32::INFINITY] {
            let mut models = golden::<f32, 3>("bhattacharyya_p");
            models[[20, 7, 3]] = bad;
            let message = within(Measure::Bhattacharyya, &views(&models)).unwrap_err().to_string();
            assert_eq!(message, format!("row model 20, sample 7: {bad} is not a probability"));
        }
    }
}
