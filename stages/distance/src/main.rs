//! Stage: a tile of the matrix of distances, between all models of some runs and all models of others.

mod runs;

use anyhow::{Context, Result, anyhow};
use geometry::{GeometryError, Measure};
use kit::{Artifact, Job, TensorsWriter};
use serde::Deserialize;
use serde_json::json;

use runs::Side;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    /// `train` or `test`: which predictions are compared.
    split: String,
    #[serde(default)]
    measure: Measure,
}

fn main() {
    kit::serve(run)
}

fn run(job: &Job) -> Result<()> {
    let Params { split, measure } = job.params()?;
    let (rows, cols) = (job.inputs("rows")?, job.inputs("cols")?);
    let (row_files, col_files) =
        (runs::open(rows).context("input rows")?, runs::open(cols).context("input cols")?);
    let row_side = Side::new(&row_files, &split).context("input rows")?;
    let col_side = Side::new(&col_files, &split).context("input cols")?;
    let samples = row_side.models.first().context("input rows: no models to compare")?.nrows();

    let pool = rayon::ThreadPoolBuilder::new().num_threads(job.threads).build()?;
    let distances = pool
        .install(|| {
            if same(rows, cols) {
                geometry::within(measure, &row_side.models)
            } else {
                geometry::between(measure, &row_side.models, &col_side.models)
            }
        })
        .map_err(|error| explain(error, &row_side, &col_side))?;

    let distances = distances.mapv(|distance| distance as f32);
    let metadata = json!({
        "rows": row_side.members, "cols": col_side.members, "samples": samples, "measure": measure
    });
    TensorsWriter::new()
        .f32s("distances", distances.shape(), &distances.iter().copied().collect::<Vec<_>>())
        .write(job.output("tile")?, &metadata)?;
    Ok(())
}

/// Whether both sides are the same artifacts: then half of the tile is the other half.
fn same(rows: &[Artifact], cols: &[Artifact]) -> bool {
    rows.iter().map(|row| &row.hash).eq(cols.iter().map(|col| &col.hash))
}

/// Says which run an error is about.
fn explain(error: GeometryError, rows: &Side, cols: &Side) -> anyhow::Error {
    let (GeometryError::Shape { side, index, .. } | GeometryError::Probability { side, index, .. }) = error
    else {
        return error.into();
    };
    let place = if side == "row" { rows.describe(index) } else { cols.describe(index) };
    anyhow!(error).context(place)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use kit::Tensors;
    use serde_json::Value;

    use super::*;

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
        assert_eq!(error.to_string(), "input rows: no models to compare");
    }
}
