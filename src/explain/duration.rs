//! Times as people say them.

use indicatif::HumanCount;

/// A time for people: `20 ms`, `3.4 s`, `12 min`, `2 h 5 min`, `1,210 h`.
pub fn duration(seconds: f64) -> String {
    let minutes = ((seconds + 30.0) / 60.0) as u64;
    let hours = minutes / 60;
    match () {
        () if seconds < 0.1 => format!("{:.0} ms", seconds * 1000.0),
        () if seconds < 100.0 => format!("{seconds:.1} s"),
        () if minutes < 100 => format!("{minutes} min"),
        () if hours < 100 => format!("{hours} h {} min", minutes % 60),
        () => format!("{} h", HumanCount((minutes + 30) / 60)),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn times_are_told_in_the_unit_that_people_use() {
        assert_eq!([0.02, 3.44, 130.0, 7500.0].map(duration), ["20 ms", "3.4 s", "2 min", "2 h 5 min"]);
        assert_eq!([359_000.0, 360_000.0, 4_357_000.0].map(duration), ["99 h 43 min", "100 h", "1,210 h"]);
    }
}
