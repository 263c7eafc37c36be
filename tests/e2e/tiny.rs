//! Tiny pipelines: a paper in the shape of the real one, a sweep of slow jobs, and a stage that is a crate.

use crate::scratch::Scratch;

/// The jobs of [`paper`] in the form of [`crate::scratch::Run::made`].
pub const WHOLE_PAPER: &str = "prepare 1, train 4, predict 4, distance 3, embed 1, figure 1";

/// Four networks, from images to a figure, in 14 jobs. Each job tells `STAGE LABELS`.
pub fn paper() -> Scratch {
    Scratch::new(&[
        ("pipeline.yaml", PAPER),
        ("images.txt", "cat dog ship\n"),
        ("train.sh", TRAIN),
        ("embed.sh", EMBED),
    ])
}

const PAPER: &str = r#"version: 1
profile: quick
params:
  rate: 0.1
  title: Networks
profiles:
  quick: {about: four networks}
  paper: {about: the same ones}
sweeps:
  networks:
    matrix:
      arch: [fc, vit]
      seed: [1, 2]
    settings:
      - set: {rate: $rate}
stages:
  prepare:
    run: [sh, -c, 'echo prepare >> "$HOME/ran"; cat {inputs.images} > {outputs.data}; echo 3 images']
    inputs: {images: ./images.txt}
    outputs: {data: data.txt}
  train:
    run: [sh, train.sh, "{params.arch}", "{params.seed}", "{params.rate}", "{inputs.data}", "{outputs.weights}"]
    code: [train.sh]
    each: network in networks
    params: {arch: $network.arch, seed: $network.seed, rate: $network.rate}
    inputs: {data: prepare.data}
    outputs: {weights: weights.txt}
  predict:
    run: [sh, -c, 'echo predict >> "$HOME/ran"; sed s/trained/predicts/ {inputs.weights} > {outputs.predictions}']
    each: network in networks
    inputs: {weights: train.weights}
    outputs: {predictions: predictions.txt}
  distance:
    run: [sh, -c, 'echo distance >> "$HOME/ran"; cat "$@" > {outputs.tile}', sh, "{inputs.rows}", "{inputs.cols}"]
    pairs: rows, cols in networks by arch
    inputs: {rows: "predict[rows].predictions", cols: "predict[cols].predictions"}
    outputs: {tile: tile.txt}
  embed:
    run: [sh, embed.sh, "{outputs.points}", "{inputs.tiles}"]
    code: [embed.sh]
    inputs: {tiles: "distance[*].tile"}
    outputs: {points: points.txt}
    publish: {points: tables/points.txt}
  figure:
    run: [sh, -c, 'echo figure >> "$HOME/ran"; (echo "$1"; cat {inputs.points}) > {outputs.svg}', sh, "{params.title}"]
    params: {title: $title}
    inputs: {points: embed.points}
    outputs: {svg: figure.svg}
    publish: {svg: figures/figure.svg}
"#;

const TRAIN: &str = r#"echo "train $1 $2" >> "$HOME/ran"
echo "$1 $2 trained at $3 on $(cat "$4")" > "$5"
"#;

const EMBED: &str = r#"echo embed >> "$HOME/ran"
points=$1
shift
sort -u "$@" | sed s/predicts/lies/ > "$points"
"#;

/// Twelve jobs of 50 ms and one that joins them. A job tells its number when it begins, leaves its process in
/// `$HOME/pids`, and does not end while there is a `$HOME/hold-NUMBER`.
pub fn slow() -> Scratch {
    Scratch::new(&[("pipeline.yaml", SLOW), ("slow.sh", SLOW_SCRIPT)])
}

const SLOW: &str = r#"version: 1
profile: quick
profiles: {quick: {about: twelve slow jobs}}
sweeps:
  numbers: {matrix: {n: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]}}
stages:
  slow:
    run: [sh, slow.sh, "{params.n}", "{outputs.made}"]
    code: [slow.sh]
    each: number in numbers
    params: {n: $number.n}
    outputs: {made: made.txt}
  join:
    run: [sh, -c, 'cat "$@" > {outputs.all}', sh, "{inputs.all}"]
    inputs: {all: "slow[*].made"}
    outputs: {all: all.txt}
    publish: {all: all.txt}
"#;

const SLOW_SCRIPT: &str = r#"echo $$ >> "$HOME/pids"
echo $1 >> "$HOME/ran"
sleep 0.05
while [ -e "$HOME/hold-$1" ]; do sleep 0.02; done
echo "number $1" > "$2"
"#;

/// The same with so many jobs, which run another script: `$1` is a job's number, `$2` its output.
pub fn many(jobs: usize, script: &str) -> Scratch {
    let many = slow();
    let numbers: Vec<String> = (1..=jobs).map(|n| n.to_string()).collect();
    many.edit("pipeline.yaml", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12", &numbers.join(", "));
    many.write("slow.sh", script);
    many
}

/// A pipeline whose first stage, `square`, is a crate; `total` below it is a command. Each job of `square` tells
/// `PROCESS NUMBER`.
pub fn squares() -> Scratch {
    Scratch::new(&[
        ("pipeline.yaml", SQUARES),
        ("Cargo.toml", "[workspace]\nmembers = [\"stages/*\"]\nresolver = \"3\"\n"),
        ("Cargo.lock", "version = 4\n\n[[package]]\nname = \"square\"\nversion = \"0.0.0\"\n"),
        ("stages/square/Cargo.toml", "[package]\nname = \"square\"\nedition = \"2024\"\n"),
        ("stages/square/src/main.rs", SQUARE),
    ])
}

const SQUARES: &str = r#"version: 1
profile: quick
profiles: {quick: {about: three squares}}
sweeps:
  numbers: {matrix: {n: [1, 2, 3]}}
stages:
  square:
    crate: stages/square
    each: number in numbers
    params: {n: $number.n}
    outputs: {square: square.txt}
  total:
    run: [sh, -c, 'cat "$@" > {outputs.total}', sh, "{inputs.squares}"]
    inputs: {squares: "square[*].square"}
    outputs: {total: total.txt}
    publish: {total: total.txt}
"#;

/// Reads job lines by hand: needs no package, and shows how little the protocol asks for.
const SQUARE: &str = r##"//! Squares numbers.

use std::io::Write;

const WORD: &str = "square";

/// The text after `"name":`, without quotes.
fn field<'a>(json: &'a str, name: &str) -> &'a str {
    let (_, rest) = json.split_once(&format!("\"{name}\":")).unwrap();
    rest.trim_start_matches('"').split(['"', ',', '}']).next().unwrap()
}

fn main() {
    for line in std::io::stdin().lines() {
        let job = std::fs::read_to_string(field(&line.unwrap(), "job")).unwrap();
        let number: u64 = field(&job, "n").parse().unwrap();
        tell(number);
        let squared = number * number;
        std::fs::write(field(&job, "square"), format!("{WORD} {squared}\n")).unwrap();
        println!(r#"{{"event": "done"}}"#);
    }
}

fn tell(number: u64) {
    let path = std::env::var("HOME").unwrap() + "/ran";
    let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
    file.write_all(format!("{} {number}\n", std::process::id()).as_bytes()).unwrap();
}
"##;

/// The squares, with their numbers in files. A job keeps the paths of its input, of its output, and of a note that it
/// leaves in its scratch folder, and looks through all paths that its process has kept whether they can be opened.
pub fn keepers() -> Scratch {
    let keepers = squares();
    keepers.edit("pipeline.yaml", "  square:\n", NUMBER);
    keepers.edit(
        "pipeline.yaml",
        "    outputs: {square",
        "    inputs: {number: number.n}\n    outputs: {square",
    );
    keepers.edit(
        "stages/square/src/main.rs",
        "    for line in",
        "    let mut kept: Vec<String> = Vec::new();\n    for line in",
    );
    keepers.edit("stages/square/src/main.rs", "        let squared = number * number;\n", KEEP);
    keepers.edit("stages/square/src/main.rs", "{WORD} {squared}\\n", "{WORD} {squared} {read} {others}\\n");
    keepers
}

const NUMBER: &str = "  number:
    run: [sh, -c, 'echo {params.n} > {outputs.n}']
    each: number in numbers
    params: {n: $number.n}
    outputs: {n: n.txt}
  square:
";

const KEEP: &str = r#"        let squared = number * number;
        let input = field(job.split_once("\"inputs\"").unwrap().1, "path").to_owned();
        let read = std::fs::read_to_string(&input).unwrap().trim().to_owned();
        let others = kept.iter().filter(|path| std::fs::read(path).is_ok()).count();
        let note = std::env::temp_dir().join(format!("note-of-{number}")).into_os_string().into_string().unwrap();
        std::fs::write(&note, &read).unwrap();
        kept.extend([input, field(&job, "square").to_owned(), note]);
"#;
