//! A virtual environment for tests, made as the example's README says, and kept between tests.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::skip;

/// The example whose environment it is; its list has numpy and matplotlib.
const EXAMPLE: &str = "examples/python-figure";

/// The lines of the README's first block that make the environment, up to the first one for `ribbon`.
fn recipe(readme: &str) -> Vec<&str> {
    let block = readme.split("```").nth(1).unwrap();
    block.lines().skip(1).take_while(|line| !line.starts_with("ribbon")).collect()
}

/// The example's environment; none where Python or the packages are not to be had.
pub fn environment() -> Option<PathBuf> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join(EXAMPLE);
    with(&std::fs::read_to_string(example.join("requirements.lock")).unwrap(), "matplotlib, numpy")
}

/// The folder `.venv` that the README's lines make of a list of packages, of which these modules are; none where Python or the
/// packages are not to be had. Another list, or other lines, make another folder.
pub fn with(requirements: &str, modules: &str) -> Option<PathBuf> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join(EXAMPLE).join("README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let recipe = recipe(&readme);
    assert!(recipe.iter().any(|line| line.contains("venv")), "README.md makes an environment: {recipe:?}");
    let mut hasher = DefaultHasher::new();
    (&recipe, requirements).hash(&mut hasher);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-{:x}", hasher.finish()));
    let environment = folder.join(".venv");
    let python = environment.join("bin/python");
    if !succeeds(Command::new(&python).args(["-c", &format!("import {modules}")])) {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("requirements.lock"), requirements).unwrap();
        let made = succeeds(Command::new("sh").args(["-ec", &recipe.join("\n")]).current_dir(&folder));
        if !made {
            return None;
        }
    }
    Some(environment)
}

/// Whether a command ends well.
pub fn succeeds(command: &mut Command) -> bool {
    let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    ended.is_ok_and(|status| status.success())
}

/// Says what cannot be tested without Python.
pub fn skipped(what: &str) {
    skip::skipped(&format!("{what}: there is no python3 with venv and pip, or they cannot install packages"));
}
