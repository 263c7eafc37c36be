//! The data set as the other stages see it: the labels of each split, and the classes.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use kit::TensorsWriter;
use serde::Deserialize;
use serde_json::json;

use crate::arrays::Arrays;
use crate::name_of;

/// The classes: their names, or how many there are.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Classes {
    /// So many, named by their numbers.
    Count(usize),
    /// Their names, by label.
    Names(Vec<String>),
}

impl Classes {
    fn names(self) -> Vec<String> {
        match self {
            Classes::Count(count) => (0..count).map(|class| class.to_string()).collect(),
            Classes::Names(names) => names,
        }
    }
}

/// Writes the `data` artifact: `{split}_labels` of each split, whose labels are in these files.
///
/// # Errors
/// When a file has no such labels, or a label is no class; names the file, the sample and its label.
pub fn import(splits: &[(String, &Path)], classes: Classes, to: &Path) -> Result<()> {
    let classes = classes.names();
    ensure!(classes.len() >= 2, "classes: {}; at least two are needed", classes.len());
    ensure!(
        splits.iter().any(|(split, _)| split == "train"),
        "splits: one must be `train`: whether a network is trained is told by its error there"
    );
    let mut data = TensorsWriter::new();
    for (split, path) in splits {
        let labels = labels(path, split, classes.len())
            .with_context(|| format!("{}: `{split}`", name_of(path, split)))?;
        data.i64s(&format!("{split}_labels"), &[labels.len()], &labels);
    }
    Ok(data.write(to, &json!({"name": "own", "classes": classes}))?)
}

/// What an array is called that was given no name: in a file that can hold no other, and by `numpy.savez`.
const NAMELESS: [&str; 2] = ["", "arr_0"];

/// The labels of a split: the array of its name, or the only one there is where it has no name. One of another name may be
/// another split's.
fn labels(path: &Path, split: &str, classes: usize) -> Result<Vec<i64>> {
    let arrays = Arrays::open(path)?;
    let name = match arrays.names() {
        [only] if NAMELESS.contains(&only.as_str()) => only,
        _ => split,
    };
    let labels = arrays.read(name, |array| {
        let [samples] = array.shape[..] else {
            bail!("labels have the shape {:?}, expected [N]: one whole number a sample", array.shape)
        };
        ensure!(samples > 0, "there are no labels");
        array.into_i64s()
    })?;
    let Some(labels) = labels else {
        bail!("there is no array of this name, but {}", arrays.names().join(", "));
    };
    if let Some(sample) = labels.iter().position(|label| !(0..classes as i64).contains(label)) {
        bail!("sample {sample} has the label {}, but classes go from 0 to {}", labels[sample], classes - 1);
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use kit::Tensors;
    use serde_json::Value;

    use super::*;

    /// What becomes of labels in CSV, of both splits.
    fn imported(train: &str, test: &str, classes: Classes) -> Result<(Vec<i64>, Vec<i64>, Value)> {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("train.csv"), train).unwrap();
        fs::write(at("test.csv"), test).unwrap();
        let (train, test) = (at("train.csv"), at("test.csv"));
        import(&[("train".into(), &train), ("test".into(), &test)], classes, &at("data"))?;
        let data = Tensors::open(&at("data")).unwrap();
        let labels = |name: &str| data.i64s(name).unwrap().values.to_vec();
        Ok((labels("train_labels"), labels("test_labels"), data.metadata().unwrap()))
    }

    #[test]
    fn labels_become_the_data_that_other_stages_take() {
        let names = || ["cat", "dog"].map(str::to_owned).to_vec();
        let (train, test, metadata) = imported("0\n1\n1\n", "1\n", Classes::Names(names())).unwrap();
        assert_eq!((train, test), (vec![0, 1, 1], vec![1]));
        assert_eq!(metadata["classes"], json!(names()));
        let (_, _, metadata) = imported("0\n", "2\n", Classes::Count(3)).unwrap();
        assert_eq!(metadata["classes"], json!(["0", "1", "2"]));
    }

    #[test]
    fn one_file_may_hold_all_splits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.safetensors");
        TensorsWriter::new().i64s("train", &[2], &[0, 1]).i64s("test", &[1], &[1]).write(&path, &()).unwrap();
        assert_eq!(labels(&path, "train", 2).unwrap(), [0, 1]);
        assert_eq!(labels(&path, "test", 2).unwrap(), [1]);
        let message = labels(&path, "val", 2).unwrap_err().to_string();
        assert_eq!(message, "there is no array of this name, but test, train");
    }

    #[test]
    fn labels_of_one_split_are_not_taken_for_those_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.safetensors");
        TensorsWriter::new().i64s("train", &[2], &[0, 1]).write(&path, &()).unwrap();
        let message = labels(&path, "test", 2).unwrap_err().to_string();
        assert_eq!(message, "there is no array of this name, but train");
        TensorsWriter::new().i64s("arr_0", &[2], &[0, 1]).write(&path, &()).unwrap();
        assert_eq!(labels(&path, "test", 2).unwrap(), [0, 1], "numpy names it so");
    }

    #[test]
    fn labels_that_are_no_classes_are_told_with_file_and_sample() {
        let said =
            |train: &str, test: &str| format!("{:#}", imported(train, test, Classes::Count(3)).unwrap_err());
        assert_eq!(
            said("0\n", "0\n3\n"),
            "test.csv: `test`: sample 1 has the label 3, but classes go from 0 to 2"
        );
        assert_eq!(
            said("-1\n", "0\n"),
            "train.csv: `train`: sample 0 has the label -1, but classes go from 0 to 2"
        );
        assert_eq!(said("label\n", "0\n"), "train.csv: `train`: there are no labels");
        let message = format!("{:#}", imported("0\n", "0\n", Classes::Count(1)).unwrap_err());
        assert_eq!(message, "classes: 1; at least two are needed");
    }

    #[test]
    fn there_is_a_train_split() {
        let message = import(&[], Classes::Count(2), Path::new("data")).unwrap_err().to_string();
        assert!(message.starts_with("splits: one must be `train`"), "{message}");
    }
}
