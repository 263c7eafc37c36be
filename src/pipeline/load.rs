//! From the file's text to a checked pipeline, phase by phase; a phase that finds problems is the last.

use std::fs;
use std::path::{Path, PathBuf};

use super::document::{self, Document};
use super::error::{PipelineError, Problem, Problems, hint};
use super::params::Params;
use super::positions::{Place, Position, Positions};
use super::reference::{is_name, name_rule};
use super::stage::Scope;
use super::{Pipeline, Sweep, command, costs, fanout, inputs, presence, shape, share, stage, sweep};

/// The only format of pipeline.yaml there is yet.
const VERSION: u32 = 1;

impl Pipeline {
    /// Reads and checks a pipeline.yaml for a profile (the file's own choice if none is given), with the parameters of
    /// `--set`: dotted paths, and values in YAML.
    ///
    /// # Errors
    /// If the file cannot be read, or anything in it, in the profile's name or in `sets` is wrong.
    pub fn load(
        path: &Path,
        profile: Option<&str>,
        sets: &[(String, String)],
    ) -> Result<Pipeline, PipelineError> {
        let (text, root) = (read(path)?, path.parent().unwrap_or(Path::new("")));
        let loaded = parse(&text)
            .and_then(|document| checked(&document, root, profile, sets, &mut Problems::new(&text)));
        loaded.map_err(|problems| PipelineError::Invalid { file: path.to_owned(), problems })
    }
}

/// A profile as a list tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its line for people.
    pub about: String,
    /// Whether it runs when --profile is not given.
    pub is_default: bool,
}

/// The profiles of a pipeline.yaml, in its order.
///
/// # Errors
/// If the file cannot be read, or is not a pipeline.yaml at all; its references are not checked.
pub fn profiles(path: &Path) -> Result<Vec<Listed>, PipelineError> {
    let document =
        parse(&read(path)?).map_err(|problems| PipelineError::Invalid { file: path.to_owned(), problems })?;
    let listed = |(name, profile): (String, document::Profile)| Listed {
        is_default: Some(&name) == document.profile.as_ref(),
        name,
        about: profile.about,
    };
    Ok(document.profiles.into_iter().map(listed).collect())
}

fn read(path: &Path) -> Result<String, PipelineError> {
    let text = fs::read_to_string(path);
    let mut text = text.map_err(|source| PipelineError::Read { path: path.to_owned(), source })?;
    // What some editors begin a file with, to say that it is UTF-8.
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(text)
}

/// Reads YAML of the schema's shape.
fn parse(text: &str) -> Result<Document, Vec<Problem>> {
    // At the same time: a pipeline of thousands of lines is most of what a run reads when nothing changed.
    let (yaml, document) = rayon::join(|| serde_yaml::from_str(text), || serde_yaml::from_str(text));
    let yaml: serde_yaml::Value = yaml.map_err(|error| refused(text, &error))?;
    let mut problems = Problems::new(text);
    shape::check(&document::schema(), &yaml, &mut problems);
    problems.so_far()?;
    document.map_err(|error| refused(text, &error))
}

/// Why serde_yaml refuses a text, in the words of the parser that knows positions, if that refuses it too.
fn refused(text: &str, error: &serde_yaml::Error) -> Vec<Problem> {
    match Positions::read(text) {
        Err(problem) => vec![problem],
        Ok(positions) if !positions.twice.is_empty() => positions.twice.iter().map(twice).collect(),
        Ok(_) => {
            let position = error.location().map(|at| Position { line: at.line(), column: at.column() });
            vec![Problem { position, text: error.to_string() }]
        }
    }
}

fn twice((key, again, first): &(String, Position, Position)) -> Problem {
    Problem {
        position: Some(*again),
        text: format!("the key `{key}` is here twice, first in line {}", first.line),
    }
}

/// Checks what the schema cannot: names, references, files.
fn checked(
    document: &Document,
    root: &Path,
    profile: Option<&str>,
    sets: &[(String, String)],
    problems: &mut Problems,
) -> Result<Pipeline, Vec<Problem>> {
    if document.version != VERSION {
        let version = document.version;
        problems
            .value(&Place::of(&["version"]), format!("version {version} is unknown; this is for {VERSION}"));
        problems.so_far()?;
    }
    let profile = chosen(document, profile, problems)?;
    presence::check(document, problems);
    let mut params = Params::of(document, profile, problems);
    for (path, text) in sets {
        params.set(path, text).unwrap_or_else(|what| problems.argument(what));
    }
    problems.so_far()?;

    let sweeps = sweeps(document, profile, &params, root, problems);
    let workspace = workspace(document, root, problems);
    problems.so_far()?;

    let scope = Scope { root, workspace: &workspace, params: &params, sweeps: &sweeps };
    let (given, others): (Vec<_>, Vec<_>) =
        document.stages.iter().partition(|(_, stage)| presence::is_in(stage, profile));
    let stage = |&(name, given): &(&String, _)| {
        stage::check(name, given, &Place::of(&["stages", name]), &scope, problems)
    };
    let mut stages = given.iter().map(stage).collect::<Vec<_>>();
    inputs::check_published(&stages, problems);
    problems.so_far()?;

    let place = Place::of(&["profiles", profile, "costs"]);
    costs::assign(&document.profiles[profile].costs, &place, &mut stages, &sweeps, &params, problems);

    let given: Vec<_> = given.into_iter().map(|(_, stage)| stage).collect();
    let elsewhere = others.into_iter().map(presence::profiles_of).collect();
    inputs::resolve(&given, &elsewhere, &mut stages, &sweeps, root, problems);
    problems.so_far()?;
    command::check_lists(&stages, problems);
    fanout::check_used(&given, &stages, &sweeps, problems);
    problems.so_far()?;

    let stages = inputs::sort(stages, problems);
    let share = document.share.as_ref().and_then(|given| share::check(given, root, problems));
    let trust = share::trust(document.trust.as_ref(), problems);
    problems.so_far()?;
    Ok(Pipeline {
        root: root.to_owned(),
        workspace,
        profile: profile.to_owned(),
        sweeps,
        stages,
        elsewhere,
        share,
        trust,
    })
}

/// The folder of the cargo workspace: the one named, without links and `..`, or the project's.
fn workspace(document: &Document, root: &Path, problems: &mut Problems) -> PathBuf {
    let Some(text) = &document.workspace else { return root.to_owned() };
    let folder = fs::canonicalize(root.join(text)).unwrap_or_else(|_| root.join(text));
    if !folder.join("Cargo.toml").is_file() {
        let what =
            "is no cargo workspace: it has no Cargo.toml; name the folder that holds the stages' crates";
        problems.value(&Place::of(&["workspace"]), format!("{} {what}", folder.display()));
    }
    folder
}

/// The profile that runs: the one given, or else the file's.
fn chosen<'a>(
    document: &'a Document,
    given: Option<&'a str>,
    problems: &mut Problems,
) -> Result<&'a str, Vec<Problem>> {
    for name in document.profiles.keys().filter(|name| !is_name(name)) {
        problems.key(&Place::of(&["profiles", name]), name_rule("profile", name));
    }
    let hint = |name| hint(name, document.profiles.keys().map(String::as_str));
    match (given, &document.profile) {
        (Some(name), _) if !document.profiles.contains_key(name) => {
            problems.argument(format!("--profile {name}: there is no such profile{}", hint(name)));
        }
        (_, Some(name)) if !document.profiles.contains_key(name) => {
            problems.value(&Place::of(&["profile"]), format!("there is no profile `{name}`{}", hint(name)));
        }
        (None, None) => {
            problems.argument(format!(
                "no profile is chosen: give --profile, or write `profile: NAME`{}",
                hint("")
            ));
        }
        _ => {}
    }
    problems.so_far()?;
    Ok(given.or(document.profile.as_deref()).unwrap_or_default())
}

/// The sweeps of all profiles, but for those the profile has itself, then the profile's.
fn sweeps(
    document: &Document,
    profile: &str,
    params: &Params,
    root: &Path,
    problems: &mut Problems,
) -> Vec<Sweep> {
    let own = &document.profiles[profile].sweeps;
    let shared = document.sweeps.iter().filter(|(name, _)| !own.contains_key(*name));
    let shared = shared.map(|(name, sweep)| (name, sweep, Place::of(&["sweeps"])));
    let own = own.iter().map(|(name, sweep)| (name, sweep, Place::of(&["profiles", profile, "sweeps"])));
    let unroll = |(name, given, place): (&String, _, Place)| {
        sweep::unroll(name, given, &place.key(name), params, root, problems)
    };
    shared.chain(own).map(unroll).collect()
}
