//! Finds libtorch's folder, for the run path of every program that links it, and compiles what tch has no call for.

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;

/// A program must start without LD_LIBRARY_PATH, wherever it is copied to: so its run path is the real folder, not the
/// symbolic link in the checkout that LIBTORCH may name. LD_LIBRARY_PATH may lead to another libtorch, conda's or a
/// cluster's: so it is an RPATH, which is searched before that, and not the RUNPATH of today's linkers. Metadata reaches the
/// build scripts of the crates that depend on this one, as DEP_HYPERRIBBON_DEVICE_RUN_PATH; link arguments do not.
fn main() -> Result<(), Box<dyn Error>> {
    let named = env::var("DEP_TCH_LIBTORCH_LIB").map_err(|_| "torch-sys does not say where libtorch is")?;
    let folder =
        fs::canonicalize(&named).map_err(|error| format!("libtorch: {named}: {error}; run `make setup`"))?;
    println!("cargo::metadata=run_path={}", folder.display());
    println!("cargo::rustc-link-arg=-Wl,--disable-new-dtags,-rpath,{}", folder.display());
    println!("cargo::rustc-env=HYPERRIBBON_LIBTORCH={}", folder.display());
    println!("cargo::rerun-if-changed=build.rs");
    compile(&folder);
    Ok(())
}

/// Libraries and headers of libtorch lie side by side.
fn compile(libraries: &Path) {
    const SOURCE: &str = "src/arithmetic.cpp";
    let headers = libraries.with_file_name("include");
    // Its headers have warnings of their own.
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .include(headers)
        .file(SOURCE)
        .compile("arithmetic");
    println!("cargo::rerun-if-changed={SOURCE}");
}
