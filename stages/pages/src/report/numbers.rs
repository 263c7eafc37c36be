//! What the report computes from tables: shares, ratios of distances, epochs.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use kit::Tensors;
use serde::Deserialize;
use serde_json::Value;
use tables::{Models, Table};

use crate::networks::{Network, Networks};

/// Median of numbers; of an even count the mean of the two in the middle. None of none.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[half]),
        _ => Some(f64::midpoint(values[half - 1], values[half])),
    }
}

/// Explained stress and the part of the distances that is left (explained distance) of the first `dimensions`
/// dimensions, if the spectrum has as many.
///
/// # Errors
/// When a column is absent.
pub fn explained(spectrum: &Table, dimensions: usize) -> Result<Option<(f64, f64)>> {
    let at = |column| -> Result<Option<f64>> { Ok(spectrum.numbers(column)?.get(dimensions - 1).copied()) };
    Ok(at("explained_stress")?.zip(at("explained_distance")?))
}

/// Mean distances of configurations that differ in one setting, and that agree in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Apart {
    /// Between the values of the setting.
    pub between: f64,
    /// Within a value.
    pub within: f64,
}

/// What the distances between trajectories say of each setting: for each name, the mean over all pairs that differ in it
/// and over all that agree; none where there is no pair of either kind.
///
/// # Errors
/// When the distances are no square matrix of the table's configurations, or a column is absent.
pub fn apart(
    trajectories: &Tensors,
    configurations: &Table,
    settings: &[String],
) -> Result<Vec<Option<Apart>>> {
    #[derive(Deserialize)]
    struct Tile {
        rows: Vec<Member>,
    }
    #[derive(Deserialize)]
    struct Member {
        run: String,
    }
    let members: Vec<String> =
        trajectories.metadata::<Tile>()?.rows.into_iter().map(|member| member.run).collect();
    let tensor = trajectories.f64s("distances")?;
    let count = members.len();
    ensure!(
        tensor.shape == [count, count],
        "`distances` has the shape {:?} for {count} configurations",
        tensor.shape
    );
    let runs = configurations.values::<&str>("run")?;
    let rows: BTreeMap<&str, usize> = runs.into_iter().enumerate().map(|(row, run)| (run, row)).collect();
    let row = |member: &String| rows.get(member.as_str()).copied();
    let of_setting = |name: &String| -> Result<Option<Apart>> {
        let values = configurations.scalars(name)?;
        let of: Vec<Option<&Value>> =
            members.iter().map(|member| row(member).map(|row| &values[row])).collect();
        // Sum and number of pairs: those that agree, those that differ.
        let mut sums = [(0.0, 0_usize); 2];
        for i in 0..count {
            for j in 0..i {
                let sum = &mut sums[usize::from(of[i] != of[j])];
                *sum = (sum.0 + tensor.values[i * count + j], sum.1 + 1);
            }
        }
        let [within, between] = sums.map(|(sum, pairs)| (pairs > 0).then(|| sum / pairs as f64));
        Ok(between.zip(within).map(|(between, within)| Apart { between, within }))
    };
    settings.iter().map(of_setting).collect()
}

/// How fast the networks of one architecture and size go.
#[derive(Debug, PartialEq)]
pub struct Speed {
    /// The architecture.
    pub arch: String,
    /// Its weights, if they are told.
    pub parameters: Option<i64>,
    /// How many networks.
    pub networks: usize,
    /// The first epoch with a checkpoint past half of the way, of each network that came so far.
    pub epochs: Vec<f64>,
}

/// When networks pass half of the way, by architecture and size, in that order. Of architectures that come in several
/// sizes those networks whose settings all sizes have.
///
/// # Errors
/// When a column is absent.
pub fn speeds(models: &Table, networks: &Networks) -> Result<Vec<Speed>> {
    let (progress, epoch) = (models.optional::<f64>("progress")?, models.optional::<f64>("epoch")?);
    let have_their_like = Models::of(models)?.have_their_like(models, palette::family)?;
    let mut speeds: BTreeMap<(&str, Option<i64>), Speed> = BTreeMap::new();
    for network in networks.all.iter().filter(|network| have_their_like[network.rows[0]]) {
        let (arch, parameters) = (network.arch(), network.parameters);
        let speed = speeds.entry((arch, parameters)).or_insert_with(|| Speed {
            arch: arch.to_owned(),
            parameters,
            networks: 0,
            epochs: Vec::new(),
        });
        speed.networks += 1;
        let half = network.rows.iter().find(|&&row| progress[row].is_some_and(|progress| progress >= 0.5));
        speed.epochs.extend(half.and_then(|&row| epoch[row]));
    }
    Ok(speeds.into_values().collect())
}

/// The distance of each model to the truth, from its loss: half of the mean cross-entropy, where no probability is 0.
///
/// # Errors
/// When there is no column `loss`.
pub fn to_truth(models: &Table) -> Result<Vec<Option<f64>>> {
    Ok(models.optional::<f64>("loss")?.into_iter().map(|loss| loss.map(|loss| loss / 2.0)).collect())
}

/// How near the models of one start are to ordinary ones.
#[derive(Debug, PartialEq)]
pub struct Start {
    /// What was fitted first; none for ordinary networks.
    pub from: Option<String>,
    /// How many networks.
    pub networks: usize,
    /// Median distance to the nearest ordinary model at the first checkpoint, and at the last.
    pub first: Option<f64>,
    /// At the last.
    pub last: Option<f64>,
}

/// What the table of other starts says of each, ordinary networks first.
///
/// # Errors
/// When a column is absent.
pub fn starts(points: &Table) -> Result<Vec<Start>> {
    let networks = Networks::of(points)?;
    let nearest = points.optional::<f64>("nearest")?;
    points.optional::<&str>("from")?;
    let mut groups: BTreeMap<Option<String>, Vec<&Network>> = BTreeMap::new();
    for network in &networks.all {
        let from = network.settings.get("from").and_then(Value::as_str).map(str::to_owned);
        groups.entry(from).or_default().push(network);
    }
    let start = |(from, members): (Option<String>, Vec<&Network>)| Start {
        from,
        networks: members.len(),
        first: median(members.iter().filter_map(|network| nearest[network.rows[0]])),
        last: median(members.iter().filter_map(|network| nearest[network.last()])),
    };
    Ok(groups.into_iter().map(start).collect())
}

#[cfg(test)]
mod tests {
    use kit::TensorsWriter;
    use serde_json::json;
    use tables::Column;

    use super::*;

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([]), None);
    }

    #[test]
    fn distances_are_compared_between_and_within_a_setting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trajectories.safetensors");
        // Two of fc, one of vit: 1 within fc, 4 and 6 between.
        let distances = [0.0, 1.0, 4.0, 1.0, 0.0, 6.0, 4.0, 6.0, 0.0];
        let rows = json!([{"run": "b", "checkpoints": 1}, {"run": "a", "checkpoints": 1}, {"run": "c", "checkpoints": 1}]);
        let mut file = TensorsWriter::new();
        file.f64s("distances", &[3, 3], &distances).write(&path, &json!({"rows": rows})).unwrap();
        let configurations = Table::new(vec![
            Column::new("run".into(), ["a", "b", "c"]),
            Column::new("arch".into(), ["fc", "fc", "vit"]),
            Column::new("batch".into(), [25_i64, 25, 25]),
        ])
        .unwrap();
        let settings = ["arch", "batch"].map(str::to_owned);
        let found = apart(&Tensors::open(&path).unwrap(), &configurations, &settings).unwrap();
        assert_eq!(found, [Some(Apart { between: 5.0, within: 1.0 }), None]);
    }

    #[test]
    fn half_of_the_way_is_passed_at_the_first_checkpoint_beyond_it() {
        let models = Table::new(vec![
            Column::new("run".into(), ["a", "a", "a", "b"]),
            Column::new("arch".into(), ["fc", "fc", "fc", "fc"]),
            Column::new("parameters".into(), [10_i64, 10, 10, 10]),
            Column::new("checkpoint".into(), [0_i64, 1, 2, 0]),
            Column::new("epoch".into(), [0.0, 2.0, 4.0, 0.0]),
            Column::new("progress".into(), [0.1, 0.6, 0.4, 0.2]),
        ])
        .unwrap();
        let speeds = speeds(&models, &Networks::of(&models).unwrap()).unwrap();
        let expected = Speed { arch: "fc".to_owned(), parameters: Some(10), networks: 2, epochs: vec![2.0] };
        assert_eq!(speeds, [expected]);
    }

    #[test]
    fn other_starts_are_compared_at_their_first_and_last_checkpoint() {
        let points = Table::new(vec![
            Column::new("run".into(), ["a", "b", "b"]),
            Column::new("arch".into(), ["fc", "fc", "fc"]),
            Column::new("from".into(), [None, Some("random-labels"), Some("random-labels")]),
            Column::new("checkpoint".into(), [0_i64, 0, 1]),
            Column::new("nearest".into(), [0.1, 2.0, 0.2]),
        ])
        .unwrap();
        let [ordinary, random] = &starts(&points).unwrap()[..] else { panic!("two starts") };
        assert_eq!((&ordinary.from, ordinary.first), (&None, Some(0.1)));
        assert_eq!((random.first, random.last), (Some(2.0), Some(0.2)));
    }
}
