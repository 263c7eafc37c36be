//! A tile of the matrix of distances, between all models of some runs and all models of others: what the programs that
//! compute it, on a processor or on a graphics card, have in common. A tile is computed a block of models at a time, so
//! that it takes no more than a given memory.

mod budget;
mod side;

use std::ops::Range;

use anyhow::{Context, Result};
use geometry::{Distances, GeometryError, Measure, Model};
use kit::{Artifact, Job, Layout, Memory, TensorFile};
use ndarray::{Array2, ArrayView2};
use serde::Deserialize;
use tiles::About;

use budget::Budget;
use side::Side;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    /// `train` or `test`: which predictions are compared.
    split: String,
    #[serde(default)]
    measure: Measure,
    /// What to stay within, whatever the number of models and samples.
    #[serde(default = "gigabyte")]
    memory: Memory,
}

fn gigabyte() -> Memory {
    Memory(1_000_000_000)
}

/// The models of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairs {
    /// Each of so many rows and each of so many columns.
    Between(usize, usize),
    /// So many models among themselves.
    Within(usize),
}

/// Distances of a block's pairs in the making: samples come some at a time.
pub trait Sums {
    /// Bytes that a pair takes, whatever the number of samples and classes.
    const PAIR: usize;

    /// Adds samples of all models, each [samples, C]; among themselves, all models are rows, and columns are not looked at.
    /// `like` is a model that has learnt, the same for all blocks.
    ///
    /// # Errors
    /// A [`GeometryError`] when the models do not belong together or hold a value that is no probability.
    fn add(&mut self, rows: &[Model], cols: &[Model], like: Model) -> Result<()>;

    /// The means over the samples, [rows, cols]; among themselves symmetric, with a diagonal of exactly 0.
    ///
    /// # Errors
    /// When the device fails.
    fn mean(&self) -> Result<Array2<f64>>;
}

impl Sums for Distances {
    /// The product so far, and the distance.
    const PAIR: usize = 16;

    fn add(&mut self, rows: &[Model], cols: &[Model], like: Model) -> Result<()> {
        Ok(Distances::add_like(self, rows, cols, like)?)
    }

    fn mean(&self) -> Result<Array2<f64>> {
        Ok(Distances::mean(self))
    }
}

/// Begins sums of the processor's own kernel, which take what [`Sums::PAIR`] says.
///
/// # Errors
/// None.
pub fn on_processor(measure: Measure, pairs: Pairs, _memory: Memory) -> Result<Distances> {
    Ok(match pairs {
        Pairs::Between(rows, cols) => Distances::between(measure, rows, cols),
        Pairs::Within(models) => Distances::within(measure, models),
    })
}

/// Does a job: `start` begins a block's sums, which are to stay within the memory.
///
/// # Errors
/// When the job's parameters or inputs are wrong, or its output cannot be written.
pub fn run<S: Sums>(job: &Job, start: impl Fn(Measure, Pairs, Memory) -> Result<S> + Sync) -> Result<()> {
    let Params { split, measure, memory } = job.params()?;
    let (rows, cols) = (job.inputs("rows")?, job.inputs("cols")?);
    let (row_files, col_files) =
        (runs::open(rows).context("input rows")?, runs::open(cols).context("input cols")?);
    let row_side = Side::new(&row_files, &split).context("input rows")?;
    let col_side = Side::new(&col_files, &split).context("input cols")?;
    let (samples, classes) = row_side.shape();
    let tile = Tile { is_symmetric: same(rows, cols), rows: &row_side, cols: &col_side };
    tile.check()?;

    let (height, width) = (row_side.len(), col_side.len());
    let about = About { rows: row_side.members(), cols: col_side.members(), samples, measure };
    let file =
        TensorFile::create(job.output("tile")?, Layout::new().f32s("distances", &[height, width]), &about)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(job.threads).build()?;
    let budget = Budget::new(memory, S::PAIR, [height, width], (samples, classes));
    let start = |pairs| start(measure, pairs, memory);
    let blocks: Vec<Block> = tile.blocks(budget.models).collect();
    for (done, block) in blocks.iter().enumerate() {
        job.progress(done as u64, blocks.len() as u64, "");
        let distances = pool.install(|| tile.distances(block, budget.samples, start))?;
        tile.write(block, &distances, &file)?;
    }
    Ok(())
}

/// Whether both sides are the same artifacts: then half of the tile is the other half.
fn same(rows: &[Artifact], cols: &[Artifact]) -> bool {
    rows.iter().map(|row| &row.hash).eq(cols.iter().map(|col| &col.hash))
}

/// What is computed: the distances between all models of one side and all of the other.
struct Tile<'a> {
    is_symmetric: bool,
    rows: &'a Side<'a>,
    cols: &'a Side<'a>,
}

/// Some rows and columns of a tile.
#[derive(Debug, PartialEq)]
struct Block {
    rows: Range<usize>,
    cols: Range<usize>,
}

impl Tile<'_> {
    /// Blocks of at most so many rows and columns; of a symmetric tile, those on the diagonal and above.
    fn blocks(&self, side: usize) -> impl Iterator<Item = Block> {
        let (height, width, is_symmetric) = (self.rows.len(), self.cols.len(), self.is_symmetric);
        (0..height).step_by(side).flat_map(move |row| {
            let first = if is_symmetric { row } else { 0 };
            (first..width)
                .step_by(side)
                .map(move |col| Block { rows: row..height.min(row + side), cols: col..width.min(col + side) })
        })
    }

    /// Computes a block, so many samples at a time.
    fn distances<S: Sums>(
        &self,
        block: &Block,
        step: usize,
        start: impl Fn(Pairs) -> Result<S>,
    ) -> Result<Array2<f64>> {
        let is_half = self.is_symmetric && block.rows == block.cols;
        let mut sums = start(match is_half {
            true => Pairs::Within(block.rows.len()),
            false => Pairs::Between(block.rows.len(), block.cols.len()),
        })?;
        let (samples, _) = self.rows.shape();
        let (mut row_values, mut col_values, mut last_values) = (Vec::new(), Vec::new(), Vec::new());
        let last = self.rows.len().saturating_sub(1)..self.rows.len();
        for start in (0..samples).step_by(step) {
            let range = start..samples.min(start + step);
            let rows = self.rows.read(block.rows.clone(), range.clone(), &mut row_values)?;
            // Those of a half are its rows.
            let cols = match is_half {
                true => Vec::new(),
                false => self.cols.read(block.cols.clone(), range.clone(), &mut col_values)?,
            };
            // The last checkpoint of a run, whichever the block.
            let like = self.rows.read(last.clone(), range, &mut last_values)?;
            sums.add(&rows, &cols, like[0]).map_err(|error| self.explain(error, block))?;
        }
        sums.mean()
    }

    /// Writes a block to where it belongs, and what is on the other side of the diagonal.
    fn write(&self, block: &Block, distances: &Array2<f64>, file: &TensorFile) -> Result<()> {
        let width = self.cols.len();
        let lines = |first: usize, start: usize, distances: ArrayView2<f64>| -> Result<()> {
            let mut values = Vec::new();
            for (row, line) in (first..).zip(distances.rows()) {
                values.clear();
                values.extend(line.iter().map(|distance| *distance as f32));
                file.f32s("distances", row * width + start, &values)?;
            }
            Ok(())
        };
        lines(block.rows.start, block.cols.start, distances.view())?;
        if self.is_symmetric && block.rows != block.cols {
            lines(block.cols.start, block.rows.start, distances.t())?;
        }
        Ok(())
    }

    /// Whether both sides have predictions of the same data.
    fn check(&self) -> Result<()> {
        let (expected, found) = (self.rows.shape(), self.cols.shape());
        if found == expected {
            return Ok(());
        }
        let error = GeometryError::Shape { side: "column", index: 0, found, expected };
        Err(self.explain(error.into(), &Block { rows: 0..0, cols: 0..0 }))
    }

    /// Says which run an error in a block is about.
    fn explain(&self, error: anyhow::Error, block: &Block) -> anyhow::Error {
        let Some(&GeometryError::Shape { side, index, .. } | &GeometryError::Probability { side, index, .. }) =
            error.downcast_ref()
        else {
            return error;
        };
        let place = match side {
            "row" => self.rows.describe(block.rows.start + index),
            _ => self.cols.describe(block.cols.start + index),
        };
        error.context(place)
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use kit::{Tensors, TensorsWriter};
    use serde_json::{Value, json};

    use super::*;

    fn run(job: &Job) -> Result<()> {
        super::run(job, on_processor)
    }

    /// A file of predictions [2, samples, 2] of the split `test`.
    fn predictions(folder: &Path, seed: u64, samples: usize, certain: f32) -> PathBuf {
        let path = folder.join(format!("predictions-{seed}-{samples}"));
        let values: Vec<f32> = (0..2 * samples)
            .flat_map(|i| if i % 2 == 0 { [0.5, 0.5] } else { [certain, 1.0 - certain] })
            .collect();
        TensorsWriter::new()
            .f32s("test", &[2, samples, 2], &values)
            .write(&path, &json!({"network": {"seed": seed, "arch": "fc"}}))
            .unwrap();
        path
    }

    fn job(folder: &Path, rows: &[&Path], cols: &[&Path], params: Value) -> Job {
        let list = |paths: &[&Path]| {
            paths.iter().map(|path| json!({"path": path, "hash": path})).collect::<Vec<_>>()
        };
        let text = json!({
            "stage": "distance", "key": "k", "params": params, "device": "cpu", "threads": 2,
            "inputs": {"rows": list(rows), "cols": list(cols)}, "outputs": {"tile": folder.join("tile")},
        });
        let path = folder.join("job.json");
        std::fs::write(&path, text.to_string()).unwrap();
        Job::read(&path).unwrap()
    }

    fn tile(folder: &Path) -> (Vec<usize>, Vec<f32>, Value) {
        let file = Tensors::open(&folder.join("tile")).unwrap();
        let distances = file.f32s("distances").unwrap();
        (distances.shape, distances.values.to_vec(), file.metadata().unwrap())
    }

    #[test]
    fn a_tile_holds_the_distances_of_all_models_and_says_whose() {
        let folder = tempfile::tempdir().unwrap();
        let one = predictions(folder.path(), 42, 3, 0.9);
        let other = predictions(folder.path(), 43, 3, 0.8);
        run(&job(folder.path(), &[&one, &other], &[&other], json!({"split": "test"}))).unwrap();
        let (shape, distances, metadata) = tile(folder.path());
        assert_eq!(shape, [4, 2]);
        let member = |seed| json!({"run": format!(r#"{{"arch":"fc","seed":{seed}}}"#), "checkpoints": 2});
        let expected = json!({
            "rows": [member(42), member(43)], "cols": [member(43)], "samples": 3, "measure": "bhattacharyya"
        });
        assert_eq!(metadata, expected);
        // Checkpoint 0 has one certain sample of three, checkpoint 1 two.
        let pair = -((0.9f64 * 0.8).sqrt() + (0.1f64 * 0.2).sqrt()).ln() / 3.0;
        assert!((f64::from(distances[0]) - pair).abs() < 1e-6, "{distances:?}");
        assert!((f64::from(distances[3]) - 2.0 * pair).abs() < 1e-6, "{distances:?}");
    }

    #[test]
    fn a_tile_of_a_group_with_itself_is_symmetric_with_a_diagonal_of_zeros() {
        let folder = tempfile::tempdir().unwrap();
        let one = predictions(folder.path(), 42, 5, 0.9);
        for measure in ["bhattacharyya", "kl", "euclidean"] {
            let params = json!({"split": "test", "measure": measure});
            run(&job(folder.path(), &[&one], &[&one], params)).unwrap();
            let (_, distances, metadata) = tile(folder.path());
            assert_eq!((distances[0], distances[3]), (0.0, 0.0));
            assert_eq!(distances[1], distances[2]);
            assert!(distances[1] > 0.0);
            assert_eq!(metadata["measure"], measure);
        }
    }

    #[test]
    fn little_memory_gives_the_same_bits() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        // More models than a block has rows, more samples than a step, neither a multiple of it.
        let write = |seed: u64, checkpoints: usize, [samples, classes]: [usize; 2]| {
            let wave =
                |i: usize| (0.5 + 0.4 * ((seed as usize + i * i) as f32 * 0.37).sin()) / classes as f32;
            let values: Vec<f32> = (0..checkpoints * samples * classes).map(wave).collect();
            let path = folder.join(format!("predictions-{seed}"));
            TensorsWriter::new()
                .f32s("test", &[checkpoints, samples, classes], &values)
                .write(&path, &json!({"network": {"seed": seed}}))
                .unwrap();
            path
        };
        for (measure, shape) in [
            ("bhattacharyya", [150, 2]),
            ("bhattacharyya", [37, 10]),
            ("bhattacharyya", [3, 1_000]),
            ("kl", [150, 2]),
            ("euclidean", [37, 10]),
        ] {
            let (one, other) = (write(1, 150, shape), write(2, 7, shape));
            for (rows, cols) in [([&*one, &other], [&*one, &other]), ([&one, &other], [&other, &one])] {
                let [much, little] = ["1G", "1K"].map(|memory| {
                    let params = json!({"split": "test", "measure": measure, "memory": memory});
                    run(&job(folder, &rows, &cols, params)).unwrap();
                    std::fs::read(folder.join("tile")).unwrap()
                });
                assert!(much == little, "{measure} {shape:?}");
            }
        }
    }

    #[test]
    fn other_data_or_bad_values_are_told_with_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (predictions(folder.path(), 42, 3, 0.9), predictions(folder.path(), 43, 4, 0.9));
        let params = json!({"split": "test"});
        let error = run(&job(folder.path(), &[&one], &[&other], params.clone())).unwrap_err();
        let message = format!("{error:#}");
        assert!(
            message.starts_with(r#"run {"arch":"fc","seed":43}, checkpoint 0: column model 0 has 4"#),
            "{message}"
        );
        let error = run(&job(folder.path(), &[&one, &other], &[&one], params.clone())).unwrap_err();
        let message = format!("{error:#}");
        assert!(message.contains(r#"run {"arch":"fc","seed":43} has 4 samples x 2 classes"#), "{message}");
        let bad = predictions(folder.path(), 44, 3, f32::NAN);
        let error = run(&job(folder.path(), &[&one, &bad], &[&bad], params)).unwrap_err();
        let message = format!("{error:#}");
        assert!(
            message.starts_with(r#"run {"arch":"fc","seed":44}, checkpoint 0: row model 2, sample 1"#),
            "{message}"
        );
    }

    #[test]
    fn no_runs_are_no_tile() {
        let folder = tempfile::tempdir().unwrap();
        let error = run(&job(folder.path(), &[], &[], json!({"split": "test"}))).unwrap_err();
        assert_eq!(format!("{error:#}"), "input rows: no models to compare");
    }
}
