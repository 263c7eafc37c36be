//! Keys: all that a job's result depends on, listed once, and hashed or told.
//!
//! One function lists the ingredients of a key, in order, to an [`Ingredients`]: [`Terse`] hashes them, [`Told`] keeps
//! them for records and for `why`. So what is hashed and what is explained cannot disagree.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::graph::{Graph, JobId, JobInput, Origin};
use crate::hash::{Hash, Key};
use crate::pipeline::{Kind, Pipeline, Program};

/// Takes the ingredients of a key, in order.
pub trait Ingredients {
    /// `name` is like `params.network.rate` or `inputs.tiles[rows=a,cols=b]`.
    fn add(&mut self, name: &str, value: &str);
}

/// Hashes ingredients: gathers them first, because a hasher takes one long text faster than many short ones.
#[derive(Debug, Default)]
pub struct Terse(Vec<u8>);

/// Keeps ingredients: (name, value), in order.
#[derive(Debug, Default)]
pub struct Told(pub Vec<(String, String)>);

impl Terse {
    fn key(self) -> Key {
        Key(Hash(blake3::derive_key("hyperribbon job key 1", &self.0)))
    }
}

impl Ingredients for Terse {
    fn add(&mut self, name: &str, value: &str) {
        for text in [name, value] {
            self.0.extend_from_slice(&(text.len() as u64).to_le_bytes());
            self.0.extend_from_slice(text.as_bytes());
        }
    }
}

impl Ingredients for Told {
    fn add(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }
}

/// What is known of a stage outside pipeline.yaml.
#[derive(Debug, Clone, Default)]
pub struct StageFacts {
    /// The hash of its code.
    pub code: Option<Hash>,
    /// Hashes of the pin files of its tools, by the tool's name.
    pub tools: BTreeMap<String, Hash>,
    /// Values of its declared environment variables; none when unset.
    pub env: BTreeMap<String, Option<String>>,
}

/// The key that these ingredients make.
pub fn of(ingredients: &[(String, String)]) -> Key {
    let mut terse = Terse::default();
    ingredients.iter().for_each(|(name, value)| terse.add(name, value));
    terse.key()
}

/// The key of a job. `content` is the hash of each of its inputs' artifacts.
pub fn key(
    pipeline: &Pipeline,
    graph: &Graph,
    facts: &StageFacts,
    id: JobId,
    content: impl Fn(Origin) -> Hash,
) -> Key {
    let mut terse = Terse::default();
    describe(pipeline, graph, facts, id, content, &mut terse);
    terse.key()
}

/// Lists all that a job's result depends on.
pub fn describe(
    pipeline: &Pipeline,
    graph: &Graph,
    facts: &StageFacts,
    id: JobId,
    content: impl Fn(Origin) -> Hash,
    to: &mut impl Ingredients,
) {
    let job = graph.job(id);
    let stage = &pipeline.stages[job.stage.0];
    if let Some(code) = facts.code {
        to.add("code", &code.to_string());
    }
    if let Program::Command { command, .. } = &stage.program {
        for (i, word) in command.iter().enumerate() {
            to.add(&format!("program.{i}"), word);
        }
    }
    for (name, value) in graph.params(pipeline, id) {
        flatten(&mut format!("params.{name}"), &value, to);
    }
    for (name, input) in stage.inputs.keys().zip(&job.inputs) {
        match input {
            JobInput::One(origin) => to.add(&format!("inputs.{name}"), &content(*origin).to_string()),
            JobInput::Many(origins) => {
                to.add(&format!("inputs.{name}"), &format!("{} artifacts", origins.len()));
                for origin in origins {
                    let labels = origin.job().map(|job| crate::graph::join(&graph.job(job).labels));
                    let name = format!("inputs.{name}[{}]", labels.unwrap_or_default());
                    to.add(&name, &content(*origin).to_string());
                }
            }
        }
    }
    for (name, output) in &stage.outputs {
        let kind = if output.kind == Kind::File { "file" } else { "folder" };
        to.add(&format!("outputs.{name}"), &format!("{kind} {}", output.file));
    }
    to.add("threads", &stage.needs.threads.to_string());
    for (name, hash) in &facts.tools {
        to.add(&format!("tools.{name}"), &hash.to_string());
    }
    for (name, value) in &facts.env {
        match value {
            Some(value) => to.add(&format!("env.{name}"), &format!("={value}")),
            None => to.add(&format!("env.{name}"), "unset"),
        }
    }
}

/// Adds a JSON value leaf by leaf, so that `why` can name the one that differs. Objects are sorted by name.
fn flatten(name: &mut String, value: &Value, to: &mut impl Ingredients) {
    let length = name.len();
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            let sorted: BTreeMap<_, _> = entries.iter().collect();
            for (entry, value) in sorted {
                name.push('.');
                // Quoted where it could be read as two names: {"a.b": 1} is not {a: {b: 1}}.
                match entry.contains(['.', '"']) {
                    true => name.push_str(&Value::from(entry.as_str()).to_string()),
                    false => name.push_str(entry),
                }
                flatten(name, value, to);
                name.truncate(length);
            }
        }
        leaf => to.add(name, &leaf.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn hashed(params: &Value) -> Hash {
        let mut terse = Terse::default();
        flatten(&mut "params".to_owned(), params, &mut terse);
        blake3::hash(&terse.0).into()
    }

    #[test]
    fn leaves_are_named_in_order_whatever_order_they_were_written_in() {
        let mut told = Told::default();
        flatten(
            &mut "params".to_owned(),
            &json!({"model": {"kind": "fc", "widths": [2, 3]}, "epochs": 20}),
            &mut told,
        );
        let expected =
            [("params.epochs", "20"), ("params.model.kind", "\"fc\""), ("params.model.widths", "[2,3]")];
        assert_eq!(told.0, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn objects_inside_lists_are_sorted_too() {
        let read = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
        let (one, two) = (r#"{"l": [{"b": 1, "a": 2}]}"#, r#"{"l": [{"a": 2, "b": 1}]}"#);
        assert_eq!(hashed(&read(one)), hashed(&read(two)));
    }

    #[test]
    fn text_and_numbers_and_neighbouring_fields_are_told_apart() {
        assert_ne!(hashed(&json!({"a": 1})), hashed(&json!({"a": "1"})));
        assert_ne!(hashed(&json!({"a": "bc"})), hashed(&json!({"ab": "c"})));
        assert_ne!(hashed(&json!({"a": {}})), hashed(&json!({})));
        assert_ne!(hashed(&json!({"a.b": 1})), hashed(&json!({"a": {"b": 1}})));
        assert_ne!(hashed(&json!({"\"a.b\"": 1})), hashed(&json!({"a.b": 1})));
    }

    /// JSON with names that look like paths, and texts that look like numbers.
    fn json() -> impl Strategy<Value = Value> {
        let name = "[ab.\"]{0,3}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-2..3i32).prop_map(Value::from),
            "[ab1.]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::vec((name, inner), 0..3)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn parameters_have_one_hash_exactly_if_they_are_equal(one in json(), two in json()) {
            prop_assert_eq!(hashed(&one) == hashed(&two), one == two);
        }

        #[test]
        fn the_order_of_entries_is_no_part_of_the_hash(
            entries in prop::collection::btree_map("[ab.]{0,3}", json(), 0..5),
        ) {
            let forth: Value = entries.clone().into_iter().collect();
            let back: Value = entries.into_iter().rev().collect();
            prop_assert_eq!(hashed(&forth), hashed(&back));
        }
    }
}
