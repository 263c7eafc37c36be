//! A symmetric matrix of distances as square blocks, held in memory or read anew for each pass over them.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use ndarray::{Array2, ArrayView2, Axis};

use crate::SpectralError;
use crate::panel::{self, Block, Point, WIDTH};

/// Rows and columns of a block: 225 KB as f32, which a core's cache keeps from one product to the other beside the vectors,
/// and a row of it is a read of almost a kilobyte. Of a kilobyte, all values of a column would want the same few places in the
/// first cache. With 400, 2,000 points take a fifth longer, with 160 as long.
const SIDE: usize = 240;

/// Where distances come from: files, as a rule.
pub trait Distances: Sync {
    /// The number of points, M.
    fn points(&self) -> usize;

    /// Writes the distances between the points `rows` and the points `cols` to `out`, row by row. The matrix \[M, M\] that
    /// they are part of is symmetric. Several threads read at a time.
    ///
    /// # Errors
    /// When they cannot be read; the message names what could not.
    fn read(&self, rows: Range<usize>, cols: Range<usize>, out: &mut [f64]) -> io::Result<()>;
}

/// The blocks on and above the diagonal, which are the matrix: each serves for itself and for its mirror image.
///
/// Distances are f32 here, as the tiles that they come from are, whether they are held or not.
pub(crate) struct Blocks<'a> {
    source: &'a dyn Distances,
    side: usize,
    /// Those that may be worked on at a time, since no two have a row of blocks or a column in common.
    rounds: Vec<Vec<(usize, usize)>>,
    /// As f32, by block row and column; nothing if memory is too small for them.
    held: Option<Vec<OnceLock<Box<[f32]>>>>,
}

impl<'a> Blocks<'a> {
    /// Bytes that a matrix of so many points takes when it is held.
    pub(crate) fn bytes(points: usize) -> u64 {
        let (points, side) = (points as u64, SIDE as u64);
        2 * points * (points + side)
    }

    /// Bytes that a pass takes beside what is held, for each thread.
    pub(crate) const BYTES_A_THREAD: u64 = 12 * (SIDE * SIDE) as u64;

    pub(crate) fn new(source: &'a dyn Distances, hold: bool) -> Blocks<'a> {
        Blocks::of_side(source, SIDE, hold)
    }

    /// With blocks of so many rows and columns.
    pub(crate) fn of_side(source: &'a dyn Distances, side: usize, hold: bool) -> Blocks<'a> {
        let count = source.points().div_ceil(side);
        let held = hold.then(|| (0..count * count).map(|_| OnceLock::new()).collect());
        Blocks { source, side, rounds: rounds(count), held }
    }

    pub(crate) fn points(&self) -> usize {
        self.source.points()
    }

    /// Where the points of a block row, or column, begin and end.
    pub(crate) fn range(&self, block: usize) -> Range<usize> {
        block * self.side..self.points().min((block + 1) * self.side)
    }

    /// Those of all block rows.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        (0..self.count()).map(|block| self.range(block))
    }

    fn count(&self) -> usize {
        self.points().div_ceil(self.side)
    }

    /// X D, for the rows of `x` \[b, M\]: one pass. Each sum is added up in the same order, however many threads there are.
    pub(crate) fn times(&self, threads: usize, x: Array2<f64>) -> Result<Array2<f64>, SpectralError> {
        let (vectors, points) = x.dim();
        let panels: Vec<Vec<Point>> = x.axis_chunks_iter(Axis(0), WIDTH).map(together).collect();
        drop(x);
        let zeros = |range: Range<usize>| panels.iter().map(|_| vec![Point::ZERO; range.len()]).collect();
        let sums: Vec<Mutex<Vec<Vec<Point>>>> = self.ranges().map(zeros).map(Mutex::new).collect();
        self.each(threads, |a, b, block| {
            let add = |to: usize, from: usize, block: Block| {
                let mut sums = locked(&sums[to]);
                for (sums, panel) in sums.iter_mut().zip(&panels) {
                    panel::add(sums, block, &panel[self.range(from)]);
                }
            };
            add(a, b, block);
            if a != b {
                add(b, a, block.mirrored());
            }
        })?;
        drop(panels);
        let mut whole = Array2::zeros((vectors, points));
        for (sums, range) in sums.into_iter().zip(self.ranges()) {
            let sums = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
            for (vector, mut row) in whole.rows_mut().into_iter().enumerate() {
                let sums = &sums[vector / WIDTH];
                for (value, sum) in
                    row.as_slice_mut().expect("rows lie together")[range.clone()].iter_mut().zip(sums)
                {
                    *value = sum.0[vector % WIDTH];
                }
            }
        }
        Ok(whole)
    }

    /// Calls `work` for each block on or above the diagonal, with its row, its column and what is in it. What calls for
    /// blocks of the same row or column add up they add in the same order, however many threads there are.
    pub(crate) fn each(
        &self,
        threads: usize,
        work: impl Fn(usize, usize, Block) + Sync,
    ) -> Result<(), SpectralError> {
        let most = self.rounds.iter().map(Vec::len).max().unwrap_or(0);
        let threads = threads.clamp(1, most.max(1));
        let largest = self.side.min(self.points()).pow(2);
        // The round in which reading failed first, and why.
        let failed: Mutex<Option<(usize, SpectralError)>> = Mutex::new(None);
        let next: Vec<AtomicUsize> = self.rounds.iter().map(|_| AtomicUsize::new(0)).collect();
        let (failed, next, barrier) = (&failed, &next, &Barrier::new(threads));
        let go = || {
            let _guard = EndsAll;
            let mut buffers = (vec![0.0; largest], vec![0.0; largest]);
            for (number, round) in self.rounds.iter().enumerate() {
                while let Some(&(a, b)) = round.get(next[number].fetch_add(1, Ordering::Relaxed)) {
                    match self.values(a, b, &mut buffers) {
                        Ok(values) => {
                            work(a, b, Block::new(values, self.range(a).len(), self.range(b).len()));
                        }
                        Err(error) => {
                            locked(failed).get_or_insert((number, error));
                            break;
                        }
                    }
                }
                barrier.wait();
                // One that is ahead may already have failed in the next round, for which all have to come to the barrier.
                if locked(failed).as_ref().is_some_and(|(round, _)| *round <= number) {
                    return;
                }
            }
        };
        thread::scope(|scope| {
            let _guard = EndsAll;
            (1..threads).for_each(|_| drop(scope.spawn(go)));
            go();
        });
        locked(failed).take().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// What is in a block, row by row.
    fn values<'b>(
        &'b self,
        a: usize,
        b: usize,
        (read, values): &'b mut (Vec<f64>, Vec<f32>),
    ) -> Result<&'b [f32], SpectralError> {
        let held = self.held.as_ref().map(|held| &held[a * self.count() + b]);
        if let Some(values) = held.and_then(OnceLock::get) {
            return Ok(values);
        }
        let (rows, cols) = (self.range(a), self.range(b));
        let read = &mut read[..rows.len() * cols.len()];
        self.source.read(rows.clone(), cols.clone(), read)?;
        if let Some(place) = read.iter().position(|value| !value.is_finite()) {
            let (row, col) = (rows.start + place / cols.len(), cols.start + place % cols.len());
            return Err(SpectralError::NotFinite { row, col, value: read[place] });
        }
        let values = &mut values[..read.len()];
        values.iter_mut().zip(read).for_each(|(value, read)| *value = *read as f32);
        Ok(match held {
            Some(held) => held.get_or_init(|| (&*values).into()),
            None => values,
        })
    }
}

/// Ends the process if its thread panics, or another one cannot be started, for which the others would wait at the barrier;
/// the message is out by then.
struct EndsAll;

impl Drop for EndsAll {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Vectors, which are rows \[b, M\], as a panel \[M\] of `WIDTH`, of which those that are lacking are 0.
fn together(vectors: ArrayView2<f64>) -> Vec<Point> {
    let mut panel = vec![Point::ZERO; vectors.ncols()];
    for (vector, row) in vectors.rows().into_iter().enumerate() {
        panel.iter_mut().zip(row).for_each(|(point, value)| point.0[vector] = *value);
    }
    panel
}

/// All pairs (a, b) with a <= b < `count`, in rounds in which no number comes twice: those of a tournament.
fn rounds(count: usize) -> Vec<Vec<(usize, usize)>> {
    let mut rounds = vec![(0..count).map(|a| (a, a)).collect()];
    // One stays in its place, the others go round; for an odd count one is nobody.
    let places = count.next_multiple_of(2);
    for turn in 0..places.saturating_sub(1) {
        let at = |place: usize| if place == 0 { 0 } else { 1 + (place - 1 + turn) % (places - 1) };
        let pairs = (0..places / 2).map(|place| (at(place), at(places - 1 - place)));
        let pairs = pairs.map(|(a, b)| (a.min(b), a.max(b))).filter(|&(_, b)| b < count);
        rounds.push(pairs.collect());
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_comes_once_and_no_number_twice_in_a_round() {
        for count in 0..9 {
            let mut all = Vec::new();
            for round in rounds(count) {
                let mut numbers: Vec<usize> =
                    round.iter().flat_map(|&(a, b)| if a == b { vec![a] } else { vec![a, b] }).collect();
                numbers.sort_unstable();
                assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{count}: {round:?}");
                all.extend(round);
            }
            all.sort_unstable();
            let expected: Vec<_> = (0..count).flat_map(|a| (a..count).map(move |b| (a, b))).collect();
            assert_eq!(all, expected);
        }
    }

    /// Distances 1, 2 and so on by rows of the upper triangle, of which block (1, 3) cannot be read.
    struct Numbered {
        points: usize,
        broken: bool,
    }

    impl Distances for Numbered {
        fn points(&self) -> usize {
            self.points
        }

        fn read(&self, rows: Range<usize>, cols: Range<usize>, out: &mut [f64]) -> io::Result<()> {
            if self.broken && (rows.start, cols.start) == (10, 30) {
                return Err(io::Error::other("block 1, 3"));
            }
            let pairs = rows.flat_map(|row| cols.clone().map(move |col| (row.min(col), row.max(col))));
            out.iter_mut().zip(pairs).for_each(|(out, (row, col))| *out = (row * self.points + col) as f64);
            Ok(())
        }
    }

    #[test]
    fn a_product_is_that_of_the_whole_matrix_with_equal_bits_for_any_number_of_threads() {
        let source = Numbered { points: 47, broken: false };
        let blocks = Blocks::of_side(&source, 10, true);
        let mut whole = Array2::zeros((47, 47));
        source.read(0..47, 0..47, whole.as_slice_mut().unwrap()).unwrap();
        let x = Array2::from_shape_fn((WIDTH + 3, 47), |(i, j)| ((5 * i + j) as f64).cos());
        let found = blocks.times(1, x.clone()).unwrap();
        assert!((&found - x.dot(&whole)).iter().all(|error| error.abs() < 1e-9));
        // Once more from what is held now.
        assert_eq!(blocks.times(3, x).unwrap(), found);
    }

    #[test]
    fn a_block_that_cannot_be_read_ends_the_pass() {
        let source = Numbered { points: 47, broken: true };
        for threads in [1, 3] {
            let blocks = Blocks::of_side(&source, 10, false);
            let error = blocks.times(threads, Array2::zeros((1, 47))).unwrap_err();
            assert_eq!(error.to_string(), "block 1, 3");
        }
    }
}
