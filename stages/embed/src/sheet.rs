//! A sheet: the matrix of distances over one set of samples, as the tiles that it comes in.

use std::collections::HashMap;
use std::io;
use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use ndarray::{Array2, ArrayViewMut2, s};

use tiles::{Member, Tile};

use crate::points::Points;

/// Tiles, and which of them has the distances between which runs.
pub struct Sheet {
    tiles: Vec<Laid>,
    /// The tile with run a in its rows and run b in its columns, if there is one \[a, b\].
    sources: Array2<Option<Number>>,
    /// How many samples the distances are means over.
    pub samples: usize,
    /// By which measure they are.
    pub measure: String,
}

/// A tile's number, of which there are many.
#[derive(Clone, Copy, PartialEq)]
struct Number(u32);

/// A tile, and by the numbers of runs the rows and columns where they begin.
struct Laid {
    tile: Tile,
    rows: HashMap<usize, usize>,
    cols: HashMap<usize, usize>,
}

impl Sheet {
    /// Each pair of embedded runs stands in exactly one of the tiles, as rows and columns or the other way round, or both;
    /// so does each pair of an embedded run and one to place.
    ///
    /// # Errors
    /// When there are no tiles, a pair is missing or doubled, or tiles disagree with each other or with the points.
    pub fn new(tiles: Vec<Tile>, points: &Points) -> Result<Sheet> {
        let [first, rest @ ..] = &tiles[..] else { bail!("no tiles to put together") };
        let what = |tile: &Tile| format!("{} over {} samples", tile.about.measure, tile.about.samples);
        if let Some(tile) = rest.iter().find(|tile| what(tile) != what(first)) {
            bail!("tile {first} has {}, tile {tile} {}: they do not compare", what(first), what(tile));
        }
        let (samples, measure) = (first.about.samples, first.about.measure.clone());
        let tiles = tiles.into_iter().map(|tile| Laid::new(tile, points)).collect::<Result<Vec<_>>>()?;
        let runs = points.runs().len();
        let mut sources: Array2<Option<Number>> = Array2::from_elem((runs, runs), None);
        for (number, Laid { tile, .. }) in tiles.iter().enumerate() {
            let number = Number(u32::try_from(number)?);
            for row in &tile.about.rows {
                for col in &tile.about.cols {
                    let [a, b] = [row, col].map(|member| points.rank(&member.run).expect("a run of a tile"));
                    // A tile of a group with itself has its pairs both ways round.
                    let back = sources[[b, a]].filter(|&other| other != number);
                    if let Some(other) = sources[[a, b]].or(back) {
                        let other = &tiles[other.0 as usize].tile;
                        bail!("runs {} and {} stand in tile {other} and in tile {tile}", row.run, col.run);
                    }
                    sources[[a, b]] = Some(number);
                }
            }
        }
        for a in 0..points.embedded_runs() {
            for b in a..runs {
                if sources[[a, b]].or(sources[[b, a]]).is_none() {
                    let [a, b] = [a, b].map(|run| &points.runs()[run].name);
                    bail!("no tile has the distances between run {a} and run {b}");
                }
            }
        }
        Ok(Sheet { tiles, sources, samples, measure })
    }

    /// Writes the distances between points `rows` and points `cols` to `out`, row by row. Of a distance that a tile has both
    /// ways it is the one from the point that comes first.
    ///
    /// # Errors
    /// When a tile cannot be read, or a distance is not finite.
    pub fn read(
        &self,
        points: &Points,
        rows: &Range<usize>,
        cols: &Range<usize>,
        out: &mut [f64],
    ) -> io::Result<()> {
        let mut out =
            ArrayViewMut2::from_shape((rows.len(), cols.len()), out).expect("a value for each pair");
        for a in points.runs_in(rows) {
            let own = &points.runs()[a].points;
            let here = own.start.max(rows.start)..own.end.min(rows.end);
            let mut others = points.runs_in(cols).peekable();
            while let Some(b) = others.next() {
                let mut other = points.runs()[b].points.clone();
                let place = self.place(a, b);
                // Runs that lie side by side in the tile too are read together.
                while let Some(next) = others
                    .next_if(|&next| ![b, next].contains(&a) && self.place(a, next) == place.after(&other))
                {
                    other.end = points.runs()[next].points.end;
                }
                let there = other.start.max(cols.start)..other.end.min(cols.end);
                let piece = out.slice_mut(s![
                    here.start - rows.start..here.end - rows.start,
                    there.start - cols.start..there.end - cols.start
                ]);
                let (down, along) = (here.start - own.start, there.start - other.start);
                match place.turned {
                    false => self.piece(place.tile, place.row + down, place.col + along, piece),
                    true => {
                        self.piece(place.tile, place.row + along, place.col + down, piece.reversed_axes())
                    }
                }
                .map_err(|wrong| wrong.explain(points, here.start, there.start, place.turned))?;
                if a == b {
                    let both = here.start.max(there.start)..here.end.min(there.end);
                    for (i, j) in both.clone().flat_map(|i| (both.start..i).map(move |j| (i, j))) {
                        out[[i - rows.start, j - cols.start]] = out[[j - rows.start, i - cols.start]];
                    }
                }
            }
        }
        Ok(())
    }

    /// Checks that distances that a tile has both ways agree, but for the rounding of a kernel.
    ///
    /// # Errors
    /// When two do not, or as [`read`](Self::read).
    pub fn check(&self, points: &Points) -> Result<()> {
        for ((a, b), tile) in self.sources.indexed_iter().filter(|&((a, b), _)| a <= b) {
            let (Some(tile), Some(_)) = (*tile, self.sources[[b, a]]) else { continue };
            let [here, there] = [a, b].map(|run| points.runs()[run].points.clone());
            let Laid { rows, cols, .. } = &self.tiles[tile.0 as usize];
            let mut forth = Array2::zeros((here.len(), there.len()));
            self.piece(tile, rows[&a], cols[&b], forth.view_mut())
                .map_err(|wrong| wrong.explain(points, here.start, there.start, false))?;
            let mut back = Array2::zeros((there.len(), here.len()));
            self.piece(tile, rows[&b], cols[&a], back.view_mut())
                .map_err(|wrong| wrong.explain(points, there.start, here.start, false))?;
            for ((i, j), &forth) in forth.indexed_iter().filter(|((i, j), _)| a != b || i < j) {
                let back = back[[j, i]];
                if (back - forth).abs() > 1e-6 + 1e-5 * forth.abs() {
                    let (from, to) = (points.get(here.start + i), points.get(there.start + j));
                    bail!("the distance from {from} to {to} is {forth}, back it is {back}");
                }
            }
        }
        Ok(())
    }

    /// Where the distances between the runs a and b stand.
    fn place(&self, a: usize, b: usize) -> Place {
        let (first, last) = (a.min(b), a.max(b));
        let (tile, from) = match (self.sources[[first, last]], self.sources[[last, first]]) {
            (Some(tile), _) => (tile, first),
            (None, Some(tile)) => (tile, last),
            (None, None) => unreachable!("`new` has seen that all pairs that are asked for are there"),
        };
        let to = if from == a { b } else { a };
        let Laid { rows, cols, .. } = &self.tiles[tile.0 as usize];
        Place { tile, turned: from != a, row: rows[&from], col: cols[&to] }
    }

    /// Fills a rectangle with what a tile has from this row and this column on.
    fn piece(&self, tile: Number, row: usize, col: usize, mut out: ArrayViewMut2<f64>) -> Result<(), Wrong> {
        let tile = &self.tiles[tile.0 as usize].tile;
        let open = tile.open()?;
        let mut values = vec![0.0; out.ncols()];
        for (i, mut out) in out.rows_mut().into_iter().enumerate() {
            open.row(row + i, col..col + values.len(), &mut values)?;
            if let Some(j) = values.iter().position(|value| !value.is_finite()) {
                return Err(Wrong::Value { tile: tile.to_string(), row: i, col: j, value: values[j] });
            }
            out.iter_mut().zip(&values).for_each(|(out, &value)| *out = value);
        }
        Ok(())
    }
}

impl Laid {
    fn new(tile: Tile, points: &Points) -> Result<Laid> {
        let starts = |side: &[Member]| -> Result<HashMap<usize, usize>> {
            tiles::places(side)
                .map(|(run, place)| {
                    let number = points
                        .rank(run)
                        .with_context(|| format!("run {run} of tile {tile} is in none of the other tiles"))?;
                    let (checkpoints, length) = (place.len(), points.runs()[number].points.len());
                    ensure!(
                        length == checkpoints,
                        "run {run} has {checkpoints} checkpoints in tile {tile} and {length} in others"
                    );
                    Ok((number, place.start))
                })
                .collect()
        };
        let (rows, cols) = (starts(&tile.about.rows)?, starts(&tile.about.cols)?);
        Ok(Laid { tile, rows, cols })
    }
}

/// Where in a tile the distances between two runs begin.
#[derive(Clone, Copy, PartialEq)]
struct Place {
    tile: Number,
    /// Whether the tile has the first of them in its columns.
    turned: bool,
    row: usize,
    col: usize,
}

impl Place {
    /// Where the distances to the next run begin, if it lies beside this one in the tile.
    fn after(mut self, other: &Range<usize>) -> Place {
        *(if self.turned { &mut self.row } else { &mut self.col }) += other.len();
        self
    }
}

/// What can be wrong with a piece of a tile.
enum Wrong {
    Read(io::Error),
    /// A distance is not finite, in this row and this column of the piece.
    Value {
        tile: String,
        row: usize,
        col: usize,
        value: f64,
    },
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Self {
        Wrong::Read(error)
    }
}

impl Wrong {
    /// Names the points, where the piece is between those from `here` and those from `there` on, or was turned.
    fn explain(self, points: &Points, here: usize, there: usize, turned: bool) -> io::Error {
        match self {
            Wrong::Read(error) => error,
            Wrong::Value { tile, row, col, value } => {
                let (i, j) = if turned { (col, row) } else { (row, col) };
                let (one, other) = (points.get(here + i), points.get(there + j));
                io::Error::other(format!("tile {tile}: the distance between {one} and {other} is {value}"))
            }
        }
    }
}
