//! Costs: what a profile says that jobs of a stage take, as factors that follow from their labels.

use serde_json::Value;

use super::document;
use super::error::{Problems, hint};
use super::fanout;
use super::literal::Scalar;
use super::params::Params;
use super::positions::Place;
use super::reference::dollar;
use super::sweep::{self, Condition, Domains};
use super::{Labels, Stage, Sweep};

/// Factors of what jobs take that meet a condition.
#[derive(Debug)]
pub struct Cost {
    when: Condition,
    seconds: Option<f64>,
    bytes: Option<f64>,
}

/// What a job is said to take, as far as anything is said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Costs {
    /// Seconds that it runs.
    pub seconds: Option<f64>,
    /// Bytes of all its outputs.
    pub bytes: Option<f64>,
}

impl Stage {
    /// What the profile says that a job with these labels takes: the product of all factors whose conditions it meets.
    pub fn cost(&self, labels: &Labels) -> Costs {
        let met: Vec<&Cost> = self.costs.iter().filter(|cost| cost.when.meets(labels)).collect();
        let product = |factor: fn(&Cost) -> Option<f64>| {
            met.iter().filter_map(|cost| factor(cost)).reduce(|product, factor| product * factor)
        };
        Costs { seconds: product(|cost| cost.seconds), bytes: product(|cost| cost.bytes) }
    }
}

/// Checks a profile's costs and gives them to its stages.
pub(super) fn assign(
    given: &indexmap::IndexMap<String, Vec<document::Cost>>,
    place: &Place,
    stages: &mut [Stage],
    sweeps: &[Sweep],
    params: &Params,
    problems: &mut Problems,
) {
    for (name, costs) in given {
        let place = place.key(name);
        let names = stages.iter().map(|stage| stage.name.as_str());
        let Some(index) = stages.iter().position(|stage| stage.name == *name) else {
            problems.key(&place, format!("the profile has no stage `{name}`{}", hint(name, names)));
            continue;
        };
        let labels = fanout::labels(&stages[index].each, sweeps).into_iter();
        let domains: Domains = labels.map(|(name, label)| (name.to_owned(), label.values)).collect();
        let each = |(i, cost)| self::cost(cost, &place.index(i), &domains, params, problems);
        stages[index].costs = costs.iter().enumerate().map(each).collect();
    }
}

fn cost(
    given: &document::Cost,
    place: &Place,
    domains: &Domains,
    params: &Params,
    problems: &mut Problems,
) -> Cost {
    let when = sweep::condition(&given.when, &place.key("when"), domains, problems);
    let mut factor = |key, given: &Option<Scalar>| {
        let found = number(&given.as_ref()?.0.0, params);
        found.map_err(|what| problems.value(&place.key(key), what)).ok()
    };
    Cost { when, seconds: factor("seconds", &given.seconds), bytes: factor("bytes", &given.bytes) }
}

/// A factor, or the parameter that is one.
fn number(given: &Value, params: &Params) -> Result<f64, String> {
    let reference = given.as_str().and_then(dollar).transpose()?;
    let value = reference.map_or(Ok(given), |reference| params.get(&reference))?;
    let number = value.as_f64().filter(|number| *number >= 0.0);
    number.ok_or_else(|| {
        let named = given.as_str().map_or(String::new(), |text| format!("`{text}` is "));
        format!("{named}{value}, expected a number of at least 0")
    })
}
