//! Published pages with where they came from: a page as its job made it, byte for byte, and after it a section that
//! draws the graph, with keys, parameters and run times.
//!
//! A page's key follows from nothing but what it was made of; when and how fast that was made is not known to its job.
//! So it is told here, of the published copy alone: the artifact in the store has nothing of it, and the copy's first
//! bytes are the artifact's.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::html;
use crate::graph::JobId;
use crate::pipeline::StageId;
use crate::plan::{Plan, State};
use crate::project::Project;

/// A page cannot be completed.
#[derive(Debug, thiserror::Error)]
#[error("cannot add to {path} where it came from: {source}")]
pub struct ProvenanceError {
    path: PathBuf,
    source: io::Error,
}

/// Adds to published pages, of stages with `provenance: true`, where they came from, or puts right what is told there.
/// A page whose job is not up to date stays as it is.
///
/// # Errors
/// When a page cannot be read or written.
pub fn complete(project: &Project) -> Result<(), ProvenanceError> {
    let stages = project.pipeline.stages.iter().enumerate().filter(|(_, stage)| stage.provenance);
    for id in stages.flat_map(|(index, _)| project.graph.jobs_of(StageId(index))) {
        let plan = Plan::new(project, &BTreeSet::from([id]), &BTreeSet::new());
        let State::Current(_, artifacts) = plan.state(id) else { continue };
        for (place, name) in project.graph.published(&project.pipeline, id) {
            let artifact = &artifacts[usize::from(place)];
            if project.is_published(id, artifact, &name) {
                let path = project.outputs().join(&name);
                let told = told(project, &plan, &name);
                replace_tail(&path, artifact.size, told.as_bytes())
                    .map_err(|source| ProvenanceError { path, source })?;
            }
        }
    }
    Ok(())
}

fn told(project: &Project, plan: &Plan, name: &str) -> String {
    let jobs: BTreeSet<JobId> = plan.needed().collect();
    // outputs/PROFILE/ and the folders in its name lie between a page and the project.
    let base = "../".repeat(2 + name.matches('/').count());
    html::section(project, plan, &jobs, &base)
}

/// Makes a file's bytes after the first `length` these. It is there whole at any time.
fn replace_tail(path: &Path, length: u64, tail: &[u8]) -> io::Result<()> {
    let bytes = fs::read(path)?;
    let (page, before) = bytes.split_at((length as usize).min(bytes.len()));
    if before == tail {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".page-")
        .permissions(fs::metadata(path)?.permissions())
        .tempfile_in(folder)?;
    file.write_all(page)?;
    file.write_all(tail)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_put_after_the_page_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        fs::write(&path, "page").unwrap();
        for tail in ["one", "another", "another", ""] {
            replace_tail(&path, 4, tail.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("page{tail}"));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
