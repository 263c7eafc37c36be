//! Columns of the scalars of networks.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::Value;
use tables::{Column, json_column};

use crate::Scalars;

/// A column for each name, sorted, and a row for each element; null where a network does not have it.
///
/// # Errors
/// When the values of one name are of different kinds.
pub fn columns(rows: &[&Scalars]) -> Result<Vec<Column>> {
    let names: BTreeSet<&String> = rows.iter().flat_map(|row| row.keys()).collect();
    let column = |name: &String| {
        let values: Vec<Value> = rows.iter().map(|row| row.get(name).cloned().unwrap_or_default()).collect();
        Ok(json_column(name, &values)?)
    };
    names.into_iter().map(column).collect()
}
