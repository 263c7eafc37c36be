//! Stage: trains one network and keeps its checkpoints.

mod batches;
mod checkpoints;
mod fit;
mod optimizer;
mod schedule;
mod start;
mod state;
mod training;

use std::time::Duration;

use anyhow::{Context, Result};
use kit::{Job, Memo, Tensors};
use networks::{Dataset, Precision};
use serde::Deserialize;
use serde_json::Value;

use crate::state::States;
use crate::training::{Configuration, Task, Told};

/// What an interruption may cost, and the time between two checkpoints.
const BETWEEN_STATES: Duration = Duration::from_secs(60);

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
    let configuration = Configuration::deserialize(&network).context("params.network")?;
    let device = device::prepare(&job.device, job.threads)?;
    let data = held.get(job.input("data")?, |artifact| -> Result<_> {
        Ok(Dataset::read(&Tensors::open(&artifact.path)?)?)
    })?;
    let data = data.to(device);
    let task = Task { data: &data, device, precision, network: &network, output: job.output("checkpoints")? };
    let states = job.resume().map(|folder| States::new(folder, BETWEEN_STATES));
    configuration.train(&task, states, |told| match told {
        Told::Step(done, of, note) => job.progress(done, of, note),
        Told::Line(line) => job.log(&line),
    })
}

#[cfg(test)]
mod tests {
    //! Data for the tests of this crate.

    use kit::{Tensors, TensorsWriter};
    use networks::{Dataset, Stream, generator};
    use rand::RngCore;
    use serde_json::json;

    /// Grey images of 8x8 in two classes that differ everywhere but in the first pixel, which is the sample's number.
    pub fn striped(count: usize) -> Dataset {
        let image = |sample: usize| {
            (0..64).map(move |place| if place == 0 { sample } else { place * (1 + sample % 2) })
        };
        images(&(0..count).flat_map(image).map(|pixel| pixel as u8).collect::<Vec<u8>>(), 2)
    }

    /// Grey images of 8x8 in so many classes that have nothing to do with them.
    pub fn noise(count: usize, classes: usize) -> Dataset {
        let mut pixels = vec![0; 64 * count];
        generator(1, Stream::Start).fill_bytes(&mut pixels);
        images(&pixels, classes)
    }

    /// Of as many samples of each class, by turns.
    fn images(images: &[u8], classes: usize) -> Dataset {
        device::prepare("cpu", 1).unwrap();
        let count = images.len() / 64;
        let labels: Vec<i64> = (0..count).map(|sample| (sample % classes) as i64).collect();
        let names: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        TensorsWriter::new()
            .u8s("train_images", &[count, 1, 8, 8], images)
            .u8s("test_images", &[count, 1, 8, 8], images)
            .i64s("train_labels", &[count], &labels)
            .i64s("test_labels", &[count], &labels)
            .write(file.path(), &json!({"classes": names, "mean": [0.0], "std": [1.0]}))
            .unwrap();
        Dataset::read(&Tensors::open(file.path()).unwrap()).unwrap()
    }

    /// Samples of three numbers, in two classes by the sign of the first one.
    pub fn inputs(count: usize) -> Dataset {
        device::prepare("cpu", 1).unwrap();
        let sign = |sample: usize| if sample.is_multiple_of(2) { -1.0 } else { 1.0 };
        let values: Vec<f32> =
            (0..count).flat_map(|sample| [sign(sample), sample as f32 / count as f32, 0.5]).collect();
        let labels: Vec<i64> = (0..count as i64).map(|sample| sample % 2).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        TensorsWriter::new()
            .f32s("train_inputs", &[count, 1, 1, 3], &values)
            .f32s("test_inputs", &[count, 1, 1, 3], &values)
            .i64s("train_labels", &[count], &labels)
            .i64s("test_labels", &[count], &labels)
            .write(file.path(), &json!({"classes": ["minus", "plus"]}))
            .unwrap();
        Dataset::read(&Tensors::open(file.path()).unwrap()).unwrap()
    }
}
