//! Configurations: the runs that differ in their seed only, and their mean trajectories.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use geometry::{Place, Trajectory, Tree};
use ndarray::Array2;
use runs::{Run, Scalars};
use tables::{Column, Table, json_columns};

/// What is left of a network without its seed.
pub(crate) struct Configuration<'a> {
    pub(crate) name: &'a str,
    scalars: &'a Scalars,
    parameters: i64,
    /// Its runs, and the trajectory of each.
    pub(crate) members: Vec<(&'a Run<'a>, Trajectory)>,
}

impl<'a> Configuration<'a> {
    /// Groups runs, which have these places; sorted by name.
    pub(crate) fn group(runs: impl Iterator<Item = (&'a Run<'a>, &'a Vec<Place>)>) -> Vec<Configuration<'a>> {
        let mut groups: BTreeMap<&str, Configuration> = BTreeMap::new();
        for (run, places) in runs {
            let (name, scalars) = &run.configuration;
            let configuration = groups.entry(name).or_insert_with(|| Configuration {
                name,
                scalars,
                parameters: run.parameters,
                members: Vec::new(),
            });
            let progress: Vec<f64> = places.iter().map(|place| place.progress).collect();
            configuration.members.push((run, Trajectory::new(&progress)));
        }
        groups.into_values().collect()
    }

    /// The mean error of its runs at their end.
    fn error(&self) -> f64 {
        let errors = self.members.iter().map(|(run, _)| run.error[run.checkpoints() - 1]);
        errors.sum::<f64>() / self.members.len() as f64
    }
}

/// Writes a row for each configuration, the leaves of a tree.
pub(crate) fn write(path: &Path, configurations: &[Configuration], tree: &Tree) -> Result<()> {
    let mut leaves = vec![0i64; configurations.len()];
    for (place, &leaf) in tree.leaves.iter().enumerate() {
        leaves[leaf] = place as i64;
    }
    let each = configurations.iter();
    let names: Vec<&str> = each.clone().map(|configuration| configuration.name).collect();
    let mut all = vec![Column::new("run".into(), names)];
    all.extend(json_columns(&each.clone().map(|configuration| configuration.scalars).collect::<Vec<_>>())?);
    let parameters: Vec<i64> = each.clone().map(|configuration| configuration.parameters).collect();
    let runs: Vec<i64> = each.clone().map(|configuration| configuration.members.len() as i64).collect();
    let errors: Vec<f64> = each.map(Configuration::error).collect();
    all.extend([
        Column::new("parameters".into(), parameters),
        Column::new("checkpoint".into(), vec![0i64; configurations.len()]),
        Column::new("runs".into(), runs),
        Column::new("error".into(), errors),
        Column::new("leaf".into(), leaves),
    ]);
    Ok(Table::new(all)?.write(path)?)
}

/// Writes a row for each pair of configurations, with the distance of their trajectories.
pub(crate) fn write_distances(
    path: &Path,
    configurations: &[Configuration],
    distances: &Array2<f64>,
) -> Result<()> {
    let names: Vec<&str> = configurations.iter().map(|configuration| configuration.name).collect();
    let pairs = || (0..names.len()).flat_map(|one| (one + 1..names.len()).map(move |other| (one, other)));
    let table = Table::new(vec![
        Column::new("run".into(), pairs().map(|(one, _)| names[one]).collect::<Vec<_>>()),
        Column::new("other".into(), pairs().map(|(_, other)| names[other]).collect::<Vec<_>>()),
        Column::new("distance".into(), pairs().map(|pair| distances[pair]).collect::<Vec<_>>()),
    ])?;
    Ok(table.write(path)?)
}

/// Writes a row for each merge of a tree.
pub(crate) fn write_linkage(path: &Path, tree: &Tree) -> Result<()> {
    let merges = tree.merges.iter();
    let integers = |name: &str, values: Vec<usize>| {
        Column::new(name.into(), values.into_iter().map(|value| value as i64).collect::<Vec<_>>())
    };
    let table = Table::new(vec![
        integers("left", merges.clone().map(|merge| merge.left).collect()),
        integers("right", merges.clone().map(|merge| merge.right).collect()),
        Column::new("height".into(), merges.clone().map(|merge| merge.height).collect::<Vec<_>>()),
        integers("count", merges.map(|merge| merge.count).collect()),
    ])?;
    Ok(table.write(path)?)
}
