//! Literal values: YAML in, JSON with numbers in canonical form out.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::{Number, Value};
use serde_yaml::Value as Yaml;

use super::positions::Place;

/// Any value that JSON can hold. Equal numbers are equal, however they are written: `1`, `1.0`, `1e0`.
#[derive(Debug, Clone)]
pub(super) struct Literal(pub Value);

/// A [`Literal`] that is text, a number or a boolean.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Scalar(pub Literal);

impl Scalar {
    /// As people write it: `fc`, `42`, `true`.
    pub fn text(&self) -> String {
        match &self.0.0 {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

/// The key by which YAML 1.1 merges mappings.
const MERGE: &str = "<<";

/// Turns YAML to JSON; `refuse` hears of each thing that JSON cannot hold, and where it is.
pub(super) fn literal(yaml: &Yaml, place: &Place, refuse: &mut dyn FnMut(&Place, String)) -> Value {
    match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(flag) => Value::Bool(*flag),
        Yaml::String(text) => Value::String(text.clone()),
        Yaml::Number(number) => canonical(number).map_or_else(
            || {
                refuse(place, format!("`{number}` is not a number that JSON can hold"));
                Value::Null
            },
            Value::Number,
        ),
        Yaml::Sequence(list) => {
            list.iter().enumerate().map(|(i, yaml)| literal(yaml, &place.index(i), refuse)).collect()
        }
        Yaml::Mapping(mapping) => {
            let entry = |(key, yaml): (&Yaml, &Yaml)| match key {
                Yaml::String(key) if key == MERGE => {
                    refuse(place, "`<<` merges nothing here; write out what it would bring".to_owned());
                    None
                }
                Yaml::String(key) => Some((key.clone(), literal(yaml, &place.key(key), refuse))),
                _ => {
                    refuse(place, "keys must be text; put quotes around those that are not".to_owned());
                    None
                }
            };
            Value::Object(mapping.iter().filter_map(entry).collect())
        }
        Yaml::Tagged(tagged) => {
            refuse(place, format!("YAML tags mean nothing here; drop `{}`", tagged.tag));
            Value::Null
        }
    }
}

/// Whole numbers as integers where 64 bits hold them, else the float; none for infinities and NaN.
pub(super) fn canonical(number: &serde_yaml::Number) -> Option<Number> {
    if let Some(integer) = number.as_i64() {
        return Some(integer.into());
    }
    if let Some(integer) = number.as_u64() {
        return Some(integer.into());
    }
    let float = number.as_f64()?;
    // Both bounds are powers of two, so that the comparisons are exact and the casts lose nothing.
    if float.fract() == 0.0 && (i64::MIN as f64..-(i64::MIN as f64)).contains(&float) {
        return Some((float as i64).into());
    }
    if float.fract() == 0.0 && (0.0..2.0 * -(i64::MIN as f64)).contains(&float) {
        return Some((float as u64).into());
    }
    Number::from_f64(float)
}

impl<'de> Deserialize<'de> for Literal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Literal, D::Error> {
        let yaml = Yaml::deserialize(deserializer)?;
        let mut refused = None;
        let value = literal(&yaml, &Place::default(), &mut |_, what| {
            refused.get_or_insert(what);
        });
        refused.map_or(Ok(Literal(value)), |what| Err(D::Error::custom(what)))
    }
}

impl JsonSchema for Literal {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Literal".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!(true)
    }
}

impl JsonSchema for Scalar {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number", "boolean"]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        serde_yaml::from_str::<Literal>(text).unwrap().0.to_string()
    }

    #[test]
    fn equal_numbers_have_one_form() {
        for one in ["1", "1.0", "1e0", "+1", "0x1"] {
            assert_eq!(read(one), "1", "{one}");
        }
        assert_eq!(read("-0.0"), "0");
        assert_eq!(read("[0.001, 1e-3]"), "[0.001,0.001]");
        assert_eq!(read("1e18"), read("1000000000000000000"));
        assert_eq!(read("18446744073709551615"), "18446744073709551615");
        assert_eq!(read("1e19"), read("10000000000000000000"));
        assert_eq!(read("1e300"), read("10.0e+299"));
        assert_eq!(read("-9223372036854775808.0"), "-9223372036854775808");
    }

    #[test]
    fn text_that_looks_like_a_number_stays_text() {
        assert_eq!(read("{a: '1.0', b: no}"), r#"{"a":"1.0","b":"no"}"#);
    }

    #[test]
    fn what_json_cannot_hold_is_refused_with_its_place() {
        let yaml: Yaml = serde_yaml::from_str("{a: [.nan], b: !x 1, c: {2: 3}}").unwrap();
        let mut refused = Vec::new();
        literal(&yaml, &Place::default(), &mut |place, what| refused.push(format!("{place}: {what}")));
        assert_eq!(
            refused,
            [
                "a.0: `.nan` is not a number that JSON can hold",
                "b: YAML tags mean nothing here; drop `!x`",
                "c: keys must be text; put quotes around those that are not",
            ]
        );
    }
}
