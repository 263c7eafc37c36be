//! The stage side of the job protocol: read a job, report progress, end with done or an error; and safetensors files.
//!
//! ```no_run
//! use anyhow::Result;
//! #[derive(serde::Deserialize)]
//! struct Params { split: String }
//!
//! fn main() {
//!     kit::serve(|job| -> Result<()> {
//!         let params: Params = job.params()?;
//!         let data = kit::Tensors::open(&job.input("data")?.path)?;
//!         let labels = data.i64s(&format!("{}_labels", params.split))?;
//!         std::fs::write(job.output("count")?, labels.values.len().to_string())?;
//!         Ok(())
//!     })
//! }
//! ```

mod job;
mod memo;
mod memory;
mod run;
mod serve;
mod tensor_file;
mod tensors;

pub use job::{Artifact, Job, JobError};
pub use memo::Memo;
pub use memory::Memory;
pub use run::run_name;
pub use serve::serve;
pub use tensor_file::{Layout, TensorFile};
pub use tensors::{Tensor, Tensors, TensorsError, TensorsWriter};
