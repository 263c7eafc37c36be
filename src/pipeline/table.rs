//! The configurations of a sweep from a table: each row of a CSV or Parquet file is one.

use std::collections::BTreeMap;
use std::path::Path;

use csv::{ReaderBuilder, Trim};
use serde_json::{Map, Value};

use super::document;
use super::error::{Problems, hint};
use super::literal::{Literal, Scalar, canonical};
use super::positions::Place;
use super::reference::{is_name, name_rule};
use super::stage;
use super::sweep::{named, value_rule};
use super::{Configuration, Labels, parquet};

/// The configurations of a sweep's table, in its order; none if anything is wrong with it, which goes to `problems`.
pub(super) fn configurations(
    sweep: &document::Sweep,
    path: &str,
    place: &Place,
    root: &Path,
    problems: &mut Problems,
) -> Option<Vec<Configuration>> {
    for (key, is_there) in [("matrix", !sweep.matrix.is_empty()), ("include", !sweep.include.is_empty())] {
        if is_there {
            problems.key(&place.key(key), format!("a sweep has a `table` or a `{key}`, not both"));
            return None;
        }
    }
    let at = place.key("table");
    let file = stage::file(path, "the table", &at, root, problems)?;
    if sweep.labels.is_empty() {
        problems.key(place, "say which columns tell the rows of `table` apart: `labels: [COLUMN, ..]`");
        return None;
    }
    let (columns, rows) = read(&root.join(&file)).map_err(|what| problems.value(&at, what)).ok()?;
    let mut right = true;
    for (i, label) in sweep.labels.iter().enumerate().filter(|(_, label)| !columns.contains(label)) {
        let hint = hint(label, columns.iter().map(String::as_str));
        let what = format!("{} has no column `{label}`{hint}", file.display());
        problems.value(&place.key("labels").index(i), what);
        right = false;
    }
    if !right {
        return None;
    }
    let mut seen: BTreeMap<Labels, usize> = BTreeMap::new();
    let mut configurations = Vec::new();
    // Counted from 1, without the line of names.
    for (row, values) in (1..).zip(rows) {
        let labels = labels(&sweep.labels, &values).and_then(|labels| match seen.get(&labels) {
            Some(first) => {
                let again = named(&labels);
                Err(format!(
                    "there is already a configuration {again}, in row {first}; `labels` may need another column"
                ))
            }
            None => Ok(labels),
        });
        match labels {
            Ok(labels) => {
                seen.insert(labels.clone(), row);
                configurations.push(Configuration { labels, values });
            }
            Err(what) => {
                problems.value(&at, format!("{}, row {row}: {what}", file.display()));
                right = false;
            }
        }
    }
    right.then_some(configurations)
}

/// The labels of a row with these values; an `Err` says which it lacks, or what is no label.
fn labels(names: &[String], values: &Map<String, Value>) -> Result<Labels, String> {
    let label = |name: &String| {
        let value = values.get(name).ok_or_else(|| format!("`{name}` is empty; it tells the rows apart"))?;
        let text = Scalar(Literal(value.clone())).text();
        value_rule(&text).map(|()| (name.clone(), text))
    };
    names.iter().map(label).collect()
}

/// A table: the names of its columns, and its rows.
pub(super) type Table = (Vec<String>, Vec<Row>);

/// A row: its cells by column, without the empty ones.
pub(super) type Row = Map<String, Value>;

/// Reads a table and checks the names of its columns; an `Err` says what is wrong with it.
fn read(path: &Path) -> Result<Table, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let table = match path.extension().and_then(|ending| ending.to_str()) {
        Some("csv") => csv(path).map_err(|error| error.to_string()),
        Some("parquet") => parquet::read(path),
        _ => Err("a table is CSV or Parquet, and its name ends in .csv or .parquet".to_owned()),
    };
    let (columns, rows) = table.map_err(|what| format!("{name}: {what}"))?;
    for (i, column) in columns.iter().enumerate() {
        if !is_name(column) {
            return Err(format!("{name}, column {}: {}", i + 1, name_rule("column", column)));
        }
        if columns[..i].contains(column) {
            return Err(format!("{name}: the column `{column}` is here twice"));
        }
    }
    Ok((columns, rows))
}

fn csv(path: &Path) -> Result<Table, csv::Error> {
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_path(path)?;
    let columns: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record?;
        let cells = columns.iter().zip(&record).filter(|(_, cell)| !cell.is_empty());
        let cells = cells.map(|(column, cell)| (column.clone(), value(cell))).collect();
        rows.push(cells);
    }
    Ok((columns, rows))
}

/// What a cell holds: a number in canonical form, `true` or `false` however they are written (Python has `True`), or text.
fn value(cell: &str) -> Value {
    if let Ok(flag) = cell.to_ascii_lowercase().parse() {
        return Value::Bool(flag);
    }
    number(cell).map_or_else(|| Value::String(cell.to_owned()), Value::Number)
}

/// A number in canonical form; none of text that is not one, and of infinities and NaN.
pub(super) fn number(text: &str) -> Option<serde_json::Number> {
    let integer = || text.parse::<i64>().ok().map(serde_yaml::Number::from);
    let natural = || text.parse::<u64>().ok().map(serde_yaml::Number::from);
    let float = || text.parse::<f64>().ok().map(serde_yaml::Number::from);
    integer().or_else(natural).or_else(float).and_then(|number| canonical(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_numbers_flags_or_text() {
        let values: Vec<Value> =
            ["42", "18446744073709551615", "0.1", "1e-3", "1.0", "True", "false", "fc", "nan", "1-2"]
                .map(value)
                .into();
        assert_eq!(
            Value::Array(values),
            serde_json::json!([42, u64::MAX, 0.1, 0.001, 1, true, false, "fc", "nan", "1-2"])
        );
    }
}
