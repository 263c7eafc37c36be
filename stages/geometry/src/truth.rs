//! The truth: a class for every sample.

use std::ops::Range;

use crate::error::GeometryError;

/// Labels that are known to be classes; at least two classes.
#[derive(Debug, Clone)]
pub struct Truth {
    labels: Vec<usize>,
    classes: usize,
}

impl Truth {
    /// Checks labels against the number of classes.
    ///
    /// # Errors
    /// When a label is not in `0..classes`, or there are fewer than two classes.
    pub fn new(labels: &[i64], classes: usize) -> Result<Truth, GeometryError> {
        if classes < 2 {
            return Err(GeometryError::Classes(classes));
        }
        let check = |(sample, &label): (usize, &i64)| match usize::try_from(label) {
            Ok(class) if class < classes => Ok(class),
            _ => Err(GeometryError::Label { sample, label, classes }),
        };
        let labels = labels.iter().enumerate().map(check).collect::<Result<_, _>>()?;
        Ok(Truth { labels, classes })
    }

    /// The class of each sample.
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// The truth of some of the samples alone.
    ///
    /// # Panics
    /// When there are not so many samples.
    pub fn part(&self, samples: Range<usize>) -> Truth {
        Truth { labels: self.labels[samples].to_vec(), classes: self.classes }
    }

    /// The number of samples, N.
    pub fn samples(&self) -> usize {
        self.labels.len()
    }

    /// The number of classes, C.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The angle between ignorance and truth, the same for every sample: cos a = sqrt(1/C). In (0, pi/2).
    pub(crate) fn angle(&self) -> f64 {
        (1.0 / self.classes as f64).sqrt().acos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_outside_the_classes_are_told_with_their_place() {
        for label in [-1, 3] {
            let error = Truth::new(&[0, label], 3).unwrap_err();
            assert_eq!(error, GeometryError::Label { sample: 1, label, classes: 3 });
        }
        let message = Truth::new(&[0, 3], 3).unwrap_err().to_string();
        assert_eq!(message, "sample 1 has the label 3, but classes go from 0 to 2");
    }

    #[test]
    fn one_class_is_too_few() {
        assert_eq!(Truth::new(&[0], 1).unwrap_err(), GeometryError::Classes(1));
        assert!(Truth::new(&[0], 2).is_ok());
    }
}
