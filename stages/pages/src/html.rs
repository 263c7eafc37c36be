//! HTML as text: templates with `{{names}}`, and what has a meaning in HTML escaped.

use serde::Serialize;

/// Rules that all pages share: colours in light and dark, letters, tables.
pub const STYLE: &str = include_str!("base.css");

/// What the scripts of all pages use.
pub const SCRIPT: &str = include_str!("base.js");

/// Text as content or as an attribute's value in double quotes.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// JSON inside a script element, which ends at the first `</`, whatever that is part of.
///
/// # Errors
/// When the value cannot be JSON.
pub fn json(value: &impl Serialize) -> serde_json::Result<String> {
    Ok(serde_json::to_string(value)?.replace('<', "\\u003c"))
}

/// A template with each `{{name}}` replaced by its value. What is put in is not looked at again.
pub fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut page = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        page.push_str(before);
        let found = after.split_once("}}").and_then(|(name, after)| {
            values.iter().find(|(known, _)| *known == name).map(|(_, value)| (value, after))
        });
        match found {
            Some((value, after)) => {
                page.push_str(value);
                rest = after;
            }
            None => {
                page.push_str("{{");
                rest = after;
            }
        }
    }
    page + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_not_looked_at_again() {
        let page = fill("{{a}} {{b}} {{c}}", &[("a", "{{b}}"), ("b", "two")]);
        assert_eq!(page, "{{b}} two {{c}}");
    }

    #[test]
    fn nothing_ends_the_element_it_stands_in() {
        assert_eq!(escape("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
        assert_eq!(json(&"</script>").unwrap(), "\"\\u003c/script>\"");
    }
}
