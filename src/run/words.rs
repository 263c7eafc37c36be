//! The words of a command, with what a job has in place of `{inputs.NAME}` and the like.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::assignment::{AssignedInput, Assignment};
use super::worker::Worker;
use crate::pipeline::{Piece, PlaceholderKind, is_plain, pieces};

impl Worker<'_> {
    /// A command's words with `{inputs.NAME}`, `{outputs.NAME}` and `{params.NAME}` replaced. A word that is nothing
    /// but a list input becomes a word an element; one that names an input which this profile has not is left out.
    pub(super) fn fill_in(&self, job: &Assignment, words: &[OsString]) -> Vec<OsString> {
        let mut filled = Vec::new();
        for word in words {
            let Some(text) = word.to_str() else {
                filled.push(word.clone());
                continue;
            };
            let pieces = pieces(text);
            if let [Piece::Placeholder(PlaceholderKind::Inputs, name)] = pieces[..]
                && let Some(input @ AssignedInput::Many(_)) = job.input(name)
            {
                let paths = input.placed().enumerate().map(|(i, placed)| self.input_path(name, i, placed));
                filled.extend(paths.map(|path| self.as_word(path).into_os_string()));
                continue;
            }
            let whole: Option<String> = pieces.iter().map(|piece| self.value_of(job, piece)).collect();
            filled.extend(whole.map(OsString::from));
        }
        filled
    }

    /// What stands for a piece. The pipeline was checked: all but an input that this profile has not is there, and a list
    /// is in no longer word.
    fn value_of(&self, job: &Assignment, piece: &Piece) -> Option<String> {
        let path = match *piece {
            Piece::Text(text) => return Some(text.to_owned()),
            Piece::Placeholder(PlaceholderKind::Inputs, name) => {
                self.input_path(name, 0, job.input(name)?.placed().next()?)
            }
            Piece::Placeholder(PlaceholderKind::Outputs, name) => {
                self.outputs().join(&job.outputs.iter().find(|(output, _)| output == name)?.1.file)
            }
            Piece::Placeholder(PlaceholderKind::Params, name) => {
                return job.params.get(name).map(|value| match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                });
            }
        };
        Some(self.as_word(path).to_string_lossy().into_owned())
    }

    /// A path in the folder as a command gets it: whole, or from where it works if a shell would take the whole apart.
    fn as_word(&self, path: PathBuf) -> PathBuf {
        let is_one_word = |folder: &str| folder.chars().all(is_plain);
        match path.strip_prefix(&self.folder) {
            Ok(inside) if !self.folder.to_str().is_some_and(is_one_word) => Path::new("..").join(inside),
            _ => path,
        }
    }
}
