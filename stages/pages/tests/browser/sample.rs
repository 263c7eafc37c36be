//! Made-up tables with the columns of the real ones, and pages that the stage makes of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kit::TensorsWriter;
use serde_json::{Value, json};
use tables::{Column, Table};

/// Architectures of the sample, with their parameters.
pub const ARCHS: [(&str, i64); 6] = [
    ("allcnn", 49_966),
    ("convmixer", 8_794),
    ("fc", 830_250),
    ("vit", 24_042),
    ("wr-10-1-8", 19_666),
    ("wr-16-1-8", 43_858),
];
/// Its optimizers.
pub const OPTIMIZERS: [&str; 3] = ["adam", "nesterov", "sgd"];
const GEODESIC: usize = 100;
const DIMENSIONS: usize = 10;

/// Tables of a sweep, in a folder.
pub struct Sample {
    folder: tempfile::TempDir,
}

/// One network of the sample.
struct Network {
    arch: usize,
    optimizer: &'static str,
    batch: i64,
    seed: i64,
}

impl Network {
    fn run(&self) -> String {
        let Network { arch, optimizer, batch, seed } = self;
        format!(r#"{{"arch":"{}","batch":{batch},"optimizer":"{optimizer}","seed":{seed}}}"#, ARCHS[*arch].0)
    }
}

impl Sample {
    /// Six architectures, three optimizers, two batch sizes, and as many seeds and checkpoints as told.
    pub fn new(seeds: usize, checkpoints: usize) -> Sample {
        let folder = tempfile::tempdir().unwrap();
        let mut networks = Vec::new();
        for arch in 0..ARCHS.len() {
            for optimizer in OPTIMIZERS {
                for batch in [25, 50] {
                    networks.extend((0..seeds).map(|seed| Network {
                        arch,
                        optimizer,
                        batch,
                        seed: 42 + seed as i64,
                    }));
                }
            }
        }
        for (split, scale) in [("train", 1.0), ("test", 0.5)] {
            let columns = models(&networks, checkpoints, scale);
            let path = |name: &str| folder.path().join(format!("{name}-{split}.parquet"));
            let models = columns.iter().filter(|column| !column.name().starts_with("pc")).cloned().collect();
            Table::new(models).unwrap().write(&path("models")).unwrap();
            Table::new(columns).unwrap().write(&path("points")).unwrap();
            let models = networks.len() * checkpoints + GEODESIC;
            spectrum(models, scale).write(&path("spectrum")).unwrap();
            factors().write(&path("factors")).unwrap();
            let configurations = configurations(&networks);
            configurations.write(&path("configurations")).unwrap();
            trajectories(&configurations, &folder.path().join(format!("trajectories-{split}.safetensors")));
        }
        Sample { folder }
    }

    /// A file of the sample.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The page that the stage makes with these parameters of these inputs: (name, file).
    pub fn page(&self, params: &Value, inputs: &[(&str, PathBuf)]) -> PathBuf {
        let page = self.path("page.html");
        // The hash of an input is its name: enough to find it again.
        let inputs: serde_json::Map<String, Value> = inputs
            .iter()
            .map(|(name, path)| {
                ((*name).to_owned(), json!({"path": path, "hash": format!("hash-of-{name}")}))
            })
            .collect();
        let job = json!({
            "stage": "page", "key": "key", "params": params, "inputs": inputs,
            "outputs": {"html": page}, "device": "cpu", "threads": 1,
        });
        let file = self.path("job.json");
        fs::write(&file, job.to_string()).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_pages")).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
        page
    }

    /// The interactive page of the train set.
    pub fn embedding(&self) -> PathBuf {
        let inputs = ["points", "spectrum"].map(|name| (name, self.path(&format!("{name}-train.parquet"))));
        self.page(&json!({"page": "embedding", "split": "train"}), &inputs)
    }

    /// The report, with one figure.
    pub fn report(&self) -> PathBuf {
        let figure = self.path("figure.svg");
        let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1000 500\"><rect width=\"1000\" height=\"500\" fill=\"#D55E00\"/></svg>";
        fs::write(&figure, svg).unwrap();
        let names = ["models", "spectrum", "factors", "configurations"];
        let mut inputs = vec![("figure-embedding-train".to_owned(), figure)];
        for split in ["train", "test"] {
            inputs.extend(
                names.map(|name| (format!("{name}-{split}"), self.path(&format!("{name}-{split}.parquet")))),
            );
            let file = format!("trajectories-{split}");
            inputs.push((file.clone(), self.path(&format!("{file}.safetensors"))));
        }
        let inputs: Vec<(&str, PathBuf)> =
            inputs.iter().map(|(name, path)| (name.as_str(), path.clone())).collect();
        self.page(&json!({"page": "report"}), &inputs)
    }
}

/// A row a checkpoint: each architecture on an arc of its own from ignorance to truth, faster the larger it is.
fn models(networks: &[Network], checkpoints: usize, scale: f64) -> Vec<Column> {
    let all = networks.len() * checkpoints;
    let of = |row: usize| (row < all).then(|| (&networks[row / checkpoints], row % checkpoints));
    let rows = || (0..all + GEODESIC).map(of);
    let way = |row: usize| match of(row) {
        Some((network, checkpoint)) => {
            let pace = 1.0 + (ARCHS[network.arch].1 as f64).log10() / 6.0;
            (checkpoint as f64 / (checkpoints - 1).max(1) as f64 * pace).min(1.0)
        }
        None => (row - all) as f64 / (GEODESIC - 1) as f64,
    };
    let number = |value: &dyn Fn(&Network, usize, f64) -> f64| -> Vec<Option<f64>> {
        rows().enumerate().map(|(row, of)| of.map(|(network, at)| value(network, at, way(row)))).collect()
    };
    let text = |value: &dyn Fn(&Network) -> &'static str| -> Vec<Option<&str>> {
        rows().map(|of| of.map(|(network, _)| value(network))).collect()
    };
    let integer = |value: &dyn Fn(&Network, usize) -> i64| -> Vec<Option<i64>> {
        rows().map(|of| of.map(|(network, at)| value(network, at))).collect()
    };
    let mut columns = vec![
        Column::new(
            "run".into(),
            rows().map(|of| of.map_or("geodesic".to_owned(), |(it, _)| it.run())).collect::<Vec<_>>(),
        ),
        Column::new(
            "arch".into(),
            rows().map(|of| of.map_or("geodesic", |(it, _)| ARCHS[it.arch].0)).collect::<Vec<_>>(),
        ),
        Column::new("optimizer".into(), text(&|network| network.optimizer)),
        Column::new("batch".into(), integer(&|network, _| network.batch)),
        Column::new(
            "rate".into(),
            number(&|network, _, _| if network.optimizer == "adam" { 0.001 } else { 0.1 }),
        ),
        Column::new("augment".into(), rows().map(|of| of.map(|(it, _)| it.batch == 50)).collect::<Vec<_>>()),
        Column::new("seed".into(), integer(&|network, _| network.seed)),
        Column::new("parameters".into(), integer(&|network, _| ARCHS[network.arch].1)),
        Column::new("checkpoint".into(), integer(&|_, at| at as i64)),
        Column::new("epoch".into(), number(&|_, at, _| at as f64 * 1.5)),
        Column::new("loss".into(), number(&|_, _, way| 2.3 * (1.0 - way * scale))),
        Column::new("error".into(), number(&|_, _, way| 0.9 * (1.0 - way * scale))),
        Column::new("progress".into(), number(&|_, _, way| way)),
        Column::new("trained".into(), rows().map(|of| of.map(|(it, _)| it.arch != 4)).collect::<Vec<_>>()),
    ];
    for pc in 0..DIMENSIONS {
        let place = |(row, of): (usize, Option<(&Network, usize)>)| {
            let way = way(row);
            let bend = of.map_or(0.0, |(network, _)| {
                let turn = network.arch as f64 + 0.06 * (network.seed + network.batch) as f64;
                0.5 * (std::f64::consts::PI * way).sin() * (turn * (pc + 1) as f64).sin()
            });
            (if pc == 0 { 2.0 * way - 1.0 } else { bend }) / (pc + 1) as f64
        };
        columns.push(Column::new(
            format!("pc{}", pc + 1).into(),
            rows().enumerate().map(place).collect::<Vec<_>>(),
        ));
    }
    columns
}

/// A spectrum of falling eigenvalues, the second negative.
fn spectrum(models: usize, scale: f64) -> Table {
    let dimensions = 1..=50_i32;
    let eigenvalue = |k: i32| if k == 2 { -8.0 } else { 16.0 / f64::from(k * k) };
    Table::new(vec![
        Column::new("dimension".into(), dimensions.clone().map(i64::from).collect::<Vec<_>>()),
        Column::new("eigenvalue".into(), dimensions.clone().map(eigenvalue).collect::<Vec<_>>()),
        Column::new(
            "explained_stress".into(),
            dimensions.clone().map(|k| 1.0 - scale * 0.4 / f64::from(k)).collect::<Vec<_>>(),
        ),
        Column::new(
            "explained_distance".into(),
            dimensions.clone().map(|k| 0.5 / f64::from(k)).collect::<Vec<_>>(),
        ),
        Column::new("models".into(), vec![models as i64; 50]),
        Column::new("samples".into(), vec![if scale < 1.0 { 200_i64 } else { 1000 }; 50]),
    ])
    .unwrap()
}

fn factors() -> Table {
    Table::new(vec![
        Column::new("factor".into(), ["arch", "optimizer", "batch", "all", "residual"]),
        Column::new("r2".into(), [0.78, 0.05, 0.01, 0.85, 0.15]),
        Column::new("p".into(), [Some(0.001), Some(0.005), Some(0.59), Some(0.001), None]),
    ])
    .unwrap()
}

/// The configurations, without their seeds.
fn configurations(networks: &[Network]) -> Table {
    let first = networks.iter().map(|network| network.seed).min().unwrap();
    let one: Vec<&Network> = networks.iter().filter(|network| network.seed == first).collect();
    Table::new(vec![
        Column::new("run".into(), one.iter().map(|network| network.run()).collect::<Vec<_>>()),
        Column::new("arch".into(), one.iter().map(|network| ARCHS[network.arch].0).collect::<Vec<_>>()),
        Column::new("optimizer".into(), one.iter().map(|network| network.optimizer).collect::<Vec<_>>()),
        Column::new("batch".into(), one.iter().map(|network| network.batch).collect::<Vec<_>>()),
        Column::new("rate".into(), vec![0.1; one.len()]),
        Column::new("augment".into(), vec![false; one.len()]),
    ])
    .unwrap()
}

/// Distances between configurations: 0.2 between architectures, 0.1 within one.
fn trajectories(configurations: &Table, path: &Path) {
    let archs = configurations.values::<&str>("arch").unwrap();
    let runs = configurations.values::<&str>("run").unwrap();
    let mut distances = Vec::new();
    for (i, one) in archs.iter().enumerate() {
        distances.extend(archs.iter().enumerate().map(|(j, two)| match (i == j, one == two) {
            (true, _) => 0.0,
            (false, true) => 0.1,
            (false, false) => 0.2,
        }));
    }
    let rows: Vec<Value> = runs.iter().map(|run| json!({"run": run, "checkpoints": 1})).collect();
    let mut file = TensorsWriter::new();
    file.f64s("distances", &[runs.len(), runs.len()], &distances);
    file.write(path, &json!({"rows": rows})).unwrap();
}
