//! Figure: how much each factor explains of the distances between trajectories, train beside test.

use anyhow::{Result, ensure};
use plotters::prelude::RGBColor;
use tables::Table;

use crate::ink::{Ink, Letters, Spot};
use crate::inpca::Spectrum;
use crate::legend::{Entry, ROW, Sample, legend};
use crate::page::{HEAD, MARGIN, page, several};
use crate::panel::{Axis, BELOW, LEFT, Panel};
use crate::style;

const WIDTH: f64 = 1180.0;
/// Pixels for the names of factors, at the left of both panels.
const NAMES: f64 = 116.0;
const PANEL: f64 = (WIDTH - 2.0 * MARGIN - NAMES) / 2.0;
/// Pixels of a factor: a bar of train, one of test, room between.
const FACTOR: f64 = 50.0;
const BAR: f64 = 18.0;
/// Pixels right of a panel for what is written at the end of its longest bar.
const VALUES: f64 = 104.0;

/// What one split's table says.
struct Split {
    name: &'static str,
    colour: RGBColor,
    factors: Vec<String>,
    r2: Vec<Option<f64>>,
    p: Vec<Option<f64>>,
    importance: Vec<Option<f64>>,
    importance_sd: Vec<Option<f64>>,
    importance_p: Vec<Option<f64>>,
    forest_r2: Option<f64>,
    /// How many configurations there were: all degrees of freedom and one.
    configurations: Option<usize>,
    /// `N = 1,000 samples, M = 1,684 models in all`.
    size: String,
}

impl Split {
    fn of((table, spectrum): (&Table, &Table), name: &'static str, colour: RGBColor) -> Result<Split> {
        let numbers = |column| table.optional::<f64>(column);
        let factors = table.values::<&str>("factor")?;
        let freedom = numbers("freedom")?;
        let of = |name| freedom[factors.iter().position(|factor| *factor == name)?];
        let configurations = of("all").zip(of("residual")).map(|(all, rest)| (all + rest) as usize + 1);
        ensure!(!factors.is_empty(), "the table of factors ({name}) has no row");
        Ok(Split {
            name,
            colour,
            factors: factors.into_iter().map(str::to_owned).collect(),
            r2: numbers("r2")?,
            p: numbers("p")?,
            importance: numbers("importance")?,
            importance_sd: numbers("importance_sd")?,
            importance_p: numbers("importance_p")?,
            forest_r2: numbers("forest_r2")?.first().copied().flatten(),
            configurations,
            size: Spectrum::of(spectrum)?.size("models in all"),
        })
    }

    /// The bar of a factor: how long, its whisker, and its p.
    fn bar(&self, of: Measure, factor: &str) -> Option<(f64, Option<f64>, Option<f64>)> {
        let row = self.factors.iter().position(|other| other == factor)?;
        match of {
            Measure::Share => Some((self.r2[row]?, None, self.p[row])),
            Measure::Importance => {
                Some((self.importance[row]?, self.importance_sd[row], self.importance_p[row]))
            }
        }
    }
}

/// What is drawn: the share that a factor explains, or its importance.
#[derive(Clone, Copy)]
enum Measure {
    Share,
    Importance,
}

/// Draws the figure from the factors of train and test trajectories, each with the spectrum of the InPCA, which has the numbers
/// of samples and models.
///
/// # Errors
/// When a table lacks columns, or has no row.
pub fn draw(train: (&Table, &Table), test: (&Table, &Table)) -> Result<String> {
    let splits = [Split::of(train, "train", style::SPLITS[0])?, Split::of(test, "test", style::SPLITS[1])?];
    let mut names: Vec<&str> = splits[0].factors.iter().map(String::as_str).collect();
    let further = splits[1].factors.iter().map(String::as_str);
    // A factor may differ among the configurations of one split only: others of its runs were trained. All and residual
    // stay last.
    let last = names.iter().position(|name| *name == "all").unwrap_or(names.len());
    let further: Vec<&str> = further.filter(|name| !names.contains(name)).collect();
    names.splice(last..last, further);

    let top = HEAD - 6.0;
    let below = top + FACTOR * names.len() as f64 + BELOW;
    let title = "How much each factor explains of the distances between trajectories";
    let splits_say = splits.iter().map(|split| {
        let configurations = split.configurations.map(|number| several(number, "configuration"));
        let forests = split.forest_r2.map(|r2| format!("R\u{b2} of the forests {r2:.2}"));
        let both: Vec<String> =
            configurations.into_iter().chain([split.size.clone()]).chain(forests).collect();
        format!("{}: {}", split.name, both.join(", "))
    });
    let caption = format!(
        "{}; p by permutation; importance: growth of the forests' error, \u{b1} standard deviation",
        splits_say.collect::<Vec<_>>().join("; ")
    );
    page((WIDTH, below + ROW + MARGIN), title, &caption, |ink| {
        for (i, name) in names.iter().enumerate() {
            let letters = Letters::new(style::LABEL, style::INK);
            let letters = if ["all", "residual"].contains(name) { letters } else { letters.bold() };
            ink.text(words(name), (MARGIN, top + FACTOR * (i as f64 + 0.5)), letters)?;
        }
        let panels = [
            (Measure::Share, "share of the sum of squares, R\u{b2}"),
            (Measure::Importance, "importance in random forests, share of the variance"),
        ];
        for (i, (measure, name)) in panels.into_iter().enumerate() {
            // The panel's room for labels at its left is not needed.
            let left = MARGIN + NAMES + i as f64 * (PANEL + 10.0);
            let corners = ((left - LEFT, top), (left + PANEL - VALUES, below));
            bars(ink, corners, (measure, name), &splits, &names)?;
        }
        let entries: Vec<Entry> =
            splits.iter().map(|split| (Sample::Swatch(split.colour), split.name.to_owned())).collect();
        legend(ink, (MARGIN + NAMES, below + ROW / 2.0), PANEL, &entries)
    })
}

/// What a reader calls a factor.
fn words(factor: &str) -> &str {
    match factor {
        "arch" => "architecture",
        "batch" => "batch size",
        "rate" => "learning rate",
        "decay" => "weight decay",
        "augment" => "augmentation",
        "all" => "all together",
        other => other,
    }
}

fn bars(
    ink: &Ink,
    (from, to): (Spot, Spot),
    (measure, name): (Measure, &str),
    splits: &[Split; 2],
    names: &[&str],
) -> Result<()> {
    let lengths = || {
        let bars = splits.iter().flat_map(|split| names.iter().filter_map(|name| split.bar(measure, name)));
        bars.flat_map(|(length, spread, _)| [length - spread.unwrap_or(0.0), length + spread.unwrap_or(0.0)])
    };
    let high = match measure {
        Measure::Share => 1.0,
        Measure::Importance => 1.02 * lengths().fold(0.0, f64::max).max(0.01),
    };
    let low = lengths().fold(0.0, f64::min);
    let x = Axis::new(name, 1.1 * low..high);
    let y = Axis::new("", 0.0..names.len() as f64).bare();
    let panel = Panel::new(ink, from, to, &x, &y)?;
    ink.line(&[(panel.at(0.0, 0.0).0, panel.from.1), panel.at(0.0, 0.0)], style::INK, 0.8, 1.0)?;
    for (i, name) in names.iter().enumerate() {
        for (j, split) in splits.iter().enumerate() {
            let Some((length, spread, p)) = split.bar(measure, name) else { continue };
            let middle = from.1 + FACTOR * (i as f64 + 0.5) + BAR * (j as f64 - 0.5);
            let (start, end) = (panel.at(0.0, 0.0).0, panel.at(length, 0.0).0);
            let (left, right) = (start.min(end), start.max(end));
            let half = BAR / 2.0 - 1.0;
            ink.block((left, middle - half), (right, middle + half), split.colour)?;
            let mut reach = right;
            if let Some(spread) = spread {
                let [low, high] = [length - spread, length + spread].map(|value| panel.at(value, 0.0).0);
                ink.line(&[(low, middle), (high, middle)], style::INK, 1.0, 1.4)?;
                reach = reach.max(high);
            }
            let p = p.map_or_else(String::new, |p| format!(", p = {p:.3}"));
            let value = format!("{length:.3}{p}").replace('-', "\u{2212}");
            ink.text(&value, (reach + 6.0, middle), Letters::new(style::TICK, style::INK))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_figure_says_what_it_shows() {
        let (train, test) = (sample::factors(&["arch", "batch"]), sample::factors(&["arch", "optimizer"]));
        let spectrum = sample::spectrum(&[1.0]);
        let svg = draw((&train, &spectrum), (&test, &spectrum)).unwrap();
        sample::check(
            &svg,
            &[
                "How much each factor explains of the distances between trajectories",
                "train: 30 configurations, N = 1,000 samples, M = 152 models in all, R\u{b2} of the forests 0.80; test: 30 configurations, N = 1,000 \
                 samples, M = 152 models in all, R\u{b2} of the forests 0.80; p by permutation; importance: growth of the forests' error, \u{b1} standard deviation",
                "architecture",
                "batch size",
                "optimizer",
                "all together",
                "residual",
                "train",
                "test",
                "0.600, p = 0.001",
                "0.050, p = 0.400",
                "0.300",
                "\u{2212}0.010, p = 0.700",
            ],
        );
        assert_eq!(svg.matches("\noptimizer\n").count(), 1);
        assert_eq!(svg, draw((&train, &spectrum), (&test, &spectrum)).unwrap());
    }

    #[test]
    fn an_empty_table_is_told() {
        let factors = sample::factors(&["arch"]);
        let (none, spectrum) = (factors.rows(&[]).unwrap(), sample::spectrum(&[1.0]));
        let message = draw((&factors, &spectrum), (&none, &spectrum)).unwrap_err().to_string();
        assert_eq!(message, "the table of factors (test) has no row");
    }
}
