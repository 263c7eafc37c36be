//! Stage: directions in which trajectories leave ignorance and reach truth, and the embedding that four points span.

mod directions;
mod four;
mod misfit;
#[cfg(test)]
mod tests;

use anyhow::{Context, Result, ensure};
use geometry::{Measure, Truth};
use kit::Job;
use ndarray::Array2;
use rayon::ThreadPool;
use runs::{Placed, Run, Scalars};
use serde::Deserialize;
use tables::{Column, Table, json_columns};

use directions::{Directions, End};
use four::Four;
use misfit::{Embedding, Misfit};

/// Dimensions that four points span.
const DIMENSIONS: usize = 3;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    /// `train` or `test`: whose predictions and labels.
    split: String,
    /// Scalars of networks: runs that agree on them have a tangent together.
    by: Vec<String>,
    /// Checkpoints with at most this progress are early ones.
    early: f64,
    /// Those with at least this are late ones.
    late: f64,
    /// The two points between ignorance and truth are means around these values of progress ..
    between: [f64; 2],
    /// .. with this standard deviation ..
    deviation: f64,
    /// .. of models with a train loss below this.
    loss: f64,
    /// Of the distances between models; Bhattacharyya's, if not told.
    #[serde(default)]
    measure: Measure,
}

fn main() {
    kit::serve(run)
}

fn run(job: &Job) -> Result<()> {
    let params: Params = job.params()?;
    ensure!(params.deviation > 0.0, "deviation: {}; it must be above 0", params.deviation);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(job.threads).build()?;
    let truth = runs::truth(job, &params.split)?;
    let files = runs::open(job.inputs("predictions")?)?;
    let runs = runs::read(&files, &params.split, &truth)?;
    let placed = placed(&Table::read(&job.input("models")?.path)?)?;

    tangents(job, &params, &runs, &placed, &truth, &pool)?;

    job.progress(1, 3, "four points");
    let four = pool.install(|| Four::new(&params, &runs, &placed, &truth))?;
    let Some(four) = four else {
        let [low, high] = params.between;
        let loss = params.loss;
        job.log(&format!(
            "no four points: near {low} or {high} there is no model of train loss under {loss}"
        ));
        // With the columns that readers look for, and no row.
        let models = runs.iter().map(Run::checkpoints).sum();
        let points = Array2::zeros((4, DIMENSIONS));
        let none = Four { points, models: Array2::zeros((models, DIMENSIONS)), eigenvalues: Vec::new() };
        four_table(&params, &runs, &placed, &none)?.rows(&[])?.write(job.output("four")?)?;
        return Ok(misfit_table(&none, &[])?.write(job.output("misfit")?)?);
    };
    four_table(&params, &runs, &placed, &four)?.write(job.output("four")?)?;

    job.progress(2, 3, "what four points leave");
    let full = full(job, &runs)?;
    let own = Embedding::new(four.models.clone(), four.eigenvalues.clone());
    let tiles = job.inputs("tiles")?;
    let misfits = pool.install(|| misfit::misfits(tiles, &runs, &own, &full))?;
    misfit_table(&four, &misfits)?.write(job.output("misfit")?)?;
    job.progress(3, 3, "");
    Ok(())
}

fn placed(models: &Table) -> Result<Placed> {
    let (names, checkpoints): (Vec<&str>, Vec<i64>) = (models.values("run")?, models.values("checkpoint")?);
    Placed::new(&names, &checkpoints, &models.values::<f64>("progress")?, &models.optional("trained")?)
}

/// A row for each number of dimensions.
fn misfit_table(four: &Four, misfits: &[Misfit]) -> Result<Table> {
    let of_each = |value: fn(&Misfit) -> f64| misfits.iter().map(value).collect::<Vec<_>>();
    Ok(Table::new(vec![
        Column::new("dimensions".into(), (1..=misfits.len() as i64).collect::<Vec<_>>()),
        Column::new("eigenvalue".into(), four.eigenvalues.clone()),
        Column::new("four".into(), of_each(|misfit| misfit.own)),
        Column::new("full".into(), of_each(|misfit| misfit.full)),
        Column::new("four_to_full".into(), of_each(|misfit| misfit.between)),
    ])?)
}

/// Writes a row for each end, group and other group.
fn tangents(
    job: &Job,
    params: &Params,
    runs: &[Run],
    placed: &Placed,
    truth: &Truth,
    pool: &ThreadPool,
) -> Result<()> {
    let mut trained: Vec<&Run> = Vec::with_capacity(runs.len());
    for run in runs {
        if placed.is_trained(run)? {
            trained.push(run);
        }
    }
    let ends = [
        End { name: "ignorance", from: 0.0, to: 1.0, near: 0.0..=params.early },
        End { name: "truth", from: 1.0, to: 0.0, near: params.late..=1.0 },
    ];
    let (mut labels, mut others): (Vec<Scalars>, Vec<Scalars>) = (Vec::new(), Vec::new());
    let (mut names, mut counts) = (Vec::new(), Vec::<i64>::new());
    let mut numbers = [const { Vec::<f64>::new() }; 4];
    for end in &ends {
        let directions = pool.install(|| Directions::new(&trained, &params.by, placed, truth, end))?;
        for (i, group) in directions.groups.iter().enumerate() {
            for (j, other) in directions.groups.iter().enumerate() {
                names.push(end.name);
                labels.push(group.labels.clone());
                let renamed = other.labels.iter().map(|(key, value)| (format!("other_{key}"), value.clone()));
                others.push(renamed.collect());
                counts.push(group.runs.len() as i64);
                numbers[0].push(directions.norm(i));
                numbers[1].push(directions.run_norms[i]);
                numbers[2].push(directions.cosine(i, j));
                numbers[3].push(directions.cosine(i, directions.groups.len()));
            }
        }
    }
    let mut all = vec![Column::new("end".into(), names)];
    all.extend(json_columns(&labels.iter().collect::<Vec<_>>())?);
    all.extend(json_columns(&others.iter().collect::<Vec<_>>())?);
    all.push(Column::new("runs".into(), counts));
    for (name, values) in ["norm", "run_norm", "cosine", "geodesic_cosine"].into_iter().zip(numbers) {
        all.push(Column::new(name.into(), values));
    }
    Ok(Table::new(all)?.write(job.output("tangents")?)?)
}

/// A row for each of the four points and for each model.
fn four_table(params: &Params, runs: &[Run], placed: &Placed, four: &Four) -> Result<Table> {
    let none = Scalars::new();
    let [low, high] = params.between.map(|progress| progress.to_string());
    let mut names: Vec<&str> = vec!["ignorance", &low, &high, "truth"];
    let mut scalars: Vec<&Scalars> = vec![&none; names.len()];
    let mut checkpoints = vec![0i64; names.len()];
    let mut progress = vec![0.0, params.between[0], params.between[1], 1.0];
    for run in runs {
        names.extend(std::iter::repeat_n(&*run.name, run.checkpoints()));
        scalars.extend(std::iter::repeat_n(&run.scalars, run.checkpoints()));
        checkpoints.extend(0..run.checkpoints() as i64);
        progress.extend(placed.progress(run)?);
    }
    let mut all = vec![Column::new("run".into(), names)];
    all.extend(json_columns(&scalars)?);
    all.push(Column::new("checkpoint".into(), checkpoints));
    all.push(Column::new("progress".into(), progress));
    for k in 0..DIMENSIONS {
        let values: Vec<f64> = four.points.column(k).iter().chain(four.models.column(k)).copied().collect();
        all.push(Column::new(format!("pc{}", k + 1).into(), values));
    }
    Ok(Table::new(all)?)
}

/// The leading dimensions of all models in the embedding of all models, in the order of runs.
fn full(job: &Job, runs: &[Run]) -> Result<Embedding> {
    let table = Table::read(&job.input("points")?.path)?;
    let (names, checkpoints): (Vec<&str>, Vec<i64>) = (table.values("run")?, table.values("checkpoint")?);
    let rows: std::collections::HashMap<(&str, i64), usize> =
        names.into_iter().zip(checkpoints).enumerate().map(|(row, model)| (model, row)).collect();
    let mut places = Vec::new();
    for run in runs {
        for checkpoint in 0..run.checkpoints() as i64 {
            let row = rows.get(&(&*run.name, checkpoint)).with_context(|| {
                format!("the table of points has no run {}, checkpoint {checkpoint}", run.name)
            })?;
            places.push(*row);
        }
    }
    let mut coordinates = Array2::zeros((places.len(), DIMENSIONS));
    for k in 0..DIMENSIONS {
        let values: Vec<f64> = table.values(&format!("pc{}", k + 1))?;
        for (mut here, &row) in coordinates.rows_mut().into_iter().zip(&places) {
            here[k] = values[row];
        }
    }
    let spectrum = Table::read(&job.input("spectrum")?.path)?;
    let mut eigenvalues: Vec<f64> = spectrum.values("eigenvalue")?;
    eigenvalues.resize(DIMENSIONS, 0.0);
    Ok(Embedding::new(coordinates, eigenvalues))
}
