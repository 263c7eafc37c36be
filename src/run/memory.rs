//! Whether the system ran out of memory while something ran.

use std::fs;

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
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut files = groups.lines().filter_map(statistics_of).chain(["/proc/vmstat".to_owned()]);
    files.find_map(|file| count(&fs::read_to_string(file).ok()?))
}

/// Where a control group that accounts for memory counts its own processes, of both versions of control groups.
fn statistics_of(group: &str) -> Option<String> {
    let mut parts = group.splitn(3, ':').skip(1);
    match (parts.next()?, parts.next()?) {
        ("", path) => Some(format!("/sys/fs/cgroup{path}/memory.events.local")),
        ("memory", path) => Some(format!("/sys/fs/cgroup/memory{path}/memory.oom_control")),
        _ => None,
    }
}

fn count(statistics: &str) -> Option<u64> {
    statistics.lines().find_map(|line| line.strip_prefix("oom_kill "))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{count, statistics_of};

    #[test]
    fn the_count_is_found_among_the_statistics() {
        assert_eq!(count("nr_free_pages 7\noom_kill 3\noom_kill_x 9\n"), Some(3));
        assert_eq!(count("nr_free_pages 7\n"), None);
    }

    #[test]
    fn a_control_group_counts_its_own() {
        let files: Vec<_> = "4:memory:/a:b\n1:cpu:/c\n0::/d\n\n".lines().filter_map(statistics_of).collect();
        assert_eq!(
            files,
            ["/sys/fs/cgroup/memory/a:b/memory.oom_control", "/sys/fs/cgroup/d/memory.events.local"]
        );
    }
}
