//! Words of commands, and fan-outs, with which every job would do the same, or none what somebody meant.

use super::{load, said};

/// A stage with a job a run, of which these are the command, and more of the stage.
fn fit(run: &str, more: &str) -> String {
    format!(
        "version: 1\nprofile: p\nprofiles: {{p: {{}}}}\nsweeps:\n  runs: {{matrix: {{seed: [1, 2]}}, settings: [{{set: {{rate: 3}}}}]}}\n\
         stages:\n  make: {{run: ['true'], each: r in runs, params: {{n: $r.seed}}, outputs: {{o: o}}}}\n  fit:\n    run: {run}\n    \
         each: r in runs\n{more}"
    )
}

const MORE: &str =
    "    params: {rate: $r.rate}\n    inputs: {x: make.o, l: [make.o]}\n    outputs: {o: o.txt}\n";

/// What is said of braces that nobody would replace.
fn left(braces: &str, instead: &str) -> String {
    format!(
        "nothing would replace `{{{braces}}}`; {instead}, or, if the program itself fills it in, give it by a parameter: \
         `params: {{name: '{{{braces}}}'}}` and `{{params.name}}`"
    )
}

/// Checks what is said of such a command.
#[track_caller]
fn refused(run: &str, expected: &str) {
    assert_eq!(said(&fit(run, MORE), None), format!("pipeline.yaml:{expected}"));
}

#[test]
fn a_label_or_a_variable_in_braces_is_told_from_a_parameter() {
    let says = |braces: &str, instead: &str| {
        let expected = format!("9:14: {}", left(braces, instead));
        refused(&format!("[a, '--x={{{braces}}}.txt']"), &expected);
    };
    says("seed", "write `params: {seed: $r.seed}` and `{params.seed}`");
    says("r", "write `params: {seed: $r.seed}` and `{params.seed}`");
    says("r.seed", "write `params: {seed: $r.seed}` and `{params.seed}`");
    says("r.rate", "write `{params.rate}`");
    refused(
        "[sh, -c, 'fit --seed {seed} > {outputs.o}']",
        &format!("9:19: {}", left("seed", "write `params: {seed: $r.seed}` and `{params.seed}`")),
    );
    let groups = fit("[a, '{g}']", "    inputs: {x: 'make[g].o'}\n    outputs: {o: o.txt}\n")
        .replace("    each: r in runs\n", "    each: g in runs by seed\n");
    assert_eq!(
        said(&groups, None),
        format!(
            "pipeline.yaml:9:14: {}",
            left(
                "g",
                "`g` is a group of configurations, which reaches the stage through its inputs: `{inputs.NAME}`"
            )
        )
    );
}

#[test]
fn placeholders_of_snakemake_are_told_from_ours() {
    let says = |braces: &str, instead: &str| {
        let expected = left(braces, instead);
        refused(&format!("[a, '{{{braces}}}']"), &format!("9:14: {expected}"));
        refused(&format!("[bash, -euc, 'a {{{braces}}} > {{outputs.o}}']"), &format!("9:23: {expected}"));
    };
    says("input", "write `{inputs.NAME}`");
    says("input.x", "write `{inputs.x}`");
    says("output", "write `{outputs.o}`");
    says("output.a", "write `{outputs.o}`");
    says("params", "write `{params.rate}`");
    says("threads", "a job finds its `threads` in OMP_NUM_THREADS");
    says("wildcards.seed", "write `params: {seed: $r.seed}` and `{params.seed}`");
    says("wildcards.sed", "write `{params.NAME}`, of the stage's `params`");
}

#[test]
fn braces_of_programs_stay_theirs() {
    for word in [
        "awk '{print $1}' {inputs.x}",
        "echo ${seed} ${r} {1..3} {a,b} {} %{seed} {{seed}} { seed; }",
        "echo {other} {r.other} {inputs} {input.x.y} {r.}",
        r"\textbf{seed} \cite{r}",
        "python3 -c 'print(f\"{seed} {input}\")'",
        "python3 -c 'print(\"{seed} {input}\".format(seed=1, input=2))'",
        "jq '{seed}' {inputs.x}",
        "perl -ne 'print $h{seed}' {inputs.x}",
    ] {
        let word = serde_json::json!(word);
        load(&fit(&format!("[sh, -c, {word}, sh]"), MORE));
        load(&fit(&format!("[a, {word}]"), MORE));
    }
    // Of no shell, and with spaces: somebody's text.
    load(&fit("[a, 'of {input} and {threads}']", MORE));
    load(&fit("[python3, -c, 'print({input.x})']", MORE));
    for run in [
        r#"[perl, -e, "print $h{seed}"]"#,
        r#"[node, -e, "const {seed} = x"]"#,
        r#"[julia, -e, "x = Vector{seed}(1)"]"#,
        r#"[python3, -c, "print({seed})"]"#,
        r#"[awk, '{"{seed}"}']"#,
    ] {
        load(&fit(run, MORE));
    }
}

#[test]
fn braces_that_a_program_fills_in_are_given_by_a_parameter() {
    let more = MORE.replace("{rate: $r.rate}", "{rate: $r.rate, name: '{seed}'}");
    load(&fit("[a, --template, 'run_{params.name}.png']", &more));
}

#[test]
fn labels_in_names_of_outputs_are_refused() {
    let of = |file: &str| fit("[a]", &MORE.replace("o.txt", file));
    for braces in ["{seed}", "{r.seed}", "{wildcards.seed}"] {
        assert_eq!(
            said(&of(&format!("'m-{braces}.txt'")), None),
            format!(
                "pipeline.yaml:13:18: nothing would replace `{braces}`: each job has outputs of its own; labels go into `publish`"
            )
        );
    }
    load(&of("'m-{x}.txt'"));
}

#[test]
fn a_fan_out_that_nothing_uses_is_refused() {
    let says = |each: &str, more: &str, expected: &str| {
        let text = fit("[a]", &format!("{more}    outputs: {{o: o}}\n"));
        let text = text.replace("    each: r in runs\n", each);
        assert_eq!(said(&text, None), format!("pipeline.yaml:{expected}"));
    };
    let same = "the jobs would all be the same: nothing of the stage uses";
    let add = "`params: {seed: $r.seed}`, or an input that has it";
    let each = "    each: r in runs\n";
    says(each, "", &format!("10:11: {same} `r`; add {add}"));
    says(each, "    params: {n: 1}\n", &format!("10:11: {same} `r`; add {add}"));
    says(each, "    inputs: {x: './images'}\n", &format!("10:11: {same} `r`; add {add}"));
    says(each, "    inputs: {x: 'make[seed=1].o'}\n", &format!("10:11: {same} `r`; add {add}"));
    let group = "an input of the group: STAGE[rows].OUTPUT";
    says("    each: rows in runs by seed\n", "", &format!("10:11: {same} `rows`; add {group}"));
    says(
        "    pairs: rows, cols in runs by seed\n",
        "",
        &format!("10:12: {same} `rows` or `cols`; add {group}"),
    );
    let two = "    each: [r in runs, rows in runs by rate]\n";
    says(
        &two.replace("rate", "seed"),
        "    params: {n: $r.seed}\n",
        &format!("10:23: {same} `rows`; add {group}"),
    );
}

#[test]
fn a_fan_out_is_used_by_parameters_and_inputs_of_every_kind() {
    let loads = |more: &str| {
        let text = fit("[a]", &format!("{more}    outputs: {{o: o}}\n"));
        load(&text);
    };
    loads("    params: {n: $r}\n");
    loads("    params: {n: [{m: $r.rate}]}\n");
    loads("    inputs: {x: make.o}\n");
    loads("    inputs: {x: ['make[*].o']}\n");
    let text = |more: &str| fit("[a]", &format!("{more}    outputs: {{o: o}}\n"));
    // One configuration is one job, and what another profile has may use it.
    load(&text("").replace("seed: [1, 2]", "seed: [1]"));
    load(
        &text("    inputs: {x: 'other.o?'}\n")
            .replace("{p: {}}", "{p: {}, q: {}}")
            .replace("stages:\n", "stages:\n  other: {run: [a], profiles: [q], outputs: {o: o}}\n"),
    );
}

#[test]
fn a_list_inside_a_longer_word_is_refused_before_anything_runs() {
    let instead =
        r#"which has to be a word of its own: `[sh, -c, 'cat "$@" > {outputs.o}', x, "{inputs.l}"]`"#;
    let expected = format!("`{{inputs.l}}` is a list, {instead}");
    refused("[sh, -c, 'cat {inputs.l} > {outputs.o}']", &format!("9:19: {expected}"));
    refused("[a, '{inputs.x}{inputs.l}']", &format!("9:14: {expected}"));
    load(&fit(r#"[sh, -c, 'cat "$@" > {outputs.o}', x, '{inputs.l}']"#, MORE));
    load(&fit("[a, '--x={inputs.x}']", MORE));
}

#[test]
fn an_output_that_a_shell_would_take_apart_is_refused() {
    let of = |word: &str| {
        let run = format!("[sh, -c, {}]", serde_json::json!(word));
        fit(&run, &MORE.replace("o.txt", "'my plot.svg'"))
    };
    assert_eq!(
        said(&of("a > {outputs.o}"), None),
        "pipeline.yaml:9:19: a shell would take `my plot.svg` apart; write \"{outputs.o}\", in quotes, or give the file \
         another name: `publish` may have spaces"
    );
    load(&of("a > \"{outputs.o}\""));
    load(&of("a '--out={outputs.o}'"));
    load(&of(r#"a "say \"x {outputs.o}\"""#));
    load(&of("cat <<END\n\"\nEND\na > \"{outputs.o}\""));
    load(&of("a > {outputs.o}").replace("my plot.svg", "lr=0.1~^#!.csv"));
    load(&fit("[a, '{outputs.o}']", &MORE.replace("o.txt", "'my plot.svg'")));
}
