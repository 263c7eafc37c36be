//! The sandbox of a stage's processes: which files they open, and that they reach no network.
//!
//! Files: Landlock, which any process may put on itself, also in containers. Its rules allow folders and what lies
//! below; everything else is refused, but not hidden. A process has them for its life: so a worker's folder is allowed
//! as a whole, and inputs of its jobs are placed in it.
//!
//! Network: a seccomp filter that lets programs make sockets of no kind but Unix's. Landlock knows TCP only, and an
//! empty network namespace needs rights that containers and some distributions do not give.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
    Scope, path_beneath_rules,
};
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Where systems keep programs, libraries, fonts and what is told of the machine.
const SYSTEM: [&str; 16] = [
    "/bin",
    "/etc",
    "/gnu/store",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/opt",
    "/proc",
    "/sbin",
    "/sys",
    "/usr",
    "/var/cache/fontconfig",
    "/var/lib/texmf",
    "/dev/pts",
];

/// Devices that hold nothing of anybody, and shared memory.
const DEVICES: [&str; 8] = [
    "/dev/full",
    "/dev/null",
    "/dev/ptmx",
    "/dev/random",
    "/dev/shm",
    "/dev/tty",
    "/dev/urandom",
    "/dev/zero",
];

/// What the names of GPUs' devices begin with: NVIDIA, direct rendering, AMD, Windows' subsystem for Linux.
const GPUS: [&str; 4] = ["nvidia", "dri", "kfd", "dxg"];

/// What several processes of a card may share it by, NVIDIA's MPS: where its server is found.
const SHARING: (&str, &str) = ("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps");

/// Where processes have their names, and their threads. NVIDIA's driver, from 570 on, names its threads, and is of no use
/// where it may not.
const NAMES: &str = "/proc";

/// Variables that name files or folders which every job may read: libraries.
const LIBRARIES: [&str; 2] = ["LD_LIBRARY_PATH", "CUDA_HOME"];

/// Variables that name files or folders which a job with a network may read: certificates, given data.
const NETWORK: [&str; 5] =
    ["SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "RIBBON_DATA"];

/// The newest rights this file knows of; of them, those the kernel knows are refused where no rule gives them.
const NEWEST: ABI = ABI::V6;

/// What a stage's processes may reach beside their own folder and the system's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Reach {
    /// Files and folders to read, so far as they are there: the program, its code.
    pub reads: Vec<PathBuf>,
    /// Folders whose names, and those of folders in them, are told, and no more.
    pub lists: Vec<PathBuf>,
    /// The stage's `reads`: folders that have to be there.
    pub declared: Vec<PathBuf>,
    /// Folders that hold other people's work: of a system's folder that lies above one, only what is beside it is read.
    pub closed: Vec<PathBuf>,
    /// Whether they reach the network, and may write to the cache folder what they get there.
    pub network: bool,
    /// Whether they use GPUs.
    pub gpus: bool,
}

/// What a process may do, once it has entered.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rules {
    reads: Vec<PathBuf>,
    lists: Vec<PathBuf>,
    writes: Vec<PathBuf>,
    /// Files in these are written, and none made or removed.
    changes: Vec<PathBuf>,
    network: bool,
}

/// Whether the kernel has what files are guarded with.
pub fn guards_files() -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    ruleset.handle_access(AccessFs::from_all(ABI::V1)).and_then(Ruleset::create).is_ok()
}

/// The folder for what is kept between runs and projects: libtorch, downloads.
fn cache() -> Option<PathBuf> {
    let path = |name| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    path("RIBBON_CACHE")
        .or_else(|| Some(path("XDG_CACHE_HOME")?.join("hyperribbon")))
        .or_else(|| Some(path("HOME")?.join(".cache/hyperribbon")))
}

/// What has to be readable for a program to start: itself, and the folder it is installed in, with and without links
/// followed: `/home/me/envs/paper` of `/home/me/envs/paper/bin/python`. `closed` folders, what is above, and what is in them
/// are not: of a project's own folders a stage says which it reads.
pub fn installation(program: &Path, closed: &[PathBuf]) -> Vec<PathBuf> {
    let real = fs::canonicalize(program).unwrap_or_else(|_| program.to_owned());
    let mut reads = Vec::new();
    for program in [program.to_owned(), real] {
        let folder = program.parent();
        let is_bin = |folder: &&Path| folder.ends_with("bin") || folder.ends_with("shims");
        let installed = folder.filter(is_bin).and_then(Path::parent);
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let is_closed = |folder: &Path| {
            closed.iter().chain(&home).any(|closed| closed.starts_with(folder))
                || closed.iter().any(|closed| folder.starts_with(closed))
        };
        reads.extend(installed.filter(|folder| !is_closed(folder)).map(Path::to_owned));
        reads.push(program);
    }
    reads
}

impl Rules {
    /// The rules for processes that work in a folder, of which they write `writes`.
    pub fn new(reach: &Reach, folder: &Path, writes: &[PathBuf]) -> Rules {
        let named = |names: &[&str]| -> Vec<PathBuf> {
            let values = names.iter().filter_map(std::env::var_os);
            values.flat_map(|value| std::env::split_paths(&value).collect::<Vec<_>>()).collect()
        };
        let open = |folders: Vec<PathBuf>| -> Vec<PathBuf> {
            folders
                .into_iter()
                .filter(|folder| folder.is_absolute())
                .flat_map(|folder| beside(folder, &reach.closed))
                .collect()
        };
        let mut reads: Vec<PathBuf> = SYSTEM.map(PathBuf::from).into();
        reads.extend(named(&LIBRARIES));
        reads.extend(cache());
        let mut written: Vec<PathBuf> = DEVICES.map(PathBuf::from).into();
        if reach.network {
            reads.extend(named(&NETWORK));
            // Often a link to a folder of what the system is doing.
            reads.extend(fs::canonicalize("/etc/resolv.conf"));
            written.extend(cache());
        }
        let mut reads = open(reads);
        reads.extend(reach.reads.iter().chain(&reach.declared).cloned());
        reads.push(folder.to_owned());
        let mut written = open(written);
        let mut changes = Vec::new();
        if reach.gpus {
            written.extend(gpus());
            written.push(std::env::var_os(SHARING.0).map_or(SHARING.1.into(), PathBuf::from));
            changes.push(NAMES.into());
        }
        written.extend(writes.iter().cloned());
        Rules { reads, lists: reach.lists.clone(), writes: written, changes, network: reach.network }
    }

    /// The rules as words for [`Rules::from_words`].
    pub fn words(&self) -> Vec<OsString> {
        let word = |sign: &str, path: &Path| {
            let mut word = OsString::from(sign);
            word.push(path);
            word
        };
        let reads = self.reads.iter().map(|path| word("r", path));
        let lists = self.lists.iter().map(|path| word("l", path));
        let writes = self.writes.iter().map(|path| word("w", path));
        let changes = self.changes.iter().map(|path| word("c", path));
        reads.chain(lists).chain(writes).chain(changes).chain(self.network.then(|| "n".into())).collect()
    }

    /// The rules from their words.
    ///
    /// # Errors
    /// When a word is none of theirs.
    pub fn from_words(words: &[OsString]) -> io::Result<Rules> {
        use std::os::unix::ffi::OsStrExt;
        let mut rules = Rules::default();
        for word in words {
            let path = || OsStr::from_bytes(&word.as_bytes()[1..]).into();
            match word.as_bytes().first() {
                Some(b'r') => rules.reads.push(path()),
                Some(b'l') => rules.lists.push(path()),
                Some(b'w') => rules.writes.push(path()),
                Some(b'c') => rules.changes.push(path()),
                Some(b'n') => rules.network = true,
                _ => return Err(io::Error::other(format!("{} is no rule of a sandbox", word.display()))),
            }
        }
        Ok(rules)
    }

    /// Puts the rules on this process, and all it will start, for good. What the kernel does not have is left out.
    ///
    /// # Errors
    /// When the kernel has it and refuses.
    pub fn enter(&self) -> io::Result<()> {
        // Nobody needs to make device files, by which a privileged user could reach everything.
        let write = AccessFs::from_all(NEWEST) & !(AccessFs::MakeChar | AccessFs::MakeBlock);
        let read: BitFlags<AccessFs> = AccessFs::from_read(NEWEST);
        Ruleset::default()
            .handle_access(AccessFs::from_all(NEWEST))
            .and_then(|ruleset| ruleset.scope(Scope::from_all(NEWEST)))
            .and_then(Ruleset::create)
            .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(&self.reads, read)))
            .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(&self.lists, AccessFs::ReadDir)))
            .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(&self.writes, write)))
            .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(&self.changes, AccessFs::WriteFile)))
            .and_then(|ruleset| ruleset.restrict_self())
            .map_err(io::Error::other)?;
        if !self.network {
            let filter = no_network().map_err(io::Error::other)?;
            match seccompiler::apply_filter(&filter) {
                Ok(()) => {}
                Err(seccompiler::Error::Seccomp(error) | seccompiler::Error::Prctl(error)) => {
                    // A kernel without filters.
                    if !matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) {
                        return Err(error);
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(())
    }
}

/// The devices of GPUs. That of NVIDIA's unified memory is not there before something has used it, and a job could not make
/// it: no program that it starts has more rights than itself.
fn gpus() -> Vec<PathBuf> {
    if Path::new("/dev/nvidiactl").exists() && !Path::new("/dev/nvidia-uvm").exists() {
        // Where this cannot be had, CUDA says what it lacks.
        let mut make = Command::new("nvidia-modprobe");
        let _ = make
            .args(["-c", "0", "-u"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
    let is_gpu = |name: &OsStr| GPUS.iter().any(|gpu| name.to_string_lossy().starts_with(gpu));
    let devices = fs::read_dir("/dev").into_iter().flatten().flatten();
    devices.filter(|entry| is_gpu(&entry.file_name())).map(|entry| entry.path()).collect()
}

/// Of a folder that lies above closed ones, what is beside these; another folder is itself.
fn beside(folder: PathBuf, closed: &[PathBuf]) -> Vec<PathBuf> {
    if closed.contains(&folder) {
        return Vec::new();
    }
    if !closed.iter().any(|closed| closed.starts_with(&folder)) {
        return vec![folder];
    }
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    entries.flat_map(|entry| beside(entry.path(), closed)).collect()
}

/// Refuses sockets that are not Unix's; and rings of system calls, by which a program could ask for one unseen.
fn no_network() -> Result<BpfProgram, seccompiler::BackendError> {
    let is_other = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Ne,
        libc::AF_UNIX.unsigned_abs().into(),
    )?;
    let refused =
        [(libc::SYS_socket, vec![SeccompRule::new(vec![is_other])?]), (libc::SYS_io_uring_setup, Vec::new())];
    SeccompFilter::new(
        refused.into(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EACCES.unsigned_abs()),
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_come_back_from_their_words() {
        let (reads, lists) = (vec!["/srv/a b".into()], vec!["/srv".into()]);
        let reach = Reach { reads, lists: lists.clone(), network: true, gpus: true, ..Reach::default() };
        let rules = Rules::new(&reach, Path::new("/w0"), &["/w0/out".into()]);
        assert_eq!(Rules::from_words(&rules.words()).unwrap(), rules);
        assert!(Rules::from_words(&["x/tmp".into()]).is_err() && Rules::from_words(&["".into()]).is_err());
        assert!(rules.reads.contains(&PathBuf::from("/srv/a b")) && rules.network && rules.lists == lists);
        assert!(rules.writes.contains(&PathBuf::from("/w0/out")));
    }

    #[test]
    fn of_a_system_folder_above_a_project_only_what_is_beside_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        ["tool", "me/project", "me/notes"].iter().for_each(|path| fs::create_dir_all(at(path)).unwrap());
        let mut open = beside(folder.path().to_owned(), &[at("me/project")]);
        open.sort();
        assert_eq!(open, [at("me/notes"), at("tool")]);
        assert_eq!(beside(at("tool"), &[at("me/project")]), [at("tool")]);
        assert!(beside(at("me/project"), &[at("me/project")]).is_empty());
    }

    #[test]
    fn a_program_is_read_with_what_it_is_installed_in_but_no_home_or_project() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let at = |path: &str| folder.join(path);
        ["env/bin", "real/bin", "project/bin"].iter().for_each(|path| fs::create_dir_all(at(path)).unwrap());
        fs::write(at("real/bin/python"), "").unwrap();
        std::os::unix::fs::symlink(at("real/bin/python"), at("env/bin/python")).unwrap();
        let reads = installation(&at("env/bin/python"), &[]);
        assert_eq!(reads, [at("env"), at("env/bin/python"), at("real"), at("real/bin/python")]);
        // Neither a project nor a folder of it.
        fs::create_dir_all(at("project/tools/bin")).unwrap();
        for tool in [at("project/bin/tool"), at("project/tools/bin/tool")] {
            fs::write(&tool, "").unwrap();
            assert_eq!(installation(&tool, &[at("project")]), [tool.clone(), tool]);
        }
    }
}
