//! A profile's parameters: those of all profiles, the profile's own, `--set`; and what `$name` stands for.

use std::collections::BTreeMap;

use serde_json::Value;

use super::document::Document;
use super::error::{Problems, hint};
use super::literal::literal;
use super::positions::Place;
use super::reference::{Dollar, dollar, is_name, name_rule};

/// The parameters that hold in a profile.
pub(super) struct Params(BTreeMap<String, Value>);

impl Params {
    /// Those of a profile, which the document has, before `--set`.
    pub fn of(document: &Document, profile: &str, problems: &mut Problems) -> Params {
        let mut params = Params(BTreeMap::new());
        let own = Place::of(&["profiles", profile, "params"]);
        for (place, entries) in
            [(Place::of(&["params"]), &document.params), (own, &document.profiles[profile].params)]
        {
            for (name, value) in entries {
                let place = place.key(name);
                if !is_name(name) {
                    problems.key(&place, name_rule("parameter", name));
                }
                refuse_references(&value.0, &place, problems);
                params.0.insert(name.clone(), value.0.clone());
            }
        }
        params
    }

    /// `--set path=text`: replaces a value that is there, by YAML. The error says what is wrong.
    pub fn set(&mut self, path: &str, text: &str) -> Result<(), String> {
        let argument = format!("--set {path}={text}");
        let target = self.find_mut(path).map_err(|what| format!("{argument}: {what}"))?;
        let yaml: serde_yaml::Value = serde_yaml::from_str(text)
            .map_err(|error| format!("{argument}: the value is not YAML: {error}"))?;
        if yaml.is_null() && text.trim().is_empty() {
            return Err(format!("{argument}: a value is missing after `=`"));
        }
        let mut refused = None;
        let value = literal(&yaml, &Place::default(), &mut |_, what| {
            refused.get_or_insert(what);
        });
        if let Some(what) = refused {
            return Err(format!("{argument}: {what}"));
        }
        if has_references(&value) {
            return Err(format!("{argument}: {NO_REFERENCES}"));
        }
        *target = value;
        Ok(())
    }

    fn find_mut(&mut self, path: &str) -> Result<&mut Value, String> {
        let (name, deeper) = path.split_once('.').map_or((path, None), |(name, deeper)| (name, Some(deeper)));
        let unknown = self.unknown(name);
        let mut value = self.0.get_mut(name).ok_or(unknown)?;
        for key in deeper.into_iter().flat_map(|deeper| deeper.split('.')) {
            if value.get(key).is_none() {
                return Err(no_value(key, value));
            }
            value = &mut value[key];
        }
        Ok(value)
    }

    /// The names of all.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether there is a parameter of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// What a reference stands for; the error says why nothing.
    pub fn get(&self, reference: &Dollar) -> Result<&Value, String> {
        let value = self.0.get(reference.name).ok_or_else(|| self.unknown(reference.name))?;
        match reference.value {
            Some(key) => value.get(key).ok_or_else(|| no_value(key, value)),
            None => Ok(value),
        }
    }

    /// A value with the references in it replaced.
    pub fn substituted(&self, value: &Value, place: &Place, problems: &mut Problems) -> Value {
        match value {
            Value::String(text) => match dollar(text) {
                None => value.clone(),
                Some(reference) => {
                    let found = reference.and_then(|reference| self.get(&reference).cloned());
                    found.unwrap_or_else(|what| {
                        problems.value(place, format!("`{text}`: {what}"));
                        Value::Null
                    })
                }
            },
            Value::Array(list) => {
                let element = |(i, value)| self.substituted(value, &place.index(i), problems);
                list.iter().enumerate().map(element).collect()
            }
            Value::Object(object) => {
                let entry = |(key, value): (&String, _)| {
                    (key.clone(), self.substituted(value, &place.key(key), problems))
                };
                Value::Object(object.iter().map(entry).collect())
            }
            _ => value.clone(),
        }
    }

    fn unknown(&self, name: &str) -> String {
        format!("there is no parameter `{name}`{}", hint(name, self.names()))
    }
}

const NO_REFERENCES: &str = "a parameter cannot refer to another; `$` stands only in sweeps and stages";

fn no_value(key: &str, value: &Value) -> String {
    match value.as_object() {
        Some(object) => format!("there is no value `{key}`{}", hint(key, object.keys().map(String::as_str))),
        None => format!("there is no value `{key}` in {value}"),
    }
}

fn has_references(value: &Value) -> bool {
    match value {
        Value::String(text) => text.starts_with('$'),
        Value::Array(list) => list.iter().any(has_references),
        Value::Object(object) => object.values().any(has_references),
        _ => false,
    }
}

fn refuse_references(value: &Value, place: &Place, problems: &mut Problems) {
    if has_references(value) {
        problems.value(place, NO_REFERENCES);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn params() -> Params {
        Params(BTreeMap::from([
            ("epochs".to_owned(), json!(30)),
            ("data".to_owned(), json!({"kind": "mini", "subset": {"train": 5}})),
        ]))
    }

    #[test]
    fn set_replaces_values_at_any_depth_in_canonical_form() {
        let mut params = params();
        params.set("epochs", "2e1").unwrap();
        params.set("data.kind", "cifar10").unwrap();
        params.set("data.subset", "{test: 1.0}").unwrap();
        assert_eq!(
            json!(params.0),
            json!({"epochs": 20, "data": {"kind": "cifar10", "subset": {"test": 1}}})
        );
    }

    #[test]
    fn set_says_what_is_wrong_and_the_nearest_name() {
        let error = |path, text| params().set(path, text).unwrap_err();
        assert_eq!(
            error("epohs", "3"),
            "--set epohs=3: there is no parameter `epohs`; did you mean `epochs`? (there are `data`, `epochs`)"
        );
        assert_eq!(
            error("data.knd", "x"),
            "--set data.knd=x: there is no value `knd`; did you mean `kind`? (there are `kind`, `subset`)"
        );
        assert_eq!(error("epochs.x", "3"), "--set epochs.x=3: there is no value `x` in 30");
        assert_eq!(error("epochs", ""), "--set epochs=: a value is missing after `=`");
        assert_eq!(error("epochs", "$data"), format!("--set epochs=$data: {NO_REFERENCES}"));
        assert!(error("epochs", "[1").starts_with("--set epochs=[1: the value is not YAML: "));
        assert!(error("epochs", ".inf").ends_with("is not a number that JSON can hold"));
    }
}
