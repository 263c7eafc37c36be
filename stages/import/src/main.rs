//! Stage: predictions, or labels, that were made elsewhere, checked and in the form that the other stages take.

mod array;
mod arrays;
mod labels;
mod predictions;
mod rows;

use std::path::Path;

use anyhow::{Context, Result};
use kit::{Job, Tensors};
use serde::Deserialize;
use serde_json::{Map, Value};

use labels::Classes;
use rows::Kind;

#[derive(Deserialize)]
#[serde(tag = "import", rename_all = "lowercase", deny_unknown_fields)]
enum Params {
    /// The data set: an input of labels for each split.
    Labels {
        classes: Classes,
        #[serde(default = "both")]
        splits: Vec<String>,
    },
    /// One network: its file, and the data set.
    Predictions {
        values: Kind,
        /// Its row of the table.
        network: Map<String, Value>,
    },
}

fn both() -> Vec<String> {
    ["train", "test"].map(str::to_owned).into()
}

fn main() {
    kit::serve(run)
}

/// The name that an input has in the project: a job finds it under a number, the input's name and 0 before its own.
fn name_of(path: &Path, input: &str) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.split_once(&format!(".{input}.0.")).map_or(name.clone(), |(_, own)| own.to_owned())
}

fn run(job: &Job) -> Result<()> {
    match job.params()? {
        Params::Labels { classes, splits } => {
            let mut files = Vec::new();
            for split in splits {
                let path: &Path = &job.input(&split)?.path;
                files.push((split, path));
            }
            labels::import(&files, classes, job.output("data")?)
        }
        Params::Predictions { values, network } => {
            let data = Tensors::open(&job.input("data")?.path)?;
            let path = &job.input("file")?.path;
            let progress = |done, of| job.progress(done, of, "checked");
            let to = job.output("predictions")?;
            predictions::import(path, values, network, &data, to, progress)
                .with_context(|| name_of(path, "file"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_files_as_they_are_called_in_the_project() {
        assert_eq!(name_of(Path::new("/w/in/12.file.0.fc.file.npz"), "file"), "fc.file.npz");
        assert_eq!(name_of(Path::new("fc.npz"), "file"), "fc.npz");
    }
}
