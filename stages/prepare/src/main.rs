//! Stage: a data set as tensors.

mod cifar;
mod dataset;
mod decode;
mod eigenvalues;
mod folder;
mod images;
mod mini;
mod package;
mod sloppy;
mod sources;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::dataset::Dataset;
use crate::images::Images;
use crate::sloppy::Sloppy;
use crate::sources::Places;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    data: Data,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum Data {
    /// 1,000 + 200 images of CIFAR-10, part of the repository.
    Cifar10Mini {
        subset: Option<Subset>,
    },
    /// All 50,000 + 10,000.
    Cifar10 {
        subset: Option<Subset>,
    },
    ImageFolder(Images),
    Sloppy(Sloppy),
}

/// How many images to keep, as many of each class.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subset {
    train: usize,
    test: usize,
}

fn main() {
    kit::serve(prepare);
}

fn prepare(job: &kit::Job) -> Result<()> {
    let output = job.output("data")?;
    let places = Places::from_env(|name| std::env::var_os(name));
    match job.params::<Params>()?.data {
        Data::Cifar10Mini { subset } => {
            balanced(mini::read(&job.input("cifar10-mini")?.path)?, subset)?.write(output)
        }
        Data::Cifar10 { subset } => {
            balanced(places.find(|text| job.log(text))?.into_dataset(), subset)?.write(output)
        }
        Data::ImageFolder(images) => images.write(&places, output, |done, of| job.progress(done, of, "")),
        Data::Sloppy(sloppy) => sloppy.write(output),
    }
}

fn balanced(dataset: Dataset, subset: Option<Subset>) -> Result<Dataset> {
    let Some(Subset { train, test }) = subset else { return Ok(dataset) };
    Ok(Dataset {
        train: dataset.train.balanced(train).context("data.subset.train")?,
        test: dataset.test.balanced(test).context("data.subset.test")?,
        ..dataset
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(scratch: &std::path::Path, data: serde_json::Value) -> Result<kit::Tensors> {
        let images = concat!(env!("CARGO_MANIFEST_DIR"), "/data/cifar10-mini");
        let output = scratch.join("data.safetensors");
        let job = json!({"stage": "prepare", "key": "0", "params": {"data": data},
            "inputs": {"cifar10-mini": {"path": images, "hash": "0"}},
            "outputs": {"data": &output}, "device": "cpu", "threads": 1});
        prepare(&serde_json::from_value(job)?)?;
        Ok(kit::Tensors::open(&output)?)
    }

    #[test]
    fn the_mini_set_becomes_tensors_with_names_and_normalisation() {
        let scratch = tempfile::tempdir().unwrap();
        let tensors = run(scratch.path(), json!({"kind": "cifar10-mini"})).unwrap();
        assert_eq!(tensors.names(), ["test_images", "test_labels", "train_images", "train_labels"]);
        assert_eq!(tensors.u8s("train_images").unwrap().shape, [1000, 3, 32, 32]);
        assert_eq!(tensors.u8s("test_images").unwrap().shape, [200, 3, 32, 32]);
        assert_eq!(tensors.i64s("test_labels").unwrap().shape, [200]);
        let metadata: serde_json::Value = tensors.metadata().unwrap();
        assert_eq!(metadata["name"], "cifar10-mini");
        assert_eq!(metadata["classes"][9], "truck");
        assert_eq!(metadata["mean"], json!([0.4914, 0.4822, 0.4465]));
        assert_eq!(metadata["std"], json!([0.2471, 0.2435, 0.2616]));
    }

    #[test]
    fn a_subset_shrinks_train_and_test() {
        let scratch = tempfile::tempdir().unwrap();
        let data = json!({"kind": "cifar10-mini", "subset": {"train": 50, "test": 20}});
        let tensors = run(scratch.path(), data).unwrap();
        assert_eq!(tensors.u8s("train_images").unwrap().shape, [50, 3, 32, 32]);
        assert_eq!(tensors.u8s("test_images").unwrap().shape, [20, 3, 32, 32]);
    }

    #[test]
    fn an_impossible_subset_is_refused_by_its_parameter() {
        let scratch = tempfile::tempdir().unwrap();
        let data = json!({"kind": "cifar10-mini", "subset": {"train": 100, "test": 500}});
        let message = format!("{:#}", run(scratch.path(), data).unwrap_err());
        assert_eq!(message, "data.subset.test: 500 images are 50 of each class; class airplane has 20");
    }

    #[test]
    fn an_unknown_kind_is_refused_with_the_known_ones() {
        let scratch = tempfile::tempdir().unwrap();
        let message = format!("{:#}", run(scratch.path(), json!({"kind": "cifar100"})).unwrap_err());
        let known = "one of `cifar10-mini`, `cifar10`, `image-folder`, `sloppy`";
        assert!(message.contains(known), "{message}");
    }
}
