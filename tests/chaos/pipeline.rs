//! A pipeline with a bit of everything: a worker, commands, a folder, a sweep, a published file; 19 jobs.

use crate::scratch::Scratch;

/// How many jobs there are.
pub const JOBS: usize = 19;

/// What `figure` makes under some title.
pub fn figure(title: &str) -> String {
    let line = |n: u32| format!("{}\nslow {n}\n", n * n);
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

const SQUARE: &str = r##"//! Squares numbers.

use std::io::Write;

fn field<'a>(json: &'a str, name: &str) -> &'a str {
    let (_, rest) = json.split_once(&format!("\"{name}\":")).unwrap();
    rest.trim_start_matches('"').split(['"', ',', '}']).next().unwrap()
}

fn main() {
    for line in std::io::stdin().lines() {
        let job = std::fs::read_to_string(field(&line.unwrap(), "job")).unwrap();
        let number: u64 = field(&job, "n").parse().unwrap();
        let log = std::env::var("HOME").unwrap() + "/ran";
        let mut log = std::fs::File::options().append(true).create(true).open(log).unwrap();
        log.write_all(format!("square {number}\n").as_bytes()).unwrap();
        std::fs::write(field(&job, "square"), format!("{}\n", number * number)).unwrap();
        println!(r#"{{"event": "done"}}"#);
    }
}
"##;

/// The pipeline in a new workspace. Each job tells its stage and its number.
pub fn project() -> Scratch {
    Scratch::new(&[
        ("pipeline.yaml", PIPELINE),
        ("slow.sh", SLOW),
        ("sum.sh", SUM),
        ("figure.sh", FIGURE),
        ("Cargo.toml", "[workspace]\nmembers = [\"stages/*\"]\nresolver = \"3\"\n"),
        ("Cargo.lock", "version = 4\n\n[[package]]\nname = \"square\"\nversion = \"0.0.0\"\n"),
        ("stages/square/Cargo.toml", "[package]\nname = \"square\"\nedition = \"2024\"\n"),
        ("stages/square/src/main.rs", SQUARE),
    ])
}
