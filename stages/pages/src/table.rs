//! What a table says in each of its rows alike.

use anyhow::{Context, Result};
use tables::Table;

/// The first value of a column that is the same in each row, as the number of samples.
///
/// # Errors
/// When there is no such column, or no row.
pub fn common(table: &Table, column: &str) -> Result<usize> {
    let values = table.numbers(column)?;
    values.first().map(|value| *value as usize).with_context(|| format!("column `{column}` has no row"))
}

/// Whether the distances of a spectrum's embedding are in nats: those of probabilities as points in space are not.
pub fn is_in_nats(spectrum: &Table) -> bool {
    spectrum.values::<&str>("measure").map_or(true, |measures| measures.first() != Some(&"euclidean"))
}
