//! The six averages of some trajectories at one progress.

use std::ops::Range;

use geometry::{Centroid, Trajectory, Truth, reference};
use ndarray::{Array2, Array3, ArrayView2, Axis, s};
use rayon::prelude::*;

/// Samples that a thread averages at a time: it holds the points of all trajectories for them.
const SAMPLES: usize = 256;

const KINDS: usize = Centroid::ALL.len();

/// The centroids, in the order of [`Centroid::ALL`].
pub(crate) struct Centres {
    /// [6, N, C].
    pub(crate) models: Array3<f32>,
    /// The mean Bhattacharyya distance of the trajectories' points to each.
    pub(crate) spreads: [f64; KINDS],
}

impl Centres {
    /// Of trajectories at a progress, by the threads of the current pool.
    pub(crate) fn at(progress: f64, trajectories: &[Trajectory<f32>], truth: &Truth) -> Centres {
        let mut models = Array3::zeros((KINDS, truth.samples(), truth.classes()));
        let chunks: Vec<_> = models.axis_chunks_iter_mut(Axis(1), SAMPLES).collect();
        let sums: Vec<[f64; KINDS]> = chunks
            .into_par_iter()
            .enumerate()
            .map(|(chunk, mut models)| {
                let start = chunk * SAMPLES;
                let points = points(progress, trajectories, start..start + models.len_of(Axis(1)));
                let views: Vec<ArrayView2<f64>> = points.iter().map(|point| point.view()).collect();
                std::array::from_fn(|kind| {
                    let centre = Centroid::ALL[kind].of(&views);
                    models.slice_mut(s![kind, .., ..]).zip_mut_with(&centre, |model, &p| *model = p as f32);
                    let distances = views.iter().map(|point| reference::bhattacharyya(*point, centre.view()));
                    distances.sum::<f64>() * centre.nrows() as f64
                })
            })
            .collect();
        // In the order of samples, whatever the threads did.
        let count = (trajectories.len() * truth.samples()) as f64;
        let spreads = std::array::from_fn(|kind| sums.iter().map(|sums| sums[kind]).sum::<f64>() / count);
        Centres { models, spreads }
    }
}

fn points(progress: f64, trajectories: &[Trajectory<f32>], samples: Range<usize>) -> Vec<Array2<f64>> {
    trajectories.iter().map(|trajectory| trajectory.samples(samples.clone()).at(progress)).collect()
}
