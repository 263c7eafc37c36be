//! Named arrays in a file: `.npz`, `.npy`, `.safetensors`, and labels in `.csv`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use csv::{Position, StringRecord};
use half::{bf16, f16};
use npyz::{DType, NpyFile, Order, TypeChar};
use safetensors::{Dtype, SafeTensors};
use zip::ZipArchive;

/// The elements of an array, in the type that holds what was written.
#[derive(Debug, PartialEq)]
pub enum Values {
    /// Of 16 or 32 bits.
    F32(Vec<f32>),
    /// Of 64 bits.
    F64(Vec<f64>),
    /// Whole numbers of any width.
    I64(Vec<i64>),
}

/// An array, row-major.
#[derive(Debug, PartialEq)]
pub struct Array {
    /// Lengths of the axes, outermost first.
    pub shape: Vec<usize>,
    /// The elements.
    pub values: Values,
}

impl Array {
    /// The elements as f32: those of 64 bits rounded.
    ///
    /// # Errors
    /// When they are whole numbers, which are no probabilities or logits.
    pub fn into_f32s(self) -> Result<Vec<f32>> {
        match self.values {
            Values::F32(values) => Ok(values),
            Values::F64(values) => Ok(values.into_iter().map(|value| value as f32).collect()),
            Values::I64(_) => bail!("has whole numbers; floating point numbers are wanted"),
        }
    }

    /// The elements as f64.
    pub fn into_f64s(self) -> Vec<f64> {
        match self.values {
            Values::F32(values) => values.into_iter().map(f64::from).collect(),
            Values::F64(values) => values,
            Values::I64(values) => values.into_iter().map(|value| value as f64).collect(),
        }
    }

    /// The elements as whole numbers.
    ///
    /// # Errors
    /// When one is not whole; names its place.
    pub fn into_i64s(self) -> Result<Vec<i64>> {
        if let Values::I64(values) = self.values {
            return Ok(values);
        }
        let whole = |(place, value): (usize, f64)| {
            ensure!(value.fract() == 0.0, "value {place} is {value}, which is not a whole number");
            Ok(value as i64)
        };
        self.into_f64s().into_iter().enumerate().map(whole).collect()
    }
}

/// The arrays of a file. One that holds a single array without a name (`.npy`, `.csv`) has it under the name "".
pub type Arrays = BTreeMap<String, Array>;

/// Reads the arrays of a file that `wanted` says yes to; the format follows from the ending of its name.
///
/// # Errors
/// When the file cannot be read, is not what its name says, or an array has elements that are no numbers.
pub fn read(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Arrays> {
    let bytes = fs::read(path)?;
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("npz") => npz(&bytes, wanted),
        Some("npy") => Ok(Arrays::from([(String::new(), npy(&bytes)?)])),
        Some("safetensors") => safetensors(&bytes, wanted),
        Some("csv") => Ok(Arrays::from([(String::new(), csv(&bytes)?)])),
        _ => bail!("its name must end in .npz, .npy, .safetensors or .csv"),
    }
}

fn npz(bytes: &[u8], wanted: impl Fn(&str) -> bool) -> Result<Arrays> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).context("not a .npz file")?;
    let mut arrays = Arrays::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).context("not a .npz file")?;
        let Some(name) = entry.name().strip_suffix(".npy").map(str::to_owned) else { continue };
        if wanted(&name) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).with_context(|| format!("array `{name}`"))?;
            arrays.insert(name.clone(), npy(&bytes).with_context(|| format!("array `{name}`"))?);
        }
    }
    Ok(arrays)
}

fn npy(bytes: &[u8]) -> Result<Array> {
    let file = NpyFile::new(bytes).context("not a .npy file")?;
    let shape: Vec<usize> = file.shape().iter().map(|&length| length as usize).collect();
    let order = file.order();
    let DType::Plain(element) = file.dtype() else {
        bail!("has elements of several fields; numbers are wanted");
    };
    let values = match (element.type_char(), element.size_field()) {
        (TypeChar::Float, 2) => Values::F32(file.into_vec::<f16>()?.into_iter().map(f32::from).collect()),
        (TypeChar::Float, 4) => Values::F32(file.into_vec()?),
        (TypeChar::Float, 8) => Values::F64(file.into_vec()?),
        (TypeChar::Int, 1) => Values::I64(wider(file.into_vec::<i8>()?)),
        (TypeChar::Int, 2) => Values::I64(wider(file.into_vec::<i16>()?)),
        (TypeChar::Int, 4) => Values::I64(wider(file.into_vec::<i32>()?)),
        (TypeChar::Int, 8) => Values::I64(file.into_vec()?),
        (TypeChar::Uint, 1) => Values::I64(wider(file.into_vec::<u8>()?)),
        (TypeChar::Uint, 2) => Values::I64(wider(file.into_vec::<u16>()?)),
        (TypeChar::Uint, 4) => Values::I64(wider(file.into_vec::<u32>()?)),
        _ => bail!("has elements of type {element}; f2, f4, f8 or whole numbers are wanted"),
    };
    let values = match (order, values) {
        (Order::C, values) => values,
        (Order::Fortran, Values::F32(values)) => Values::F32(row_major(&shape, &values)),
        (Order::Fortran, Values::F64(values)) => Values::F64(row_major(&shape, &values)),
        (Order::Fortran, Values::I64(values)) => Values::I64(row_major(&shape, &values)),
    };
    Ok(Array { shape, values })
}

fn wider<T: Into<i64>>(values: Vec<T>) -> Vec<i64> {
    values.into_iter().map(Into::into).collect()
}

/// Elements whose first axis changes fastest, with the last one changing fastest.
fn row_major<T: Copy>(shape: &[usize], values: &[T]) -> Vec<T> {
    let mut at = vec![0; shape.len()];
    let mut ordered = Vec::with_capacity(values.len());
    for _ in values {
        let place = at.iter().zip(shape).rev().fold(0, |place, (index, length)| place * length + index);
        ordered.push(values[place]);
        for (index, length) in at.iter_mut().zip(shape).rev() {
            *index += 1;
            if *index < *length {
                break;
            }
            *index = 0;
        }
    }
    ordered
}

fn safetensors(bytes: &[u8], wanted: impl Fn(&str) -> bool) -> Result<Arrays> {
    let file = SafeTensors::deserialize(bytes).context("not a .safetensors file")?;
    let mut arrays = Arrays::new();
    for (name, tensor) in file.iter().filter(|(name, _)| wanted(name)) {
        let data = tensor.data();
        let values = match tensor.dtype() {
            Dtype::F16 => Values::F32(each(data, |bytes| f16::from_le_bytes(bytes).into())),
            Dtype::BF16 => Values::F32(each(data, |bytes| bf16::from_le_bytes(bytes).into())),
            Dtype::F32 => Values::F32(each(data, f32::from_le_bytes)),
            Dtype::F64 => Values::F64(each(data, f64::from_le_bytes)),
            Dtype::I8 => Values::I64(each(data, |bytes| i8::from_le_bytes(bytes).into())),
            Dtype::I16 => Values::I64(each(data, |bytes| i16::from_le_bytes(bytes).into())),
            Dtype::I32 => Values::I64(each(data, |bytes| i32::from_le_bytes(bytes).into())),
            Dtype::I64 => Values::I64(each(data, i64::from_le_bytes)),
            Dtype::U8 => Values::I64(each(data, |bytes| u8::from_le_bytes(bytes).into())),
            Dtype::U16 => Values::I64(each(data, |bytes| u16::from_le_bytes(bytes).into())),
            Dtype::U32 => Values::I64(each(data, |bytes| u32::from_le_bytes(bytes).into())),
            other => {
                bail!("array `{name}` has elements of type {other:?}; floats or whole numbers are wanted")
            }
        };
        arrays.insert(name.to_owned(), Array { shape: tensor.shape().to_vec(), values });
    }
    Ok(arrays)
}

/// The elements of little-endian bytes, `SIZE` each.
fn each<T, const SIZE: usize>(bytes: &[u8], value: impl Fn([u8; SIZE]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|bytes| value(*bytes)).collect()
}

/// A column of whole numbers: the one named `label`, or the only one, with a name in the first line or without.
fn csv(bytes: &[u8]) -> Result<Array> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(bytes);
    // The reader passes over what is empty, and every label after it would be another sample's.
    let text = bytes.trim_ascii_end();
    ensure!(!text.is_empty(), "is empty");
    let mut lines = text.split(|byte| *byte == b'\n');
    if let Some(line) = lines.position(|line| line.trim_ascii().is_empty()) {
        bail!("line {} is empty; each sample has one with its label", line + 1);
    }
    let records: Vec<StringRecord> = reader.records().collect::<Result<_, _>>()?;
    let first = &records[0];
    let column = match first.iter().position(|name| name == "label") {
        Some(column) => column,
        None if first.len() == 1 => 0,
        None => bail!("has {} columns and none is named `label`", first.len()),
    };
    let is_name = first[column].parse::<i64>().is_err();
    let mut values = Vec::new();
    for record in records.iter().skip(usize::from(is_name)) {
        let (cell, line) = (&record[column], record.position().map_or(0, Position::line));
        values.push(cell.parse().with_context(|| format!("line {line}: `{cell}` is no whole number"))?);
    }
    Ok(Array { shape: vec![values.len()], values: Values::I64(values) })
}

#[cfg(test)]
pub mod tests {
    use npyz::{AutoSerialize, WriterBuilder};

    use super::*;

    /// An array as numpy writes it.
    pub fn npy_bytes<T: AutoSerialize>(shape: &[u64], order: Order, values: Vec<T>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let options = npyz::WriteOptions::new().default_dtype().shape(shape).order(order);
        let mut writer = options.writer(&mut bytes).begin_nd().unwrap();
        writer.extend(values).unwrap();
        writer.finish().unwrap();
        bytes
    }

    #[test]
    fn elements_of_all_widths_are_read() {
        let read = |bytes: Vec<u8>| npy(&bytes).unwrap().values;
        let halves = [0.5, 2.0].map(f16::from_f32).to_vec();
        assert_eq!(read(npy_bytes(&[2], Order::C, halves)), Values::F32(vec![0.5, 2.0]));
        assert_eq!(read(npy_bytes(&[1], Order::C, vec![0.1f32])), Values::F32(vec![0.1]));
        assert_eq!(read(npy_bytes(&[1], Order::C, vec![0.1f64])), Values::F64(vec![0.1]));
        assert_eq!(read(npy_bytes(&[2], Order::C, vec![-1i8, 7])), Values::I64(vec![-1, 7]));
        assert_eq!(read(npy_bytes(&[1], Order::C, vec![200u8])), Values::I64(vec![200]));
        assert_eq!(read(npy_bytes(&[1], Order::C, vec![-70_000i32])), Values::I64(vec![-70_000]));
        let message = npy(&npy_bytes(&[1], Order::C, vec![true])).unwrap_err().to_string();
        assert!(message.starts_with("has elements of type |b1"), "{message}");
    }

    #[test]
    fn a_transposed_array_is_read_as_numpy_shows_it() {
        // numpy.arange(6).reshape(1, 3, 2).T has the shape [2, 3, 1] and elements in the order of memory.
        let array = npy(&npy_bytes(&[2, 3, 1], Order::Fortran, vec![0i64, 1, 2, 3, 4, 5])).unwrap();
        assert_eq!(array, Array { shape: vec![2, 3, 1], values: Values::I64(vec![0, 2, 4, 1, 3, 5]) });
    }

    #[test]
    fn tensors_of_16_bits_are_read() {
        let bytes = [bf16::from_f32(1.5), bf16::from_f32(-2.0)].map(bf16::to_le_bytes).concat();
        let view = safetensors::tensor::TensorView::new(Dtype::BF16, vec![2], &bytes).unwrap();
        let file = safetensors::serialize([("train", view)], None).unwrap();
        let arrays = safetensors(&file, |_| true).unwrap();
        assert_eq!(arrays["train"].values, Values::F32(vec![1.5, -2.0]));
        assert!(safetensors(&file, |name| name == "test").unwrap().is_empty());
    }

    #[test]
    fn labels_in_csv_need_no_name_if_they_are_alone() {
        let labels = |text: &str| csv(text.as_bytes()).map(|array| array.into_i64s().unwrap());
        assert_eq!(labels("3\n1\n").unwrap(), [3, 1]);
        assert_eq!(labels("class\n3\n").unwrap(), [3]);
        assert_eq!(labels("image,label\na.png,3\nb.png,1\n").unwrap(), [3, 1]);
        assert_eq!(labels("a,b\n1,2\n").unwrap_err().to_string(), "has 2 columns and none is named `label`");
        let message = labels("label\n3\ncat\n").unwrap_err().to_string();
        assert_eq!(message, "line 3: `cat` is no whole number");
        let message = labels("3\n\n1\n").unwrap_err().to_string();
        assert_eq!(message, "line 2 is empty; each sample has one with its label");
        assert_eq!(labels("3\r\n1\r\n\r\n").unwrap(), [3, 1], "at the end nothing is missing");
        let message = labels("name,label\n\"a\nb\",1\nc,\n").unwrap_err().to_string();
        assert_eq!(message, "line 4: `` is no whole number");
    }

    #[test]
    fn files_that_are_not_what_their_names_say_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        for (name, expected) in [
            ("a.npz", "not a .npz file"),
            ("a.npy", "not a .npy file"),
            ("a.safetensors", "not a .safetensors file"),
            ("a.pt", "its name must end in .npz, .npy, .safetensors or .csv"),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, "something else").unwrap();
            assert_eq!(read(&path, |_| true).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn whole_numbers_may_be_written_as_floats() {
        let array = |values| Array { shape: vec![2], values: Values::F64(values) };
        assert_eq!(array(vec![0.0, 50.0]).into_i64s().unwrap(), [0, 50]);
        let message = array(vec![0.0, 0.5]).into_i64s().unwrap_err().to_string();
        assert_eq!(message, "value 1 is 0.5, which is not a whole number");
        let labels = Array { shape: vec![1], values: Values::I64(vec![1]) };
        assert!(labels.into_f32s().is_err());
    }
}
