//! What is said of a wrong pipeline: each line changes one thing of [`RIGHT`], and tells where and what is said.

use super::{RIGHT, said};

/// Checks what is said of [`RIGHT`] with `old` replaced by `new`.
#[track_caller]
pub(super) fn refused(old: &str, new: &str, expected: &str) {
    assert_eq!(RIGHT.matches(old).count(), 1, "{old}");
    assert_eq!(said(&RIGHT.replace(old, new), None), format!("pipeline.yaml:{expected}"));
}

#[test]
fn unknown_keys_are_named_with_the_nearest() {
    refused(
        "    each: network in networks\n",
        "    eech: network in networks\n",
        "35:5: unknown key `eech` in stages.train; did you mean `each`?",
    );
    refused(
        "per-gpu: 4",
        "per_gpu: 4",
        "39:52: unknown key `per_gpu` in stages.train.needs; did you mean `per-gpu`? (there are \
         `gpu`, `memory`, `per-gpu`, `threads`)",
    );
    refused(
        "profile: small\n",
        "profle: small\n",
        "2:1: unknown key `profle` in pipeline.yaml; did you mean `profile`?",
    );
    refused(
        "        include:",
        "        includes:",
        "14:9: unknown key `includes` in profiles.small.sweeps.networks; did you mean `include`? \
         (there are `exclude`, `include`, `labels`, `matrix`, `settings`, `table`)",
    );
}

#[test]
fn missing_keys_are_named() {
    refused("    outputs: {data: data.safetensors}\n", "", "28:3: `outputs` is missing in stages.prepare");
    refused(
        "    outputs: {data: data.safetensors}\n",
        "    outputs: {}\n",
        "32:14: at least one entry is needed",
    );
    refused("version: 1\n", "", "1:1: `version` is missing in pipeline.yaml");
}

#[test]
fn wrong_types_and_sizes_are_refused() {
    refused(
        "version: 1\n",
        "version: 1\nshare: {url: lab, connections: 500}\n",
        "2:32: 500 is too large; it must be at most 256",
    );
    refused("threads: 2", "threads: two", "39:22: expected a whole number, found the text `two`");
    refused("threads: 2", "threads: 0", "39:22: 0 is too small; it must be at least 1");
    refused("threads: 2", "threads: 1.5", "39:22: expected a whole number, found the number 1.5");
    refused(
        "gpu: prefer",
        "gpu: prefered",
        "39:44: `prefered` is not possible here; did you mean `prefer`? (there are `none`, `prefer`, \
         `require`)",
    );
    refused(
        "    env: [CUBLAS_WORKSPACE_CONFIG]",
        "    env: CUBLAS_WORKSPACE_CONFIG",
        "41:10: expected a list, found the text `CUBLAS_WORKSPACE_CONFIG`",
    );
    refused("seed: [1, 2]", "seed: 1", "12:17: expected a list, found the number 1");
    refused("seed: [1, 2]", "seed: []", "12:17: the list is empty");
    refused(
        "seed: [1, 2]",
        "seed: [1, [2]]",
        "12:21: expected text or a number or true or false, found a list",
    );
    refused(
        "    publish: {figure: figures/figure.svg}",
        "    publish:",
        "27:12: expected a mapping, found nothing",
    );
    refused(
        "inputs: {images: ./images}",
        "inputs: {images: {path: ./images}}",
        "31:22: expected a list or text, found a mapping",
    );
    refused(
        "memory: 1.5G",
        "memory: 1.5 GB",
        "39:33: `1.5 GB` is not an amount of memory; write 500M, 1.5G (powers of 1000) or 2GiB \
         (powers of 1024)",
    );
    refused("memory: 1.5G", "memory: -1", "39:33: -1 is too small; it must be at least 0");
    refused("{kind: mini}", "{kind: .nan}", "6:40: `.nan` is not a number that JSON can hold");
    refused("{kind: mini}", "!mini {}", "6:33: YAML tags mean nothing here; drop `!mini`");
    refused(
        "{kind: mini}",
        "{<<: {kind: mini}}",
        "6:33: `<<` merges nothing here; write out what it would bring",
    );
}

#[test]
fn broken_yaml_and_other_versions_are_refused() {
    refused(
        "version: 1\n",
        "version: 1\nversion: 1\n",
        "2:1: the key `version` is here twice, first in line 1",
    );
    refused(
        "    code: [plot.py]\n",
        "    code: [plot.py\n",
        "25:11: not YAML: illegal placement of ':' indicator",
    );
    refused("version: 1", "version: 2", "1:10: version 2 is unknown; this is for 1");
}

#[test]
fn a_profile_must_be_there() {
    refused("profile: small\n", "profile: smal\n", "2:10: there is no profile `smal`; did you mean `small`?");
    assert_eq!(
        said(&RIGHT.replace("profile: small\n", ""), None),
        "no profile is chosen: give --profile, or write `profile: NAME`; there is only `small`"
    );
    assert_eq!(said(RIGHT, Some("smal")), "--profile smal: there is no such profile; did you mean `small`?");
}

#[test]
fn profiles_of_stages_are_there_and_have_what_the_stage_names() {
    let first = |large: &str, train: &str| {
        let text = RIGHT.replace("  small:\n", &format!("  large: {large}\n  small:\n"));
        let said = said(&text.replace("  train:\n", &format!("  train:\n{train}")), Some("small"));
        said.lines().next().unwrap().to_owned()
    };
    let networks = "{sweeps: {networks: {matrix: {arch: [fc], optimizer: [adam], seed: [1]}}}}";
    assert_eq!(
        first(networks, "    profiles: [small, lorge]\n"),
        "pipeline.yaml:35:23: there is no profile `lorge`; did you mean `large`? (there are `large`, `small`)"
    );
    assert_eq!(
        first(networks, "    profiles: [small, small]\n"),
        "pipeline.yaml:35:23: `small` is here twice"
    );
    assert_eq!(first(networks, "    profiles: []\n"), "pipeline.yaml:35:15: the list is empty");
    // These are told of `large` while `small`, which is right, is loaded.
    assert_eq!(
        first(networks, "    profiles: [small]\n"),
        "pipeline.yaml:48:20: profile large has `distance` but not `train`; `profiles: [small]` keeps it where both are"
    );
    assert_eq!(
        first("{}", ""),
        "pipeline.yaml:36:11: profile large has `train` but not `networks`; `profiles: [small]` keeps it where both are"
    );
}

#[test]
fn names_keep_to_letters_digits_and_dashes() {
    refused(
        "  prepare:\n",
        "  pre.pare:\n",
        "28:3: `pre.pare` is not a valid stage name; names are a letter, then letters, digits, `-` \
         and `_`",
    );
    refused(
        "{data: data.safetensors}",
        "{da+ta: data.safetensors}",
        "32:15: `da+ta` is not a valid output name; names are a letter, then letters, digits, `-` \
         and `_`",
    );
}

#[test]
fn references_to_parameters_must_resolve() {
    refused(
        "precision: f32",
        "precision: $epochs",
        "3:21: a parameter cannot refer to another; `$` stands only in sweeps and stages",
    );
    refused(
        "$precision",
        "$precisoin",
        "36:65: `$precisoin`: there is no parameter or configuration `precisoin`; did you mean \
         `precision`? (there are `network`, `data`, `epochs`, `precision`)",
    );
    refused(
        "data: $data",
        "data: $data.knd",
        "30:20: `$data.knd`: there is no value `knd`; did you mean `kind`?",
    );
    refused("data: $data", "data: $data.a.b", "30:20: `$data.a.b`: write $name or $name.value");
    refused(
        "{epochs: $epochs",
        "{epochs: $epoch",
        "16:27: `$epoch`: there is no parameter `epoch`; did you mean `epochs`? (there are `data`, \
         `epochs`, `precision`)",
    );
}

#[test]
fn references_to_configurations_must_resolve() {
    refused(
        "$network.seed",
        "$network.sed",
        "36:39: `$network.sed`: the configurations of `networks` have no `sed`; did you mean `seed`? \
         (there are `arch`, `decay`, `epochs`, `model`, `optimizer`, `rate`, `seed`)",
    );
    refused(
        "$network.seed",
        "$network.model",
        "36:39: `$network.model`: the configuration arch=vit,optimizer=adam,seed=1 has no `model`",
    );
    refused(
        "    inputs: {rows:",
        "    params: {rows: $rows}\n    inputs: {rows:",
        "46:20: `$rows`: `rows` is a group of configurations, which has no values; it reaches the \
         stage through its inputs",
    );
    refused(
        "network in networks\n",
        "epochs in networks\n",
        "35:11: `epochs` is a parameter already; choose another name",
    );
}

#[test]
fn a_sweep_that_would_silently_be_another_is_refused() {
    refused(
        "exclude: [{arch: vit",
        "exclude: [{arc: vit",
        "13:20: there is no label `arc`; did you mean `arch`? (there are `arch`, `optimizer`, `seed`)",
    );
    refused(
        "exclude: [{arch: vit",
        "exclude: [{arch: vti",
        "13:26: no configuration has `arch` = `vti`; did you mean `vit`? (there are `fc`, `vit`)",
    );
    refused(
        "when: {optimizer: [adam]}",
        "when: {optimizer: [adam, adma]}",
        "17:39: no configuration has `optimizer` = `adma`; did you mean `adam`? (there are `adam`, \
         `sgd`)",
    );
    refused(
        "when: {arch: fc}",
        "when: {seed: 4}",
        "18:27: no configuration has `seed` = `4`; there are `1`, `2`, `3`",
    );
    refused(
        "when: {arch: fc}",
        "when: {arhc: fc}",
        "18:21: there is no label `arhc`; did you mean `arch`? (there are `arch`, `optimizer`, \
         `seed`)",
    );
    refused("set: {rate: 1e-3}", "set: {seed: 3}", "17:47: `seed` is a label; a setting cannot replace it");
    refused("sgd, seed: 3}]", "sgd}]", "14:19: the label `seed` is missing; include gives all labels");
    refused(
        "sgd, seed: 3}]",
        "sgd, seed: 3, sed: 4}]",
        "14:56: there is no label `sed`; did you mean `seed`? (there are `arch`, `optimizer`, `seed`)",
    );
    refused(
        "{arch: vit, optimizer: sgd, seed: 3}",
        "{arch: fc, optimizer: sgd, seed: 2.0}",
        "14:19: there is already a configuration arch=fc,optimizer=sgd,seed=2",
    );
    refused("seed: [1, 2]", "seed: [1, 1.0]", "12:21: `seed` has the value `1` twice");
    refused(
        "seed: [1, 2]",
        "seed: [1, a/b]",
        "12:21: `a/b` cannot be the value of a label; use letters, digits, `-`, `_` and `.`, no `.` \
         at the start",
    );
    refused(
        "{matrix: {split: [train, test]}}",
        "{matrix: {split: [train, test]}, exclude: [{split: [train, test]}]}",
        "20:3: the sweep `splits` has no configuration",
    );
    refused("{matrix: {split: [train, test]}}", "{}", "20:3: the sweep `splits` has no configuration");
}

#[test]
fn fan_out_clauses_are_checked() {
    refused(
        "network in networks\n",
        "network of networks\n",
        "35:11: `network of networks` is not a clause of each; write NAME in SWEEP, or NAME in SWEEP \
         by LABEL, LABEL (in quotes inside a [list])",
    );
    refused(
        "network in networks\n",
        "network in network\n",
        "35:11: the profile has no sweep `network`; did you mean `networks`? (there are `splits`, \
         `networks`)",
    );
    refused(
        "pairs: rows, cols in networks by arch, optimizer",
        "pairs: rows, cols in networks",
        "45:12: `rows, cols in networks` is not a clause of pairs; write NAME, NAME in SWEEP by \
         LABEL, LABEL",
    );
    refused(
        "pairs: rows, cols in networks by arch, optimizer",
        "pairs: rows, cols in networks by arch, optimiser",
        "45:12: the sweep `networks` has no label `optimiser`; did you mean `optimizer`? (there are \
         `arch`, `optimizer`, `seed`)",
    );
    refused(
        "pairs: rows, cols in networks by arch, optimizer",
        "pairs: rows, split in networks by arch",
        "45:12: `split` is the name of another label or variable of this stage already",
    );
    refused(
        "pairs: rows, cols in networks by arch, optimizer",
        "pairs: rows, rows in networks by arch",
        "45:12: `rows` is here twice; give the two groups different names",
    );
    refused(
        "network in networks\n",
        "[network in networks, other in networks]\n",
        "35:33: `arch` is the name of another label or variable of this stage already",
    );
}

#[test]
fn a_stage_has_one_program_that_is_there() {
    refused(
        "    crate: stages/prepare\n    params",
        "    params",
        "28:3: say what runs: `crate: FOLDER` or `run: [COMMAND, ARGUMENT, ..]`",
    );
    refused(
        "    crate: stages/prepare\n    params",
        "    crate: stages/prepare\n    run: [a]\n    params",
        "30:5: a stage has a `crate` or a command (`run`), not both",
    );
    refused(
        "    crate: stages/prepare\n    params",
        "    crate: stages/prepar\n    params",
        "29:12: the crate's folder stages/prepar does not exist",
    );
    refused(
        "    crate: stages/prepare\n    params",
        "    crate: stages\n    params",
        "29:12: stages is not a crate: it has no Cargo.toml",
    );
    refused(
        "    crate: stages/prepare\n    params",
        "    crate: ../stages\n    params",
        "29:12: `../stages` must be a path inside the project: relative, without `..`",
    );
    refused(
        "    crate: stages/prepare\n    params",
        "    crate: stages/prepare\n    code: [plot.py]\n    params",
        "30:5: `code` goes with `run`; the code of a crate is found by itself",
    );
    refused("code: [plot.py]", "code: [plt.py]", "24:12: the code plt.py does not exist");
    refused(
        "{inputs.table}",
        "{inputs.tabel}",
        "23:29: `{inputs.tabel}`: the stage has no such entry; did you mean `table`?",
    );
    refused(
        r#"[python3, plot.py, "{inputs.table}", "{outputs.figure}"]"#,
        "[]",
        "23:10: the command is empty",
    );
}

#[test]
fn files_and_variables_are_checked() {
    refused("images: ./images", "images: ./imagse", "31:22: the source imagse does not exist");
    refused(
        "images: ./images",
        "images: imagse",
        "31:22: `imagse` is not an input; write stage.output, stage[*].output, \
         stage[label=value].output, stage[group].output, or ./path for a file of the project",
    );
    refused(
        "images: ./images",
        "images: ./../images",
        "31:22: `./../images` must be a path inside the project: relative, without `..`",
    );
    refused("./pin.txt", "./pins.txt", "40:23: the pin file pins.txt does not exist");
    refused(
        "[CUBLAS_WORKSPACE_CONFIG]",
        "[CUBLAS-CONFIG]",
        "41:11: `CUBLAS-CONFIG` cannot be the name of an environment variable",
    );
    refused("[CUBLAS_WORKSPACE_CONFIG]", "[A, A]", "41:14: `A` is here twice");
    let instead =
        |settings: &str, expected: &str| refused("env: [CUBLAS_WORKSPACE_CONFIG]", settings, expected);
    instead("reads: [lib, '']", "41:18: the folder has no name");
    instead("timeout: soon", "41:14: `soon` is no duration: write it as `90s` or `2h 30m`");
    instead("timeout: 0s", "41:14: `0s`: no job is done in no time");
    instead("retries: -1", "41:14: -1 is too small; it must be at least 0");
}

#[test]
fn outputs_and_published_paths_collide_nowhere() {
    refused(
        "{data: data.safetensors}",
        "{data: ..}",
        "32:21: `..` must be the name of a file, or of a folder with `/` at the end",
    );
    refused(
        "{data: data.safetensors}",
        "{data: a, more: a/}",
        "32:30: the outputs `data` and `more` have the same file, `a`",
    );
    refused(
        "{data: data.safetensors}",
        "{data: /}",
        "32:21: `/` must be the name of a file, or of a folder with `/` at the end",
    );
    refused(
        "publish: {figure: figures/figure.svg}",
        "publish: {figur: figures/figure.svg}",
        "27:15: the stage has no output `figur`; did you mean `figure`?",
    );
    refused(
        "publish: {figure: figures/figure.svg}",
        "publish: {figure: /figure.svg}",
        "27:23: `/figure.svg` must be a relative path without `..`",
    );
    refused(
        "publish: {figure: figures/figure.svg}",
        r#"publish: {figure: "figures/{split}.svg"}"#,
        "27:23: a job of the stage has no label `split`; there is none",
    );
    refused(
        "publish: {figure: figures/figure.svg}",
        r#"publish: {figure: "figures/{split.svg"}"#,
        "27:23: `figures/{split.svg` has a brace without its partner; labels stand in them: {split}",
    );
    refused(
        "points-{split}.parquet",
        "points.parquet",
        "53:23: jobs that differ in `split` would publish the same path; put {split} into it",
    );
    refused(
        "points-{split}.parquet",
        "points-{spilt}.parquet",
        "53:23: a job of the stage has no label `spilt`; did you mean `split`?",
    );
    refused(
        "figures/figure.svg",
        "tables",
        "53:23: `tables/points-{split}.parquet` is taken: draw.figure is published as `tables`",
    );
}

#[test]
fn inputs_must_name_what_is_there() {
    refused(
        "prepare.data}",
        "prepar.data}",
        "37:20: there is no stage `prepar`; did you mean `prepare`? (there are `draw`, `prepare`, \
         `train`, `distance`, `embed`)",
    );
    refused(
        "prepare.data}",
        "prepare.daat}",
        "37:20: the stage `prepare` has no output `daat`; did you mean `data`?",
    );
    refused(
        "prepare.data}",
        "prepare}",
        "37:20: `prepare` is not an input; write stage.output, stage[*].output, \
         stage[label=value].output, stage[group].output, or ./path for a file of the project",
    );
    refused(
        "train[rows].weights",
        "train[row].weights",
        "46:20: the stage `distance` has no group `row`; did you mean `rows`? (there are `cols`, \
         `rows`)",
    );
    refused(
        "train[rows].weights",
        "distance[rows].tile",
        "46:20: `rows` groups by `arch`, but the jobs of `distance` have no label `arch`",
    );
    refused(
        "embed[split=train]",
        "embed[splt=train]",
        "25:21: a job of `embed` has no label `splt`; did you mean `split`?",
    );
    refused(
        "embed[split=train]",
        "embed[split=tran]",
        "25:21: no job of `embed` has `split` = `tran`; did you mean `train`? (there are `test`, \
         `train`)",
    );
    refused(
        "embed[split=train]",
        "embed",
        "25:21: this leaves several jobs of `embed`, which differ in `split`; write embed[*].points \
         to take them all, or say which: embed[split=..].points",
    );
    refused(
        r#""distance[*].tile""#,
        "distance.tile",
        "51:22: this leaves several jobs of `distance`, which differ in `cols`, `rows`; write \
         distance[*].tile to take them all, or say which: distance[cols=..].tile",
    );
    refused(
        r#""distance[*].tile""#,
        r#""distance[rows=fc+sdg].tile""#,
        "51:22: no job of `distance` has `rows` = `fc+sdg`; did you mean `fc+sgd`? (there are \
         `fc+adam`, `fc+sgd`, `vit+adam`, `vit+sgd`)",
    );
    refused(
        r#""distance[*].tile""#,
        r#""distance[rows=fc+sgd].tile""#,
        "51:22: this leaves several jobs of `distance`, which differ in `cols`; write distance[*, \
         rows=fc+sgd].tile to take them all, or say which: distance[cols=.., rows=fc+sgd].tile",
    );
    refused(
        "train[rows].weights",
        "train.weights",
        "46:20: this leaves several jobs of `train`, which differ in `arch`, `optimizer`, `seed`; write \
         train[*].weights to take them all, or say which: train[cols].weights",
    );
}

#[test]
fn stages_that_wait_for_each_other_are_named() {
    refused(
        "inputs: {images: ./images}",
        r#"inputs: {images: "embed[*].points"}"#,
        "31:22: stages wait for each other's outputs: embed -> train -> prepare -> embed",
    );
    refused(
        "inputs: {images: ./images}",
        "inputs: {images: prepare.data}",
        "31:22: stages wait for each other's outputs: prepare -> prepare",
    );
}

#[test]
fn all_problems_of_a_kind_are_said_at_once_in_the_order_of_the_file() {
    refused(
        "    inputs: {images: ./images}\n",
        "    each: rows in networks by arch\n    inputs: {images: \"distance[*].tile\"}\n",
        "32:22: the label `rows` of `distance` and that of `prepare` stand for different things; rename one\n\
         pipeline.yaml:38:20: this leaves several jobs of `prepare`, which differ in `rows`; write prepare[*].data to \
         take them all, or say which: prepare[rows=..].data",
    );
}

#[test]
fn a_matrix_that_nobody_can_want_is_refused_before_it_fills_the_memory() {
    let labels: String = (0..40).map(|i| format!("          l{i}: [a, b]\n")).collect();
    refused(
        "          seed: [1, 2]\n",
        &format!("          seed: [1, 2]\n{labels}"),
        "8:7: the matrix of the sweep `networks` has more than 1000000 combinations",
    );
}

#[test]
fn costs_of_what_is_not_there_and_costs_that_are_no_numbers_are_refused() {
    let costs = |costs: &str, expected: &str| {
        let params = "    params: {epochs: 3.0, data: {kind: mini}}\n";
        refused(params, &format!("{params}    costs: {costs}\n"), expected);
    };
    costs(
        "{trian: []}",
        "7:13: the profile has no stage `trian`; did you mean `train`? (there are `draw`, `prepare`, `train`, \
         `distance`, `embed`)",
    );
    costs(
        "{train: [{when: {split: test}, bytes: 1}]}",
        "7:29: there is no label `split`; there are `arch`, `optimizer`, `seed`",
    );
    costs(
        "{train: [{when: {arch: fcc}, bytes: 1}]}",
        "7:35: no configuration has `arch` = `fcc`; did you mean `fc`? (there are `fc`, `vit`)",
    );
    costs("{train: [{seconds: -1}]}", "7:31: -1, expected a number of at least 0");
    costs(
        "{train: [{seconds: $data.kind}]}",
        "7:31: `$data.kind` is \"mini\", expected a number of at least 0",
    );
    costs(
        "{train: [{bytes: $nothing}]}",
        "7:29: there is no parameter `nothing`; there are `data`, `epochs`, `precision`",
    );
}

#[test]
fn parameters_that_are_no_memory_and_no_number_of_jobs_are_refused() {
    refused(
        "memory: 1.5G",
        "memory: $data",
        "39:33: `$data` is {\"kind\":\"mini\"}, expected an amount of memory",
    );
    refused("per-gpu: 4", "per-gpu: $precision", "39:61: `$precision` is \"f32\", expected 1 or more");
    refused("per-gpu: 4", "per-gpu: 0", "39:61: 0 is too small; it must be at least 1");
}
