//! Passes the run path of libtorch from device to the linker, and compiles what tch has no call for.

use std::env;
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    const SOURCES: [&str; 3] =
        ["src/attention/autograd.cpp", "src/batch_norm/autograd.cpp", "src/winograd/autograd.cpp"];
    println!("cargo::rerun-if-changed=build.rs");
    for source in SOURCES.into_iter().chain(["src/autograd.hpp"]) {
        println!("cargo::rerun-if-changed={source}");
    }
    let libraries =
        env::var("DEP_HYPERRIBBON_DEVICE_RUN_PATH").map_err(|_| "device does not say where libtorch is")?;
    println!("cargo::rustc-link-arg=-Wl,--disable-new-dtags,-rpath,{libraries}");
    // Libraries and headers of libtorch lie side by side. Its headers have warnings of their own.
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .include(Path::new(&libraries).with_file_name("include"))
        .files(SOURCES)
        .compile("autograd");
    Ok(())
}
