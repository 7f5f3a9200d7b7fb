//! JSON values as YAML that people like to read.

use serde_json::{Value, json};

/// A string as YAML: as it is where it can be nothing else, and in quotes otherwise.
pub fn word(text: &str) -> String {
    let mut letters = text.chars();
    let begins = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || "_/".contains(c));
    let plain = begins && letters.all(|c| c.is_ascii_alphanumeric() || "_/-.".contains(c));
    let taken =
        ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_ascii_lowercase().as_str());
    if plain && !taken { text.to_owned() } else { flow(&json!(text)) }
}

/// An object, a member a line, objects within it down to so many levels, and in one line below.
pub fn block(value: &Value, indent: &str, levels: usize) -> String {
    let Value::Object(members) = value else { return format!("{indent}{}\n", scalar(value)) };
    let mut text = String::new();
    for (name, member) in members {
        let name = word(name);
        match member {
            Value::Object(inner) if !inner.is_empty() && levels > 0 => {
                text.push_str(&format!("{indent}{name}:\n{}", block(member, &format!("{indent}  "), levels - 1)));
            }
            _ => text.push_str(&format!("{indent}{name}: {}\n", scalar(member))),
        }
    }
    text
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => word(text),
        other => flow(other),
    }
}

/// A value in one line. JSON is YAML, but for characters that YAML cannot have as they are, or takes for the end of a line.
fn flow(value: &Value) -> String {
    let mut text = String::new();
    for c in value.to_string().chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a value that is another one, or none, to whoever reads it: here the reader of catalogs.
    #[test]
    fn what_is_written_is_read() {
        let value = json!({
            "a": { "b": { "c": { "d": [1, null, { "e": "f" }] } }, "none": {}, "list": [] },
            "words": ["yes", "1", "0x1", "a: b", "# c", "", " ", "-", "~", "/home", "a-b.c_d", "é 語"],
            "yes": "yes", "": "empty", "1": "1", "no": "/home", "~": "~", "date": "2026-02-03", "dot": ".5",
            "odd": "a\n\tb\r\u{1b}[31m\u{7f}\u{85}\u{9b}\u{2028}\u{feff}\u{ffff}\"\\",
        });
        for levels in [0, 1, 8] {
            let text = block(&value, "", levels);
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
            let url = "file:///a.yaml".parse().unwrap();
            let read = catalog::Tree::from_yaml(&mut catalog::Sources::default(), url, &text).unwrap();
            assert_eq!(read.to_value(), value, "{text}");
        }
    }
}
