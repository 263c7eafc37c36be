//! The configurations of a sweep from a table: each row of a CSV file is one.

use std::collections::BTreeMap;
use std::path::Path;

use csv::{ReaderBuilder, Trim};
use serde_json::{Map, Value};

use super::document;
use super::error::{Problems, hint};
use super::literal::{Scalar, canonical};
use super::positions::Place;
use super::reference::{is_name, name_rule};
use super::stage;
use super::sweep::{named, value_rule};
use super::{Configuration, Labels};

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
    for (i, label) in sweep.labels.iter().enumerate() {
        if !columns.contains(label) {
            let hint = hint(label, columns.iter().map(String::as_str));
            let what = format!("{} has no column `{label}`{hint}", file.display());
            problems.value(&place.key("labels").index(i), what);
            right = false;
        }
    }
    if !right {
        return None;
    }
    let mut seen: BTreeMap<Labels, u64> = BTreeMap::new();
    let mut configurations = Vec::new();
    for (line, values) in rows {
        let mut wrong = |what: String| {
            problems.value(&at, format!("{}, line {line}: {what}", file.display()));
            right = false;
        };
        let mut labels = Labels::new();
        for label in &sweep.labels {
            let text = values.get(label).map(|value| Scalar(super::literal::Literal(value.clone())).text());
            match text {
                None => wrong(format!("`{label}` is empty; it tells the rows apart")),
                Some(text) => {
                    value_rule(&text).unwrap_or_else(&mut wrong);
                    labels.insert(label.clone(), text);
                }
            }
        }
        if let Some(first) = seen.insert(labels.clone(), line) {
            let again = named(&labels);
            wrong(format!(
                "there is already a configuration {again}, in line {first}; `labels` may need another column"
            ));
        }
        configurations.push(Configuration { labels, values });
    }
    right.then_some(configurations)
}

/// A row: its line in the file, and its cells by column, without the empty ones.
type Row = (u64, Map<String, Value>);

/// The columns and the rows of a CSV file; an `Err` says what is wrong with it.
fn read(path: &Path) -> Result<(Vec<String>, Vec<Row>), String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let wrong = |error: csv::Error| format!("{name}: {error}");
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_path(path).map_err(wrong)?;
    let columns: Vec<String> = reader.headers().map_err(wrong)?.iter().map(str::to_owned).collect();
    for (i, column) in columns.iter().enumerate() {
        if !is_name(column) {
            return Err(format!("{name}, line 1, column {}: {}", i + 1, name_rule("column", column)));
        }
        if columns[..i].contains(column) {
            return Err(format!("{name}, line 1: the column `{column}` is here twice"));
        }
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(wrong)?;
        let line = record.position().map_or(0, csv::Position::line);
        let cells = columns.iter().zip(&record).filter(|(_, cell)| !cell.is_empty());
        rows.push((line, cells.map(|(column, cell)| (column.clone(), value(cell))).collect()));
    }
    Ok((columns, rows))
}

/// What a cell holds: a number in canonical form, `true` or `false` however they are written (Python has `True`), or text.
fn value(cell: &str) -> Value {
    if let Ok(flag) = cell.to_ascii_lowercase().parse() {
        return Value::Bool(flag);
    }
    let integer = || cell.parse::<i64>().ok().map(serde_yaml::Number::from);
    let float = || cell.parse::<f64>().ok().map(serde_yaml::Number::from);
    let number = integer().or_else(float).and_then(|number| canonical(&number));
    number.map_or_else(|| Value::String(cell.to_owned()), Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_numbers_flags_or_text() {
        let values: Vec<Value> =
            ["42", "0.1", "1e-3", "1.0", "True", "false", "fc", "nan", "1-2"].map(value).into();
        assert_eq!(
            Value::Array(values),
            serde_json::json!([42, 0.1, 0.001, 1, true, false, "fc", "nan", "1-2"])
        );
    }
}
