//! What counts and what does not, on small workspaces.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{Code, Error, Files, Workspace, of_command};
use crate::hash::Hash;

/// A workspace of a stage `a` that depends on the path crate `kit`, both on packages of a registry.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Scratch {
        let scratch = Scratch(tempfile::tempdir().unwrap());
        let package = |name: &str, dependencies: &str| {
            format!("[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\n{dependencies}\n")
        };
        let registry = "source = \"registry+https://example.org/index\"\nchecksum = \"c0\"\n";
        let lock = [
            package("a", "dependencies = [\"alpha\", \"kit\", \"tests-only\"]"),
            package("kit", "dependencies = [\"beta\"]"),
            package("other", "dependencies = [\"gamma\"]"),
            package("alpha", &format!("{registry}dependencies = [\"deep\"]")),
            package("beta", registry),
            package("gamma", registry),
            package("deep", registry),
            package("tests-only", registry),
        ];
        scratch
            .write("Cargo.lock", &format!("version = 4\n{}", lock.concat()))
            .write("Cargo.toml", "[workspace]\nmembers = [\"stages/*\"]\nresolver = \"3\"\n\
                 [profile.release]\nopt-level = 3\n")
            .write(
                "stages/a/Cargo.toml",
                "[package]\nname = \"a\"\nversion = \"1.0.0\"\ndescription = \"A stage\"\nedition = \"2024\"\n\
                 [dependencies]\nalpha = \"1\"\nkit = { path = \"../kit\" }\n[dev-dependencies]\ntests-only = \"1\"\n",
            )
            .write("stages/a/src/main.rs", "mod part;\nfn main() {\n    let n = 1;\n    part::go(n);\n}\n")
            .write("stages/a/src/part.rs", "pub fn go(n: u8) { kit::say(include_str!(\"text.txt\"), n) }\n")
            .write("stages/a/src/text.txt", "hello")
            .write("stages/a/data/images.bin", "pixels")
            .write("stages/a/native/kernel.cu", "__global__ void f() {}")
            .write("stages/kit/Cargo.toml", "[package]\nname = \"kit\"\nedition = \"2024\"\n\
                 [dependencies]\nbeta = \"1\"\n")
            .write("stages/kit/src/lib.rs", "pub fn say(_: &str, _: u8) {}\n")
            .write("stages/other/Cargo.toml", "[package]\nname = \"other\"\n[dependencies]\ngamma = \"1\"\n")
            .write("stages/other/src/main.rs", "fn main() {}\n");
        scratch
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, path: &str, text: &str) -> &Scratch {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn replace(&self, path: &str, from: &str, to: &str) -> &Scratch {
        let text = fs::read_to_string(self.root().join(path)).unwrap();
        assert!(text.contains(from), "{path} has no {from}");
        self.write(path, &text.replacen(from, to, 1))
    }

    fn code(&self) -> Code {
        self.code_with(&[])
    }

    fn code_with(&self, variables: &[(&str, &str)]) -> Code {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        let mut files = Files::open(Path::new("no cache"), |path: &Path| Ok(Hash::of(&fs::read(path)?)));
        Workspace::open(self.root(), variables).unwrap().code("stages/a", &mut files).unwrap()
    }
}

/// The names of the parts that an edit changed, added or removed.
fn changed(edit: impl FnOnce(&Scratch) -> &Scratch) -> Vec<String> {
    let scratch = Scratch::new();
    let before = scratch.code();
    edit(&scratch);
    let after = scratch.code();
    let names = before.parts.keys().chain(after.parts.keys()).collect::<BTreeSet<_>>();
    let changed: Vec<String> =
        names.into_iter().filter(|name| before.parts.get(*name) != after.parts.get(*name)).cloned().collect();
    assert_eq!(changed.is_empty(), before.hash == after.hash);
    changed
}

fn edit(path: &str, from: &str, to: &str) -> Vec<String> {
    changed(|scratch| scratch.replace(path, from, to))
}

#[test]
fn the_parts_are_what_the_program_is_made_of() {
    let code = Scratch::new().code();
    let names: Vec<&str> = code.parts.keys().map(String::as_str).collect();
    let expected = [
        "Cargo.lock: alpha 1.0.0",
        "Cargo.lock: beta 1.0.0",
        "Cargo.lock: deep 1.0.0",
        "profile.release",
        "stages/a/Cargo.toml",
        "stages/a/native/kernel.cu",
        "stages/a/src/main.rs",
        "stages/a/src/part.rs",
        "stages/a/src/text.txt",
        "stages/kit/Cargo.toml",
        "stages/kit/src/lib.rs",
        "workspace.resolver",
    ];
    assert_eq!(names, expected);
    assert_eq!(code.crates.keys().collect::<Vec<_>>(), ["a", "kit"]);
}

#[test]
fn comments_docs_layout_and_tests_leave_the_code_alone() {
    let main = "stages/a/src/main.rs";
    let none: [&str; 0] = [];
    assert_eq!(edit(main, "fn main", "// A comment.\nfn main"), none);
    assert_eq!(edit(main, "fn main", "/// Docs.\nfn main"), none);
    assert_eq!(edit(main, "    let n = 1;\n    part", "let n\n=1; part"), none);
    assert_eq!(
        edit(main, "mod part;", "mod part;\n#[cfg(test)]\nmod checks { #[test] fn t() { assert!(true) } }"),
        none
    );
    assert_eq!(
        changed(|s| s.write("stages/a/tests/all.rs", "fn t() {}").write("stages/a/benches/b.rs", "")),
        none
    );
    assert_eq!(edit("stages/kit/src/lib.rs", "pub fn", "/// Says.\npub fn"), none);
}

#[test]
fn test_modules_in_files_of_their_own_leave_the_code_alone() {
    let none: [&str; 0] = [];
    fn with_tests(scratch: &Scratch) -> &Scratch {
        scratch
            .replace("stages/a/src/main.rs", "mod part;", "mod part;\n#[cfg(test)]\nmod tests;")
            .write("stages/a/src/tests.rs", "mod helper;\nuse crate::part;\n#[test]\nfn t() {}\n")
            .write("stages/a/src/tests/helper.rs", "pub fn help() {}\n")
            .replace("stages/a/src/part.rs", "pub fn", "#[cfg(test)]\nmod checks;\npub fn")
            .write("stages/a/src/part/checks.rs", "#[test]\nfn t() {}\n")
    }
    assert_eq!(changed(with_tests), none);
    // The same file is code as soon as something else than tests sees it.
    let shared = "mod part;\n#[path = \"tests/helper.rs\"]\nmod helper;";
    let shared = changed(|scratch| with_tests(scratch).replace("stages/a/src/main.rs", "mod part;", shared));
    assert_eq!(shared, ["stages/a/src/main.rs", "stages/a/src/tests/helper.rs"]);
}

#[test]
fn a_file_that_only_a_macro_declares_counts() {
    assert_eq!(changed(|s| s.write("stages/a/src/hidden.rs", "pub fn f() {}")), ["stages/a/src/hidden.rs"]);
}

#[test]
fn what_only_people_tools_and_tests_read_leaves_the_code_alone() {
    let none: [&str; 0] = [];
    assert_eq!(edit("stages/a/Cargo.toml", "A stage", "Another"), none);
    assert_eq!(edit("stages/a/Cargo.toml", "version = \"1.0.0\"", "version = \"2.0.0\""), none);
    assert_eq!(edit("stages/a/Cargo.toml", "tests-only = \"1\"", "tests-only = \"2\""), none);
    assert_eq!(edit("stages/a/data/images.bin", "pixels", "voxels"), none);
    assert_eq!(edit("stages/other/src/main.rs", "fn main() {}", "fn main() { go() }"), none);
    for package in ["tests-only", "gamma"] {
        assert_eq!(changed(|scratch| bump(scratch, package)), none, "{package}");
    }
}

#[test]
fn whatever_changes_the_program_changes_the_code_and_names_itself() {
    assert_eq!(
        edit("stages/a/src/main.rs", "let n = 1;\n    part::go(n)", "let m = 1;\n    part::go(m)"),
        ["stages/a/src/main.rs"]
    );
    assert_eq!(edit("stages/a/src/main.rs", "= 1", "= 2"), ["stages/a/src/main.rs"]);
    assert_eq!(edit("stages/a/src/text.txt", "hello", "hallo"), ["stages/a/src/text.txt"]);
    assert_eq!(edit("stages/a/native/kernel.cu", "f()", "g()"), ["stages/a/native/kernel.cu"]);
    assert_eq!(edit("stages/kit/src/lib.rs", "u8", "u16"), ["stages/kit/src/lib.rs"]);
    assert_eq!(
        edit("stages/a/Cargo.toml", "alpha = \"1\"", "alpha = { version = \"1\", features = [\"f\"] }"),
        ["stages/a/Cargo.toml"]
    );
    assert_eq!(edit("Cargo.toml", "opt-level = 3", "opt-level = 2"), ["profile.release"]);
    assert_eq!(
        changed(|scratch| bump(scratch, "deep")),
        ["Cargo.lock: deep 1.0.0", "Cargo.lock: deep 2.0.0"]
    );
    let toolchain = "[toolchain]\nchannel = \"1.95\"";
    assert_eq!(changed(|s| s.write("rust-toolchain.toml", toolchain)), ["rust-toolchain.toml"]);
    let flags = "[alias]\nx = \"run\"\n[build]\nrustflags = [\"-Ctarget-cpu=native\"]";
    assert_eq!(changed(|s| s.write(".cargo/config.toml", flags)), [".cargo/config.toml"]);
    let home = tempfile::tempdir().unwrap();
    let cargo_home = [("CARGO_HOME", home.path().to_str().unwrap())];
    let before = Scratch::new().code_with(&cargo_home);
    fs::write(
        home.path().join("config.toml"),
        "[profile.release]\noverflow-checks = true\n[alias]\nx = \"run\"",
    )
    .unwrap();
    assert_ne!(Scratch::new().code_with(&cargo_home).hash, before.hash);
    assert_eq!(changed(|s| s.write(".cargo/config.toml", "[alias]\nx = \"run\"")), [] as [&str; 0]);
}

#[test]
fn a_build_script_counts_with_what_it_names() {
    let script = "fn main() { println!(\"cargo:rerun-if-changed=shim\"); \
                  println!(\"cargo::rerun-if-changed=build.rs\"); \
                  for f in [\"../../setup/pin.txt\", \"../../.deps\"] { go(f) } }";
    let added = changed(|scratch| {
        scratch.write("stages/a/build.rs", script).write("stages/a/shim/x.S", "");
        scratch.write("setup/pin.txt", "1").write(".deps/huge.so", "")
    });
    assert_eq!(added, ["setup/pin.txt", "stages/a/build.rs", "stages/a/shim/x.S"]);

    let scratch = Scratch::new();
    scratch.write("stages/a/build.rs", script);
    let plain = scratch.code().hash;
    scratch.replace("stages/a/build.rs", "fn main", "/// Says what it needs.\nfn main");
    assert_eq!(scratch.code().hash, plain);
    scratch.replace("stages/a/build.rs", "shim", "lint");
    assert_ne!(scratch.code().hash, plain);
}

#[test]
fn a_build_script_counts_with_what_it_finds_below_the_crate() {
    let script = "fn main() { let f = concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/grammar.txt\"); \
                  let g = format!(\"{d}/other.txt\"); walk(\"src\") }";
    let added = changed(|scratch| {
        scratch.write("stages/a/build.rs", script).write("stages/a/grammar.txt", "");
        scratch
            .write("stages/a/other.txt", "")
            .write("stages/a/src/service.proto", "")
            .write("stages/a/notes.txt", "")
    });
    let expected = ["grammar.txt", "other.txt", "src/service.proto"].map(|name| format!("stages/a/{name}"));
    assert_eq!(added, ["stages/a/build.rs".to_owned()].into_iter().chain(expected).collect::<Vec<_>>());
}

#[test]
fn files_that_macros_and_derives_read_count() {
    let main = "#[derive(Template)]\n#[template(path = \"page.html\")]\nstruct Page;\n\
                static D: Dir = include_dir!(\"$CARGO_MANIFEST_DIR/assets\");\nfn main() {}";
    let added = changed(|scratch| {
        scratch.write("stages/a/templates/page.html", "").write("stages/a/assets/logo.svg", "");
        scratch.write("stages/a/src/main.rs", main)
    });
    let expected =
        ["assets/logo.svg", "src/main.rs", "templates/page.html"].map(|name| format!("stages/a/{name}"));
    assert!(expected.iter().all(|name| added.contains(name)), "{added:?}");
    // Where a path is not there, a macro of another kind may know where it is.
    let unknown =
        changed(|s| s.replace("stages/a/src/main.rs", "= 1", "= include_str!(\"elsewhere\").len()"));
    assert!(unknown.contains(&"stages/a/data/images.bin".to_owned()), "{unknown:?}");
}

#[test]
fn the_environment_counts_where_cargo_takes_it_in_place_of_what_the_workspace_says() {
    let scratch = Scratch::new();
    let configuration =
        "[env]\nLIB = { value = \"lib\", relative = true }\nFORCED = { value = \"1\", force = true }";
    scratch.write(".cargo/config.toml", configuration).write("lib/x", "").write("other/x", "");
    scratch.write("rust-toolchain.toml", "[toolchain]\nchannel = \"1.95\"");
    let plain = scratch.code();
    let path = |name: &str| scratch.root().join(name).to_str().unwrap().to_owned();
    // As cargo and rustup set them for a program that they run.
    let usual =
        [("LIB", path("lib")), ("FORCED", "2".into()), ("RUSTUP_TOOLCHAIN", "1.95-x86_64-unknown".into())];
    for (name, value) in &usual {
        assert_eq!(scratch.code_with(&[(name, value)]).hash, plain.hash, "{name}");
    }
    for (name, value) in [("LIB", path("other")), ("RUSTUP_TOOLCHAIN", "nightly".into())] {
        assert_ne!(scratch.code_with(&[(name, &value)]).hash, plain.hash, "{name}");
    }
    scratch.write("stages/a/build.rs", "fn main() { std::env::var(\"FLAVOUR\").unwrap(); }");
    assert_ne!(scratch.code_with(&[("FLAVOUR", "sweet")]).hash, scratch.code().hash);
}

#[test]
fn flags_and_variables_of_the_compiler_count() {
    let scratch = Scratch::new();
    let plain = scratch.code();
    assert_eq!(scratch.code_with(&[("USER", "ann"), ("RUSTFLAGS", "")]), plain);
    let flagged = scratch.code_with(&[("RUSTFLAGS", "-Ctarget-cpu=native")]);
    assert!(flagged.parts.contains_key("RUSTFLAGS") && flagged.hash != plain.hash);

    scratch.replace("stages/a/src/main.rs", "= 1", "= env!(\"FLAVOUR\").len()");
    assert_ne!(
        scratch.code_with(&[("FLAVOUR", "sweet")]).hash,
        scratch.code_with(&[("FLAVOUR", "sour")]).hash
    );
}

#[test]
fn an_unclear_include_makes_the_whole_crate_count() {
    let main = "macro_rules! load { ($p:expr) => { include_bytes!($p) } }\n\
                fn main() { load!(\"../data/images.bin\"); }";
    let added = changed(|scratch| scratch.write("stages/a/src/main.rs", main));
    assert_eq!(added, ["stages/a/data/images.bin", "stages/a/src/main.rs"]);
}

#[test]
fn a_workspace_in_another_folder_has_the_same_code() {
    let (here, there) = (Scratch::new(), Scratch::new());
    assert_ne!(here.root(), there.root());
    assert_eq!(here.code(), there.code());
}

#[test]
fn errors_say_where_and_what() {
    let scratch = Scratch::new();
    let code = |scratch: &Scratch| -> Result<Code, Error> {
        let mut files = Files::open(Path::new("no cache"), |path: &Path| Ok(Hash::of(&fs::read(path)?)));
        Workspace::open(scratch.root(), [])?.code("stages/a", &mut files)
    };
    scratch.replace("stages/a/Cargo.toml", "[package]", "[package");
    let error = code(&scratch).unwrap_err().to_string();
    assert!(error.contains("stages/a/Cargo.toml") && error.contains("line 1"), "{error}");
    fs::remove_file(scratch.root().join("Cargo.lock")).unwrap();
    assert!(matches!(code(&scratch), Err(Error::NoLock { .. })));
}

#[test]
fn the_code_of_a_command_is_its_declared_files() {
    let scratch = Scratch::new();
    scratch.write("plot.py", "print(1)").write("lib/a.py", "a = 1").write("lib/__pycache__/a.pyc", "0");
    let code = |paths: &[&str]| {
        let mut files = Files::open(Path::new("no cache"), |path: &Path| Ok(Hash::of(&fs::read(path)?)));
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        of_command(scratch.root(), &paths, &mut files)
    };
    let whole = code(&["plot.py", "./lib"]).unwrap();
    assert_eq!(whole.parts.keys().collect::<Vec<_>>(), ["lib/a.py", "plot.py"]);
    assert_eq!(code(&["lib", "plot.py"]).unwrap(), whole);
    scratch.write("lib/a.py", "a = 2");
    assert_ne!(code(&["lib", "plot.py"]).unwrap().hash, whole.hash);
    assert!(code(&["missing.py"]).unwrap_err().to_string().contains("missing.py"));
}

/// Another version of a package in the lock.
fn bump<'a>(scratch: &'a Scratch, package: &str) -> &'a Scratch {
    let one = format!("name = \"{package}\"\nversion = \"1.0.0\"");
    scratch.replace("Cargo.lock", &one, &one.replace("1.0.0", "2.0.0"))
}
