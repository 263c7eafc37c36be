//! A file of tensors whose values come a few at a time, in any order, so that they need not all be in memory.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytemuck::Pod;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::Serialize;

use crate::tensors::{TensorsError, entries};

/// The tensors that a [`TensorFile`] is going to have.
#[derive(Debug, Default)]
pub struct Layout(Vec<(String, Dtype, Vec<usize>)>);

impl Layout {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tensor of f32.
    pub fn f32s(&mut self, name: &str, shape: &[usize]) -> &mut Self {
        self.add(name, Dtype::F32, shape)
    }

    /// A tensor of f64.
    pub fn f64s(&mut self, name: &str, shape: &[usize]) -> &mut Self {
        self.add(name, Dtype::F64, shape)
    }

    /// A tensor of i64.
    pub fn i64s(&mut self, name: &str, shape: &[usize]) -> &mut Self {
        self.add(name, Dtype::I64, shape)
    }

    /// A tensor of u8.
    pub fn u8s(&mut self, name: &str, shape: &[usize]) -> &mut Self {
        self.add(name, Dtype::U8, shape)
    }

    fn add(&mut self, name: &str, dtype: Dtype, shape: &[usize]) -> &mut Self {
        self.0.push((name.to_owned(), dtype, shape.to_vec()));
        self
    }
}

/// A safetensors file to be filled in. Its bytes are those that a [`TensorsWriter`](crate::TensorsWriter) writes.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    file: File,
    places: BTreeMap<String, Place>,
}

/// Where the values of a tensor lie.
#[derive(Debug)]
struct Place {
    dtype: Dtype,
    start: u64,
    values: usize,
}

impl TensorFile {
    /// Makes the file, with zeros.
    ///
    /// # Errors
    /// When it cannot be made, or two tensors have one name.
    pub fn create(
        path: &Path,
        layout: &Layout,
        metadata: &impl Serialize,
    ) -> Result<TensorFile, TensorsError> {
        TensorFile::make(path, true, layout, metadata)
    }

    /// Makes the file, or goes on with one that was made with the same layout and metadata: its values stay.
    ///
    /// # Errors
    /// As [`TensorFile::create`].
    pub fn go_on(
        path: &Path,
        layout: &Layout,
        metadata: &impl Serialize,
    ) -> Result<TensorFile, TensorsError> {
        TensorFile::make(path, false, layout, metadata)
    }

    fn make(
        path: &Path,
        is_new: bool,
        layout: &Layout,
        metadata: &impl Serialize,
    ) -> Result<TensorFile, TensorsError> {
        let io = |source| TensorsError::Io { path: path.to_owned(), source };
        // The library's order: by type, so that all values lie at multiples of their size, then by name.
        let mut tensors: Vec<_> = layout.0.iter().collect();
        tensors.sort_by_key(|(name, dtype, _)| (Reverse(*dtype), name));
        let mut places = BTreeMap::new();
        let mut infos = Vec::new();
        let mut end = 0;
        for (name, dtype, shape) in tensors {
            let values: usize = shape.iter().product();
            let start = end;
            end += values * dtype.bitsize() / 8;
            places.insert(name.clone(), Place { dtype: *dtype, start: start as u64, values });
            let info = TensorInfo { dtype: *dtype, shape: shape.clone(), data_offsets: (start, end) };
            infos.push((name.clone(), info));
        }
        let header = Metadata::new(Some(entries(path, metadata)?), infos)
            .map_err(|source| TensorsError::Format { path: path.to_owned(), source })?;
        let mut header = serde_json::to_vec(&header).map_err(|error| io(error.into()))?;
        // The format's filling, so that values lie at multiples of their size.
        header.resize(header.len().next_multiple_of(size_of::<u64>()), b' ');
        let start = (size_of::<u64>() + header.len()) as u64;
        places.values_mut().for_each(|place| place.start += start);
        let file = File::options().write(true).create(true).truncate(is_new).open(path).map_err(io)?;
        file.write_all_at(&(header.len() as u64).to_le_bytes(), 0)
            .and_then(|()| file.write_all_at(&header, size_of::<u64>() as u64))
            .and_then(|()| file.set_len(start + end as u64))
            .map_err(io)?;
        Ok(TensorFile { path: path.to_owned(), file, places })
    }

    /// Writes some values of a tensor of f32, of which the first is the tensor's `first`, counted row-major.
    ///
    /// # Errors
    /// When the file cannot be written.
    ///
    /// # Panics
    /// Here and below, when the file has no such tensor, or this one not so many values.
    pub fn f32s(&self, name: &str, first: usize, values: &[f32]) -> Result<(), TensorsError> {
        self.write(name, Dtype::F32, first, values)
    }

    /// Writes some values of a tensor of f64.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn f64s(&self, name: &str, first: usize, values: &[f64]) -> Result<(), TensorsError> {
        self.write(name, Dtype::F64, first, values)
    }

    /// Writes some values of a tensor of i64.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn i64s(&self, name: &str, first: usize, values: &[i64]) -> Result<(), TensorsError> {
        self.write(name, Dtype::I64, first, values)
    }

    /// Writes some values of a tensor of u8.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn u8s(&self, name: &str, first: usize, values: &[u8]) -> Result<(), TensorsError> {
        self.write(name, Dtype::U8, first, values)
    }

    /// Brings all that was written to the disk.
    ///
    /// # Errors
    /// When the system cannot.
    pub fn sync(&self) -> Result<(), TensorsError> {
        self.file.sync_data().map_err(|source| TensorsError::Io { path: self.path.clone(), source })
    }

    fn write<T: Pod>(
        &self,
        name: &str,
        dtype: Dtype,
        first: usize,
        values: &[T],
    ) -> Result<(), TensorsError> {
        let place = self.places.get(name).filter(|place| place.dtype == dtype);
        let place = place.unwrap_or_else(|| panic!("no tensor `{name}` of {dtype:?} in {:?}", self.path));
        let end = first + values.len();
        assert!(end <= place.values, "tensor `{name}`: values {first}..{end} of {}", place.values);
        self.file
            .write_all_at(bytemuck::cast_slice(values), place.start + (first * size_of::<T>()) as u64)
            .map_err(|source| TensorsError::Io { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Tensors, TensorsWriter};

    #[test]
    fn a_file_that_is_filled_in_is_the_one_that_is_written_at_once() {
        let folder = std::env::temp_dir().join(format!("kit-filled-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (one, two) = (folder.join("one"), folder.join("two"));
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 0.0];
        let metadata = json!({"samples": 3, "rows": ["a", "b"]});
        TensorsWriter::new()
            .f32s("train", &[2, 3], &values)
            .f64s("loss", &[2], &[0.5, 0.25])
            .i64s("step", &[1], &[7])
            .f32s("test", &[], &[8.0])
            .u8s("images", &[3], &[1, 2, 3])
            .write(&one, &metadata)
            .unwrap();
        let mut layout = Layout::new();
        layout.f32s("test", &[]).f64s("loss", &[2]).f32s("train", &[2, 3]).i64s("step", &[1]);
        layout.u8s("images", &[3]);
        let file = TensorFile::create(&two, &layout, &metadata).unwrap();
        file.f32s("train", 3, &values[3..5]).unwrap();
        file.f64s("loss", 1, &[0.25]).unwrap();
        file.f32s("train", 0, &values[..3]).unwrap();
        file.i64s("step", 0, &[7]).unwrap();
        file.u8s("images", 0, &[1, 2, 3]).unwrap();
        drop(file);
        let file = TensorFile::go_on(&two, &layout, &metadata).unwrap();
        file.f64s("loss", 0, &[0.5]).unwrap();
        file.f32s("test", 0, &[8.0]).unwrap();
        assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());
        assert_eq!(Tensors::open(&two).unwrap().f32s("train").unwrap().values, values);
        TensorFile::create(&two, &layout, &metadata).unwrap();
        assert_eq!(Tensors::open(&two).unwrap().f32s("train").unwrap().values, [0.0; 6], "anew");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
