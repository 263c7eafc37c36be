//! The points that tiles are about: which there are, in which order, and which of them are embedded.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use anyhow::{Result, ensure};

use tiles::{Member, Tile};

/// A model, or a trajectory as its run's only "checkpoint".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Point<'a> {
    pub run: &'a str,
    pub checkpoint: i64,
}

impl fmt::Display for Point<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "run {}, checkpoint {}", self.run, self.checkpoint)
    }
}

/// Runs by name, those to embed before those to place, and their points one after another.
pub struct Points {
    runs: Vec<Run>,
    /// Of the runs that are embedded, the number.
    embedded: usize,
}

/// A run and the numbers of its points.
pub struct Run {
    pub name: String,
    pub points: Range<usize>,
}

impl Points {
    /// Those of `tiles`, which are to be embedded, and the others of `placed`.
    ///
    /// # Errors
    /// When tiles disagree on how many checkpoints a run has.
    pub fn new(tiles: &[Tile], placed: &[Tile]) -> Result<Points> {
        let mut lengths: BTreeMap<&str, (usize, &Tile)> = BTreeMap::new();
        for tile in tiles.iter().chain(placed) {
            for Member { run, checkpoints } in tile.about.rows.iter().chain(&tile.about.cols) {
                let (held, other) = lengths.entry(run).or_insert((*checkpoints, tile));
                ensure!(
                    held == checkpoints,
                    "run {run} has {held} checkpoints in tile {other} and {checkpoints} in tile {tile}"
                );
            }
        }
        let embedded: BTreeSet<&str> = tiles
            .iter()
            .flat_map(|tile| tile.about.rows.iter().chain(&tile.about.cols))
            .map(|member| &*member.run)
            .collect();
        let others = lengths.keys().copied().filter(|&run| !embedded.contains(run));
        let mut start = 0;
        let runs = embedded.iter().copied().chain(others).map(|name| {
            let points = start..start + lengths[name].0;
            start = points.end;
            Run { name: name.to_owned(), points }
        });
        Ok(Points { runs: runs.collect(), embedded: embedded.len() })
    }

    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// How many of the runs, the first ones, are embedded.
    pub fn embedded_runs(&self) -> usize {
        self.embedded
    }

    /// How many of the points, the first ones, are embedded.
    pub fn embedded(&self) -> usize {
        self.runs[..self.embedded].last().map_or(0, |run| run.points.end)
    }

    /// All of them.
    pub fn len(&self) -> usize {
        self.runs.last().map_or(0, |run| run.points.end)
    }

    /// The number of a run.
    pub fn rank(&self, run: &str) -> Option<usize> {
        let (embedded, placed) = self.runs.split_at(self.embedded);
        let find = |runs: &[Run]| runs.binary_search_by(|held| (*held.name).cmp(run)).ok();
        find(embedded).or_else(|| Some(self.embedded + find(placed)?))
    }

    /// The numbers of the runs that have a point in a range.
    pub fn runs_in(&self, points: &Range<usize>) -> Range<usize> {
        let from = self.runs.partition_point(|run| run.points.end <= points.start);
        let to = self.runs.partition_point(|run| run.points.start < points.end);
        from..to.max(from)
    }

    /// The point of a number.
    pub fn get(&self, point: usize) -> Point<'_> {
        let run = &self.runs[self.runs.partition_point(|run| run.points.end <= point)];
        Point { run: &run.name, checkpoint: (point - run.points.start) as i64 }
    }

    /// All points.
    pub fn iter(&self) -> impl Iterator<Item = Point<'_>> {
        self.runs.iter().flat_map(|run| {
            (0_i64..).take(run.points.len()).map(|checkpoint| Point { run: &run.name, checkpoint })
        })
    }
}
