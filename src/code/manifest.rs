//! `Cargo.toml`: what of it changes a program, and where it leads.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use toml::{Table, Value};

use super::Error;
use super::files::normal;
use crate::hash::Hash;

/// What of `[package]` changes a program.
const PACKAGE: [&str; 6] = ["name", "edition", "build", "links", "autobins", "autolib"];

/// What of `[lib]` and `[[bin]]` does not.
const NOT_OF_TARGETS: [&str; 5] = ["test", "doctest", "bench", "doc", "doc-scrape-examples"];

/// A crate's manifest, with what it inherits from the workspace filled in.
#[derive(Debug)]
pub(super) struct Manifest {
    /// The crate's folder, relative to the workspace; empty for the root package.
    pub folder: String,
    /// The package's name.
    pub name: String,
    package: Table,
    manifest: Table,
    dependencies: Table,
}

impl Manifest {
    /// Reads the manifest in `folder` of the workspace at `root`, whose manifest is `workspace`.
    pub fn read(root: &Path, folder: &str, workspace: &Table) -> Result<Manifest, Error> {
        let path = root.join(folder).join("Cargo.toml");
        let malformed = |what: &str| Error::Malformed { path: path.clone(), what: what.to_owned() };
        let manifest = read_table(&path)?;
        let mut package = table(&manifest, "package").ok_or_else(|| malformed("no [package]"))?.clone();
        let inherited = table(workspace, "workspace").and_then(|workspace| table(workspace, "package"));
        for (key, value) in &mut package {
            if is_inherited(value)
                && let Some(inherited) = inherited.and_then(|inherited| inherited.get(key))
            {
                *value = inherited.clone();
            }
        }
        let name =
            package.get("name").and_then(Value::as_str).ok_or_else(|| malformed("[package] has no name"))?;
        let (folder, name) = (folder.to_owned(), name.to_owned());
        let dependencies = dependencies(&manifest, &folder, workspace);
        Ok(Manifest { folder, name, package, manifest, dependencies })
    }

    /// The hash of what changes a program.
    pub fn hash(&self) -> Hash {
        let mut counted: Table =
            self.package.iter().filter(|(key, _)| PACKAGE.contains(&key.as_str())).map(pair).collect();
        for key in ["lib", "bin", "features"] {
            if let Some(value) = self.manifest.get(key) {
                counted.insert(key.to_owned(), without(value, &NOT_OF_TARGETS));
            }
        }
        counted.insert("dependencies".to_owned(), Value::Table(self.dependencies.clone()));
        hash(&Value::Table(counted))
    }

    /// The hash of the whole `[package]`, for what reads `CARGO_PKG_..`.
    pub fn package_hash(&self) -> Hash {
        hash(&Value::Table(self.package.clone()))
    }

    /// The packages it needs to build, by their names in `Cargo.lock`.
    pub fn packages(&self) -> BTreeSet<String> {
        self.each_dependency().map(|(key, dependency)| package_of(key, dependency)).collect()
    }

    /// The folders of those it depends on by path, relative to the workspace.
    pub fn folders(&self) -> Vec<(String, String)> {
        let with_path = self.each_dependency().filter_map(|(key, dependency)| {
            Some((package_of(key, dependency), dependency.get("path")?.as_str()?.to_owned()))
        });
        with_path.collect()
    }

    /// The roots of its library and programs that the manifest names, relative to the crate; cargo's usual ones are
    /// under `src/`.
    pub fn roots(&self) -> Vec<String> {
        let programs = self.manifest.get("bin").and_then(Value::as_array).into_iter().flatten();
        let named = self.manifest.get("lib").into_iter().chain(programs);
        named.filter_map(|target| Some(target.get("path")?.as_str()?.to_owned())).collect()
    }

    /// The build script, if it is not turned off, relative to the crate. It need not exist.
    pub fn build_script(&self) -> Option<String> {
        match self.package.get("build") {
            Some(Value::Boolean(false)) => None,
            Some(Value::String(path)) => Some(path.clone()),
            _ => Some("build.rs".to_owned()),
        }
    }

    fn each_dependency(&self) -> impl Iterator<Item = (&str, &Value)> {
        let groups = self.dependencies.values().filter_map(Value::as_table);
        groups.flatten().map(|(key, dependency)| (key.as_str(), dependency))
    }
}

/// Reads a TOML file.
pub(super) fn read_table(path: &Path) -> Result<Table, Error> {
    let text = fs::read_to_string(path).map_err(Error::read(path))?;
    toml::from_str(&text).map_err(|error| Error::Malformed { path: path.to_owned(), what: error.to_string() })
}

/// A table within a table.
pub(super) fn table<'a>(table: &'a Table, key: &str) -> Option<&'a Table> {
    table.get(key)?.as_table()
}

/// The hash of a value, whatever its layout and the order of its keys.
pub(super) fn hash(value: &Value) -> Hash {
    fn write(value: &Value, out: &mut Vec<u8>) {
        match value {
            Value::Table(table) => {
                let mut entries: Vec<_> = table.iter().collect();
                entries.sort_by_key(|(key, _)| *key);
                out.extend(format!("{{{}:", entries.len()).bytes());
                for (key, value) in entries {
                    out.extend(format!("{}:{key}", key.len()).bytes());
                    write(value, out);
                }
            }
            Value::Array(values) => {
                out.extend(format!("[{}:", values.len()).bytes());
                values.iter().for_each(|value| write(value, out));
            }
            Value::String(text) => out.extend(format!("\"{}:{text}", text.len()).bytes()),
            other => {
                let text = other.to_string();
                out.extend(format!("={}:{text}", text.len()).bytes());
            }
        }
    }
    let mut bytes = Vec::new();
    write(value, &mut bytes);
    Hash::of(&bytes)
}

/// All dependencies but those of tests, a table for each section (`dependencies`, `target.'cfg(unix)'.dependencies`),
/// each dependency a table with what it inherits, its path relative to the workspace.
fn dependencies(manifest: &Table, folder: &str, workspace: &Table) -> Table {
    let inherited = table(workspace, "workspace").and_then(|workspace| table(workspace, "dependencies"));
    let targets = table(manifest, "target").into_iter().flatten();
    let targets =
        targets.filter_map(|(name, of_target)| Some((format!("target.{name}."), of_target.as_table()?)));
    let mut sections = Table::new();
    for (prefix, of_target) in [(String::new(), manifest)].into_iter().chain(targets) {
        for key in ["dependencies", "build-dependencies"] {
            let Some(section) = table(of_target, key) else { continue };
            let section = section
                .iter()
                .map(|(name, value)| (name.clone(), Value::Table(dependency(name, value, folder, inherited))))
                .collect();
            sections.insert(format!("{prefix}{key}"), Value::Table(section));
        }
    }
    sections
}

fn dependency(name: &str, value: &Value, folder: &str, inherited: Option<&Table>) -> Table {
    let mut declared = as_table(value);
    let mut relative_to = folder;
    if is_inherited(value) {
        let mut whole = inherited.and_then(|inherited| inherited.get(name)).map(as_table).unwrap_or_default();
        let features = [whole.get("features"), declared.get("features")];
        let features: Vec<Value> =
            features.into_iter().flatten().filter_map(Value::as_array).flatten().cloned().collect();
        declared.remove("workspace");
        whole.extend(declared);
        if !features.is_empty() {
            whole.insert("features".to_owned(), Value::Array(features));
        }
        declared = whole;
        relative_to = "";
    }
    if let Some(Value::String(path)) = declared.get_mut("path") {
        *path = normal(relative_to, path);
    }
    declared
}

fn as_table(dependency: &Value) -> Table {
    match dependency {
        Value::Table(table) => table.clone(),
        version => Table::from_iter([("version".to_owned(), version.clone())]),
    }
}

fn is_inherited(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

fn package_of(key: &str, dependency: &Value) -> String {
    dependency.get("package").and_then(Value::as_str).unwrap_or(key).to_owned()
}

fn without(value: &Value, keys: &[&str]) -> Value {
    match value {
        Value::Table(table) => {
            Value::Table(table.iter().filter(|(key, _)| !keys.contains(&key.as_str())).map(pair).collect())
        }
        Value::Array(values) => Value::Array(values.iter().map(|value| without(value, keys)).collect()),
        other => other.clone(),
    }
}

fn pair((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(manifest: &str, workspace: &str) -> Manifest {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("stages/a");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("Cargo.toml"), manifest).unwrap();
        Manifest::read(root.path(), "stages/a", &toml::from_str(workspace).unwrap()).unwrap()
    }

    #[test]
    fn an_inherited_dependency_counts_with_all_its_features() {
        let workspace = "[workspace.dependencies]\nx = { version = \"1\", features = [\"f\"] }\n\
                         k = { path = \"stages/k\" }";
        let inherits = "[package]\nname = \"a\"\n[dependencies]\n\
                        x = { workspace = true, features = [\"g\"] }\nk.workspace = true";
        let spelt = "[package]\nname = \"a\"\n[dependencies]\nk.path = \"../k\"\n\
                     x = { version = \"1\", features = [\"f\", \"g\"] }";
        assert_eq!(read(inherits, workspace).hash(), read(spelt, "").hash());
        assert_eq!(read(inherits, workspace).folders(), [("k".to_owned(), "stages/k".to_owned())]);
        assert_ne!(
            read(inherits, workspace).hash(),
            read(inherits, &workspace.replace("\"f\"", "\"h\"")).hash()
        );
    }

    #[test]
    fn only_what_builds_the_program_counts() {
        let plain = "[package]\nname = \"a\"\nedition = \"2024\"\n[dependencies]\nx = \"1\"";
        let dressed = "[dependencies]\nx = { version = \"1\" }\n[package]\ndescription = \"d\"\nversion = \"9.0.0\"\n\
                       name = \"a\"\n\
                       edition.workspace = true\n[dev-dependencies]\ny = \"1\"\n[lints]\nworkspace = true";
        let workspace = "[workspace.package]\nedition = \"2024\"";
        assert_eq!(read(plain, "").hash(), read(dressed, workspace).hash());
        for edit in [
            "[features]\nf = []",
            "[build-dependencies]\ncc = \"1\"",
            "[target.'cfg(unix)'.dependencies]\nn = \"1\"",
        ] {
            assert_ne!(read(plain, "").hash(), read(&format!("{plain}\n{edit}"), "").hash(), "{edit}");
        }
        assert_eq!(read(dressed, workspace).packages(), BTreeSet::from(["x".to_owned()]));
    }
}
