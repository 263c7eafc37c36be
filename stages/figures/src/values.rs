//! Categories in a table: as text, and in a readable order.

use std::collections::BTreeSet;

use anyhow::Result;
use tables::{Table, shown};

/// A column as text, whatever scalars it holds; an empty cell is a dash.
///
/// # Errors
/// When there is no such column.
pub fn texts(table: &Table, column: &str) -> Result<Vec<String>> {
    Ok(table.scalars(column)?.iter().map(shown).collect())
}

/// The distinct values of a category, numbers by size before words by alphabet.
pub fn distinct<'a>(values: impl IntoIterator<Item = &'a String>) -> Vec<&'a str> {
    let mut distinct: Vec<&str> =
        values.into_iter().map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect();
    let size = |value: &str| value.parse::<f64>().unwrap_or(f64::INFINITY);
    distinct.sort_by(|a, b| size(a).total_cmp(&size(b)));
    distinct
}

/// The place of a value among the distinct ones; the first for one that is not among them.
pub fn rank(distinct: &[&str], value: &str) -> usize {
    distinct.iter().position(|other| *other == value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use tables::Column;

    use super::*;

    #[test]
    fn scalars_of_every_kind_become_text() {
        let table = Table::new(vec![
            Column::new("augment".into(), [Some(true), None]),
            Column::new("batch".into(), [Some(200_i64), None]),
            Column::new("rate".into(), [Some(0.001), Some(1e-5)]),
            Column::new("arch".into(), [Some("fc"), None]),
        ])
        .unwrap();
        assert_eq!(texts(&table, "augment").unwrap(), ["yes", "–"]);
        assert_eq!(texts(&table, "batch").unwrap(), ["200", "–"]);
        assert_eq!(texts(&table, "rate").unwrap(), ["0.001", "1e-5"]);
        assert_eq!(texts(&table, "arch").unwrap(), ["fc", "–"]);
        assert!(texts(&table, "decay").is_err());
    }

    #[test]
    fn numbers_come_by_size_and_before_words() {
        let values = ["1000", "sgd", "200", "0.5", "adam", "200"].map(str::to_owned);
        assert_eq!(distinct(&values), ["0.5", "200", "1000", "adam", "sgd"]);
        assert_eq!(rank(&distinct(&values), "200"), 1);
    }
}
