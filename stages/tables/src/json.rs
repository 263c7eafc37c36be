//! Columns of JSON values: the scalars of a network as a sweep gives them.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::{Column, DataType};
use serde_json::Value;

use crate::TablesError;

/// A column of JSON scalars: strings, booleans, integers, or, where at least one has a fraction, floats. Nulls stay
/// nulls; a column of nothing else counts as strings.
///
/// # Errors
/// When a value is an array or an object, or of another kind than those before it.
///
/// ```
/// let values = [serde_json::json!(1), serde_json::json!(0.5), serde_json::Value::Null];
/// let rate = tables::json_column("rate", &values).unwrap();
/// let table = tables::Table::new(vec![rate]).unwrap();
/// assert_eq!(table.optional::<f64>("rate").unwrap(), [Some(1.0), Some(0.5), None]);
/// ```
pub fn json_column(name: &str, values: &[Value]) -> Result<Column, TablesError> {
    match values.iter().find(|value| !value.is_null()) {
        None => Ok(Column::full_null(name.into(), values.len(), &DataType::String)),
        Some(Value::Bool(_)) => {
            Ok(Column::new(name.into(), cells(name, values, "a boolean", Value::as_bool)?))
        }
        Some(Value::Number(_)) if values.iter().all(|value| !value.is_f64()) => {
            Ok(Column::new(name.into(), cells(name, values, "an integer of 64 bits", Value::as_i64)?))
        }
        Some(Value::Number(_)) => {
            Ok(Column::new(name.into(), cells(name, values, "a number", Value::as_f64)?))
        }
        Some(_) => Ok(Column::new(name.into(), cells(name, values, "a string", Value::as_str)?)),
    }
}

/// A column for each name, sorted, and a row for each element; null where it does not have the name.
///
/// # Errors
/// As [`json_column`].
pub fn json_columns(rows: &[&BTreeMap<String, Value>]) -> Result<Vec<Column>, TablesError> {
    let names: BTreeSet<&String> = rows.iter().flat_map(|row| row.keys()).collect();
    let column = |name: &String| {
        let values: Vec<Value> = rows.iter().map(|row| row.get(name).cloned().unwrap_or_default()).collect();
        json_column(name, &values)
    };
    names.into_iter().map(column).collect()
}

fn cells<'a, T>(
    name: &str,
    values: &'a [Value],
    expected: &'static str,
    read: impl Fn(&'a Value) -> Option<T>,
) -> Result<Vec<Option<T>>, TablesError> {
    let cell = |(row, value): (usize, &'a Value)| match read(value) {
        None if !value.is_null() => {
            Err(TablesError::Mixed { column: name.to_owned(), row, value: value.clone(), expected })
        }
        cell => Ok(cell),
    };
    values.iter().enumerate().map(cell).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Table;

    fn table(values: &[Value]) -> Table {
        Table::new(vec![json_column("x", values).unwrap()]).unwrap()
    }

    #[test]
    fn each_kind_of_scalar_becomes_its_type_and_nulls_stay() {
        let null = Value::Null;
        let strings = table(&[null.clone(), json!("fc")]);
        assert_eq!(strings.optional::<&str>("x").unwrap(), [None, Some("fc")]);
        assert_eq!(table(&[json!(true), null.clone()]).optional::<bool>("x").unwrap(), [Some(true), None]);
        assert_eq!(table(&[json!(42), null.clone()]).optional::<i64>("x").unwrap(), [Some(42), None]);
        assert_eq!(table(&[null.clone(), null]).optional::<&str>("x").unwrap(), [None, None]);
    }

    #[test]
    fn integers_among_floats_become_floats() {
        let numbers = table(&[json!(1), json!(0.5), Value::Null]);
        assert_eq!(numbers.optional::<f64>("x").unwrap(), [Some(1.0), Some(0.5), None]);
        assert!(numbers.optional::<i64>("x").is_err());
    }

    #[test]
    fn rows_with_different_names_have_a_column_for_each() {
        let row = |name: &str| BTreeMap::from([(name.to_owned(), json!(1)), ("seed".to_owned(), json!(7))]);
        let table = Table::new(json_columns(&[&row("rate"), &row("batch")]).unwrap()).unwrap();
        let names: Vec<&str> = table.columns().iter().map(|column| column.name().as_str()).collect();
        assert_eq!(names, ["batch", "rate", "seed"]);
        assert_eq!(table.optional::<i64>("batch").unwrap(), [None, Some(1)]);
    }

    #[test]
    fn a_value_of_another_kind_is_told_with_its_row() {
        let message = json_column("batch", &[json!(25), json!("50")]).unwrap_err().to_string();
        assert_eq!(message, "column `batch`: \"50\" in row 1 is not an integer of 64 bits");
        assert!(json_column("model", &[json!({"kind": "fc"})]).is_err());
    }
}
