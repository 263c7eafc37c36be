//! The table of models: which rows are the checkpoints of one run.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{Table, TablesError};

/// What the `run` of the geodesic's points says.
const GEODESIC: &str = "geodesic";

/// How runs of one architecture differ, beside their seeds.
const SETTINGS: [&str; 4] = ["optimizer", "batch", "decay", "augment"];

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

    /// For each row whether it is of a run that has its like, in optimizer, batch size, decay and augmentation, among the
    /// runs of every other size of its architecture; all are where no run has. `family` names what the sizes are sizes
    /// of. Sizes can be compared by these runs alone.
    ///
    /// # Errors
    /// When there is no column `arch`.
    pub fn have_their_like(
        &self,
        table: &'a Table,
        family: impl Fn(&str) -> &str,
    ) -> Result<Vec<bool>, TablesError> {
        let arch = table.optional::<&str>("arch")?;
        let settings: Vec<Vec<Value>> = SETTINGS.iter().filter_map(|name| table.scalars(name).ok()).collect();
        // By family: by settings, the sizes that have them.
        let mut sizes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut having: BTreeMap<(&str, String), BTreeSet<&str>> = BTreeMap::new();
        let described = |rows: &[usize]| {
            let arch = arch[rows[0]].unwrap_or_default();
            let of_it: Vec<String> = settings.iter().map(|values| values[rows[0]].to_string()).collect();
            (arch, (family(arch), of_it.join(" ")))
        };
        for rows in self.runs.values() {
            let (arch, like) = described(rows);
            sizes.entry(like.0).or_default().insert(arch);
            having.entry(like).or_default().insert(arch);
        }
        let is_common = |like: &(&str, String)| having[like] == sizes[like.0];
        let comparable: BTreeSet<&str> =
            having.keys().filter(|like| is_common(like)).map(|like| like.0).collect();
        let mut have = vec![false; table.height()];
        for rows in self.runs.values() {
            let (_, like) = described(rows);
            let counts = is_common(&like) || !comparable.contains(like.0);
            rows.iter().for_each(|&row| have[row] = counts);
        }
        Ok(have)
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
    fn sizes_are_compared_by_runs_that_all_of_them_have() {
        let table = Table::new(vec![
            Column::new("run".into(), ["a", "b", "c", "d", "e", "a"]),
            Column::new("arch".into(), ["fc-64", "fc-256", "fc-256", "fc-256", "vit", "fc-64"]),
            Column::new("checkpoint".into(), [0_i64, 0, 0, 0, 0, 1]),
            Column::new("batch".into(), [50_i64, 50, 100, 50, 10, 50]),
            Column::new("augment".into(), [false, false, false, true, true, false]),
        ])
        .unwrap();
        let models = Models::of(&table).unwrap();
        let have = models.have_their_like(&table, |arch| arch.split('-').next().unwrap()).unwrap();
        assert_eq!(have, [true, true, false, false, true, true]);
    }

    #[test]
    fn a_table_without_runs_is_told() {
        let table = table(&["geodesic"], &[0]);
        let message = Models::of(&table).unwrap_err().to_string();
        assert_eq!(message, "new table: no run among the models, 1 row");
    }
}
