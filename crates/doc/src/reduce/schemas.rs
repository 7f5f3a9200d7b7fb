//! The `jsonSchemaMerge` strategy: values are JSON schemas, and what either allows the result allows.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use url::Url;

use crate::Formats;
use crate::schema::check;
use crate::schema::documents::{Documents, Loaded};
use crate::{Arena, Node, Shape, Types, from_value, to_value};

/// Whether a value is a schema that refers to no other document.
pub(super) fn is_schema(value: Node<'_>) -> bool {
    shape(value).is_some()
}

/// The union of two schemas; `None` where one is no schema or refers to another document.
pub(crate) fn merge<'a>(arena: &'a Arena, left: Node<'_>, right: Node<'_>) -> Option<Node<'a>> {
    let union = shape(left)?.union(shape(right)?);
    Some(from_value(arena, &schema(&union)))
}

fn shape(node: Node<'_>) -> Option<Shape> {
    node.as_object()?;
    let url = Url::parse("schema:/value").expect("a constant URL is valid");
    let value = Arc::new(to_value(node));
    let loaded = Documents::load(&url, &|asked| (*asked == url).then(|| value.clone()));
    let Loaded { documents, root: Some(root), errors } = loaded else { return None };
    (errors.is_empty() && check(&documents, Formats::Described).is_ok()).then(|| Shape::infer(&documents, &root))
}

/// A schema that says what a shape does.
fn schema(shape: &Shape) -> Value {
    let mut schema = Map::new();
    let mut set = |keyword: &str, value: Option<Value>| {
        schema.extend(value.map(|value| (keyword.to_owned(), value)));
    };
    let boxed = |shape: &Option<Box<Shape>>| shape.as_ref().map(|shape| self::schema(shape));
    if shape.types.is_empty() {
        return Value::Bool(false);
    }
    let mut names: Vec<_> = shape.types.names().map(Value::from).collect();
    let types = if names.len() == 1 { names.pop() } else { Some(Value::Array(names)) };
    set("type", types.filter(|_| shape.types != Types::ANY));
    set("enum", shape.values.clone().map(Value::Array));
    set("title", shape.title.clone().map(Value::from));
    set("description", shape.description.clone().map(Value::from));
    set("default", shape.default.clone());
    set(
        "reduce",
        shape.reduce.filter(|strategy| *strategy != "multiple").map(|strategy| json!({ "strategy": strategy })),
    );
    set("format", shape.format.clone().map(Value::from));
    set("contentEncoding", shape.content_encoding.clone().map(Value::from));
    set("contentMediaType", shape.content_type.clone().map(Value::from));
    set("minLength", (shape.length_min > 0).then(|| shape.length_min.into()));
    set("maxLength", shape.length_max.map(Value::from));
    let properties = shape.properties.iter().map(|(name, property)| (name.clone(), self::schema(&property.shape)));
    set("properties", (!shape.properties.is_empty()).then(|| Value::Object(properties.collect())));
    let required = shape.properties.iter().filter(|(_, property)| property.required);
    let required: Vec<_> = required.map(|(name, _)| Value::from(name.as_str())).collect();
    set("required", (!required.is_empty()).then_some(Value::Array(required)));
    let patterns = shape.patterns.iter().map(|(pattern, shape)| (pattern.clone(), self::schema(shape)));
    set("patternProperties", (!shape.patterns.is_empty()).then(|| Value::Object(patterns.collect())));
    set("additionalProperties", boxed(&shape.additional_properties));
    if shape.tuple.is_empty() {
        set("items", boxed(&shape.items));
    } else {
        set("items", Some(shape.tuple.iter().map(self::schema).collect()));
        set("additionalItems", boxed(&shape.items));
    }
    set("minItems", (shape.items_min > 0).then(|| shape.items_min.into()));
    set("maxItems", shape.items_max.map(Value::from));
    Value::Object(schema)
}
