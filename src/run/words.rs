//! The words of a command, with what a job has in place of `{inputs.NAME}` and the like.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::assignment::{AssignedInput, Assignment};
use super::failure::Failure;
use super::worker::Worker;
use crate::pipeline::{Piece, PlaceholderKind, pieces};

impl Worker<'_> {
    /// A command's words with `{inputs.NAME}`, `{outputs.NAME}` and `{params.NAME}` replaced. A word that is nothing
    /// but a list input becomes a word an element.
    pub(super) fn fill_in(&self, job: &Assignment, words: &[OsString]) -> Result<Vec<OsString>, Failure> {
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
            // An input that the stage has and this profile has not: the pipeline was checked.
            let is_left_out = |piece: &Piece| matches!(piece, Piece::Placeholder(PlaceholderKind::Inputs, name) if job.input(name).is_none());
            if pieces.iter().any(is_left_out) {
                continue;
            }
            let value = |piece: &Piece| match *piece {
                Piece::Text(text) => Ok(text.to_owned()),
                Piece::Placeholder(kind, name) => {
                    self.value_of(job, kind, name).ok_or_else(|| Failure::Placeholder(text.to_owned()))
                }
            };
            filled.push(pieces.iter().map(value).collect::<Result<String, _>>()?.into());
        }
        Ok(filled)
    }

    fn value_of(&self, job: &Assignment, kind: PlaceholderKind, name: &str) -> Option<String> {
        let path = match kind {
            PlaceholderKind::Inputs => match job.input(name)? {
                AssignedInput::One(placed) => self.input_path(name, 0, placed),
                AssignedInput::Many(_) => return None,
            },
            PlaceholderKind::Outputs => {
                self.outputs().join(&job.outputs.iter().find(|(output, _)| output == name)?.1.file)
            }
            PlaceholderKind::Params => {
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
        let is_one_word = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(&byte);
        let is_safe = |folder: &str| folder.bytes().all(|byte| is_one_word(byte) || !byte.is_ascii());
        match path.strip_prefix(&self.folder) {
            Ok(inside) if !self.folder.to_str().is_some_and(is_safe) => Path::new("..").join(inside),
            _ => path,
        }
    }
}
