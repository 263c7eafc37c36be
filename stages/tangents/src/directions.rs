//! Tangents: mean velocities of great circles from an end of the geodesic towards the checkpoints near it.

use std::ops::RangeInclusive;

use anyhow::Result;
use geometry::{Truth, geodesic, velocity};
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use runs::{Group, Placed, Run};

/// Probabilities of a model that a thread looks at at a time: it holds the tangents of all groups for them.
const VALUES: usize = 2_560;

/// An end of the geodesic.
pub(crate) struct End {
    pub(crate) name: &'static str,
    /// Its progress, and that of the other end.
    pub(crate) from: f64,
    pub(crate) to: f64,
    /// The progress of the checkpoints that count as near.
    pub(crate) near: RangeInclusive<f64>,
}

/// The tangents of groups at one end, by their products.
pub(crate) struct Directions {
    /// Those that have runs with a checkpoint near the end; of these runs alone.
    pub(crate) groups: Vec<Group>,
    /// Products of the groups' tangents, and last of the geodesic's, means over samples.
    products: Array2<f64>,
    /// Of each group, the root mean square over its runs of the length of their own tangents.
    pub(crate) run_norms: Vec<f64>,
}

/// What a block of samples gives.
struct Part {
    products: Array2<f64>,
    run_squares: Vec<f64>,
}

impl Directions {
    /// At an end: for each run the mean velocity towards its checkpoints near it, for each group the mean over its runs.
    pub(crate) fn new(
        runs: &[&Run],
        by: &[String],
        placed: &Placed,
        truth: &Truth,
        end: &End,
    ) -> Result<Directions> {
        let mut near: Vec<(&Run, Vec<usize>)> = Vec::new();
        for run in runs {
            let progress = placed.progress(run)?;
            let taken: Vec<usize> =
                (0..progress.len()).filter(|&index| end.near.contains(&progress[index])).collect();
            if !taken.is_empty() {
                near.push((run, taken));
            }
        }
        let groups = runs::groups(near.iter().map(|(run, _)| *run), by)?;
        let step = (VALUES / truth.classes()).max(1);
        let blocks: Vec<usize> = (0..truth.samples()).step_by(step).collect();
        let parts: Vec<Part> = blocks
            .into_par_iter()
            .map(|start| {
                let range = start..truth.samples().min(start + step);
                let ends = geodesic(&truth.part(range.clone()), &[end.from, end.to]);
                let (base, ahead) = (ends.index_axis(Axis(0), 0), ends.index_axis(Axis(0), 1));
                let of_run = |place: usize| -> Result<Array2<f64>> {
                    let (run, taken) = &near[place];
                    let mut sum = Array2::<f64>::zeros(base.dim());
                    for &checkpoint in taken {
                        let model = run.predictions.model(checkpoint, range.clone())?;
                        sum += &velocity(base, model.view());
                    }
                    Ok(sum / taken.len() as f64)
                };
                let mut tangents: Vec<Array2<f64>> = Vec::with_capacity(groups.len() + 1);
                let mut run_squares = Vec::with_capacity(groups.len());
                for group in &groups {
                    let mut sum = Array2::<f64>::zeros(base.dim());
                    let mut squares = 0.0;
                    for &place in &group.runs {
                        let tangent = of_run(place)?;
                        squares += product(tangent.view(), tangent.view());
                        sum += &tangent;
                    }
                    tangents.push(sum / group.runs.len() as f64);
                    run_squares.push(squares / group.runs.len() as f64);
                }
                tangents.push(velocity(base, ahead));
                let products = Array2::from_shape_fn((tangents.len(), tangents.len()), |(i, j)| {
                    product(tangents[i].view(), tangents[j].view())
                });
                Ok(Part { products, run_squares })
            })
            .collect::<Result<_>>()?;
        let count = truth.samples() as f64;
        let mut products = Array2::zeros((groups.len() + 1, groups.len() + 1));
        let mut squares = vec![0.0; groups.len()];
        for part in parts {
            products += &(part.products / count);
            squares.iter_mut().zip(part.run_squares).for_each(|(sum, part)| *sum += part / count);
        }
        Ok(Directions { groups, products, run_norms: squares.into_iter().map(f64::sqrt).collect() })
    }

    /// The length of a group's tangent, the root mean square over samples.
    pub(crate) fn norm(&self, group: usize) -> f64 {
        self.products[[group, group]].sqrt()
    }

    /// The cosine between the tangents of two groups; the one past the last is the geodesic's. NaN where one has no length.
    pub(crate) fn cosine(&self, one: usize, other: usize) -> f64 {
        self.products[[one, other]] / (self.norm(one) * self.norm(other))
    }
}

fn product(one: ArrayView2<f64>, other: ArrayView2<f64>) -> f64 {
    one.axis_iter(Axis(0)).zip(other.axis_iter(Axis(0))).map(|(a, b)| a.dot(&b)).sum()
}
