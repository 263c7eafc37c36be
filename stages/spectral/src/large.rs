//! InPCA of more points than a matrix of f64 has room for: the leading eigenpairs by passes over the distances.

use ndarray::{Array1, Array2};

use crate::blas::Blas;
use crate::blocks::{Blocks, Distances};
use crate::centred::Centred;
use crate::inpca::{self, Inpca};
use crate::{SpectralError, krylov};

/// Up to so many points the whole matrix is in memory as f64 and goes to LAPACK, which is exact to the last digit. Of so
/// many passes take as long, of 1,500 half of its time.
const DENSE: usize = 1_000;

/// Bytes of the program itself, with the buffers of OpenBLAS.
const PROGRAM: u64 = 50_000_000;

/// How to embed points by blocks of their distances.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Dimensions wanted.
    pub dimensions: usize,
    /// Threads to use. Equal threads give equal bits on the same machine.
    pub threads: usize,
    /// Bytes of memory to stay within: distances that find no room are read anew for each of some dozen passes.
    pub memory: u64,
    /// What each point counts, above 0 \[M\]; all alike if there are none. Only what they are to each other matters.
    pub weights: Option<Array1<f64>>,
}

/// Embeds points in the leading dimensions, as [`inpca`](crate::inpca) does, by blocks of the distances between them.
///
/// Few points are embedded by LAPACK. For more, the leading eigenpairs are found by passes over the distances, as f32
/// numbers but with all sums in f64, so that |W v - λ v| is at most 1e-6 |λ_1|; explained stress and explained distance
/// are computed from all distances. No second matrix \[M, M\] is made, and the distances themselves are held only if `memory`
/// has room for their half (2 M² bytes).
///
/// With weights w, of sum 1, a point counts as w_i of a point in all means, and the matrix that is diagonalised is
/// sqrt(w_i) W_ij sqrt(w_j), of eigenvectors u; coordinates are u sqrt|λ| / sqrt(w). In explained stress and explained
/// distance a pair of points counts by the weights of both. Points of equal weight get the coordinates that they get
/// without, and eigenvalues that are 1 / M as large.
///
/// `progress` is told the number of passes so far.
///
/// # Errors
/// As [`inpca`](crate::inpca), and when distances cannot be read, a weight is not above 0, `memory` is too small for the vectors, or
/// eigenpairs do not converge.
///
/// ```
/// use std::{io, ops::Range};
///
/// /// Points on a line, at 0, 1, 2 and so on.
/// struct Line(usize);
///
/// impl spectral::Distances for Line {
///     fn points(&self) -> usize {
///         self.0
///     }
///
///     fn read(&self, rows: Range<usize>, cols: Range<usize>, out: &mut [f64]) -> io::Result<()> {
///         let pairs = rows.flat_map(|row| cols.clone().map(move |col| (row, col)));
///         out.iter_mut().zip(pairs).for_each(|(out, (row, col))| *out = (row as f64 - col as f64).powi(2));
///         Ok(())
///     }
/// }
///
/// let settings = spectral::Settings { dimensions: 1, threads: 1, memory: 100_000_000, weights: None };
/// let line = spectral::embed(&Line(3_000), &settings, |_pass| ()).unwrap();
/// let first = line.coordinates[[0, 0]];
/// assert!((0..3_000).all(|i| ((line.coordinates[[i, 0]] - first).abs() - i as f64).abs() < 1e-6));
/// ```
pub fn embed(
    distances: &dyn Distances,
    settings: &Settings,
    progress: impl FnMut(usize),
) -> Result<Inpca, SpectralError> {
    let points = distances.points();
    let weights = settings.weights.as_ref().map(|weights| normalised(weights, points)).transpose()?;
    if points <= DENSE.max(krylov::vectors(settings.dimensions)) {
        let mut matrix = Array2::zeros((points, points));
        distances.read(0..points, 0..points, matrix.as_slice_mut().expect("a new matrix is row-major"))?;
        return inpca::whole(matrix, weights, settings.dimensions, settings.threads);
    }
    let vectors = 8 * (points * krylov::vectors(settings.dimensions)) as u64;
    let needed = PROGRAM + vectors + settings.threads as u64 * Blocks::BYTES_A_THREAD;
    let Some(room) = settings.memory.checked_sub(needed) else {
        let [needed, memory] = [needed, settings.memory].map(|bytes| bytes.div_ceil(1_000_000));
        return Err(SpectralError::Memory { points, needed, memory });
    };
    let blocks = Blocks::new(distances, Blocks::bytes(points) <= room);
    by_passes(blocks, weights, settings, progress)
}

/// Weights of sum 1.
fn normalised(weights: &Array1<f64>, points: usize) -> Result<Array1<f64>, SpectralError> {
    if weights.len() != points {
        return Err(SpectralError::Weights { points, weights: weights.len() });
    }
    let largest = weights.fold(0.0, |largest: f64, &weight| largest.max(weight));
    // Far below the others a weight would be divided by for nothing but rounding.
    let valid = |weight: f64| weight.is_finite() && weight > largest * 1e-12;
    match weights.indexed_iter().find(|&(_, &weight)| !valid(weight)) {
        Some((point, &weight)) => Err(SpectralError::Weight { point, weight }),
        None => Ok(weights / weights.sum()),
    }
}

fn by_passes(
    blocks: Blocks,
    weights: Option<Array1<f64>>,
    settings: &Settings,
    mut progress: impl FnMut(usize),
) -> Result<Inpca, SpectralError> {
    let points = blocks.points();
    let weights = weights.unwrap_or_else(|| Array1::ones(points));
    let blas = Blas::single(settings.threads);
    let centred = Centred::new(blocks, weights.view(), settings.threads)?;
    if centred.stress == 0.0 {
        return Err(SpectralError::OnePlace(points));
    }
    let mut passes = 1;
    progress(passes);
    let pairs = krylov::leading(centred.roots.view(), settings.dimensions, &blas, |x| {
        let image = centred.times(settings.threads, x)?;
        passes += 1;
        progress(passes);
        Ok(image)
    })?;
    let Centred { means, roots, diagonal, stress, .. } = centred;
    let (eigenvalues, axes) = inpca::axes(pairs, Some(&roots));
    let left = inpca::distance_left_of_pairs(diagonal, &weights, stress, &eigenvalues, axes.view());
    Ok(Inpca::new(eigenvalues, axes, stress, left, means, weights))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::ops::Range;

    use ndarray::{Axis, s};

    use super::*;
    use crate::inpca;

    /// A matrix, in blocks.
    struct InMemory(Array2<f64>);

    impl Distances for InMemory {
        fn points(&self) -> usize {
            self.0.nrows()
        }

        fn read(&self, rows: Range<usize>, cols: Range<usize>, out: &mut [f64]) -> io::Result<()> {
            let values = self.0.slice(s![rows, cols]);
            out.iter_mut().zip(values).for_each(|(out, &value)| *out = value);
            Ok(())
        }
    }

    /// Distances along bent trajectories of 40 points, of f32 as tiles have them; not squared lengths, so that some eigenvalues are
    /// negative.
    fn trajectories(points: usize) -> Array2<f64> {
        let places = Array2::from_shape_fn((points, 200), |(point, d)| {
            let (run, t) = (point / 40, (point % 40) as f64 / 39.0);
            let (number, phase) = (d as f64 + 1.0, (7 * run + 3 * d) as f64);
            (2.0 * t + phase.sin() * (t * number + phase).sin()) / number
        });
        Array2::from_shape_fn((points, points), |(i, j)| {
            let step = &places.row(i) - &places.row(j);
            let squared = step.dot(&step);
            f64::from((squared + 0.2 * squared * squared) as f32)
        })
    }

    fn settings(dimensions: usize) -> Settings {
        Settings { dimensions, threads: 2, memory: u64::MAX, weights: None }
    }

    fn blocks(source: &InMemory, hold: bool) -> Blocks<'_> {
        Blocks::of_side(source, 100, hold)
    }

    /// As the matrix of all points is embedded, but by passes.
    fn passes(matrix: &Array2<f64>, settings: &Settings) -> Inpca {
        let weights = settings.weights.as_ref().map(|weights| normalised(weights, matrix.nrows()).unwrap());
        by_passes(blocks(&InMemory(matrix.clone()), true), weights, settings, |_| ()).unwrap()
    }

    fn assert_alike(found: &Inpca, expected: &Inpca) {
        let largest = expected.eigenvalues[0].abs();
        for k in 0..expected.eigenvalues.len() {
            let (value, other) = (found.eigenvalues[k], expected.eigenvalues[k]);
            assert!((value - other).abs() < 1e-10 * largest, "{k}: {value} {other}");
            let (value, other) = (found.explained_stress[k], expected.explained_stress[k]);
            assert!((value - other).abs() < 1e-9, "stress {k}: {value} {other}");
            let (value, other) = (found.explained_distance[k], expected.explained_distance[k]);
            assert!((value - other).abs() < 1e-7, "distance {k}: {value} {other}");
            let [error, size] = [&found.coordinates - &expected.coordinates, expected.coordinates.clone()]
                .map(|matrix| matrix.column(k).dot(&matrix.column(k)).sqrt());
            assert!(error < 1e-5 * size, "axis {k}: {error} of {size}");
        }
    }

    #[test]
    fn passes_find_what_the_whole_decomposition_finds() {
        let matrix = trajectories(440);
        let expected = inpca(matrix.clone(), 30, 1).unwrap();
        assert!(expected.eigenvalues.iter().any(|&value| value < 0.0), "{}", expected.eigenvalues);
        assert_alike(&passes(&matrix, &settings(30)), &expected);
    }

    #[test]
    fn fifty_pairs_are_eigenpairs_by_both_ways() {
        let matrix = trajectories(480);
        let means = matrix.mean_axis(Axis(0)).unwrap();
        let mean = means.mean().unwrap();
        let centred = Array2::from_shape_fn(matrix.dim(), |(i, j)| {
            -0.5 * (matrix[[i, j]] - means[i] - means[j] + mean)
        });
        let whole = inpca(matrix.clone(), 50, 1).unwrap();
        for (way, found) in [("whole", whole), ("by passes", passes(&matrix, &settings(50)))] {
            let largest = found.eigenvalues[0].abs();
            assert_eq!(found.eigenvalues.len(), 50);
            for (k, &value) in found.eigenvalues.iter().enumerate() {
                let vector = &found.coordinates.column(k) / value.abs().sqrt();
                assert!((vector.dot(&vector) - 1.0).abs() < 1e-9, "{way}, pair {k}");
                let residual = centred.dot(&vector) - value * &vector;
                let residual = residual.dot(&residual).sqrt();
                assert!(residual <= 1e-6 * largest, "{way}, pair {k}: {residual:e} of {largest}");
            }
        }
    }

    #[test]
    fn weighted_passes_find_what_the_whole_weighted_decomposition_finds() {
        let matrix = trajectories(440);
        let weights = Array1::from_shape_fn(440, |point| 1.0 + (point % 7) as f64);
        let settings = Settings { weights: Some(weights), ..settings(30) };
        let expected = embed(&InMemory(matrix.clone()), &settings, |_| ()).unwrap();
        assert_alike(&passes(&matrix, &settings), &expected);
    }

    #[test]
    fn equal_weights_give_the_coordinates_without_weights() {
        let matrix = trajectories(80);
        let without = inpca(matrix.clone(), 10, 1).unwrap();
        let weights = Some(Array1::from_elem(80, 3.0));
        let with = embed(&InMemory(matrix), &Settings { weights, ..settings(10) }, |_| ()).unwrap();
        let scaled = Inpca { eigenvalues: &with.eigenvalues * 80.0, ..with };
        assert_alike(&scaled, &without);
    }

    #[test]
    fn a_point_of_weight_two_counts_as_two_points_in_its_place() {
        let matrix = trajectories(60);
        let twice: Vec<usize> = (0..60).chain([17]).collect();
        let doubled = matrix.select(Axis(0), &twice).select(Axis(1), &twice);
        let expected = inpca(doubled, 8, 1).unwrap();
        let mut weights = Array1::ones(60);
        weights[17] = 2.0;
        let found =
            embed(&InMemory(matrix), &Settings { weights: Some(weights), ..settings(8) }, |_| ()).unwrap();
        for k in 0..8 {
            let (value, other) = (61.0 * found.eigenvalues[k], expected.eigenvalues[k]);
            assert!((value - other).abs() < 1e-10 * expected.eigenvalues[0], "{k}: {value} {other}");
            assert!((found.explained_stress[k] - expected.explained_stress[k]).abs() < 1e-9, "{k}");
            assert!((found.explained_distance[k] - expected.explained_distance[k]).abs() < 1e-9, "{k}");
            for point in 0..60 {
                let (x, other) = (found.coordinates[[point, k]], expected.coordinates[[point, k]]);
                assert!((x - other).abs() < 1e-8, "{point} {k}: {x} {other}");
            }
        }
    }

    #[test]
    fn distances_that_are_read_anew_give_the_bits_of_those_held_whatever_the_threads_of_a_pass() {
        let source = InMemory(trajectories(430));
        let held = by_passes(blocks(&source, true), None, &settings(20), |_| ()).unwrap();
        assert_eq!(by_passes(blocks(&source, false), None, &settings(20), |_| ()).unwrap(), held);
    }

    #[test]
    fn more_points_than_memory_has_room_for_are_read_and_give_the_same() {
        // Twelve places with noise: quick to decompose, and too many points to hold.
        let place = |point: usize| ((point % 12) as f64, (point as f64).sin() * 0.1);
        let source = Computed(DENSE + 100, move |i, j| {
            let ((a, x), (b, y)) = (place(i), place(j));
            f64::from(((a - b).abs().powf(1.5) + (x - y).powi(2)) as f32)
        });
        let least = embed(&source, &Settings { memory: 0, ..settings(5) }, |_| ()).unwrap_err().to_string();
        assert!(least.starts_with(&format!("{} points need ", DENSE + 100)), "{least}");
        let needed: u64 = least.split_whitespace().nth(3).unwrap().parse().unwrap();
        let little = Settings { memory: 1_000_000 * needed, ..settings(5) };
        assert!(Blocks::bytes(DENSE + 100) > 1_000_000, "it would be held");
        let (read, held) =
            (embed(&source, &little, |_| ()).unwrap(), embed(&source, &settings(5), |_| ()).unwrap());
        assert_eq!(read, held);
    }

    /// Distances by a formula, for more points than a test would make a matrix of.
    struct Computed<F>(usize, F);

    impl<F: Fn(usize, usize) -> f64 + Sync> Distances for Computed<F> {
        fn points(&self) -> usize {
            self.0
        }

        fn read(&self, rows: Range<usize>, cols: Range<usize>, out: &mut [f64]) -> io::Result<()> {
            let pairs = rows.flat_map(|row| cols.clone().map(move |col| (row, col)));
            out.iter_mut().zip(pairs).for_each(|(out, (row, col))| *out = self.1(row, col));
            Ok(())
        }
    }

    #[test]
    fn what_cannot_be_embedded_by_passes_is_told() {
        let message = |source: &dyn Distances| embed(source, &settings(3), |_| ()).unwrap_err().to_string();
        let one_place = message(&Computed(DENSE + 1, |_, _| 0.0));
        assert_eq!(one_place, format!("all {} points lie in one place: there is no axis to find", DENSE + 1));
        let broken =
            message(&Computed(
                DENSE + 1,
                |i: usize, j: usize| if i.min(j) == 3 && i.max(j) == 900 { f64::NAN } else { 1.0 },
            ));
        assert_eq!(broken, "the distance between points 3 and 900 (from 0) is NaN");
        let weights = |weights: &[f64]| {
            let weights = Some(Array1::from_vec(weights.to_vec()));
            embed(&Computed(3, |_, _| 1.0), &Settings { weights, ..settings(3) }, |_| ())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(weights(&[1.0, 2.0]), "3 points have 2 weights");
        assert!(
            weights(&[1.0, 0.0, 2.0])
                .starts_with("the weight of point 1 (from 0) is 0; weights are above 0.")
        );
    }
}
