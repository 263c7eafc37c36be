//! The document against its own schema: unknown and missing keys, wrong types, all of them at once.
//!
//! What editors are told and what is checked cannot differ: both are [`super::document::schema`]. Only the keywords that
//! schemars writes for that document are understood.

use serde_json::{Map, Value as Schema};
use serde_yaml::Value as Yaml;

use super::error::{Problems, hint};
use super::literal::literal;
use super::positions::Place;

/// Checks a value against a schema with `$defs`.
pub(super) fn check(root: &Schema, yaml: &Yaml, problems: &mut Problems) {
    Shape { root, problems }.check(root, yaml, &Place::default());
}

struct Shape<'a, 'p> {
    root: &'a Schema,
    problems: &'a mut Problems<'p>,
}

impl<'a> Shape<'a, '_> {
    fn check(&mut self, schema: &'a Schema, yaml: &Yaml, place: &Place) {
        let schema = self.resolved(schema);
        if schema == &Schema::Bool(true) {
            literal(yaml, place, &mut |place, what| self.problems.value(place, what));
            return;
        }
        let branches = self.branches(schema);
        let Some(fitting) = branches.iter().find(|branch| has_type(branch, yaml)) else {
            let expected: Vec<&str> =
                branches.iter().flat_map(|branch| types(branch)).filter_map(in_words).collect();
            let instead = instead(yaml, place).map_or(String::new(), |instead| format!("; write {instead}"));
            let expected = expected.join(" or ");
            self.problems.value(place, format!("expected {expected}, found {}{instead}", found(yaml)));
            return;
        };
        match yaml {
            Yaml::Mapping(mapping) => self.mapping(fitting, mapping, place),
            Yaml::Sequence(list) => {
                if list.is_empty() && fitting["minItems"].as_u64() > Some(0) {
                    self.problems.value(place, "the list is empty");
                }
                for (i, element) in list.iter().enumerate() {
                    self.check(&fitting["items"], element, &place.index(i));
                }
            }
            Yaml::Number(number) => {
                let value = number.as_f64().unwrap_or(f64::NAN);
                if let Some(least) = fitting["minimum"].as_f64().filter(|least| value < *least) {
                    self.problems.value(place, format!("{number} is too small; it must be at least {least}"));
                }
                let of_type = (fitting["format"] == "uint32").then_some(f64::from(u32::MAX));
                if let Some(most) = fitting["maximum"].as_f64().or(of_type).filter(|most| value > *most) {
                    self.problems.value(place, format!("{number} is too large; it must be at most {most}"));
                }
            }
            Yaml::String(text) => self.choice(&branches, text, place),
            _ => {}
        }
    }

    fn mapping(&mut self, schema: &'a Schema, mapping: &serde_yaml::Mapping, place: &Place) {
        let none = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&none);
        for (key, yaml) in mapping {
            let Yaml::String(key) = key else {
                self.problems.value(place, "keys must be text; put quotes around those that are not");
                continue;
            };
            let below = place.key(key);
            match (schema["properties"].get(key), &schema["additionalProperties"]) {
                (Some(property), _) => self.check(property, yaml, &below),
                (None, Schema::Bool(false)) => {
                    let hint = hint(key, properties.keys().map(String::as_str));
                    self.problems.key(&below, format!("unknown key `{key}` in {place}{hint}"));
                }
                (None, values) => self.check(values, yaml, &below),
            }
        }
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Schema::as_str) {
            if !mapping.contains_key(required) {
                self.problems.key(place, format!("`{required}` is missing in {place}"));
            }
        }
        if (mapping.len() as u64) < schema["minProperties"].as_u64().unwrap_or(0) {
            self.problems.value(place, "at least one entry is needed");
        }
    }

    /// Text where only some words are allowed.
    fn choice(&mut self, branches: &[&Schema], text: &str, place: &Place) {
        let constants = branches.iter().filter_map(|branch| branch["const"].as_str());
        let words: Vec<&str> = constants.collect();
        if !words.is_empty() && !words.contains(&text) {
            self.problems.value(place, format!("`{text}` is not possible here{}", hint(text, words)));
        }
    }

    /// Follows references to the definition.
    fn resolved(&self, schema: &'a Schema) -> &'a Schema {
        match schema["$ref"].as_str().and_then(|pointer| self.root.pointer(pointer.strip_prefix('#')?)) {
            Some(definition) => self.resolved(definition),
            None => schema,
        }
    }

    /// The alternatives of a schema, those of alternatives among them.
    fn branches(&self, schema: &'a Schema) -> Vec<&'a Schema> {
        match schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
            Some(branches) => {
                branches.iter().flat_map(|branch| self.branches(self.resolved(branch))).collect()
            }
            None => vec![schema],
        }
    }
}

/// The types a schema without alternatives allows.
fn types(schema: &Schema) -> Vec<&str> {
    match &schema["type"] {
        Schema::String(one) => vec![one],
        Schema::Array(several) => several.iter().filter_map(Schema::as_str).collect(),
        _ => Vec::new(),
    }
}

fn has_type(schema: &Schema, yaml: &Yaml) -> bool {
    types(schema).into_iter().any(|name| match yaml {
        Yaml::Null => name == "null",
        Yaml::Bool(_) => name == "boolean",
        Yaml::Number(number) => {
            let finite = number.as_f64().is_some_and(f64::is_finite);
            (name == "number" && finite) || (name == "integer" && !number.is_f64())
        }
        Yaml::String(_) => name == "string",
        Yaml::Sequence(_) => name == "array",
        Yaml::Mapping(_) => name == "object",
        Yaml::Tagged(_) => false,
    })
}

/// What a schema calls a type, in the words of the messages; null goes without saying.
fn in_words(name: &str) -> Option<&'static str> {
    match name {
        "string" => Some("text"),
        "integer" => Some("a whole number"),
        "number" => Some("a number"),
        "boolean" => Some("true or false"),
        "array" => Some("a list"),
        "object" => Some("a mapping"),
        _ => None,
    }
}

/// What to write, where it is known what a value was meant to be.
fn instead(yaml: &Yaml, place: &Place) -> Option<String> {
    match yaml {
        // `{inputs.x}` is a mapping to YAML.
        Yaml::Mapping(mapping) => match mapping.iter().next() {
            Some((Yaml::String(key), Yaml::Null)) if mapping.len() == 1 => {
                Some(format!("\"{{{key}}}\", in quotes"))
            }
            _ => None,
        },
        Yaml::String(_) if place.is_of_a_stage("run") => {
            Some("[PROGRAM, ARGUMENT, ..], or for a shell [sh, -c, \"..\"]".to_owned())
        }
        Yaml::Number(number) if place.is_of_a_stage("timeout") => Some(format!("`{number}s` for seconds")),
        _ => None,
    }
}

fn found(yaml: &Yaml) -> String {
    match yaml {
        Yaml::Null => "nothing".to_owned(),
        Yaml::Bool(flag) => format!("`{flag}`"),
        Yaml::Number(number) => format!("the number {number}"),
        Yaml::String(text) => format!("the text `{text}`"),
        Yaml::Sequence(_) => "a list".to_owned(),
        Yaml::Mapping(_) => "a mapping".to_owned(),
        Yaml::Tagged(tagged) => format!("the YAML tag `{}`", tagged.tag),
    }
}
