//! ribbon beside ninja and make, on one workload: `cargo bench --bench peers`.
//!
//! 4,599 jobs that do next to nothing: 2,296 trainings, 2,296 predictions, a join, an embedding, five figures. What is
//! timed is what a tool adds to its jobs. Tools run in turn, a scenario at a time, on the file system of `target/`.
//! Needs `cc`, `ninja` (Debian's ninja-build) and `make`; a tool that is not there is left out.

mod curve;
mod hashing;
mod measure;
mod workload;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Parser;

use self::measure::{Taken, median};
use self::workload::{REST, Tool, Workload};

/// Times ribbon beside ninja and make.
#[derive(Debug, Parser)]
struct Options {
    /// Configurations; each is two jobs.
    #[arg(long, default_value_t = 2296)]
    configurations: usize,
    /// How often everything is done; medians are shown.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Jobs at once.
    #[arg(short, default_value_t = 2)]
    jobs: usize,
    /// Instead: cold runs with so many jobs, to show the cost of one.
    #[arg(long, value_delimiter = ',', value_name = "JOBS", num_args = 0.., default_missing_value = "460,4600,46000")]
    curve: Option<Vec<usize>>,
    /// Instead: hash a file of so many bytes beside `b3sum` (cargo install b3sum).
    #[arg(long, value_name = "BYTES", num_args = 0..=1, default_missing_value = "1000000000")]
    hash: Option<u64>,
    /// Cargo says so to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is measured after what was done to the workload.
#[derive(Debug, Clone, Copy)]
enum Scenario {
    Cold,
    Nothing,
    Touch,
    Configuration,
    EqualOutputs,
    Comment,
}

impl Scenario {
    const ALL: [Scenario; 6] = [
        Scenario::Cold,
        Scenario::Nothing,
        Scenario::Touch,
        Scenario::Configuration,
        Scenario::EqualOutputs,
        Scenario::Comment,
    ];

    fn name(self) -> &'static str {
        match self {
            Scenario::Cold => "cold",
            Scenario::Nothing => "nothing changed",
            Scenario::Touch => "shared input touched",
            Scenario::Configuration => "a configuration added",
            Scenario::EqualOutputs => "shared input changed, equal trainings",
            Scenario::Comment => "a comment in embed's script",
        }
    }

    fn prepare(self, workload: &mut Workload) {
        match self {
            Scenario::Cold | Scenario::Nothing => {}
            Scenario::Touch => workload.touch(),
            Scenario::Configuration => workload.add_configuration(),
            Scenario::EqualOutputs => workload.change_unused_half(),
            Scenario::Comment => workload.comment(),
        }
    }

    /// How often to do the same again: what takes hundredths of a second is at the mercy of everything else.
    fn times(self) -> usize {
        if let Scenario::Nothing = self { 15 } else { 1 }
    }

    /// The jobs that have to run, and no others.
    fn jobs(self, configurations: usize) -> usize {
        match self {
            Scenario::Cold => 2 * configurations + REST,
            Scenario::Nothing | Scenario::Touch => 0,
            Scenario::Configuration => 2 + REST,
            // The one that was added is among them.
            Scenario::EqualOutputs => configurations + 1,
            Scenario::Comment => 1,
        }
    }
}

/// Where benchmarks work, and what with.
#[derive(Debug)]
pub struct Bench {
    folder: PathBuf,
    worker: PathBuf,
    at_once: usize,
    made: Cell<usize>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn main() {
    let options = Options::parse();
    // `cargo test --all-targets` starts benchmarks as well.
    if !options.bench {
        return;
    }
    if let Some(bytes) = options.hash {
        return hashing::compare(Path::new(env!("CARGO_TARGET_TMPDIR")), bytes, options.rounds);
    }
    let bench = Bench::new(options.jobs);
    match &options.curve {
        Some(sizes) => curve::show(&bench, sizes, options.rounds),
        None => bench.table(options.configurations, options.rounds),
    }
}

impl Bench {
    fn new(at_once: usize) -> Bench {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let worker = folder.join("worker");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/worker.c");
        let built = Command::new("cc").args(["-O2", "-o"]).arg(&worker).arg(source).status();
        assert!(built.is_ok_and(|status| status.success()), "cc builds worker.c");
        Bench { folder, worker, at_once, made: Cell::new(0) }
    }

    /// A new workload, ready to be timed. Older ones stay until the end: ext4 gives no place of a file that was removed
    /// in the last minutes to a new one, and searches long when there are thousands of them.
    pub fn workload(&self, tool: Tool, configurations: usize) -> Workload {
        let number = self.made.get();
        self.made.set(number + 1);
        let folder =
            self.folder.join(format!("{number}-{}", tool.name().replace(", ", "-").replace(' ', "-")));
        let workload = Workload::new(tool, folder, configurations, &self.worker);
        if tool == Tool::Worker {
            workload.with_one_configuration(|| {
                self.run(&workload);
            });
        }
        workload
    }

    /// The tool, on a workload.
    pub fn run(&self, workload: &Workload) -> Taken {
        let tool = workload.tool;
        let mut command = Command::new(match tool {
            Tool::Ninja => "ninja",
            Tool::Make => "make",
            Tool::Ribbon | Tool::Worker => env!("CARGO_BIN_EXE_ribbon"),
        });
        if let Tool::Ribbon | Tool::Worker = tool {
            command.arg("run");
        }
        command.arg(format!("-j{}", self.at_once)).env_remove("RIBBON_STORE").env_remove("MAKEFLAGS");
        Taken::of(&mut command, tool, &workload.folder)
    }

    /// The tools that are here.
    pub fn tools(&self) -> Vec<Tool> {
        let is_here = |tool: &Tool| match tool {
            Tool::Ninja | Tool::Make => {
                let mut command = Command::new(tool.name());
                command.arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
            }
            Tool::Ribbon | Tool::Worker => true,
        };
        [Tool::Ninja, Tool::Make, Tool::Ribbon, Tool::Worker].into_iter().filter(is_here).collect()
    }

    fn table(&self, configurations: usize, rounds: usize) {
        let tools = self.tools();
        // By tool, then by scenario: what each round took.
        let mut taken = vec![vec![Vec::new(); Scenario::ALL.len()]; tools.len()];
        for round in 1..=rounds {
            eprintln!("round {round} of {rounds}");
            let mut workloads: Vec<Workload> =
                tools.iter().map(|tool| self.workload(*tool, configurations)).collect();
            for (place, scenario) in Scenario::ALL.into_iter().enumerate() {
                let times = (0..scenario.times()).flat_map(|_| 0..tools.len());
                for tool in times {
                    let (workload, taken) = (&mut workloads[tool], &mut taken[tool]);
                    scenario.prepare(workload);
                    let one = self.run(workload);
                    if let Tool::Ribbon | Tool::Worker = workload.tool {
                        assert_eq!(one.jobs, scenario.jobs(configurations), "{workload:?} {scenario:?}");
                    }
                    taken[place].push(one);
                }
            }
        }
        println!(
            "{} jobs, {} at once; jobs run, wall s, processor s, peak MB",
            2 * configurations + REST,
            self.at_once
        );
        let names: Vec<&str> = tools.iter().map(|tool| tool.name()).collect();
        println!("\n| | {} |\n|---|{}", names.join(" | "), "---|".repeat(tools.len()));
        for (place, scenario) in Scenario::ALL.into_iter().enumerate() {
            let ninja = tools.iter().position(|tool| *tool == Tool::Ninja);
            let ninja = ninja.map(|tool| median(taken[tool][place].iter().map(|it: &Taken| it.wall)));
            let cells: Vec<String> =
                tools.iter().zip(&taken).map(|(tool, taken)| cell(*tool, &taken[place], ninja)).collect();
            println!("| {} | {} |", scenario.name(), cells.join(" | "));
        }
    }
}

fn cell(tool: Tool, taken: &[Taken], ninja: Option<f64>) -> String {
    let of = |what: fn(&Taken) -> f64| median(taken.iter().map(what));
    let wall = of(|it| it.wall);
    let ratio = match (tool, ninja) {
        (Tool::Ninja, _) | (_, None) => String::new(),
        (_, Some(ninja)) => format!(" = {:.2} ninja", wall / ninja),
    };
    format!("{}: **{wall:.3}**{ratio}, {:.2}, {:.0}", taken[0].jobs, of(|it| it.cpu), of(|it| it.memory))
}
