//! The predictions of a run: what each checkpoint says about each sample.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use kit::{Layout, TensorFile, Tensors};
use networks::{Dataset, Model, Network, Split, Stream, generator};
use serde::Deserialize;
use serde_json::Value;
use tch::Device;

use crate::softmax::{Score, softmax};

/// What of a `network` matters here.
#[derive(Debug, Deserialize)]
struct Configuration {
    model: Model,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    network: Configuration,
}

/// One split, and how the checkpoints so far did.
struct Part<'a> {
    name: &'static str,
    split: &'a Split,
    labels: Vec<i64>,
    scores: Vec<Score>,
}

impl<'a> Part<'a> {
    fn new(name: &'static str, split: &'a Split) -> Result<Part<'a>> {
        let labels = Vec::try_from(&split.labels).with_context(|| format!("{name} labels"))?;
        Ok(Part { name, split, labels, scores: Vec::new() })
    }
}

/// Predicts both splits at every checkpoint of a `checkpoints` file, and writes the `predictions` artifact.
///
/// # Errors
/// When checkpoints and data do not fit together, or probabilities do not sum to 1; names checkpoint, split and sample.
/// When the file cannot be written.
pub fn predict(
    file: &Tensors,
    data: &Dataset,
    device: Device,
    output: &Path,
    mut progress: impl FnMut(u64, u64, &str),
) -> Result<()> {
    let Metadata { network: Configuration { model } } = file.metadata()?;
    // All initial values are replaced: the seed is of no consequence.
    let mut random = generator(0, Stream::Weights);
    let network = Network::new(&model, data.shape(), data.classes, &mut random, device)?;
    let (steps, epochs) = (file.i64s("step")?.values, file.f64s("epoch")?.values);
    let mut parts = [Part::new("train", &data.train)?, Part::new("test", &data.test)?];
    ensure!(epochs.len() == steps.len(), "{} epochs for {} checkpoints", epochs.len(), steps.len());
    let (count, classes) = (steps.len(), data.classes as usize);
    let mut layout = Layout::new();
    layout.i64s("step", &[count]).f64s("epoch", &[count]);
    for Part { name, split, .. } in &parts {
        layout
            .f32s(name, &[count, split.count(), classes])
            .f64s(&format!("{name}_loss"), &[count])
            .f64s(&format!("{name}_error"), &[count]);
    }
    let predictions = TensorFile::create(output, &layout, &file.metadata::<Value>()?)?;
    predictions.i64s("step", 0, steps)?;
    predictions.f64s("epoch", 0, epochs)?;
    let mut probabilities = Vec::new();
    for (checkpoint, step) in steps.iter().enumerate() {
        network
            .weights
            .import(|name| {
                let tensor = file.f32s(&format!("{checkpoint:04}/{name}"))?;
                Ok::<_, anyhow::Error>((tensor.shape, tensor.values))
            })
            .with_context(|| format!("checkpoint {checkpoint}"))?;
        for Part { name, split, labels, scores } in &mut parts {
            probabilities.clear();
            let logits =
                Vec::try_from(network.logits(data, split).view([-1])).context("reading the logits")?;
            let score = softmax(&logits, labels, &mut probabilities)
                .with_context(|| format!("checkpoint {checkpoint} (step {step}), {name}"))?;
            predictions.f32s(name, checkpoint * probabilities.len(), &probabilities)?;
            scores.push(score);
        }
        let note = format!("train error {:.3}", parts[0].scores[checkpoint].error);
        progress(checkpoint as u64 + 1, steps.len() as u64, &note);
    }
    for Part { name, scores, .. } in &parts {
        let losses: Vec<f64> = scores.iter().map(|score| score.loss).collect();
        let errors: Vec<f64> = scores.iter().map(|score| score.error).collect();
        predictions.f64s(&format!("{name}_loss"), 0, &losses)?;
        predictions.f64s(&format!("{name}_error"), 0, &errors)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use kit::TensorsWriter;
    use networks::{Mode, Precision};
    use serde_json::json;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("").replace(':', "-");
        std::env::temp_dir().join(format!("predict-{}-{test}-{name}", std::process::id()))
    }

    /// The written file as a reader sees it. The mapping outlives the file's name.
    fn written(writer: &TensorsWriter, metadata: serde_json::Value) -> Tensors {
        let path = scratch("file");
        writer.write(&path, &metadata).unwrap();
        let file = Tensors::open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }

    /// 103 train and 2 test samples of 1x2x2 pixels, of three classes.
    fn data() -> Dataset {
        device::prepare("cpu", 1).unwrap();
        let mut writer = TensorsWriter::new();
        for (split, count) in [("train", 103), ("test", 2)] {
            let pixels: Vec<u8> = (0..count * 4).map(|place| (place * 37 % 251) as u8).collect();
            let labels: Vec<i64> = (0..count as i64).map(|sample| sample % 3).collect();
            writer.u8s(&format!("{split}_images"), &[count, 1, 2, 2], &pixels);
            writer.i64s(&format!("{split}_labels"), &[count], &labels);
        }
        let metadata = json!({"classes": ["a", "b", "c"], "mean": [0.5], "std": [0.25]});
        Dataset::read(&written(&writer, metadata)).unwrap()
    }

    fn network(seed: u64) -> Network {
        let model = Model::Fc { widths: vec![5] };
        Network::new(&model, [1, 2, 2], 3, &mut generator(seed, Stream::Weights), Device::Cpu).unwrap()
    }

    /// Two checkpoints; the bias of the last layer of the second one is given.
    fn checkpoints(bias: [f32; 3]) -> Tensors {
        let mut writer = TensorsWriter::new();
        writer.i64s("step", &[2], &[0, 7]).f64s("epoch", &[2], &[0.0, 0.7]);
        for checkpoint in 0..2 {
            for (name, shape, values) in network(checkpoint).weights.export() {
                let changed = checkpoint == 1 && name == "layers.5.bias";
                let values = if changed { &bias } else { &values[..] };
                writer.f32s(&format!("{checkpoint:04}/{name}"), &shape, values);
            }
        }
        let network = json!({"arch": "fc", "model": {"kind": "fc", "widths": [5]}, "seed": 42});
        written(&writer, json!({"network": network, "parameters": 43}))
    }

    fn run(checkpoints: &Tensors) -> Result<Tensors> {
        let path = scratch("predictions");
        let predicted = predict(checkpoints, &data(), Device::Cpu, &path, |_, _, _| ());
        let predictions = predicted.and_then(|()| Ok(Tensors::open(&path)?));
        let _ = std::fs::remove_file(path);
        predictions
    }

    #[test]
    fn predictions_are_the_softmax_of_each_checkpoint_in_evaluation_mode() {
        let predictions = run(&checkpoints([0.0; 3])).unwrap();
        let train = predictions.f32s("train").unwrap();
        assert_eq!(train.shape, [2, 103, 3]);
        assert_eq!(predictions.f32s("test").unwrap().shape, [2, 2, 3]);
        assert_eq!(predictions.i64s("step").unwrap().values, [0, 7]);
        assert_eq!(predictions.f64s("epoch").unwrap().values, [0.0, 0.7]);
        let data = data();
        let images = data.normalise(&data.train.pixels);
        let expected = network(0).forward(&images, Mode::Evaluate, Precision::F32).softmax(-1, None);
        let expected: Vec<f32> = Vec::try_from(expected.view([-1])).unwrap();
        assert!(expected.iter().zip(train.values).all(|(e, found)| (e - found).abs() < 1e-6));
        assert_ne!(train.values[..309], train.values[309..], "the second checkpoint is another network");
    }

    #[test]
    fn a_bias_towards_a_class_is_an_error_on_all_others() {
        let predictions = run(&checkpoints([0.0, 100.0, 0.0])).unwrap();
        assert_eq!(predictions.f64s("train_error").unwrap().values[1], 69.0 / 103.0);
        assert_eq!(predictions.f64s("test_error").unwrap().values[1], 0.5);
        assert!(predictions.f64s("train_loss").unwrap().values[1] > 50.0);
    }

    #[test]
    fn a_second_job_of_a_worker_gives_the_same_bits() {
        let (one, two) =
            (run(&checkpoints([0.5, 0.0, 0.0])).unwrap(), run(&checkpoints([0.5, 0.0, 0.0])).unwrap());
        for name in ["train", "test"] {
            assert_eq!(one.f32s(name).unwrap().values, two.f32s(name).unwrap().values);
        }
    }

    #[test]
    fn a_weight_that_is_not_a_number_is_told_with_checkpoint_split_and_sample() {
        let message = format!("{:#}", run(&checkpoints([0.0, f32::NAN, 0.0])).unwrap_err());
        assert!(
            message.starts_with("checkpoint 1 (step 7), train: sample 0: probabilities sum to NaN"),
            "{message}"
        );
    }

    #[test]
    fn a_missing_tensor_is_told_with_its_checkpoint() {
        let mut writer = TensorsWriter::new();
        writer.i64s("step", &[1], &[0]).f64s("epoch", &[1], &[0.0]);
        let file = written(&writer, json!({"network": {"model": {"kind": "fc", "widths": [5]}}}));
        let message = format!("{:#}", run(&file).unwrap_err());
        assert!(
            message.starts_with("checkpoint 0: ") && message.contains("0000/layers.1.weight"),
            "{message}"
        );
    }
}
