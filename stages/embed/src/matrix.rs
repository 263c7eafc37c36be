//! The matrix of distances between all points, put together from tiles.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use anyhow::{Result, bail, ensure};
use ndarray::Array2;

use crate::tile::{Member, Tile, Values};

/// A model, or a trajectory as its run's only "checkpoint".
pub struct Point {
    pub run: String,
    pub checkpoint: i64,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "run {}, checkpoint {}", self.run, self.checkpoint)
    }
}

/// Points by run and checkpoint, whatever order the tiles came in, and the distances between them.
pub struct Distances {
    pub points: Vec<Point>,
    /// Symmetric and finite.
    pub matrix: Array2<f64>,
    /// How many samples the distances are means over.
    pub samples: i64,
}

/// What stands where: the points of each run, and which tile gives the distances of each pair of runs.
struct Layout<'a> {
    /// By name.
    runs: BTreeMap<&'a str, Run>,
    /// The number of the tile with run a (by its rank) in its rows and run b in its columns \[a, b\].
    sources: Array2<Option<usize>>,
}

struct Run {
    rank: usize,
    points: Range<usize>,
}

impl Distances {
    /// Puts the tiles together. Each pair of runs stands in exactly one of them, as rows and columns or the other way
    /// round, or both.
    ///
    /// # Errors
    /// When a pair of runs is missing or doubled, tiles disagree, or a distance is not finite or not symmetric.
    pub fn assemble(tiles: &[Tile]) -> Result<Distances> {
        let [first, rest @ ..] = tiles else { bail!("no tiles to put together") };
        let what = |tile: &Tile| format!("{} over {} samples", tile.about.measure, tile.about.samples);
        if let Some(tile) = rest.iter().find(|tile| what(tile) != what(first)) {
            bail!("tile {first} has {}, tile {tile} {}: they do not compare", what(first), what(tile));
        }
        let layout = Layout::new(tiles)?;
        let points = layout.points();
        let mut matrix = Array2::zeros((points.len(), points.len()));
        for tile in tiles {
            let filled = match tile.values()? {
                Values::F32(values) => layout.fill(&mut matrix, tile, values),
                Values::F64(values) => layout.fill(&mut matrix, tile, values),
            };
            if let Err((row, col, value)) = filled {
                bail!("tile {tile}: the distance between {} and {} is {value}", points[row], points[col]);
            }
        }
        if let Err((row, col)) = layout.mirror(&mut matrix) {
            let (forth, back) = (matrix[[row, col]], matrix[[col, row]]);
            bail!("the distance from {} to {} is {forth}, back it is {back}", points[row], points[col]);
        }
        Ok(Distances { points, matrix, samples: first.about.samples })
    }
}

impl<'a> Layout<'a> {
    fn new(tiles: &'a [Tile]) -> Result<Self> {
        let mut lengths: BTreeMap<&str, (usize, &Tile)> = BTreeMap::new();
        for tile in tiles {
            for Member { run, checkpoints } in tile.about.rows.iter().chain(&tile.about.cols) {
                let (held, other) = lengths.entry(run).or_insert((*checkpoints, tile));
                ensure!(
                    held == checkpoints,
                    "run {run} has {held} checkpoints in tile {other} and {checkpoints} in tile {tile}"
                );
            }
        }
        let mut start = 0;
        let runs: BTreeMap<&str, Run> = lengths
            .into_iter()
            .enumerate()
            .map(|(rank, (name, (checkpoints, _)))| {
                let points = start..start + checkpoints;
                start = points.end;
                (name, Run { rank, points })
            })
            .collect();

        let mut sources = Array2::from_elem((runs.len(), runs.len()), None);
        for (number, tile) in tiles.iter().enumerate() {
            for row in &tile.about.rows {
                for col in &tile.about.cols {
                    let (a, b) = (runs[&*row.run].rank, runs[&*col.run].rank);
                    // A tile of a group with itself has its pairs both ways round.
                    let back: Option<usize> = sources[[b, a]];
                    if let Some(other) = sources[[a, b]].or(back.filter(|&other| other != number)) {
                        bail!(
                            "runs {} and {} stand in tile {} and in tile {tile}",
                            row.run,
                            col.run,
                            tiles[other]
                        );
                    }
                    sources[[a, b]] = Some(number);
                }
            }
        }
        let layout = Layout { runs, sources };
        for (name, run) in &layout.runs {
            for (other_name, other) in layout.runs.range(*name..) {
                if layout.sources[[run.rank, other.rank]].or(layout.sources[[other.rank, run.rank]]).is_none()
                {
                    bail!("no tile has the distances between run {name} and run {other_name}");
                }
            }
        }
        Ok(layout)
    }

    fn points(&self) -> Vec<Point> {
        self.runs
            .iter()
            .flat_map(|(name, run)| {
                (0_i64..)
                    .take(run.points.len())
                    .map(|checkpoint| Point { run: (*name).to_owned(), checkpoint })
            })
            .collect()
    }

    /// Copies a tile to where it belongs, or says between which points a distance is not finite.
    fn fill<T: Copy + Into<f64>>(
        &self,
        matrix: &mut Array2<f64>,
        tile: &Tile,
        values: &[T],
    ) -> Result<(), (usize, usize, f64)> {
        let places = |side: &[Member]| -> Vec<usize> {
            side.iter().flat_map(|member| self.runs[&*member.run].points.clone()).collect()
        };
        let cols = places(&tile.about.cols);
        // Of a side without models there is nothing to copy.
        for (&row, values) in places(&tile.about.rows).iter().zip(values.chunks(cols.len().max(1))) {
            for (&col, &value) in cols.iter().zip(values) {
                let value = value.into();
                if !value.is_finite() {
                    return Err((row, col, value));
                }
                matrix[[row, col]] = value;
            }
        }
        Ok(())
    }

    /// Makes the matrix symmetric: a distance that is given one way is copied, one that is given both ways must agree
    /// but for the rounding of a kernel; if not, says between which points.
    fn mirror(&self, matrix: &mut Array2<f64>) -> Result<(), (usize, usize)> {
        for (name, a) in &self.runs {
            for b in self.runs.range(*name..).map(|(_, run)| run) {
                let forth = self.sources[[a.rank, b.rank]].is_some();
                let back = self.sources[[b.rank, a.rank]].is_some();
                for i in a.points.clone() {
                    for j in b.points.start.max(i + 1)..b.points.end {
                        let value = if forth { matrix[[i, j]] } else { matrix[[j, i]] };
                        if back && (matrix[[j, i]] - value).abs() > 1e-6 + 1e-5 * value.abs() {
                            return Err((i, j));
                        }
                        matrix[[i, j]] = value;
                        matrix[[j, i]] = value;
                    }
                }
            }
        }
        Ok(())
    }
}
