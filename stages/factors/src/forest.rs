//! How much a random forest needs each factor to tell where a trajectory lies.
//!
//! L. Breiman, "Random forests" (Machine Learning 45, 2001), section 10: a factor's levels are permuted among the
//! observations, and the error grows of what trees predict that were grown without the observation.

use anyhow::{Context, Result, ensure};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis, concatenate};
use smartcore::ensemble::random_forest_regressor::{RandomForestRegressor, RandomForestRegressorParameters};
use smartcore::linalg::basic::matrix::DenseMatrix;

use crate::design::Factor;

/// Trees in a forest. With so many every observation is left out by some, however few there are.
const TREES: usize = 300;

type Forest = RandomForestRegressor<f64, f64, DenseMatrix<f64>, Vec<f64>>;

/// What permuting one factor does to the error.
#[derive(Debug, Clone, PartialEq)]
pub struct Importance {
    /// By how much the error grows, as a share of the variance of what is predicted; the mean over permutations.
    pub mean: f64,
    /// The standard deviation over permutations.
    pub spread: f64,
    /// The share of permutations, the unpermuted one included, whose error is no larger.
    pub p: f64,
}

/// What the forest predicts, and how well.
#[derive(Debug, Clone, PartialEq)]
pub struct Importances {
    /// 1 - error / variance, of observations that a tree has not seen.
    pub r2: f64,
    /// In the order of the factors.
    pub factors: Vec<Importance>,
}

/// Forests that predict `coordinates` \[observations, dimensions\], one a dimension, from the levels of factors.
///
/// # Errors
/// When the forests cannot be grown: there are no factors, or no two observations.
pub fn importances(
    coordinates: ArrayView2<f64>,
    factors: &[Factor],
    permutations: usize,
    random: &mut fastrand::Rng,
) -> Result<Importances> {
    let dummies: Vec<Array2<f64>> = factors.iter().map(Factor::dummies).collect();
    let seen = features(&dummies)?;
    let forests: Vec<Forest> = coordinates
        .columns()
        .into_iter()
        .map(|column| {
            let parameters = RandomForestRegressorParameters::default()
                .with_n_trees(TREES)
                .with_keep_samples(true)
                .with_seed(random.u64(..));
            Forest::fit(&seen, &column.to_vec(), parameters).context("growing a forest")
        })
        .collect::<Result<_>>()?;
    let variance: f64 =
        coordinates.columns().into_iter().map(|column| squares(column, &column.mean().unwrap_or(0.0))).sum();
    ensure!(variance > 0.0, "all observations lie in one place: there is nothing to predict");
    let error = |features: &DenseMatrix<f64>| -> Result<f64> {
        let mut sum = 0.0;
        for (forest, column) in forests.iter().zip(coordinates.columns()) {
            let predicted = forest.predict_oob(features).context("predicting by a forest")?;
            sum += column.iter().zip(&predicted).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        }
        Ok(sum / variance)
    };
    let base = error(&seen)?;

    let mut order: Vec<usize> = (0..coordinates.nrows()).collect();
    let mut all = Vec::with_capacity(factors.len());
    for factor in 0..factors.len() {
        let mut growths = Vec::with_capacity(permutations);
        for _ in 0..permutations {
            random.shuffle(&mut order);
            let mut permuted = dummies.clone();
            permuted[factor] = dummies[factor].select(Axis(0), &order);
            growths.push(error(&features(&permuted)?)? - base);
        }
        let growths = ArrayView1::from(&growths);
        let mean = growths.mean().unwrap_or(0.0);
        let no_larger = growths.iter().filter(|&&growth| growth <= 0.0).count();
        all.push(Importance {
            mean,
            spread: (squares(growths, &mean) / permutations.max(1) as f64).sqrt(),
            p: (no_larger + 1) as f64 / (permutations + 1) as f64,
        });
    }
    Ok(Importances { r2: 1.0 - base, factors: all })
}

/// The dummies of all factors side by side.
fn features(dummies: &[Array2<f64>]) -> Result<DenseMatrix<f64>> {
    let views: Vec<ArrayView2<f64>> = dummies.iter().map(|dummies| dummies.view()).collect();
    let all = concatenate(Axis(1), &views).context("a forest needs a factor that differs")?;
    let (rows, columns) = all.dim();
    Ok(DenseMatrix::new(rows, columns, all.iter().copied().collect(), false)?)
}

fn squares(values: ArrayView1<f64>, from: &f64) -> f64 {
    values.iter().map(|value| (value - from).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_that_decides_matters_and_the_other_does_not() {
        let decides: Vec<usize> = (0..40).map(|i| i % 4).collect();
        let idle: Vec<usize> = (0..40).map(|i| i / 4 % 2).collect();
        let coordinates = Array2::from_shape_fn((40, 2), |(i, k)| {
            [[3.0, 1.0], [-1.0, 2.0], [0.0, -4.0], [-2.0, 1.0]][decides[i]][k] + 0.01 * (i * i % 7) as f64
        });
        let factors = [Factor::new("decides", &decides).unwrap(), Factor::new("idle", &idle).unwrap()];
        let run = || importances(coordinates.view(), &factors, 99, &mut fastrand::Rng::with_seed(3)).unwrap();
        let found = run();
        assert!(found.r2 > 0.8, "{found:?}");
        // Permuted, it tells nothing: the error is that of two independent draws, twice the variance.
        let (decides, idle) = (&found.factors[0], &found.factors[1]);
        assert!((1.0..2.2).contains(&decides.mean) && decides.p == 0.01, "{found:?}");
        assert!(idle.mean.abs() < 0.1 && idle.p > 0.01, "{found:?}");
        assert_eq!(found, run());
    }

    #[test]
    fn where_nothing_differs_there_is_nothing_to_predict() {
        let factors = [Factor::new("a", &[0, 1, 0]).unwrap()];
        let mut random = fastrand::Rng::with_seed(0);
        let error = importances(Array2::ones((3, 1)).view(), &factors, 3, &mut random).unwrap_err();
        assert_eq!(error.to_string(), "all observations lie in one place: there is nothing to predict");
        assert!(importances(Array2::ones((3, 1)).view(), &[], 3, &mut random).is_err());
    }
}
