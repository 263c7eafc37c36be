//! InPCA by passes over the distances beside scipy's `eigsh` of the centred matrix, on the same distances in one run:
//! `RIBBON_PYTHON=/path/of/python cargo bench -p spectral`, where that Python has numpy and scipy; without, scipy is left out.
//! Numbers of points may follow: `cargo bench -p spectral -- 2000`.
//!
//! Each measurement is a process of its own, so that its peak of memory is its own.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use ndarray::{Array2, Axis, s};
use spectral::{Distances, Settings};

const POINTS: [usize; 3] = [2_000, 10_000, 20_000];
const DIMENSIONS: usize = 50;
const THREADS: usize = 2;

/// In each repetition everything is measured once, in turn; the best of each is told: the machine may be shared.
const REPETITIONS: usize = 3;

/// W in f64, in place; then what scipy takes for its leading pairs, and both together.
const SCIPY: &str = r#"
import resource, sys, time
import numpy as np
from scipy.sparse.linalg import eigsh
path, points = sys.argv[1], int(sys.argv[2])
begin = time.perf_counter()
w = np.empty((points, points))
with open(path, "rb") as file:
    for row in w:
        row[:] = np.fromfile(file, np.float32, points)
means = w.mean(axis=1)
w -= means[:, None]
w -= means
w += means.mean()
w *= -0.5
start = time.perf_counter()
values, vectors = eigsh(w, 50, which="LM")
end = time.perf_counter()
order = np.argsort(-abs(values))
print(end - start, end - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, *values[order])
"#;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [mode, path, points, memory] = &arguments[..]
        && mode == "ours"
    {
        return ours(Path::new(path), points.parse()?, memory.parse()?);
    }
    let sizes = match arguments.is_empty() {
        true => POINTS.to_vec(),
        false => arguments.iter().map(|size| size.parse()).collect::<Result<_, _>>()?,
    };
    let python = std::env::var_os("RIBBON_PYTHON");
    println!(
        "{DIMENSIONS} pairs, {THREADS} threads, from a file of distances; eigsh alone, and with reading and centring;"
    );
    println!("MB: the peak of the process; of held distances the ratios of time to both and of memory;");
    println!("the largest difference of eigenvalues, relative to the largest");
    println!(
        "{:>7}  {:>9} {:>7} {:>6} {:>6} {:>6}  {:>9} {:>7}  {:>9} {:>9} {:>7}  {:>10}",
        "points",
        "held, s",
        "MB",
        "eigsh",
        "all",
        "MB",
        "read, s",
        "MB",
        "eigsh, s",
        "all, s",
        "MB",
        "difference"
    );
    for points in sizes {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("distances");
        write(&path, points).with_context(|| format!("{}", path.display()))?;
        let us = |memory: u64| {
            let mut command = Command::new(std::env::current_exe()?);
            // The threads are its own: those that OpenBLAS has from the start would turn round on the same cores.
            command.env("OPENBLAS_NUM_THREADS", "1");
            measure(command.arg("ours").arg(&path).args([points.to_string(), memory.to_string()]))
        };
        // Enough for everything, and for little more than the vectors.
        let (plenty, little) = (u64::MAX, 60_000_000 + 5_000 * points as u64);
        let (mut held, mut read, mut scipy) = (None, None, None);
        for _ in 0..REPETITIONS {
            best(&mut held, us(plenty)?);
            best(&mut read, us(little)?);
            if let Some(python) = &python {
                let mut script = Command::new(python);
                script.args(["-c", SCIPY]).arg(&path).arg(points.to_string());
                best(&mut scipy, measure(script.env("OPENBLAS_NUM_THREADS", THREADS.to_string()))?);
            }
        }
        let ratio = |of: fn(&Measured) -> f64| match (&held, &scipy) {
            (Some(held), Some(scipy)) => format!("{:.3}", of(held) / of(scipy)),
            _ => String::new(),
        };
        let alone = match (&held, &scipy) {
            (Some(held), Some(scipy)) => format!("{:.3}", held.seconds / scipy.alone),
            _ => String::new(),
        };
        let [times, peaks] = [ratio(|measured| measured.seconds), ratio(|measured| measured.peak)];
        let cells = |measured: &Option<Measured>| match measured {
            Some(measured) => [format!("{:.3}", measured.seconds), format!("{:.0}", measured.peak / 1e6)],
            None => [const { String::new() }; 2],
        };
        let ([held_s, held_mb], [read_s, read_mb], [scipy_s, scipy_mb]) =
            (cells(&held), cells(&read), cells(&scipy));
        let eigsh_s = scipy.as_ref().map_or(String::new(), |scipy| format!("{:.3}", scipy.alone));
        let difference = match (&held, &scipy) {
            (Some(held), Some(scipy)) => {
                let pairs = held.values.iter().zip(&scipy.values);
                let largest = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                format!("{:.1e}", largest / scipy.values[0].abs())
            }
            _ => String::new(),
        };
        println!(
            "{points:>7}  {held_s:>9} {held_mb:>7} {alone:>6} {times:>6} {peaks:>6}  {read_s:>9} {read_mb:>7}  {eigsh_s:>9} {scipy_s:>9} {scipy_mb:>7}  {difference:>10}"
        );
    }
    Ok(())
}

/// What a process says of itself.
struct Measured {
    /// Without what comes before the eigenpairs; ours does both at once.
    alone: f64,
    seconds: f64,
    /// Bytes.
    peak: f64,
    /// Eigenvalues.
    values: Vec<f64>,
}

fn measure(command: &mut Command) -> Result<Measured> {
    let output = command.env_remove("OPENBLAS_CORETYPE").stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{command:?}: {}", output.status);
    let numbers = String::from_utf8(output.stdout)?;
    let numbers = numbers.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    let [alone, seconds, peak, ref values @ ..] = numbers[..] else { bail!("{command:?} told {numbers:?}") };
    Ok(Measured { alone, seconds, peak, values: values.to_vec() })
}

fn best(held: &mut Option<Measured>, new: Measured) {
    *held = Some(match held.take() {
        Some(held) => Measured {
            alone: held.alone.min(new.alone),
            seconds: held.seconds.min(new.seconds),
            peak: held.peak.min(new.peak),
            values: new.values,
        },
        None => new,
    });
}

/// Distances as a file has them: f32, row by row.
struct OnDisk {
    file: File,
    points: usize,
}

impl Distances for OnDisk {
    fn points(&self) -> usize {
        self.points
    }

    fn read(&self, rows: Range<usize>, cols: Range<usize>, out: &mut [f64]) -> io::Result<()> {
        let mut bytes = vec![0; 4 * cols.len()];
        for (row, out) in rows.zip(out.chunks_exact_mut(cols.len())) {
            self.file.read_exact_at(&mut bytes, 4 * (row * self.points + cols.start) as u64)?;
            let (values, _) = bytes.as_chunks::<4>();
            out.iter_mut().zip(values).for_each(|(out, value)| *out = f64::from(f32::from_le_bytes(*value)));
        }
        Ok(())
    }
}

/// Embeds, and prints seconds, the peak of memory, and eigenvalues.
fn ours(path: &Path, points: usize, memory: u64) -> Result<()> {
    let distances = OnDisk { file: File::open(path)?, points };
    let start = Instant::now();
    let settings = Settings { dimensions: DIMENSIONS, threads: THREADS, memory, weights: None };
    let embedding = spectral::embed(&distances, &settings, |_| ())?;
    let seconds = start.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let peak: f64 = peak.trim().trim_end_matches(" kB").parse()?;
    let values: Vec<String> = embedding.eigenvalues.iter().map(f64::to_string).collect();
    println!("{seconds} {seconds} {} {}", peak * 1024.0, values.join(" "));
    Ok(())
}

/// Distances between points of trajectories, as networks' are: from one place to another, each on a way of its own, whose
/// waves are shorter and lower the higher their number, with a little noise; and not squared lengths, so that
/// some eigenvalues are negative. The spectrum falls slowly.
fn write(path: &Path, points: usize) -> Result<()> {
    const LENGTH: usize = 50;
    const SPACE: usize = 400;
    let mut state = 7_u64;
    let mut random = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    };
    let mut places = Array2::<f64>::zeros((points, SPACE));
    for mut trajectory in places.axis_chunks_iter_mut(Axis(0), LENGTH) {
        let waves: Vec<[f64; 2]> = (0..SPACE).map(|_| [random(), random()]).collect();
        for (step, mut place) in trajectory.rows_mut().into_iter().enumerate() {
            let t = step as f64 / (LENGTH - 1) as f64;
            for (number, (x, [height, shift])) in place.iter_mut().zip(&waves).enumerate() {
                let wave = (t * (1.0 + number as f64 / 8.0) * 3.0 + shift).sin() - shift.sin();
                *x = height * wave * (1.0 - 0.5 * t) / (1.0 + number as f64).sqrt() + 0.01 * random();
            }
            place[0] += 2.0 * t;
        }
    }
    let lengths: Vec<f64> = places.rows().into_iter().map(|place| place.dot(&place)).collect();
    let mut file = BufWriter::new(File::create(path)?);
    for rows in (0..points).collect::<Vec<_>>().chunks(256) {
        let products = places.slice(s![rows[0]..rows[0] + rows.len(), ..]).dot(&places.t());
        for (&row, products) in rows.iter().zip(products.rows()) {
            for (col, product) in products.iter().enumerate() {
                let squared = (lengths[row] + lengths[col] - 2.0 * product).max(0.0);
                let distance = if row == col { 0.0 } else { squared + 0.1 * squared * squared };
                file.write_all(&(distance as f32).to_le_bytes())?;
            }
        }
    }
    file.flush()?;
    Ok(())
}
