//! Which libtorch the program takes.

use std::fs;
use std::process::{Command, Stdio};

#[test]
fn the_libtorch_it_was_built_with_comes_before_one_in_ld_library_path() {
    let folder = tempfile::tempdir().unwrap();
    for library in ["libtorch.so", "libtorch_cpu.so", "libc10.so"] {
        fs::write(folder.path().join(library), "another").unwrap();
    }
    // Nothing is asked of it.
    let ended = Command::new(env!("CARGO_BIN_EXE_train"))
        .env("LD_LIBRARY_PATH", folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}
