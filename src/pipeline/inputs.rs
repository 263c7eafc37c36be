//! Inputs of stages: what they refer to, whether one artifact or a list comes of it, and the order that follows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::document::{self, OneOrMany};
use super::error::{Problems, hint};
use super::fanout::{self, Label, StageLabels};
use super::positions::Place;
use super::reference::{Pick, Reference, braces, is_name, name_rule, project_path, reference};
use super::{Each, Input, Labels, Select, Source, Stage, StageId, Sweep, stage, sweep};

/// Fills in the inputs of stages that are otherwise right, from how each was given. Their ids are places in `stages` as
/// given, which [`sort`] changes. `elsewhere` are the stages of other profiles: what may be left out comes from them.
pub(super) fn resolve(
    given: &[&document::Stage],
    elsewhere: &BTreeMap<String, Vec<String>>,
    stages: &mut [Stage],
    sweeps: &[Sweep],
    root: &Path,
    problems: &mut Problems,
) {
    let resolver = Resolver { stages: &*stages, elsewhere, sweeps, root };
    let mut all = Vec::new();
    for (consumer, given) in stages.iter().zip(given) {
        let place = Place::of(&["stages", &consumer.name, "inputs"]);
        all.push(resolver.inputs(consumer, &given.inputs, &place, problems));
    }
    for (stage, inputs) in stages.iter_mut().zip(all) {
        stage.inputs = inputs;
    }
}

struct Resolver<'a> {
    stages: &'a [Stage],
    elsewhere: &'a BTreeMap<String, Vec<String>>,
    sweeps: &'a [Sweep],
    root: &'a Path,
}

impl Resolver<'_> {
    fn inputs(
        &self,
        consumer: &Stage,
        given: &indexmap::IndexMap<String, OneOrMany<String>>,
        place: &Place,
        problems: &mut Problems,
    ) -> BTreeMap<String, Input> {
        let labels = fanout::labels(&consumer.each, self.sweeps);
        let mut inputs = BTreeMap::new();
        for (name, sources) in given {
            let place = place.key(name);
            if !is_name(name) {
                problems.key(&place, name_rule("input", name));
            }
            let mut found = Vec::new();
            for (i, text) in sources.as_slice().iter().enumerate() {
                let place = place.index(i);
                if text.starts_with("./") {
                    found.extend(self.file(consumer, text, &place, problems));
                } else {
                    let taken = reference(text).and_then(|reference| {
                        let is_left_out = reference.optional && self.elsewhere.contains_key(reference.stage);
                        (!is_left_out).then(|| self.jobs(consumer, &labels, &reference)).transpose()
                    });
                    match taken {
                        Ok(source) => found.extend(source),
                        Err(what) => problems.value(&place, self.as_file(text).unwrap_or(what)),
                    }
                }
            }
            let input = match (sources, found.pop()) {
                (OneOrMany::One(_), Some(source)) => Input::One(source),
                (OneOrMany::One(_), None) => continue,
                (OneOrMany::Many(_), last) => Input::Many(found.into_iter().chain(last).collect()),
            };
            inputs.insert(name.clone(), input);
        }
        inputs
    }

    /// What to say of a text that names no stage, but a file or folder of the project.
    fn as_file(&self, text: &str) -> Option<String> {
        let path = project_path(text).ok()?;
        let is_stage = reference(text).is_ok_and(|it| self.stages.iter().any(|stage| stage.name == it.stage));
        let what = "names no stage, but is there in the project; a source begins with `./`";
        (!is_stage && self.root.join(&path).exists())
            .then(|| format!("`{text}` {what}: ./{}", path.display()))
    }

    /// A file of the project, or one for each configuration.
    fn file(&self, consumer: &Stage, text: &str, place: &Place, problems: &mut Problems) -> Option<Source> {
        if !text.contains('{') {
            return stage::file(text, "the source", place, self.root, problems).map(Source::File);
        }
        self.files(consumer, text).map_err(|what| problems.value(place, what)).ok()
    }

    /// The file of each configuration, of a path with `{variable.value}` in it.
    fn files(&self, consumer: &Stage, text: &str) -> Result<Source, String> {
        let used = braces(text)?;
        let bound = |name: &str| {
            consumer.each.iter().find_map(|clause| match clause {
                Each::Configuration { variable, sweep } if variable == name => Some(&self.sweeps[sweep.0]),
                _ => None,
            })
        };
        let (variable, _) = used[0].split_once('.').unwrap_or((used[0], ""));
        let sweep = bound(variable).ok_or_else(|| {
            let wanted = "write {NAME.VALUE}, where the stage says `each: NAME in SWEEP`";
            format!("`{{{}}}` is no value of the job's configuration; {wanted}", used[0])
        })?;
        let mut values = Vec::new();
        for brace in used {
            let value = brace.strip_prefix(variable).and_then(|rest| rest.strip_prefix('.'));
            let value = value.ok_or_else(|| format!("`{{{brace}}}` is no value of `{variable}`"))?;
            stage::has_value(sweep, value)?;
            values.push((format!("{{{brace}}}"), value));
        }
        let mut missing = Vec::new();
        let mut paths = Vec::new();
        for configuration in &sweep.configurations {
            let filled = values.iter().fold(text.to_owned(), |path, (brace, value)| {
                let value = &configuration.values[*value];
                path.replace(brace, value.as_str().unwrap_or(&value.to_string()))
            });
            let path = project_path(&filled)?;
            if !self.root.join(&path).exists() {
                missing.push(format!("{}, of {}", path.display(), sweep::named(&configuration.labels)));
            }
            paths.push(path);
        }
        match &missing[..] {
            [] => Ok(Source::Files { variable: variable.to_owned(), text: text.to_owned(), paths }),
            [only] => Err(format!("the source {only}, does not exist")),
            [first, ..] => Err(format!("{} sources do not exist; the first is {first}", missing.len())),
        }
    }

    /// The jobs that a reference takes for a job of the consumer.
    fn jobs(&self, consumer: &Stage, own: &StageLabels, reference: &Reference) -> Result<Source, String> {
        let known = || self.stages.iter().map(|stage| stage.name.as_str());
        let name = reference.stage;
        let index = known()
            .position(|known| known == name)
            .ok_or_else(|| format!("there is no stage `{name}`{}", hint(name, known())))?;
        let producer = &self.stages[index];
        if !producer.outputs.contains_key(reference.output) {
            let hint = hint(reference.output, producer.outputs.keys().map(String::as_str));
            return Err(format!("the stage `{name}` has no output `{}`{hint}", reference.output));
        }
        let theirs = fanout::labels(&producer.each, self.sweeps);
        let mut select = Select::default();
        for pick in &reference.picks {
            match pick {
                Pick::All => select.all = true,
                Pick::Group(group) => {
                    check_group(group, consumer, name, &theirs)?;
                    select.group = Some((*group).to_owned());
                }
                Pick::Label(label, value) => {
                    let value = self.checked_value(label, value, producer, &theirs)?;
                    if select.labels.insert((*label).to_owned(), value).is_some() {
                        return Err(format!("`{label}` is here twice"));
                    }
                }
            }
        }
        for (label, their) in theirs.iter().filter(|(label, _)| !select.labels.contains_key(**label)) {
            if own.get(label).is_some_and(|own| own.label != their.label) {
                return Err(format!(
                    "the label `{label}` of `{name}` and that of `{}` stand for different things; rename one",
                    consumer.name
                ));
            }
        }
        let open: Vec<&str> = theirs
            .keys()
            .filter(|label| !own.contains_key(**label) && !select.labels.contains_key(**label))
            .copied()
            .collect();
        if !open.is_empty() && !select.all && select.group.is_none() {
            return Err(several(reference, &select.labels, &open, fitting_group(consumer, &theirs)));
        }
        Ok(Source::Jobs { stage: StageId(index), output: reference.output.to_owned(), select })
    }

    /// A label's value as the producer's jobs have it: as written, or by its number.
    fn checked_value(
        &self,
        label: &str,
        value: &str,
        producer: &Stage,
        theirs: &StageLabels,
    ) -> Result<String, String> {
        let name = &producer.name;
        let their = theirs.get(label).ok_or_else(|| {
            format!("a job of `{name}` has no label `{label}`{}", hint(label, theirs.keys().copied()))
        })?;
        if their.values.contains(value) {
            return Ok(value.to_owned());
        }
        fanout::by_number(value, label, &producer.each, self.sweeps).map(str::to_owned).ok_or_else(|| {
            let hint = hint(value, their.values.iter().map(String::as_str));
            format!("no job of `{name}` has `{label}` = `{value}`{hint}")
        })
    }
}

/// That a group is one of the consumer's, and that its labels are the producer's.
fn check_group(group: &str, consumer: &Stage, producer: &str, theirs: &StageLabels) -> Result<(), String> {
    let groups = groups(consumer);
    let by = groups.get(group).ok_or_else(|| {
        format!("the stage `{}` has no group `{group}`{}", consumer.name, hint(group, groups.keys().copied()))
    })?;
    match by.iter().find(|name| !is_configurations(name, theirs)) {
        Some(name) => {
            Err(format!("`{group}` groups by `{name}`, but the jobs of `{producer}` have no label `{name}`"))
        }
        None => Ok(()),
    }
}

/// The groups a stage's jobs are of, each with the labels it groups by.
fn groups(stage: &Stage) -> BTreeMap<&str, &[String]> {
    let of_clause = |clause| match clause {
        &Each::Configuration { .. } => Vec::new(),
        Each::Group { variable, by, .. } => vec![(variable.as_str(), &by[..])],
        Each::Pairs { variables, by, .. } => variables.iter().map(|name| (name.as_str(), &by[..])).collect(),
    };
    stage.each.iter().flat_map(of_clause).collect()
}

/// Whether jobs have this label from their configuration.
fn is_configurations(label: &str, labels: &StageLabels) -> bool {
    labels.get(label).is_some_and(|label| label.label == Label::Configuration)
}

fn fitting_group<'a>(consumer: &'a Stage, theirs: &StageLabels) -> Option<&'a str> {
    let fits = |by: &[String]| by.iter().all(|label| is_configurations(label, theirs));
    groups(consumer).into_iter().find(|(_, by)| fits(by)).map(|(group, _)| group)
}

fn several(reference: &Reference, labels: &Labels, open: &[&str], group: Option<&str>) -> String {
    let (stage, output) = (reference.stage, reference.output);
    let kept: String = labels.iter().map(|(label, value)| format!(", {label}={value}")).collect();
    let names: Vec<String> = open.iter().map(|label| format!("`{label}`")).collect();
    let which = group.map_or_else(|| format!("{}=..", open[0]), str::to_owned);
    format!(
        "this leaves several jobs of `{stage}`, which differ in {}; write {stage}[*{kept}].{output} to take them all, \
         or say which: {stage}[{which}{kept}].{output}",
        names.join(", ")
    )
}

/// Puts each stage after those it takes inputs from, else in the given order; says which input closes a circle.
pub(super) fn sort(stages: Vec<Stage>, problems: &mut Problems) -> Vec<Stage> {
    let needs: Vec<Vec<(usize, Place)>> = stages.iter().map(producers).collect();
    let mut rank = vec![None; stages.len()];
    for next in 0..stages.len() {
        let ready = |&stage: &usize| {
            rank[stage].is_none() && needs[stage].iter().all(|(producer, _)| rank[*producer].is_some())
        };
        let Some(stage) = (0..stages.len()).find(ready) else {
            circle(&stages, &needs, &rank, problems);
            return Vec::new();
        };
        rank[stage] = Some(next);
    }
    let mut ranked: Vec<(Option<usize>, Stage)> = rank.iter().copied().zip(stages).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    let mut stages: Vec<Stage> = ranked.into_iter().map(|(_, stage)| stage).collect();
    for source in stages.iter_mut().flat_map(|stage| stage.inputs.values_mut()).flat_map(sources_mut) {
        if let Source::Jobs { stage, .. } = source {
            // The loop above ranked all stages.
            *stage = StageId(rank[stage.0].unwrap_or_default());
        }
    }
    stages
}

/// The stages a stage takes inputs from, each with the place that says so.
fn producers(stage: &Stage) -> Vec<(usize, Place)> {
    let place = Place::of(&["stages", &stage.name, "inputs"]);
    let mut found = Vec::new();
    for (name, input) in &stage.inputs {
        for (i, source) in input.sources().iter().enumerate() {
            if let Source::Jobs { stage, .. } = source {
                found.push((stage.0, place.key(name).index(i)));
            }
        }
    }
    found
}

fn sources_mut(input: &mut Input) -> &mut [Source] {
    match input {
        Input::One(source) => std::slice::from_mut(source),
        Input::Many(sources) => sources,
    }
}

/// Every stage without a rank waits for another without one, so following those comes round.
fn circle(stages: &[Stage], needs: &[Vec<(usize, Place)>], rank: &[Option<usize>], problems: &mut Problems) {
    let mut path: Vec<usize> = rank.iter().position(Option::is_none).into_iter().collect();
    while let Some(last) = path.last() {
        let Some((next, place)) = needs[*last].iter().find(|(producer, _)| rank[*producer].is_none()) else {
            return;
        };
        if let Some(start) = path.iter().position(|stage| stage == next) {
            let round = path[start..].iter().chain([next]).map(|stage| stages[*stage].name.as_str());
            let round = round.collect::<Vec<_>>().join(" -> ");
            return problems.value(place, format!("stages wait for each other's outputs: {round}"));
        }
        path.push(*next);
    }
}

/// Where published paths of stages collide: one equal to another, or below it.
pub(super) fn check_published(stages: &[Stage], problems: &mut Problems) {
    let mut all: Vec<(PathBuf, String)> = Vec::new();
    for stage in stages {
        for (output, text) in &stage.publish {
            let path = PathBuf::from(text);
            let place = Place::of(&["stages", &stage.name, "publish", output]);
            for (other, owner) in &all {
                if path.starts_with(other) || other.starts_with(&path) {
                    let other = other.display();
                    problems.value(&place, format!("`{text}` is taken: {owner} is published as `{other}`"));
                }
            }
            all.push((path, format!("{}.{output}", stage.name)));
        }
    }
}
