//! Safetensors files, memory-mapped for reading, with one JSON value as metadata.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytemuck::Pod;
use memmap2::Mmap;
use safetensors::tensor::{Dtype, Metadata, SafeTensorError, SafeTensors, TensorView};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The file's only metadata entry. One entry, because several would come in a hash map's order and make equal content
/// into unequal bytes.
const METADATA: &str = "hyperribbon";

/// What can be wrong with a file of tensors.
#[derive(Debug, thiserror::Error)]
pub enum TensorsError {
    /// It cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not safetensors, or lacks a tensor.
    #[error("{path}: {source}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SafeTensorError,
    },
    /// A tensor has another element type than wanted.
    #[error("{path}: tensor `{name}` is {found:?}, expected {expected:?}")]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its element type.
        found: Dtype,
        /// What was asked for.
        expected: Dtype,
    },
    /// The data of a tensor does not lie at a multiple of its element's size.
    #[error("{path}: tensor `{name}` is not aligned; write the file with a current safetensors library")]
    Alignment {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// The metadata is absent or of another shape.
    #[error("{path}: metadata `{METADATA}`: {why}")]
    Metadata {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// A tensor in a mapped file, row-major.
#[derive(Debug, Clone)]
pub struct Tensor<'a, T> {
    /// Lengths of the axes, outermost first.
    pub shape: Vec<usize>,
    /// The elements.
    pub values: &'a [T],
}

/// A safetensors file, memory-mapped: tensors are borrowed from it, not copied.
#[derive(Debug)]
pub struct Tensors {
    path: PathBuf,
    file: File,
    map: Mmap,
    header: Metadata,
    /// Where the tensors' bytes begin.
    start: usize,
}

impl Tensors {
    /// Maps a file and checks its header.
    ///
    /// # Errors
    /// When it cannot be read or is not safetensors.
    pub fn open(path: &Path) -> Result<Tensors, TensorsError> {
        let io = |source| TensorsError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        // SAFETY: artifacts are read-only and never rewritten in place, so the mapped bytes stay as they are.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        let (length, header) = SafeTensors::read_metadata(&map)
            .map_err(|source| TensorsError::Format { path: path.to_owned(), source })?;
        Ok(Tensors { path: path.to_owned(), file, map, header, start: length + 8 })
    }

    /// The names of the tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.header.offset_keys();
        names.sort();
        names
    }

    /// The file's metadata.
    ///
    /// # Errors
    /// When there is none, or it has not the shape of `T`.
    pub fn metadata<T: DeserializeOwned>(&self) -> Result<T, TensorsError> {
        let text = self.header.metadata().as_ref().and_then(|entries| entries.get(METADATA));
        let wrong = |why: String| TensorsError::Metadata { path: self.path.clone(), why };
        let text = text.ok_or_else(|| wrong("absent".to_owned()))?;
        serde_json::from_str(text).map_err(|error| wrong(error.to_string()))
    }

    /// A tensor of f32.
    ///
    /// # Errors
    /// When it is absent or of another type.
    pub fn f32s(&self, name: &str) -> Result<Tensor<'_, f32>, TensorsError> {
        self.typed(name, Dtype::F32)
    }

    /// A tensor of f64.
    ///
    /// # Errors
    /// When it is absent or of another type.
    pub fn f64s(&self, name: &str) -> Result<Tensor<'_, f64>, TensorsError> {
        self.typed(name, Dtype::F64)
    }

    /// A tensor of i64.
    ///
    /// # Errors
    /// When it is absent or of another type.
    pub fn i64s(&self, name: &str) -> Result<Tensor<'_, i64>, TensorsError> {
        self.typed(name, Dtype::I64)
    }

    /// A tensor of u8.
    ///
    /// # Errors
    /// When it is absent or of another type.
    pub fn u8s(&self, name: &str) -> Result<Tensor<'_, u8>, TensorsError> {
        self.typed(name, Dtype::U8)
    }

    /// Reads some values of this file again, not through its mapping: they take no memory but where they are read to.
    ///
    /// # Errors
    /// When the file cannot be read.
    ///
    /// # Panics
    /// When the values are not of this file, or not as many as there is room for.
    pub fn read<T: Pod>(&self, values: &[T], to: &mut [T]) -> Result<(), TensorsError> {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let offset = (bytes.as_ptr() as usize).wrapping_sub(self.map.as_ptr() as usize);
        let is_ours = offset <= self.map.len() && bytes.len() <= self.map.len() - offset;
        assert!(is_ours && values.len() == to.len(), "{} values at {offset} to {}", values.len(), to.len());
        self.file
            .read_exact_at(bytemuck::cast_slice_mut(to), offset as u64)
            .map_err(|source| TensorsError::Io { path: self.path.clone(), source })
    }

    fn typed<T: Pod>(&self, name: &str, expected: Dtype) -> Result<Tensor<'_, T>, TensorsError> {
        let info = self.header.info(name).ok_or_else(|| TensorsError::Format {
            path: self.path.clone(),
            source: SafeTensorError::TensorNotFound(name.to_owned()),
        })?;
        if info.dtype != expected {
            return Err(TensorsError::Dtype {
                path: self.path.clone(),
                name: name.to_owned(),
                found: info.dtype,
                expected,
            });
        }
        let bytes = &self.map[self.start + info.data_offsets.0..self.start + info.data_offsets.1];
        let values = bytemuck::try_cast_slice(bytes)
            .map_err(|_| TensorsError::Alignment { path: self.path.clone(), name: name.to_owned() })?;
        Ok(Tensor { shape: info.shape.clone(), values })
    }
}

/// Collects tensors and writes them as one file.
#[derive(Debug, Default)]
pub struct TensorsWriter {
    tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>,
}

impl TensorsWriter {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor of f32.
    ///
    /// # Panics
    /// Here and below, when the shape does not have as many elements as there are values.
    pub fn f32s(&mut self, name: &str, shape: &[usize], values: &[f32]) -> &mut Self {
        self.add(name, Dtype::F32, shape, values)
    }

    /// Adds a tensor of f64.
    pub fn f64s(&mut self, name: &str, shape: &[usize], values: &[f64]) -> &mut Self {
        self.add(name, Dtype::F64, shape, values)
    }

    /// Adds a tensor of i64.
    pub fn i64s(&mut self, name: &str, shape: &[usize], values: &[i64]) -> &mut Self {
        self.add(name, Dtype::I64, shape, values)
    }

    /// Adds a tensor of u8.
    pub fn u8s(&mut self, name: &str, shape: &[usize], values: &[u8]) -> &mut Self {
        self.add(name, Dtype::U8, shape, values)
    }

    fn add<T: Pod>(&mut self, name: &str, dtype: Dtype, shape: &[usize], values: &[T]) -> &mut Self {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "tensor {name}: shape {shape:?}");
        let bytes = bytemuck::cast_slice(values).to_vec();
        self.tensors.push((name.to_owned(), dtype, shape.to_vec(), bytes));
        self
    }

    /// Writes the file. Equal tensors and metadata give equal bytes, whatever order they were added in.
    ///
    /// # Errors
    /// When the file cannot be written or a name was added twice.
    pub fn write(&self, path: &Path, metadata: &impl Serialize) -> Result<(), TensorsError> {
        let format = |source| TensorsError::Format { path: path.to_owned(), source };
        let entries = entries(path, metadata)?;
        let views = self
            .tensors
            .iter()
            .map(|(name, dtype, shape, bytes)| Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?)))
            .collect::<Result<Vec<_>, SafeTensorError>>()
            .map_err(format)?;
        safetensors::serialize_to_file(views, Some(entries), path).map_err(format)
    }
}

/// The metadata as a file's only entry.
pub(crate) fn entries(
    path: &Path,
    metadata: &impl Serialize,
) -> Result<HashMap<String, String>, TensorsError> {
    let mut metadata = serde_json::to_value(metadata)
        .map_err(|error| TensorsError::Metadata { path: path.to_owned(), why: error.to_string() })?;
    // Their order follows a feature that any crate of the program may switch on.
    metadata.sort_all_objects();
    Ok(HashMap::from([(METADATA.to_owned(), metadata.to_string())]))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("kit-{}-{name}.safetensors", std::process::id()))
    }

    #[test]
    fn what_is_written_is_read_back() {
        let path = scratch("round-trip");
        TensorsWriter::new()
            .u8s("images", &[3], &[1, 2, 3])
            .f32s("p", &[2, 2], &[0.25, 0.75, 0.5, 0.5])
            .i64s("step", &[1], &[7])
            .write(&path, &json!({"seed": 42}))
            .unwrap();
        let file = Tensors::open(&path).unwrap();
        assert_eq!(file.names(), ["images", "p", "step"]);
        assert_eq!(file.f32s("p").unwrap().shape, [2, 2]);
        assert_eq!(file.f32s("p").unwrap().values, [0.25, 0.75, 0.5, 0.5]);
        assert_eq!(file.u8s("images").unwrap().values, [1, 2, 3]);
        let mut some = [0.0; 2];
        file.read(&file.f32s("p").unwrap().values[1..3], &mut some).unwrap();
        assert_eq!(some, [0.75, 0.5]);
        assert_eq!(file.i64s("step").unwrap().values, [7]);
        assert_eq!(file.metadata::<Value>().unwrap()["seed"], 42);
        let message = file.f32s("step").unwrap_err().to_string();
        assert!(message.ends_with("tensor `step` is I64, expected F32"), "{message}");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn equal_content_is_equal_bytes() {
        let (one, two) = (scratch("order-1"), scratch("order-2"));
        let metadata = json!({"arch": "fc", "seed": 42, "batch": 50});
        let reversed = json!({"batch": 50, "seed": 42, "arch": "fc"});
        TensorsWriter::new().f32s("a", &[1], &[1.0]).f32s("b", &[1], &[2.0]).write(&one, &metadata).unwrap();
        TensorsWriter::new().f32s("b", &[1], &[2.0]).f32s("a", &[1], &[1.0]).write(&two, &reversed).unwrap();
        assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());
        std::fs::remove_file(one).unwrap();
        std::fs::remove_file(two).unwrap();
    }
}
