//! Scripts that may mount and name the machine, in namespaces of their own: where the system allows these, anybody may.

use std::path::Path;
use std::process::Command;

use crate::scratch::Scratch;
use crate::skip::skipped;

/// What a script prints that runs in a project, with `$RIBBON` and these variables. None where this user may not do what it
/// begins with, which it tells by ending with 77; what that is, is said.
pub fn with_mounts(
    project: &Scratch,
    script: &str,
    variables: &[(&str, &Path)],
    begins_with: &str,
) -> Option<String> {
    let out = Command::new("unshare")
        .args(["-rmu", "sh", "-c", script])
        .current_dir(project.path(""))
        .env("HOME", project.home(""))
        .env("RIBBON", env!("CARGO_BIN_EXE_ribbon"))
        .env_remove("RIBBON_STORE")
        .envs(variables.iter().copied())
        .output();
    let out = out.ok().filter(|out| out.status.code() != Some(77) && !out.stdout.is_empty());
    if out.is_none() {
        skipped(&format!("this user cannot {begins_with}"));
    }
    Some(String::from_utf8(out?.stdout).unwrap())
}
