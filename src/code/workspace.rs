//! A cargo workspace, and the code of its crates.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::files::{self, Files, normal};
use super::lock::Lock;
use super::manifest::{self, Manifest};
use super::reach::{Base, Include};
use super::rust::Source;
use super::{Code, Error, hash_of_parts, reach};
use crate::hash::Hash;

/// Sources of other languages, which build scripts compile.
const NATIVE: [&str; 9] = ["c", "cc", "cpp", "cu", "cuh", "cxx", "h", "hh", "hpp"];

/// Folders of a crate that are not code of its program.
const NOT_CODE: [&str; 4] = ["benches", "examples", "target", "tests"];

/// The folder in which derives of templates look.
const TEMPLATES: &str = "templates";

/// Variables that are set everywhere and say where things are.
const OF_EVERYBODY: [&str; 6] = ["HOME", "LANG", "LOGNAME", "PATH", "PWD", "USER"];

/// What of cargo's configuration changes a program.
const CONFIGURATION: [&str; 4] = ["env", "patch", "target", "unstable"];
const BUILD_CONFIGURATION: [&str; 3] = ["rustc", "rustflags", "target"];

/// A workspace as it was when it was opened: its manifest, its lock and what holds for all its crates.
pub struct Workspace {
    root: PathBuf,
    manifest: Table,
    lock: Lock,
    variables: BTreeMap<String, String>,
    /// Parts of every crate: profile, flags, toolchain.
    shared: BTreeMap<String, Hash>,
}

impl Workspace {
    /// Reads the workspace at `root`. `variables`: the environment cargo will run in, as of [`std::env::vars_os`].
    pub fn open(
        root: &Path,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Workspace, Error> {
        let text = |text: OsString| text.to_string_lossy().into_owned();
        let variables = variables.into_iter().map(|(name, value)| (text(name), text(value))).collect();
        let manifest = manifest::read_table(&root.join("Cargo.toml"))?;
        let lock = Lock::read(&root.join("Cargo.lock"))?;
        let shared = shared_parts(root, &manifest, &variables)?;
        Ok(Workspace { root: root.to_owned(), manifest, lock, variables, shared })
    }

    /// The code of the crate in `folder`, relative to the workspace.
    pub fn code(&self, folder: &str, files: &mut Files) -> Result<Code, Error> {
        let mut parts = self.shared.clone();
        let mut crates = BTreeMap::new();
        let mut places = self.patches();
        let mut queue = vec![normal("", folder)];
        let mut seen = BTreeSet::new();
        while let Some(folder) = queue.pop() {
            if !seen.insert(folder.clone()) {
                continue;
            }
            let manifest = Manifest::read(&self.root, &folder, &self.manifest)?;
            places.extend(manifest.folders());
            let slice = self.lock.slice(&manifest.name, &manifest.packages());
            parts.extend(slice.parts);
            for package in slice.folders {
                queue.push(places.get(&package).cloned().ok_or(Error::Unplaced { package })?);
            }
            queue.extend(manifest.folders().into_iter().map(|(_, folder)| folder));
            let own = Crate { workspace: self, manifest: &manifest, files }.parts()?;
            crates.insert(manifest.name, hash_of_parts(&own));
            parts.extend(own);
        }
        Ok(Code::new(parts, crates))
    }

    /// Package name and folder of each `[patch]` by path.
    fn patches(&self) -> BTreeMap<String, String> {
        let registries = manifest::table(&self.manifest, "patch").into_iter().flatten();
        let patches = registries.filter_map(|(_, patches)| patches.as_table()).flatten();
        let placed = patches.filter_map(|(key, patch)| {
            let name = patch.get("package").and_then(Value::as_str).unwrap_or(key);
            Some((name.to_owned(), normal("", patch.get("path")?.as_str()?)))
        });
        placed.collect()
    }
}

/// What holds for every crate: the root manifest's profile, resolver and patches, the toolchain, flags.
fn shared_parts(
    root: &Path,
    manifest: &Table,
    variables: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Hash>, Error> {
    let mut parts = BTreeMap::new();
    let mut add = |name: &str, value: Option<&Value>| {
        if let Some(value) = value {
            parts.insert(name.to_owned(), manifest::hash(value));
        }
    };
    add("profile.release", manifest.get("profile").and_then(|profile| profile.get("release")));
    add("workspace.resolver", manifest.get("workspace").and_then(|workspace| workspace.get("resolver")));
    add("patch", manifest.get("patch"));
    let mut channel: Option<String> = None;
    for name in ["rust-toolchain.toml", "rust-toolchain"] {
        if let Ok(text) = fs::read_to_string(root.join(name)) {
            let parsed =
                toml::from_str(&text).map_or_else(|_| Value::String(text.trim().to_owned()), Value::Table);
            let named = parsed.get("toolchain").and_then(|toolchain| toolchain.get("channel"));
            channel = channel.or_else(|| Some(named.unwrap_or(&parsed).as_str()?.to_owned()));
            add(name, Some(&parsed));
        }
    }
    let mut overridden = Vec::new();
    if let Some(configuration) = configuration(&root.join(".cargo"))? {
        // Cargo sets these only where they are not set, unless told to.
        let set = manifest::table(&configuration, "env").into_iter().flatten();
        overridden.extend(
            set.filter(|(name, value)| {
                variables.get(*name).is_some_and(|set| !is_as_configured(root, value, set))
            })
            .map(|(name, _)| name.clone()),
        );
        add(".cargo/config.toml", Some(&Value::Table(configuration)));
    }
    // Configurations of outer folders and of the user count by flags, variables and profile alone: theirs is the machine.
    let home = variables.get("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(Path::new(variables.get("HOME")?).join(".cargo")));
    let outer = root.ancestors().skip(1).map(|folder| folder.join(".cargo"));
    let mut seen = BTreeSet::new();
    let mut flags = Vec::new();
    for folder in outer.chain(home).filter(|folder| seen.insert(folder.clone())) {
        let Some(configuration) = configuration(&folder)? else { continue };
        let targets = manifest::table(&configuration, "target").into_iter().flatten();
        let of_targets = targets.filter_map(|(name, target)| Some((name.as_str(), target.get("rustflags")?)));
        let of_build =
            configuration.get("build").and_then(|build| build.get("rustflags")).map(|value| ("", value));
        let of_profile = configuration.get("profile").map(|value| ("profile", value));
        let of_environment = configuration.get("env").map(|value| ("env", value));
        let found = of_targets.chain(of_build).chain(of_profile).chain(of_environment);
        let found = found.map(|(name, value)| (name.to_owned(), value.clone()));
        flags.extend(found.map(|one| Value::Table(Table::from_iter([one]))));
    }
    if !flags.is_empty() {
        add("flags of the user's cargo configuration", Some(&Value::Array(flags)));
    }
    for (name, value) in variables.iter().filter(|(_, value)| !value.is_empty()) {
        let flags = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_BUILD_TARGET"];
        let of_target = name.starts_with("CARGO_TARGET_") && name.ends_with("_RUSTFLAGS");
        let is_counted = flags.contains(&name.as_str()) || overridden.contains(name);
        // Rustup sets it too, to what the file says.
        let is_toolchain = name == "RUSTUP_TOOLCHAIN"
            && channel.as_ref().is_some_and(|channel| {
                value
                    .strip_prefix(channel.as_str())
                    .is_none_or(|rest| !rest.is_empty() && !rest.starts_with('-'))
            });
        let of_profile = name.starts_with("CARGO_PROFILE_RELEASE_");
        if is_counted || is_toolchain || of_target || of_profile {
            add(name, Some(&Value::String(value.clone())));
        }
    }
    Ok(parts)
}

/// Whether a variable is what `[env]` would set it to, or is set by it in any case. Cargo sets them for what it runs, this
/// program perhaps.
fn is_as_configured(root: &Path, configured: &Value, set: &str) -> bool {
    let flag = |name: &str| configured.get(name).and_then(Value::as_bool) == Some(true);
    let Some(value) = configured.as_str().or_else(|| configured.get("value")?.as_str()) else { return false };
    let place = root.join(value);
    let is_same_place =
        || fs::canonicalize(&place).is_ok_and(|it| fs::canonicalize(set).is_ok_and(|set| set == it));
    flag("force") || if flag("relative") { Path::new(set) == place || is_same_place() } else { set == value }
}

/// What counts of the cargo configuration in `folder`, if there is one.
fn configuration(folder: &Path) -> Result<Option<Table>, Error> {
    let Some(path) =
        // Where there are both, cargo reads the one without an extension.
        ["config", "config.toml"].map(|name| folder.join(name)).into_iter().find(|path| path.is_file())
    else {
        return Ok(None);
    };
    let whole = manifest::read_table(&path)?;
    let keep = |table: &Table, keys: &[&str]| -> Table {
        let kept = table.iter().filter(|(key, _)| keys.contains(&key.as_str()));
        kept.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let mut counted = keep(&whole, &CONFIGURATION);
    for (key, keys) in [("build", &BUILD_CONFIGURATION[..]), ("profile", &["release"])] {
        let kept =
            manifest::table(&whole, key).map(|table| keep(table, keys)).filter(|kept| !kept.is_empty());
        counted.extend(kept.map(|kept| (key.to_owned(), Value::Table(kept))));
    }
    Ok(Some(counted).filter(|counted| !counted.is_empty()))
}

/// A crate whose files are being gathered.
struct Crate<'a, 'f> {
    workspace: &'a Workspace,
    manifest: &'a Manifest,
    files: &'a mut Files<'f>,
}

/// What the build script of a crate leads to.
#[derive(Default)]
struct Scripts {
    is_there: bool,
    /// Itself with its modules.
    sources: BTreeMap<PathBuf, Hash>,
    /// What they name.
    files: BTreeSet<PathBuf>,
    /// Variables that it names and that are set.
    variables: BTreeSet<String>,
}

/// The Rust files of a crate, and which of them only tests see.
#[derive(Default)]
struct Modules {
    sources: BTreeMap<PathBuf, Source>,
    /// From file to file; whether through `#[cfg(test)]`.
    edges: BTreeSet<(PathBuf, PathBuf, bool)>,
}

impl Crate<'_, '_> {
    fn parts(mut self) -> Result<BTreeMap<String, Hash>, Error> {
        let manifest = self.manifest;
        let own_manifest = normal(&manifest.folder, "Cargo.toml");
        let mut parts = BTreeMap::from([(own_manifest.clone(), manifest.hash())]);
        let mut includes = Vec::new();
        let mut variables = BTreeSet::new();
        let mut unclear = false;
        let mut named = Vec::new();

        for (path, source) in self.rust_files()? {
            parts.insert(self.name(&path), source.hash);
            unclear |= source.unclear;
            named.extend(source.named.into_iter().map(|named| (path.clone(), named)));
            variables.extend(source.variables);
            includes.extend(source.includes.into_iter().map(|include| (path.clone(), include)));
        }
        let folder = self.folder();
        let scripts = self.build_script_files()?;
        parts.extend(scripts.sources.into_iter().map(|(path, hash)| (self.name(&path), hash)));
        let mut raw = scripts.files;
        variables.extend(scripts.variables);
        while let Some((by, include)) = includes.pop() {
            let base = if include.base == Base::Crate { &folder } else { by.parent().unwrap_or(&folder) };
            let path = self.workspace.root.join(normal(&self.name(base), &include.path));
            if include.rust && path.is_file() && !raw.contains(&path) {
                let source = self.files.rust(&path)?;
                variables.extend(source.variables);
                includes.extend(source.includes.into_iter().map(|include: Include| (path.clone(), include)));
            }
            // A macro may find it elsewhere.
            unclear |= !path.exists();
            raw.extend(if path.is_dir() { files::below(&path, |_| true)? } else { vec![path] });
        }
        for (by, name) in named.iter().filter(|(_, name)| !name.is_empty() && !name.ends_with(".rs")) {
            let folders = [by.parent().unwrap_or(&folder), &folder, &folder.join(TEMPLATES)];
            let found = folders.map(|folder| normal(&self.name(folder), name)).into_iter();
            raw.extend(found.map(|name| self.workspace.root.join(name)).find(|path| path.is_file()));
        }
        // What a build script or an unknown path may lead to.
        let source_folder = folder.join("src");
        let is_code = |path: &PathBuf| {
            unclear || is_native(path) || scripts.is_there && path.starts_with(&source_folder)
        };
        raw.extend(self.code_files()?.into_iter().filter(is_code));
        for path in raw {
            // What is not there cannot be built, and cargo says so best.
            let hash = if path.is_file() { self.files.raw(&path)? } else { Hash::of(b"") };
            parts.insert(self.name(&path), hash);
        }
        for name in variables.iter().filter(|name| !name.starts_with("CARGO_") && *name != "OUT_DIR") {
            let value = self.workspace.variables.get(name);
            parts.insert(format!("env {name}"), Hash::of(format!("{value:?}").as_bytes()));
        }
        if variables.iter().any(|name| name.starts_with("CARGO_PKG_")) {
            parts.insert(format!("{own_manifest}: package"), manifest.package_hash());
        }
        Ok(parts)
    }

    /// All files under `src/` and the folders of other roots, and those that `mod` reaches from there, but not those that only
    /// test modules reach. A file that nothing is seen to reach counts: a macro may declare it.
    fn rust_files(&mut self) -> Result<Vec<(PathBuf, Source)>, Error> {
        let folder = self.folder();
        let source_folder = folder.join("src");
        // A root elsewhere has its modules beside it; not one in the crate's folder, where all kinds of things are.
        let beside =
            self.manifest.roots().into_iter().filter_map(|root| Some(folder.join(root).parent()?.to_owned()));
        let places: BTreeSet<PathBuf> =
            beside.filter(|place| *place != folder).chain([source_folder.clone()]).collect();
        let mut under_src = BTreeSet::new();
        for place in places.iter().filter(|place| place.is_dir()) {
            under_src.extend(files::below(place, |_| true)?);
        }
        let under_src: Vec<PathBuf> =
            under_src.into_iter().filter(|path| has_extension(path, &["rs"])).collect();
        let usual = under_src.iter().filter(|path| is_usual_root(&source_folder, path)).cloned();
        let named =
            self.manifest.roots().into_iter().map(|root| folder.join(root)).filter(|path| path.is_file());
        let roots: BTreeSet<PathBuf> = usual.chain(named).collect();

        let modules = self.modules(&roots, &under_src)?;
        let tests = modules.closure(modules.edges.iter().filter(|edge| edge.2).map(|edge| &edge.1), true);
        let start = roots.iter().chain(modules.sources.keys().filter(|path| !tests.contains(*path)));
        let counted = modules.closure(start, false);
        Ok(modules.sources.into_iter().filter(|(path, _)| counted.contains(path)).collect())
    }

    fn modules(&mut self, roots: &BTreeSet<PathBuf>, others: &[PathBuf]) -> Result<Modules, Error> {
        let mut modules = Modules::default();
        let owner = |path: &PathBuf| roots.contains(path) || path.ends_with("mod.rs");
        let mut queue: Vec<(PathBuf, bool)> =
            roots.iter().chain(others).map(|path| (path.clone(), owner(path))).collect();
        let mut seen = BTreeSet::new();
        while let Some((path, owner)) = queue.pop() {
            if !seen.insert((path.clone(), owner)) {
                continue;
            }
            let source = self.files.rust(&path)?;
            for module in &source.modules {
                let there =
                    module.candidates(&path, owner).into_iter().filter(|candidate| candidate.path.is_file());
                for candidate in there {
                    let target = self.workspace.root.join(self.name(&candidate.path));
                    modules.edges.insert((path.clone(), target.clone(), module.test));
                    queue.push((target, candidate.owner));
                }
            }
            modules.sources.insert(path, source);
        }
        Ok(modules)
    }

    /// The build script with its modules and includes, and what its string literals name of the workspace and of the
    /// environment.
    fn build_script_files(&mut self) -> Result<Scripts, Error> {
        let folder = self.folder();
        let mut found = Scripts::default();
        let Some(script) = self.manifest.build_script().map(|script| folder.join(script)) else {
            return Ok(found);
        };
        if !script.is_file() {
            return Ok(found);
        }
        found.is_there = true;
        let modules = self.modules(&BTreeSet::from([script]), &[])?;
        for (path, source) in modules.sources {
            let text = fs::read_to_string(&path).map_err(Error::read(&path))?;
            for literal in reach::strings(&text) {
                let named = literal.rsplit('=').next().unwrap_or_default().trim();
                if self.workspace.variables.contains_key(named) && !OF_EVERYBODY.contains(&named) {
                    found.variables.insert(named.to_owned());
                }
                // `{folder}/grammar.txt`, or what is put after a folder's name.
                let named = named.rsplit('}').next().unwrap_or_default();
                let named = if self.folder().join(named.trim_start_matches('/')).exists() {
                    named.trim_start_matches('/')
                } else {
                    named
                };
                let name = normal(&self.manifest.folder, named);
                let place = self.workspace.root.join(&name);
                // Hidden folders hold what tools fetched, not sources.
                let hidden = name.split('/').any(|part| part.starts_with('.') && part != "..");
                if named.is_empty()
                    || named.starts_with('/')
                    || hidden
                    || folder.join("src").starts_with(&place)
                {
                    continue;
                }
                if place.is_dir() {
                    found.files.extend(files::below(&place, |_| true)?);
                } else if place.is_file() {
                    found.files.insert(place);
                }
            }
            found.sources.insert(path, source.hash);
        }
        // A script names itself for cargo to watch.
        found.files.retain(|file| !found.sources.contains_key(file));
        Ok(found)
    }

    /// All files of the crate's folder that may be code; not those of other crates in it.
    fn code_files(&self) -> Result<Vec<PathBuf>, Error> {
        let folder = self.folder();
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder).map_err(Error::read(&folder))? {
            let path = entry.map_err(Error::read(&folder))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with('.') || NOT_CODE.contains(&name.as_str()) || path.join("Cargo.toml").is_file()
            {
                continue;
            }
            if path.is_dir() {
                let below = files::below(&path, |_| true)?;
                let crates: Vec<PathBuf> = below
                    .iter()
                    .filter(|path| path.ends_with("Cargo.toml"))
                    .map(|path| path.with_file_name(""))
                    .collect();
                found.extend(
                    below.into_iter().filter(|path| !crates.iter().any(|other| path.starts_with(other))),
                );
            } else if !name.ends_with(".rs") && name != "Cargo.toml" && name != "Cargo.lock" {
                found.push(path);
            }
        }
        found.retain(|path| !has_extension(path, &["rs"]));
        Ok(found)
    }

    fn folder(&self) -> PathBuf {
        self.workspace.root.join(&self.manifest.folder)
    }

    fn name(&self, path: &Path) -> String {
        files::name_in(&self.workspace.root, path)
    }
}

impl Modules {
    /// What is reached from `start`; through modules of tests too, or not.
    fn closure<'a>(
        &self,
        start: impl Iterator<Item = &'a PathBuf>,
        through_tests: bool,
    ) -> BTreeSet<PathBuf> {
        let mut queue: Vec<&PathBuf> = start.collect::<Vec<_>>();
        let mut reached = BTreeSet::new();
        while let Some(path) = queue.pop() {
            if reached.insert(path.clone()) {
                let on = self.edges.iter().filter(|(from, _, test)| from == path && (through_tests || !test));
                queue.extend(on.map(|(_, to, _)| to));
            }
        }
        reached
    }
}

/// `src/lib.rs`, `src/main.rs`, `src/bin/*.rs`, `src/bin/*/main.rs`.
fn is_usual_root(source_folder: &Path, path: &Path) -> bool {
    let Ok(below) = path.strip_prefix(source_folder) else { return false };
    let names: Vec<_> = below.iter().map(|name| name.to_string_lossy()).collect();
    match names.iter().map(AsRef::as_ref).collect::<Vec<&str>>()[..] {
        [name] => name == "lib.rs" || name == "main.rs",
        ["bin", _] => true,
        ["bin", _, name] => name == "main.rs",
        _ => false,
    }
}

fn is_native(path: &Path) -> bool {
    has_extension(path, &NATIVE)
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().is_some_and(|extension| extensions.iter().any(|known| extension == *known))
}
