//! How long a frame of the interactive embedding takes in headless Chromium, drawn by the processor (SwiftShader):
//! `cargo bench --bench frames` for this crate's manifest.
//!
//! The figure is turned by a pointer, a step a frame, with the browser's limit of frames a second taken off. A frame is the
//! time from one to the next. The browser asks for the next one before it has drawn the last: a pixel that is read back at the
//! end waits for all of them, and the mean is of the time until then.

#[path = "../tests/browser/chromium.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod chromium;
#[path = "../tests/browser/sample.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod sample;

use chromium::Chromium;
use sample::Sample;

/// Seeds and checkpoints of 36 configurations.
const SIZES: [(usize, usize); 3] = [(2, 24), (8, 70), (60, 70)];
const FRAMES: usize = 200;

fn main() {
    let Some(mut browser) = Chromium::start(&["--disable-frame-rate-limit", "--disable-gpu-vsync"]) else {
        return;
    };
    browser.show((1280, 800), false);
    println!(
        "{:>8}  {:>6}  {:>16}  {:>14}  {:>8}",
        "points", "lines", "median frame, ms", "95 %, ms", "mean, ms"
    );
    for (seeds, checkpoints) in SIZES {
        let sample = Sample::new(seeds, checkpoints);
        browser.open(&sample.embedding());
        for lines in [true, false] {
            browser.evaluate(&format!(
                "{{ const lines = document.getElementById('lines'); if (lines.checked !== {lines}) lines.click(); }}"
            ));
            let times = browser.evaluate(&format!(
                "new Promise((done) => {{
                   const canvas = document.getElementById('canvas');
                   const move = (kind, x) => canvas.dispatchEvent(new PointerEvent(kind,
                     {{ pointerId: 1, clientX: x, clientY: 300, buttons: 1, bubbles: true }}));
                   canvas.setPointerCapture = () => {{}};
                   move('pointerdown', 0);
                   const [gl, pixel, times] = [canvas.getContext('webgl'), new Uint8Array(4), []];
                   const step = (now) => {{
                     times.push(now);
                     if (times.length > {FRAMES}) {{
                       gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
                       const mean = (performance.now() - times[0]) / {FRAMES};
                       move('pointerup', 9999);
                       return done([times, mean]);
                     }}
                     move('pointermove', 5 * times.length);
                     requestAnimationFrame(step);
                   }};
                   requestAnimationFrame(step);
                 }})"
            ));
            let mean = times[1].as_f64().unwrap();
            let times: Vec<f64> =
                times[0].as_array().unwrap().iter().filter_map(|time| time.as_f64()).collect();
            let mut frames: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            frames.sort_by(f64::total_cmp);
            let [median, late] = [0.5, 0.95].map(|share| frames[(share * frames.len() as f64) as usize]);
            let points = seeds * checkpoints * 36;
            let lines = if lines { "with" } else { "none" };
            println!("{points:>8}  {lines:>6}  {median:>16.1}  {late:>14.1}  {mean:>8.1}");
        }
    }
}
