//! Tables in Parquet, as pandas and polars write them: flat columns of numbers, flags and text.

use std::fs::File;
use std::panic;
use std::path::Path;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::Value;

use super::table::{Table, number};

/// Reads all rows; an `Err` says what is wrong with the file.
pub(super) fn read(path: &Path) -> Result<Table, String> {
    // The library asserts what a damaged file may not hold to. Nothing that it worked on is used afterwards.
    panic::catch_unwind(|| rows(path)).unwrap_or_else(|_| Err("it is damaged".to_owned()))
}

fn rows(path: &Path) -> Result<Table, String> {
    let wrong = |error: ParquetError| error.to_string();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let reader = SerializedFileReader::new(file).map_err(wrong)?;
    let schema = reader.metadata().file_metadata().schema();
    let columns = schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
    let mut rows = Vec::new();
    for (i, row) in reader.get_row_iter(None).map_err(wrong)?.enumerate() {
        let mut cells = serde_json::Map::new();
        for (column, field) in row.map_err(wrong)?.into_columns() {
            let value = value(field).map_err(|field| {
                format!("row {}: `{column}` is {field}; cells are numbers, flags or text", i + 1)
            })?;
            cells.extend(value.map(|value| (column, value)));
        }
        rows.push(cells);
    }
    Ok((columns, rows))
}

/// What a cell holds; none for an empty one, for which pandas writes NaN among numbers. An `Err` is of another kind.
fn value(field: Field) -> Result<Option<Value>, Field> {
    let text = match field {
        Field::Null => return Ok(None),
        Field::Bool(flag) => return Ok(Some(Value::Bool(flag))),
        Field::Str(text) => return Ok(Some(text).filter(|text| !text.is_empty()).map(Value::String)),
        Field::Byte(value) => value.to_string(),
        Field::Short(value) => value.to_string(),
        Field::Int(value) => value.to_string(),
        Field::Long(value) => value.to_string(),
        Field::UByte(value) => value.to_string(),
        Field::UShort(value) => value.to_string(),
        Field::UInt(value) => value.to_string(),
        Field::ULong(value) => value.to_string(),
        // As text, a short float is the number that was meant: 0.1 and not 0.10000000149.
        Field::Float16(value) => value.to_string(),
        Field::Float(value) => value.to_string(),
        Field::Double(value) => value.to_string(),
        other => return Err(other),
    };
    if text == "NaN" {
        return Ok(None);
    }
    // Infinities are text, as in CSV.
    Ok(Some(number(&text).map_or(Value::String(text), Value::Number)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, FloatType, Int64Type};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use serde_json::json;

    use super::*;

    /// Writes two rows with a column of each kind.
    fn write(path: &Path) {
        let schema = "message schema {
            required binary file (STRING);
            optional int64 seed;
            required float rate;
            required double decay;
            required boolean augment;
        }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut writer =
            SerializedFileWriter::new(File::create(path).unwrap(), schema, Default::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut index = 0;
        while let Some(mut column) = group.next_column().unwrap() {
            let files = ["a.npz", "b.npz"].map(ByteArray::from);
            match index {
                0 => column.typed::<ByteArrayType>().write_batch(&files, None, None).unwrap(),
                1 => column.typed::<Int64Type>().write_batch(&[42], Some(&[1, 0]), None).unwrap(),
                2 => column.typed::<FloatType>().write_batch(&[0.1, 1.0], None, None).unwrap(),
                3 => column.typed::<DoubleType>().write_batch(&[1e-3, f64::NAN], None, None).unwrap(),
                _ => column.typed::<BoolType>().write_batch(&[true, false], None, None).unwrap(),
            };
            column.close().unwrap();
            index += 1;
        }
        group.close().unwrap();
        writer.close().unwrap();
    }

    #[test]
    fn cells_are_numbers_flags_or_text_and_empty_ones_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("networks.parquet");
        write(&path);
        let (columns, rows) = read(&path).unwrap();
        assert_eq!(columns, ["file", "seed", "rate", "decay", "augment"]);
        let cells: Vec<Value> = rows.into_iter().map(Value::Object).collect();
        assert_eq!(
            cells,
            [
                json!({"file": "a.npz", "seed": 42, "rate": 0.1, "decay": 0.001, "augment": true}),
                json!({"file": "b.npz", "rate": 1, "augment": false}),
            ]
        );
    }

    #[test]
    fn infinities_are_text_and_large_numbers_whole() {
        assert_eq!(value(Field::Double(f64::NEG_INFINITY)), Ok(Some(json!("-inf"))));
        assert_eq!(value(Field::ULong(u64::MAX)), Ok(Some(json!(u64::MAX))));
    }

    #[test]
    fn a_damaged_file_is_an_error_or_another_table() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("networks.parquet");
        write(&path);
        let right = std::fs::read(&path).unwrap();
        for place in 0..right.len() {
            let mut bytes = right.clone();
            bytes[place] ^= 0x41;
            std::fs::write(&path, bytes).unwrap();
            let _ = read(&path);
        }
        std::fs::write(&path, &right[..right.len() / 2]).unwrap();
        assert!(read(&path).is_err());
    }

    #[test]
    fn what_is_no_parquet_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("networks.parquet");
        std::fs::write(&path, "file,arch\n").unwrap();
        assert!(read(&path).unwrap_err().starts_with("Parquet error: "));
    }
}
