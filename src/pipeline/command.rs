//! The words of a stage's command: what stands in braces in them.

use super::document;
use super::error::{Problems, hint};
use super::fanout;
use super::positions::Place;
use super::reference::{Piece, PlaceholderKind, is_name, is_plain, pieces};
use super::{Each, Program, Stage, Sweep};

/// What other programs write before braces that are theirs: `${A}`, `%{http_code}`, `#{a}`, `@{u}`, `!{a}`, `{{a}}`, `x^{n}`,
/// `\frac{n}{m}`.
const BEFORE: [char; 9] = ['$', '%', '#', '@', '!', '\\', '{', '^', '}'];

/// What shows that a command fills in names in braces itself: formatted text of Python and R, objects of jq.
const FORMATS: [&str; 5] = ["f\"", "f'", ".format(", "glue(", "jq"];

/// What shows that a word is a program, whose braces may be its own.
const IN_PROGRAMS: [char; 8] = [' ', '\t', '\n', '(', ')', '"', '\'', ';'];

/// Programs whose word after `-c` is one of theirs, in which a name in braces is nothing but text.
const SHELLS: [&str; 5] = ["sh", "bash", "dash", "ksh", "zsh"];

/// Checks that the placeholders of a command name what the stage has, and that no braces are left that somebody took for
/// some: those with a label of its jobs, and Snakemake's. Braces are otherwise text, and in programs of other languages
/// than a shell's.
pub(super) fn check(
    given: &document::Stage,
    command: &[String],
    place: &Place,
    each: &[Each],
    sweeps: &[Sweep],
    problems: &mut Problems,
) {
    let formats = command.iter().any(|word| {
        let word = word.to_ascii_lowercase();
        FORMATS.iter().any(|format| word.contains(format))
    });
    for (i, word) in command.iter().enumerate() {
        let place = place.index(i);
        let is_plain = !word.contains(IN_PROGRAMS) || is_of_a_shell(command, i);
        for piece in pieces(word) {
            let wrong = match piece {
                Piece::Placeholder(kind, name) => {
                    let apart = || is_of_a_shell(command, i).then(|| taken_apart(given, word, name))?;
                    let is_output = kind == PlaceholderKind::Outputs;
                    unknown(given, kind, name).or_else(|| is_output.then(apart)?).into_iter().collect()
                }
                Piece::Text(_) if formats || !is_plain => Vec::new(),
                Piece::Text(text) => {
                    let instead = |inside| {
                        let label = fanout::instead(inside, &given.params, each, sweeps);
                        label.or_else(|| of_snakemake(inside, given, each, sweeps))
                    };
                    let left = |inside| Some(left_over(inside, &instead(inside)?));
                    braced(text).into_iter().filter_map(left).collect()
                }
            };
            wrong.into_iter().for_each(|what| problems.value(&place, what));
        }
    }
}

/// Checks that lists stand alone in their words, where each becomes a word an element. Inputs are resolved.
pub(super) fn check_lists(stages: &[Stage], problems: &mut Problems) {
    for stage in stages {
        let Program::Command { command, .. } = &stage.program else { continue };
        let output = stage.outputs.keys().next().map_or("NAME", String::as_str);
        for (i, word) in command.iter().enumerate() {
            let pieces = pieces(word);
            for piece in pieces.iter().filter(|_| pieces.len() > 1) {
                let Piece::Placeholder(PlaceholderKind::Inputs, name) = piece else { continue };
                if stage.inputs.get(*name).is_some_and(super::Input::is_list) {
                    let instead =
                        format!("[sh, -c, 'cat \"$@\" > {{outputs.{output}}}', x, \"{{inputs.{name}}}\"]");
                    problems.value(
                        &Place::of(&["stages", &stage.name, "run"]).index(i),
                        format!(
                            "`{{inputs.{name}}}` is a list, which has to be a word of its own: `{instead}`"
                        ),
                    );
                }
            }
        }
    }
}

/// What stands in braces, of what can be names: `seed` and `r.seed` in `{seed}-{r.seed}`. Braces that belong to what is
/// before them are left out, and doubled ones.
pub(super) fn braced(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (open, _) in text.match_indices('{') {
        let (before, Some((inside, after))) = (&text[..open], text[open + 1..].split_once('}')) else {
            break;
        };
        let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        // As in `$h{seed}`, `$x_{n}$` and `\textbf{seed}`.
        let is_of_a_name =
            before.ends_with(name) && (text.contains('$') || before.trim_end_matches(name).ends_with('\\'));
        let belongs = before.ends_with(BEFORE) || after.starts_with('}') || is_of_a_name;
        if !belongs && inside.splitn(2, '.').all(is_name) {
            found.push(inside);
        }
    }
    found
}

/// What is said of braces that a program would get as they are.
fn left_over(inside: &str, instead: &str) -> String {
    format!(
        "nothing would replace `{{{inside}}}`; {instead}, or, if the program itself fills it in, give it by a parameter: \
         `params: {{name: '{{{inside}}}'}}` and `{{params.name}}`"
    )
}

fn unknown(given: &document::Stage, kind: PlaceholderKind, name: &str) -> Option<String> {
    let (kind, names): (_, Vec<&str>) = match kind {
        PlaceholderKind::Inputs => ("inputs", given.inputs.keys().map(String::as_str).collect()),
        PlaceholderKind::Outputs => ("outputs", given.outputs.keys().map(String::as_str).collect()),
        PlaceholderKind::Params => ("params", given.params.keys().map(String::as_str).collect()),
    };
    (!names.contains(&name))
        .then(|| format!("`{{{kind}.{name}}}`: the stage has no such entry{}", hint(name, names)))
}

/// That a shell would take the file of an output for several words, in a program of its own without quotes.
fn taken_apart(given: &document::Stage, program: &str, output: &str) -> Option<String> {
    let file = given.outputs.get(output)?;
    // Which quotes are open is not to be told by counting them.
    if program.contains("\\\"") || program.contains("<<") {
        return None;
    }
    let is_quoted = |(place, _)| {
        let before: &str = &program[..place];
        ['"', '\''].iter().any(|quote| before.matches(*quote).count() % 2 == 1)
    };
    let placeholder = format!("{{outputs.{output}}}");
    (!file.chars().all(is_plain) && !program.match_indices(&placeholder).all(is_quoted)).then(|| {
        format!("a shell would take `{file}` apart; write \"{placeholder}\", in quotes, or give the file another name: `publish` may have spaces")
    })
}

/// Whether a word of a command is a program for the shell that the command starts.
fn is_of_a_shell(command: &[String], i: usize) -> bool {
    let program = command[0].rsplit('/').next().unwrap_or_default();
    let is_option = |word: &String| word.starts_with('-') && word.ends_with('c');
    SHELLS.contains(&program) && i > 1 && is_option(&command[i - 1])
}

/// What to write instead of one of Snakemake's placeholders; none if it is none.
fn of_snakemake(inside: &str, given: &document::Stage, each: &[Each], sweeps: &[Sweep]) -> Option<String> {
    let (word, name) = inside.split_once('.').map_or((inside, None), |(word, name)| (word, Some(name)));
    let entry = |kind: &str, names: Vec<&String>| {
        let name = name.filter(|name| names.iter().any(|known| known == name));
        let name = name.or(if let [only] = names[..] { Some(only) } else { None });
        format!("write `{{{kind}.{}}}`", name.unwrap_or("NAME"))
    };
    match (word, name) {
        ("input", _) => Some(entry("inputs", given.inputs.keys().collect())),
        ("output", _) => Some(entry("outputs", given.outputs.keys().collect())),
        ("params", None) => Some(entry("params", given.params.keys().collect())),
        ("threads", None) => Some("a job finds its `threads` in OMP_NUM_THREADS".to_owned()),
        ("wildcards", Some(name)) => {
            let label = fanout::instead(name, &given.params, each, sweeps);
            Some(label.unwrap_or_else(|| "write `{params.NAME}`, of the stage's `params`".to_owned()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::braced;

    #[test]
    fn names_in_braces_are_found_but_not_those_of_other_programs() {
        assert_eq!(braced("out/{seed}-{r.seed}.txt"), ["seed", "r.seed"]);
        let theirs = "{print $1} ${A} %{code} {} {a,b} {{seed}} \\textbf{seed}{n} #{seed} x@{u} $x_{n}^{m}$ $h{seed} { seed } {1} {";
        assert_eq!(braced(theirs), [""; 0]);
    }
}
