//! Builds stage crates and keeps their programs, each under the hash of the code it was built from and its own.
//!
//! A program that is kept is never built again, so cargo starts only when there is something to do. Each crate is built
//! by a cargo of its own: built together, cargo would unite the features of their dependencies, and what a program does
//! could depend on what else was built.
//!
//! Cargo tells whether a crate is up to date by the times of its files, and gives the crates of two clones of a
//! workspace the same place in a shared target directory: there it takes one clone's build for the other's. So what
//! cargo remembers of our crates is dropped before a build unless we know that it is ours: the target directory lies in
//! the workspace, and the last build there that we ran was of the same sources. Afterwards cargo must say that it
//! did build those crates, the program must not have been replaced while it was copied, and the sources must hash as
//! before. Packages from a registry are shared freely; cargo tells these apart.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use crate::code::{self, Code};
use crate::hash::Hash;
use crate::store::{Written, hash_file, written};

/// Kept programs that no run used for this long are removed when another is built.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// How often to build again when other cargo runs keep replacing what was built.
const ATTEMPTS: usize = 3;

/// Builds the programs of stage crates.
pub struct Builder {
    root: PathBuf,
    bin: PathBuf,
    variables: BTreeMap<OsString, OsString>,
}

/// A program that is wanted.
#[derive(Debug)]
pub struct Wanted {
    /// The folder of its crate, relative to the workspace.
    pub folder: String,
    /// Its code.
    pub code: Code,
    /// What its stages pin of what is not code: the tools that it is built with, by name.
    pub pins: BTreeMap<String, Hash>,
}

/// Why a program could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Cargo cannot be started.
    #[error("cannot start cargo ({0}): install Rust from https://rustup.rs, or put cargo on the PATH")]
    NoCargo(io::Error),
    /// The compiler said no.
    #[error("{crate_folder} does not build; the errors are above")]
    Failed {
        /// The crate.
        crate_folder: String,
    },
    /// Cargo itself could not work.
    #[error("cargo cannot read the workspace: {0}")]
    Workspace(String),
    /// A stage crate without a program.
    #[error("{crate_folder} has no program named as its package: it needs a src/main.rs")]
    NoProgram {
        /// The crate.
        crate_folder: String,
    },
    /// The sources are not those whose hash was asked for.
    #[error("{crate_folder} changed while it was built ({part}): run again")]
    Changed {
        /// The crate.
        crate_folder: String,
        /// What changed, as in [`Code::parts`]. Cargo itself changes `Cargo.lock` when a manifest asks for more.
        part: String,
    },
    /// Another cargo interfered each time.
    #[error(
        "{crate_folder}: cargo keeps taking another build in {} for this one; \
         give this clone a CARGO_TARGET_DIR of its own",
        target.display()
    )]
    Mixed {
        /// The crate.
        crate_folder: String,
        /// The target directory.
        target: PathBuf,
    },
    /// A file of ours cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The sources cannot be hashed again.
    #[error(transparent)]
    Code(#[from] code::Error),
}

impl Error {
    fn file(path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::File { path, source }
    }
}

/// Where cargo works, as it says itself.
#[derive(Deserialize)]
struct Metadata {
    target_directory: PathBuf,
    build_directory: Option<PathBuf>,
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

/// A line of cargo's output.
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        manifest_path: PathBuf,
        target: Target,
        executable: Option<PathBuf>,
        fresh: bool,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// What became of an attempt to build.
enum Attempt {
    Kept(PathBuf),
    /// Something else was built or copied than what we asked for.
    Mixed,
}

impl Builder {
    /// Builds crates of the workspace at `root` and keeps programs under `state`/bin. `variables`: the environment
    /// cargo runs in, as of [`std::env::vars_os`].
    pub fn new(
        root: &Path,
        state: &Path,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Builder {
        Builder { root: root.to_owned(), bin: state.join("bin"), variables: variables.into_iter().collect() }
    }

    /// The program of each crate, by its folder, built if it is not kept.
    ///
    /// `again` hashes a crate's sources anew; if they changed, nothing is kept and the answer is [`Error::Changed`].
    /// `say` gets what cargo tells people, line by line.
    pub fn binaries(
        &self,
        wanted: &[Wanted],
        again: &mut dyn FnMut(&str) -> Result<Code, code::Error>,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<BTreeMap<String, PathBuf>, Error> {
        let mut programs = BTreeMap::new();
        let mut missing = Vec::new();
        for one in wanted {
            if let Some(program) = self.kept(one) {
                programs.insert(one.folder.clone(), program);
            } else {
                missing.push(one);
            }
        }
        if missing.is_empty() {
            return Ok(programs);
        }
        fs::create_dir_all(&self.bin).map_err(Error::file(&self.bin))?;
        let metadata = self.metadata()?;
        let _lock = lock(&metadata.target_directory, say)?;
        for one in missing {
            // Another run may have built it while this one waited.
            let program = match self.kept(one) {
                Some(program) => program,
                None => {
                    // Not before the lock was there: another run may have been about to put a program in this place.
                    let _ = fs::remove_dir_all(self.place(one));
                    self.build(&metadata, one, again, say)?
                }
            };
            programs.insert(one.folder.clone(), program);
        }
        self.drop_unused();
        Ok(programs)
    }

    /// Where the program is kept.
    fn place(&self, wanted: &Wanted) -> PathBuf {
        self.bin.join(pinned(wanted.code.hash, &wanted.pins).to_string())
    }

    /// The kept program, marked as used now; none whose content has changed, which would be a stage that computes something
    /// else.
    fn kept(&self, wanted: &Wanted) -> Option<PathBuf> {
        let folder = self.place(wanted);
        let first_in = |folder: &Path| Some(fs::read_dir(folder).ok()?.find_map(Result::ok)?.path());
        let own = first_in(&folder)?;
        let program = first_in(&own).filter(|program| {
            hash_program(program).is_ok_and(|hash| own.file_name() == Some(OsStr::new(&hash.to_string())))
        });
        // Only its age depends on this.
        let _ = File::open(&folder).and_then(|folder| folder.set_modified(SystemTime::now()));
        program
    }

    fn build(
        &self,
        metadata: &Metadata,
        wanted: &Wanted,
        again: &mut dyn FnMut(&str) -> Result<Code, code::Error>,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<PathBuf, Error> {
        let crate_folder = wanted.folder.clone();
        for _ in 0..ATTEMPTS {
            if let Attempt::Kept(program) = self.attempt(metadata, wanted, again, say)? {
                return Ok(program);
            }
            say(&format!("{crate_folder}: another build came between; building again"));
        }
        Err(Error::Mixed { crate_folder, target: metadata.target_directory.clone() })
    }

    fn attempt(
        &self,
        metadata: &Metadata,
        wanted: &Wanted,
        again: &mut dyn FnMut(&str) -> Result<Code, code::Error>,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Attempt, Error> {
        let Wanted { folder, code, .. } = wanted;
        let crate_folder = || folder.clone();
        let crates = metadata.crates_of(wanted, &self.root);
        let mut built = Built::read(&metadata.target_directory);
        let ours = metadata.is_inside(&self.root);
        // By somebody else than us, of sources that may have been others then: only times would tell cargo.
        let meanwhile = metadata.built_since(built.time());
        let is_known =
            |name: &String, hash| built.sources.get(name) == Some(hash) && !meanwhile.contains(name);
        let suspect: Vec<&str> = crates
            .iter()
            .filter(|(name, hash)| !ours || !is_known(name, hash))
            .map(|(name, _)| name.as_str())
            .collect();
        metadata.forget(&suspect)?;
        built.sources.retain(|name, _| !suspect.contains(&name.as_str()));
        built.write()?;

        let manifest = manifest_in(&self.root, folder);
        let before = self.written(code);
        let artifacts = self.cargo_build(&manifest, folder, say)?;
        let finished = SystemTime::now();
        let mut program = None;
        for message in artifacts {
            let Message::CompilerArtifact { manifest_path, target, executable, fresh } = message else {
                continue;
            };
            let Some(package) =
                metadata.packages.iter().find(|package| package.manifest_path == manifest_path)
            else {
                continue;
            };
            if fresh && suspect.contains(&package.name.as_str()) {
                return Ok(Attempt::Mixed);
            }
            if target.name == package.name && same_file(&manifest_path, &manifest) {
                program = executable.or(program);
            }
        }
        let program = program.ok_or_else(|| Error::NoProgram { crate_folder: crate_folder() })?;
        let copy = self.copy(&program, finished)?;
        let now = again(folder)?;
        if now.hash != code.hash {
            let mut names = code.parts.keys().chain(now.parts.keys());
            let part =
                names.find(|name| code.parts.get(*name) != now.parts.get(*name)).cloned().unwrap_or_default();
            return Err(Error::Changed { crate_folder: crate_folder(), part });
        }
        let Some(copy) = copy else { return Ok(Attempt::Mixed) };
        // What changed and changed back may have been read in between.
        if self.written(code) != before {
            return Ok(Attempt::Mixed);
        }
        built.sources.extend(crates);
        built.write()?;

        let content = hash_program(copy.path()).map_err(Error::file(copy.path()))?;
        let place = self.place(wanted).join(content.to_string());
        fs::create_dir_all(&place).map_err(Error::file(&place))?;
        let place = place.join(program.file_name().unwrap_or(OsStr::new("program")));
        copy.persist(&place).map_err(|error| Error::File { path: place.clone(), source: error.error })?;
        Ok(Attempt::Kept(place))
    }

    /// When the files that the code consists of were written.
    fn written(&self, code: &Code) -> Vec<Written> {
        code.parts.keys().map(|part| written(&self.root.join(part))).collect()
    }

    /// Runs cargo and gives its messages.
    fn cargo_build(
        &self,
        manifest: &Path,
        folder: &str,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Vec<Message>, Error> {
        let mut cargo = self.cargo();
        cargo.args(["build", "--release", "--message-format", "json-render-diagnostics", "--manifest-path"]);
        cargo.arg(manifest).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let chosen =
            ["CARGO_TERM_COLOR", "NO_COLOR"].iter().any(|name| self.variables.contains_key(OsStr::new(name)));
        if io::stderr().is_terminal() && !chosen {
            cargo.args(["--color", "always"]);
        }
        let mut child = cargo.spawn().map_err(Error::NoCargo)?;
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let messages = thread::scope(|scope| {
            scope.spawn(|| each_line(errors, say));
            let mut messages = Vec::new();
            each_line(output, |line| messages.extend(serde_json::from_str::<Message>(line)));
            messages
        });
        let status = child.wait().map_err(Error::NoCargo)?;
        if !status.success() {
            return Err(Error::Failed { crate_folder: folder.to_owned() });
        }
        Ok(messages)
    }

    /// Copies a program, synced, executable and read-only; none if it was replaced after `finished`.
    fn copy(&self, program: &Path, finished: SystemTime) -> Result<Option<tempfile::NamedTempFile>, Error> {
        let mut from = File::open(program).map_err(Error::file(program))?;
        let mut copy = tempfile::NamedTempFile::new_in(&self.bin).map_err(Error::file(&self.bin))?;
        let copied = io::copy(&mut from, copy.as_file_mut())
            .and_then(|_| copy.as_file().set_permissions(Permissions::from_mode(0o555)))
            .and_then(|()| copy.as_file().sync_all());
        copied.map_err(Error::file(copy.path()))?;
        let modified =
            from.metadata().and_then(|metadata| metadata.modified()).map_err(Error::file(program))?;
        Ok((modified <= finished).then_some(copy))
    }

    fn metadata(&self) -> Result<Metadata, Error> {
        let mut cargo = self.cargo();
        cargo.args(["metadata", "--no-deps", "--format-version", "1"]).stdin(Stdio::null());
        let output = cargo.output().map_err(Error::NoCargo)?;
        if !output.status.success() {
            return Err(Error::Workspace(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        let metadata: Metadata =
            serde_json::from_slice(&output.stdout).map_err(|error| Error::Workspace(error.to_string()))?;
        fs::create_dir_all(&metadata.target_directory).map_err(Error::file(&metadata.target_directory))?;
        Ok(metadata)
    }

    fn cargo(&self) -> Command {
        let program =
            self.variables.get(OsStr::new("CARGO")).map_or(OsStr::new("cargo"), OsString::as_os_str);
        let mut cargo = Command::new(program);
        cargo.current_dir(&self.root).env_clear().envs(&self.variables);
        cargo
    }

    /// Removes programs that were not used for a long time. That some stay when this fails does no harm.
    fn drop_unused(&self) {
        let entries = fs::read_dir(&self.bin).into_iter().flatten().filter_map(Result::ok);
        for entry in entries {
            let age = entry.metadata().and_then(|metadata| metadata.modified()).map(|time| time.elapsed());
            if matches!(age, Ok(Ok(age)) if age > KEPT) {
                let path = entry.path();
                let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            }
        }
    }
}

impl Metadata {
    /// The crates that a program consists of, each with the hash of what cargo builds it of. Pins count for the program's own,
    /// which is linked, and for those with build scripts, which see what is outside.
    fn crates_of(&self, wanted: &Wanted, root: &Path) -> BTreeMap<String, Hash> {
        let manifest = manifest_in(root, &wanted.folder);
        let is_outside = |name: &String| {
            let mut packages = self.packages.iter().filter(|package| package.name == *name);
            packages.any(|package| package.has_script() || same_file(&package.manifest_path, &manifest))
        };
        let hash = |(name, hash): (&String, &Hash)| {
            let hash = if is_outside(name) { pinned(*hash, &wanted.pins) } else { *hash };
            (name.clone(), hash)
        };
        wanted.code.crates.iter().map(hash).collect()
    }

    /// Whether the target directory lies in the workspace.
    fn is_inside(&self, root: &Path) -> bool {
        match (self.target_directory.canonicalize(), root.canonicalize()) {
            (Ok(target), Ok(root)) => target.starts_with(root),
            _ => false,
        }
    }

    /// Makes cargo forget that it built these packages: removes `release/.fingerprint/NAME-0123456789abcdef`, also of
    /// builds for a named platform (`x86_64-unknown-linux-gnu/release`). If a later cargo keeps these elsewhere, it
    /// calls the packages fresh, and that is noticed.
    fn forget(&self, names: &[&str]) -> Result<(), Error> {
        for (_, folder) in self.memories().into_iter().filter(|(name, _)| names.contains(&name.as_str())) {
            fs::remove_dir_all(&folder).map_err(Error::file(&folder))?;
        }
        Ok(())
    }

    /// Packages that cargo has built since a time.
    fn built_since(&self, time: Option<SystemTime>) -> BTreeSet<String> {
        let is_newer = |path: PathBuf| path.metadata().and_then(|it| it.modified()).ok() > time;
        let has_newer = |folder: &Path| {
            fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| is_newer(entry.path()))
        };
        self.memories().into_iter().filter(|(_, folder)| has_newer(folder)).map(|(name, _)| name).collect()
    }

    /// What cargo remembers of the packages that it built: name and folder, one or more of each.
    fn memories(&self) -> Vec<(String, PathBuf)> {
        let build = self.build_directory.as_ref().unwrap_or(&self.target_directory);
        let platforms = folders(build).into_iter().map(|folder| folder.join("release"));
        let places = platforms.chain([build.join("release")]).map(|folder| folder.join(".fingerprint"));
        let named = |folder: PathBuf| {
            let name = folder.file_name()?.to_string_lossy().into_owned();
            let (name, digits) = name.rsplit_once('-')?;
            (digits.len() == 16).then(|| (name.to_owned(), folder))
        };
        places.flat_map(|place| folders(&place)).filter_map(named).collect()
    }
}

impl Package {
    fn has_script(&self) -> bool {
        self.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "custom-build"))
    }
}

/// Which sources the crates in a target directory were last built of, by package name.
struct Built {
    path: PathBuf,
    sources: BTreeMap<String, Hash>,
}

impl Built {
    fn read(target: &Path) -> Built {
        let path = target.join("ribbon-built.json");
        let sources =
            fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Built { path, sources }
    }

    /// When it was written last.
    fn time(&self) -> Option<SystemTime> {
        fs::metadata(&self.path).and_then(|it| it.modified()).ok()
    }

    /// Not atomic: a damaged file only means that crates are built again.
    fn write(&self) -> Result<(), Error> {
        let text =
            serde_json::to_vec(&self.sources).map_err(io::Error::from).map_err(Error::file(&self.path))?;
        fs::write(&self.path, text).map_err(Error::file(&self.path))
    }
}

/// Holds the target directory until the file is closed; runs of other clones wait.
fn lock(target: &Path, say: &(dyn Fn(&str) + Sync)) -> Result<File, Error> {
    let path = target.join("ribbon.lock");
    let file = File::options().create(true).append(true).open(&path).map_err(Error::file(&path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            say(&format!("waiting for another build in {}", target.display()))
        }
        Err(fs::TryLockError::Error(source)) => return Err(Error::File { path, source }),
    }
    file.lock().map_err(Error::file(&path))?;
    Ok(file)
}

fn manifest_in(root: &Path, folder: &str) -> PathBuf {
    root.join(folder).join("Cargo.toml")
}

/// A hash of code and what is pinned; without pins that of the code.
fn pinned(code: Hash, pins: &BTreeMap<String, Hash>) -> Hash {
    if pins.is_empty() {
        return code;
    }
    let pins = pins.iter().map(|(name, hash)| format!("\n{name} {hash}"));
    Hash::of([code.to_string()].into_iter().chain(pins).collect::<String>().as_bytes())
}

fn hash_program(program: &Path) -> io::Result<Hash> {
    hash_file(program, fs::metadata(program)?.len())
}

fn each_line(stream: Option<impl io::Read>, mut line: impl FnMut(&str)) {
    let Some(stream) = stream else { return };
    for bytes in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
        line(&String::from_utf8_lossy(&bytes));
    }
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
