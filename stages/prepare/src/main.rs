//! Stage: a data set as tensors.

mod cifar;
mod dataset;
mod mini;
mod package;
mod sources;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::dataset::Dataset;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    data: Data,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    kind: Kind,
    subset: Option<Subset>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    /// 1,000 + 200 images of CIFAR-10, part of the repository.
    Cifar10Mini,
    /// All 50,000 + 10,000.
    Cifar10,
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
    let data = job.params::<Params>()?.data;
    let mut dataset = match data.kind {
        Kind::Cifar10Mini => mini::read(&job.input("cifar10-mini")?.path)?,
        Kind::Cifar10 => {
            let env = |name: &str| std::env::var_os(name);
            sources::Places::from_env(env).find(|text| job.log(text))?.into_dataset()
        }
    };
    if let Some(Subset { train, test }) = data.subset {
        dataset = Dataset {
            train: dataset.train.balanced(train).context("data.subset.train")?,
            test: dataset.test.balanced(test).context("data.subset.test")?,
            ..dataset
        };
    }
    dataset.write(job.output("data")?)
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
        assert!(message.contains("`cifar10-mini` or `cifar10`"), "{message}");
    }
}
