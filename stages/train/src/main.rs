//! Stage: trains one network and keeps its checkpoints.

mod batches;
mod optimizer;
mod schedule;
mod training;

use anyhow::{Context, Result};
use kit::{Job, Memo, Tensors};
use networks::{Dataset, Precision};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::training::Run;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    /// Kept as given for the metadata.
    network: Value,
    precision: Precision,
}

fn main() {
    let mut held = Memo::new();
    kit::serve(|job| train(job, &mut held));
}

fn train(job: &Job, held: &mut Memo<Dataset>) -> Result<()> {
    let Params { network, precision } = job.params()?;
    let run = Run::deserialize(&network).context("params.network")?;
    let device = device::prepare(&job.device, job.threads)?;
    let data = held.get(job.input("data")?, |artifact| -> Result<_> {
        Ok(Dataset::read(&Tensors::open(&artifact.path)?)?)
    })?;
    let progress = |done, of, note: &str| job.progress(done, of, note);
    let trained = run.train(&data.to(device), precision, device, progress)?;
    let metadata = json!({"network": network, "parameters": trained.parameters});
    trained.checkpoints.write(job.output("checkpoints")?, &metadata)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    //! Data for the tests of this crate.

    use kit::{Tensors, TensorsWriter};
    use networks::Dataset;
    use serde_json::json;

    fn scratch(name: &str) -> std::path::PathBuf {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("").replace(':', "-");
        std::env::temp_dir().join(format!("train-{}-{test}-{name}", std::process::id()))
    }

    /// What a reader of the written file sees. The mapping outlives the file's name.
    pub fn read_back(writer: &TensorsWriter) -> Tensors {
        let path = scratch("written");
        writer.write(&path, &json!({})).unwrap();
        let file = Tensors::open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }

    /// Grey images of 8x8 in two classes that differ everywhere but in the first pixel, which is the sample's number.
    pub fn striped(count: usize) -> Dataset {
        device::prepare("cpu", 1).unwrap();
        let image = |sample: usize| {
            (0..64).map(move |place| if place == 0 { sample } else { place * (1 + sample % 2) })
        };
        let images: Vec<u8> = (0..count).flat_map(image).map(|pixel| pixel as u8).collect();
        let labels: Vec<i64> = (0..count as i64).map(|sample| sample % 2).collect();
        let path = scratch("data");
        TensorsWriter::new()
            .u8s("train_images", &[count, 1, 8, 8], &images)
            .u8s("test_images", &[count, 1, 8, 8], &images)
            .i64s("train_labels", &[count], &labels)
            .i64s("test_labels", &[count], &labels)
            .write(&path, &json!({"classes": ["even", "odd"], "mean": [0.0], "std": [1.0]}))
            .unwrap();
        let data = Dataset::read(&Tensors::open(&path).unwrap()).unwrap();
        std::fs::remove_file(path).unwrap();
        data
    }
}
