//! JSON values as YAML that people like to read.

use serde_json::{Value, json};

/// A string as YAML: as it is where it can be nothing else, and in quotes otherwise.
pub fn word(text: &str) -> String {
    let mut letters = text.chars();
    let begins = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || "_/".contains(c));
    let plain = begins && letters.all(|c| c.is_ascii_alphanumeric() || "_/-.".contains(c));
    let taken =
        ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_ascii_lowercase().as_str());
    if plain && !taken { text.to_owned() } else { json!(text).to_string() }
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
        // JSON is YAML.
        other => other.to_string(),
    }
}
