//! examples/own-predictions, from the Python of its documentation to figures, with the programs that the paper has built.

#[path = "../e2e/python.rs"]
mod python;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{FIGURES, Ran, Workspace, copy};

const EXAMPLE: &str = "examples/own-predictions";

/// What turns a table into Parquet.
const ARROW: &str = "pyarrow==26.0.1\n";
const AS_PARQUET: &str = "import sys, pyarrow.csv, pyarrow.parquet; \
                          pyarrow.parquet.write_table(pyarrow.csv.read_csv(sys.argv[1]), sys.argv[2])";

/// Runs `tests/paper/own.py`: it records six networks, or one `more`.
fn record(python: &Path, workspace: &Workspace, more: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(python);
    // Without a cache of what it imports, which would lie among the tests.
    command.arg("-B").arg(root.join("tests/paper/own.py")).arg(root.join("docs/OWN-PREDICTIONS.md"));
    let output = command.arg(workspace.path(EXAMPLE)).args(more).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Writes the table of networks as Parquet.
fn as_parquet(environment: &Path, workspace: &Workspace) {
    let [csv, parquet] =
        ["networks.csv", "networks.parquet"].map(|file| workspace.path(&format!("{EXAMPLE}/{file}")));
    let mut command = Command::new(environment.join("bin/python"));
    assert!(command.args(["-c", AS_PARQUET]).args([csv, parquet]).status().unwrap().success());
}

/// How many files were imported, tiles computed, and tiles with the geodesic.
fn made(ran: &Ran) -> [usize; 3] {
    let stages = ran.stages();
    let count = |stage: &str| stages.iter().find(|(name, _)| name == stage).map_or(0, |(_, count)| *count);
    ["import", "distance", "to-geodesic"].map(count)
}

/// A step of the paper's test, in its workspace.
pub fn networks_trained_elsewhere_get_the_same_figures(workspace: &Workspace) {
    let Some(environment) = python::environment() else {
        return python::skipped("the test of examples/own-predictions");
    };
    // That of benches has PyTorch.
    let python = std::env::var_os("RIBBON_PYTHON").map_or(environment.join("bin/python"), PathBuf::from);
    for file in ["pipeline.yaml", ".gitignore"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(EXAMPLE).join(file);
        fs::create_dir_all(workspace.path(EXAMPLE)).unwrap();
        copy(&from, &workspace.path(EXAMPLE).join(file));
    }
    workspace.edit(&format!("{EXAMPLE}/pipeline.yaml"), "classes: 10", "classes: 3");
    record(&python, workspace, &[]);

    // Both formats are read, and the programs are the paper's: only `import` is built.
    let before = workspace.programs().len();
    let (first, is_well) = workspace.run_in(EXAMPLE, &[]);
    assert!(is_well, "{:?}", first.events);
    assert_eq!(workspace.programs().len(), before + 1);
    assert_eq!(made(&first), [6, 12, 6]);
    for figure in FIGURES {
        let figure = workspace.path(&format!("{EXAMPLE}/outputs/own/figures/{figure}.png"));
        assert!(fs::read(&figure).unwrap().starts_with(b"\x89PNG"), "{}", figure.display());
    }
    let report = workspace.page(EXAMPLE, "own", "report");
    assert_eq!(report.matches("<img ").count(), FIGURES.len());
    assert!(report.contains("\"name\":\"import\""), "the report tells where the predictions came from");
    assert_eq!(workspace.run_in(EXAMPLE, &[]).0.count(), 0);

    // The same table in Parquet: the same configurations.
    let arrow = python::with(ARROW, "pyarrow");
    match &arrow {
        Some(environment) => {
            as_parquet(environment, workspace);
            workspace.edit(
                &format!("{EXAMPLE}/pipeline.yaml"),
                "table: networks.csv",
                "table: networks.parquet",
            );
            assert_eq!(workspace.run_in(EXAMPLE, &[]).0.count(), 0);
        }
        None => python::skipped("a table of networks in Parquet"),
    }

    // One network more: its file, and the tiles of its group.
    record(&python, workspace, &["more"]);
    if let Some(environment) = &arrow {
        as_parquet(environment, workspace);
    }
    let (added, is_well) = workspace.run_in(EXAMPLE, &[]);
    assert!(is_well, "{:?}", added.events);
    assert_eq!(made(&added), [1, 6, 2]);

    // A file that is cut short fails with its name; the others are still up to date.
    let file = workspace.path(&format!("{EXAMPLE}/predictions/mlp-sgd-1.npz"));
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let (cut, is_well) = workspace.run_in(EXAMPLE, &["import"]);
    let failed: Vec<String> =
        cut.events.iter().filter(|event| event["event"] == "failed").map(ToString::to_string).collect();
    assert!(!is_well && failed.len() == 1, "{:?}", cut.events);
    assert!(failed[0].contains("mlp-sgd-1.npz: not a .npz file"), "{failed:?}");
    // So does one with a number that is none, with its place.
    fs::write(&file, bytes).unwrap();
    let spoil = "import sys, numpy as np; a = dict(np.load(sys.argv[1])); a['train'][2, 17, 1] = np.nan; \
                 np.savez(sys.argv[1], **a)";
    let spoilt = Command::new(&python).args(["-c", spoil]).arg(&file).status().unwrap();
    assert!(spoilt.success());
    let (wrong, is_well) = workspace.run_in(EXAMPLE, &["import"]);
    let failed: Vec<String> =
        wrong.events.iter().filter(|event| event["event"] == "failed").map(ToString::to_string).collect();
    assert!(!is_well && failed.len() == 1, "{:?}", wrong.events);
    let expected = "mlp-sgd-1.npz: `train`, checkpoint 2: sample 17: class 1 has the logit NaN";
    assert!(failed[0].contains(expected), "{failed:?}");
}
