//! The six averages of some trajectories at one progress.

use std::ops::Range;

use anyhow::Result;
use geometry::{Alignment, Centroid, Distances, Measure, Model, Place, Trajectory, Truth, reference};
use ndarray::{Array2, Array3, ArrayView2, Axis, s};
use rayon::prelude::*;
use runs::Run;

/// Probabilities of a model that a thread averages at a time: it holds the points of all trajectories for them.
const VALUES: usize = 2_560;

/// Pieces of so many that are held at a time, of each average.
const PIECES: usize = 16;

const KINDS: usize = Centroid::ALL.len();

/// What there is to tell of the centroids, in the order of [`Centroid::ALL`].
pub(crate) struct Centres {
    /// The distances among them, [6, 6].
    pub(crate) between: Array2<f64>,
    /// Where each is along the geodesic.
    pub(crate) places: [Place; KINDS],
    /// The mean Bhattacharyya distance of the trajectories' points to each.
    pub(crate) spreads: [f64; KINDS],
}

impl Centres {
    /// Of trajectories at a progress, by the threads of the current pool.
    ///
    /// # Errors
    /// When predictions cannot be read.
    pub(crate) fn at(progress: f64, trajectories: &[(&Run, Trajectory)], truth: &Truth) -> Result<Centres> {
        let (samples, classes) = (truth.samples(), truth.classes());
        let piece = (VALUES / classes).max(1);
        let block = piece * PIECES;
        let mut distances = Distances::within(Measure::Bhattacharyya, KINDS);
        let mut alignments = [(); KINDS].map(|()| Alignment::begin(truth));
        let mut sums = [0.0; KINDS];
        for start in (0..samples).step_by(block) {
            let mut models = Array3::zeros((KINDS, block.min(samples - start), classes));
            let pieces: Vec<_> = models.axis_chunks_iter_mut(Axis(1), piece).collect();
            let of_pieces: Vec<[f64; KINDS]> = pieces
                .into_par_iter()
                .enumerate()
                .map(|(index, mut models)| {
                    let first = start + index * piece;
                    let points = points(progress, trajectories, &(first..first + models.len_of(Axis(1))))?;
                    let views: Vec<ArrayView2<f64>> = points.iter().map(|point| point.view()).collect();
                    Ok(std::array::from_fn(|kind| {
                        let centre = Centroid::ALL[kind].of(&views);
                        models.slice_mut(s![kind, .., ..]).zip_mut_with(&centre, |p, &q| *p = q as f32);
                        let to = views.iter().map(|point| reference::bhattacharyya(*point, centre.view()));
                        to.sum::<f64>() * centre.nrows() as f64
                    }))
                })
                .collect::<Result<_>>()?;
            // In the order of samples, whatever the threads did.
            for of_piece in of_pieces {
                sums.iter_mut().zip(of_piece).for_each(|(sum, here)| *sum += here);
            }
            let views: Vec<Model> = models.outer_iter().collect();
            alignments.iter_mut().zip(&views).for_each(|(alignment, view)| alignment.add(*view));
            distances.add(&views, &[])?;
        }
        let count = (trajectories.len() * samples) as f64;
        Ok(Centres {
            between: distances.mean(),
            places: alignments.map(|alignment| alignment.place()),
            spreads: sums.map(|sum| sum / count),
        })
    }
}

fn points(
    progress: f64,
    trajectories: &[(&Run, Trajectory)],
    samples: &Range<usize>,
) -> Result<Vec<Array2<f64>>> {
    trajectories.iter().map(|(run, trajectory)| run.point(trajectory, progress, samples)).collect()
}
