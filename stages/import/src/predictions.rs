//! The predictions of one network: checked against the data, in the form in which the stage `predict` writes them.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use kit::{Layout, TensorFile, Tensors};
use serde_json::{Map, Value, json};

use crate::arrays::Arrays;
use crate::rows::{self, Kind};

/// The columns of a network's row that are not its settings.
const FILE: &str = "file";
const PARAMETERS: &str = "parameters";
/// Columns that tables of results have beside those of the settings, whose names a setting cannot have: of checkpoints, runs,
/// configurations and embeddings.
const TAKEN: [&str; 19] = [
    "run",
    "checkpoint",
    "step",
    "epoch",
    "loss",
    "error",
    "progress",
    "geodesic_distance",
    "trained",
    "placed",
    "checkpoints",
    "runs",
    "leaf",
    "distance",
    "nearest",
    "centroid",
    "spread",
    "own_progress",
    "end",
];
/// What such names begin with, before the name of something else or a number.
const TAKEN_PREFIXES: [&str; 3] = ["train_", "test_", "to_"];

/// Reads the file of a network, whose row of the table is `row`, a checkpoint at a time, and writes it as other stages take
/// it. `data`: the labels of all splits.
///
/// # Errors
/// When file and data do not fit together, or rows are no distributions; names the split, the checkpoint, the sample
/// and its values.
pub fn import(
    path: &Path,
    kind: Kind,
    row: Map<String, Value>,
    data: &Tensors,
    to: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<()> {
    let metadata = metadata(row)?;
    let arrays = Arrays::open(path)?;
    let classes = data.metadata::<Value>()?["classes"].as_array().map_or(0, Vec::len);
    let splits = splits(&arrays, data, classes)?;
    let checkpoints = splits.first().context("the data have no labels")?.checkpoints;
    let epoch = moments(&arrays, "epoch", checkpoints)?;
    let step = moments(&arrays, "step", checkpoints)?;
    let step: Vec<i64> = step.into_iter().map(|step| step as i64).collect();

    let mut layout = Layout::new();
    for Split { name, labels, .. } in &splits {
        layout
            .f32s(name, &[checkpoints, labels.len(), classes])
            .f64s(&format!("{name}_loss"), &[checkpoints])
            .f64s(&format!("{name}_error"), &[checkpoints]);
    }
    layout.i64s("step", &[checkpoints]).f64s("epoch", &[checkpoints]);
    let file = TensorFile::create(to, &layout, &metadata)?;
    file.i64s("step", 0, &step)?;
    file.f64s("epoch", 0, &epoch)?;
    let all = (splits.len() * checkpoints) as u64;
    for (place, Split { name, labels, .. }) in splits.iter().enumerate() {
        arrays.read(name, |mut array| {
            let size = labels.len() * classes;
            for checkpoint in 0..checkpoints {
                let mut rows = array.f32s(size).with_context(|| format!("`{name}`"))?;
                let score = rows::probabilities(kind, &mut rows, labels)
                    .with_context(|| format!("`{name}`, checkpoint {checkpoint}"))?;
                file.f32s(name, checkpoint * size, &rows)?;
                file.f64s(&format!("{name}_loss"), checkpoint, &[score.loss])?;
                file.f64s(&format!("{name}_error"), checkpoint, &[score.error])?;
                progress((place * checkpoints + checkpoint + 1) as u64, all);
            }
            array.end().with_context(|| format!("`{name}`"))
        })?;
    }
    Ok(())
}

/// What the table says of a network: its settings, and how many weights it has.
fn metadata(mut row: Map<String, Value>) -> Result<Value> {
    row.remove(FILE);
    let parameters = row.remove(PARAMETERS).context(
        "the table has no column `parameters`: how many weights the network has, \
         in PyTorch sum(p.numel() for p in model.parameters())",
    )?;
    ensure!(
        parameters.as_i64().is_some_and(|count| count > 0),
        "the column `parameters` has {parameters}; the number of the network's weights is wanted"
    );
    if let Some(name) = row.keys().find(|name| is_taken(name)) {
        bail!(
            "the table has a column `{name}`, which is the name of a result in the tables that are made of it; \
             call it otherwise, as in `my_{name}`"
        );
    }
    Ok(json!({"network": row, "parameters": parameters}))
}

fn is_taken(name: &str) -> bool {
    let is_coordinate = name.strip_prefix("pc").is_some_and(|number| number.parse::<usize>().is_ok());
    TAKEN.contains(&name) || TAKEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || is_coordinate
}

/// A split of the data, and how many checkpoints there are predictions of.
struct Split<'a> {
    name: String,
    labels: &'a [i64],
    checkpoints: usize,
}

/// The splits of the data, each with an array that has its shape.
fn splits<'a>(arrays: &Arrays, data: &'a Tensors, classes: usize) -> Result<Vec<Split<'a>>> {
    let names = data.names();
    let names: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix("_labels")).collect();
    let mut splits: Vec<Split> = Vec::new();
    for name in &names {
        let labels = data.i64s(&format!("{name}_labels"))?.values;
        let shape = arrays.read(name, |array| Ok(array.shape))?.with_context(|| {
            format!("there is no array `{name}`; predictions are arrays named {}", names.join(" and "))
        })?;
        let [checkpoints, samples, found] = shape[..] else {
            bail!("`{name}` has the shape {shape:?}, expected [checkpoints, samples, classes]")
        };
        ensure!(
            samples == labels.len(),
            "`{name}` has predictions of {samples} samples (shape {shape:?}), but there are {} labels",
            labels.len()
        );
        ensure!(found == classes, "`{name}` has {found} classes (shape {shape:?}), the data have {classes}");
        ensure!(checkpoints > 0, "`{name}` has no checkpoint (shape {shape:?})");
        let (first, before) = splits.first().map_or((*name, checkpoints), |it| (&it.name, it.checkpoints));
        ensure!(before == checkpoints, "`{name}` has {checkpoints} checkpoints, `{first}` has {before}");
        splits.push(Split { name: (*name).to_owned(), labels, checkpoints });
    }
    Ok(splits)
}

/// When each checkpoint was taken, in steps or epochs; where the file does not say, checkpoints are counted.
fn moments(arrays: &Arrays, name: &str, count: usize) -> Result<Vec<f64>> {
    let values = arrays.read(name, |array| {
        ensure!(
            array.shape == [count],
            "`{name}` has the shape {:?}, expected [{count}]: a value a checkpoint",
            array.shape
        );
        array.into_f64s().with_context(|| format!("`{name}`"))
    })?;
    let Some(values) = values else {
        return Ok((0..count).map(|checkpoint| checkpoint as f64).collect());
    };
    for (checkpoint, &value) in values.iter().enumerate() {
        let is_whole = name != "step" || value.fract() == 0.0;
        ensure!(
            value.is_finite() && value >= 0.0 && is_whole,
            "`{name}` of checkpoint {checkpoint} is {value}"
        );
        if checkpoint > 0 && value < values[checkpoint - 1] {
            let before = values[checkpoint - 1];
            bail!(
                "`{name}` goes back from {before} to {value} at checkpoint {checkpoint}; order them by time"
            );
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;
    use std::path::PathBuf;

    use kit::TensorsWriter;
    use npyz::{AutoSerialize, Order};

    use super::*;
    use crate::arrays::tests::npy_bytes;

    /// Three train samples and one test sample of two classes.
    fn data(folder: &Path) -> Tensors {
        let path = folder.join("data.safetensors");
        TensorsWriter::new()
            .i64s("train_labels", &[3], &[0, 1, 1])
            .i64s("test_labels", &[1], &[0])
            .write(&path, &json!({"name": "own", "classes": ["a", "b"]}))
            .unwrap();
        Tensors::open(&path).unwrap()
    }

    /// A `.npz` file in the making.
    struct Npz(PathBuf, zip::ZipWriter<File>);

    impl Npz {
        fn new(folder: &Path) -> Npz {
            let path = folder.join("fc-42.npz");
            let writer = zip::ZipWriter::new(File::create(&path).unwrap());
            Npz(path, writer)
        }

        fn array<T: AutoSerialize>(mut self, name: &str, shape: &[u64], values: Vec<T>) -> Npz {
            self.1.start_file(format!("{name}.npy"), Default::default()).unwrap();
            self.1.write_all(&npy_bytes(shape, Order::C, values)).unwrap();
            self
        }

        fn path(mut self) -> PathBuf {
            self.1.finish().unwrap();
            self.0
        }
    }

    /// Right train predictions: chance, then certainty.
    fn train() -> Vec<f64> {
        vec![0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0]
    }

    fn row() -> Map<String, Value> {
        let row = json!({"file": "fc-42.npz", "arch": "fc", "seed": 42, "parameters": 10});
        row.as_object().unwrap().clone()
    }

    fn written(folder: &Path, made: Npz, kind: Kind) -> Result<Tensors> {
        let path = folder.join("predictions.safetensors");
        import(&made.path(), kind, row(), &data(folder), &path, |_, _| ())?;
        Ok(Tensors::open(&path).unwrap())
    }

    /// What is said of a file.
    fn refused(make: impl FnOnce(Npz) -> Npz) -> String {
        let folder = tempfile::tempdir().unwrap();
        let made = make(Npz::new(folder.path()));
        format!("{:#}", written(folder.path(), made, Kind::Probabilities).unwrap_err())
    }

    #[test]
    fn a_file_becomes_what_predict_would_have_written() {
        let folder = tempfile::tempdir().unwrap();
        let made = Npz::new(folder.path())
            .array("train", &[2, 3, 2], train())
            .array("test", &[2, 1, 2], vec![0.5f32, 0.5, 0.25, 0.75])
            .array("step", &[2], vec![0i32, 10])
            .array("epoch", &[2], vec![0.0f32, 0.5]);
        let file = written(folder.path(), made, Kind::Probabilities).unwrap();
        let all = ["epoch", "step", "test", "test_error", "test_loss", "train", "train_error", "train_loss"];
        assert_eq!(file.names(), all);
        let train_values = file.f32s("train").unwrap();
        assert_eq!(train_values.shape, [2, 3, 2]);
        assert!(train_values.values.iter().zip(train()).all(|(&found, given)| f64::from(found) == given));
        assert_eq!(file.f64s("train_error").unwrap().values, [2.0 / 3.0, 0.0]);
        let loss = file.f64s("train_loss").unwrap().values;
        assert!((loss[0] - 2f64.ln()).abs() < 1e-12 && loss[1] == 0.0, "{loss:?}");
        assert_eq!(file.f64s("test_error").unwrap().values, [0.0, 1.0]);
        assert_eq!(file.i64s("step").unwrap().values, [0, 10]);
        assert_eq!(file.f64s("epoch").unwrap().values, [0.0, 0.5]);
        let metadata: Value = file.metadata().unwrap();
        assert_eq!(metadata, json!({"network": {"arch": "fc", "seed": 42}, "parameters": 10}));
    }

    #[test]
    fn safetensors_with_logits_give_the_same_probabilities() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fc-42.safetensors");
        TensorsWriter::new()
            .f32s("train", &[1, 3, 2], &[0.0; 6])
            .f32s("test", &[1, 1, 2], &[0.0, 3f32.ln()])
            .write(&path, &())
            .unwrap();
        let data = data(folder.path());
        let to = folder.path().join("out");
        import(&path, Kind::Logits, row(), &data, &to, |_, _| ()).unwrap();
        let file = Tensors::open(&to).unwrap();
        assert_eq!(file.f32s("train").unwrap().values, [0.5; 6]);
        let test = file.f32s("test").unwrap().values;
        assert!((test[0] - 0.25).abs() < 1e-7 && (test[1] - 0.75).abs() < 1e-7, "{test:?}");
        // Checkpoints are counted where the file does not say when they were.
        assert_eq!(file.f64s("epoch").unwrap().values, [0.0]);
    }

    #[test]
    fn bad_values_are_told_with_split_checkpoint_and_sample() {
        let mut values = train();
        values[8] = 0.5;
        let message =
            refused(|npz| npz.array("train", &[2, 3, 2], values).array("test", &[2, 1, 2], vec![0.5f32; 4]));
        assert_eq!(
            message,
            "`train`, checkpoint 1: sample 1: the probabilities [0.5, 1] sum to 1.500000, not to 1"
        );
        let message = refused(|npz| {
            npz.array("test", &[2, 1, 2], vec![f32::NAN, 0.5, 0.5, 0.5]).array("train", &[2, 3, 2], train())
        });
        assert_eq!(message, "`test`, checkpoint 0: sample 0: class 0 has the probability NaN");
    }

    #[test]
    fn shapes_that_do_not_fit_the_labels_are_told() {
        let test = |npz: Npz| npz.array("test", &[2, 1, 2], vec![0.5f32; 4]);
        assert_eq!(
            refused(|npz| test(npz).array("train", &[6, 2], train())),
            "`train` has the shape [6, 2], expected [checkpoints, samples, classes]"
        );
        assert_eq!(
            refused(|npz| test(npz).array("train", &[3, 2, 2], train())),
            "`train` has predictions of 2 samples (shape [3, 2, 2]), but there are 3 labels"
        );
        assert_eq!(
            refused(|npz| test(npz).array("train", &[1, 3, 4], train())),
            "`train` has 4 classes (shape [1, 3, 4]), the data have 2"
        );
        assert_eq!(
            refused(|npz| npz.array("test", &[1, 1, 2], vec![0.5f32; 2]).array("train", &[2, 3, 2], train())),
            "`train` has 2 checkpoints, `test` has 1"
        );
        assert_eq!(refused(test), "there is no array `train`; predictions are arrays named test and train");
        assert_eq!(
            refused(|npz| test(npz).array("train", &[2, 3, 2], vec![1i64; 12])),
            "`train`: has whole numbers; floating point numbers are wanted"
        );
    }

    #[test]
    fn moments_that_go_back_or_are_too_few_are_told() {
        let right =
            |npz: Npz| npz.array("train", &[2, 3, 2], train()).array("test", &[2, 1, 2], vec![0.5f32; 4]);
        assert_eq!(
            refused(|npz| right(npz).array("epoch", &[2], vec![3.0, 2.5])),
            "`epoch` goes back from 3 to 2.5 at checkpoint 1; order them by time"
        );
        assert_eq!(
            refused(|npz| right(npz).array("step", &[3], vec![0i64, 1, 2])),
            "`step` has the shape [3], expected [2]: a value a checkpoint"
        );
        assert_eq!(
            refused(|npz| right(npz).array("step", &[2], vec![0.0, 1.5])),
            "`step` of checkpoint 1 is 1.5"
        );
    }

    #[test]
    fn a_row_without_the_number_of_weights_says_how_to_get_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut row = row();
        let said = |row: &Map<String, Value>| {
            let kind = Kind::Logits;
            import(
                Path::new("a.npz"),
                kind,
                row.clone(),
                &data(folder.path()),
                &folder.path().join("out"),
                |_, _| (),
            )
            .unwrap_err()
            .to_string()
        };
        row.insert(PARAMETERS.into(), json!("many"));
        assert!(said(&row).starts_with("the column `parameters` has \"many\""), "{}", said(&row));
        row.remove(PARAMETERS);
        assert!(said(&row).contains("sum(p.numel() for p in model.parameters())"), "{}", said(&row));
    }

    #[test]
    fn a_setting_cannot_have_the_name_of_a_result() {
        let said = |name: &str| {
            let mut row = row();
            row.insert(name.into(), json!("x"));
            metadata(row).map_err(|error| error.to_string())
        };
        for name in ["run", "epoch", "pc1", "train_error", "leaf"] {
            let message = said(name).unwrap_err();
            let advice = format!("call it otherwise, as in `my_{name}`");
            assert!(message.contains(&format!("column `{name}`")) && message.ends_with(&advice), "{message}");
        }
        for name in ["epochs", "pc", "pct", "trainer", "from"] {
            assert_eq!(said(name).unwrap()["network"][name], "x");
        }
    }

    #[test]
    fn a_file_that_is_cut_short_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = Npz::new(folder.path()).array("train", &[2, 3, 2], train()).path();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let to = folder.path().join("out");
        let error = import(&path, Kind::Logits, row(), &data(folder.path()), &to, |_, _| ()).unwrap_err();
        assert!(format!("{error:#}").starts_with("not a .npz file"), "{error:#}");
    }
}
