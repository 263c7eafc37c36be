//! The checkpoints of a run, written to their file as they come.

use std::path::Path;

use anyhow::{Context, Result, bail};
use kit::{Layout, TensorFile, Tensors};
use networks::Weights;
use serde_json::Value;

/// A file of checkpoints: the `checkpoints` artifact.
#[derive(Debug)]
pub struct Checkpoints {
    file: TensorFile,
    /// After how many steps each is kept, ascending.
    kept: Vec<u64>,
    /// Of each that is in the file, the hash of its tensors.
    hashes: Vec<String>,
}

impl Checkpoints {
    /// A file for checkpoints after `kept` steps, without any yet.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(
        path: &Path,
        weights: &Weights,
        kept: Vec<u64>,
        steps_per_epoch: u64,
        metadata: &Value,
    ) -> Result<Checkpoints> {
        let file = TensorFile::create(path, &layout(weights, kept.len()), metadata)?;
        Checkpoints::begin(file, kept, steps_per_epoch, Vec::new())
    }

    /// Goes on with a file that [`are_whole`] holds for.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn go_on(
        path: &Path,
        weights: &Weights,
        kept: Vec<u64>,
        steps_per_epoch: u64,
        hashes: Vec<String>,
        metadata: &Value,
    ) -> Result<Checkpoints> {
        let file = TensorFile::go_on(path, &layout(weights, kept.len()), metadata)?;
        Checkpoints::begin(file, kept, steps_per_epoch, hashes)
    }

    /// Where the checkpoints lie in time is written in any case: what was there before may be damaged.
    fn begin(
        file: TensorFile,
        kept: Vec<u64>,
        steps_per_epoch: u64,
        hashes: Vec<String>,
    ) -> Result<Checkpoints> {
        let steps: Vec<i64> = kept.iter().map(|&step| step as i64).collect();
        let epochs: Vec<f64> = kept.iter().map(|&step| step as f64 / steps_per_epoch as f64).collect();
        file.i64s("step", 0, &steps)?;
        file.f64s("epoch", 0, &epochs)?;
        Ok(Checkpoints { file, kept, hashes })
    }

    /// Keeps the weights if this is a step after which they are kept. Returns whether it is.
    ///
    /// # Errors
    /// When a value is not finite, or the file cannot be written.
    pub fn keep(&mut self, step: u64, weights: &Weights) -> Result<bool> {
        let Ok(at) = self.kept.binary_search(&step) else { return Ok(false) };
        let mut hasher = blake3::Hasher::new();
        for (name, _, values) in weights.export() {
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                bail!(
                    "after step {step}, `{name}` has a value of {value}; with a lower rate it may stay finite"
                );
            }
            hasher.update(bytemuck::cast_slice(&values));
            self.file.f32s(&format!("{at:04}/{name}"), 0, &values)?;
        }
        self.hashes.push(hasher.finalize().to_string());
        Ok(true)
    }

    /// Brings all that was kept to the disk. Returns the hash of each checkpoint, for [`are_whole`].
    ///
    /// # Errors
    /// When the system cannot.
    pub fn sync(&self) -> Result<&[String]> {
        self.file.sync()?;
        Ok(&self.hashes)
    }
}

/// Whether a file has the first checkpoints, with these hashes, and is what a run would have written until then.
pub fn are_whole(path: &Path, weights: &Weights, hashes: &[String]) -> bool {
    let check = || -> Result<bool> {
        let file = Tensors::open(path)?;
        for (at, hash) in hashes.iter().enumerate() {
            let mut hasher = blake3::Hasher::new();
            for (name, ..) in weights.export() {
                let tensor = file.f32s(&format!("{at:04}/{name}")).context("a checkpoint")?;
                hasher.update(bytemuck::cast_slice(tensor.values));
            }
            if hasher.finalize().to_string() != *hash {
                return Ok(false);
            }
        }
        Ok(true)
    };
    hashes.is_empty() || check().unwrap_or(false)
}

fn layout(weights: &Weights, count: usize) -> Layout {
    let mut layout = Layout::new();
    layout.i64s("step", &[count]).f64s("epoch", &[count]);
    for (name, shape, _) in weights.export() {
        for at in 0..count {
            layout.f32s(&format!("{at:04}/{name}"), &shape);
        }
    }
    layout
}
