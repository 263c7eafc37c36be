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

/// Times push and pull.
#[derive(Debug, Parser)]
struct Options {
    /// Jobs, each with one output.
    #[arg(long, default_value_t = 4600)]
    jobs: usize,
    /// Bytes of an output. Small ones travel in their records; from 32 KiB on they are files of their own.
    #[arg(long, value_delimiter = ',', default_value = "100,40000")]
    size: Vec<usize>,
    /// Milliseconds from a request to its answer.
    #[arg(long, default_value_t = 20)]
    latency: u64,
    /// Requests in flight.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Cargo says so to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    println!(
        "{} jobs, {} connections, {} ms: at most {:.0} requests/s",
        options.jobs,
        options.connections,
        options.latency,
        best(&options)
    );
    println!("{:8} {:>8} {:>6} {:>9} {:>14} {:>8}", "server", "bytes", "", "seconds", "things/s", "of best");
    for &size in &options.size {
        let made = made(&options, size);
        for (name, server) in [("S3", servers::s3()), ("WebDAV", servers::webdav())] {
            if let Some(server) = server {
                measure(name, &server, &made, size, &options);
            }
        }
    }
}

/// Requests a second that the line allows.
fn best(options: &Options) -> f64 {
    options.connections as f64 * 1000.0 / options.latency as f64
}

/// A project whose jobs have run.
fn made(options: &Options, size: usize) -> Scratch {
    let numbers: Vec<String> = (0..options.jobs).map(|n| n.to_string()).collect();
    let pipeline = format!(
        "version: 1\nprofile: quick\nprofiles: {{quick: {{about: many jobs}}}}\n\
         sweeps: {{numbers: {{matrix: {{n: [{}]}}}}}}\nstages:\n  many:\n    \
         run: [sh, -c, 'head -c {size} /dev/zero | tr \"\\0\" x > {{outputs.made}}; echo $1 >> {{outputs.made}}', \
         sh, '{{params.n}}']\n    each: number in numbers\n    params: {{n: $number.n}}\n    \
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

fn measure(name: &str, server: &Server, made: &Scratch, size: usize, options: &Options) {
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
    let mut from = project(&format!("{name}-{size}-up"));
    from.set("RIBBON_STORE", made.path(".ribbon/store").to_str().unwrap());
    let to = project(&format!("{name}-{size}-down"));
    // With it, the records would not have to come.
    to.remove("pipeline.lock");
    for (what, project, command) in
        [("up", &from, "push"), ("again", &from, "push"), ("down", &to, "pull many")]
    {
        let started = Instant::now();
        let run = project.ribbon(command);
        let seconds = started.elapsed().as_secs_f64();
        assert_eq!(run.code, Some(0), "{}{}", run.out, run.err);
        let rate = 2.0 * options.jobs as f64 / seconds;
        let part = 100.0 * rate / best(options);
        println!("{name:8} {size:>8} {what:>6} {seconds:>9.2} {rate:>14.0} {part:>6.0} %");
    }
}

/// The port in a share's address.
fn port(share: &str) -> u16 {
    let (_, after) = share.split_once("127.0.0.1:").expect("test servers listen on this machine");
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a port")
}
