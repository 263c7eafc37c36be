//! What can be wrong with models and labels.

/// Why a result cannot be computed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GeometryError {
    /// Two models do not have the same samples and classes.
    #[error(
        "{side} model {index} has {} samples x {} classes, others have {} x {}; all must be predictions of the same data",
        found.0, found.1, expected.0, expected.1
    )]
    Shape {
        /// "row" or "column".
        side: &'static str,
        /// Its place, from 0.
        index: usize,
        /// Its samples and classes.
        found: (usize, usize),
        /// Those of the first model.
        expected: (usize, usize),
    },
    /// The models have no samples, or no classes: a mean over them means nothing.
    #[error("the models have {samples} samples x {classes} classes; there must be at least one of each")]
    Empty {
        /// N.
        samples: usize,
        /// C.
        classes: usize,
    },
    /// A value is negative, infinite or not a number.
    #[error("{side} model {index}, sample {sample}: {value} is not a probability")]
    Probability {
        /// "row" or "column".
        side: &'static str,
        /// The model's place, from 0.
        index: usize,
        /// The sample, from 0.
        sample: usize,
        /// The value.
        value: f32,
    },
    /// A label is not a class.
    #[error("sample {sample} has the label {label}, but classes go from 0 to {}", classes - 1)]
    Label {
        /// The sample, from 0.
        sample: usize,
        /// Its label.
        label: i64,
        /// C.
        classes: usize,
    },
    /// With a single class ignorance and truth are one point.
    #[error("the data have {0} classes; a geodesic from ignorance to truth needs at least two")]
    Classes(usize),
}
