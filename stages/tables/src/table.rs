//! A table: named columns of equal length, in a Parquet file.

use std::fs::File;
use std::path::Path;

use polars::prelude::{
    Column, DataFrame, DataType, IdxSize, ParallelStrategy, ParquetReader, ParquetWriter, PolarsError,
    SerReader,
};
use serde_json::Value;

use crate::{Cell, TablesError};

/// Named columns of equal length.
#[derive(Debug, Clone)]
pub struct Table {
    /// What messages call it: its file.
    name: String,
    frame: DataFrame,
}

impl Table {
    /// A table of these columns, in this order.
    ///
    /// # Errors
    /// When their lengths differ or two have one name.
    pub fn new(columns: Vec<Column>) -> Result<Table, TablesError> {
        let frame = DataFrame::new_infer_height(columns).map_err(TablesError::Columns)?;
        Ok(Table { name: "new table".to_owned(), frame })
    }

    /// Reads a Parquet file.
    ///
    /// # Errors
    /// When it cannot be opened or is not Parquet.
    pub fn read(path: &Path) -> Result<Table, TablesError> {
        let file = File::open(path).map_err(|source| TablesError::Io { path: path.to_owned(), source })?;
        // Reading is far from the slow part of any job; more threads than the job declared would only disturb others.
        let frame = ParquetReader::new(file)
            .read_parallel(ParallelStrategy::None)
            .set_rechunk(true)
            .finish()
            .map_err(|source| TablesError::Parquet { path: path.to_owned(), source })?;
        Ok(Table { name: path.display().to_string(), frame })
    }

    /// Writes a Parquet file, compressed with Zstandard. Equal tables give equal bytes.
    ///
    /// # Errors
    /// When the file cannot be created or written.
    pub fn write(&self, path: &Path) -> Result<(), TablesError> {
        let file = File::create(path).map_err(|source| TablesError::Io { path: path.to_owned(), source })?;
        // How a column came to be (its chunks) must not show in the file. The clone shares the columns.
        let mut frame = self.frame.clone();
        frame.rechunk_mut();
        ParquetWriter::new(file)
            .set_parallel(false)
            .finish(&mut frame)
            .map(|_bytes| ())
            .map_err(|source| TablesError::Parquet { path: path.to_owned(), source })
    }

    /// What messages call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The number of rows.
    pub fn height(&self) -> usize {
        self.frame.height()
    }

    /// The columns, in their order.
    pub fn columns(&self) -> &[Column] {
        self.frame.columns()
    }

    /// The values of a column that has one in every row, as `&str`, `f64`, `i64` or `bool`.
    ///
    /// # Errors
    /// When there is no such column, it holds another kind of values, or a row has none.
    pub fn values<'a, T: Cell<'a>>(&'a self, column: &str) -> Result<Vec<T>, TablesError> {
        let null = |row| TablesError::Null { table: self.name.clone(), column: column.to_owned(), row };
        let cells = self.optional(column)?;
        cells.into_iter().enumerate().map(|(row, cell)| cell.ok_or_else(|| null(row))).collect()
    }

    /// The values of a column that has a finite number in every row.
    ///
    /// # Errors
    /// When there is no such column, or a row has something else.
    pub fn numbers(&self, column: &str) -> Result<Vec<f64>, TablesError> {
        let values = self.values::<f64>(column)?;
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(row) => {
                let (table, column) = (self.name.clone(), column.to_owned());
                Err(TablesError::NotFinite { table, column, row, value: values[row] })
            }
        }
    }

    /// The values of a column of scalars of any kind as JSON; an empty cell is null.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn scalars(&self, column: &str) -> Result<Vec<Value>, TablesError> {
        fn values<T: Into<Value>>(cells: Vec<Option<T>>) -> Vec<Value> {
            cells.into_iter().map(|cell| cell.map_or(Value::Null, Into::into)).collect()
        }
        if let Ok(cells) = self.optional::<bool>(column) {
            return Ok(values(cells));
        }
        if let Ok(cells) = self.optional::<i64>(column) {
            return Ok(values(cells));
        }
        if let Ok(cells) = self.optional::<f64>(column) {
            return Ok(values(cells));
        }
        Ok(values(self.optional::<&str>(column)?))
    }

    /// The values of a column where not every row needs to have one.
    ///
    /// # Errors
    /// When there is no such column or it holds another kind of values.
    pub fn optional<'a, T: Cell<'a>>(&'a self, column: &str) -> Result<Vec<Option<T>>, TablesError> {
        let found = self.frame.column(column).map_err(|_| self.missing(column))?;
        T::cells(found).ok_or_else(|| TablesError::Kind {
            table: self.name.clone(),
            column: column.to_owned(),
            found: found.dtype().clone(),
            expected: T::KIND,
        })
    }

    /// The table of the rows with these numbers (from 0), in the order given.
    ///
    /// # Errors
    /// When there is no row of such a number.
    pub fn rows(&self, rows: &[usize]) -> Result<Table, TablesError> {
        let wrong = |source| TablesError::Rows { table: self.name.clone(), source };
        let beyond = |row| PolarsError::OutOfBounds(format!("no row {row} of {}", self.height()).into());
        let rows: Vec<IdxSize> = rows
            .iter()
            .map(|&row| IdxSize::try_from(row).map_err(|_| wrong(beyond(row))))
            .collect::<Result<_, _>>()?;
        let columns = self.columns().iter().map(|column| column.take_slice(&rows));
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        let frame = DataFrame::new(rows.len(), columns).map_err(wrong)?;
        Ok(Table { name: self.name.clone(), frame })
    }

    /// The rows of tables one after the other. A column that a table lacks is null in its rows; of integers in one table and
    /// floats in another come floats.
    ///
    /// # Errors
    /// When a column holds kinds of values that do not go together.
    pub fn stacked(tables: &[Table]) -> Result<Table, TablesError> {
        let mut names: Vec<&str> = Vec::new();
        for name in tables.iter().flat_map(|table| table.columns()).map(|column| column.name().as_str()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let columns = names.into_iter().map(|name| stacked(tables, name));
        Table::new(columns.collect::<Result<_, _>>()?)
    }

    fn missing(&self, column: &str) -> TablesError {
        let there: Vec<&str> = self.columns().iter().map(|column| column.name().as_str()).collect();
        TablesError::Missing { table: self.name.clone(), column: column.to_owned(), there: there.join(", ") }
    }
}

/// A column of tables one after the other; at least one of them has it.
fn stacked(tables: &[Table], name: &str) -> Result<Column, TablesError> {
    let mut kind = DataType::Null;
    for (table, column) in tables.iter().filter_map(|table| Some((table, table.frame.column(name).ok()?))) {
        let is_number = |kind: &DataType| kind.is_integer() || kind.is_float();
        kind = match (kind, column.dtype()) {
            (kind, other) if kind == *other || *other == DataType::Null => kind,
            (DataType::Null, other) => other.clone(),
            (kind, other) if is_number(&kind) && is_number(other) => DataType::Float64,
            (_, other) => {
                return Err(TablesError::Kind {
                    table: table.name.clone(),
                    column: name.to_owned(),
                    found: other.clone(),
                    expected: "what the tables before it hold",
                });
            }
        };
    }
    let mut all = Column::full_null(name.into(), 0, &kind);
    for table in tables {
        let piece = match table.frame.column(name) {
            Ok(column) => column.cast(&kind),
            Err(_) => Ok(Column::full_null(name.into(), table.height(), &kind)),
        };
        piece.and_then(|piece| all.append_owned(piece).map(|_| ())).map_err(TablesError::Columns)?;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("tables-{}-{name}.parquet", std::process::id()))
    }

    fn models() -> Table {
        Table::new(vec![
            Column::new("run".into(), ["fc", "fc", "geodesic"]),
            Column::new("rate".into(), [Some(0.1), Some(0.1), None]),
            Column::new("checkpoint".into(), [0_i64, 1, 0]),
            Column::new("trained".into(), [Some(true), Some(true), None]),
        ])
        .unwrap()
    }

    #[test]
    fn what_is_written_is_read_back_with_its_nulls() {
        let path = scratch("round-trip");
        models().write(&path).unwrap();
        let table = Table::read(&path).unwrap();
        assert_eq!(table.height(), 3);
        assert_eq!(table.values::<&str>("run").unwrap(), ["fc", "fc", "geodesic"]);
        assert_eq!(table.optional::<f64>("rate").unwrap(), [Some(0.1), Some(0.1), None]);
        assert_eq!(table.values::<i64>("checkpoint").unwrap(), [0, 1, 0]);
        assert_eq!(table.optional::<bool>("trained").unwrap(), [Some(true), Some(true), None]);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn equal_tables_are_equal_bytes_however_they_came_to_be() {
        let (one, two) = (scratch("bytes-1"), scratch("bytes-2"));
        models().write(&one).unwrap();
        let back = Table::read(&one).unwrap();
        back.rows(&[2, 1, 0]).unwrap().rows(&[2, 1, 0]).unwrap().write(&two).unwrap();
        assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());
        std::fs::remove_file(one).unwrap();
        std::fs::remove_file(two).unwrap();
    }

    #[test]
    fn integers_can_be_read_as_numbers_but_not_the_other_way_round() {
        assert_eq!(models().values::<f64>("checkpoint").unwrap(), [0.0, 1.0, 0.0]);
        let message = models().optional::<i64>("rate").unwrap_err().to_string();
        assert_eq!(message, "new table: column `rate` holds f64, expected integers");
    }

    #[test]
    fn an_empty_cell_in_a_full_column_is_told_with_its_row() {
        let message = models().values::<f64>("rate").unwrap_err().to_string();
        assert_eq!(message, "new table: column `rate` has no value in row 2");
    }

    #[test]
    fn a_number_that_is_not_finite_is_told_with_its_row() {
        let table = Table::new(vec![Column::new("progress".into(), [0.5, f64::NAN])]).unwrap();
        let message = table.numbers("progress").unwrap_err().to_string();
        assert_eq!(message, "new table: column `progress` holds NaN in row 1, not a finite number");
    }

    #[test]
    fn scalars_of_every_kind_are_kept() {
        let table = Table::new(vec![
            Column::new("augment".into(), [Some(true), None]),
            Column::new("batch".into(), [Some(200_i64), None]),
            Column::new("rate".into(), [Some(0.001), None]),
            Column::new("arch".into(), [Some("fc"), None]),
        ])
        .unwrap();
        for (column, value) in
            [("augment", json!(true)), ("batch", json!(200)), ("rate", json!(0.001)), ("arch", json!("fc"))]
        {
            assert_eq!(table.scalars(column).unwrap(), [value, Value::Null], "{column}");
        }
        assert!(table.scalars("decay").is_err());
    }

    #[test]
    fn a_missing_column_is_told_with_the_columns_there_are() {
        let message = models().values::<f64>("rates").unwrap_err().to_string();
        assert_eq!(message, "new table: no column `rates`; there are run, rate, checkpoint, trained");
    }

    #[test]
    fn rows_come_in_the_order_asked_for() {
        let table = models().rows(&[2, 0, 0]).unwrap();
        assert_eq!(table.values::<&str>("run").unwrap(), ["geodesic", "fc", "fc"]);
        assert_eq!(table.optional::<f64>("rate").unwrap(), [None, Some(0.1), Some(0.1)]);
        assert!(models().rows(&[3]).is_err());
    }

    #[test]
    fn stacked_tables_have_the_columns_of_all() {
        let more = Table::new(vec![
            Column::new("from".into(), ["corner"]),
            Column::new("run".into(), ["vit"]),
            Column::new("checkpoint".into(), [0.5]),
        ])
        .unwrap();
        let all = Table::stacked(&[models(), more]).unwrap();
        assert_eq!(all.values::<&str>("run").unwrap(), ["fc", "fc", "geodesic", "vit"]);
        assert_eq!(all.optional::<f64>("rate").unwrap(), [Some(0.1), Some(0.1), None, None]);
        assert_eq!(all.values::<f64>("checkpoint").unwrap(), [0.0, 1.0, 0.0, 0.5]);
        assert_eq!(all.optional::<&str>("from").unwrap(), [None, None, None, Some("corner")]);
        let names: Vec<&str> = all.columns().iter().map(|column| column.name().as_str()).collect();
        assert_eq!(names, ["run", "rate", "checkpoint", "trained", "from"]);
    }

    #[test]
    fn tables_whose_columns_do_not_go_together_are_not_stacked() {
        let words = Table::new(vec![Column::new("checkpoint".into(), ["first"])]).unwrap();
        let message = Table::stacked(&[models(), words]).unwrap_err().to_string();
        assert_eq!(
            message,
            "new table: column `checkpoint` holds str, expected what the tables before it hold"
        );
    }

    #[test]
    fn columns_of_unequal_length_are_an_error() {
        let columns = vec![Column::new("a".into(), [1_i64, 2]), Column::new("b".into(), [1_i64])];
        assert!(matches!(Table::new(columns), Err(TablesError::Columns(_))));
    }
}
