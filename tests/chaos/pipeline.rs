//! A pipeline with a bit of everything: a worker, commands, a folder, a sweep, a published file; 19 jobs.

use crate::scratch::Scratch;
use crate::tiny;

/// How many jobs there are.
pub const JOBS: usize = 19;

/// What `figure` makes under some title.
pub fn figure(title: &str) -> String {
    let line = |n: u32| format!("square {}\nslow {n}\n", n * n);
    format!("{title}\n{}", (1..=6).map(line).collect::<String>())
}

/// Six quick jobs of a worker, six slow ones of a command, one that sums up each pair, a folder, a figure.
const PIPELINE: &str = r#"version: 1
profile: quick
profiles: {quick: {about: quick and slow jobs}}
params: {title: Numbers}
sweeps:
  numbers: {matrix: {n: [1, 2, 3, 4, 5, 6]}}
stages:
  square:
    crate: stages/square
    each: number in numbers
    params: {n: $number.n}
    outputs: {square: square.txt}
  slow:
    run: [sh, slow.sh, "{params.n}", "{outputs.made}"]
    code: [slow.sh]
    each: number in numbers
    params: {n: $number.n}
    outputs: {made: made.txt}
  sum:
    run: [sh, sum.sh, "{outputs.sums}", "{inputs.square}", "{inputs.slow}"]
    code: [sum.sh]
    each: number in numbers
    inputs: {square: square.square, slow: slow.made}
    outputs: {sums: sums/}
  figure:
    run: [sh, figure.sh, "{outputs.figure}", "{params.title}", "{inputs.sums}"]
    code: [figure.sh]
    params: {title: $title}
    inputs: {sums: "sum[*].sums"}
    outputs: {figure: figure.txt}
    publish: {figure: figure.txt}
"#;

const SLOW: &str = r#"echo "slow $1" >> "$HOME/ran"
sleep 0.03
echo "slow $1" > "$2"
"#;

const FIGURE: &str = r#"echo figure >> "$HOME/ran"
figure=$1
echo "$2" > "$figure"
shift 2
for sum in "$@"; do cat "$sum/text"; done >> "$figure"
"#;

/// A kill may end `cat` before the shell, which then must not tell of a job without a number.
const SUM: &str = r#"slow=$(cat "$3") || exit
echo "sum $slow" >> "$HOME/ran"
mkdir -p "$1/empty-is-not-kept"
cat "$2" "$3" > "$1/text"
"#;

/// The pipeline in a new workspace. Each job tells its stage and its number.
pub fn project() -> Scratch {
    let project = tiny::squares();
    let files = [("pipeline.yaml", PIPELINE), ("slow.sh", SLOW), ("sum.sh", SUM), ("figure.sh", FIGURE)];
    files.into_iter().for_each(|(path, text)| project.write(path, text));
    // Its own number differs from run to run.
    let told = r#""{} {number}\n", std::process::id()"#;
    project.edit("stages/square/src/main.rs", told, r#""square {number}\n""#);
    project
}
