//! A random walk with a drift. Does job after job: each line of standard input names a job file.

use std::error::Error;
use std::fmt::Write;
use std::fs;

use serde_json::{Value, json};

fn main() {
    for line in std::io::stdin().lines() {
        let answer = match line.map_err(Into::into).and_then(|line| work(&line)) {
            Ok(()) => json!({"event": "done"}),
            Err(error) => json!({"event": "error", "what": error.to_string()}),
        };
        println!("{answer}");
    }
}

/// Does the job of a request.
fn work(request: &str) -> Result<(), Box<dyn Error>> {
    let request: Value = serde_json::from_str(request)?;
    let job: Value = serde_json::from_str(&fs::read_to_string(text(&request["job"])?)?)?;
    let params = &job["params"];
    let drift = params["drift"].as_f64().ok_or("`drift` is not a number")?;
    let steps = params["steps"].as_u64().ok_or("`steps` is not a whole number")?;
    let seed = params["seed"].as_u64().ok_or("`seed` is not a whole number")?;
    fs::write(text(&job["outputs"]["path"])?, walk(drift, steps, seed))?;
    Ok(())
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("{value} is not text"))
}

/// The walk as CSV: a row a step, the drift in the name of the second column.
fn walk(drift: f64, steps: u64, mut state: u64) -> String {
    let mut csv = format!("step,{drift}\n");
    let mut place = 0.0;
    for step in 0..steps {
        // Knuth's linear congruential generator; its high bits are good enough for a picture.
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let uniform = (state >> 11) as f64 / (1u64 << 53) as f64;
        place += uniform - 0.5 + drift;
        writeln!(csv, "{},{place:.6}", step + 1).expect("a string takes all text");
    }
    csv
}

#[cfg(test)]
mod tests {
    use super::walk;

    #[test]
    fn a_walk_follows_its_seed_and_its_drift() {
        assert_eq!(walk(0.0, 100, 1), walk(0.0, 100, 1));
        assert_ne!(walk(0.0, 100, 1), walk(0.0, 100, 2));
        let end = |drift| -> f64 { walk(drift, 100, 1).trim().rsplit(',').next().unwrap().parse().unwrap() };
        assert!((end(0.1) - end(0.0) - 10.0).abs() < 1e-5);
    }
}
