//! The six averages of some trajectories at one progress.

use std::ops::Range;

use anyhow::Result;
use geometry::{Alignment, Centroid, Distances, Measure, Model, Place, Trajectory, Truth, reference};
use ndarray::{Array2, Array3, ArrayView2, Axis};
use rayon::prelude::*;
use runs::Run;

/// Probabilities of a model that a thread averages at a time: it holds the points of all trajectories for them.
const VALUES: usize = 2_560;

/// Pieces of so many that are held at a time, of each average.
const PIECES: usize = 16;

const KINDS: usize = Centroid::ALL.len();
/// Places in [`Centroid::ALL`].
const ARITHMETIC: usize = Centroid::Arithmetic as usize;
const ROOT: usize = Centroid::Root as usize;

/// What there is to tell of the centroids, in the order of [`Centroid::ALL`].
pub(crate) struct Centres {
    /// The distances among them, [6, 6].
    pub(crate) between: Array2<f64>,
    /// Where each is along the geodesic, and how far from its point there.
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
        let mut sums = Sums::default();
        for start in (0..samples).step_by(block) {
            let mut models = Array3::zeros((KINDS, block.min(samples - start), classes));
            let pieces: Vec<_> = models.axis_chunks_iter_mut(Axis(1), piece).collect();
            let of_pieces: Vec<Sums> = pieces
                .into_par_iter()
                .enumerate()
                .map(|(index, mut models)| {
                    let first = start + index * piece;
                    let points = points(progress, trajectories, &(first..first + models.len_of(Axis(1))))?;
                    let views: Vec<ArrayView2<f64>> = points.iter().map(|point| point.view()).collect();
                    let centres = Centroid::ALL.map(|kind| kind.of(&views));
                    for (mut model, centre) in models.outer_iter_mut().zip(&centres) {
                        model.zip_mut_with(centre, |p, &q| *p = q as f32);
                    }
                    Ok(Sums::of(&centres, &views))
                })
                .collect::<Result<_>>()?;
            // In the order of samples, whatever the threads did.
            of_pieces.iter().for_each(|of_piece| sums.add(of_piece));
            let views: Vec<Model> = models.outer_iter().collect();
            alignments.iter_mut().zip(&views).for_each(|(alignment, view)| alignment.add(*view));
            distances.add(&views, &[])?;
        }
        let mut places = alignments.map(|alignment| alignment.place());
        places[ROOT].distance += sums.lack / samples as f64;
        let spreads = sums.to_points.map(|sum| sum / (trajectories.len() * samples) as f64);
        Ok(Centres { between: distances.mean(), places, spreads })
    }
}

/// Sums over samples.
#[derive(Default)]
struct Sums {
    /// The Bhattacharyya distances of all trajectories' points to each centroid.
    to_points: [f64; KINDS],
    /// By what the squared mean root, which is no distribution, is farther from everything than the distribution that it is a
    /// multiple of: -1/2 log of its sum, held to that of the arithmetic mean, which is 1 as far as predictions are rounded.
    lack: f64,
}

impl Sums {
    fn of(centres: &[Array2<f64>; KINDS], points: &[ArrayView2<f64>]) -> Sums {
        let to_points = |centre: &Array2<f64>| {
            let to = points.iter().map(|point| reference::bhattacharyya(*point, centre.view()));
            to.sum::<f64>() * centre.nrows() as f64
        };
        let sums = |kind: usize| centres[kind].sum_axis(Axis(1));
        let lack = (sums(ROOT) / sums(ARITHMETIC)).mapv(|share| -0.5 * share.ln()).sum();
        Sums { to_points: centres.each_ref().map(to_points), lack }
    }

    fn add(&mut self, other: &Sums) {
        self.to_points.iter_mut().zip(other.to_points).for_each(|(sum, here)| *sum += here);
        self.lack += other.lack;
    }
}

fn points(
    progress: f64,
    trajectories: &[(&Run, Trajectory)],
    samples: &Range<usize>,
) -> Result<Vec<Array2<f64>>> {
    trajectories.iter().map(|(run, trajectory)| run.point(trajectory, progress, samples)).collect()
}
