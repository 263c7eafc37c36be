//! Parquet tables through polars: read and written whole, with columns asked for by name and type.
//!
//! ```
//! use tables::{Column, Table};
//!
//! # fn main() -> Result<(), tables::TablesError> {
//! let path = std::env::temp_dir().join(format!("tables-example-{}.parquet", std::process::id()));
//! Table::new(vec![
//!     Column::new("run".into(), ["a", "a", "b"]),
//!     Column::new("error".into(), [Some(0.9), Some(0.1), None]),
//! ])?
//! .write(&path)?;
//!
//! let table = Table::read(&path)?;
//! let runs: Vec<&str> = table.values("run")?;
//! let errors: Vec<Option<f64>> = table.optional("error")?;
//! assert_eq!((runs[2], errors[2]), ("b", None));
//! let message = table.values::<f64>("eror").unwrap_err().to_string();
//! assert!(message.ends_with("no column `eror`; there are run, error"));
//! # std::fs::remove_file(path).unwrap();
//! # Ok(())
//! # }
//! ```

mod cell;
mod error;
mod json;
mod models;
mod table;
mod text;

pub use cell::Cell;
pub use error::TablesError;
pub use json::{json_column, json_columns};
pub use models::Models;
pub use polars::prelude::Column;
pub use table::Table;
pub use text::{count, shown};
