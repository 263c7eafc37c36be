//! Tests of the stage as a whole, on tiles of three small runs.

use std::path::{Path, PathBuf};

use kit::TensorsWriter;
use serde_json::{Map, Value, json};
use spectral::Distances as _;
use tables::json_column;

use super::*;

/// Runs and their numbers of checkpoints.
const RUNS: [(&str, usize); 3] = [("a", 3), ("b", 2), ("geodesic", 4)];

/// Squared distance between two models, each a point in two dimensions.
fn distance(one: (&str, usize), other: (&str, usize)) -> f64 {
    let place = |(run, checkpoint): (&str, usize)| {
        let t = checkpoint as f64;
        match run {
            "a" => [t, 0.0],
            "b" => [t, 1.0 + t * t],
            _ => [0.5 * t, -t],
        }
    };
    let (x, y) = (place(one), place(other));
    (x[0] - y[0]).powi(2) + (x[1] - y[1]).powi(2)
}

struct Fixture {
    folder: tempfile::TempDir,
    runs: Vec<(&'static str, usize)>,
    tiles: Vec<Value>,
    /// Inputs beside `tiles` and the table.
    others: Map<String, Value>,
    samples: i64,
}

impl Fixture {
    fn new() -> Self {
        Fixture::of(&RUNS)
    }

    fn of(runs: &[(&'static str, usize)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Fixture { folder, runs: runs.to_vec(), tiles: Vec::new(), others: Map::new(), samples: 7 }
    }

    /// All pairs: a group with itself, the group and the geodesic one way round, the geodesic with itself.
    fn complete() -> Self {
        let mut fixture = Fixture::new();
        fixture.tile("distance", &[0, 1], &[0, 1]);
        fixture.tile("to-geodesic", &[1, 0], &[2]);
        fixture.tile("geodesic", &[2], &[2]);
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Adds the tile between these runs.
    fn tile(&mut self, part: &str, rows: &[usize], cols: &[usize]) {
        self.tile_of(part, rows, cols, &distance);
    }

    fn tile_of(
        &mut self,
        part: &str,
        rows: &[usize],
        cols: &[usize],
        distance: &dyn Fn((&'static str, usize), (&'static str, usize)) -> f64,
    ) {
        let models = |side: &[usize]| -> Vec<(&'static str, usize)> {
            side.iter()
                .map(|&run| self.runs[run])
                .flat_map(|(run, checkpoints)| (0..checkpoints).map(move |checkpoint| (run, checkpoint)))
                .collect()
        };
        let members = |side: &[usize]| -> Vec<Value> {
            side.iter()
                .map(|&run| json!({"run": self.runs[run].0, "checkpoints": self.runs[run].1}))
                .collect()
        };
        let (row_models, col_models) = (models(rows), models(cols));
        let values: Vec<f32> = row_models
            .iter()
            .flat_map(|&row| col_models.iter().map(move |&col| distance(row, col) as f32))
            .collect();
        let path = self.path(&format!("tile-{}-{}", self.others.len(), self.tiles.len()));
        TensorsWriter::new()
            .f32s("distances", &[row_models.len(), col_models.len()], &values)
            .write(
                &path,
                &json!({"rows": members(rows), "cols": members(cols), "samples": self.samples, "measure": "bhattacharyya"}),
            )
            .unwrap();
        self.tiles.push(json!({"path": path, "hash": "h", "labels": {"part": part, "split": "train"}}));
    }

    /// Makes the tiles so far those of another input.
    fn set_aside(&mut self, input: &str) {
        self.others.insert(input.to_owned(), std::mem::take(&mut self.tiles).into());
    }

    /// The job, with the table of all models but the last `dropped`.
    fn job(&self, dropped: usize, params: Value) -> Job {
        let mut models: Vec<(&str, usize)> =
            self.runs.iter().flat_map(|&(run, n)| (0..n).map(move |checkpoint| (run, checkpoint))).collect();
        // Another order than that of the points.
        models.reverse();
        models.drain(..dropped);
        let column = |name: &str, cell: &dyn Fn(&(&str, usize)) -> Value| {
            json_column(name, &models.iter().map(cell).collect::<Vec<_>>()).unwrap()
        };
        Table::new(vec![
            column("run", &|model| json!(model.0)),
            column("checkpoint", &|model| json!(model.1)),
            column("share", &|model| {
                json!(1.0 / self.runs.iter().find(|run| run.0 == model.0).unwrap().1 as f64)
            }),
            column("arch", &|model| if model.0 == "geodesic" { Value::Null } else { json!("fc") }),
        ])
        .unwrap()
        .write(&self.path("table"))
        .unwrap();
        let mut inputs = self.others.clone();
        inputs.insert("tiles".to_owned(), self.tiles.clone().into());
        inputs.insert("table".to_owned(), json!({"path": self.path("table"), "hash": "h"}));
        let job = json!({
            "stage": "embed", "key": "k", "params": params, "device": "cpu", "threads": 1, "inputs": inputs,
            "outputs": {"points": self.path("points"), "spectrum": self.path("spectrum")},
        });
        let path = self.path("job.json");
        std::fs::write(&path, job.to_string()).unwrap();
        Job::read(&path).unwrap()
    }

    fn run(&self) -> Result<()> {
        self.run_with(json!({}))
    }

    fn run_with(&self, params: Value) -> Result<()> {
        run(&self.job(0, params))
    }

    fn table(&self, name: &str) -> Table {
        Table::read(&self.path(name)).unwrap()
    }

    fn error(&self) -> String {
        format!("{:#}", self.run().unwrap_err())
    }
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn coordinates_give_back_the_distances_of_models_in_two_dimensions() {
    let fixture = Fixture::complete();
    fixture.run().unwrap();
    let points = fixture.table("points");
    let runs: Vec<&str> = points.values("run").unwrap();
    assert_eq!(runs, ["a", "a", "a", "b", "b", "geodesic", "geodesic", "geodesic", "geodesic"]);
    let checkpoints: Vec<i64> = points.values("checkpoint").unwrap();
    assert_eq!(checkpoints, [0, 1, 2, 0, 1, 0, 1, 2, 3]);
    assert_eq!(points.optional::<&str>("arch").unwrap()[4..6], [Some("fc"), None]);

    assert_eq!(points.values::<f64>("pc10").unwrap(), [0.0; 9]);
    assert_distances(&points, 1.0);
}

/// Panics unless the first two coordinates give back so many times the distances.
fn assert_distances(points: &Table, times: f64) {
    let runs: Vec<&str> = points.values("run").unwrap();
    let checkpoints: Vec<i64> = points.values("checkpoint").unwrap();
    let [x, y] = ["pc1", "pc2"].map(|name| points.values::<f64>(name).unwrap());
    for i in 0..points.height() {
        for j in 0..points.height() {
            let expected =
                times * distance((runs[i], checkpoints[i] as usize), (runs[j], checkpoints[j] as usize));
            let found = (x[i] - x[j]).powi(2) + (y[i] - y[j]).powi(2);
            assert!((found - expected).abs() < 1e-5, "{i} {j}: {found} {expected}");
        }
    }
}

#[test]
fn the_spectrum_has_a_row_for_each_dimension_there_is() {
    let fixture = Fixture::complete();
    fixture.run().unwrap();
    let spectrum = fixture.table("spectrum");
    assert_eq!(spectrum.values::<i64>("dimension").unwrap(), [1, 2, 3, 4, 5, 6, 7, 8]);
    let eigenvalues: Vec<f64> = spectrum.values("eigenvalue").unwrap();
    assert!(eigenvalues[0] > eigenvalues[1] && eigenvalues[1] > 1.0 && eigenvalues[2].abs() < 1e-5);
    let stress: Vec<f64> = spectrum.values("explained_stress").unwrap();
    assert!(stress[0] < stress[1] && (stress[1] - 1.0).abs() < 1e-5);
    let left: Vec<f64> = spectrum.values("explained_distance").unwrap();
    assert!(left[0] > 0.1 && left[1] < 1e-5);
    assert_eq!(spectrum.values::<i64>("models").unwrap(), [9; 8]);
    assert_eq!(spectrum.values::<i64>("samples").unwrap(), [7; 8]);
    assert_eq!(spectrum.values::<&str>("measure").unwrap(), ["bhattacharyya"; 8]);
}

#[test]
fn tiles_in_another_order_and_the_other_way_round_give_equal_bytes() {
    let fixture = Fixture::complete();
    fixture.run().unwrap();
    let mut other = Fixture::new();
    other.tile("geodesic", &[2], &[2]);
    other.tile("to-geodesic", &[2], &[0]);
    other.tile("to-geodesic", &[1], &[2]);
    other.tile("distance", &[1], &[1]);
    other.tile("distance", &[1], &[0]);
    other.tile("distance", &[0], &[0]);
    other.run().unwrap();
    for name in ["points", "spectrum"] {
        assert_eq!(bytes(&fixture.path(name)), bytes(&other.path(name)), "{name}");
    }
}

#[test]
fn a_pair_of_runs_that_no_tile_or_that_two_tiles_have_is_named() {
    let mut fixture = Fixture::complete();
    let geodesic = fixture.tiles.pop().unwrap();
    assert_eq!(fixture.error(), "no tile has the distances between run geodesic and run geodesic");
    fixture.tiles.push(geodesic);
    fixture.tile("other", &[1], &[0]);
    assert_eq!(
        fixture.error(),
        "runs b and a stand in tile [part=distance,split=train] and in tile [part=other,split=train]"
    );
}

#[test]
fn distances_that_are_not_symmetric_or_not_finite_are_named() {
    let mut fixture = Fixture::new();
    fixture.tile_of("distance", &[0, 1], &[0, 1], &|one, other| if one < other { 1.0 } else { 2.0 });
    assert_eq!(
        fixture.error(),
        "the distance from run a, checkpoint 0 to run a, checkpoint 1 is 1, back it is 2"
    );
    fixture.tiles.clear();
    fixture.tile_of("distance", &[0, 1], &[0, 1], &|_, other| if other == ("b", 1) { f64::NAN } else { 1.0 });
    assert_eq!(
        fixture.error(),
        "tile [part=distance,split=train]: the distance between run a, checkpoint 0 and run b, checkpoint 1 is NaN"
    );
}

#[test]
fn a_model_without_a_row_in_the_table_is_named() {
    let error = run(&Fixture::complete().job(1, json!({}))).unwrap_err().to_string();
    assert_eq!(error, "the tiles have run geodesic, checkpoint 3, the table has not");
}

#[test]
fn fewer_than_two_points_are_an_error_that_says_why() {
    let mut fixture = Fixture::new();
    fixture.tile("trajectories", &[], &[]);
    let error = fixture.error();
    assert!(
        error.starts_with("an embedding needs two points and the tiles have 0; where they are of"),
        "{error}"
    );
    fixture.tiles.clear();
    assert_eq!(fixture.error(), "no tiles to put together");
}

#[test]
fn joint_distances_are_means_over_the_samples_of_both() {
    let mut fixture = Fixture::new();
    fixture.samples = 21;
    fixture.tile_of("test", &[2, 1, 0], &[2, 1, 0], &|one, other| 3.0 * distance(one, other));
    fixture.set_aside("joint");
    fixture.samples = 7;
    fixture.tile("train", &[0, 1, 2], &[0, 1, 2]);
    fixture.run().unwrap();
    // (7 d + 21 (3 d)) / 28
    assert_distances(&fixture.table("points"), 2.5);
    assert_eq!(fixture.table("spectrum").values::<i64>("samples").unwrap(), [28; 8]);
}

#[test]
fn joint_tiles_have_the_runs_of_the_others() {
    let mut fixture = Fixture::new();
    fixture.tile("test", &[0, 1], &[0, 1]);
    fixture.set_aside("joint");
    fixture.tile("train", &[0, 1, 2], &[0, 1, 2]);
    assert_eq!(fixture.error(), "input joint: no tile has the distances between run a and run geodesic");
    fixture.tiles.clear();
    fixture.tile("train", &[0], &[0]);
    assert_eq!(
        fixture.error(),
        "input joint: run b of tile [part=test,split=train] is in none of the other tiles"
    );
}

#[test]
fn placed_models_come_last_where_their_distances_put_them() {
    let mut fixture = Fixture::new();
    fixture.tile("placed", &[0], &[1]);
    fixture.tile("placed", &[2], &[0]);
    fixture.set_aside("placed");
    // Three points span the plane; run `a` is placed by its distances to them.
    fixture.tile("embedded", &[1, 2], &[1, 2]);
    fixture.run().unwrap();
    let points = fixture.table("points");
    let runs: Vec<&str> = points.values("run").unwrap();
    assert_eq!(runs, ["b", "b", "geodesic", "geodesic", "geodesic", "geodesic", "a", "a", "a"]);
    let placed: Vec<bool> = points.values("placed").unwrap();
    assert_eq!(placed, [[false; 3], [false; 3], [true; 3]].concat());
    assert_distances(&points, 1.0);
    assert_eq!(fixture.table("spectrum").values::<i64>("models").unwrap(), [6; 5]);
}

#[test]
fn a_column_of_texts_weighs_each_of_them_alike() {
    let fixture = Fixture::complete();
    fixture.run_with(json!({"weights": "share"})).unwrap();
    let (points, spectrum) = (bytes(&fixture.path("points")), bytes(&fixture.path("spectrum")));
    assert_distances(&fixture.table("points"), 1.0);
    // `share` of a model is one divided by the models of its run.
    fixture.run_with(json!({"weights": "run"})).unwrap();
    assert_eq!((bytes(&fixture.path("points")), bytes(&fixture.path("spectrum"))), (points, spectrum));
    // By weight the middle is where each run counts the same.
    let table = fixture.table("points");
    let (x, share) = (table.values::<f64>("pc1").unwrap(), table.values::<f64>("share").unwrap());
    let middle: f64 = x.iter().zip(&share).map(|(x, share)| x * share).sum();
    assert!(middle.abs() < 1e-6 && x.iter().sum::<f64>().abs() > 0.1, "{x:?}");

    let error = fixture.run_with(json!({"weights": "checkpoint"})).unwrap_err().to_string();
    assert!(
        error.starts_with("column `checkpoint` gives run a, checkpoint 0 the weight 0; weights are"),
        "{error}"
    );
    let error = fixture.run_with(json!({"weights": "arch"})).unwrap_err().to_string();
    assert_eq!(error, "column `arch` has no weight for run geodesic, checkpoint 0");
}

#[test]
fn any_rectangle_of_the_distances_can_be_read_however_tiles_lie() {
    let complete = Fixture::complete();
    let mut turned = Fixture::new();
    turned.tile("to-geodesic", &[2], &[0, 1]);
    turned.tile("geodesic", &[2], &[2]);
    turned.tile("distance", &[1], &[1, 0]);
    turned.tile("distance", &[0], &[0]);
    for fixture in [complete, turned] {
        let distances =
            Distances::new(tiles(&fixture.job(0, json!({})), "tiles").unwrap(), vec![], None).unwrap();
        let points: Vec<(&str, usize)> =
            distances.points.iter().map(|point| (point.run, point.checkpoint as usize)).collect();
        for (rows, cols) in
            [(0..9, 0..9), (0..4, 4..9), (2..5, 2..5), (1..2, 3..8), (3..7, 3..7), (4..9, 0..3)]
        {
            let mut found = vec![f64::NAN; rows.len() * cols.len()];
            distances.read(rows.clone(), cols.clone(), &mut found).unwrap();
            let expected: Vec<f64> = rows
                .clone()
                .flat_map(|i| cols.clone().map(move |j| (i, j)))
                .map(|(i, j)| f64::from(distance(points[i], points[j]) as f32))
                .collect();
            assert_eq!(found, expected, "{rows:?} {cols:?}");
        }
    }
}

#[test]
fn more_distances_than_memory_has_room_for_give_equal_bytes() {
    let mut fixture = Fixture::of(&[("long", 1_500), ("longer", 1_100)]);
    let place = |(run, checkpoint): (&str, usize), wave: f64| {
        (wave * checkpoint as f64 / 500.0 + run.len() as f64).sin() / wave
    };
    let distance = |one, other| {
        let squares = (1..9).map(f64::from).map(|wave| (place(one, wave) - place(other, wave)).powi(2));
        squares.sum::<f64>()
    };
    fixture.tile_of("distance", &[0, 1], &[1], &distance);
    fixture.tile_of("distance", &[0], &[0], &distance);
    let too_little = format!("{:#}", fixture.run_with(json!({"memory": "1M"})).unwrap_err());
    assert!(
        too_little.starts_with("2600 points need 61 MB of memory beside their distances"),
        "{too_little}"
    );
    let both = ["64M", "1G"].map(|memory| {
        fixture.run_with(json!({"memory": memory})).unwrap();
        ["points", "spectrum"].map(|name| bytes(&fixture.path(name)))
    });
    assert!(both[0] == both[1], "read from tiles is not as held");
    let left: Vec<f64> = fixture.table("spectrum").values("explained_distance").unwrap();
    assert!(left[7] < 1e-5 && left[6] > 1e-3, "{left:?}");
}
