//! The control groups of this process that account for memory, of both versions: a container, a job of Slurm.

use std::fs;
use std::path::{Path, PathBuf};

/// Where control groups are.
const ROOT: &str = "/sys/fs/cgroup";

/// A control group that accounts for memory.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// Where its files are.
    pub folder: PathBuf,
    /// The version of control groups: what its files are called.
    pub version: Version,
}

/// The version of control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy a resource.
    One,
    /// One hierarchy.
    Two,
}

/// Those of this process.
pub fn own() -> Vec<Group> {
    groups(Path::new(ROOT), &fs::read_to_string("/proc/self/cgroup").unwrap_or_default())
}

/// Bytes that this process and those it starts may still take before a limit of their groups, or of one that these are in, is
/// reached; none where there is no limit. What only keeps files at hand counts as free.
pub fn memory_left() -> Option<u64> {
    own().iter().filter_map(|group| left(Path::new(ROOT), group)).min()
}

/// The groups of a `/proc/self/cgroup`.
fn groups(root: &Path, text: &str) -> Vec<Group> {
    let group = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (folder, version) = match (parts.next()?, parts.next()?) {
            ("", path) => (root.join(path.trim_start_matches('/')), Version::Two),
            ("memory", path) => (root.join("memory").join(path.trim_start_matches('/')), Version::One),
            _ => return None,
        };
        Some(Group { folder, version })
    };
    text.lines().filter_map(group).collect()
}

/// The least that is left of the limits of a group and of those above it. A container may see only itself, at the root, and
/// be told a path that is not there.
fn left(root: &Path, group: &Group) -> Option<u64> {
    let [limit, usage, files] = match group.version {
        Version::One => ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "],
        Version::Two => ["memory.max", "memory.current", "inactive_file "],
    };
    let left = |folder: &Path| {
        let number = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
        let (limit, used) = (number(limit)?, number(usage)?);
        let statistics = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let files = statistics.lines().find_map(|line| line.strip_prefix(files)?.parse::<u64>().ok());
        Some(limit.saturating_sub(used.saturating_sub(files.unwrap_or(0))))
    };
    group.folder.ancestors().take_while(|folder| folder.starts_with(root)).filter_map(left).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_account_for_memory_are_found() {
        let found = groups(Path::new("/g"), "4:memory:/a:b\n1:cpu:/c\n0::/d\n\n");
        let group = |folder: &str, version| Group { folder: folder.into(), version };
        assert_eq!(found, [group("/g/memory/a:b", Version::One), group("/g/d", Version::Two)]);
    }

    #[test]
    fn what_is_left_is_the_least_of_all_limits_above() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let left = |text: &str| left(root.path(), &groups(root.path(), text)[0]);
        assert_eq!(left("0::/slurm/job/step"), None);
        write("slurm/job/memory.max", "1000\n");
        write("slurm/job/memory.current", "700\n");
        write("slurm/job/memory.stat", "anon 300\ninactive_file 400\n");
        write("slurm/job/step/memory.max", "max\n");
        write("slurm/job/step/memory.current", "500\n");
        assert_eq!(left("0::/slurm/job/step"), Some(700));
        write("slurm/memory.max", "900\n");
        write("slurm/memory.current", "800\n");
        assert_eq!(left("0::/slurm/job/step"), Some(100));
        write("memory/memory.limit_in_bytes", "50\n");
        write("memory/memory.usage_in_bytes", "60\n");
        assert_eq!(left("3:memory:/docker/not-seen-from-here"), Some(0));
    }
}
