//! Whether the system ran out of memory while something ran.

use std::fs;

/// The count of processes that the system had killed for lack of memory, at some moment.
#[derive(Debug)]
pub struct OutOfMemory(Option<u64>);

impl OutOfMemory {
    /// Watches from now on.
    pub fn watch() -> OutOfMemory {
        OutOfMemory(killed())
    }

    /// Whether a process was killed since, whichever it was: the system counts them, also those that went over the
    /// limit of a container. False where it does not tell.
    pub fn killed_something(&self) -> bool {
        matches!((self.0, killed()), (Some(before), Some(now)) if now > before)
    }
}

fn killed() -> Option<u64> {
    count(&fs::read_to_string("/proc/vmstat").ok()?)
}

fn count(statistics: &str) -> Option<u64> {
    statistics.lines().find_map(|line| line.strip_prefix("oom_kill "))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn the_count_is_found_among_the_statistics() {
        assert_eq!(count("nr_free_pages 7\noom_kill 3\noom_kill_x 9\n"), Some(3));
        assert_eq!(count("nr_free_pages 7\n"), None);
    }
}
