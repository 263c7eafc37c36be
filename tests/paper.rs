//! The paper's own pipeline, end to end on its `tiny` profile: real stages, real images, in a copy of this workspace.
//!
//! One test, because each step builds on what the one before has made, and builds are what takes the time.

#[path = "paper/images.rs"]
mod images;
#[path = "paper/own.rs"]
mod own;
#[path = "paper/pages.rs"]
mod pages;
#[path = "e2e/skip.rs"]
mod skip;
#[path = "paper/tables.rs"]
mod tables;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const FIGURES: [&str; 17] = [
    "embedding-train",
    "embedding-test",
    "spectrum",
    "trajectories",
    "dendrogram",
    "speed",
    "geodesic-distance",
    "embedding-joint",
    "tube-train",
    "tube-test",
    "factors",
    "centroids-train",
    "centroids-test",
    "tangents-train",
    "tangents-test",
    "outliers-train",
    "outliers-test",
];

/// The figures of other starts and of sloppy data, which not every profile has.
const OTHERS: [&str; 3] = ["starts-train", "starts-test", "sloppy"];

/// Pages: the report, which is made of figures, tables and the other pages, and those.
const PAGES: [&str; 3] = ["report", "embedding-train", "embedding-test"];

/// What a run said.
struct Ran {
    events: Vec<Value>,
}

struct Workspace {
    folder: tempfile::TempDir,
}

impl Workspace {
    /// A copy of what a clone would hold, with the libtorch that set-up has linked here.
    fn new() -> Workspace {
        let folder = tempfile::tempdir().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR"));
        let files = ["Cargo.toml", "Cargo.lock", "pipeline.yaml"];
        let folders = [".cargo", "benches", "setup", "src", "stages", "tests/golden"];
        for name in files.into_iter().chain(folders) {
            copy(&from.join(name), &folder.path().join(name));
        }
        let workspace = Workspace { folder };
        workspace.be_another_version();
        let folder = &workspace.folder;
        let libtorch = fs::canonicalize(from.join(".deps/libtorch")).expect("`make setup` links libtorch");
        fs::create_dir(folder.path().join(".deps")).unwrap();
        std::os::unix::fs::symlink(libtorch, folder.path().join(".deps/libtorch")).unwrap();
        workspace
    }

    /// Gives its crates another version. To cargo crates at the same place in their workspace are the same crate, and with one
    /// target folder those that are edited here would be found, newer than their sources, by the tests of stages.
    fn be_another_version(&self) {
        let version = |version| format!("version = \"{version}\"");
        let (ours, other) = (version(env!("CARGO_PKG_VERSION")), version("0.0.0-edited"));
        let another = |text: &str| text.replacen(&ours, &other, 1);
        let (manifest, lock) = (self.path("Cargo.toml"), self.path("Cargo.lock"));
        let text = another(&fs::read_to_string(&manifest).unwrap());
        assert!(text.contains(&other), "{}: no `{ours}`", manifest.display());
        fs::write(&manifest, text).unwrap();
        let packages = fs::read_to_string(&lock).unwrap();
        let packages = packages.split("[[package]]").map(|package| match package.contains("source = ") {
            true => package.to_owned(),
            false => another(package),
        });
        fs::write(&lock, packages.collect::<Vec<_>>().join("[[package]]")).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `ribbon` in a folder of the workspace.
    fn ribbon(&self, folder: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ribbon"));
        command.args(arguments).current_dir(self.path(folder));
        // Where this test was built lies what its stages are built of: polars and torch-sys take minutes.
        let target = Path::new(env!("CARGO_BIN_EXE_ribbon")).ancestors().nth(2).unwrap();
        command.env("CARGO_TARGET_DIR", target);
        command.env("RIBBON_DATA", self.path("data"));
        command.env_remove("LD_LIBRARY_PATH").env_remove("RIBBON_STORE").env_remove("CARGO_MANIFEST_DIR");
        command.output().unwrap()
    }

    /// Runs everything, which must end well.
    fn run(&self, arguments: &[&str]) -> Ran {
        let (ran, is_well) = self.run_in("", &[&["--profile", "tiny"], arguments].concat());
        assert!(is_well, "{:?}", ran.events);
        ran
    }

    /// Runs the pipeline of a folder; and whether that ended well.
    fn run_in(&self, folder: &str, arguments: &[&str]) -> (Ran, bool) {
        let output = self.ribbon(folder, &[&["run", "--json"], arguments].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let event = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {text}{said}"));
        assert!(!text.is_empty(), "{said}");
        (Ran { events: text.lines().map(event).collect() }, output.status.success())
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.path(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no `{from}` to edit");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    fn figure(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(&format!("outputs/tiny/figures/{name}"))).unwrap()
    }

    /// A page that a profile of the pipeline in a folder has published.
    fn page(&self, folder: &str, profile: &str, name: &str) -> String {
        let path = self.path(folder).join(format!("outputs/{profile}/{name}.html"));
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The programs that were built: CODE/OWN/NAME.
    fn programs(&self) -> Vec<PathBuf> {
        let below = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let folders = below(self.path(".ribbon/bin")).filter(|path| path.is_dir());
        folders.flat_map(below).flat_map(below).collect()
    }
}

impl Ran {
    fn count(&self) -> u64 {
        self.events.last().unwrap()["ran"].as_u64().unwrap()
    }

    /// How many jobs of each stage ran, stages sorted.
    fn stages(&self) -> Vec<(String, usize)> {
        let mut stages: Vec<String> = self
            .events
            .iter()
            .filter(|event| event["event"] == "done")
            .map(|event| event["job"].as_str().unwrap().split('[').next().unwrap().to_owned())
            .collect();
        stages.sort();
        let mut counts: Vec<(String, usize)> = Vec::new();
        for stage in stages {
            match counts.last_mut() {
                Some((last, count)) if *last == stage => *count += 1,
                _ => counts.push((stage, 1)),
            }
        }
        counts
    }

    /// The job of a stage that was done last.
    fn last(&self, stage: &str) -> String {
        let done = self.events.iter().rev().filter(|event| event["event"] == "done");
        let mut jobs = done.map(|event| event["job"].as_str().unwrap());
        jobs.find(|job| job.split('[').next() == Some(stage)).unwrap().to_owned()
    }

    fn has_built(&self) -> bool {
        self.events.iter().any(|event| event["event"] == "build")
    }

    fn is_reproduced(&self) -> bool {
        self.events.iter().all(|event| event["event"] != "unreproduced")
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy(&from.join(&name), &to.join(&name));
        }
    } else {
        fs::copy(from, to).unwrap();
    }
}

/// Gives every file of the project a new time.
fn touch(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && ![".ribbon", ".deps", "outputs"].contains(&name.as_str()) {
            touch(&path);
        } else if path.is_file() {
            fs::File::open(&path).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
        }
    }
}

fn counts(expected: &[(&str, usize)]) -> Vec<(String, usize)> {
    expected.iter().map(|(stage, count)| (stage.to_string(), *count)).collect()
}

/// The names of the libraries that an ELF file needs, in its raw bytes: enough to tell libtorch from OpenBLAS.
fn names(program: &Path, library: &str) -> bool {
    let bytes = fs::read(program).unwrap();
    bytes.windows(library.len()).any(|window| window == library.as_bytes())
}

#[test]
fn the_paper_is_made_and_only_what_changed_is_made_again() {
    let workspace = Workspace::new();

    let first = workspace.run(&[]);
    assert!(first.has_built());
    for figure in FIGURES.into_iter().chain(OTHERS) {
        assert!(workspace.figure(&format!("{figure}.svg")).starts_with(b"<svg"), "{figure}.svg");
        assert!(workspace.figure(&format!("{figure}.png")).starts_with(b"\x89PNG"), "{figure}.png");
    }
    for page in PAGES {
        assert!(workspace.page("", "tiny", page).starts_with("<!doctype html>"), "{page}.html");
    }
    let report = workspace.page("", "tiny", "report");
    assert_eq!(report.matches("<img ").count(), FIGURES.len() + OTHERS.len(), "each figure is in the report");
    assert!(report.contains("id=\"pipeline-data\""), "the report tells where it came from");
    assert_eq!(workspace.run(&[]).count(), 0);
    touch(workspace.folder.path());
    assert_eq!(workspace.run(&[]).count(), 0);

    // No program holds both libraries, and those that are meant to hold one do.
    let programs = workspace.programs();
    assert_eq!(programs.len(), 16, "{programs:?}");
    for program in &programs {
        let name = program.file_name().unwrap().to_str().unwrap();
        let (torch, blas) = (names(program, "libtorch_cpu.so"), names(program, "libopenblas.so"));
        assert_eq!(torch, ["train", "predict"].contains(&name), "{name} and libtorch");
        assert_eq!(blas, ["embed", "tangents"].contains(&name), "{name} and OpenBLAS");
    }

    the_full_sweep_is_foretold(&workspace);
    pages::open_without_complaint_and_tell_where_they_came_from(&workspace);
    tables::have_the_columns_that_their_page_tells_of(&workspace);
    own::networks_trained_elsewhere_get_the_same_figures(&workspace);
    images::folders_of_images_get_the_same_figures(&workspace);

    // Training again gives equal bits: all in one process, and the last one in a process of its own. So do distances, of
    // which two processes had computed many.
    let again = workspace.run(&["-j", "1", "--force", "train", "--force", "predict"]);
    assert_eq!(again.stages(), counts(&[("predict", 6), ("train", 6)]));
    assert!(again.is_reproduced());
    let (train, distance) = (again.last("train"), first.last("distance"));
    let alone = workspace.ribbon("", &["--profile", "tiny", "verify", "--rerun", &train, &distance]);
    let told = String::from_utf8_lossy(&alone.stdout);
    assert_eq!(told.matches(": 1 of 1 reproduced bit by bit").count(), 2, "{alone:?}");

    // A stage that opens what it does not declare says which file that was.
    let declared = "    let params: Params = job.params()?;\n";
    let secret = workspace.path("pipeline.lock");
    let opening = format!("{declared}    Tensors::open(std::path::Path::new({secret:?}))?;\n");
    workspace.edit("stages/geodesic/src/main.rs", declared, &opening);
    let (refused, is_well) = workspace.run_in("", &["--profile", "tiny"]);
    let failed = refused.events.iter().find(|event| event["event"] == "failed").unwrap();
    let what = failed["what"].as_str().unwrap();
    assert!(!is_well && what.contains(secret.to_str().unwrap()), "{failed}");
    assert!(what.contains("Permission denied") && failed["log"].to_string().contains("hint: the sandbox"));
    workspace.edit("stages/geodesic/src/main.rs", &opening, declared);
    assert_eq!(workspace.run(&[]).count(), 0);

    // Comments, docs, line breaks and tests of the train stage.
    workspace.edit("stages/train/src/main.rs", "\nfn main()", "\n// Another comment.\nfn main(\n)");
    let path = workspace.path("stages/train/src/main.rs");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text + "\n#[cfg(test)]\nmod more {\n    #[test]\n    fn passes() {}\n}\n").unwrap();
    let cosmetic = workspace.run(&[]);
    assert_eq!((cosmetic.count(), cosmetic.has_built()), (0, false));

    // A local variable renamed in embed: its jobs, and nothing below.
    let embed = "stages/embed/src/main.rs";
    workspace.edit(embed, "let rows = find(", "let found = find(");
    workspace.edit(embed, "&rows[..points.embedded()]", "&found[..points.embedded()]");
    workspace.edit(embed, "table.rows(&rows)", "table.rows(&found)");
    let renamed = workspace.run(&[]);
    let embeds = [
        ("embed", 2),
        ("embed-joint", 1),
        ("embed-sloppy", 2),
        ("embed-starts", 2),
        ("embed-trajectories", 2),
    ];
    assert_eq!(renamed.stages(), counts(&embeds));

    // A changed colour: figures and pages, and they look different.
    let before = workspace.figure("speed.svg");
    let fc = "(\"fc\", Colour(0xD5, 0x5E, 0x00),";
    workspace.edit("stages/palette/src/lib.rs", fc, "(\"fc\", Colour(1, 2, 3),");
    let coloured = workspace.run(&[]);
    assert_eq!(coloured.count(), (FIGURES.len() + OTHERS.len() + PAGES.len()) as u64);
    let is_drawn =
        |stage: &str| stage.starts_with("figure-") || ["page-embedding", "report"].contains(&stage);
    assert!(coloured.stages().iter().all(|(stage, _)| is_drawn(stage)), "{:?}", coloured.stages());
    assert_ne!(workspace.figure("speed.svg"), before);

    // One configuration more: its own jobs, the tiles of its group, and what takes all of them.
    workspace.edit(
        "pipeline.yaml",
        "include: []  # tests add one here",
        "include: [{arch: fc, optimizer: adam, batch: 10, seed: 44}]",
    );
    let added = workspace.run(&[]);
    let expected = [
        ("analyse", 2),
        ("centroids", 2),
        ("distance", 6),
        ("embed", 2),
        ("embed-joint", 1),
        ("embed-starts", 2),
        ("embed-trajectories", 2),
        ("factors", 2),
        ("frechet", 2),
        ("nearest", 2),
        ("outcomes", 1),
        ("page-embedding", 2),
        ("predict", 1),
        ("report", 1),
        ("starts-to-networks", 4),
        ("tangents", 2),
        ("to-geodesic", 2),
        ("train", 1),
    ];
    let (figures, others): (Vec<_>, Vec<_>) =
        added.stages().into_iter().partition(|(stage, _)| stage.starts_with("figure-"));
    assert_eq!(others, counts(&expected));
    assert!(!figures.is_empty());
}

/// What the profile `paper` takes, by its costs: of each stage, and otherwise where a reader's machine trains otherwise.
fn the_full_sweep_is_foretold(workspace: &Workspace) {
    let told = |sets: &[&str]| {
        let output = workspace.ribbon("", &[&["run", "--profile", "paper", "--dry-run"], sets].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let row = |told: &str, stage: &str| -> Vec<String> {
        let row = told.lines().find(|line| line.split_whitespace().next() == Some(stage));
        row.unwrap_or_else(|| panic!("no {stage}: {told}")).split_whitespace().map(str::to_owned).collect()
    };
    let first = told(&[]);
    assert!(!first.contains('?'), "what a stage takes is unknown: {first}");
    for (stage, jobs) in [("train", "2,160"), ("predict", "2,160"), ("distance", "342"), ("report", "1")] {
        assert_eq!(row(&first, stage)[1], jobs, "{first}");
    }
    let seconds = "{allcnn: 1, convmixer: 1, fc: 1, vit: 1, wr-10-4-8: 1, wr-16-4-64: 1}";
    let other = told(&["--set", &format!("train-image={seconds}")]);
    assert_ne!(row(&first, "train"), row(&other, "train"));
    assert_eq!(row(&first, "predict"), row(&other, "predict"));
}

#[test]
fn the_committed_schema_is_the_one_the_program_prints() {
    let output = Command::new(env!("CARGO_BIN_EXE_ribbon")).arg("schema").output().unwrap();
    let committed =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pipeline.schema.json")).unwrap();
    assert_eq!(committed, output.stdout, "run `ribbon schema > docs/pipeline.schema.json`");
}
