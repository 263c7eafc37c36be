//! The distances between all points: of one sheet, or of two over different samples.

use std::io;
use std::ops::Range;

use anyhow::{Context, Result};
use ndarray::Array2;
use tiles::Tile;

use crate::points::Points;
use crate::sheet::Sheet;

/// Distances that are read from tiles where they are needed. With a second sheet a distance is the mean over the samples of
/// both, (N d + N' d') / (N + N').
pub struct Distances {
    pub points: Points,
    sheet: Sheet,
    joint: Option<Sheet>,
}

impl Distances {
    /// Of `tiles`, between points to embed, and of `placed`, between these and others. `joint` has the same pairs
    /// over other samples.
    ///
    /// # Errors
    /// When pairs of runs are missing or doubled, tiles disagree, or a distance is not symmetric.
    pub fn new(tiles: Vec<Tile>, placed: Vec<Tile>, joint: Option<Vec<Tile>>) -> Result<Distances> {
        let points = Points::new(&tiles, &placed)?;
        let sheet = Sheet::new(tiles.into_iter().chain(placed).collect(), &points)?;
        sheet.check(&points)?;
        let joint = joint.map(|joint| {
            let joint = Sheet::new(joint, &points)?;
            joint.check(&points)?;
            anyhow::Ok(joint)
        });
        Ok(Distances { sheet, joint: joint.transpose().context("input joint")?, points })
    }

    /// By which measure the distances are.
    pub fn measure(&self) -> &str {
        &self.sheet.measure
    }

    /// How many samples the distances are means over.
    pub fn samples(&self) -> usize {
        self.sheet.samples + self.joint.as_ref().map_or(0, |joint| joint.samples)
    }

    /// Distances \[q, M\] of points to the embedded ones.
    pub fn from(&self, points: Range<usize>) -> io::Result<Array2<f64>> {
        let mut rows = Array2::zeros((points.len(), self.points.embedded()));
        let out = rows.as_slice_mut().expect("a new matrix is row-major");
        self.read_all(&points, &(0..self.points.embedded()), out)?;
        Ok(rows)
    }

    fn read_all(&self, rows: &Range<usize>, cols: &Range<usize>, out: &mut [f64]) -> io::Result<()> {
        self.sheet.read(&self.points, rows, cols, out)?;
        if let Some(joint) = &self.joint {
            let mut other = vec![0.0; out.len()];
            joint.read(&self.points, rows, cols, &mut other)?;
            let [one, two] = [self.sheet.samples, joint.samples].map(|samples| samples as f64);
            let mean = |here: f64, there: f64| (one * here + two * there) / (one + two);
            out.iter_mut().zip(other).for_each(|(out, other)| *out = mean(*out, other));
        }
        Ok(())
    }
}

impl spectral::Distances for Distances {
    fn points(&self) -> usize {
        self.points.embedded()
    }

    fn read(&self, rows: Range<usize>, cols: Range<usize>, out: &mut [f64]) -> io::Result<()> {
        self.read_all(&rows, &cols, out)
    }
}
