//! Published outputs and where they came from, as an RO-Crate that other tools and archives read.
//!
//! RO-Crate 1.1 with the profiles Process, Workflow and Provenance Run Crate 0.5: pipeline.yaml is the workflow, a stage a
//! step and a tool, a job an action. Artifacts that are not published stand in the crate by their hashes only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::graph::{JobId, Origin};
use crate::hash::{Hash, Key};
use crate::pipeline::{Kind, StageId};
use crate::plan::{Plan, State};
use crate::project::Project;
use crate::store::{Artifact, Record, StoreError, moment};

const PROFILES: [(&str, &str); 4] = [
    ("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate"),
    ("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate"),
    ("https://w3id.org/ro/wfrun/provenance/0.5", "Provenance Run Crate"),
    ("https://w3id.org/workflowhub/workflow-ro-crate/1.0", "Workflow RO-Crate"),
];

/// What a file with the project's terms may be called.
const LICENSES: [&str; 4] = ["LICENSE", "LICENSE.md", "LICENSE.txt", "COPYING"];

/// Ingredients of a key that the crate tells otherwise than as settings of a job.
const TOLD_ELSEWHERE: [&str; 4] = ["code", "inputs.", "outputs.", "program."];

/// Why there is no crate.
#[derive(Debug, thiserror::Error)]
pub enum CrateError {
    /// The folder is taken.
    #[error("{0} is not an empty folder; name one that is, or that is not there yet")]
    Taken(PathBuf),
    /// A job that the outputs depend on is not up to date.
    #[error("{0} is not up to date, so nobody can say where its outputs come from; `ribbon run` first")]
    Stale(String),
    /// The target has no published outputs.
    #[error("the target publishes nothing, so there is nothing to put into a crate")]
    Nothing,
    /// Content is not here.
    #[error(
        "the content of outputs/{profile}/{path} is not in the store; `ribbon run --force '{job}'` makes it again"
    )]
    Gone {
        /// The profile.
        profile: String,
        /// The path under it.
        path: String,
        /// The job that makes it.
        job: String,
    },
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Writes a crate of what the targets publish into a new folder, and returns how many published outputs it holds. The
/// folder appears whole or not at all.
///
/// # Errors
/// When the folder is taken, something is not up to date, content is not in the store, or a file cannot be written.
pub fn export(project: &Project, targets: &BTreeSet<JobId>, folder: &Path) -> Result<usize, CrateError> {
    let is_taken =
        fs::read_dir(folder).map_or_else(|_| folder.exists(), |mut inside| inside.next().is_some());
    if is_taken {
        return Err(CrateError::Taken(folder.to_owned()));
    }
    let plan = Plan::new(project, targets, &BTreeSet::new());
    let about = Crate::new(project, &plan, targets)?;
    let failed = |source| CrateError::Io { path: folder.to_owned(), source };
    let parent = folder.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let scratch = tempfile::Builder::new()
        .prefix(".ro-crate-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir_in(parent)
        .map_err(failed)?;
    let published = about.write(scratch.path())?;
    fs::rename(scratch.path(), folder).map_err(failed)?;
    // Renamed away: there is nothing left to remove.
    let _ = scratch.keep();
    Ok(published)
}

/// What goes into a crate.
struct Crate<'a> {
    project: &'a Project,
    plan: &'a Plan<'a>,
    /// Every job the outputs depend on, with its record if this store has it.
    jobs: Vec<(JobId, Key, Option<Record>)>,
    /// Published outputs of the targets: (job, place of the output) to the path in the crate.
    published: BTreeMap<(JobId, u16), String>,
    license: Option<&'static str>,
}

impl<'a> Crate<'a> {
    fn new(project: &'a Project, plan: &'a Plan, targets: &BTreeSet<JobId>) -> Result<Crate<'a>, CrateError> {
        let mut jobs = Vec::new();
        for id in plan.needed() {
            let State::Current(key, _) = plan.state(id) else {
                return Err(CrateError::Stale(project.name(id).to_owned()));
            };
            jobs.push((id, *key, project.store.record(*key)));
        }
        let profile = &project.pipeline.profile;
        let of = |id: &JobId| {
            let published = project.graph.published(&project.pipeline, *id);
            let id = *id;
            published.into_iter().map(move |(place, path)| ((id, place), format!("outputs/{profile}/{path}")))
        };
        let published: BTreeMap<_, _> = targets.iter().flat_map(of).collect();
        if published.is_empty() {
            return Err(CrateError::Nothing);
        }
        let license = LICENSES.into_iter().find(|name| project.root.join(name).is_file());
        Ok(Crate { project, plan, jobs, published, license })
    }

    fn write(&self, folder: &Path) -> Result<usize, CrateError> {
        let project = self.project;
        for ((id, place), path) in &self.published {
            let artifact = self.artifact(Origin::Output(*id, *place));
            if !project.store.holds(artifact, &project.memo) {
                let profile = project.pipeline.profile.clone();
                let path = path.trim_start_matches("outputs/").split_once('/').map_or("", |(_, path)| path);
                let job = project.name(*id).to_owned();
                return Err(CrateError::Gone { profile, path: path.to_owned(), job });
            }
            project.store.copy(artifact, &folder.join(path))?;
        }
        for name in self.own_files() {
            let (from, to) = (project.root.join(name), folder.join(name));
            fs::copy(&from, to).map_err(|source| CrateError::Io { path: from, source })?;
        }
        let path = folder.join("ro-crate-metadata.json");
        fs::write(&path, format!("{:#}\n", self.metadata()))
            .map_err(|source| CrateError::Io { path, source })?;
        Ok(self.published.len())
    }

    /// Files of the project that are in every crate.
    fn own_files(&self) -> impl Iterator<Item = &'static str> {
        ["pipeline.yaml", "pipeline.lock"].into_iter().chain(self.license)
    }

    fn metadata(&self) -> Value {
        let mut graph = self.root();
        graph.extend(self.workflow());
        let mut settings = BTreeMap::new();
        graph.extend(self.jobs.iter().map(|job| self.action(job, &mut settings)));
        graph.extend(settings.into_values());
        graph.extend(self.things().into_values());
        json!({"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": graph})
    }

    /// The crate itself, the profiles it keeps to, and the files of the project in it.
    fn root(&self) -> Vec<Value> {
        let project = self.project;
        let name = project.root.file_name().unwrap_or_default().to_string_lossy();
        let profile = &project.pipeline.profile;
        let parts = self.own_files().map(encode).chain(self.published.keys().map(|at| self.id(at)));
        let profiles = refs(PROFILES.iter().map(|(id, _)| id.to_string()));
        let actions = self.jobs.iter().map(|(id, ..)| self.job_id(*id));
        let mut entities = vec![
            json!({
                "@id": "ro-crate-metadata.json", "@type": "CreativeWork", "about": {"@id": "./"},
                "conformsTo": refs(["https://w3id.org/ro/crate/1.1", PROFILES[3].0].map(str::to_owned)),
            }),
            json!({
                "@id": "./", "@type": "Dataset", "name": format!("{name}, profile {profile}"),
                "description": format!(
                    "Outputs of the pipeline {name} (profile {profile}), and the jobs, settings and inputs that they came from"
                ),
                "datePublished": self.span().map_or_else(|| time(now()), |(_, end)| time(end)),
                "license": self.license.map_or(json!("No license is given"), |file| json!({"@id": encode(file)})),
                "conformsTo": profiles, "hasPart": refs(parts), "mainEntity": {"@id": "pipeline.yaml"},
                "mentions": refs(["#run".to_owned(), "#engine-run".to_owned()].into_iter().chain(actions)),
            }),
            json!({
                "@id": "pipeline.lock", "@type": "File", "name": "pipeline.lock", "encodingFormat": "text/plain",
                "description": "Every job's key and the hashes of what it made",
            }),
        ];
        entities.extend(PROFILES.iter().map(|(id, name)| {
            let version = id.rsplit('/').next();
            json!({"@id": id, "@type": "CreativeWork", "name": name, "version": version})
        }));
        entities.extend(self.license.map(|file| {
            json!({
                "@id": encode(file), "@type": "File", "name": file, "description": "The terms of use",
                "encodingFormat": "text/plain",
            })
        }));
        entities
    }

    /// The pipeline, its stages as steps and tools, and its run.
    fn workflow(&self) -> Vec<Value> {
        let project = self.project;
        let mut stages: BTreeMap<StageId, Vec<JobId>> = BTreeMap::new();
        for (id, ..) in &self.jobs {
            stages.entry(project.graph.job(*id).stage).or_default().push(*id);
        }
        let name = |stage: &StageId| project.stage_name(*stage);
        let each = |what: &str| refs(stages.keys().map(|stage| format!("#{what}/{}", name(stage))));
        let sources = self.sources().into_iter().map(|index| self.origin_id(Origin::File(index)));
        let mut run = json!({
            "@id": "#run", "@type": "CreateAction", "name": format!("Run of profile {}", project.pipeline.profile),
            "description": "All jobs that the outputs came from, whenever they ran",
            "instrument": {"@id": "pipeline.yaml"}, "object": refs(sources),
            "result": refs(self.published.keys().map(|at| self.id(at))),
            "actionStatus": "http://schema.org/CompletedActionStatus",
        });
        let mut engine_run = json!({
            "@id": "#engine-run", "@type": "OrganizeAction", "name": "Run of the pipeline by ribbon",
            "description": "Which jobs ran for which stage",
            "instrument": {"@id": "#ribbon"}, "object": each("control"), "result": {"@id": "#run"},
        });
        if let Some((start, end)) = self.span() {
            for action in [&mut run, &mut engine_run] {
                action["startTime"] = json!(time(start));
                action["endTime"] = json!(time(end));
            }
        }
        let hash = project.memo.hash(&project.root.join("pipeline.yaml"));
        let mut entities = vec![
            json!({
                "@id": "pipeline.yaml", "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
                "name": "pipeline.yaml", "encodingFormat": "application/yaml",
                "version": hash.map_or_else(|_| "unknown".to_owned(), |hash| hash.to_string()),
                "programmingLanguage": {"@id": "#pipeline-language"},
                "hasPart": each("stage"), "step": each("step"),
            }),
            json!({
                "@id": "#pipeline-language", "@type": "ComputerLanguage", "name": "pipeline.yaml of hyperribbon",
                "version": "1",
            }),
            json!({
                "@id": "#ribbon", "@type": "SoftwareApplication", "name": "hyperribbon",
                "softwareVersion": env!("CARGO_PKG_VERSION"),
            }),
            engine_run,
            run,
        ];
        for (position, (stage, jobs)) in stages.iter().enumerate() {
            let name = name(stage);
            let about = &project.pipeline.stages[stage.0].about;
            entities.push(json!({
                "@id": format!("#stage/{name}"), "@type": "SoftwareApplication", "name": name, "description": about,
                "softwareVersion": blake3(project.code[stage.0].hash),
            }));
            entities.push(json!({
                "@id": format!("#step/{name}"), "@type": "HowToStep", "name": name,
                "position": (position + 1).to_string(), "workExample": {"@id": format!("#stage/{name}")},
            }));
            entities.push(json!({
                "@id": format!("#control/{name}"), "@type": "ControlAction", "name": format!("Jobs of {name}"),
                "instrument": {"@id": format!("#step/{name}")},
                "object": refs(jobs.iter().map(|id| self.job_id(*id))),
            }));
        }
        entities
    }

    /// A job. Its settings, which it shares with others, are added to `settings` by their ids.
    fn action(&self, job: &(JobId, Key, Option<Record>), settings: &mut BTreeMap<String, Value>) -> Value {
        let (id, key, record) = job;
        let (project, id) = (self.project, *id);
        let inputs = project.graph.job(id).inputs.iter().flat_map(|input| input.origins());
        let mut objects: BTreeSet<String> = inputs.map(|origin| self.origin_id(*origin)).collect();
        let is_setting = |name: &str| !TOLD_ELSEWHERE.iter().any(|other| name.starts_with(other));
        for (name, text) in self.plan.ingredients(id).iter().filter(|(name, _)| is_setting(name)) {
            let of = Hash::of(format!("{name} {text}").as_bytes()).short();
            let setting = format!("#setting/{}/{of}", encode(name));
            // Hashes and the like are no JSON; lists and mappings have no place in a PropertyValue.
            let value = serde_json::from_str(text)
                .ok()
                .filter(|value: &Value| !value.is_array() && !value.is_object());
            let value = value.unwrap_or_else(|| json!(text));
            settings.entry(setting.clone()).or_insert_with(
                || json!({"@id": setting, "@type": "PropertyValue", "name": name, "value": value}),
            );
            objects.insert(setting);
        }
        let outputs = 0..project.stage(id).outputs.len() as u16;
        let mut action = json!({
            "@id": self.job_id(id), "@type": "CreateAction", "name": project.name(id),
            "identifier": format!("ribbon key {key}"), "instrument": {"@id": format!("#stage/{}", project.stage(id).name)},
            "object": refs(objects),
            "result": refs(outputs.map(|place| self.origin_id(Origin::Output(id, place))).collect::<BTreeSet<_>>()),
            "actionStatus": "http://schema.org/CompletedActionStatus",
            "description": "Known from pipeline.lock; when and on what it ran is not in this store",
        });
        if let Some(record) = record {
            let machine = &record.machine;
            let mut text = format!("Ran on {machine}");
            if let Some(accepted) = &record.accepted {
                text = format!(
                    "Its outputs were accepted from key {} on {}: {}. {text} under that key",
                    accepted.from,
                    time(accepted.at as f64),
                    if accepted.because.is_empty() { "no reason given" } else { &accepted.because },
                );
            }
            action["description"] = json!(text);
            action["startTime"] = json!(time(record.ended as f64 - record.seconds));
            action["endTime"] = json!(time(record.ended as f64));
        }
        action
    }

    /// Artifacts and source files, by id.
    fn things(&self) -> BTreeMap<String, Value> {
        let mut things = BTreeMap::new();
        let outputs = self.jobs.iter().flat_map(|(id, ..)| {
            (0..self.project.stage(*id).outputs.len() as u16).map(|place| Origin::Output(*id, place))
        });
        for origin in self.sources().into_iter().map(Origin::File).chain(outputs) {
            let (id, artifact, name) =
                (self.origin_id(origin), self.artifact(origin), self.project.origin_name(origin));
            let kind = match (id.starts_with('#'), artifact.kind) {
                (true, _) => "CreativeWork",
                (false, Kind::File) => "File",
                (false, Kind::Folder) => "Dataset",
            };
            let mut thing = json!({
                "@id": id, "@type": kind, "name": name, "identifier": blake3(artifact.hash),
                "contentSize": artifact.size.to_string(),
            });
            if let Some(format) = format(&id).filter(|_| kind == "File") {
                thing["encodingFormat"] = json!(format);
            }
            if kind == "Dataset" {
                thing["description"] = json!("A folder that the pipeline publishes");
            }
            things.entry(id).or_insert(thing);
        }
        things
    }

    /// The project's files that jobs took, by index.
    fn sources(&self) -> BTreeSet<u32> {
        let inputs = self.jobs.iter().flat_map(|(id, ..)| &self.project.graph.job(*id).inputs);
        let origins = inputs.flat_map(|input| input.origins());
        origins
            .filter_map(|origin| if let Origin::File(index) = origin { Some(*index) } else { None })
            .collect()
    }

    fn artifact(&self, origin: Origin) -> &Artifact {
        self.plan.artifact(origin).expect("every job is current")
    }

    fn job_id(&self, id: JobId) -> String {
        format!("#job/{}", encode(self.project.name(id)))
    }

    /// What an artifact is called in the crate: its path when it is published, else its content.
    fn origin_id(&self, origin: Origin) -> String {
        match origin {
            Origin::Output(job, place) if self.published.contains_key(&(job, place)) => {
                self.id(&(job, place))
            }
            Origin::Output(..) => format!("#artifact/{}", self.artifact(origin).hash),
            Origin::File(index) => {
                format!("#source/{}", encode(&self.project.graph.sources[index as usize].to_string_lossy()))
            }
        }
    }

    fn id(&self, at: &(JobId, u16)) -> String {
        let slash = match self.artifact(Origin::Output(at.0, at.1)).kind {
            Kind::File => "",
            Kind::Folder => "/",
        };
        encode(&self.published[at]) + slash
    }

    /// When the first of the jobs began and the last ended, in seconds since 1970.
    fn span(&self) -> Option<(f64, f64)> {
        let records = self.jobs.iter().filter_map(|(.., record)| record.as_ref());
        let times = records.map(|record| (record.ended as f64 - record.seconds, record.ended as f64));
        times.reduce(|(start, end), (began, ended)| (start.min(began), end.max(ended)))
    }
}

/// References to entities; a single one is no list.
fn refs(ids: impl IntoIterator<Item = String>) -> Value {
    let mut refs: Vec<Value> = ids.into_iter().map(|id| json!({"@id": id})).collect();
    if refs.len() == 1 { refs.remove(0) } else { Value::Array(refs) }
}

/// A path or name as part of a URI.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'/'
            | b'+'
            | b','
            | b'=' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn blake3(hash: Hash) -> String {
    format!("blake3:{hash}")
}

fn time(seconds: f64) -> String {
    // Some readers know no `Z`.
    humantime::format_rfc3339_millis(moment(seconds)).to_string().replace('Z', "+00:00")
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The media type of a file, by its name.
fn format(path: &str) -> Option<&'static str> {
    Some(match path.rsplit_once('.')?.1 {
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "pdf" => "application/pdf",
        "html" => "text/html",
        "csv" => "text/csv",
        "txt" => "text/plain",
        "json" => "application/json",
        "parquet" => "application/vnd.apache.parquet",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_jobs_become_parts_of_a_uri() {
        assert_eq!(encode("train[arch=fc,seed=1]"), "train%5Barch=fc,seed=1%5D");
        assert_eq!(encode("figures/ä b.svg"), "figures/%C3%A4%20b.svg");
    }

    #[test]
    fn times_are_told_to_the_millisecond_in_utc() {
        assert_eq!(time(0.5), "1970-01-01T00:00:00.500+00:00");
        for absurd in [f64::MAX, f64::INFINITY, 1.7e12] {
            assert_eq!(time(absurd), "9999-12-31T23:59:59.000+00:00");
        }
        assert_eq!(time(f64::NAN), time(-1.0));
    }
}
