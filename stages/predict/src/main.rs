//! Stage: predictions of every checkpoint.

mod prediction;
mod softmax;

use anyhow::Result;
use kit::{Job, Memo, Tensors};
use networks::Dataset;

fn main() {
    let mut held = Memo::new();
    kit::serve(|job| predict(job, &mut held));
}

fn predict(job: &Job, held: &mut Memo<Dataset>) -> Result<()> {
    let device = device::prepare(&job.device, job.threads)?;
    let data = held.get(job.input("data")?, |artifact| -> Result<_> {
        Ok(Dataset::read(&Tensors::open(&artifact.path)?)?)
    })?;
    let checkpoints = Tensors::open(&job.input("checkpoints")?.path)?;
    let progress = |done, of, note: &str| job.progress(done, of, note);
    prediction::predict(&checkpoints, &data.to(device), device, job.output("predictions")?, progress)
}
