//! The environment of a job: what is fixed, what passes because it says where things are, what its stage declares.

use std::path::Path;
use std::process::Command;

use super::process::Launch;

/// Variables that pass to every job, and are not part of any key: where things are, not what to compute.
const PASSED: [&str; 25] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "CUDA_MPS_PIPE_DIRECTORY",
    "CUDA_MPS_LOG_DIRECTORY",
    "CUDA_HOME",
    "XDG_CACHE_HOME",
    "RIBBON_CACHE",
    "RIBBON_DATA",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
];

/// Libraries read from these how many threads to start.
const THREADS: [&str; 4] =
    ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"];

/// Sets a command's environment, for a job that works in `work`.
pub(super) fn set(command: &mut Command, launch: &Launch, work: &Path) {
    command.env_clear().env("LANG", "C.UTF-8").env("TZ", "UTC").env("TMPDIR", work);
    for name in PASSED {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    for name in THREADS {
        command.env(name, launch.threads.to_string());
    }
    for (name, value) in &launch.env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
}
