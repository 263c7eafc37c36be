//! The dimensions of an InPCA as axes: what each explains, and whether it is time-like.

use anyhow::{Result, ensure};
use tables::{Table, count};

use crate::panel::Axis;
use crate::style;

/// A spectrum: a row a dimension, from the first.
#[derive(Debug)]
pub struct Spectrum {
    /// Eigenvalues, largest magnitude first.
    pub eigenvalues: Vec<f64>,
    /// The stress that the first dimensions explain together, 0..1.
    pub stress: Vec<f64>,
    /// How many models were embedded.
    pub models: usize,
    /// How many samples their distances are means over.
    pub samples: usize,
    /// Whether these are logarithms of probabilities, and have a unit for it.
    pub is_in_nats: bool,
}

impl Spectrum {
    /// Reads the columns `eigenvalue`, `explained_stress`, `models`, `samples` and, if it is there, `measure`.
    ///
    /// # Errors
    /// When a column is absent or the table empty.
    pub fn of(table: &Table) -> Result<Spectrum> {
        let eigenvalues = table.numbers("eigenvalue")?;
        let stress = table.numbers("explained_stress")?;
        ensure!(!eigenvalues.is_empty(), "the spectrum has no dimension");
        let size = |column| -> Result<usize> { Ok(table.numbers(column)?[0] as usize) };
        let is_in_nats = table.values::<&str>("measure").map_or(true, |measures| measures[0] != "euclidean");
        Ok(Spectrum { eigenvalues, stress, models: size("models")?, samples: size("samples")?, is_in_nats })
    }

    /// The unit of eigenvalues, as a label ends.
    pub fn unit(&self) -> &'static str {
        if self.is_in_nats { " (nats)" } else { "" }
    }

    /// The axis of dimension `pc`, counted from 1, over these values: says what it adds to the explained stress, and is
    /// red and called time-like where squared distances along it count negatively.
    pub fn axis(&self, pc: usize, values: impl IntoIterator<Item = f64>) -> Axis {
        let stress = |dimensions: usize| match dimensions {
            0 => Some(0.0),
            n => self.stress.get(n - 1).copied(),
        };
        let mut name = format!("PC{pc}{}", if self.is_in_nats { " (√nats)" } else { "" });
        if let (Some(to), Some(from)) = (stress(pc), stress(pc - 1)) {
            let sign = if pc == 1 { "" } else { "+" };
            name.push_str(&format!(", {sign}{:.1} % of stress", 100.0 * (to - from)));
        }
        let time_like = self.eigenvalues.get(pc - 1).is_some_and(|value| *value < 0.0);
        if time_like {
            name.push_str(", time-like");
        }
        let axis = Axis::around(name, values);
        if time_like { axis.colour(style::TIME_LIKE) } else { axis }
    }

    /// How many samples and models: `N = 1,000 samples, M = 1,684 models`.
    pub fn size(&self, models: &str) -> String {
        format!("N = {} samples, M = {} {models}", count(self.samples), count(self.models))
    }
}

/// Coordinates of every row along the first `dimensions` dimensions, a vector each.
///
/// # Errors
/// When one of the columns `pc1`, `pc2`, .. is absent, or holds something else than finite numbers.
pub fn coordinates(table: &Table, dimensions: usize) -> Result<Vec<Vec<f64>>> {
    Ok((1..=dimensions).map(|pc| table.numbers(&format!("pc{pc}"))).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::page;
    use crate::panel::Panel;
    use crate::sample;

    #[test]
    fn an_axis_says_what_it_adds_and_whether_it_is_time_like() {
        let spectrum = Spectrum::of(&sample::spectrum(&[4.0, -2.0, 1.0])).unwrap();
        let shown = |pc| {
            page((400.0, 300.0), "", "", |ink| {
                let (x, y) = (spectrum.axis(pc, [0.0, 1.0]), Axis::new("y", 0.0..1.0));
                Panel::new(ink, (0.0, 0.0), (400.0, 300.0), &x, &y).map(|_| ())
            })
            .unwrap()
        };
        let red = |svg: &str| svg.contains("#C8102E");
        assert_eq!([1, 2, 3].map(|pc| red(&shown(pc))), [false, true, false]);
        // 1 - sqrt(1 - 16/21) = 0.512; 1 - sqrt(1 - 20/21) = 0.782.
        assert!(shown(1).contains("\nPC1 (√nats), 51.2 % of stress\n"));
        assert!(shown(2).contains("\nPC2 (√nats), +27.0 % of stress, time-like\n"));
        assert!(shown(9).contains("\nPC9 (√nats)\n"));
    }

    #[test]
    fn an_empty_spectrum_is_told() {
        let message = Spectrum::of(&sample::spectrum(&[])).unwrap_err().to_string();
        assert_eq!(message, "the spectrum has no dimension");
    }
}
