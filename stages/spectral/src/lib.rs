//! Eigenproblems of InPCA.
