//! Whether a stage that is built alone finds polars as another stage left it: compiling polars takes minutes.

use std::collections::BTreeSet;
use std::process::Command;

/// Lines of `cargo tree`.
fn tree(arguments: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--prefix", "none"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| line.trim_end_matches(" (*)").to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

#[test]
fn every_stage_asks_for_the_same_features_below_polars() {
    let below = tree(&["-p", "polars", "-e", "normal,build", "-f", "{p}"]);
    let features = |package: &str, edges: &str| -> BTreeSet<String> {
        let mut all = tree(&["-p", package, "-e", edges, "-f", "{p}\t{f}"]);
        all.retain(|line| line.split('\t').next().is_some_and(|package| below.contains(package)));
        all
    };
    let alone = features("tables", "normal,build");
    let stages = tree(&["-i", "tables", "--workspace", "--depth", "1", "-e", "normal", "-f", "{p}"]);
    assert!(alone.len() > 50 && stages.len() > 1, "cargo tree printed too little");
    for stage in &stages {
        let name = stage.split(' ').next().unwrap();
        let other: Vec<_> = features(name, "normal,build,dev").difference(&alone).cloned().collect();
        assert!(
            other.is_empty(),
            "built alone, {name} would have polars compiled anew; ask for these in stages/tables/Cargo.toml: {other:#?}"
        );
    }
}
