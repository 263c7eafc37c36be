//! A data set as `prepare` writes it, on a device.

use kit::{Tensors, TensorsError};
use serde::Deserialize;
use tch::kind::Element;
use tch::{Device, Kind, Tensor};

/// Samples that are brought into another order at once, so that no second copy of all of them is needed.
const CHUNK: usize = 256;

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
}

/// Of the channels of images.
#[derive(Deserialize)]
struct Colours {
    mean: Vec<f32>,
    std: Vec<f32>,
}

/// Samples and labels of one split.
#[derive(Debug)]
pub struct Split {
    /// [N, H, W, C], channels last, as convolutions like them: u8, the pixels of images, or f32, inputs of any other kind.
    pub pixels: Tensor,
    /// i64 `[N]`, each in 0..classes.
    pub labels: Tensor,
}

impl Split {
    fn read(file: &Tensors, split: &str, classes: usize, are_images: bool) -> Result<Split, DataError> {
        let labels = file.i64s(&format!("{split}_labels"))?;
        let wrong = |what: String| DataError::Content(format!("{split}: {what}"));
        let (name, samples) = if are_images {
            ("images", Samples::Images(file.u8s(&format!("{split}_images"))?))
        } else {
            ("inputs", Samples::Inputs(file.f32s(&format!("{split}_inputs"))?))
        };
        let shape = samples.shape();
        if shape.len() != 4 || shape.contains(&0) || labels.shape != [shape[0]] {
            let shapes = format!("{name} {shape:?}, labels {:?}", labels.shape);
            return Err(wrong(format!("{shapes}; expected [N, C, H, W] and [N], all at least 1")));
        }
        if let Some(at) = labels.values.iter().position(|&label| label < 0 || label >= classes as i64) {
            return Err(wrong(format!("sample {at} has label {}, of {classes} classes", labels.values[at])));
        }
        Ok(Split { pixels: samples.channels_last(), labels: Tensor::from_slice(labels.values) })
    }

    /// How many samples.
    pub fn count(&self) -> usize {
        self.labels.numel()
    }

    fn to(&self, device: Device) -> Split {
        Split { pixels: self.pixels.to_device(device), labels: self.labels.to_device(device) }
    }
}

/// Samples as they lie in a file, [N, C, H, W].
enum Samples<'a> {
    Images(kit::Tensor<'a, u8>),
    Inputs(kit::Tensor<'a, f32>),
}

impl Samples<'_> {
    fn shape(&self) -> &[usize] {
        match self {
            Samples::Images(tensor) => &tensor.shape,
            Samples::Inputs(tensor) => &tensor.shape,
        }
    }

    fn channels_last(&self) -> Tensor {
        match self {
            Samples::Images(tensor) => channels_last(tensor),
            Samples::Inputs(tensor) => channels_last(tensor),
        }
    }
}

/// [N, C, H, W] of a file, mapped, as [N, H, W, C] in memory.
fn channels_last<T: Element>(tensor: &kit::Tensor<T>) -> Tensor {
    let shape: Vec<i64> = tensor.shape.iter().map(|&length| length as i64).collect();
    let [count, channels, height, width] = shape[..] else {
        unreachable!("Split::read checks that there are four axes");
    };
    let pixels = Tensor::empty([count, height, width, channels], (T::KIND, Device::Cpu));
    let chunk = CHUNK * (channels * height * width) as usize;
    for (index, values) in tensor.values.chunks(chunk).enumerate() {
        let part = Tensor::from_slice(values).view([-1, channels, height, width]).permute([0, 2, 3, 1]);
        pixels.narrow(0, (index * CHUNK) as i64, part.size()[0]).copy_(&part);
    }
    pixels
}

/// How pixels become what networks take: a pixel x of 0..=255 becomes x scale + shift. Each is f32 [H, W, C], the same for
/// all places: so one loop goes over an image, where one over three colours would begin again at each place.
#[derive(Debug)]
struct Normalisation {
    scale: Tensor,
    shift: Tensor,
}

impl Normalisation {
    /// (x / 255 - mean) / std, for samples [H, W, C].
    fn new(Colours { mean, std }: &Colours, sample: &[i64]) -> Result<Normalisation, DataError> {
        let channels = sample[2];
        if [mean.len(), std.len()].iter().any(|&count| count as i64 != channels) {
            return Err(DataError::Content(format!("mean {mean:?}, std {std:?} for {channels} channels")));
        }
        let scale: Vec<f32> = std.iter().map(|std| 1.0 / (255.0 * std)).collect();
        let shift: Vec<f32> = mean.iter().zip(std).map(|(mean, std)| -mean / std).collect();
        let each_place = |numbers: &[f32]| Tensor::from_slice(numbers).expand(sample, false).contiguous();
        Ok(Normalisation { scale: each_place(&scale), shift: each_place(&shift) })
    }

    fn to(&self, device: Device) -> Normalisation {
        Normalisation { scale: self.scale.to_device(device), shift: self.shift.to_device(device) }
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
    /// Of images.
    normalisation: Option<Normalisation>,
}

impl Dataset {
    /// Reads and checks a `data` artifact, into main memory, once: images (`train_images`, ..) or inputs (`train_inputs`).
    ///
    /// # Errors
    /// When a tensor is absent, or shapes, labels and metadata do not fit together.
    pub fn read(file: &Tensors) -> Result<Dataset, DataError> {
        let Metadata { classes } = file.metadata()?;
        let are_images = !file.names().iter().any(|name| name == "train_inputs");
        let read = |split| Split::read(file, split, classes.len(), are_images);
        let (train, test) = (read("train")?, read("test")?);
        let (sample, other) = (&train.pixels.size()[1..], &test.pixels.size()[1..]);
        if sample != other {
            return Err(DataError::Content(format!("train samples are {sample:?}, test samples {other:?}")));
        }
        let normalisation =
            if are_images { Some(Normalisation::new(&file.metadata()?, sample)?) } else { None };
        Ok(Dataset { train, test, classes: classes.len() as i64, normalisation })
    }

    /// The data set on a device; on the same device nothing is copied.
    pub fn to(&self, device: Device) -> Dataset {
        Dataset {
            train: self.train.to(device),
            test: self.test.to(device),
            classes: self.classes,
            normalisation: self.normalisation.as_ref().map(|normalisation| normalisation.to(device)),
        }
    }

    /// Whether samples are images: u8 pixels, which a crop or a mirror leaves an image of the same thing.
    pub fn has_images(&self) -> bool {
        self.normalisation.is_some()
    }

    /// Channels, height and width of a sample.
    pub fn shape(&self) -> [i64; 3] {
        let [_, height, width, channels] = self.train.pixels.size()[..] else {
            unreachable!("Split::read checks that samples have three axes");
        };
        [channels, height, width]
    }

    /// What a network takes, f32 [N, C, H, W] with the channels last in memory, of pixels [N, H, W, C]: images are
    /// normalised, other inputs taken as they are.
    pub fn normalise(&self, pixels: &Tensor) -> Tensor {
        let inputs = match &self.normalisation {
            Some(Normalisation { scale, shift }) => pixels.to_kind(Kind::Float).g_mul_(scale).g_add_(shift),
            None => pixels.shallow_clone(),
        };
        inputs.permute([0, 3, 1, 2])
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

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
    fn samples_keep_their_pixels_when_they_are_read_in_chunks() {
        let count = CHUNK + 3;
        let pixels: Vec<u8> = (0..count * 6).map(|place| (place * 7 % 251) as u8).collect();
        let tensor = kit::Tensor { shape: vec![count, 3, 1, 2], values: &pixels[..] };
        let expected = Tensor::from_slice(&pixels).view([count as i64, 3, 1, 2]).permute([0, 2, 3, 1]);
        assert_eq!(channels_last(&tensor), expected);
    }

    /// Two train samples and one test sample of three numbers.
    fn write_inputs(path: &Path) {
        TensorsWriter::new()
            .f32s("train_inputs", &[2, 1, 1, 3], &[0.5, -1.5, 2.0, 1e-9, 3.0, 4.0])
            .f32s("test_inputs", &[1, 1, 1, 3], &[7.0, 8.0, 9.0])
            .i64s("train_labels", &[2], &[0, 1])
            .i64s("test_labels", &[1], &[1])
            .write(path, &json!({"classes": ["a", "b"]}))
            .unwrap();
    }

    #[test]
    fn inputs_that_are_no_images_are_taken_as_they_are() {
        let path = scratch("inputs");
        write_inputs(&path);
        let data = Dataset::read(&Tensors::open(&path).unwrap()).unwrap();
        std::fs::remove_file(path).unwrap();
        assert!(!data.has_images() && read("images", &[0, 1, 1]).unwrap().has_images());
        assert_eq!((data.shape(), data.train.count(), data.test.count()), ([1, 1, 3], 2, 1));
        let inputs = data.normalise(&data.train.pixels);
        assert_eq!((inputs.size(), inputs.kind()), (vec![2, 1, 1, 3], Kind::Float));
        let found: Vec<f32> = Vec::try_from(inputs.reshape([-1])).unwrap();
        assert_eq!(found, [0.5, -1.5, 2.0, 1e-9, 3.0, 4.0]);
    }

    #[test]
    fn a_label_beyond_the_classes_is_told_with_its_sample() {
        let message = read("label", &[0, 2, 1]).unwrap_err().to_string();
        assert_eq!(message, "data: train: sample 1 has label 2, of 2 classes");
    }
}
