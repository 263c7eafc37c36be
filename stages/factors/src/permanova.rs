//! Permutational multivariate analysis of variance of a matrix of distances.
//!
//! M. J. Anderson, "A new method for non-parametric multivariate analysis of variance" (Austral Ecology 26, 2001);
//! B. H. McArdle and M. J. Anderson, "Fitting multivariate models to community data" (Ecology 82, 2001). With distances
//! d, A = -1/2 d^2 and its double centring G, and H the hat matrix of a design: the sum of squares that the design
//! explains is tr(H G). A factor's is the difference that leaving it out of the design makes: the factor after all others.

use ndarray::{Array1, Array2, ArrayView2, Axis};

use crate::design::{Factor, along, basis};

/// What one factor explains after the others, or all together.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// Degrees of freedom.
    pub freedom: usize,
    /// Sum of squares.
    pub squares: f64,
    /// Its share of the total sum of squares.
    pub r2: f64,
    /// Pseudo-F: the sum of squares per degree of freedom, over the residual's. None when one of these is 0.
    pub f: Option<f64>,
    /// The share of permutations, the unpermuted one included, whose pseudo-F is as large. None without one.
    pub p: Option<f64>,
}

/// The analysis of all factors.
#[derive(Debug, Clone, PartialEq)]
pub struct Permanova {
    /// In the order of the factors.
    pub factors: Vec<Explained>,
    /// All factors together.
    pub model: Explained,
    /// What no factor explains: `f` and `p` are None.
    pub residual: Explained,
}

/// Analyses `squared` distances \[M, M\], symmetric, by so many random permutations of the observations (rows and
/// columns alike).
///
/// # Panics
/// When the matrix is not square, or a factor has not a level for each row.
pub fn permanova(
    squared: ArrayView2<f64>,
    factors: &[Factor],
    permutations: usize,
    random: &mut fastrand::Rng,
) -> Permanova {
    let count = squared.nrows();
    assert!(squared.is_square() && factors.iter().all(|factor| factor.levels.len() == count));
    let gower = centred(squared);
    let total = gower.diag().sum();
    let full = basis(count, factors.iter());
    let without: Vec<Array2<f64>> = (0..factors.len())
        .map(|left| {
            basis(count, factors.iter().enumerate().filter(|(index, _)| *index != left).map(|(_, f)| f))
        })
        .collect();
    let left = count - full.nrows();

    // Sums of squares: of each factor, of all, of the rest.
    let sums = |matrix: ArrayView2<f64>| -> (Vec<f64>, f64, f64) {
        let model = along(full.view(), matrix);
        let each = without.iter().map(|basis| model - along(basis.view(), matrix)).collect();
        (each, model, total - model)
    };
    let (each, model, rest) = sums(gower.view());
    let freedoms: Vec<usize> = without.iter().map(|basis| full.nrows() - basis.nrows()).collect();
    let ratio = |squares: f64, freedom: usize, rest: f64| {
        // A rest that is rounding divides nothing.
        let divides = freedom > 0 && left > 0 && rest > 1e-12 * total.abs();
        divides.then(|| (squares / freedom as f64) / (rest / left as f64))
    };
    let found: Vec<Option<f64>> =
        each.iter().zip(&freedoms).map(|(&squares, &freedom)| ratio(squares, freedom, rest)).collect();
    let whole = ratio(model, full.nrows() - 1, rest);

    let mut as_large = vec![1usize; factors.len() + 1];
    let mut order: Vec<usize> = (0..count).collect();
    // A permutation that leaves groups as they are gives an equal F but for rounding.
    let reaches = |f: Option<f64>, found: Option<f64>| matches!((f, found), (f, Some(found)) if f.is_none_or(|f| f >= found * (1.0 - 1e-9)));
    for _ in 0..permutations {
        random.shuffle(&mut order);
        let permuted = gower.select(Axis(0), &order).select(Axis(1), &order);
        let (each, model, rest) = sums(permuted.view());
        for ((count, (&squares, &freedom)), &found) in
            as_large.iter_mut().zip(each.iter().zip(&freedoms)).zip(&found)
        {
            *count += usize::from(reaches(ratio(squares, freedom, rest), found));
        }
        as_large[factors.len()] += usize::from(reaches(ratio(model, full.nrows() - 1, rest), whole));
    }

    let explained = |freedom, squares: f64, f: Option<f64>, as_large: usize| Explained {
        freedom,
        squares,
        r2: squares / total,
        f,
        p: f.map(|_| as_large as f64 / (permutations + 1) as f64),
    };
    Permanova {
        factors: (0..factors.len())
            .map(|index| explained(freedoms[index], each[index], found[index], as_large[index]))
            .collect(),
        model: explained(full.nrows() - 1, model, whole, as_large[factors.len()]),
        residual: explained(left, rest, None, 0),
    }
}

/// Gower's centring: -1/2 of the squared distances, less the means of rows and columns, plus the mean of all.
fn centred(squared: ArrayView2<f64>) -> Array2<f64> {
    let mut matrix = squared.mapv(|squared| -0.5 * squared);
    let count = matrix.nrows() as f64;
    let means: Array1<f64> = matrix.sum_axis(Axis(0)) / count;
    let mean = means.sum() / count;
    matrix -= &means;
    matrix -= &means.view().insert_axis(Axis(1));
    matrix + mean
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn factor(name: &str, levels: &[usize]) -> Factor {
        Factor::new(name, levels).unwrap()
    }

    /// Squares of the differences of numbers.
    fn squared(values: &[f64]) -> Array2<f64> {
        Array2::from_shape_fn((values.len(), values.len()), |(i, j)| (values[i] - values[j]).powi(2))
    }

    #[track_caller]
    fn assert_close(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-10 * expected.abs().max(1.0), "{found} is not {expected}");
    }

    #[test]
    fn of_numbers_it_is_the_usual_analysis_of_variance() {
        // Means 2, 5 and 11; within 2 + 2 + 2; between 2 (16 + 1 + 25), the grand mean being 6: F = (84 / 2) / (6 / 3).
        let values = [1.0, 3.0, 4.0, 6.0, 10.0, 12.0];
        let groups = [factor("group", &[0, 0, 1, 1, 2, 2])];
        let found = permanova(squared(&values).view(), &groups, 0, &mut fastrand::Rng::with_seed(0));
        let only = &found.factors[0];
        assert_eq!((only.freedom, found.residual.freedom), (2, 3));
        assert_close(only.squares, 84.0);
        assert_close(only.r2, 84.0 / 90.0);
        assert_close(only.f.unwrap(), 21.0);
        assert_eq!(&found.model, only);
        assert_close(found.residual.squares, 6.0);
        assert_close(found.residual.r2 + only.r2, 1.0);
    }

    #[test]
    fn of_any_distances_it_agrees_with_the_sums_over_groups() {
        // Anderson's own form: sums of squared distances over pairs, SS_T = sum / n, SS_W = sum over groups of sum / size.
        let distances = array![
            [0.0, 1.0, 4.0, 7.0, 5.0],
            [1.0, 0.0, 3.0, 6.0, 9.0],
            [4.0, 3.0, 0.0, 2.0, 8.0],
            [7.0, 6.0, 2.0, 0.0, 3.0],
            [5.0, 9.0, 8.0, 3.0, 0.0]
        ];
        let squared = distances.mapv(|d: f64| d * d);
        let found = permanova(
            squared.view(),
            &[factor("group", &[0, 0, 1, 1, 1])],
            0,
            &mut fastrand::Rng::with_seed(0),
        );
        let total = (1.0 + 16.0 + 49.0 + 25.0 + 9.0 + 36.0 + 81.0 + 4.0 + 64.0 + 9.0) / 5.0;
        let within = 1.0 / 2.0 + (4.0 + 64.0 + 9.0) / 3.0;
        assert_close(found.residual.squares, within);
        assert_close(found.factors[0].squares, total - within);
        assert_close(found.factors[0].f.unwrap(), (total - within) / (within / 3.0));
    }

    #[test]
    fn in_a_balanced_design_factors_share_what_is_explained() {
        // Value = 10 a + b: no rest but the interaction, which is none.
        let (a, b) = ([0, 0, 1, 1, 0, 0, 1, 1], [0, 1, 0, 1, 0, 1, 0, 1]);
        let noise = [0.1, -0.1, -0.1, 0.1, -0.1, 0.1, 0.1, -0.1];
        let values: Vec<f64> = (0..8).map(|i| 10.0 * a[i] as f64 + b[i] as f64 + noise[i]).collect();
        let factors = [factor("a", &a), factor("b", &b)];
        let found = permanova(squared(&values).view(), &factors, 199, &mut fastrand::Rng::with_seed(1));
        assert_close(found.factors[0].squares, 200.0);
        assert_close(found.factors[1].squares, 2.0);
        assert_close(found.residual.squares, 0.08);
        assert_close(found.factors[0].f.unwrap(), 200.0 / (0.08 / 5.0));
        assert_close(found.model.r2, found.factors[0].r2 + found.factors[1].r2);
        assert!(found.factors[0].p.unwrap() < 0.1, "{found:?}");
    }

    #[test]
    fn a_factor_after_one_that_implies_it_explains_nothing() {
        let values = [1.0, 2.0, 4.0, 8.0, 16.0, 3.0];
        let factors = [factor("fine", &[0, 0, 1, 1, 2, 2]), factor("coarse", &[0, 0, 0, 0, 1, 1])];
        let found = permanova(squared(&values).view(), &factors, 9, &mut fastrand::Rng::with_seed(0));
        assert_eq!((found.factors[1].freedom, found.factors[1].f, found.factors[1].p), (0, None, None));
        assert_close(found.factors[1].squares, 0.0);
        assert_eq!(found.factors[0].freedom, 1);
    }

    #[test]
    fn a_permutation_test_of_four_in_two_pairs_has_one_arrangement_in_three_as_good() {
        // Three ways to pair four; a p close to 1/3, with the unpermuted one counted in.
        let values = [0.0, 1.0, 10.0, 11.0];
        let groups = [factor("group", &[0, 0, 1, 1])];
        let found = permanova(squared(&values).view(), &groups, 2_999, &mut fastrand::Rng::with_seed(5));
        let p = found.factors[0].p.unwrap();
        assert!((p - 1.0 / 3.0).abs() < 0.03, "{p}");
        let again = permanova(squared(&values).view(), &groups, 2_999, &mut fastrand::Rng::with_seed(5));
        assert_eq!(found, again);
    }

    #[test]
    fn as_many_levels_as_observations_leave_nothing_to_test_against() {
        let found = permanova(
            squared(&[1.0, 2.0, 4.0]).view(),
            &[factor("all", &[0, 1, 2])],
            9,
            &mut fastrand::Rng::with_seed(0),
        );
        assert_eq!((found.residual.freedom, found.factors[0].f, found.factors[0].p), (0, None, None));
        assert_close(found.factors[0].r2, 1.0);
    }
}
