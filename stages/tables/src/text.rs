//! Numbers and scalars as people read them.

use serde_json::Value;

/// A scalar for people: `yes` and `no`, numbers in few letters, a dash for nothing.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(number) if number != 0.0 && number.abs() < 1e-3 => format!("{number:e}"),
            Some(number) => number.to_string(),
            None => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// A whole number with commas between thousands.
pub fn count(number: usize) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut text = digits[..first].to_owned();
    for group in digits.as_bytes()[first..].chunks(3) {
        if !text.is_empty() {
            text.push(',');
        }
        text.extend(group.iter().map(|digit| char::from(*digit)));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_of_every_kind_are_shown() {
        let scalars = [json!(true), json!(false), json!(null), json!("fc"), json!(200), json!(25.0)];
        assert_eq!(scalars.each_ref().map(shown), ["yes", "no", "–", "fc", "200", "25"]);
        assert_eq!([json!(0.0), json!(0.001), json!(1e-5)].each_ref().map(shown), ["0", "0.001", "1e-5"]);
    }

    #[test]
    fn numbers_have_commas_between_thousands() {
        assert_eq!([0, 999, 1000, 1234567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }
}
