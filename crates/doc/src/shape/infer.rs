//! From a schema to its shape.
//!
//! A schema's own keywords, what it refers to and `allOf` intersect; the alternatives of `anyOf`, `oneOf` and `if` unite.
//! Where the same annotation is given twice for one location, the outer schema's holds.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{ANY, Property, Shape, Types};
use crate::schema::annotations::Strategy;
use crate::schema::documents::{Documents, Place};

/// Shapes are trees while schemas are graphs, so one may be far larger than the other. What is beyond this is any value.
const SHAPES_MAX: usize = 20_000;

/// How many schemas may be inferred within each other, references included. What is deeper is any value.
const WITHIN_MAX: usize = 64;

impl Shape {
    /// What a schema proves of its documents. A schema within itself is any value the second time.
    pub(crate) fn infer(documents: &Documents, place: &Place) -> Shape {
        Inference { documents, within: Vec::new(), left: SHAPES_MAX }.shape(place)
    }

    /// Nothing but types is known.
    pub(crate) const fn of_types(types: Types) -> Shape {
        Shape {
            types,
            values: None,
            format: None,
            content_encoding: None,
            content_type: None,
            title: None,
            description: None,
            default: None,
            reduce: None,
            length_min: 0,
            length_max: None,
            properties: BTreeMap::new(),
            patterns: BTreeMap::new(),
            additional_properties: None,
            tuple: Vec::new(),
            items: None,
            items_min: 0,
            items_max: None,
        }
    }
}

struct Inference<'d> {
    documents: &'d Documents,
    /// The schemas being inferred, outermost first.
    within: Vec<Place>,
    /// How many more shapes may be made.
    left: usize,
}

impl Inference<'_> {
    fn shape(&mut self, place: &Place) -> Shape {
        if self.left == 0 || self.within.len() == WITHIN_MAX || self.within.contains(place) {
            return ANY.clone();
        }
        self.left -= 1;
        self.within.push(place.clone());
        let shape = match self.documents.schema(place) {
            Value::Bool(false) => Shape::of_types(Types::NONE),
            Value::Object(_) => self.keywords(place),
            _ => ANY.clone(),
        };
        self.within.pop();
        shape
    }

    fn keywords(&mut self, place: &Place) -> Shape {
        let documents = self.documents;
        let schema = documents.schema(place);
        let mut shape = self.own(place);
        for keyword in ["oneOf", "if", "anyOf"] {
            let union = match keyword {
                "if" => self.conditional(place),
                _ => self.alternatives(place, keyword),
            };
            if let Some(union) = union {
                shape = shape.intersect(union);
            }
        }
        let all = schema.get("allOf").and_then(Value::as_array).map_or(0, Vec::len);
        for at in (0..all).rev() {
            let part = self.shape(&place.child(&["allOf", &at.to_string()]));
            shape = shape.intersect(part);
        }
        if let Some(target) = documents.target(place) {
            let part = self.shape(target);
            shape = shape.intersect(part);
        }
        shape.settle()
    }

    fn alternatives(&mut self, place: &Place, keyword: &str) -> Option<Shape> {
        let count = self.documents.schema(place).get(keyword)?.as_array()?.len();
        let shapes = (0..count).map(|at| self.shape(&place.child(&[keyword, &at.to_string()])));
        shapes.reduce(Shape::union)
    }

    fn conditional(&mut self, place: &Place) -> Option<Shape> {
        let schema = self.documents.schema(place);
        schema.get("if")?;
        let mut branch = |keyword: &str| match schema.get(keyword) {
            Some(_) => self.shape(&place.child(&[keyword])),
            None => ANY.clone(),
        };
        let (yes, no) = (branch("then"), branch("else"));
        let condition = self.shape(&place.child(&["if"]));
        Some(yes.intersect(condition).union(no))
    }

    /// The keywords of the schema itself, without those that apply other schemas to the same value.
    fn own(&mut self, place: &Place) -> Shape {
        let schema = self.documents.schema(place);
        let text = |keyword: &str| schema.get(keyword).and_then(Value::as_str).map(str::to_owned);
        let limit = |keyword: &str| {
            let value = schema.get(keyword)?;
            value.as_u64().or_else(|| value.as_f64().map(|value| value as u64))
        };
        let mut shape = ANY.clone();
        shape.types = match schema.get("type") {
            Some(Value::String(name)) => Types::named(name).unwrap_or(Types::ANY),
            Some(Value::Array(names)) => {
                let each = names.iter().filter_map(|name| Types::named(name.as_str()?));
                each.fold(Types::NONE, Types::union)
            }
            _ => Types::ANY,
        };
        shape.values = match (schema.get("const"), schema.get("enum").and_then(Value::as_array)) {
            (Some(value), _) => Some(vec![value.clone()]),
            (None, Some(values)) => Some(values.clone()),
            (None, None) => None,
        };
        shape.format = text("format");
        shape.content_encoding = text("contentEncoding");
        shape.content_type = text("contentMediaType");
        shape.title = text("title");
        shape.description = text("description");
        shape.default = schema.get("default").cloned();
        shape.reduce = schema.get("reduce").and_then(|reduce| Some(Strategy::read(reduce).ok()?.name()));
        shape.length_min = limit("minLength").unwrap_or(0);
        shape.length_max = limit("maxLength");
        shape.items_min = limit("minItems").unwrap_or(0);
        shape.items_max = limit("maxItems");
        self.own_properties(place, &mut shape);
        self.own_items(place, &mut shape);
        shape.settle()
    }

    fn own_properties(&mut self, place: &Place, shape: &mut Shape) {
        let schema = self.documents.schema(place);
        let names = |keyword: &str| {
            let map = schema.get(keyword).and_then(Value::as_object);
            map.into_iter().flat_map(|map| map.keys()).collect::<Vec<_>>()
        };
        for pattern in names("patternProperties") {
            let part = self.shape(&place.child(&["patternProperties", pattern]));
            shape.patterns.insert(pattern.clone(), part);
        }
        if schema.get("additionalProperties").is_some() {
            let part = self.shape(&place.child(&["additionalProperties"]));
            shape.additional_properties = Some(Box::new(part));
        }
        for name in names("properties") {
            let mut part = self.shape(&place.child(&["properties", name]));
            for (_, pattern) in shape.patterns.iter().filter(|(pattern, _)| super::matches(pattern, name)) {
                part = part.intersect(pattern.clone());
            }
            shape.properties.insert(name.clone(), Property { shape: part, required: false });
        }
        let required = schema.get("required").and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            if !shape.properties.contains_key(name) {
                let part = shape.unnamed(name).cloned().unwrap_or_else(|| ANY.clone());
                shape.properties.insert(name.to_owned(), Property { shape: part, required: true });
            } else if let Some(property) = shape.properties.get_mut(name) {
                property.required = true;
            }
        }
    }

    fn own_items(&mut self, place: &Place, shape: &mut Shape) {
        let schema = self.documents.schema(place);
        let (tuple, rest) = match (schema.get("prefixItems"), schema.get("items")) {
            (Some(_), _) => ("prefixItems", "items"),
            (None, Some(Value::Array(_))) => ("items", "additionalItems"),
            (None, _) => ("", "items"),
        };
        let count = schema.get(tuple).and_then(Value::as_array).map_or(0, Vec::len);
        shape.tuple = (0..count).map(|at| self.shape(&place.child(&[tuple, &at.to_string()]))).collect();
        if schema.get(rest).is_some() {
            shape.items = Some(Box::new(self.shape(&place.child(&[rest]))));
        }
    }
}
