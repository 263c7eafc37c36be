//! Networks in a table of models: which rows are the checkpoints of one, and what is told of it.

use anyhow::Result;
use serde_json::{Map, Value};
use tables::{Models, Table};

/// Columns that are of a checkpoint, or not a setting of its network.
const OTHERS: [&str; 12] = [
    "run",
    "parameters",
    "checkpoint",
    "step",
    "epoch",
    "loss",
    "error",
    "progress",
    "geodesic_distance",
    "trained",
    "placed",
    "runs",
];

/// One network with its seed.
#[derive(Debug)]
pub struct Network {
    /// Its name in tables.
    pub run: String,
    /// Its settings by name.
    pub settings: Map<String, Value>,
    /// How many weights it has, if that is told.
    pub parameters: Option<i64>,
    /// Whether its final train error is small, if that is told.
    pub trained: Option<bool>,
    /// Its rows, in the order of checkpoints.
    pub rows: Vec<usize>,
}

impl Network {
    /// Its architecture.
    pub fn arch(&self) -> &str {
        self.settings.get("arch").and_then(Value::as_str).unwrap_or("–")
    }

    /// The row of its last checkpoint.
    pub fn last(&self) -> usize {
        *self.rows.last().expect("a network has a row, or it would not be known")
    }
}

/// The networks of a table of models, and the points of the geodesic.
#[derive(Debug)]
pub struct Networks {
    /// The names of settings, in the table's order.
    pub settings: Vec<String>,
    /// Every network, by name.
    pub all: Vec<Network>,
    /// The rows of the geodesic's points, from P0 to P*.
    pub geodesic: Vec<usize>,
}

impl Networks {
    /// Groups the rows of a table with columns `run`, `arch` and `checkpoint`.
    ///
    /// # Errors
    /// When a column is absent, or there is no network.
    pub fn of(table: &Table) -> Result<Networks> {
        table.optional::<&str>("arch")?;
        let Models { runs, geodesic } = Models::of(table)?;
        let columns = table.columns().iter().map(|column| column.name().to_string());
        let settings: Vec<String> = columns.filter(|name| is_setting(name)).collect();
        let values: Vec<Vec<Value>> =
            settings.iter().map(|name| table.scalars(name)).collect::<Result<_, _>>()?;
        let parameters = table.optional::<i64>("parameters").unwrap_or_default();
        let trained = table.optional::<bool>("trained").unwrap_or_default();
        let network = |(run, rows): (&str, Vec<usize>)| {
            let first = rows[0];
            let of_it =
                settings.iter().zip(&values).map(|(name, values)| (name.clone(), values[first].clone()));
            Network {
                run: run.to_owned(),
                settings: of_it.filter(|(_, value)| !value.is_null()).collect(),
                parameters: parameters.get(first).copied().flatten(),
                trained: trained.get(first).copied().flatten(),
                rows,
            }
        };
        Ok(Networks { all: runs.into_iter().map(network).collect(), settings, geodesic })
    }
}

fn is_setting(column: &str) -> bool {
    let is_coordinate = column.strip_prefix("pc").is_some_and(|number| number.parse::<usize>().is_ok());
    !is_coordinate && !OTHERS.contains(&column)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tables::Column;

    use super::*;

    #[test]
    fn rows_are_grouped_by_network_in_the_order_of_checkpoints() {
        let table = Table::new(vec![
            Column::new("run".into(), ["vit", "fc", "geodesic", "fc"]),
            Column::new("arch".into(), [Some("vit"), Some("fc"), None, Some("fc")]),
            Column::new("batch".into(), [Some(25_i64), Some(50), None, Some(50)]),
            Column::new("checkpoint".into(), [0_i64, 1, 0, 0]),
            Column::new("trained".into(), [Some(false), Some(true), None, Some(true)]),
            Column::new("pc1".into(), [0.0, 1.0, 2.0, 3.0]),
        ])
        .unwrap();
        let networks = Networks::of(&table).unwrap();
        assert_eq!(networks.settings, ["arch", "batch"]);
        let [fc, vit] = &networks.all[..] else { panic!("{networks:?}") };
        assert_eq!((fc.arch(), &fc.rows[..], fc.trained, fc.last()), ("fc", &[3, 1][..], Some(true), 1));
        assert_eq!((vit.settings["batch"].clone(), vit.parameters), (json!(25), None));
        assert_eq!(networks.geodesic, [2]);
    }
}
