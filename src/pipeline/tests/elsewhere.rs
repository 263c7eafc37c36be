//! Pipelines on what others made: sweeps from a table, a file for each configuration, crates of another workspace.

use super::*;

const OWN: &str = r#"version: 1
workspace: ../clone
profile: own
profiles:
  own:
    sweeps:
      networks:
        table: networks.csv
        labels: [arch, seed]
stages:
  import:
    crate: stages/import
    each: network in networks
    params: {network: $network}
    inputs: {file: "./predictions/{network.file}"}
    outputs: {predictions: predictions.safetensors}
"#;

const TABLE: &str = "file,arch,seed,rate,augment\nfc-1.npz,fc,1,0.10,True\nold/vit.npz,vit,2,1e-3,\n";

/// A project with this pipeline.yaml and table beside a clone that has the crate.
fn project(pipeline: &str, table: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("clone/Cargo.toml", ""),
        ("clone/stages/import/Cargo.toml", ""),
        ("project/pipeline.yaml", pipeline),
        ("project/networks.csv", table),
        ("project/predictions/fc-1.npz", ""),
        ("project/predictions/old/vit.npz", ""),
    ];
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn load(folder: &tempfile::TempDir) -> Result<Pipeline, PipelineError> {
    Pipeline::load(&folder.path().join("project/pipeline.yaml"), None, &[])
}

/// What is said, without the folders' names.
#[track_caller]
fn refused(pipeline: &str, table: &str, expected: &str) {
    let folder = project(pipeline, table);
    let said = load(&folder).unwrap_err().to_string();
    let real = folder.path().canonicalize().unwrap();
    let said = said.replace(&format!("{}/project/", folder.path().display()), "");
    assert_eq!(said.replace(&format!("{}/", real.display()), ""), format!("pipeline.yaml:{expected}"));
}

#[test]
fn rows_of_a_table_are_configurations() {
    let folder = project(OWN, TABLE);
    let pipeline = load(&folder).unwrap();
    let values: Vec<Value> =
        pipeline.sweeps[0].configurations.iter().map(|each| json!(each.values)).collect();
    assert_eq!(
        values,
        [
            json!({"file": "fc-1.npz", "arch": "fc", "seed": 1, "rate": 0.1, "augment": true}),
            json!({"file": "old/vit.npz", "arch": "vit", "seed": 2, "rate": 0.001}),
        ]
    );
    assert_eq!(sweep::named(&pipeline.sweeps[0].configurations[1].labels), "arch=vit,seed=2");
}

#[test]
fn a_table_takes_settings_and_exclusions_as_a_matrix_does() {
    let more =
        "[arch, seed]\n        exclude: [{seed: 2}]\n        settings: [{when: {arch: fc}, set: {decay: 0}}]";
    let folder = project(&OWN.replace("[arch, seed]", more), TABLE);
    let pipeline = load(&folder).unwrap();
    assert_eq!(pipeline.sweeps[0].configurations.len(), 1);
    assert_eq!(pipeline.sweeps[0].configurations[0].values["decay"], 0);
}

#[test]
fn each_configuration_has_its_own_file() {
    let folder = project(OWN, TABLE);
    let pipeline = load(&folder).unwrap();
    let Input::One(Source::Files { variable, paths, .. }) = &stage(&pipeline, "import").inputs["file"] else {
        panic!("not a file for each configuration");
    };
    assert_eq!(variable, "network");
    assert_eq!(paths, &["predictions/fc-1.npz", "predictions/old/vit.npz"].map(PathBuf::from));
    let graph = crate::graph::Graph::unroll(&pipeline).unwrap();
    assert_eq!(&graph.sources, paths);
    let names = graph.names(&pipeline);
    assert_eq!(names, ["import[arch=fc,seed=1]", "import[arch=vit,seed=2]"]);
}

#[test]
fn crates_are_looked_for_in_the_workspace() {
    let folder = project(OWN, TABLE);
    let pipeline = load(&folder).unwrap();
    assert_eq!(pipeline.workspace, folder.path().join("clone").canonicalize().unwrap());
    refused(
        &OWN.replace("stages/import", "stages/imprt"),
        TABLE,
        "12:12: the crate's folder stages/imprt does not exist",
    );
    refused(
        &OWN.replace("../clone", "../clone/stages"),
        TABLE,
        "2:12: clone/stages is no cargo workspace: it has no Cargo.toml; name the folder that holds the stages' crates",
    );
}

#[test]
fn what_is_wrong_with_a_table_is_told_with_its_row() {
    refused(
        OWN,
        "file,arch,seed\r\na.npz,fc,1\r\nb.npz,,2\r\nc.npz,a b,3\r\nd.npz,fc,1\r\n",
        "8:16: networks.csv, row 2: `arch` is empty; it tells the rows apart\n\
         pipeline.yaml:8:16: networks.csv, row 3: `a b` cannot be the value of a label; use letters, digits, `-`, `_` \
         and `.`, no `.` at the start\n\
         pipeline.yaml:8:16: networks.csv, row 4: there is already a configuration arch=fc,seed=1, in row 1; \
         `labels` may need another column",
    );
    refused(
        OWN,
        "file,arch,sed\n",
        "9:24: networks.csv has no column `seed`; did you mean `sed`? (there are `file`, `arch`, `sed`)",
    );
    refused(
        OWN,
        "file,arch,seed\na.npz,fc\n",
        "8:16: networks.csv: CSV error: record 1 (line: 2, byte: 15): found record with 2 fields, but the previous \
         record has 3 fields",
    );
    refused(OWN, "arch,seed,seed\n", "8:16: networks.csv: the column `seed` is here twice");
    refused(
        OWN,
        ",arch,seed\n",
        "8:16: networks.csv, column 1: `` is not a valid column name; names are a letter, then letters, digits, \
         `-` and `_`",
    );
    refused(OWN, "file,arch,seed\n", "7:7: the sweep `networks` has no configuration");
}

#[test]
fn a_table_is_there_has_labels_and_no_matrix() {
    refused(&OWN.replace("networks.csv", "nets.csv"), TABLE, "8:16: the table nets.csv does not exist");
    refused(
        &OWN.replace("        labels: [arch, seed]\n", ""),
        TABLE,
        "7:7: say which columns tell the rows of `table` apart: `labels: [COLUMN, ..]`",
    );
    refused(
        &OWN.replace("labels: [arch, seed]", "matrix: {arch: [fc]}"),
        TABLE,
        "9:9: a sweep has a `table` or a `matrix`, not both",
    );
    refused(
        &OWN.replace("table: networks.csv", "matrix: {arch: [fc]}"),
        TABLE,
        "9:9: `labels` goes with `table`; the keys of a matrix are its labels",
    );
}

#[test]
fn files_that_are_not_there_and_values_that_are_not_known_are_told() {
    refused(
        OWN,
        "file,arch,seed\nfc-1.npz,fc,1\nfc-2.npz,fc,2\n",
        "15:20: the source predictions/fc-2.npz, of arch=fc,seed=2, does not exist",
    );
    refused(
        OWN,
        "file,arch,seed\nfc-2.npz,fc,2\nfc-3.npz,fc,3\n",
        "15:20: 2 sources do not exist; the first is predictions/fc-2.npz, of arch=fc,seed=2",
    );
    refused(
        &OWN.replace("{network.file}", "{network.path}"),
        TABLE,
        "15:20: the configurations of `networks` have no `path`; there are `arch`, `augment`, `file`, `rate`, `seed`",
    );
    refused(
        OWN,
        "file,arch,seed\n../secret,fc,1\n",
        "15:20: `./predictions/../secret` must be a path inside the project: relative, without `..`",
    );
    refused(
        &OWN.replace("{network.file}", "{file}"),
        TABLE,
        "15:20: `{file}` is no value of the job's configuration; write {NAME.VALUE}, where the stage says `each: NAME \
         in SWEEP`",
    );
}
