//! What each point counts, from a column of the table.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use ndarray::Array1;
use tables::{Table, TablesError};

use crate::points::Points;

/// Of each embedded point, which has this row in the table. A column of numbers is the weights; of one of texts each text
/// counts as much as any other, however many points have it (`arch`: the geodesic as much as an architecture).
///
/// # Errors
/// When there is no such column, or a point has no value in it or none above 0.
pub fn weights(table: &Table, column: &str, rows: &[usize], points: &Points) -> Result<Array1<f64>> {
    let missing = |point: usize| format!("column `{column}` has no weight for {}", points.get(point));
    match table.optional::<f64>(column) {
        Ok(weights) => {
            let weight = |(point, &row): (usize, &usize)| {
                let weight = weights[row].with_context(|| missing(point))?;
                ensure!(
                    weight > 0.0,
                    "column `{column}` gives {} the weight {weight}; weights are above 0, and a model that is not to count \
                     can be placed out-of-sample (input `placed`)",
                    points.get(point)
                );
                Ok(weight)
            };
            rows.iter().enumerate().map(weight).collect()
        }
        Err(TablesError::Kind { .. }) => {
            let texts = table.optional::<&str>(column)?;
            let text = |(point, &row): (usize, &usize)| texts[row].with_context(|| missing(point));
            let texts = rows.iter().enumerate().map(text).collect::<Result<Vec<_>>>()?;
            let mut counts = BTreeMap::new();
            texts.iter().for_each(|text| *counts.entry(text).or_insert(0.0) += 1.0);
            Ok(texts.iter().map(|text| 1.0 / counts[text]).collect())
        }
        Err(error) => Err(error.into()),
    }
}
