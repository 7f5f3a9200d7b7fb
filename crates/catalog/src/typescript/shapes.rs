//! A shape as a TypeScript type.

use std::fmt::Write;

use doc::{Shape, Types};
use serde_json::Value;

/// What follows an object's opening brace is indented so.
const INDENT: &str = "    ";
/// How many values a type lists; more are of their types only.
const VALUES_MAX: usize = 100;

/// The type of a shape, as it stands `depth` objects deep.
pub(super) fn type_of(shape: &Shape, depth: usize) -> String {
    let mut parts: Vec<String> = Vec::new();
    if let Some(values) = shape.values.as_ref().filter(|values| values.len() <= VALUES_MAX) {
        parts.extend(values.iter().filter(|value| shape.types.contains(Types::of(value))).map(literal));
    } else {
        if shape.types == Types::ANY && is_bare(shape) {
            return "unknown".to_owned();
        }
        let has = |types| !shape.types.intersect(types).is_empty();
        if has(Types::OBJECT) {
            parts.push(object(shape, depth));
        }
        if has(Types::ARRAY) {
            parts.push(array(shape, depth));
        }
        let scalars =
            [(Types::BOOLEAN, "boolean"), (Types::NULL, "null"), (Types::NUMBER, "number"), (Types::STRING, "string")];
        parts.extend(scalars.into_iter().filter(|(types, _)| has(*types)).map(|(_, name)| name.to_owned()));
    }
    parts.dedup();
    if parts.is_empty() { "never".to_owned() } else { parts.join(" | ") }
}

/// Whether a shape says nothing of what is below it.
fn is_bare(shape: &Shape) -> bool {
    shape.properties.is_empty()
        && shape.patterns.is_empty()
        && shape.additional_properties.is_none()
        && shape.tuple.is_empty()
        && shape.items.is_none()
}

fn literal(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{}: {}", property_name(name), literal(value)));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join("; "))
        }
        scalar => scalar.to_string(),
    }
}

pub(super) fn property_name(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '$')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$');
    if plain { name.to_owned() } else { Value::String(name.to_owned()).to_string() }
}

fn object(shape: &Shape, depth: usize) -> String {
    let possible = |shape: &&Shape| !shape.types.is_empty();
    let others: Vec<&Shape> =
        shape.patterns.values().chain(shape.additional_properties.as_deref()).filter(possible).collect();
    if shape.properties.is_empty() && others.is_empty() {
        return if shape.additional_properties.is_some() { "Record<string, never>" } else { "Record<string, unknown>" }
            .to_owned();
    }
    let indent = INDENT.repeat(depth + 1);
    let mut text = "{\n".to_owned();
    let mut types: Vec<String> = Vec::new();
    for (name, property) in &shape.properties {
        let of = type_of(&property.shape, depth + 1);
        if let Some(words) = property.shape.description.as_ref().or(property.shape.title.as_ref()) {
            let words = words.split_whitespace().collect::<Vec<_>>().join(" ").replace("*/", "* /");
            let _ = writeln!(text, "{indent}/** {words} */");
        }
        let optional = if property.required { "" } else { "?" };
        let _ = writeln!(text, "{indent}{}{optional}: {of};", property_name(name));
        types.push(of);
    }
    if !others.is_empty() {
        // An index signature speaks of every property, named ones too.
        types.extend(others.iter().map(|shape| type_of(shape, depth + 1)));
        types.push("undefined".to_owned());
        types.sort();
        types.dedup();
        let of = if types.iter().any(|of| of == "unknown") { "unknown".to_owned() } else { types.join(" | ") };
        let _ = writeln!(text, "{indent}[other: string]: {of};");
    }
    text + &INDENT.repeat(depth) + "}"
}

fn array(shape: &Shape, depth: usize) -> String {
    let rest = match &shape.items {
        Some(items) => type_of(items, depth),
        None => "unknown".to_owned(),
    };
    let rest = if rest.contains(" | ") { format!("({rest})[]") } else { format!("{rest}[]") };
    if shape.tuple.is_empty() {
        return rest;
    }
    let mut items: Vec<String> = Vec::new();
    for (at, item) in shape.tuple.iter().enumerate() {
        let of = type_of(item, depth);
        let optional = at as u64 >= shape.items_min;
        items.push(match (optional, of.contains(" | ")) {
            (true, true) => format!("({of})?"),
            (true, false) => format!("{of}?"),
            (false, _) => of,
        });
    }
    let closed = shape.items_max.is_some_and(|max| max <= shape.tuple.len() as u64)
        || shape.items.as_ref().is_some_and(|items| items.types.is_empty());
    if !closed {
        items.push(format!("...{rest}"));
    }
    format!("[{}]", items.join(", "))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use doc::Schema;
    use serde_json::json;
    use url::Url;

    use super::*;

    #[test]
    fn types_of_shapes() {
        let cases = [
            (json!(true), "unknown"),
            (json!(false), "never"),
            (json!({"type": ["integer", "null"]}), "null | number"),
            (json!({"enum": ["a", 1, null]}), "\"a\" | 1 | null"),
            (json!({"const": true}), "true"),
            (json!({"type": "array"}), "unknown[]"),
            (json!({"type": "array", "items": {"type": ["string", "null"]}}), "(null | string)[]"),
            (
                json!({"type": "array", "items": [{"type": "string"}, {"type": "integer"}], "minItems": 1, "additionalItems": false}),
                "[string, number?]",
            ),
            (json!({"type": "object"}), "Record<string, unknown>"),
            (
                json!({"type": "object", "properties": {"a-b": {"type": "string"}, "n": {"type": "integer", "description": "A */ b"}}, "required": ["n"]}),
                "{\n    \"a-b\"?: string;\n    /** A * / b */\n    n: number;\n}",
            ),
            (
                json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "integer"}}),
                "{\n    a?: string;\n    [other: string]: number | string | undefined;\n}",
            ),
        ];
        for (schema, expected) in cases {
            let url = Url::parse("file:///a").unwrap();
            let compiled = Schema::compile(&url, &|_| Some(Arc::new(schema.clone()))).unwrap();
            assert_eq!(type_of(compiled.shape(), 0), expected, "{schema}");
        }
    }
}
