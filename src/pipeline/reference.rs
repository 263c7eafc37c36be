//! The small grammars inside pipeline.yaml's strings: names, `$` values, references, fan-out clauses, paths, sizes.
//!
//! Nothing here knows what exists; an `Err` says what is wrong with the text.

use std::path::{Component, Path, PathBuf};

/// Whether text can be a name: of a stage, a label, an output.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// What to say of a name that [`is_name`] refuses.
pub(super) fn name_rule(kind: &str, name: &str) -> String {
    format!("`{name}` is not a valid {kind} name; names are a letter, then letters, digits, `-` and `_`")
}

/// A `$` value: `$name` or `$name.value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dollar<'a> {
    /// A parameter or a variable of the stage.
    pub name: &'a str,
    /// One value of it.
    pub value: Option<&'a str>,
}

/// Reads a `$` value; none if the text is not one.
pub(super) fn dollar(text: &str) -> Option<Result<Dollar<'_>, String>> {
    let path = text.strip_prefix('$')?;
    let (name, value) = match path.split_once('.') {
        Some((name, value)) => (name, Some(value)),
        None => (path, None),
    };
    let right = is_name(name) && value.is_none_or(is_name);
    Some(right.then_some(Dollar { name, value }).ok_or_else(|| "write $name or $name.value".to_owned()))
}

/// `stage[picks].output`, or `stage[picks].output?`, as written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reference<'a> {
    /// The stage.
    pub stage: &'a str,
    /// What stands in brackets.
    pub picks: Vec<Pick<'a>>,
    /// The output.
    pub output: &'a str,
    /// Whether it is left out where the profile does not have the stage.
    pub optional: bool,
}

/// One of the things in brackets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pick<'a> {
    /// `*`: all.
    All,
    /// `rows`: those of a group.
    Group(&'a str),
    /// `split=test`: those with a label.
    Label(&'a str, &'a str),
}

/// Reads `stage.output`, `stage[*].output` and the like.
pub(super) fn reference(text: &str) -> Result<Reference<'_>, String> {
    let wrong = || {
        format!(
            "`{text}` is not an input; write stage.output, stage[*].output, stage[label=value].output, \
             stage[group].output, or ./path for a file of the project"
        )
    };
    let (taken, optional) = text.strip_suffix('?').map_or((text, false), |taken| (taken, true));
    let (producer, output) = taken.rsplit_once('.').ok_or_else(wrong)?;
    let (stage, inside) = match producer.split_once('[') {
        Some((stage, rest)) => (stage, Some(rest.strip_suffix(']').ok_or_else(wrong)?)),
        None => (producer, None),
    };
    let picks = inside.into_iter().flat_map(|inside| inside.split(',')).map(|pick| match pick.trim() {
        "*" => Some(Pick::All),
        pick => match pick.split_once('=') {
            Some((label, value)) if is_name(label) && !value.is_empty() => Some(Pick::Label(label, value)),
            None if is_name(pick) => Some(Pick::Group(pick)),
            _ => None,
        },
    });
    let picks: Vec<Pick> = picks.collect::<Option<_>>().ok_or_else(wrong)?;
    let lists = picks.iter().filter(|pick| !matches!(pick, Pick::Label(..))).count();
    if !is_name(stage) || !is_name(output) || lists > 1 {
        return Err(wrong());
    }
    Ok(Reference { stage, picks, output, optional })
}

/// A fan-out clause, as written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Clause<'a> {
    /// One name for `each`, two for `pairs`.
    pub names: Vec<&'a str>,
    /// The sweep.
    pub sweep: &'a str,
    /// The labels to group by; none makes a job a configuration.
    pub by: Vec<&'a str>,
}

/// Reads a clause of `each`.
pub(super) fn each(text: &str) -> Result<Clause<'_>, String> {
    clause(text).filter(|clause| clause.names.len() == 1).ok_or_else(|| {
        format!(
            "`{text}` is not a clause of each; write NAME in SWEEP, or NAME in SWEEP by LABEL, LABEL \
             (in quotes inside a [list])"
        )
    })
}

/// Reads `pairs`.
pub(super) fn pairs(text: &str) -> Result<Clause<'_>, String> {
    clause(text).filter(|clause| clause.names.len() == 2 && !clause.by.is_empty()).ok_or_else(|| {
        format!("`{text}` is not a clause of pairs; write NAME, NAME in SWEEP by LABEL, LABEL")
    })
}

fn clause(text: &str) -> Option<Clause<'_>> {
    let names =
        |list: &'_ str| -> Option<()> { list.split(',').all(|name| is_name(name.trim())).then_some(()) };
    let (left, right) = text.split_once(" in ")?;
    names(left)?;
    let (sweep, by) = match right.split_once(" by ") {
        Some((sweep, by)) => (sweep.trim(), by.split(',').map(str::trim).collect()),
        None => (right.trim(), Vec::new()),
    };
    (is_name(sweep) && by.iter().all(|label| is_name(label))).then_some(())?;
    Some(Clause { names: left.split(',').map(str::trim).collect(), sweep, by })
}

/// A path of the project, relative to its root and without `.`: `./a//b` is `a/b`.
pub(super) fn project_path(text: &str) -> Result<PathBuf, String> {
    let wrong = || format!("`{text}` must be a path inside the project: relative, without `..`");
    let mut path = PathBuf::new();
    for component in Path::new(text).components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => path.push(name),
            _ => return Err(wrong()),
        }
    }
    if path.as_os_str().is_empty() { Err(wrong()) } else { Ok(path) }
}

/// The labels in braces in a path: `a-{split}.svg` has `split`.
pub(super) fn braces(text: &str) -> Result<Vec<&str>, String> {
    let wrong = || format!("`{text}` has a brace without its partner; labels stand in them: {{split}}");
    let mut labels = Vec::new();
    let mut pieces = text.split('{');
    if pieces.next().is_some_and(|before| before.contains('}')) {
        return Err(wrong());
    }
    for piece in pieces {
        let (label, after) = piece.split_once('}').ok_or_else(wrong)?;
        if after.contains('}') {
            return Err(wrong());
        }
        labels.push(label);
    }
    Ok(labels)
}

/// Bytes: `1G` is 10^9, `2GiB` is 2 * 2^30, `1.5M` is 1,500,000.
///
/// # Errors
/// What is wrong with the text.
pub fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || {
        format!(
            "`{text}` is not an amount of memory; write 500M, 1.5G (powers of 1000) or 2GiB (powers of 1024)"
        )
    };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" => 1,
        "K" => 1000,
        "M" => 1000_u64.pow(2),
        "G" => 1000_u64.pow(3),
        "T" => 1000_u64.pow(4),
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.trim().parse().map_err(|_| wrong())?;
    let bytes = number * unit as f64;
    // 2^53 bytes are 9 PB; below that the product is a whole number of bytes.
    if (0.0..=9e15).contains(&bytes) { Ok(bytes.round() as u64) } else { Err(wrong()) }
}

/// Whether a shell takes a character for a part of a word, and nothing else, unless the word begins with it: no path of a
/// job does.
pub(crate) fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/._-+,:@%=~^#!".contains(c) || !c.is_ascii()
}

/// A piece of a word of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// As it is.
    Text(&'a str),
    /// `{inputs.NAME}`, `{outputs.NAME}` or `{params.NAME}`: what the job has of this kind and name.
    Placeholder(PlaceholderKind, &'a str),
}

/// What a placeholder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlaceholderKind {
    /// The path of an input.
    Inputs,
    /// The path where an output is to be made.
    Outputs,
    /// The value of a parameter.
    Params,
}

/// Takes a word apart: `--data={inputs.data}` is a text and a placeholder. Other braces are text: programs for awk and the
/// like have some of their own.
pub(crate) fn pieces(word: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut text, mut at) = (Vec::new(), 0, 0);
    while let Some(open) = word[at..].find('{').map(|place| at + place) {
        at = open + 1;
        if let Some((piece, length)) = placeholder(&word[at..]) {
            pieces.extend([Piece::Text(&word[text..open]), piece]);
            at += length;
            text = at;
        }
    }
    pieces.push(Piece::Text(&word[text..]));
    pieces.retain(|piece| *piece != Piece::Text(""));
    pieces
}

/// The placeholder of which this is what follows its brace, and how much of it is the placeholder's.
fn placeholder(after: &str) -> Option<(Piece<'_>, usize)> {
    let (inside, _) = after.split_once('}')?;
    let (kind, name) = inside.split_once('.')?;
    let kind = match kind {
        "inputs" => PlaceholderKind::Inputs,
        "outputs" => PlaceholderKind::Outputs,
        "params" => PlaceholderKind::Params,
        _ => return None,
    };
    (!name.contains('{')).then_some((Piece::Placeholder(kind, name), inside.len() + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_with_what_stands_in_brackets() {
        let read = |text| reference(text).unwrap();
        let data = Reference { stage: "prepare", picks: vec![], output: "data", optional: false };
        assert_eq!(read("prepare.data"), data);
        assert_eq!(read("prepare.data?"), Reference { optional: true, ..data });
        assert_eq!(read("to-geodesic[*].tile").picks, [Pick::All]);
        assert_eq!(read("predict[rows].out").picks, [Pick::Group("rows")]);
        assert_eq!(
            read("a[*, split=test, rate=0.1].b"),
            Reference {
                stage: "a",
                picks: vec![Pick::All, Pick::Label("split", "test"), Pick::Label("rate", "0.1")],
                output: "b",
                optional: false
            }
        );
    }

    #[test]
    fn broken_references_are_refused() {
        for text in
            ["data", "a[].b", "a[*.b", "a[*,rows].b", "a[=x].b", "a[x=].b", "../a.txt", "a b.c", "a.b??", ""]
        {
            assert!(reference(text).is_err(), "{text}");
        }
    }

    #[test]
    fn clauses_are_read() {
        let network = Clause { names: vec!["network"], sweep: "networks", by: vec![] };
        assert_eq!(each("network in networks"), Ok(network));
        assert_eq!(each("g in n by arch,  optimizer").unwrap().by, ["arch", "optimizer"]);
        assert_eq!(pairs("a, b in n by arch").unwrap().names, ["a", "b"]);
    }

    #[test]
    fn broken_clauses_are_refused_with_the_grammar() {
        assert_eq!(
            each("network of networks").unwrap_err(),
            "`network of networks` is not a clause of each; write NAME in SWEEP, or NAME in SWEEP by LABEL, LABEL \
             (in quotes inside a [list])"
        );
        for text in ["a, b in n by x", "a in n by ", "a in ", "a in n by x,"] {
            assert!(each(text).is_err(), "{text}");
        }
        for text in ["a in n by x", "a, b in n", "a, b, c in n by x"] {
            assert!(pairs(text).is_err(), "{text}");
        }
    }

    #[test]
    fn paths_stay_inside_the_project() {
        assert_eq!(project_path("./a//b/./c"), Ok(PathBuf::from("a/b/c")));
        for text in ["/a", "../a", "a/../../b", ".", ""] {
            assert!(project_path(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(bytes("1G"), Ok(1_000_000_000));
        assert_eq!(bytes("2GiB"), Ok(2 << 30));
        assert_eq!(bytes("1.5M"), Ok(1_500_000));
        assert_eq!(bytes("700"), Ok(700));
        for text in ["1GB", "-1G", "G", "inf", "NaN", "1e300T"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn dollars_and_braces_are_read() {
        assert_eq!(dollar("$network.seed"), Some(Ok(Dollar { name: "network", value: Some("seed") })));
        assert_eq!(dollar("fc"), None);
        assert!(dollar("$").unwrap().is_err() && dollar("$a.b.c").unwrap().is_err());
        assert_eq!(braces("a-{x}/{y}.svg"), Ok(vec!["x", "y"]));
        for text in ["a}", "{a", "{a}}", "}{"] {
            assert!(braces(text).is_err(), "{text}");
        }
    }

    #[test]
    fn words_are_taken_apart_at_placeholders_alone() {
        use Piece::{Placeholder, Text};
        use PlaceholderKind::{Inputs, Outputs, Params};
        assert_eq!(
            pieces("x={inputs.a}{params.b} {other} {inputs.c"),
            [Text("x="), Placeholder(Inputs, "a"), Placeholder(Params, "b"), Text(" {other} {inputs.c")]
        );
        assert_eq!(pieces("{{outputs.a}}"), [Text("{"), Placeholder(Outputs, "a"), Text("}")]);
        assert_eq!(pieces("{params.{params.n}"), [Text("{params."), Placeholder(Params, "n")]);
        assert_eq!(pieces(""), []);
    }
}
