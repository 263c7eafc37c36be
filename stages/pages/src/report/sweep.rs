//! The table of networks: a row a network, which the reader sorts and filters.

use std::collections::HashMap;
use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Map, Value};
use tables::{Table, count, shown};

use super::{Inputs, Section};
use crate::html::escape;
use crate::networks::{Network, Networks};

/// A cell: what is read, and what is sorted by where that is not the same.
struct Cell {
    words: String,
    sorted_by: Option<f64>,
}

/// The table of the networks of a table of models.
///
/// # Errors
/// When a column is absent.
pub fn section(inputs: &Inputs, models: &Table, networks: &Networks) -> Result<Section> {
    let test = inputs.table("models-test")?;
    let test_errors = test.as_ref().map(last_errors).transpose()?;
    let (error, progress) = (models.optional::<f64>("error")?, models.optional::<f64>("progress")?);
    // A setting that no network has says nothing.
    let settings: Vec<&String> = networks
        .settings
        .iter()
        .filter(|name| networks.all.iter().any(|network| network.settings.contains_key(*name)))
        .collect();
    let mut columns: Vec<&str> = settings.iter().map(|name| name.as_str()).collect();
    columns.extend(["parameters", "checkpoints", "train error"]);
    columns.extend(test_errors.as_ref().map(|_| "test error"));
    columns.extend(["progress", "trained"]);

    let mut body = format!(
        "<p>{} networks. <span class=\"sorting\">A column's name sorts by it; words in the field leave the rows that \
         have them all.</span></p>\n\
         <p class=\"filter\" hidden><label>Filter <input type=\"search\" id=\"filter\" placeholder=\"as: fc adam\"></label> \
         <output id=\"found\"></output></p>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table of networks\">\n\
         <table class=\"sweep\" id=\"sweep\">\n<thead><tr>",
        count(networks.all.len())
    );
    for name in &columns {
        let _ = write!(body, "<th scope=\"col\" data-name=\"{0}\">{0}</th>", escape(name));
    }
    body += "</tr></thead>\n<tbody>\n";
    for network in &networks.all {
        let mut cells: Vec<Cell> = settings.iter().map(|name| setting(network, name)).collect();
        cells.push(whole(network.parameters));
        cells.push(whole(Some(network.rows.len() as i64)));
        cells.push(share(error[network.last()]));
        cells.extend(test_errors.as_ref().map(|errors| share(errors.get(&network.run).copied())));
        cells.push(number(progress[network.last()]));
        cells.push(Cell {
            words: network.trained.map_or("–".to_owned(), |trained| shown(&trained.into())),
            sorted_by: None,
        });
        // By its settings the page's script finds the jobs that made the network.
        let of_it: Map<String, Value> = network.settings.clone();
        let _ = write!(body, "<tr data-settings=\"{}\">", escape(&Value::Object(of_it).to_string()));
        for Cell { words, sorted_by } in cells {
            match sorted_by {
                Some(value) => {
                    let _ =
                        write!(body, "<td class=\"number\" data-value=\"{value}\">{}</td>", escape(&words));
                }
                None => {
                    let _ = write!(body, "<td>{}</td>", escape(&words));
                }
            }
        }
        body += "</tr>\n";
    }
    body += "</tbody>\n</table>\n</div>\n";
    body += &inputs.made(&["models-train", "models-test"])?;
    Ok(Section { id: "networks", short: "All networks", title: "All networks", body })
}

/// The last error of each network, by its name.
fn last_errors(models: &Table) -> Result<HashMap<String, f64>> {
    let errors = models.optional::<f64>("error")?;
    let networks = Networks::of(models)?;
    let last = |network: Network| Some((network.run.clone(), errors[network.last()]?));
    Ok(networks.all.into_iter().filter_map(last).collect())
}

fn setting(network: &Network, name: &str) -> Cell {
    let value = network.settings.get(name).unwrap_or(&Value::Null);
    Cell { words: shown(value), sorted_by: value.as_f64() }
}

fn whole(value: Option<i64>) -> Cell {
    let words = value.and_then(|value| usize::try_from(value).ok()).map_or("–".to_owned(), count);
    Cell { words, sorted_by: value.map(|value| value as f64) }
}

fn number(value: Option<f64>) -> Cell {
    Cell { words: value.map_or("–".to_owned(), |value| format!("{value:.2}")), sorted_by: value }
}

fn share(value: Option<f64>) -> Cell {
    Cell {
        words: value.map_or("–".to_owned(), |value| format!("{:.1} %", 100.0 * value)), sorted_by: value
    }
}
