//! Records: how the artifacts of a key came to be, for people and for `why` and `show`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::index::{Artifact, Artifacts};
use crate::hash::{Hash, Key};
use crate::key;
use crate::pipeline::{Kind, Labels, Output};

/// How the artifacts of a key came to be. Written once, before the index tells of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// The format: 1.
    pub version: u32,
    /// The job's key.
    pub key: Key,
    /// The job's name in the run that made this; another stage or profile with the same key shares the record.
    pub job: String,
    /// The stage.
    pub stage: String,
    /// The labels.
    pub labels: Labels,
    /// All that the key is the hash of: (name, value), in order.
    pub ingredients: Vec<(String, String)>,
    /// The artifacts by the output's name.
    pub outputs: BTreeMap<String, RecordedOutput>,
    /// Whether the outputs are there for their consumers only (`keep: false`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub intermediate: bool,
    /// When the job ended, in seconds since 1970.
    pub ended: u64,
    /// How long it ran, in seconds.
    pub seconds: f64,
    /// What it ran on. Equal bits are promised for equal machines only.
    pub machine: Machine,
    /// Set when no job ran under this key: its outputs are another key's, kept over a change that was called cosmetic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Accepted>,
}

/// That outputs were accepted rather than made. By whom is not noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The key whose outputs these are.
    pub from: Key,
    /// When, in seconds since 1970.
    pub at: u64,
    /// Why, in the words of who did it; may be empty.
    pub because: String,
}

/// A moment in seconds since 1970, no later than the calendars of people and programs go: a record of a share may say anything.
pub fn moment(seconds: f64) -> SystemTime {
    /// The last second of the year 9999.
    const LAST: f64 = 253_402_300_799.0;
    UNIX_EPOCH + Duration::try_from_secs_f64(seconds.clamp(0.0, LAST)).unwrap_or_default()
}

impl Record {
    /// The version of what this program writes and reads.
    pub const VERSION: u32 = 1;

    /// Whether it is a record of this key, in this version.
    pub fn is_of(&self, key: Key) -> bool {
        self.version == Record::VERSION && self.key == key && key::of(&self.ingredients) == key
    }

    /// The hash of the stage's code.
    pub fn code(&self) -> Option<Hash> {
        self.ingredients.iter().find(|(name, _)| name == "code")?.1.parse().ok()
    }

    /// The artifacts, in the order of the outputs' names.
    pub fn artifacts(&self) -> Artifacts {
        self.outputs.values().map(RecordedOutput::artifact).collect()
    }
}

/// What a stage's outputs came out as, in their order, as `made` tells by their names.
///
/// # Errors
/// The name of the first output that was not made, or is of another kind.
pub fn artifacts_of<'a>(
    outputs: &'a BTreeMap<String, Output>,
    made: impl Fn(&str) -> Option<Artifact>,
) -> Result<Artifacts, &'a str> {
    let artifact = |(name, output): (&'a String, &Output)| {
        made(name).filter(|artifact| artifact.kind == output.kind).ok_or(name.as_str())
    };
    outputs.iter().map(artifact).collect()
}

/// An artifact in a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedOutput {
    /// Its hash.
    pub hash: Hash,
    /// Its bytes.
    pub size: u64,
    /// Whether it is a folder.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub folder: bool,
}

impl RecordedOutput {
    /// The record's form of an artifact.
    pub fn of(artifact: &Artifact) -> RecordedOutput {
        RecordedOutput { hash: artifact.hash, size: artifact.size, folder: artifact.kind == Kind::Folder }
    }

    /// The artifact.
    pub fn artifact(&self) -> Artifact {
        let kind = if self.folder { Kind::Folder } else { Kind::File };
        Artifact { kind, hash: self.hash, size: self.size }
    }
}

/// What a job ran on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// The processor's name.
    pub processor: String,
    /// Its instruction sets that numerical libraries choose code by.
    pub features: Vec<String>,
    /// Operating system and architecture.
    pub system: String,
    /// Where it ran on a card: the models that the machine has, and their driver.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cards: Vec<String>,
}

impl Machine {
    /// One of which nothing is known any more.
    pub fn unknown() -> Machine {
        let unknown = || "unknown".to_owned();
        let (features, cards) = (Vec::new(), Vec::new());
        Machine { device: unknown(), processor: unknown(), features, system: unknown(), cards }
    }

    /// The same machine, for a job on this device.
    pub fn on(&self, device: &str) -> Machine {
        let cards =
            if device.starts_with("cuda") { cards(Path::new("/proc/driver/nvidia")) } else { Vec::new() };
        Machine { device: device.to_owned(), cards, ..self.clone() }
    }

    /// This machine; the device is its processor.
    pub fn here() -> Machine {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |names: [&str; 2]| {
            let line = info.lines().find(|line| names.iter().any(|name| line.starts_with(name)));
            line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim())
        };
        const TOLD: [&str; 8] =
            ["sse4_2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512_bf16", "asimd"];
        let flags: Vec<&str> = field(["flags", "Features"]).split(' ').collect();
        Machine {
            device: "cpu".to_owned(),
            processor: field(["model name", "Processor"]).to_owned(),
            features: TOLD.iter().filter(|name| flags.contains(name)).map(|name| name.to_string()).collect(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cards: Vec::new(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { device, processor, system, cards, .. } = self;
        let told: Vec<&str> = cards.iter().chain([processor, system]).map(String::as_str).collect();
        write!(f, "{device} ({})", told.join(", "))
    }
}

/// What NVIDIA's driver says of itself and its cards, each kind once.
fn cards(driver: &Path) -> Vec<String> {
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let folders = fs::read_dir(driver.join("gpus")).into_iter().flatten().flatten();
    let model = |folder: fs::DirEntry| {
        let text = read(&folder.path().join("information"));
        Some(text.lines().find_map(|line| line.strip_prefix("Model:"))?.trim().to_owned())
    };
    let mut told: Vec<String> = folders.filter_map(model).collect();
    told.sort();
    told.dedup();
    let version = read(&driver.join("version"));
    let is_number = |word: &&str| word.starts_with(|it: char| it.is_ascii_digit()) && word.contains('.');
    told.extend(version.split_whitespace().find(is_number).map(|number| format!("driver {number}")));
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_tells_of_itself_and_each_kind_of_card() {
        let driver = tempfile::tempdir().unwrap();
        assert_eq!(cards(driver.path()), [""; 0]);
        for (slot, model) in
            [("0000:01:00.0", "NVIDIA L4"), ("0000:02:00.0", "NVIDIA H200"), ("0000:03:00.0", "NVIDIA L4")]
        {
            let folder = driver.path().join("gpus").join(slot);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("information"), format!("Model: \t\t {model}\nIRQ:   \t\t 54\n")).unwrap();
        }
        let version = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\nGCC version: 12.3\n";
        fs::write(driver.path().join("version"), version).unwrap();
        assert_eq!(cards(driver.path()), ["NVIDIA H200", "NVIDIA L4", "driver 580.65.06"]);
    }
}
