//! Page: every checkpoint in three dimensions of its InPCA, to turn, with a thin layer over WebGL and the data inside.

use anyhow::{Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use kit::Job;
use palette::Palette;
use serde::Serialize;
use serde_json::{Map, Value};
use tables::{Table, count};

use crate::html::{self, escape, fill, json};
use crate::networks::{Network, Networks};
use crate::table::{common, is_in_nats};

const PAGE: &str = include_str!("embedding/page.html");
const STYLE: &str = include_str!("embedding/page.css");
const SCRIPTS: [&str; 5] = [
    html::SCRIPT,
    include_str!("embedding/data.js"),
    include_str!("embedding/camera.js"),
    include_str!("embedding/scene.js"),
    include_str!("embedding/page.js"),
];
const REGL: &str = include_str!("../vendor/regl/regl.min.js");
const REGL_LICENSE: &str = include_str!("../vendor/regl/LICENSE");

/// Dimensions that can be chosen as axes, if the table has them.
const DIMENSIONS: usize = 10;

/// Columns of checkpoints that the page shows, after the coordinates.
const TOLD: [&str; 4] = ["progress", "error", "loss", "epoch"];

/// What the page's script reads, beside the columns of numbers.
#[derive(Serialize)]
struct Data<'a> {
    /// Rows of each column.
    points: usize,
    /// Names of the columns, in their order.
    columns: Vec<String>,
    axes: Vec<Axis>,
    /// Of coordinates; none where distances have none.
    unit: Option<&'static str>,
    /// Name and colour of each architecture.
    architectures: Vec<(&'a str, String)>,
    time_like: String,
    /// Their rows follow each other, then those of the geodesic.
    networks: Vec<Told<'a>>,
    geodesic: usize,
}

/// A dimension of the embedding.
#[derive(Serialize)]
struct Axis {
    name: String,
    /// What it adds to the explained stress.
    stress: Option<f64>,
    /// Whether squared distances along it count negatively.
    time_like: bool,
}

#[derive(Serialize)]
struct Told<'a> {
    settings: &'a Map<String, Value>,
    parameters: Option<i64>,
    trained: Option<bool>,
    /// How many checkpoints it has.
    rows: usize,
}

/// The page of the job's tables `points` and `spectrum`.
///
/// # Errors
/// When a table lacks columns, or has no network.
pub fn page(job: &Job, split: &str) -> Result<String> {
    let table = |name: &str| -> Result<Table> { Ok(Table::read(&job.input(name)?.path)?) };
    write(&table("points")?, &table("spectrum")?, split)
}

fn write(points: &Table, spectrum: &Table, split: &str) -> Result<String> {
    let networks = Networks::of(points)?;
    let axes = axes(points, spectrum)?;
    let rows: Vec<usize> =
        networks.all.iter().flat_map(|network| &network.rows).chain(&networks.geodesic).copied().collect();
    let columns: Vec<String> =
        axes.iter().map(|axis| axis.name.to_lowercase()).chain(TOLD.map(str::to_owned)).collect();
    let mut bytes = Vec::with_capacity(columns.len() * rows.len() * 4);
    for (place, name) in columns.iter().enumerate() {
        let values = match place < axes.len() {
            true => points.numbers(name)?,
            // The geodesic has no epoch.
            false => points.optional::<f64>(name)?.into_iter().map(|cell| cell.unwrap_or(f64::NAN)).collect(),
        };
        bytes.extend(rows.iter().flat_map(|&row| (values[row] as f32).to_le_bytes()));
    }
    let palette = Palette::of(networks.all.iter().map(Network::arch));
    let data = Data {
        points: rows.len(),
        columns,
        axes,
        unit: is_in_nats(spectrum).then_some("√nats"),
        architectures: palette.entries().map(|(name, colour)| (name, colour.hex())).collect(),
        time_like: palette::TIME_LIKE.hex(),
        networks: networks.all.iter().map(told).collect(),
        geodesic: networks.geodesic.len(),
    };
    let checkpoints = rows.len() - networks.geodesic.len();
    let summary = format!(
        "{} networks of {} architectures, {} checkpoints; N = {} samples, M = {} models",
        count(networks.all.len()),
        palette.entries().count(),
        count(checkpoints),
        count(common(spectrum, "samples")?),
        count(common(spectrum, "models")?),
    );
    let title = match split {
        "" => "Training trajectories in three dimensions of InPCA".to_owned(),
        "joint" => {
            "Training trajectories in three dimensions of InPCA, train and test sets together".to_owned()
        }
        split => format!("Training trajectories in three dimensions of InPCA, {split} set"),
    };
    Ok(fill(
        PAGE,
        &[
            ("title", &escape(&title)),
            ("summary", &escape(&summary)),
            ("base", html::STYLE),
            ("style", STYLE),
            ("license", REGL_LICENSE),
            ("regl", REGL),
            ("script", &SCRIPTS.concat()),
            ("data", &json(&data)?),
            ("numbers", &BASE64_STANDARD.encode(bytes)),
        ],
    ))
}

fn told(network: &Network) -> Told<'_> {
    Told {
        settings: &network.settings,
        parameters: network.parameters,
        trained: network.trained,
        rows: network.rows.len(),
    }
}

/// The dimensions that the table of points has, with what the spectrum says of them.
fn axes(points: &Table, spectrum: &Table) -> Result<Vec<Axis>> {
    let (eigenvalues, stress) = (spectrum.numbers("eigenvalue")?, spectrum.numbers("explained_stress")?);
    let has = |name: &str| points.columns().iter().any(|column| column.name() == name);
    let there = (1..=DIMENSIONS).take_while(|pc| has(&format!("pc{pc}"))).count();
    ensure!(there >= 3, "the table of points has {there} dimensions, `pc1` and further; a view takes 3");
    let axis = |pc: usize| Axis {
        name: format!("PC{pc}"),
        stress: stress.get(pc - 1).map(|to| to - if pc > 1 { stress[pc - 2] } else { 0.0 }),
        time_like: eigenvalues.get(pc - 1).is_some_and(|value| *value < 0.0),
    };
    Ok((1..=there).map(axis).collect())
}
