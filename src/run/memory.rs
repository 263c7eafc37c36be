//! Whether the system ran out of memory while something ran.

use std::fs;

use crate::cgroups::{self, Group, Version};

/// The count of processes that were killed for lack of memory, at some moment.
#[derive(Debug)]
pub struct OutOfMemory(Option<u64>);

impl OutOfMemory {
    /// Watches from now on.
    pub fn watch() -> OutOfMemory {
        OutOfMemory(killed())
    }

    /// Whether a process was killed since, for lack of memory of the machine or of a container: one of the control
    /// group of this process, to which its jobs belong too, or any where there are no control groups. False where the
    /// system does not tell.
    pub fn killed_something(&self) -> bool {
        matches!((self.0, killed()), (Some(before), Some(now)) if now > before)
    }
}

fn killed() -> Option<u64> {
    let groups = cgroups::own().into_iter().map(|Group { folder, version }| match version {
        Version::One => folder.join("memory.oom_control"),
        // Not of those in it.
        Version::Two => folder.join("memory.events.local"),
    });
    let mut files = groups.chain(["/proc/vmstat".into()]);
    files.find_map(|file| count(&fs::read_to_string(file).ok()?))
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
