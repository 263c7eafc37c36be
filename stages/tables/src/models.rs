//! The table of models: which rows are the checkpoints of one run.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::{Table, TablesError};

/// What the `run` of the geodesic's points says.
const GEODESIC: &str = "geodesic";

/// The rows of a table of models, in the order of checkpoints.
#[derive(Debug)]
pub struct Models<'a> {
    /// Those of each run, by name.
    pub runs: BTreeMap<&'a str, Vec<usize>>,
    /// Those of the geodesic's points, from P0 to P*.
    pub geodesic: Vec<usize>,
}

impl<'a> Models<'a> {
    /// Groups the rows of a table with columns `run` and `checkpoint`.
    ///
    /// # Errors
    /// When a column is absent, or there is no run.
    pub fn of(table: &'a Table) -> Result<Models<'a>, TablesError> {
        let checkpoint = table.optional::<f64>("checkpoint")?;
        let mut runs: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (row, run) in table.values::<&str>("run")?.into_iter().enumerate() {
            runs.entry(run).or_default().push(row);
        }
        for rows in runs.values_mut() {
            // Stable: rows without a number stay as they are.
            rows.sort_by(|&a, &b| checkpoint[a].partial_cmp(&checkpoint[b]).unwrap_or(Ordering::Equal));
        }
        let geodesic = runs.remove(GEODESIC).unwrap_or_default();
        if runs.is_empty() {
            return Err(TablesError::NoRun { table: table.name().to_owned(), rows: table.height() });
        }
        Ok(Models { runs, geodesic })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Column;

    fn table(runs: &[&str], checkpoints: &[i64]) -> Table {
        Table::new(vec![Column::new("run".into(), runs), Column::new("checkpoint".into(), checkpoints)])
            .unwrap()
    }

    #[test]
    fn rows_are_grouped_by_run_in_the_order_of_checkpoints() {
        let table = table(&["vit", "fc", "geodesic", "fc"], &[0, 1, 0, 0]);
        let models = Models::of(&table).unwrap();
        assert_eq!(models.runs, BTreeMap::from([("fc", vec![3, 1]), ("vit", vec![0])]));
        assert_eq!(models.geodesic, [2]);
    }

    #[test]
    fn a_table_without_runs_is_told() {
        let table = table(&["geodesic"], &[0]);
        let message = Models::of(&table).unwrap_err().to_string();
        assert_eq!(message, "new table: no run among the models, 1 row");
    }
}
