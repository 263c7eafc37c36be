//! Push and pull over a slow line: `cargo bench --bench share`.
//!
//! Thousands of small jobs go to a server and come back to an empty store, while a proxy before the server holds every
//! byte back, so that a request takes 20 ms at least. The best that so many connections allow is connections / latency
//! requests a second; what is shown is how many records and objects came through a second, and their share of that.
//! Needs `ribbon-remote` (`make share`) and the servers of `setup/servers.sh --release`; one that is not there is left out.

mod proxy;
#[path = "../../tests/e2e/scratch.rs"]
#[allow(dead_code, reason = "tests use all of it")]
mod scratch;
#[path = "../../tests/e2e/servers.rs"]
#[allow(dead_code, reason = "tests use all of it")]
mod servers;
#[path = "../../tests/e2e/skip.rs"]
mod skip;

use std::time::{Duration, Instant};

use clap::Parser;

use self::scratch::Scratch;
use self::servers::Server;

/// What is timed, in this order: jobs go to an empty server, again, and come to an empty store.
const ACTS: [(&str, &str); 3] = [("up", "push"), ("again", "push"), ("down", "pull many")];

/// Times push and pull.
#[derive(Debug, Parser)]
struct Options {
    /// Jobs, each with one output.
    #[arg(long, default_value_t = 4600)]
    jobs: usize,
    /// Random bytes of an output. Small ones travel in their records; from 32 KiB on they are files of their own.
    #[arg(long, value_delimiter = ',', default_value = "100,4096,40000")]
    size: Vec<usize>,
    /// Milliseconds from a request to its answer.
    #[arg(long, default_value_t = 20)]
    latency: u64,
    /// How often everything is done, each time with a server of its own; the best of each is told: the machine may be shared.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Requests in flight.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Cargo says so to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    // `cargo test --all-targets` starts benchmarks as well.
    if !options.bench {
        return;
    }
    println!(
        "{} jobs, {} connections, {} ms: at most {:.0} requests/s",
        options.jobs,
        options.connections,
        options.latency,
        limit(&options)
    );
    println!("{:8} {:>8} {:>6} {:>9} {:>14} {:>8}", "server", "bytes", "", "seconds", "things/s", "of best");
    for &size in &options.size {
        let made = made(&options, size);
        for (name, start) in [("S3", servers::s3 as fn() -> Option<Server>), ("WebDAV", servers::webdav)] {
            let mut best = [f64::INFINITY; ACTS.len()];
            for server in (0..options.rounds).map_while(|_| start()) {
                let seconds = measure(&server, &made, &options);
                best.iter_mut().zip(seconds).for_each(|(best, seconds)| *best = best.min(seconds));
            }
            if best.iter().all(|seconds| seconds.is_finite()) {
                tell(name, size, best, &options);
            }
        }
    }
}

/// Requests a second that the line allows.
fn limit(options: &Options) -> f64 {
    options.connections as f64 * 1000.0 / options.latency as f64
}

/// A project whose jobs have run.
fn made(options: &Options, size: usize) -> Scratch {
    let numbers: Vec<String> = (0..options.jobs).map(|n| n.to_string()).collect();
    let pipeline = format!(
        "version: 1\nprofile: quick\nprofiles: {{quick: {{about: many jobs}}}}\n\
         sweeps: {{numbers: {{matrix: {{n: [{}]}}}}}}\nstages:\n  many:\n    \
         run: [sh, -c, 'head -c {size} /dev/urandom > {{outputs.made}}']\n    each: number in numbers\n    \
         params: {{n: $number.n}}\n    \
         outputs: {{made: made.txt}}\n",
        numbers.join(", ")
    );
    let mut project = Scratch::new(&[("pipeline.yaml", &pipeline)]);
    project.set("RIBBON_KEY", project.home("key").to_str().unwrap());
    assert_eq!(project.ribbon("key new").code, Some(0));
    let run = project.ribbon("run");
    assert_eq!(run.code, Some(0), "{}", run.err);
    project
}

/// Seconds of each of [`ACTS`].
fn measure(server: &Server, made: &Scratch, options: &Options) -> [f64; ACTS.len()] {
    let delay = Duration::from_millis(options.latency) / 2;
    let port = port(&server.share);
    let share = server.share.replace(&port.to_string(), &proxy::start(port, delay).to_string());
    let project = |name: &str| {
        let mut clone = made.clone_as(name);
        let lines = format!("share:\n{share}  connections: {}\n", options.connections);
        clone.write("pipeline.yaml", &(clone.read("pipeline.yaml") + &lines));
        server.variables.iter().for_each(|(name, value)| clone.set(name, value));
        clone
    };
    let mut from = project(&format!("{port}-up"));
    from.set("RIBBON_STORE", made.path(".ribbon/store").to_str().unwrap());
    let to = project(&format!("{port}-down"));
    // With it, the records would not have to come.
    to.remove("pipeline.lock");
    ACTS.map(|(what, command)| {
        let project = if what == "down" { &to } else { &from };
        let started = Instant::now();
        let run = project.ribbon(command);
        let seconds = started.elapsed().as_secs_f64();
        assert_eq!(run.code, Some(0), "{}{}", run.out, run.err);
        seconds
    })
}

fn tell(name: &str, size: usize, seconds: [f64; ACTS.len()], options: &Options) {
    for ((what, _), seconds) in ACTS.iter().zip(seconds) {
        let rate = 2.0 * options.jobs as f64 / seconds;
        let part = 100.0 * rate / limit(options);
        println!("{name:8} {size:>8} {what:>6} {seconds:>9.2} {rate:>14.0} {part:>6.0} %");
    }
}

/// The port in a share's address.
fn port(share: &str) -> u16 {
    let (_, after) = share.split_once("127.0.0.1:").expect("test servers listen on this machine");
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a port")
}
