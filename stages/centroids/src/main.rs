//! Stage: six averages of the trajectories of each group of runs, along progress.

mod centres;
#[cfg(test)]
mod tests;

use anyhow::{Result, ensure};
use geometry::{Centroid, Trajectory};
use kit::Job;
use runs::{Placed, Run, Scalars};
use serde::Deserialize;
use tables::{Column, Table, json_columns};

use centres::Centres;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    /// `train` or `test`: whose predictions and labels.
    split: String,
    /// Scalars of networks: runs that agree on them are averaged.
    by: Vec<String>,
    /// Averages are taken at so many values of progress: 1/grid, 2/grid .. 1.
    grid: usize,
}

/// One centroid of one group at one progress.
struct Row<'a> {
    labels: &'a Scalars,
    runs: usize,
    progress: f64,
    centroid: Centroid,
    /// Its distances to the six, in the order of [`Centroid::ALL`].
    to: [f64; Centroid::ALL.len()],
    spread: f64,
    own_progress: f64,
    geodesic_distance: f64,
}

fn main() {
    kit::serve(run)
}

fn run(job: &Job) -> Result<()> {
    let Params { split, by, grid } = job.params()?;
    ensure!(grid > 0, "grid: 0; averages are taken at one value of progress or more");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(job.threads).build()?;
    let truth = runs::truth(job, &split)?;
    let files = runs::open(job.inputs("predictions")?)?;
    let all = runs::read(&files, &split, &truth)?;
    let placed = placed(&Table::read(&job.input("models")?.path)?)?;
    let trained: Vec<&Run> = trained(&all, &placed)?;

    let mut groups = runs::groups(trained.iter().copied(), &by)?;
    groups.retain(|group| {
        if group.runs.len() == 1 {
            job.log(&format!("{}: one run, nothing to average", group.name()));
        }
        group.runs.len() > 1
    });
    let steps = (groups.len() * grid) as u64;
    let mut rows = Vec::with_capacity(groups.len() * grid * Centroid::ALL.len());
    for group in &groups {
        let members: Vec<&Run> = group.runs.iter().map(|&index| trained[index]).collect();
        let trajectories: Vec<(&Run, Trajectory)> =
            members.iter().map(|&run| Ok((run, placed.trajectory(run)?))).collect::<Result<_>>()?;
        for index in 1..=grid {
            let progress = index as f64 / grid as f64;
            let centres = pool.install(|| Centres::at(progress, &trajectories, &truth))?;
            for (number, centroid) in Centroid::ALL.into_iter().enumerate() {
                rows.push(Row {
                    labels: &group.labels,
                    runs: members.len(),
                    progress,
                    centroid,
                    to: std::array::from_fn(|other| centres.between[[number, other]]),
                    spread: centres.spreads[number],
                    own_progress: centres.places[number].progress,
                    geodesic_distance: centres.places[number].distance,
                });
            }
            job.progress(rows.len() as u64 / Centroid::ALL.len() as u64, steps, "averages");
        }
    }
    Ok(table(&rows)?.write(job.output("centroids")?)?)
}

fn placed(models: &Table) -> Result<Placed> {
    let (names, checkpoints): (Vec<&str>, Vec<i64>) = (models.values("run")?, models.values("checkpoint")?);
    Placed::new(&names, &checkpoints, &models.values::<f64>("progress")?, &models.optional("trained")?)
}

fn trained<'a, 'f>(runs: &'a [Run<'f>], placed: &Placed) -> Result<Vec<&'a Run<'f>>> {
    let mut trained = Vec::with_capacity(runs.len());
    for run in runs {
        if placed.is_trained(run)? {
            trained.push(run);
        }
    }
    Ok(trained)
}

fn table(rows: &[Row]) -> Result<Table> {
    let mut all = json_columns(&rows.iter().map(|row| row.labels).collect::<Vec<_>>())?;
    let floats = |name: &str, value: &dyn Fn(&Row) -> f64| {
        Column::new(name.into(), rows.iter().map(value).collect::<Vec<_>>())
    };
    all.push(Column::new("runs".into(), rows.iter().map(|row| row.runs as i64).collect::<Vec<_>>()));
    all.push(floats("progress", &|row| row.progress));
    let names: Vec<&str> = rows.iter().map(|row| row.centroid.name()).collect();
    all.push(Column::new("centroid".into(), names));
    for (place, other) in Centroid::ALL.into_iter().enumerate() {
        all.push(floats(&format!("to_{}", other.name()), &|row| row.to[place]));
    }
    all.push(floats("spread", &|row| row.spread));
    all.push(floats("own_progress", &|row| row.own_progress));
    all.push(floats("geodesic_distance", &|row| row.geodesic_distance));
    Ok(Table::new(all)?)
}
