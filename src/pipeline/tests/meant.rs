//! What is said of a pipeline by somebody who meant something that is known: each line changes one thing of [`RIGHT`].

use super::wrong::refused;
use super::{RIGHT, load, said};

#[test]
fn a_source_without_its_dot_is_told_from_a_stage() {
    let there = |path: &str| {
        let expected = "names no stage, but is there in the project; a source begins with `./`";
        refused(
            "images: ./images",
            &format!("images: {path}"),
            &format!("31:22: `{path}` {expected}: ./{path}"),
        );
    };
    there("images");
    there("images/test");
    there("plot.py");
    refused(
        "images: ./images",
        "images: plt.py",
        "31:22: there is no stage `plt`; there are `draw`, `prepare`, `train`, `distance`, `embed`",
    );
}

#[test]
fn a_placeholder_without_quotes_is_told_from_a_mapping() {
    refused(
        r#""{inputs.table}""#,
        "{inputs.table}",
        "23:29: expected text, found a mapping; write \"{inputs.table}\", in quotes",
    );
    refused(
        r#""{inputs.table}""#,
        "--table={inputs.table}",
        "23:37: not YAML: while parsing a flow sequence, expected ',' or ']'; text with braces needs quotes here",
    );
    refused("{data: data.safetensors}", "{data: {a: b}}", "32:21: expected text, found a mapping");
}

#[test]
fn patterns_are_told_from_names() {
    let instead = "; patterns are not read: name the folder";
    refused(
        "images: ./images",
        "images: './images/*.png'",
        &format!("31:22: the source images/*.png does not exist{instead}"),
    );
    refused(
        "code: [plot.py]",
        "code: ['src/*.py']",
        &format!("24:12: the code src/*.py does not exist{instead}"),
    );
    refused(
        "code: [plot.py]",
        "code: ['[ab].py']",
        &format!("24:12: the code [ab].py does not exist{instead}"),
    );
}

#[test]
fn texts_and_numbers_are_told_what_they_lack() {
    refused(
        r#"[python3, plot.py, "{inputs.table}", "{outputs.figure}"]"#,
        "python3 plot.py",
        "23:10: expected a list, found the text `python3 plot.py`; write [PROGRAM, ARGUMENT, ..], or for a shell [sh, -c, \
         \"..\"]",
    );
    refused(
        "env: [CUBLAS_WORKSPACE_CONFIG]",
        "timeout: 3600",
        "41:14: expected text, found the number 3600; write `3600s` for seconds",
    );
    refused(
        "{data: data.safetensors}",
        "{data: a/b.txt}",
        "32:21: `a/b.txt` must be the name of a file, or of a folder with `/` at the end; `publish` may have folders: it says \
         where it goes",
    );
}

#[test]
fn a_mark_of_utf_8_at_the_start_counts_for_nothing() {
    load(&format!("\u{feff}{RIGHT}"));
    let wrong = format!("\u{feff}{}", RIGHT.replace("version: 1", "version: 2"));
    assert_eq!(said(&wrong, None), "pipeline.yaml:1:10: version 2 is unknown; this is for 1");
}

#[test]
fn a_second_document_is_refused_as_such() {
    let second = "a second document begins here; a pipeline.yaml is one, without `---` in it";
    refused("stages:\n", "---\nstages:\n", &format!("21:1: {second}"));
    assert_eq!(said(&format!("{RIGHT}---\nversion: 1\n"), None), format!("pipeline.yaml:54:1: {second}"));
    load(&format!("---\n{RIGHT}...\n"));
}

#[test]
fn a_misspelt_condition_is_all_that_is_said_of_a_sweep() {
    let domain = "{matrix: {split: [train, test]}, exclude: [{splt: [train, test]}]}";
    refused(
        "{matrix: {split: [train, test]}}",
        domain,
        "20:55: there is no label `splt`; did you mean `split`?",
    );
    // These would leave what `include` brings too.
    refused(
        "exclude: [{arch: vit, optimizer: sgd}]\n        include: [{arch: vit, optimizer: sgd, seed: 3}]",
        "exclude: [{arch: vit, optimiser: sgd}]\n        include: [{arch: vit, optimizer: sgd, seed: 1}]",
        "13:31: there is no label `optimiser`; did you mean `optimizer`? (there are `arch`, `optimizer`, `seed`)",
    );
    refused(
        "exclude: [{arch: vit, optimizer: sgd}]\n        include: [{arch: vit, optimizer: sgd, seed: 3}]",
        "exclude: [{arch: vit, optimizer: sdg}]\n        include: [{arch: vit, optimizer: sgd, seed: 1}]",
        "13:42: no configuration has `optimizer` = `sdg`; did you mean `sgd`? (there are `adam`, `sgd`)",
    );
}

#[test]
fn a_label_is_chosen_by_its_number() {
    let text = RIGHT.replace("seed: [1, 2]", "seed: [1, 0.00001]").replace(
        "inputs: {images: ./images}",
        "inputs: {images: ./images, one: 'all[seed=1.0].o', small: 'all[seed=1e-5].o'}",
    ) + "  all: {crate: stages/prepare, each: n in seeds, params: {seed: $n.seed}, outputs: {o: o}}\n";
    let text = text.replace("  splits:", "  seeds: {matrix: {seed: [1, 0.00001]}}\n  splits:");
    let pipeline = load(&text);
    let value = |input: &str| match &super::stage(&pipeline, "prepare").inputs[input] {
        super::Input::One(super::Source::Jobs { select, .. }) => select.labels["seed"].clone(),
        _ => panic!("not the output of a stage"),
    };
    assert_eq!((value("one"), value("small")), ("1".to_owned(), "0.00001".to_owned()));
}

#[test]
fn text_is_no_number_and_yaml_is_no_label() {
    let of = |value: &str| {
        let more = format!(
            "  all: {{crate: stages/prepare, each: n in seeds, params: {{seed: $n.seed}}, outputs: {{o: o}}}}\n  one: {{crate: \
             stages/prepare, inputs: {{x: \"all[seed={value}].o\"}}, outputs: {{o: o}}}}\n"
        );
        let text =
            RIGHT.replace("  splits:", "  seeds: {matrix: {seed: ['1.1', 1, 0.5]}}\n  splits:") + &more;
        said(&text, None)
    };
    for value in ["1.10", "!!int 1", "1 # x", "[1]", "nan"] {
        let told = format!("no job of `all` has `seed` = `{value}`");
        assert!(of(value).contains(&told), "{}", of(value));
    }
}
