//! What is compared at equal progress: configurations by their mean trajectories, and each run with the mean of its
//! configuration, the tube.
//!
//! Held at a time are the points of all configurations at one progress, of as many samples as fit in a bound; so memory
//! does not follow the number of samples.

use std::ops::Range;
use std::path::Path;

use anyhow::{Result, ensure};
use geometry::{Distances, Measure, Model, reference};
use ndarray::{Array2, ArrayView1};
use rayon::ThreadPool;
use rayon::prelude::*;
use runs::Run;
use tables::{Column, Table, json_columns};

use crate::configurations::Configuration;

/// Means over samples of distances at equal progress.
pub(crate) struct Along {
    /// Between mean trajectories, the mean over the grid, [K, K].
    pub(crate) distances: Array2<f64>,
    /// Of the runs of each configuration to its mean: a [grid, runs] each.
    deviations: Vec<Array2<f64>>,
}

/// The points of a configuration's runs at one progress, of some samples.
struct Points {
    mean: Array2<f32>,
    /// The distance of each run to it.
    deviations: Vec<f64>,
}

/// Compares configurations at `grid` values of progress, 1/grid .. 1, of `samples` samples of `classes` classes, in
/// `bytes` of memory for points.
pub(crate) fn along(
    configurations: &[Configuration],
    grid: usize,
    (samples, classes): (usize, usize),
    bytes: usize,
    pool: &ThreadPool,
    report: impl Fn(u64, u64),
) -> Result<Along> {
    let count = configurations.len();
    let most = configurations.iter().map(|each| each.members.len()).max().unwrap_or(0);
    let block = block(count, most, classes, bytes)?;
    // The same samples at each progress: their mean over all that is added is the mean over the grid.
    let mut distances = Distances::within(Measure::Bhattacharyya, count);
    let mut deviations: Vec<Array2<f64>> =
        configurations.iter().map(|each| Array2::zeros((grid, each.members.len()))).collect();
    let blocks = samples.div_ceil(block);
    for (done, start) in (0..samples).step_by(block).enumerate() {
        let range = start..samples.min(start + block);
        let weight = range.len() as f64 / samples as f64;
        for index in 0..grid {
            let progress = (index + 1) as f64 / grid as f64;
            let points: Vec<Points> = pool.install(|| {
                let points: Vec<Points> = configurations
                    .par_iter()
                    .map(|each| Points::at(progress, each, &range))
                    .collect::<Result<_>>()?;
                let means: Vec<Model> = points.iter().map(|points| points.mean.view()).collect();
                distances.add(&means, &[])?;
                anyhow::Ok(points)
            })?;
            for (sum, points) in deviations.iter_mut().zip(&points) {
                sum.row_mut(index).scaled_add(weight, &ArrayView1::from(&points.deviations));
            }
            report((done * grid + index + 1) as u64, (blocks * grid) as u64);
        }
    }
    Ok(Along { distances: distances.mean(), deviations })
}

/// How many samples to take at a time: each takes, of every configuration, its mean in f32, and in each thread the
/// points of one configuration's runs in f64, and what one of them is made of. As many threads are reckoned with as configurations can use, up to 16,
/// rather than those there are, on which results must not depend.
fn block(count: usize, most: usize, classes: usize, bytes: usize) -> Result<usize> {
    let each = classes * (4 * count + 8 * (most + 3) * count.min(16));
    ensure!(bytes >= each, "memory: {bytes} bytes; a sample of {count} configurations alone takes {each}");
    let samples = bytes / each.max(1);
    // Of which distances have the same bits, whatever the multiple, where there is room.
    let step = Distances::step(classes);
    Ok(if samples < step { samples } else { samples / step * step })
}

impl Points {
    fn at(progress: f64, configuration: &Configuration, samples: &Range<usize>) -> Result<Points> {
        let members = configuration.members.iter();
        let points: Vec<Array2<f64>> = members
            .map(|(run, trajectory)| run.point(trajectory, progress, samples))
            .collect::<Result<_>>()?;
        let mut mean = points.iter().skip(1).fold(points[0].clone(), |sum, point| sum + point);
        mean /= points.len() as f64;
        // The mean of one run is that run.
        let deviations = match &points[..] {
            [_] => vec![0.0],
            _ => points.iter().map(|point| reference::bhattacharyya(point.view(), mean.view())).collect(),
        };
        Ok(Points { mean: mean.mapv(|p| p as f32), deviations })
    }
}

impl Along {
    /// Writes the tube: a row for each run and progress, of configurations with several runs.
    pub(crate) fn write_tube(&self, path: &Path, configurations: &[Configuration]) -> Result<()> {
        let mut runs: Vec<&Run> = Vec::new();
        let (mut progress, mut distance) = (Vec::<f64>::new(), Vec::<f64>::new());
        let several = configurations.iter().zip(&self.deviations).filter(|(each, _)| each.members.len() > 1);
        for (configuration, deviations) in several {
            let grid = deviations.nrows();
            for ((run, _), column) in configuration.members.iter().zip(deviations.columns()) {
                runs.extend(std::iter::repeat_n(*run, grid));
                progress.extend((1..=grid).map(|index| index as f64 / grid as f64));
                distance.extend(column);
            }
        }
        let names: Vec<&str> = runs.iter().map(|run| &*run.name).collect();
        let mut all = vec![Column::new("run".into(), names)];
        all.extend(json_columns(&runs.iter().map(|run| &run.scalars).collect::<Vec<_>>())?);
        all.push(Column::new("progress".into(), progress));
        all.push(Column::new("distance".into(), distance));
        Ok(Table::new(all)?.write(path)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_samples_takes_no_more_than_its_bound() {
        // Of the paper: 216 configurations of ten runs, ten classes, 500 MB.
        let samples = block(216, 10, 10, 500_000_000).unwrap();
        assert!((10_000..50_000).contains(&samples), "{samples}");
        assert!(block(216, 10, 1_000, 1_000_000).is_err());
        assert_eq!(block(0, 0, 10, 1).unwrap(), 1);
    }
}
