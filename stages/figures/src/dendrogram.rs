//! Figure: the complete-linkage tree of configurations, with what they are beside the leaves.

use anyhow::{Result, ensure};
use plotters::prelude::RGBColor;
use tables::Table;

use crate::ink::{Ink, Letters, Spot};
use crate::inpca::Spectrum;
use crate::legend::{Entry, ROW, Sample, legend, rows};
use crate::page::{HEAD, MARGIN, page, several};
use crate::panel::{Axis, BELOW, LEFT, Panel};
use crate::runs::split_name;
use crate::style::{self, Palette};
use crate::tree::Tree;
use crate::values::{distinct, rank, texts};

/// The columns beside the leaves: of the table, in words, and pixels across.
const COLUMNS: [(&str, &str, f64); 6] = [
    ("arch", "architecture", 112.0),
    ("optimizer", "optimizer", 84.0),
    ("batch", "batch", 66.0),
    ("rate", "rate", 66.0),
    ("decay", "decay", 66.0),
    ("augment", "augmented", 84.0),
];
const WIDTH: f64 = 1180.0;
/// Rows this high, in pixels, hold text; lower ones are colours only, with a legend.
const READABLE: f64 = 14.0;

/// One column beside the leaves.
struct Column {
    words: &'static str,
    width: f64,
    cells: Vec<String>,
    /// What each distinct value looks like.
    colours: Vec<(String, RGBColor)>,
}

impl Column {
    fn colour(&self, value: &str) -> RGBColor {
        self.colours.iter().find(|(name, _)| name == value).map_or(style::GRID, |(_, colour)| *colour)
    }
}

/// What the figure is drawn from.
pub struct Tables {
    /// Configurations.
    pub configurations: Table,
    /// Their merges.
    pub linkage: Table,
    /// The spectrum of the InPCA, which has the numbers of samples and models.
    pub spectrum: Table,
    /// How each run ended: all architectures, trained or not, decide their colours.
    pub runs: Table,
}

/// Draws the figure.
///
/// # Errors
/// When a table lacks columns, has no configuration, or the merges make no tree.
pub fn draw(tables: &Tables, split: &str) -> Result<String> {
    let Tables { configurations, linkage, spectrum, runs } = tables;
    let size = Spectrum::of(spectrum)?.size("models in all");
    ensure!(
        configurations.height() > 0,
        "no configuration was trained: the table of configurations has no row"
    );
    let columns = columns(configurations, runs)?;
    let arch = &columns[0];
    let tree = Tree::of(linkage, &configurations.values::<i64>("leaf")?, &arch.cells)?;
    let leaves = tree.leaves.len();
    let row = (1400.0 / leaves as f64).clamp(2.5, 19.0);

    let entries: Vec<Entry> = if row < READABLE { entries(&columns) } else { Vec::new() };
    let top = HEAD + 14.0;
    let bottom = top + row * leaves as f64;
    let mut height = bottom + BELOW + 10.0;
    if !entries.is_empty() {
        height += ROW * rows(WIDTH - 2.0 * MARGIN, &entries)? as f64;
    }
    let runs: f64 = configurations.numbers("runs")?.iter().sum();
    let title = format!("Tree of the distances between trajectories{}", split_name(split));
    let caption = format!(
        "{}, each the mean of its trained runs ({} in all); {size}; complete linkage; a branch has the colour of its \
         architecture while it holds one only",
        several(leaves, "configuration"),
        several(runs as usize, "run")
    );
    page((WIDTH, height), &title, &caption, |ink| {
        let mut x = MARGIN;
        for column in &columns {
            strip(ink, column, &tree.leaves, (x, top), row)?;
            x += column.width;
        }
        // The panel's room for labels at its left is not needed.
        let (from, to) = ((x - LEFT + 8.0, top), (WIDTH - MARGIN, bottom + BELOW));
        let high = if tree.height() > 0.0 { 1.03 * tree.height() } else { 1.0 };
        let x = Axis::new("distance between trajectories at which branches merge (nats)", 0.0..high);
        let panel = Panel::new(ink, from, to, &x, &Axis::new("", 0.0..leaves as f64).bare())?;
        branches(ink, &panel, &tree, arch)?;
        legend(ink, (MARGIN, bottom + BELOW + ROW / 2.0), WIDTH - 2.0 * MARGIN, &entries)
    })
}

/// The columns that there are: networks of others may lack some, but not the first.
fn columns(configurations: &Table, runs: &Table) -> Result<Vec<Column>> {
    let archs = texts(runs, "arch")?;
    let palette = Palette::of(archs.iter().map(String::as_str));
    let is_there = |name: &str| configurations.columns().iter().any(|column| column.name() == name);
    let column = |(name, words, width): (&str, &'static str, f64)| {
        let cells = texts(configurations, name)?;
        let values = distinct(&cells);
        let ordered = values.iter().all(|value| value.parse::<f64>().is_ok());
        let colours = values
            .iter()
            .map(|value| {
                let place = rank(&values, value);
                let colour = match name {
                    "arch" => palette.colour(value),
                    _ if ordered || name == "augment" => style::shade(place, values.len()),
                    _ => style::NAMED[place % style::NAMED.len()],
                };
                ((*value).to_owned(), colour)
            })
            .collect();
        Ok(Column { words, width, cells, colours })
    };
    let (first, others) = (COLUMNS[0], &COLUMNS[1..]);
    let others = others.iter().copied().filter(|(name, ..)| is_there(name));
    std::iter::once(first).chain(others).map(column).collect()
}

fn entries(columns: &[Column]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for column in columns {
        entries.push((Sample::Heading, column.words.to_owned()));
        let values = column.colours.iter();
        entries.extend(values.map(|(value, colour)| (Sample::Swatch(*colour), value.clone())));
    }
    entries
}

/// Draws a column from its top left: its name, and a cell a leaf, with text where rows are high enough.
fn strip(ink: &Ink, column: &Column, leaves: &[usize], (x, top): Spot, row: f64) -> Result<()> {
    let middle = x + (column.width - 3.0) / 2.0;
    let letters = Letters::new(style::TICK, style::INK).centred();
    ink.text(column.words, (middle, top - 12.0), letters.bold())?;
    let gap = if row < READABLE { 0.0 } else { 1.0 };
    for (i, &leaf) in leaves.iter().enumerate() {
        let value = &column.cells[leaf];
        let colour = column.colour(value);
        let y = top + i as f64 * row;
        ink.block((x, y), (x + column.width - 3.0, y + row - gap), colour)?;
        if row >= READABLE {
            let letters = Letters::new(style::TICK, style::text_on(colour)).centred();
            ink.text(value, (middle, y + row / 2.0), letters)?;
        }
    }
    Ok(())
}

/// Draws the merges as brackets.
fn branches(ink: &Ink, panel: &Panel, tree: &Tree, arch: &Column) -> Result<()> {
    let leaves = tree.leaves.len() as f64;
    let at = |place: f64, height: f64| panel.at(height, leaves - place - 0.5);
    for merge in &tree.merges {
        let colour = merge.category.as_deref().map_or(style::MUTED, |name| arch.colour(name));
        let [(one, from_one), (two, from_two)] = merge.branches;
        let bracket = [at(one, from_one), at(one, merge.height), at(two, merge.height), at(two, from_two)];
        ink.line(&bracket, colour, 1.0, 1.6)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn tables(configurations: Table, leaves: i64) -> Tables {
        let runs = Table::new(vec![configurations.columns()[0].clone()]).unwrap();
        Tables { configurations, linkage: sample::linkage(leaves), spectrum: sample::spectrum(&[1.0]), runs }
    }

    #[test]
    fn the_figure_says_what_it_shows() {
        let tables = tables(sample::configurations(&["fc", "vit"]), 6);
        let svg = draw(&tables, "train").unwrap();
        sample::check(
            &svg,
            &[
                "Tree of the distances between trajectories, train set",
                "6 configurations, each the mean of its trained runs (12 runs in all); N = 1,000 samples, M = 152 models in all; complete linkage; a branch \
                 has the colour of its architecture while it holds one only",
                "distance between trajectories at which branches merge (nats)",
                "architecture",
                "fc",
                "vit",
                "optimizer",
                "adam",
                "batch",
                "50",
                "rate",
                "0.1",
                "decay",
                "0",
                "augmented",
                "no",
            ],
        );
        assert_eq!(svg, draw(&tables, "train").unwrap());
    }

    #[test]
    fn a_column_that_networks_do_not_have_is_left_out() {
        let all = sample::configurations(&["fc", "vit"]);
        let some = all.columns().iter().filter(|column| column.name() != "augment").cloned().collect();
        let svg = draw(&tables(Table::new(some).unwrap(), 6), "train").unwrap();
        assert!(svg.contains("decay") && !svg.contains("augmented"));
    }

    #[test]
    fn many_leaves_have_a_legend_in_place_of_text() {
        let names: Vec<String> = (0..134).map(|i| format!("net-{i:03}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let svg = draw(&tables(sample::configurations(&names), 402), "train").unwrap();
        for name in ["net-000", "net-133", "adam", "0.1"] {
            assert_eq!(svg.matches(&format!(">\n{name}\n</text>")).count(), 1, "{name}");
        }
    }

    #[test]
    fn an_architecture_has_the_colour_that_it_has_among_all() {
        let mut tables = tables(sample::configurations(&["fc-256"]), 3);
        let all = sample::configurations(&["fc-128", "fc-256"]);
        tables.runs = Table::new(vec![all.columns()[0].clone()]).unwrap();
        sample::check_larger_of_two(&draw(&tables, "train").unwrap(), ["fc-128", "fc-256"]);
    }

    #[test]
    fn a_single_configuration_can_be_drawn() {
        let configurations = sample::configurations(&["fc"]).rows(&[2]).unwrap();
        assert!(draw(&tables(configurations, 1), "train").is_ok());
    }

    #[test]
    fn a_table_without_configurations_is_told() {
        let none = sample::configurations(&["fc"]).rows(&[]).unwrap();
        let message = draw(&tables(none, 1), "train").unwrap_err().to_string();
        assert_eq!(message, "no configuration was trained: the table of configurations has no row");
    }
}
