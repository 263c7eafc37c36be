//! Stage: the geodesic from ignorance to truth, and the distances among its points.
//!
//! Its probabilities are computed where they are needed, from labels and progress: with many classes they would be many
//! times as large as the predictions of a network.

use anyhow::{Context, Result, ensure};
use geometry::{Measure, Model, Truth};
use kit::{Job, Tensors, TensorsWriter};
use serde::Deserialize;
use serde_json::json;
use tiles::{About, Member};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    /// `train` or `test`: whose labels are the truth.
    split: String,
    /// How many points, the two ends included.
    points: usize,
    /// Of the distances; Bhattacharyya's, if not told.
    #[serde(default)]
    measure: Measure,
}

/// What this stage reads of the data's metadata.
#[derive(Deserialize)]
struct Data {
    classes: Vec<String>,
}

fn main() {
    kit::serve(run)
}

fn run(job: &Job) -> Result<()> {
    let params: Params = job.params()?;
    ensure!(params.points >= 2, "points: {}; a geodesic needs at least its two ends", params.points);
    let data = Tensors::open(&job.input("data")?.path)?;
    let classes = data.metadata::<Data>()?.classes.len();
    let labels = format!("{}_labels", params.split);
    let classes_of = data.i64s(&labels)?.values;
    let truth = Truth::new(classes_of, classes).with_context(|| labels.clone())?;
    ensure!(truth.samples() > 0, "{labels} is empty; a geodesic needs samples");

    let last = params.points - 1;
    let progress: Vec<f64> = (0..params.points).map(|point| point as f64 / last as f64).collect();
    TensorsWriter::new()
        .i64s(&labels, &[truth.samples()], classes_of)
        .f64s("progress", &[params.points], &progress)
        .write(job.output("points")?, &json!({"network": {"arch": "geodesic"}, "classes": classes}))?;

    // Two points are as far apart in each sample, whatever its class: one stands for all.
    let points = geometry::geodesic(&truth.part(0..1), &progress);
    let models: Vec<Model> = points.outer_iter().collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(job.threads).build()?;
    let distances = pool.install(|| geometry::within(params.measure, &models))?;
    let distances: Vec<f32> = distances.iter().map(|&distance| distance as f32).collect();
    let members = vec![Member { run: "geodesic".to_owned(), checkpoints: params.points }];
    let about =
        About { rows: members.clone(), cols: members, samples: truth.samples(), measure: params.measure };
    TensorsWriter::new()
        .f32s("distances", &[params.points, params.points], &distances)
        .write(job.output("tile")?, &about)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use runs::Predictions;
    use serde_json::Value;

    use super::*;

    /// A job on three samples of four classes, with its files in `folder`.
    fn job(folder: &Path, params: Value) -> Job {
        job_of(&["a", "b", "c", "d"].map(String::from), folder, params)
    }

    fn job_of(classes: &[String], folder: &Path, params: Value) -> Job {
        let data = folder.join("data");
        TensorsWriter::new()
            .i64s("train_labels", &[3], &[3, 0, 1])
            .i64s("test_labels", &[1], &[4])
            .write(&data, &json!({"name": "toy", "classes": classes}))
            .unwrap();
        let text = json!({
            "stage": "geodesic", "key": "k", "params": params, "device": "cpu", "threads": 1,
            "inputs": {"data": {"path": data, "hash": "h"}},
            "outputs": {"points": folder.join("points"), "tile": folder.join("tile")},
        });
        let path = folder.join("job.json");
        std::fs::write(&path, text.to_string()).unwrap();
        Job::read(&path).unwrap()
    }

    #[test]
    fn the_ends_are_ignorance_and_truth_and_as_far_apart_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        run(&job(folder.path(), json!({"split": "train", "points": 5}))).unwrap();
        let points = Tensors::open(&folder.path().join("points")).unwrap();
        assert_eq!(points.f64s("progress").unwrap().values, [0.0, 0.25, 0.5, 0.75, 1.0]);
        let geodesic = Predictions::new(&points, "train").unwrap();
        assert_eq!((geodesic.checkpoints, geodesic.samples, geodesic.classes), (5, 3, 4));
        assert_eq!(geodesic.name, "geodesic");
        assert_eq!(geodesic.model(0, 0..3).unwrap(), ndarray::Array2::from_elem((3, 4), 0.25));
        let truth = ndarray::array![[1., 0., 0., 0.], [0., 1., 0., 0.]];
        assert_eq!(geodesic.model(4, 1..3).unwrap(), truth);

        // As far apart as all samples make them.
        let models: Vec<_> = (0..5).map(|point| geodesic.model(point, 0..3).unwrap()).collect();
        let models: Vec<Model> = models.iter().map(|model| model.view()).collect();
        let expected = geometry::within(Measure::Bhattacharyya, &models).unwrap();
        let tile = Tensors::open(&folder.path().join("tile")).unwrap();
        let distances = tile.f32s("distances").unwrap();
        assert_eq!(distances.shape, [5, 5]);
        assert!((distances.values[4] - 2f32.ln()).abs() < 1e-6);
        for (found, expected) in distances.values.iter().zip(&expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-7, "{found} is not {expected}");
        }
        let members = json!([{"run": "geodesic", "checkpoints": 5}]);
        let expected = json!({"rows": members, "cols": members, "samples": 3, "measure": "bhattacharyya"});
        assert_eq!(tile.metadata::<Value>().unwrap(), expected);
    }

    #[test]
    fn of_a_thousand_classes_ignorance_is_as_far_from_truth_as_it_should_be() {
        let folder = tempfile::tempdir().unwrap();
        let classes: Vec<String> = (0..1_000).map(|class| format!("class {class}")).collect();
        run(&job_of(&classes, folder.path(), json!({"split": "train", "points": 3}))).unwrap();
        let tile = Tensors::open(&folder.path().join("tile")).unwrap();
        let far = f64::from(tile.f32s("distances").unwrap().values[2]);
        assert!((far - 0.5 * 1_000f64.ln()).abs() < 4e-6, "{far}");
    }

    #[test]
    fn one_sample_stands_for_all_by_every_measure() {
        let folder = tempfile::tempdir().unwrap();
        for (measure, name) in [(Measure::Kl, "kl"), (Measure::Euclidean, "euclidean")] {
            run(&job(folder.path(), json!({"split": "train", "points": 5, "measure": name}))).unwrap();
            let points = Tensors::open(&folder.path().join("points")).unwrap();
            let geodesic = Predictions::new(&points, "train").unwrap();
            let models: Vec<_> = (0..5).map(|point| geodesic.model(point, 0..3).unwrap()).collect();
            let models: Vec<Model> = models.iter().map(|model| model.view()).collect();
            let expected = geometry::within(measure, &models).unwrap();
            let tile = Tensors::open(&folder.path().join("tile")).unwrap();
            assert_eq!(tile.metadata::<Value>().unwrap()["measure"], name);
            assert_eq!(tile.f32s("distances").unwrap().shape, [5, 5]);
            for (found, expected) in tile.f32s("distances").unwrap().values.iter().zip(&expected) {
                assert!((f64::from(*found) - expected).abs() <= 1e-6 * expected, "{found} is not {expected}");
            }
        }
    }

    #[test]
    fn a_label_that_is_no_class_is_told_with_the_tensor() {
        let folder = tempfile::tempdir().unwrap();
        let error = run(&job(folder.path(), json!({"split": "test", "points": 5}))).unwrap_err();
        let message = format!("{error:#}");
        assert_eq!(message, "test_labels: sample 0 has the label 4, but classes go from 0 to 3");
    }

    #[test]
    fn one_point_is_no_geodesic() {
        let folder = tempfile::tempdir().unwrap();
        let error = run(&job(folder.path(), json!({"split": "train", "points": 1}))).unwrap_err();
        assert_eq!(error.to_string(), "points: 1; a geodesic needs at least its two ends");
    }
}
