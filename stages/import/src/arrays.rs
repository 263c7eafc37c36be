//! Files of named arrays: `.npz`, `.npy`, `.safetensors`, and labels in `.csv`.

use std::fs::{self, File};
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use csv::{Position, StringRecord};
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use zip::ZipArchive;

use crate::array::{Array, Element};

/// The largest header of a `.safetensors` file, by that format.
const HEADER: u64 = 100_000_000;

/// A file of arrays, of which only their names have been read.
#[derive(Debug)]
pub struct Arrays {
    path: PathBuf,
    format: Format,
    /// Sorted. An array that can be the only one (`.npy`, `.csv`) is called "".
    names: Vec<String>,
}

#[derive(Debug)]
enum Format {
    Npz,
    Npy,
    /// Where tensors begin, and what they are.
    Safetensors(u64, Metadata),
    /// Its labels.
    Csv(Vec<i64>),
}

impl Arrays {
    /// Opens a file; its format follows from the ending of its name.
    ///
    /// # Errors
    /// When the file cannot be read, or is not what its name says.
    pub fn open(path: &Path) -> Result<Arrays> {
        let only = || vec![String::new()];
        let (format, mut names) = match path.extension().and_then(|ending| ending.to_str()) {
            Some("npz") => (Format::Npz, names_in_archive(path)?),
            Some("npy") => (Format::Npy, only()),
            Some("safetensors") => {
                let (start, header) = header(path).context("not a .safetensors file")?;
                let names = header.offset_keys();
                (Format::Safetensors(start, header), names)
            }
            Some("csv") => (Format::Csv(csv(&fs::read(path)?)?), only()),
            _ => bail!("its name must end in .npz, .npy, .safetensors or .csv"),
        };
        names.sort();
        Ok(Arrays { path: path.to_owned(), format, names })
    }

    /// The names of the arrays, sorted; "" of one that can be the only one.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What `take` makes of an array; none when there is none of this name.
    ///
    /// # Errors
    /// Those of `take`, and when the array cannot be read, or its elements are no numbers.
    pub fn read<T>(&self, name: &str, take: impl FnOnce(Array) -> Result<T>) -> Result<Option<T>> {
        if !self.names.iter().any(|known| known == name) {
            return Ok(None);
        }
        let named = || format!("array `{name}`");
        let taken = match &self.format {
            Format::Npz => {
                let mut archive = archive(&self.path)?;
                let entry = archive.by_name(&format!("{name}.npy")).context("not a .npz file")?;
                take(npy(entry).with_context(named)?)
            }
            Format::Npy => take(npy(BufReader::new(File::open(&self.path)?))?),
            Format::Safetensors(start, header) => {
                let info = header.info(name).with_context(named)?;
                let (from, to) = info.data_offsets;
                let mut file = File::open(&self.path)?;
                file.seek(SeekFrom::Start(start + from as u64))?;
                let element = element(info.dtype).with_context(named)?;
                take(Array::new(info.shape.clone(), element, BufReader::new(file).take((to - from) as u64)))
            }
            Format::Csv(labels) => {
                let bytes: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
                take(Array::new(vec![labels.len()], Element::I64, Cursor::new(bytes)))
            }
        };
        taken.map(Some)
    }
}

fn archive(path: &Path) -> Result<ZipArchive<BufReader<File>>> {
    ZipArchive::new(BufReader::new(File::open(path)?)).context("not a .npz file")
}

fn names_in_archive(path: &Path) -> Result<Vec<String>> {
    let archive = archive(path)?;
    Ok(archive.file_names().filter_map(|name| name.strip_suffix(".npy")).map(str::to_owned).collect())
}

/// Where the tensors of a file begin, and what its header says of them.
fn header(path: &Path) -> Result<(u64, Metadata)> {
    let mut file = File::open(path)?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    ensure!(length <= HEADER, "its header has {length} bytes");
    let mut header = Vec::new();
    file.by_ref().take(length).read_to_end(&mut header)?;
    let header: Metadata = serde_json::from_slice(&header)?;
    let (start, end) = (8 + length, 8 + length + header.data_len() as u64);
    let found = file.metadata()?.len();
    ensure!(found == end, "it has {found} bytes, by its header {end}");
    Ok((start, header))
}

fn element(dtype: Dtype) -> Result<Element> {
    Ok(match dtype {
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        Dtype::F32 => Element::F32,
        Dtype::F64 => Element::F64,
        Dtype::I8 => Element::I8,
        Dtype::I16 => Element::I16,
        Dtype::I32 => Element::I32,
        Dtype::I64 => Element::I64,
        Dtype::U8 => Element::U8,
        Dtype::U16 => Element::U16,
        Dtype::U32 => Element::U32,
        other => bail!("has elements of type {other:?}; floats or whole numbers are wanted"),
    })
}

fn npy<'a>(mut source: impl Read + 'a) -> Result<Array<'a>> {
    let header = NpyHeader::from_reader(&mut source).context("not a .npy file")?;
    let DType::Plain(kind) = header.dtype() else {
        bail!("has elements of several fields; numbers are wanted");
    };
    let element = match (kind.type_char(), kind.size_field()) {
        (TypeChar::Float, 2) => Element::F16,
        (TypeChar::Float, 4) => Element::F32,
        (TypeChar::Float, 8) => Element::F64,
        (TypeChar::Int, 1) => Element::I8,
        (TypeChar::Int, 2) => Element::I16,
        (TypeChar::Int, 4) => Element::I32,
        (TypeChar::Int, 8) => Element::I64,
        (TypeChar::Uint, 1) => Element::U8,
        (TypeChar::Uint, 2) => Element::U16,
        (TypeChar::Uint, 4) => Element::U32,
        _ => bail!("has elements of type {kind}; f2, f4, f8 or whole numbers are wanted"),
    };
    let shape: Vec<usize> = header.shape().iter().map(|&length| length as usize).collect();
    let mut array = Array::new(shape, element, source);
    if kind.endianness() == Endianness::Big {
        array = array.big_endian();
    }
    match header.order() {
        Order::C => Ok(array),
        Order::Fortran => array.column_major(),
    }
}

/// A column of whole numbers: the one named `label`, or the only one, with a name in the first line or without.
fn csv(bytes: &[u8]) -> Result<Vec<i64>> {
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
    Ok(values)
}

#[cfg(test)]
pub mod tests {
    use npyz::{AutoSerialize, WriterBuilder};
    use safetensors::tensor::TensorView;

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
    fn arrays_of_numpy_are_read_in_both_orders() {
        let read = |bytes: Vec<u8>| npy(Cursor::new(bytes)).unwrap();
        let array = read(npy_bytes(&[2], Order::C, vec![0.5f32, 2.0]));
        assert_eq!(array.shape, [2]);
        assert_eq!(array.into_f64s().unwrap(), [0.5, 2.0]);
        let array = read(npy_bytes(&[2, 3, 1], Order::Fortran, vec![0i64, 1, 2, 3, 4, 5]));
        assert_eq!(array.shape, [2, 3, 1]);
        assert_eq!(array.into_i64s().unwrap(), [0, 2, 4, 1, 3, 5]);
        let flags = npy_bytes(&[1], Order::C, vec![true]);
        let message = npy(Cursor::new(flags)).err().unwrap().to_string();
        assert!(message.starts_with("has elements of type |b1"), "{message}");
    }

    #[test]
    fn tensors_of_16_bits_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let bytes =
            [half::bf16::from_f32(1.5), half::bf16::from_f32(-2.0)].map(half::bf16::to_le_bytes).concat();
        let view = TensorView::new(Dtype::BF16, vec![2], &bytes).unwrap();
        let file = safetensors::serialize([("train", view)], None).unwrap();
        fs::write(&path, &file).unwrap();
        let arrays = Arrays::open(&path).unwrap();
        assert_eq!(arrays.read("train", |array| array.into_f64s()).unwrap().unwrap(), [1.5, -2.0]);
        assert!(arrays.read("test", |array| array.into_f64s()).unwrap().is_none());
        fs::write(&path, &file[..file.len() - 1]).unwrap();
        assert_eq!(Arrays::open(&path).unwrap_err().to_string(), "not a .safetensors file");
    }

    #[test]
    fn labels_in_csv_need_no_name_if_they_are_alone() {
        let labels = |text: &str| csv(text.as_bytes());
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
            let read = Arrays::open(&path).and_then(|arrays| arrays.read("", |array| array.into_f64s()));
            assert_eq!(read.unwrap_err().to_string(), expected);
        }
    }
}
