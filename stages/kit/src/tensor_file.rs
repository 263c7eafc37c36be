//! A file of one tensor whose values come a few at a time, in any order, so that they need not all be in memory.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytemuck::Pod;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::Serialize;

use crate::tensors::{TensorsError, entries};

/// A safetensors file with a tensor of f32 in it, to be filled in.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    file: File,
    /// Where the values begin.
    start: u64,
    values: usize,
}

impl TensorFile {
    /// Makes the file, with zeros.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(
        path: &Path,
        name: &str,
        shape: &[usize],
        metadata: &impl Serialize,
    ) -> Result<TensorFile, TensorsError> {
        let io = |source| TensorsError::Io { path: path.to_owned(), source };
        let values: usize = shape.iter().product();
        let bytes = values * size_of::<f32>();
        let tensor = TensorInfo { dtype: Dtype::F32, shape: shape.to_vec(), data_offsets: (0, bytes) };
        let header = Metadata::new(Some(entries(path, metadata)?), vec![(name.to_owned(), tensor)])
            .map_err(|source| TensorsError::Format { path: path.to_owned(), source })?;
        let mut header = serde_json::to_vec(&header).map_err(|error| io(error.into()))?;
        // The format's filling, so that values lie at multiples of their size.
        header.resize(header.len().next_multiple_of(size_of::<u64>()), b' ');
        let start = (size_of::<u64>() + header.len()) as u64;
        let file = File::create(path).map_err(io)?;
        file.write_all_at(&(header.len() as u64).to_le_bytes(), 0)
            .and_then(|()| file.write_all_at(&header, size_of::<u64>() as u64))
            .and_then(|()| file.set_len(start + bytes as u64))
            .map_err(io)?;
        Ok(TensorFile { path: path.to_owned(), file, start, values })
    }

    /// Writes some values, of which the first is the tensor's `first`, counted row-major.
    ///
    /// # Errors
    /// When the file cannot be written.
    ///
    /// # Panics
    /// When the tensor does not have so many values.
    pub fn write(&self, first: usize, values: &[f32]) -> Result<(), TensorsError> {
        assert!(
            first + values.len() <= self.values,
            "{} values from {first} on of {}",
            values.len(),
            self.values
        );
        let at = self.start + (first * size_of::<f32>()) as u64;
        self.file
            .write_all_at(bytes(values), at)
            .map_err(|source| TensorsError::Io { path: self.path.clone(), source })
    }
}

fn bytes<T: Pod>(values: &[T]) -> &[u8] {
    bytemuck::cast_slice(values)
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
        TensorsWriter::new().f32s("distances", &[2, 3], &values).write(&one, &metadata).unwrap();
        let file = TensorFile::create(&two, "distances", &[2, 3], &metadata).unwrap();
        file.write(3, &values[3..5]).unwrap();
        file.write(0, &values[..3]).unwrap();
        assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());
        assert_eq!(Tensors::open(&two).unwrap().f32s("distances").unwrap().values, values);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
