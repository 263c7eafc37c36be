//! Building, on tiny workspaces with the real cargo.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::{Builder, Error, Wanted};
use crate::code::{self, Code, Files, Workspace};
use crate::hash::Hash;

/// A workspace of the program `hello`, which prints its own word and that of the path crate `word`.
struct Clone {
    root: TempDir,
    target: PathBuf,
}

impl Clone {
    fn new(own: &str, word: &str) -> Clone {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("target");
        let clone = Clone { root, target };
        let package =
            |name: &str, rest: &str| format!("[[package]]\nname = \"{name}\"\nversion = \"0.0.0\"\n{rest}\n");
        let lock = package("hello", "dependencies = [\n \"word\",\n]\n") + &package("word", "");
        clone.write("Cargo.lock", &format!("version = 4\n\n{lock}"));
        clone.write("Cargo.toml", "[workspace]\nmembers = [\"hello\", \"word\"]\nresolver = \"3\"\n");
        let manifest = |name: &str| format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n");
        clone.write(
            "hello/Cargo.toml",
            &(manifest("hello") + "[dependencies]\nword = { path = \"../word\" }\n"),
        );
        clone.write("word/Cargo.toml", &manifest("word"));
        clone.say(own, word);
        clone
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        // Older than any build: by time alone, cargo would never see a change.
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1))
            .unwrap();
    }

    fn say(&self, own: &str, word: &str) {
        self.write("hello/src/main.rs", &format!("fn main() {{ println!(\"{own} {{}}\", word::word()) }}"));
        self.write("word/src/lib.rs", &format!("pub fn word() -> &'static str {{ \"{word}\" }}"));
    }

    fn code(&self) -> Result<Code, code::Error> {
        let mut files = Files::open(Path::new("no cache"), |path: &Path| Ok(Hash::of(&fs::read(path)?)));
        Workspace::open(self.root.path(), [])?.code("hello", &mut files)
    }

    fn state(&self) -> PathBuf {
        self.root.path().join(".ribbon")
    }

    fn builder(&self) -> Builder {
        self.builder_with([])
    }

    fn builder_with(&self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Builder {
        let own = [("CARGO_TARGET_DIR".into(), self.target.clone().into_os_string())];
        let inherited = std::env::vars_os().filter(|(name, _)| name != "RUSTFLAGS");
        Builder::new(self.root.path(), &self.state(), inherited.chain(own).chain(variables))
    }

    fn build(&self) -> Result<PathBuf, Error> {
        let programs = self.builder().binaries(&[self.wanted(&[])?], &mut |_| self.code(), &|_| {})?;
        Ok(programs["hello"].clone())
    }

    fn wanted(&self, pins: &[(&str, &[u8])]) -> Result<Wanted, code::Error> {
        let pins = pins.iter().map(|(name, text)| ((*name).to_owned(), Hash::of(text))).collect();
        Ok(Wanted { folder: "hello".to_owned(), code: self.code()?, pins })
    }

    fn output(&self) -> String {
        output_of(&self.build().unwrap())
    }
}

fn output_of(program: &Path) -> String {
    loop {
        match Command::new(program).output() {
            Ok(output) => return String::from_utf8(output.stdout).unwrap().trim().to_owned(),
            // Another test forked while the copy was open for writing; its child lets go at once.
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => thread::yield_now(),
            Err(error) => panic!("{}: {error}", program.display()),
        }
    }
}

/// An environment in which no cargo can be started.
fn without_cargo() -> [(OsString, OsString); 1] {
    [("CARGO".into(), "/nowhere/cargo".into())]
}

#[test]
fn two_clones_with_one_target_directory_do_not_mix() {
    let one = Clone::new("one", "first");
    let mut two = Clone::new("two", "second");
    two.target = one.target.clone();
    assert_eq!(one.output(), "one first");
    assert_eq!(two.output(), "two second");
    fs::remove_dir_all(one.state()).unwrap();
    assert_eq!(one.output(), "one first");
    // The crate that only one of them changed is told apart as well.
    two.say("two", "third");
    assert_eq!(two.output(), "two third");
}

#[test]
fn sources_and_not_their_times_decide_what_is_built() {
    let clone = Clone::new("one", "first");
    assert_eq!(clone.output(), "one first");
    clone.say("one", "second");
    assert_eq!(clone.output(), "one second");
    let kept = fs::read_dir(clone.state().join("bin")).unwrap().count();
    assert_eq!(kept, 2);
}

#[test]
fn a_program_is_built_again_when_what_it_is_linked_with_is_pinned_anew() {
    let clone = Clone::new("one", "first");
    let script = "fn main() { let lib = std::fs::read_link(\"../lib\").unwrap(); \
                  println!(\"cargo::rustc-env=LIB={}\", lib.display()); println!(\"cargo::rerun-if-changed=build.rs\"); }";
    clone.write("word/build.rs", script);
    clone.write("word/src/lib.rs", "pub fn word() -> &'static str { env!(\"LIB\") }");
    let output = |pin: &[u8]| {
        let wanted = [clone.wanted(&[("lib", pin)]).unwrap()];
        let programs = clone.builder().binaries(&wanted, &mut |_| clone.code(), &|_| {}).unwrap();
        output_of(&programs["hello"])
    };
    let link = clone.root.path().join("lib");
    for pin in ["lib-1", "lib-2"] {
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(pin, &link).unwrap();
        assert_eq!(output(pin.as_bytes()), format!("one {pin}"));
    }
    assert_eq!(output(b"lib-1"), "one lib-1", "it was kept");
}

#[test]
fn what_changed_while_it_was_built_and_changed_back_is_not_kept() {
    let clone = Clone::new("one", "first");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    clone.write("metadata", &format!("exec '{cargo}' metadata \"$@\""));
    // Once: the next attempt is left alone.
    clone.write(
        "build",
        &format!(
            "if [ ! -e once ]; then touch once; cp hello/src/main.rs kept; echo 'fn main() {{ println!(\"other\") }}' > \
             hello/src/main.rs; '{cargo}' build \"$@\"; cp kept hello/src/main.rs; exit; fi; exec '{cargo}' build \"$@\""
        ),
    );
    let wanted = [clone.wanted(&[]).unwrap()];
    let builder = clone.builder_with([("CARGO".into(), "/bin/sh".into())]);
    let programs = builder.binaries(&wanted, &mut |_| clone.code(), &|_| {}).unwrap();
    assert_eq!(output_of(&programs["hello"]), "one first");
}

#[test]
fn what_somebody_else_has_built_of_other_sources_gets_into_no_program() {
    let clone = Clone::new("one", "first");
    assert_eq!(clone.output(), "one first");
    clone.say("one", "second");
    // By their times the sources are older than any build: a person's cargo is made to look.
    let folders = fs::read_dir(clone.target.join("release/.fingerprint")).unwrap().flatten();
    for folder in folders.filter(|it| it.file_name().to_string_lossy().starts_with("word-")) {
        fs::remove_dir_all(folder.path()).unwrap();
    }
    thread::sleep(Duration::from_millis(20));
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut build = Command::new(cargo);
    build.args(["build", "--release", "--quiet"]).current_dir(clone.root.path());
    assert!(build.env("CARGO_TARGET_DIR", &clone.target).env_remove("RUSTFLAGS").status().unwrap().success());
    clone.say("another", "first");
    assert_eq!(clone.output(), "another first");
}

#[test]
fn a_build_that_cargo_did_not_do_itself_is_not_kept() {
    let clone = Clone::new("one", "first");
    // A cargo that comes after another one: `sh build ..` builds first, so that all is fresh to the second.
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    clone.write("metadata", &format!("exec '{cargo}' metadata \"$@\""));
    clone.write("build", &format!("'{cargo}' build \"$@\" > first.log && exec '{cargo}' build \"$@\""));
    let wanted = [clone.wanted(&[]).unwrap()];
    let builder = clone.builder_with([("CARGO".into(), "/bin/sh".into())]);
    let error = builder.binaries(&wanted, &mut |_| clone.code(), &|_| {}).unwrap_err();
    assert!(matches!(error, Error::Mixed { .. }), "{error}");
    assert!(error.to_string().contains("CARGO_TARGET_DIR"), "{error}");
    assert_eq!(clone.output(), "one first");
}

#[test]
fn a_kept_program_needs_no_cargo() {
    let clone = Clone::new("one", "first");
    let program = clone.build().unwrap();
    let builder = Builder::new(clone.root.path(), &clone.state(), without_cargo());
    let wanted = [clone.wanted(&[]).unwrap()];
    let programs = builder.binaries(&wanted, &mut |_| panic!("hashed again"), &|_| {}).unwrap();
    assert_eq!(programs["hello"], program);
    assert!(fs::metadata(&program).unwrap().permissions().readonly());

    fs::remove_dir_all(clone.state()).unwrap();
    let error = builder.binaries(&wanted, &mut |_| clone.code(), &|_| {}).unwrap_err();
    assert!(error.to_string().contains("https://rustup.rs"), "{error}");
}

#[test]
fn a_kept_program_that_has_changed_is_built_again() {
    let clone = Clone::new("one", "first");
    let program = clone.build().unwrap();
    let mut bytes = fs::read(&program).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::remove_file(&program).unwrap();
    fs::write(&program, bytes).unwrap();
    assert_eq!(clone.output(), "one first");
    assert_eq!(clone.build().unwrap(), program, "the same content has the same place");
}

#[test]
fn a_crate_that_does_not_build_says_which_and_shows_the_compiler() {
    let clone = Clone::new("one", "first");
    clone.write("hello/src/main.rs", "fn main() { missing() }");
    let said = Mutex::new(String::new());
    let wanted = [clone.wanted(&[]).unwrap()];
    let say = |line: &str| said.lock().unwrap().push_str(line);
    let error = clone.builder().binaries(&wanted, &mut |_| clone.code(), &say).unwrap_err();
    assert!(matches!(&error, Error::Failed { crate_folder } if crate_folder == "hello"), "{error}");
    assert!(said.lock().unwrap().contains("cannot find function `missing`"));
}

#[test]
fn sources_that_change_during_the_build_are_noticed() {
    let clone = Clone::new("one", "first");
    let wanted = [clone.wanted(&[]).unwrap()];
    let mut edit_and_hash = |_: &str| {
        clone.say("two", "first");
        clone.code()
    };
    let error = clone.builder().binaries(&wanted, &mut edit_and_hash, &|_| {}).unwrap_err();
    assert!(matches!(&error, Error::Changed { part, .. } if part == "hello/src/main.rs"), "{error}");
    assert_eq!(fs::read_dir(clone.state().join("bin")).unwrap().count(), 0);
    assert_eq!(clone.output(), "two first");
}

#[test]
fn programs_unused_for_long_are_dropped() {
    let clone = Clone::new("one", "first");
    let first = clone.build().unwrap();
    let long_ago = SystemTime::now() - super::KEPT * 2;
    File::open(first.ancestors().nth(2).unwrap()).unwrap().set_modified(long_ago).unwrap();
    clone.say("one", "second");
    let second = clone.build().unwrap();
    assert!(!first.exists() && second.exists());
}
