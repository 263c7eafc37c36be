//! Passes the run path of libtorch from device to the linker.

fn main() {
    if let Ok(folder) = std::env::var("DEP_HYPERRIBBON_DEVICE_RUN_PATH") {
        println!("cargo::rustc-link-arg=-Wl,--disable-new-dtags,-rpath,{folder}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
