//! The words of a command, with what a job has in place of `{inputs.NAME}` and the like.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::assignment::{AssignedInput, Assignment};
use super::failure::Failure;
use super::worker::Worker;
use crate::pipeline::placeholders;

impl Worker<'_> {
    /// A command's words with `{inputs.NAME}`, `{outputs.NAME}` and `{params.NAME}` replaced. A word that is nothing
    /// but a list input becomes a word an element.
    pub(super) fn fill_in(&self, job: &Assignment, words: &[OsString]) -> Result<Vec<OsString>, Failure> {
        let mut filled = Vec::new();
        for word in words {
            let Some(text) = word.to_str().filter(|text| text.contains('{')) else {
                filled.push(word.clone());
                continue;
            };
            let list = text.strip_prefix("{inputs.").and_then(|rest| rest.strip_suffix('}'));
            if let Some((name, input @ AssignedInput::Many(_))) =
                job.inputs.iter().find(|(name, _)| Some(name.as_str()) == list)
            {
                let paths = input.placed().enumerate().map(|(i, placed)| self.input_path(name, i, placed));
                filled.extend(paths.map(|path| self.as_word(path).into_os_string()));
                continue;
            }
            // An input that the stage has and this profile has not: the pipeline was checked.
            let is_left_out = |name: &str| !job.inputs.iter().any(|(input, _)| input == name);
            if placeholders(text).iter().any(|(kind, name)| *kind == "inputs" && is_left_out(name)) {
                continue;
            }
            let mut rest = text;
            let mut word = String::new();
            while let Some((before, after)) = rest.split_once('{') {
                word.push_str(before);
                let is_ours = ["inputs.", "outputs.", "params."].iter().any(|kind| after.starts_with(kind));
                match after.split_once('}') {
                    Some((placeholder, after)) if is_ours => {
                        let value = self.value_of(job, placeholder);
                        word.push_str(&value.ok_or_else(|| Failure::Placeholder(text.to_owned()))?);
                        rest = after;
                    }
                    // Programs for awk and the like have braces of their own.
                    _ => {
                        word.push('{');
                        rest = after;
                    }
                }
            }
            word.push_str(rest);
            filled.push(word.into());
        }
        Ok(filled)
    }

    fn value_of(&self, job: &Assignment, placeholder: &str) -> Option<String> {
        let (kind, name) = placeholder.split_once('.')?;
        let path = match kind {
            "inputs" => match &job.inputs.iter().find(|(input, _)| input == name)?.1 {
                AssignedInput::One(placed) => self.input_path(name, 0, placed),
                AssignedInput::Many(_) => return None,
            },
            "outputs" => self.outputs().join(&job.outputs.iter().find(|(output, _)| output == name)?.1.file),
            "params" => {
                return job.params.get(name).map(|value| match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                });
            }
            _ => return None,
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
