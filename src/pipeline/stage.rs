//! A stage by itself: program, fan-out, parameters, outputs, needs. Its inputs follow in [`super::inputs`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::command;
use super::document;
use super::error::{Problems, hint};
use super::fanout;
use super::params::Params;
use super::positions::Place;
use super::reference::{self, braces, dollar, is_name, name_rule, project_path};
use super::sweep::named;
use super::{Each, Gpu, Kind, Needs, Output, Param, Program, Stage, Sweep};

/// What a stage's text may refer to.
pub(super) struct Scope<'a> {
    /// The project's folder.
    pub root: &'a Path,
    /// The folder of the workspace that has the crates.
    pub workspace: &'a Path,
    /// The profile's parameters.
    pub params: &'a Params,
    /// The profile's sweeps.
    pub sweeps: &'a [Sweep],
}

/// Checks all of a stage but its inputs, which are left empty. What is wrong goes to `problems`; the stage is right only
/// if nothing went there.
pub(super) fn check(
    name: &str,
    given: &document::Stage,
    place: &Place,
    scope: &Scope,
    problems: &mut Problems,
) -> Stage {
    if !is_name(name) {
        problems.key(place, name_rule("stage", name));
    }
    let each = fanout::clauses(given, place, scope, problems);
    let clauses = each.as_deref().unwrap_or_default();
    let program = program(given, place, clauses, scope, problems);
    let outputs = outputs(given, &place.key("outputs"), clauses, scope, problems);
    let (mut params, mut publish) = (BTreeMap::new(), BTreeMap::new());
    // Without right clauses, all that refers to them would seem wrong too.
    if let Some(each) = &each {
        params = self::params(given, &place.key("params"), each, scope, problems);
        publish = self::publish(given, &place.key("publish"), &fanout::labels(each, scope.sweeps), problems);
    }
    let tool = |(name, path): (&String, &String)| {
        let place = place.key("tools").key(name);
        Some((name.clone(), file(path, "the pin file", &place, scope.root, problems)?))
    };
    Stage {
        name: name.to_owned(),
        about: given.about.clone(),
        tools: given.tools.iter().filter_map(tool).collect(),
        program: program.unwrap_or(Program::Command { command: Vec::new(), code: Vec::new() }),
        each: each.unwrap_or_default(),
        params,
        inputs: BTreeMap::new(),
        outputs,
        publish,
        provenance: given.provenance,
        intermediate: !given.keep,
        needs: needs(&given.needs, &place.key("needs"), scope.params, problems),
        costs: Vec::new(),
        heavy: given.heavy,
        env: env(&given.env, &place.key("env"), problems),
        reads: reads(&given.reads, &place.key("reads"), scope.root, problems),
        network: given.network,
        timeout: timeout(given.timeout.as_deref(), &place.key("timeout"), problems),
        retries: given.retries,
        resume: given.resume,
    }
}

/// A path of the project that has to be there.
pub(super) fn file(
    text: &str,
    what: &str,
    place: &Place,
    root: &Path,
    problems: &mut Problems,
) -> Option<PathBuf> {
    let path = project_path(text).map_err(|error| problems.value(place, error)).ok()?;
    if !root.join(&path).exists() {
        let patterns =
            if text.contains(['*', '?', '[']) { "; patterns are not read: name the folder" } else { "" };
        problems.value(place, format!("{what} {} does not exist{patterns}", path.display()));
        return None;
    }
    Some(path)
}

fn program(
    given: &document::Stage,
    place: &Place,
    each: &[Each],
    scope: &Scope,
    problems: &mut Problems,
) -> Option<Program> {
    match (&given.krate, &given.run) {
        (Some(folder), None) => {
            if !given.code.is_empty() {
                problems.key(
                    &place.key("code"),
                    "`code` goes with `run`; the code of a crate is found by itself",
                );
            }
            let place = place.key("crate");
            let folder = file(folder, "the crate's folder", &place, scope.workspace, problems)?;
            if !scope.workspace.join(&folder).join("Cargo.toml").is_file() {
                problems.value(&place, format!("{} is not a crate: it has no Cargo.toml", folder.display()));
            }
            Some(Program::Crate(folder))
        }
        (None, Some(command)) => {
            let run = place.key("run");
            if command.first().is_none_or(String::is_empty) {
                problems.value(&run, "the command is empty");
            }
            command::check(given, command, &run, each, scope.sweeps, problems);
            let code = given.code.iter().enumerate().filter_map(|(i, path)| {
                file(path, "the code", &place.key("code").index(i), scope.root, problems)
            });
            Some(Program::Command { command: command.clone(), code: code.collect() })
        }
        (Some(_), Some(_)) => {
            problems.key(&place.key("run"), "a stage has a `crate` or a command (`run`), not both");
            None
        }
        (None, None) => {
            problems.key(place, "say what runs: `crate: FOLDER` or `run: [COMMAND, ARGUMENT, ..]`");
            None
        }
    }
}

fn params(
    given: &document::Stage,
    place: &Place,
    each: &[Each],
    scope: &Scope,
    problems: &mut Problems,
) -> BTreeMap<String, Param> {
    let param = |(name, value): (&String, &super::literal::Literal)| {
        let place = place.key(name);
        if !is_name(name) {
            problems.key(&place, name_rule("parameter", name));
        }
        (name.clone(), resolved(&value.0, &place, each, scope, problems))
    };
    given.params.iter().map(param).collect()
}

/// A parameter with references to the profile's replaced, and those to configurations checked.
fn resolved(value: &Value, place: &Place, each: &[Each], scope: &Scope, problems: &mut Problems) -> Param {
    match value {
        Value::String(text) => match dollar(text) {
            None => Param::Literal(value.clone()),
            Some(reference) => {
                let found = reference.and_then(|reference| referred(&reference, each, scope));
                found.unwrap_or_else(|what| {
                    problems.value(place, format!("`{text}`: {what}"));
                    Param::Literal(Value::Null)
                })
            }
        },
        Value::Array(list) => {
            let element = |(i, value)| resolved(value, &place.index(i), each, scope, problems);
            let list: Vec<Param> = list.iter().enumerate().map(element).collect();
            literals(list.iter()).map_or(Param::List(list), |list| Param::Literal(Value::Array(list)))
        }
        Value::Object(object) => {
            let entry = |(key, value): (&String, _)| {
                (key.clone(), resolved(value, &place.key(key), each, scope, problems))
            };
            let object: BTreeMap<String, Param> = object.iter().map(entry).collect();
            match literals(object.values()) {
                Some(values) => Param::Literal(Value::Object(object.into_keys().zip(values).collect())),
                None => Param::Mapping(object),
            }
        }
        _ => Param::Literal(value.clone()),
    }
}

/// The values, if all are literal.
fn literals<'a>(params: impl Iterator<Item = &'a Param>) -> Option<Vec<Value>> {
    let literal = |param: &Param| match param {
        Param::Literal(value) => Some(value.clone()),
        _ => None,
    };
    params.map(literal).collect()
}

fn referred(reference: &reference::Dollar, each: &[Each], scope: &Scope) -> Result<Param, String> {
    let name = reference.name;
    for clause in each {
        match clause {
            Each::Configuration { variable, sweep } if variable == name => {
                let Some(value) = reference.value else { return Ok(Param::Configuration(name.to_owned())) };
                return has_value(&scope.sweeps[sweep.0], value)
                    .map(|()| Param::Value(name.to_owned(), value.to_owned()));
            }
            Each::Group { variable, .. } if variable == name => return Err(no_values(name)),
            Each::Pairs { variables, .. } if variables.iter().any(|variable| variable == name) => {
                return Err(no_values(name));
            }
            _ => {}
        }
    }
    if scope.params.contains(name) {
        return Ok(Param::Literal(scope.params.get(reference)?.clone()));
    }
    let variables = each.iter().filter_map(|clause| match clause {
        Each::Configuration { variable, .. } => Some(variable.as_str()),
        _ => None,
    });
    let known: Vec<&str> = variables.chain(scope.params.names()).collect();
    Err(format!("there is no parameter or configuration `{name}`{}", hint(name, known)))
}

fn no_values(name: &str) -> String {
    format!(
        "`{name}` is a group of configurations, which has no values; it reaches the stage through its inputs"
    )
}

/// That every configuration of a sweep has a value.
pub(super) fn has_value(sweep: &Sweep, value: &str) -> Result<(), String> {
    let lacking = sweep.configurations.iter().find(|configuration| !configuration.values.contains_key(value));
    let Some(lacking) = lacking else { return Ok(()) };
    if sweep.configurations.iter().any(|configuration| configuration.values.contains_key(value)) {
        return Err(format!("the configuration {} has no `{value}`", named(&lacking.labels)));
    }
    let known: BTreeSet<&str> =
        sweep.configurations.iter().flat_map(|each| each.values.keys()).map(String::as_str).collect();
    Err(format!("the configurations of `{}` have no `{value}`{}", sweep.name, hint(value, known)))
}

fn outputs(
    given: &document::Stage,
    place: &Place,
    each: &[Each],
    scope: &Scope,
    problems: &mut Problems,
) -> BTreeMap<String, Output> {
    let mut outputs: BTreeMap<String, Output> = BTreeMap::new();
    for (name, text) in &given.outputs {
        let place = place.key(name);
        if !is_name(name) {
            problems.key(&place, name_rule("output", name));
        }
        let (file, kind) = match text.strip_suffix('/') {
            Some(folder) => (folder, Kind::Folder),
            None => (text.as_str(), Kind::File),
        };
        if file.is_empty() || file == "." || file == ".." || file.contains(['/', '\\', '\0']) {
            let folders =
                if file.contains('/') { "; `publish` may have folders: it says where it goes" } else { "" };
            problems.value(
                &place,
                format!("`{text}` must be the name of a file, or of a folder with `/` at the end{folders}"),
            );
        }
        let is_label = |inside: &&str| {
            let inside = inside.strip_prefix("wildcards.").unwrap_or(inside);
            fanout::instead(inside, &given.params, each, scope.sweeps).is_some()
        };
        if let Some(label) = command::braced(file).into_iter().find(is_label) {
            problems.value(
                &place,
                format!(
                    "nothing would replace `{{{label}}}`: each job has outputs of its own; labels go into `publish`"
                ),
            );
        }
        if let Some((other, _)) = outputs.iter().find(|(_, output)| output.file == file) {
            problems
                .value(&place, format!("the outputs `{other}` and `{name}` have the same file, `{file}`"));
        }
        outputs.insert(name.clone(), Output { file: file.to_owned(), kind });
    }
    outputs
}

fn publish(
    given: &document::Stage,
    place: &Place,
    labels: &fanout::StageLabels,
    problems: &mut Problems,
) -> BTreeMap<String, String> {
    let mut publish = BTreeMap::new();
    for (output, text) in &given.publish {
        let place = place.key(output);
        if !given.outputs.contains_key(output) {
            let hint = hint(output, given.outputs.keys().map(String::as_str));
            problems.key(&place, format!("the stage has no output `{output}`{hint}"));
        }
        match project_path(text) {
            Ok(path) => drop(publish.insert(output.clone(), path.to_string_lossy().into_owned())),
            Err(_) => problems.value(&place, format!("`{text}` must be a relative path without `..`")),
        }
        match braces(text) {
            Ok(used) => {
                if let Some(label) = used.iter().find(|label| !labels.contains_key(**label)) {
                    let hint = hint(label, labels.keys().copied());
                    problems.value(&place, format!("a job of the stage has no label `{label}`{hint}"));
                } else if let Some(label) = labels.keys().find(|label| !used.contains(*label)) {
                    problems.value(
                        &place,
                        format!("jobs that differ in `{label}` would publish the same path; put {{{label}}} into it"),
                    );
                }
            }
            Err(what) => problems.value(&place, what),
        }
    }
    publish
}

fn needs(given: &document::Needs, place: &Place, params: &Params, problems: &mut Problems) -> Needs {
    let text = |text: &str| match dollar(text) {
        Some(reference) => reference.and_then(|reference| params.get(&reference).cloned()),
        None => Ok(Value::from(text)),
    };
    let memory = match &given.memory {
        None => Ok(0),
        Some(document::Memory::Bytes(bytes)) => Ok(*bytes),
        Some(document::Memory::Text(given)) => text(given).and_then(|value| match &value {
            Value::String(text) => reference::bytes(text),
            value => {
                value.as_u64().ok_or_else(|| format!("`{given}` is {value}, expected an amount of memory"))
            }
        }),
    };
    let per_gpu = match &given.per_gpu {
        None => Ok(1),
        Some(document::Count::Number(number)) => Ok(*number),
        Some(document::Count::Reference(given)) => text(given).and_then(|value| {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            number
                .filter(|number| *number > 0)
                .ok_or_else(|| format!("`{given}` is {value}, expected 1 or more"))
        }),
    };
    let gpu = match given.gpu {
        document::Gpu::None => Gpu::None,
        document::Gpu::Prefer => Gpu::Prefer,
        document::Gpu::Require => Gpu::Require,
    };
    let mut told = |key, what| problems.value(&place.key(key), what);
    Needs {
        threads: given.threads.unwrap_or(1),
        memory: memory.unwrap_or_else(|what| {
            told("memory", what);
            0
        }),
        gpu,
        per_gpu: per_gpu.unwrap_or_else(|what| {
            told("per-gpu", what);
            1
        }),
    }
}

/// Folders as given, made absolute. Whether they are there is seen when a job needs them: who only looks at results has
/// no virtual environment.
fn reads(given: &[String], place: &Place, root: &Path, problems: &mut Problems) -> Vec<PathBuf> {
    let mut reads = Vec::new();
    for (i, text) in given.iter().enumerate() {
        let in_home = text.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'));
        match (in_home, std::env::home_dir()) {
            (Some(rest), Some(home)) => reads.push(home.join(rest.trim_start_matches('/'))),
            (Some(_), None) => problems.value(&place.index(i), format!("`{text}`: there is no home folder")),
            (None, _) if text.is_empty() => problems.value(&place.index(i), "the folder has no name"),
            (None, _) => reads.push(root.join(text.strip_prefix("./").unwrap_or(text))),
        }
    }
    reads
}

fn timeout(given: Option<&str>, place: &Place, problems: &mut Problems) -> Option<Duration> {
    let text = given?;
    match humantime::parse_duration(text) {
        Ok(timeout) if !timeout.is_zero() => return Some(timeout),
        Ok(_) => problems.value(place, format!("`{text}`: no job is done in no time")),
        Err(_) => problems.value(place, format!("`{text}` is no duration: write it as `90s` or `2h 30m`")),
    }
    None
}

fn env(names: &[String], place: &Place, problems: &mut Problems) -> Vec<String> {
    for (i, name) in names.iter().enumerate() {
        let mut letters = name.chars();
        let first = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !first || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            problems
                .value(&place.index(i), format!("`{name}` cannot be the name of an environment variable"));
        } else if names[..i].contains(name) {
            problems.value(&place.index(i), format!("`{name}` is here twice"));
        }
    }
    names.to_vec()
}
