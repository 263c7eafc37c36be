//! A data set in memory, and the file of tensors made from it.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use serde_json::json;

/// Rows, and columns, of an image.
pub const SIDE: usize = 32;

/// Bytes of an image: three planes, red, green, blue, each row by row.
pub const IMAGE: usize = 3 * SIDE * SIDE;

/// The classes of CIFAR-10, by label.
pub const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Mean and standard deviation of each colour in CIFAR-10's train images, values in 0..1, as the paper rounds them.
const MEAN: [f64; 3] = [0.4914, 0.4822, 0.4465];
const STD: [f64; 3] = [0.2471, 0.2435, 0.2616];

/// Images with the classes of CIFAR-10.
#[derive(Debug)]
pub struct Dataset {
    /// The name that the file carries.
    pub name: &'static str,
    /// What networks are trained on.
    pub train: Split,
    /// What they have not seen.
    pub test: Split,
}

/// N images and their labels.
#[derive(Debug, Default)]
pub struct Split {
    images: Vec<u8>,
    /// Each less than the number of classes.
    labels: Vec<u8>,
}

impl Split {
    /// Images and labels that belong together.
    ///
    /// # Errors
    /// When their numbers differ, or a label is no class.
    pub fn new(images: Vec<u8>, labels: Vec<u8>) -> Result<Split> {
        ensure!(
            images.len() == labels.len() * IMAGE,
            "{} labels for {} bytes of images, {IMAGE} each",
            labels.len(),
            images.len()
        );
        if let Some(at) = labels.iter().position(|&label| usize::from(label) >= CLASSES.len()) {
            bail!("label {at} is {}; there are {} classes", labels[at], CLASSES.len());
        }
        Ok(Split { images, labels })
    }

    /// N times [`IMAGE`] bytes.
    pub fn images(&self) -> &[u8] {
        &self.images
    }

    /// N labels.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The first `count` / 10 images of each class, in the order they have here.
    ///
    /// # Errors
    /// When `count` is not a multiple of the number of classes, or a class has too few images.
    pub fn balanced(&self, count: usize) -> Result<Split> {
        let classes = CLASSES.len();
        ensure!(
            count > 0 && count.is_multiple_of(classes),
            "{count} images cannot be as many of each class: give a multiple of {classes}"
        );
        let wanted = count / classes;
        let mut kept = Split::default();
        let mut taken = [0; CLASSES.len()];
        for (image, &label) in self.images.chunks_exact(IMAGE).zip(&self.labels) {
            let taken = &mut taken[usize::from(label)];
            if *taken < wanted {
                *taken += 1;
                kept.images.extend_from_slice(image);
                kept.labels.push(label);
            }
        }
        if let Some(class) = taken.iter().position(|&taken| taken < wanted) {
            bail!("{count} images are {wanted} of each class; class {} has {}", CLASSES[class], taken[class]);
        }
        Ok(kept)
    }

    fn add_to(&self, tensors: &mut kit::TensorsWriter, name: &str) {
        let labels: Vec<i64> = self.labels().iter().map(|&label| label.into()).collect();
        tensors.u8s(&format!("{name}_images"), &[labels.len(), 3, SIDE, SIDE], self.images()).i64s(
            &format!("{name}_labels"),
            &[labels.len()],
            &labels,
        );
    }
}

impl Dataset {
    /// Writes the tensors `train_images`, `test_images` (u8 `[N, 3, 32, 32]`), `train_labels`, `test_labels` (i64 `[N]`).
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut tensors = kit::TensorsWriter::new();
        self.train.add_to(&mut tensors, "train");
        self.test.add_to(&mut tensors, "test");
        let metadata = json!({"name": self.name, "classes": CLASSES, "mean": MEAN, "std": STD});
        Ok(tensors.write(path, &metadata)?)
    }
}

/// Appends an image given pixel by pixel (red, green, blue, red, ..) as three planes.
pub fn push_planes(pixels: &[u8], planes: &mut Vec<u8>) {
    for colour in 0..3 {
        planes.extend(pixels.iter().skip(colour).step_by(3));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images whose every byte is their number, with these labels.
    fn numbered(labels: &[u8]) -> Split {
        let images = (0..labels.len()).flat_map(|number| [number as u8; IMAGE]).collect();
        Split::new(images, labels.to_vec()).unwrap()
    }

    #[test]
    fn a_subset_takes_the_first_of_each_class_in_file_order() {
        let split = numbered(&[3, 3, 9, 0, 1, 2, 0, 4, 5, 6, 7, 8, 9]);
        let kept = split.balanced(10).unwrap();
        assert_eq!(kept.labels, [3, 9, 0, 1, 2, 4, 5, 6, 7, 8]);
        let numbers: Vec<u8> = kept.images.chunks_exact(IMAGE).map(|image| image[IMAGE - 1]).collect();
        assert_eq!(numbers, [0, 2, 3, 4, 5, 7, 8, 9, 10, 11]);
    }

    #[test]
    fn a_subset_that_is_not_balanced_is_refused() {
        let split = numbered(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        for count in [0, 5, 11] {
            let message = split.balanced(count).unwrap_err().to_string();
            assert!(message.ends_with("give a multiple of 10"), "{message}");
        }
    }

    #[test]
    fn images_and_labels_must_belong_together() {
        assert!(
            Split::new(vec![0; IMAGE], vec![1, 2]).unwrap_err().to_string().starts_with("2 labels for 3072")
        );
        let message = Split::new(vec![0; IMAGE], vec![10]).unwrap_err().to_string();
        assert_eq!(message, "label 0 is 10; there are 10 classes");
    }

    #[test]
    fn pixels_become_planes() {
        let mut planes = vec![7];
        push_planes(&[1, 2, 3, 4, 5, 6], &mut planes);
        assert_eq!(planes, [7, 1, 4, 2, 5, 3, 6]);
    }
}
