//! A data set of one's own images: a folder, or a tar archive, of class folders with JPEG and PNG files.
//!
//! A job's key has to follow what the job reads, and this lies outside the project: so the parameter states a hash of it,
//! and the same images have the same key wherever they lie.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use kit::{Layout, TensorFile};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::Subset;
use crate::decode::Size;
use crate::folder::{Class, Folder};
use crate::sources::Places;

/// What the `data` parameter says of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Images {
    /// What the data set is called.
    name: String,
    /// The folder or archive, as a path in `RIBBON_DATA` or the cache.
    source: String,
    /// SHA-256 of the list of all files used, train before test, by class and name, as the program `sha256sum` prints it.
    sha256: Option<String>,
    /// The folder of the train images' classes, as a path in the source.
    train: String,
    test: Test,
    size: Size,
    /// Of each colour, values in 0..1.
    mean: [f64; 3],
    std: [f64; 3],
    subset: Option<Subset>,
}

/// Where test images come from.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a folder of the source, or {last: COUNT}")]
enum Test {
    /// A folder as that of the train images.
    Folder(String),
    /// So many of each class of the train folder, the last by name.
    Last { last: usize },
}

/// The files of a split, by class.
type Classes = BTreeMap<String, Class>;

impl Images {
    /// Writes the tensors `train_images`, `test_images` (u8 [N, 3, crop, crop]), `train_labels`, `test_labels` (i64
    /// `[N]`). A class's label is its place among the sorted names. `progress` hears how many files are done, and of all.
    ///
    /// # Errors
    /// When the images are not those that the hash tells of, or cannot be read; names the file and what is wrong with it.
    pub fn write(&self, places: &Places, output: &Path, progress: impl Fn(u64, u64)) -> Result<()> {
        self.size.check().context("data.size")?;
        let folder = Folder::open(&places.locate(&self.source).context("data.source")?)?;
        let (train, test) = self.splits(&folder)?;
        match &self.sha256 {
            Some(_) => self.fill(&folder, [("train", &train), ("test", &test)], output, progress),
            None => self.ask(&folder, train.values().chain(test.values()).flatten()),
        }
    }

    /// Writes the images one by one: all of them may be more than memory holds.
    fn fill(
        &self,
        folder: &Folder,
        splits: [(&str, &Classes); 2],
        output: &Path,
        progress: impl Fn(u64, u64),
    ) -> Result<()> {
        let side = self.size.crop as usize;
        let mut layout = Layout::new();
        let mut total = 0;
        for (name, classes) in splits {
            let count = classes.values().map(Vec::len).sum();
            layout.u8s(&format!("{name}_images"), &[count, 3, side, side]);
            layout.i64s(&format!("{name}_labels"), &[count]);
            total += count as u64;
        }
        let names: Vec<&String> = splits[0].1.keys().collect();
        let metadata = json!({"name": self.name, "classes": names, "mean": self.mean, "std": self.std});
        let file = TensorFile::create(output, &layout, &metadata)?;
        let (mut list, mut done) = (List::default(), 0);
        for (name, classes) in splits {
            let labelled = classes.values().enumerate();
            let files = labelled.flat_map(|(label, class)| class.iter().map(move |path| (label, path)));
            for (place, (label, path)) in files.enumerate() {
                let bytes = folder.read(path)?;
                list.add(path, &bytes);
                let image = self.size.decode(&bytes).with_context(|| folder.place(path))?;
                file.u8s(&format!("{name}_images"), place * image.len(), &image)?;
                file.i64s(&format!("{name}_labels"), place, &[label as i64])?;
                done += 1;
                progress(done, total);
            }
        }
        let (found, expected) = (list.hash(), self.sha256.as_deref().unwrap_or_default());
        ensure!(
            found == expected,
            "{} holds other images than data.sha256 tells of: {found}, expected {expected}; if they are the right ones, \
             say so in the profile",
            folder.place("")
        );
        Ok(())
    }

    /// The error that tells the hash.
    fn ask<'a>(&self, folder: &Folder, files: impl Iterator<Item = &'a String>) -> Result<()> {
        let mut list = List::default();
        for path in files {
            list.add(path, &folder.read(path)?);
        }
        bail!(
            "data.sha256 is not given, and keys have to follow the images: for those of {}, say `sha256: {}` in the \
             profile's `data`",
            folder.place(""),
            list.hash()
        )
    }

    /// Train and test files, with the same classes.
    fn splits(&self, folder: &Folder) -> Result<(Classes, Classes)> {
        let mut train = folder.classes(&self.train).context("data.train")?;
        let mut test = match &self.test {
            Test::Folder(start) => folder.classes(start).context("data.test")?,
            Test::Last { last } => split_off(&mut train, *last).context("data.test.last")?,
        };
        if let Some(class) = train.keys().find(|class| !test.contains_key(*class)) {
            bail!("data: class {class} has train images and no test images");
        }
        if let Some(class) = test.keys().find(|class| !train.contains_key(*class)) {
            bail!("data: class {class} has test images and no train images");
        }
        if let Some(subset) = self.subset {
            keep(&mut train, subset.train).context("data.subset.train")?;
            keep(&mut test, subset.test).context("data.subset.test")?;
        }
        Ok((train, test))
    }
}

/// Takes the last `count` files of each class away.
fn split_off(classes: &mut Classes, count: usize) -> Result<Classes> {
    let mut taken = Classes::new();
    for (name, class) in classes {
        let files = class.len();
        ensure!(0 < count && count < files, "{count} of the {files} images of class {name}");
        taken.insert(name.clone(), class.split_off(files - count));
    }
    Ok(taken)
}

/// Keeps `count` files, as many of each class, the first by name.
fn keep(classes: &mut Classes, count: usize) -> Result<()> {
    let number = classes.len();
    ensure!(
        count > 0 && count.is_multiple_of(number),
        "{count} images cannot be as many of each class: give a multiple of {number}"
    );
    let wanted = count / number;
    for (name, class) in classes {
        let files = class.len();
        ensure!(wanted <= files, "{count} images are {wanted} of each class; class {name} has {files}");
        class.truncate(wanted);
    }
    Ok(())
}

/// The list of files and their hashes, as `sha256sum` prints it.
#[derive(Debug, Default)]
struct List(Sha256);

impl List {
    fn add(&mut self, path: &str, bytes: &[u8]) {
        self.0.update(format!("{}  {path}\n", hex(&Sha256::digest(bytes))));
    }

    fn hash(self) -> String {
        hex(&self.0.finalize())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tempfile::TempDir;

    use super::*;
    use crate::decode::tests::{halves, jpeg_of, png};
    use crate::folder;

    /// A folder `data` with `images` and `images.tar`: classes a and b with three train images and one test image each.
    fn scratch() -> TempDir {
        let scratch = tempfile::tempdir().unwrap();
        let image = |level: u8| halves(8, 8, [level, 0, 0], [0, 0, level]);
        let files: Vec<(String, Vec<u8>)> = (0..8u8)
            .map(|index| {
                let split = if index < 6 { "train" } else { "val" };
                let class = if index % 2 == 0 { "b" } else { "a" };
                (format!("{split}/{class}/{index}.png"), png(&image(10 * index)))
            })
            .collect();
        let files: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (&**path, &**bytes)).collect();
        let data = scratch.path().join("data");
        folder::tests::write(&data.join("images"), &files);
        folder::tests::archive(&data.join("images"), &data.join("images.tar"));
        scratch
    }

    /// The data set of these parameters, beside usual ones.
    fn run(scratch: &TempDir, changes: Value) -> Result<kit::Tensors> {
        let mut images = json!({"name": "own", "source": "images", "train": "train", "test": "val",
            "size": {"resize": 8, "crop": 8}, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]});
        images.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let images: Images = serde_json::from_value(images)?;
        let places =
            Places::from_env(|name| (name == "RIBBON_DATA").then(|| scratch.path().join("data").into()));
        let output = scratch.path().join("data.safetensors");
        images.write(&places, &output, |done, of| assert!(done <= of))?;
        Ok(kit::Tensors::open(&output)?)
    }

    /// The hash that a message asks for.
    fn hash(message: &str) -> String {
        let rest = message.split_once("say `sha256: ").expect("the message says what to do").1;
        rest[..64].to_owned()
    }

    fn failure(scratch: &TempDir, changes: Value) -> String {
        format!("{:#}", run(scratch, changes).unwrap_err())
    }

    #[test]
    fn a_folder_becomes_tensors_with_labels_by_name_and_so_does_an_archive_of_it() {
        let scratch = scratch();
        let sha256 = hash(&failure(&scratch, json!({})));
        for source in ["images", "images.tar"] {
            let tensors = run(&scratch, json!({"sha256": sha256, "source": source})).unwrap();
            let train = tensors.u8s("train_images").unwrap();
            assert_eq!(train.shape, [6, 3, 8, 8]);
            // Of each image the first pixel's red: class a is 1, 3, 5, class b 0, 2, 4.
            let firsts: Vec<u8> = train.values.chunks(3 * 64).map(|image| image[0]).collect();
            assert_eq!(firsts, [10, 30, 50, 0, 20, 40]);
            assert_eq!(tensors.i64s("train_labels").unwrap().values, [0, 0, 0, 1, 1, 1]);
            assert_eq!(tensors.u8s("test_images").unwrap().shape, [2, 3, 8, 8]);
            assert_eq!(tensors.i64s("test_labels").unwrap().values, [0, 1]);
            let metadata: Value = tensors.metadata().unwrap();
            assert_eq!(metadata["classes"], json!(["a", "b"]));
            assert_eq!(metadata["mean"], json!([0.485, 0.456, 0.406]));
        }
    }

    #[test]
    fn the_hash_is_that_of_the_list_which_sha256sum_prints() {
        let scratch = scratch();
        let command = "sha256sum train/a/* train/b/* val/a/* val/b/* | sha256sum";
        let images = scratch.path().join("data/images");
        let output =
            std::process::Command::new("sh").args(["-c", command]).current_dir(images).output().unwrap();
        assert_eq!(hash(&failure(&scratch, json!({}))), String::from_utf8(output.stdout).unwrap()[..64]);
    }

    #[test]
    fn other_images_than_the_hash_tells_of_are_refused() {
        let scratch = scratch();
        let sha256 = hash(&failure(&scratch, json!({})));
        std::fs::write(scratch.path().join("data/images/val/a/7.png"), png(&halves(8, 8, [1; 3], [2; 3])))
            .unwrap();
        let message = failure(&scratch, json!({"sha256": sha256}));
        assert!(message.contains("holds other images than data.sha256 tells of: "), "{message}");
        // Those that are not used are of no consequence.
        let subset = json!({"train": 2, "test": 2});
        let used = hash(&failure(&scratch, json!({"subset": subset})));
        std::fs::remove_file(scratch.path().join("data/images/train/a/5.png")).unwrap();
        assert_eq!(hash(&failure(&scratch, json!({"subset": subset}))), used);
    }

    #[test]
    fn a_subset_takes_the_first_of_each_class_and_a_share_of_one_folder_the_last() {
        let scratch = scratch();
        let mut changes = json!({"test": {"last": 1}, "subset": {"train": 2, "test": 2}});
        changes["sha256"] = hash(&failure(&scratch, changes.clone())).into();
        let tensors = run(&scratch, changes).unwrap();
        let firsts = |name: &str| -> Vec<u8> {
            tensors.u8s(name).unwrap().values.chunks(3 * 64).map(|image| image[0]).collect()
        };
        assert_eq!((firsts("train_images"), firsts("test_images")), (vec![10, 0], vec![50, 40]));
    }

    #[test]
    fn what_does_not_fit_is_told_by_parameter_file_and_class() {
        let scratch = scratch();
        let images = scratch.path().join("data/images");
        let message = failure(&scratch, json!({"source": "nowhere"}));
        assert!(message.starts_with("data.source: \"nowhere\" is nowhere to be found"), "{message}");
        let message = failure(&scratch, json!({"subset": {"train": 8, "test": 2}}));
        assert_eq!(message, "data.subset.train: 8 images are 4 of each class; class a has 3");
        let message = failure(&scratch, json!({"test": {"last": 3}}));
        assert_eq!(message, "data.test.last: 3 of the 3 images of class a");
        let jpeg = jpeg_of(&halves(64, 64, [10, 200, 30], [90, 20, 150]));
        std::fs::write(images.join("train/b/0.png"), &jpeg[..jpeg.len() / 2]).unwrap();
        let message = failure(&scratch, json!({"sha256": "0"}));
        assert!(message.contains("/images/train/b/0.png: JPEG: "), "{message}");
        std::fs::remove_dir_all(images.join("val/b")).unwrap();
        let message = failure(&scratch, json!({}));
        assert_eq!(message, "data: class b has train images and no test images");
    }
}
