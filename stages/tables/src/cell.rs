//! The types a column can be read as.

use polars::prelude::{Column, DataType};

/// A type a column can be read as: `&str`, `f64` (of floats and integers), `i64` (of integers) or `bool`.
pub trait Cell<'a>: Sized {
    /// What a column of these holds, for messages.
    const KIND: &'static str;

    /// The column's cells, or nothing when it holds another kind.
    fn cells(column: &'a Column) -> Option<Vec<Option<Self>>>;
}

impl<'a> Cell<'a> for &'a str {
    const KIND: &'static str = "strings";

    fn cells(column: &'a Column) -> Option<Vec<Option<Self>>> {
        Some(column.try_str()?.iter().collect())
    }
}

impl Cell<'_> for bool {
    const KIND: &'static str = "booleans";

    fn cells(column: &Column) -> Option<Vec<Option<Self>>> {
        Some(column.try_bool()?.iter().collect())
    }
}

impl Cell<'_> for i64 {
    const KIND: &'static str = "integers";

    fn cells(column: &Column) -> Option<Vec<Option<Self>>> {
        // Strict: an integer beyond i64 is another kind, not a null.
        let integers = column.dtype().is_integer().then(|| column.strict_cast(&DataType::Int64).ok())??;
        Some(integers.try_i64()?.iter().collect())
    }
}

impl Cell<'_> for f64 {
    const KIND: &'static str = "numbers";

    fn cells(column: &Column) -> Option<Vec<Option<Self>>> {
        let is_number = column.dtype().is_integer() || column.dtype().is_float();
        let floats = is_number.then(|| column.strict_cast(&DataType::Float64).ok())??;
        Some(floats.try_f64()?.iter().collect())
    }
}
