//! The table of models: where each checkpoint is along the geodesic, and how far from it.

use std::path::Path;

use anyhow::Result;
use geometry::{Alignment, Place, Truth};
use rayon::prelude::*;
use runs::{Run, Scalars};
use serde_json::Value;
use tables::{Column, Table, json_columns};

/// Probabilities that a thread reads at a time.
const VALUES: usize = 1 << 18;

/// The places of all checkpoints of a run, by the threads of the current pool. Each holds 16 bytes a sample.
pub(crate) fn places(run: &Run, truth: &Truth) -> Result<Vec<Place>> {
    let step = (VALUES / truth.classes()).max(1);
    let place = |checkpoint| {
        let mut alignment = Alignment::begin(truth);
        for start in (0..truth.samples()).step_by(step) {
            let samples = start..truth.samples().min(start + step);
            alignment.add(run.checked(checkpoint, samples)?.view());
        }
        Ok(alignment.place())
    };
    (0..run.checkpoints()).into_par_iter().map(place).collect()
}

/// A row of the table. What only networks have is absent from points of the geodesic.
struct Row<'a> {
    run: &'a str,
    scalars: &'a Scalars,
    checkpoint: usize,
    progress: f64,
    network: Option<Checkpoint>,
}

struct Checkpoint {
    parameters: i64,
    step: i64,
    epoch: f64,
    loss: f64,
    error: f64,
    geodesic_distance: f64,
    trained: bool,
}

/// Writes a row for each checkpoint of each run, which have these places, and for each point of the geodesic.
pub(crate) fn write(
    path: &Path,
    runs: &[Run],
    places: &[Vec<Place>],
    geodesic: &[f64],
    trained: impl Fn(&Run) -> bool,
) -> Result<()> {
    let arch = Scalars::from([("arch".to_owned(), Value::from("geodesic"))]);
    let point = |(checkpoint, &progress)| Row {
        run: "geodesic",
        scalars: &arch,
        checkpoint,
        progress,
        network: None,
    };
    let mut rows: Vec<Row> = geodesic.iter().enumerate().map(point).collect();
    for (run, places) in runs.iter().zip(places) {
        rows.extend(places.iter().enumerate().map(|(checkpoint, place)| Row {
            run: &run.name,
            scalars: &run.scalars,
            checkpoint,
            progress: place.progress,
            network: Some(Checkpoint {
                parameters: run.parameters,
                step: run.step[checkpoint],
                epoch: run.epoch[checkpoint],
                loss: run.loss[checkpoint],
                error: run.error[checkpoint],
                geodesic_distance: place.distance,
                trained: trained(run),
            }),
        }));
    }
    rows.sort_by_key(|row| (row.run, row.checkpoint));
    Ok(table(&rows)?.write(path)?)
}

fn table(rows: &[Row]) -> Result<Table> {
    let mut all = vec![Column::new("run".into(), rows.iter().map(|row| row.run).collect::<Vec<_>>())];
    all.extend(json_columns(&rows.iter().map(|row| row.scalars).collect::<Vec<_>>())?);
    let floats = |name: &str, value: fn(&Checkpoint) -> f64| {
        Column::new(name.into(), rows.iter().map(|row| row.network.as_ref().map(value)).collect::<Vec<_>>())
    };
    let integers = |name: &str, value: fn(&Checkpoint) -> i64| {
        Column::new(name.into(), rows.iter().map(|row| row.network.as_ref().map(value)).collect::<Vec<_>>())
    };
    let trained = rows.iter().map(|row| row.network.as_ref().map(|network| network.trained));
    all.extend([
        integers("parameters", |network| network.parameters),
        Column::new("checkpoint".into(), rows.iter().map(|row| row.checkpoint as i64).collect::<Vec<_>>()),
        integers("step", |network| network.step),
        floats("epoch", |network| network.epoch),
        floats("loss", |network| network.loss),
        floats("error", |network| network.error),
        Column::new("progress".into(), rows.iter().map(|row| row.progress).collect::<Vec<_>>()),
        floats("geodesic_distance", |network| network.geodesic_distance),
        Column::new("trained".into(), trained.collect::<Vec<_>>()),
    ]);
    Ok(Table::new(all)?)
}
