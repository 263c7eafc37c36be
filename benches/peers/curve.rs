//! The curve: what one job costs in a cold run, as the number of jobs grows.

use super::Bench;
use super::measure::{Taken, median};
use super::workload::REST;

/// Runs cold with each number of jobs, and shows the cost of one.
pub fn show(bench: &Bench, sizes: &[usize], rounds: usize) {
    println!("microseconds a job, wall (processor), cold\n");
    let tools = bench.tools();
    let names: Vec<&str> = tools.iter().map(|tool| tool.name()).collect();
    println!("| jobs | {} |\n|---|{}", names.join(" | "), "---|".repeat(tools.len()));
    for size in sizes {
        let configurations = size.saturating_sub(REST).div_ceil(2);
        let mut taken: Vec<Vec<Taken>> = vec![Vec::new(); tools.len()];
        for _ in 0..rounds {
            for (tool, taken) in tools.iter().zip(&mut taken) {
                let workload = bench.workload(*tool, configurations);
                let one = bench.run(&workload);
                assert_eq!(one.jobs, workload.jobs(), "{workload:?}");
                taken.push(one);
            }
        }
        let jobs = (2 * configurations + REST) as f64;
        let cells: Vec<String> = taken
            .iter()
            .map(|taken| {
                let of = |what: fn(&Taken) -> f64| median(taken.iter().map(what)) / jobs * 1e6;
                format!("**{:.0}** ({:.0})", of(|it| it.wall), of(|it| it.cpu))
            })
            .collect();
        println!("| {jobs} | {} |", cells.join(" | "));
    }
}
