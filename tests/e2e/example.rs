//! The example with stages in Rust and in Python, as somebody who copies it runs it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::scratch::Scratch;

/// A copy of an example.
fn copied(name: &str) -> Scratch {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let scratch = Scratch::new(&[]);
    copy(&folder, &folder, &scratch);
    scratch
}

fn copy(root: &Path, folder: &Path, to: &Scratch) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
        match name {
            ".ribbon" | ".venv" | "outputs" | "target" => {}
            _ if path.is_dir() => copy(root, &path, to),
            _ => to.write(name, &std::fs::read_to_string(&path).unwrap()),
        }
    }
}

/// Whether a command ends well.
fn succeeds(program: impl AsRef<Path>, words: &[&str]) -> bool {
    let mut command = Command::new(program.as_ref());
    let ended = command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    ended.is_ok_and(|status| status.success())
}

/// The folder of a `python3` that has matplotlib: the one there is, or a virtual environment that is kept between tests.
fn python(requirements: &Path) -> Option<PathBuf> {
    const HAS: [&str; 2] = ["-c", "import matplotlib"];
    let path = std::env::var_os("PATH")?;
    let first = std::env::split_paths(&path).find(|folder| folder.join("python3").is_file())?;
    if succeeds(first.join("python3"), &HAS) {
        return Some(first);
    }
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("matplotlib");
    let folder = environment.join("bin");
    let install = ["-m", "pip", "install", "--quiet", "--requirement", requirements.to_str()?];
    let is_ready = succeeds(folder.join("python3"), &HAS)
        || succeeds(first.join("python3"), &["-m", "venv", environment.to_str()?])
            && succeeds(folder.join("python3"), &install);
    is_ready.then_some(folder)
}

/// Says so past the test runner, which shows what a test prints only when it fails.
fn skipped(why: &str) {
    let text = format!("SKIPPED a test of examples/python-figure: {why}\n");
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

#[test]
fn stages_in_rust_and_in_plain_python_make_a_figure() {
    if !succeeds("python3", &["--version"]) {
        return skipped("there is no python3");
    }
    let example = copied("python-figure");
    let run = example.run("sketch");
    assert_eq!((run.code, run.made().as_str()), (Some(0), "walk 3, sketch 1"), "{}", run.err);
    let sketch = example.read("outputs/small/sketch.svg");
    assert!(sketch.starts_with("<svg ") && sketch.contains(">drift 0.05</text>"), "{sketch}");
    example.edit("sketch.py", "#4878d0", "#6acc64");
    assert_eq!(example.run("sketch").made(), "sketch 1");
    assert_eq!(example.run("sketch --set steps=10").made(), "walk 3, sketch 1");
}

#[test]
fn a_matplotlib_figure_is_drawn_again_when_its_code_or_its_pinned_versions_change() {
    let mut example = copied("python-figure");
    let Some(folder) = python(&example.path("requirements.lock")) else {
        return skipped("python3 has no matplotlib, and it cannot be installed here");
    };
    let path = std::env::var_os("PATH").unwrap();
    let folders = std::iter::once(folder).chain(std::env::split_paths(&path));
    example.set("PATH", std::env::join_paths(folders).unwrap().into_string().unwrap());
    let run = example.run("figure");
    assert_eq!((run.code, run.made().as_str()), (Some(0), "walk 3, figure 1"), "{}", run.err);
    let figure = example.read("outputs/small/figure.svg");
    assert!(figure.contains("<svg ") && figure.contains("drift 0.05"), "{figure}");
    example.run("--force figure");
    assert_eq!(example.read("outputs/small/figure.svg"), figure, "the same bits again");
    assert_eq!(example.run("figure").made(), "nothing");
    example.edit("requirements.lock", "cycler==", "# cycler\ncycler==");
    assert_eq!(example.run("figure").made(), "figure 1");
    let why = example.ribbon("why figure --set steps=500").out;
    assert!(why.starts_with("3 walk jobs: params.steps 400 -> 500\n"), "{why}");
}
