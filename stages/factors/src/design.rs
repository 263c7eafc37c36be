//! Factors as columns of numbers: dummy coding, and the space that the columns span.

use ndarray::{Array1, Array2, ArrayView2};

/// A column that is left with less than this part of its length after others are taken out of it lies in their space.
const DEPENDENT: f64 = 1e-9;

/// A factor: what differs between observations, with a level for each of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Factor {
    pub name: String,
    /// The level of each observation, from 0.
    pub levels: Vec<usize>,
    /// How many levels there are, at least two.
    pub count: usize,
}

impl Factor {
    /// Of a value for each observation; nothing when all are equal.
    pub fn new<T: Ord>(name: &str, values: &[T]) -> Option<Factor> {
        let mut distinct: Vec<&T> = values.iter().collect();
        distinct.sort();
        distinct.dedup();
        let levels = values.iter().map(|value| distinct.partition_point(|other| *other < value)).collect();
        (distinct.len() > 1).then(|| Factor { name: name.to_owned(), levels, count: distinct.len() })
    }

    /// A column for each level, 1 where an observation has it \[observations, levels\].
    pub fn dummies(&self) -> Array2<f64> {
        Array2::from_shape_fn((self.levels.len(), self.count), |(row, level)| {
            f64::from(u8::from(self.levels[row] == level))
        })
    }
}

/// An orthonormal basis of what a constant and the dummies of factors span, \[rank, observations\]; its first row is the
/// constant.
pub fn basis<'a>(observations: usize, factors: impl Iterator<Item = &'a Factor>) -> Array2<f64> {
    let mut basis: Vec<Array1<f64>> = Vec::new();
    let mut add = |mut column: Array1<f64>| {
        let length = column.dot(&column).sqrt();
        // Twice: once leaves the rounding of a long projection.
        for _ in 0..2 {
            for row in &basis {
                let along = row.dot(&column);
                column.scaled_add(-along, row);
            }
        }
        let left = column.dot(&column).sqrt();
        if left > DEPENDENT * length {
            basis.push(column / left);
        }
    };
    add(Array1::ones(observations));
    for factor in factors {
        factor.dummies().columns().into_iter().for_each(|column| add(column.to_owned()));
    }
    let rank = basis.len();
    let values = basis.into_iter().flatten().collect();
    Array2::from_shape_vec((rank, observations), values)
        .expect("each row of the basis is an observation long")
}

/// What a matrix has along a basis: tr(H G) with the hat matrix H = Q'Q.
pub fn along(basis: ArrayView2<f64>, matrix: ArrayView2<f64>) -> f64 {
    (&basis.dot(&matrix) * &basis).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_numbered_in_the_order_of_values() {
        let factor = Factor::new("batch", &[50, 25, 50]).unwrap();
        assert_eq!((factor.levels, factor.count), (vec![1, 0, 1], 2));
        assert_eq!(Factor::new("decay", &[0, 0]), None);
    }

    #[test]
    fn the_basis_is_orthonormal_and_as_large_as_the_design() {
        let (a, b) = (Factor::new("a", &[0, 0, 1, 1, 2, 2]), Factor::new("b", &[0, 1, 0, 1, 0, 1]));
        let factors = [a.unwrap(), b.unwrap()];
        let basis = basis(6, factors.iter());
        assert_eq!(basis.nrows(), 1 + 2 + 1);
        let products = basis.dot(&basis.t());
        assert!((&products - &Array2::<f64>::eye(4)).iter().all(|error| error.abs() < 1e-14));
        // A factor that another one implies adds nothing.
        let implied = Factor::new("c", &[0, 0, 0, 0, 1, 1]).unwrap();
        assert_eq!(super::basis(6, factors.iter().chain([&implied])).nrows(), 4);
    }
}
