//! What can be wrong with a table.

use std::path::PathBuf;

use polars::prelude::{DataType, PolarsError};

/// What can be wrong with a table.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// The file cannot be opened or created.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not Parquet, or cannot be written as such.
    #[error("{path}: {source}")]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Why.
        source: PolarsError,
    },
    /// Columns of unequal length, or two of one name.
    #[error("columns that make no table: {0}")]
    Columns(PolarsError),
    /// There is no such row.
    #[error("{table}: {source}")]
    Rows {
        /// The table.
        table: String,
        /// Why.
        source: PolarsError,
    },
    /// There is no such column.
    #[error("{table}: no column `{column}`; there are {there}")]
    Missing {
        /// The table.
        table: String,
        /// The column asked for.
        column: String,
        /// The columns there are.
        there: String,
    },
    /// A column holds another kind of values than asked for.
    #[error("{table}: column `{column}` holds {found}, expected {expected}")]
    Kind {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// What it holds.
        found: DataType,
        /// What was asked for.
        expected: &'static str,
    },
    /// A column that must be full is not.
    #[error("{table}: column `{column}` has no value in row {row}")]
    Null {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The row, from 0.
        row: usize,
    },
    /// A number that is none, or infinite.
    #[error("{table}: column `{column}` holds {value} in row {row}, not a finite number")]
    NotFinite {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The row, from 0.
        row: usize,
        /// What it holds.
        value: f64,
    },
    /// A table of models in which no row is of a run.
    #[error("{table}: no run among the models, {rows} row{}", if *rows == 1 { "" } else { "s" })]
    NoRun {
        /// The table.
        table: String,
        /// How many rows it has.
        rows: usize,
    },
    /// JSON values that no column type holds.
    #[error("column `{column}`: {value} in row {row} is not {expected}")]
    Mixed {
        /// The column.
        column: String,
        /// The row, from 0.
        row: usize,
        /// The value that does not fit.
        value: serde_json::Value,
        /// What the values before it were.
        expected: &'static str,
    },
}
