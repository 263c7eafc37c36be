//! Runs in a table of models: which rows are the checkpoints of one network.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use tables::{Models, Table, count};

use crate::page::several;
use crate::style::Palette;
use crate::values::texts;

/// One network with its seed.
#[derive(Debug, Default)]
pub struct Run {
    /// The architecture's name.
    pub arch: String,
    /// The optimizer's name.
    pub optimizer: String,
    /// Its rows, in the order of checkpoints.
    pub rows: Vec<usize>,
}

/// The runs of a table of models, and the points of the geodesic.
#[derive(Debug, Default)]
pub struct Runs {
    /// Every run, architectures by turns, so that no architecture lies on top of all others.
    pub runs: Vec<Run>,
    /// The rows of the geodesic's points, from P0 to P*.
    pub geodesic: Vec<usize>,
    /// The colour of each architecture.
    pub palette: Palette,
}

impl Runs {
    /// Groups the rows of a table with columns `run`, `arch`, `optimizer`, `checkpoint`.
    ///
    /// # Errors
    /// When a column is absent, or there is no run.
    pub fn of(table: &Table) -> Result<Runs> {
        let (arch, optimizer) = (texts(table, "arch")?, texts(table, "optimizer")?);
        let Models { runs, geodesic } = Models::of(table)?;
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let mut order: Vec<(usize, &str, Vec<usize>)> = Vec::new();
        for rows in runs.into_values() {
            let arch = arch[rows[0]].as_str();
            let turn = seen.entry(arch).or_default();
            order.push((*turn, arch, rows));
            *turn += 1;
        }
        order.sort_by_key(|(turn, arch, _)| (*turn, *arch));
        let palette = Palette::of(seen.into_keys());
        let run = |(_, arch, rows): (usize, &str, Vec<usize>)| {
            let optimizer = optimizer[rows[0]].clone();
            Run { arch: arch.to_owned(), optimizer, rows }
        };
        Ok(Runs { runs: order.into_iter().map(run).collect(), geodesic, palette })
    }

    /// The runs of one architecture.
    pub fn of_arch(&self, arch: &str) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.arch == arch)
    }

    /// A column as numbers, one a row; not a number in the rows of the geodesic.
    ///
    /// # Errors
    /// When there is no such column, or a checkpoint of a run has no finite number in it.
    pub fn numbers(&self, table: &Table, column: &str) -> Result<Vec<f64>> {
        let cells = table.optional::<f64>(column)?;
        let mut numbers = vec![f64::NAN; cells.len()];
        for &row in self.runs.iter().flat_map(|run| &run.rows) {
            match cells[row] {
                Some(number) if number.is_finite() => numbers[row] = number,
                Some(number) => bail!("column `{column}` holds {number} in row {row}, not a finite number"),
                None => bail!("column `{column}` holds nothing in row {row}, a checkpoint of a run"),
            }
        }
        Ok(numbers)
    }

    /// What there is: `72 runs of 6 architectures, 4 of them untrained, 1,584 checkpoints`.
    ///
    /// # Errors
    /// When there is no column `trained`.
    pub fn summary(&self, table: &Table) -> Result<String> {
        let trained = table.optional::<bool>("trained")?;
        let untrained = self.runs.iter().filter(|run| trained[run.rows[0]] == Some(false)).count();
        let of_them =
            if untrained == 0 { String::new() } else { format!(", {} of them untrained", count(untrained)) };
        Ok(format!(
            "{} of {}{of_them}, {}",
            several(self.runs.len(), "run"),
            several(self.palette.entries().count(), "architecture"),
            several(self.runs.iter().map(|run| run.rows.len()).sum(), "checkpoint")
        ))
    }
}

/// How a title ends: `, train set`, or not at all where nobody said which split the tables are about.
pub fn split_name(split: &str) -> String {
    match split {
        "" => String::new(),
        "joint" => ", train and test sets together".to_owned(),
        split => format!(", {split} set"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn runs_come_by_turns_with_their_rows_in_order() {
        let table = sample::models(&["fc", "vit"]);
        let runs = Runs::of(&table).unwrap();
        let archs: Vec<&str> = runs.runs.iter().map(|run| run.arch.as_str()).collect();
        assert_eq!(archs[..4], ["fc", "vit", "fc", "vit"]);
        let checkpoint = runs.numbers(&table, "checkpoint").unwrap();
        for run in &runs.runs {
            assert!(run.rows.iter().is_sorted_by(|a, b| checkpoint[**a] < checkpoint[**b]));
        }
        assert_eq!(runs.geodesic.len(), sample::GEODESIC_POINTS);
        let summary = runs.summary(&table).unwrap();
        assert_eq!(summary, "12 runs of 2 architectures, 1 of them untrained, 132 checkpoints");
    }

    #[test]
    fn numbers_may_be_absent_for_the_geodesic_only() {
        let table = sample::models(&["fc"]);
        let runs = Runs::of(&table).unwrap();
        let epoch = runs.numbers(&table, "epoch").unwrap();
        assert!(runs.geodesic.iter().all(|&row| epoch[row].is_nan()));
        let all_runs = Runs { runs: vec![Run { rows: runs.geodesic, ..Run::default() }], ..Runs::default() };
        let message = all_runs.numbers(&table, "epoch").unwrap_err().to_string();
        assert!(message.starts_with("column `epoch` holds nothing in row "), "{message}");
    }
}
