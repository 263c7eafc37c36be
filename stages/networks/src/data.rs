//! A data set as `prepare` writes it, on a device.

use kit::{Tensors, TensorsError};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

/// A data set that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file is not as prepare writes it.
    #[error(transparent)]
    File(#[from] TensorsError),
    /// Tensors that contradict each other.
    #[error("data: {0}")]
    Content(String),
}

#[derive(Deserialize)]
struct Metadata {
    classes: Vec<String>,
    mean: Vec<f32>,
    std: Vec<f32>,
}

/// Images and labels of one split.
#[derive(Debug)]
pub struct Split {
    /// u8 [N, H, W, C]: channels last, as convolutions like them.
    pub pixels: Tensor,
    /// i64 `[N]`, each in 0..classes.
    pub labels: Tensor,
}

impl Split {
    fn read(file: &Tensors, split: &str, classes: usize) -> Result<Split, DataError> {
        let images = file.u8s(&format!("{split}_images"))?;
        let labels = file.i64s(&format!("{split}_labels"))?;
        let wrong = |what: String| DataError::Content(format!("{split}: {what}"));
        let shape: Vec<i64> = images.shape.iter().map(|&length| length as i64).collect();
        if shape.len() != 4 || labels.shape != [images.shape[0]] || labels.values.is_empty() {
            let shapes = format!("images {:?}, labels {:?}", images.shape, labels.shape);
            return Err(wrong(format!("{shapes}; expected [N, C, H, W] and [N], with N at least 1")));
        }
        if let Some(at) = labels.values.iter().position(|&label| label < 0 || label >= classes as i64) {
            return Err(wrong(format!("sample {at} has label {}, of {classes} classes", labels.values[at])));
        }
        let pixels = Tensor::from_slice(images.values).view(&shape[..]).permute([0, 2, 3, 1]).contiguous();
        Ok(Split { pixels, labels: Tensor::from_slice(labels.values) })
    }

    /// How many samples.
    pub fn count(&self) -> usize {
        self.labels.numel()
    }

    fn to(&self, device: Device) -> Split {
        Split { pixels: self.pixels.to_device(device), labels: self.labels.to_device(device) }
    }
}

/// A data set on a device.
#[derive(Debug)]
pub struct Dataset {
    /// What is trained on.
    pub train: Split,
    /// What is not.
    pub test: Split,
    /// How many classes.
    pub classes: i64,
    /// f32 `[C]`: a pixel x of 0..=255 becomes x scale + shift.
    scale: Tensor,
    shift: Tensor,
}

impl Dataset {
    /// Reads and checks a `data` artifact, into main memory.
    ///
    /// # Errors
    /// When a tensor is absent, or shapes, labels and metadata do not fit together.
    pub fn read(file: &Tensors) -> Result<Dataset, DataError> {
        let Metadata { classes, mean, std } = file.metadata()?;
        let (train, test) =
            (Split::read(file, "train", classes.len())?, Split::read(file, "test", classes.len())?);
        let (image, other) = (&train.pixels.size()[1..], &test.pixels.size()[1..]);
        if image != other {
            return Err(DataError::Content(format!("train images are {image:?}, test images {other:?}")));
        }
        if [mean.len(), std.len()].iter().any(|&count| count as i64 != image[2]) {
            return Err(DataError::Content(format!("mean {mean:?}, std {std:?} for {} channels", image[2])));
        }
        // (x / 255 - mean) / std
        let scale: Vec<f32> = std.iter().map(|std| 1.0 / (255.0 * std)).collect();
        let shift: Vec<f32> = mean.iter().zip(&std).map(|(mean, std)| -mean / std).collect();
        let (scale, shift) = (Tensor::from_slice(&scale), Tensor::from_slice(&shift));
        Ok(Dataset { train, test, classes: classes.len() as i64, scale, shift })
    }

    /// The data set on a device; on the same device nothing is copied.
    pub fn to(&self, device: Device) -> Dataset {
        Dataset {
            train: self.train.to(device),
            test: self.test.to(device),
            classes: self.classes,
            scale: self.scale.to_device(device),
            shift: self.shift.to_device(device),
        }
    }

    /// Channels, height and width of an image.
    pub fn shape(&self) -> [i64; 3] {
        let [_, height, width, channels] = self.train.pixels.size()[..] else {
            unreachable!("Split::read checks that images have four axes");
        };
        [channels, height, width]
    }

    /// What a network takes, f32 [N, C, H, W] with the channels last in memory, of pixels u8 [N, H, W, C].
    pub fn normalise(&self, pixels: &Tensor) -> Tensor {
        let mut images = pixels.to_kind(Kind::Float);
        images.g_mul_(&self.scale).g_add_(&self.shift).permute([0, 3, 1, 2])
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use kit::TensorsWriter;
    use serde_json::json;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("networks-{}-{name}.safetensors", std::process::id()))
    }

    /// Two train samples and one test sample of 2x1x2 pixels, with these labels.
    fn read(name: &str, labels: &[i64; 3]) -> Result<Dataset, DataError> {
        let path = scratch(name);
        let metadata = json!({"classes": ["a", "b"], "mean": [0.5, 0.0], "std": [0.25, 1.0]});
        TensorsWriter::new()
            .u8s("train_images", &[2, 2, 1, 2], &[0, 255, 51, 102, 255, 0, 0, 0])
            .u8s("test_images", &[1, 2, 1, 2], &[1, 2, 3, 4])
            .i64s("train_labels", &[2], &labels[..2])
            .i64s("test_labels", &[1], &labels[2..])
            .write(&path, &metadata)
            .unwrap();
        let data = Dataset::read(&Tensors::open(&path).unwrap());
        std::fs::remove_file(path).unwrap();
        data
    }

    #[test]
    fn images_are_normalised_channel_by_channel() {
        let data = read("normalise", &[0, 1, 1]).unwrap();
        assert_eq!((data.shape(), data.train.count(), data.classes), ([2, 1, 2], 2, 2));
        let images = data.normalise(&data.train.pixels);
        assert_eq!(images.size(), [2, 2, 1, 2]);
        let found: Vec<f32> = Vec::try_from(images.reshape([-1])).unwrap();
        let expected = [-2.0, 2.0, 0.2, 0.4, 2.0, -2.0, 0.0, 0.0];
        assert!(
            found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6),
            "{found:?}"
        );
    }

    #[test]
    fn a_label_beyond_the_classes_is_told_with_its_sample() {
        let message = read("label", &[0, 2, 1]).unwrap_err().to_string();
        assert_eq!(message, "data: train: sample 1 has label 2, of 2 classes");
    }
}
