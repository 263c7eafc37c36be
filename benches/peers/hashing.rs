//! Hashing a large file: the memo's way beside `b3sum`.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use hyperribbon::store::Memo;

use super::measure::median;

/// Hashes a file of so many bytes in turn with `b3sum`, and shows bytes a second.
pub fn compare(folder: &Path, bytes: u64, rounds: usize) {
    let path = folder.join("large");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    for word in 0..bytes / 8 {
        file.write_all(&word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).unwrap();
    }
    file.into_inner().unwrap().sync_all().unwrap();
    let memo = Memo::open(Path::new("/nonexistent"), true);
    let timed = |act: &mut dyn FnMut()| {
        let started = Instant::now();
        act();
        bytes as f64 / started.elapsed().as_secs_f64() / 1e9
    };
    let mut b3sum = Command::new("b3sum");
    b3sum.arg(&path).stdout(Stdio::null());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(timed(&mut || assert!(memo.hash(&path).is_ok())));
        theirs
            .push(timed(&mut || assert!(b3sum.status().is_ok_and(|it| it.success()), "cargo install b3sum")));
    }
    fs::remove_file(&path).unwrap();
    let (ours, theirs) = (median(ours), median(theirs));
    println!("{bytes} bytes: ribbon {ours:.2} GB/s, b3sum {theirs:.2} GB/s, ratio {:.2}", ours / theirs);
}
