//! The architectures of the sweep.
