//! Columns of a table as pages want them.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tables::Table;

/// A column of finite numbers.
///
/// # Errors
/// When there is no such column, or a row of it holds no finite number.
pub fn numbers(table: &Table, column: &str) -> Result<Vec<f64>> {
    let values = table.values::<f64>(column)?;
    for (row, value) in values.iter().enumerate() {
        ensure!(value.is_finite(), "column `{column}` holds {value} in row {row}, not a finite number");
    }
    Ok(values)
}

/// A column of scalars of any kind as JSON; an empty cell is null.
///
/// # Errors
/// When there is no such column.
pub fn scalars(table: &Table, column: &str) -> Result<Vec<Value>> {
    fn values<T: Into<Value>>(cells: Vec<Option<T>>) -> Vec<Value> {
        cells.into_iter().map(|cell| cell.map_or(Value::Null, Into::into)).collect()
    }
    if let Ok(cells) = table.optional::<bool>(column) {
        return Ok(values(cells));
    }
    if let Ok(cells) = table.optional::<i64>(column) {
        return Ok(values(cells));
    }
    if let Ok(cells) = table.optional::<f64>(column) {
        return Ok(values(cells));
    }
    Ok(values(table.optional::<&str>(column)?))
}

/// A scalar for people: `yes` and `no`, numbers in few letters, a dash for nothing.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(number) if number != 0.0 && number.abs() < 1e-3 => format!("{number:e}"),
            Some(number) => number.to_string(),
            None => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// A whole number with commas between thousands.
pub fn count(number: usize) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut text = digits[..first].to_owned();
    for group in digits.as_bytes()[first..].chunks(3) {
        if !text.is_empty() {
            text.push(',');
        }
        text.extend(group.iter().map(|digit| char::from(*digit)));
    }
    text
}

/// The first value of a column that is the same in each row, as the number of samples.
///
/// # Errors
/// When there is no such column, or no row.
pub fn common(table: &Table, column: &str) -> Result<usize> {
    let values = numbers(table, column)?;
    values.first().map(|value| *value as usize).with_context(|| format!("column `{column}` has no row"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tables::Column;

    use super::*;

    #[test]
    fn scalars_of_every_kind_are_kept_and_shown() {
        let table = Table::new(vec![
            Column::new("augment".into(), [Some(true), None]),
            Column::new("batch".into(), [Some(200_i64), None]),
            Column::new("rate".into(), [Some(0.001), Some(1e-5)]),
            Column::new("arch".into(), [Some("fc"), None]),
        ])
        .unwrap();
        let values = |column| scalars(&table, column).unwrap();
        assert_eq!(values("augment"), [json!(true), json!(null)]);
        assert_eq!(values("batch"), [json!(200), json!(null)]);
        assert_eq!(values("rate").iter().map(shown).collect::<Vec<_>>(), ["0.001", "1e-5"]);
        assert_eq!(values("arch").iter().map(shown).collect::<Vec<_>>(), ["fc", "–"]);
        assert!(scalars(&table, "decay").is_err());
    }

    #[test]
    fn numbers_have_commas_between_thousands() {
        assert_eq!([0, 999, 1000, 1234567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }
}
