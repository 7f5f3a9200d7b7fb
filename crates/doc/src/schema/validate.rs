//! Validation: the `jsonschema` crate, reading our nodes as they are.

use std::borrow::Cow;

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::json::{Array, Json, JsonNumber, Node as JsonNode, NodeIdentity, Object};
use jsonschema::types::JsonType;
use jsonschema::{Draft, PatternOptions, ValidationError};
use serde_json::{Number, Value, json};

use super::documents::{Documents, Place};
use super::{Invalid, SchemaError};
use crate::node::field;
use crate::reduce::decimal;
use crate::{Arena, Field, Node, from_value, to_value};

/// Largest compiled `pattern`.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Most characters of a value that a message quotes.
const QUOTE_CHARS_MAX: usize = 60;

/// Our nodes, as documents the validator can read. A node is told from others by its address in the arena.
pub(crate) struct Nodes;

/// A compiled validator.
pub(crate) type Validator = jsonschema::Validator<Nodes>;

/// What `format` says of strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Formats {
    /// What they are, and refuses none: as in 2021.
    Described,
    /// What they must be, where it is one of the formats that are known: as since 2023.
    Asserted,
}

/// The documents of a schema in the form validators are built from.
pub(crate) struct Bundle {
    value: Value,
    draft: Draft,
    formats: Formats,
}

impl Bundle {
    /// Bundles documents, and checks each against the meta-schema.
    pub(crate) fn new(documents: &Documents, formats: Formats) -> Result<Bundle, Vec<SchemaError>> {
        let modern = documents.places().iter().any(|place| documents.schema(place).get("prefixItems").is_some());
        let (draft, meta) = if modern {
            (Draft::Draft202012, jsonschema::draft202012::meta::validator())
        } else {
            (Draft::Draft201909, jsonschema::draft201909::meta::validator())
        };
        let value = documents.bundle(modern);
        let mut errors = Vec::new();
        for (at, url) in documents.urls().enumerate() {
            for error in meta.iter_errors(&value["$defs"][at.to_string()]) {
                // Each vocabulary of the meta-schema says it again.
                let error = invalid_schema(url, &error);
                if !errors.contains(&error) {
                    errors.push(error);
                }
            }
        }
        if errors.is_empty() { Ok(Bundle { value, draft, formats }) } else { Err(errors) }
    }

    /// Builds the validator of one place.
    pub(crate) fn validator(&self, documents: &Documents, place: &Place) -> Result<Validator, Vec<SchemaError>> {
        let reference = documents.bundled(place, self.draft == Draft::Draft202012);
        self.compiled(documents, place, "$ref", reference.into())
    }

    /// Of values that stand for those of a place each, what the first thing wrong with one is: its index, where in it, and
    /// the message. All are checked in one go.
    pub(crate) fn wrong(
        &self,
        documents: &Documents,
        values: &[(&Place, &Value)],
    ) -> Result<Vec<(usize, String, String)>, Vec<SchemaError>> {
        let Some((first, _)) = values.first() else { return Ok(Vec::new()) };
        let names = (0..values.len()).map(|n| n.to_string());
        let reference = |place: &Place| json!({ "$ref": documents.bundled(place, self.draft == Draft::Draft202012) });
        let schemas = names.clone().zip(values.iter().map(|(place, _)| reference(place)));
        let validator = self.compiled(documents, first, "properties", Value::Object(schemas.collect()))?;
        let all = Value::Object(names.zip(values.iter().map(|(_, value)| (*value).clone())).collect());
        let arena = Arena::new();
        let document = from_value(&arena, &all);
        if validator.is_valid(&document) {
            return Ok(Vec::new());
        }
        let mut wrong: Vec<(usize, String, String)> = Vec::new();
        for error in validator.iter_errors(&document) {
            let path = error.instance_path().to_string();
            let (name, rest) = path[1..].split_at(path[1..].find('/').unwrap_or(path.len() - 1));
            let n = name.parse().expect("the properties of this document are numbers");
            if wrong.iter().all(|(known, ..)| *known != n) {
                wrong.push((n, rest.to_owned(), message(&error)));
            }
        }
        Ok(wrong)
    }

    /// Builds a validator with one more keyword at the root of the bundle, for the sake of `place`.
    fn compiled(
        &self,
        documents: &Documents,
        place: &Place,
        keyword: &str,
        value: Value,
    ) -> Result<Validator, Vec<SchemaError>> {
        let mut schema = self.value.clone();
        schema[keyword] = value;
        jsonschema::options_for::<Nodes>()
            .with_draft(self.draft)
            .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES_MAX))
            .should_validate_formats(self.formats == Formats::Asserted)
            .with_format("integer", is_integer)
            .with_format("number", |text| decimal::is_number(text) || ["NaN", "Infinity", "-Infinity"].contains(&text))
            .with_format("macaddr", |text| is_address(text, 6))
            .with_format("macaddr8", |text| is_address(text, 8))
            // Nobody asserts it beside `iri`.
            .with_format("iri-reference", |_| true)
            .offline()
            .build(&schema)
            .map_err(|error| {
                let at = documents.unbundled(error.schema_path().as_str());
                let at = at.or_else(|| documents.unbundled(error.instance_path().as_str()));
                let (url, pointer) =
                    at.map_or_else(|| (documents.url(place), place.pointer.clone()), |(url, at)| (url.clone(), at));
                vec![SchemaError { slug: "schema-invalid", url, pointer, message: message(&error), hint: None }]
            })
    }
}

/// Whether a text is an integer of any length.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a text is a hardware address of so many bytes: pairs of hexadecimal digits, with colons or dashes between them.
fn is_address(text: &str, bytes: usize) -> bool {
    let pairs: Vec<&str> = text.split([':', '-']).collect();
    let is_pair = |pair: &&str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    pairs.len() == bytes && pairs.iter().all(is_pair)
}

fn invalid_schema(url: &url::Url, error: &ValidationError<'_>) -> SchemaError {
    SchemaError {
        slug: "schema-invalid",
        url: url.clone(),
        pointer: error.instance_path().to_string(),
        message: message(error),
        hint: None,
    }
}

/// Checks a document, and says what is wrong in our words.
pub(crate) fn validate(validator: &Validator, documents: &Documents, document: Node<'_>) -> Result<(), Invalid> {
    validator.validate(&document).map_err(|error| {
        let path = error.schema_path().as_str();
        let schema_location = match documents.unbundled(path) {
            Some((url, pointer)) => format!("{url}#{pointer}"),
            None => path.to_owned(),
        };
        Invalid { location: error.instance_path().to_string(), schema_location, message: message(&error) }
    })
}

/// What is wrong, with the value in front where that helps.
fn message(error: &ValidationError<'_>) -> String {
    let value = || quote(error.instance());
    match error.kind() {
        Kind::Minimum { limit } => format!("{} is less than the minimum of {limit}", value()),
        Kind::Maximum { limit } => format!("{} is more than the maximum of {limit}", value()),
        Kind::ExclusiveMinimum { limit } => format!("{} is not more than {limit}", value()),
        Kind::ExclusiveMaximum { limit } => format!("{} is not less than {limit}", value()),
        Kind::MinLength { limit } => {
            format!("{} is shorter than {}", value(), count(*limit, "character"))
        }
        Kind::MaxLength { limit } => {
            format!("{} is longer than {}", value(), count(*limit, "character"))
        }
        Kind::MinItems { limit } => format!("{} has less than {}", value(), count(*limit, "item")),
        Kind::MaxItems { limit } => format!("{} has more than {}", value(), count(*limit, "item")),
        Kind::AdditionalItems { limit } => format!("{} has more than {}", value(), count(*limit as u64, "item")),
        Kind::UniqueItems => format!("{} has an item twice", value()),
        Kind::Contains => {
            let many = error.schema_path().as_str().ends_with("/maxContains");
            let amount = if many { "many" } else { "few" };
            format!("{} has too {amount} items of those that `contains` describes", value())
        }
        Kind::Pattern { pattern } => format!("{} does not match {pattern:?}", value()),
        Kind::Required { property } => format!("the property {property} is missing"),
        Kind::FalseSchema => format!("nothing may be here, but there is {}", value()),
        Kind::Constant { expected_value } => {
            format!("{} is not {}", value(), quote(expected_value))
        }
        Kind::Enum { options } => format!("{} is not one of {}", value(), quote(options)),
        Kind::Type { kind: TypeKind::Single(kind) } => format!("{} is not of type {kind}", value()),
        Kind::Type { kind: TypeKind::Multiple(kinds) } => {
            let names: Vec<_> = kinds.iter().map(|kind| kind.to_string()).collect();
            format!("{} is not of type {}", value(), names.join(" or "))
        }
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            format!("unexpected {}", named(unexpected))
        }
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            format!("{} matches none of {}{}", value(), count(context.len() as u64, "alternative"), closest(context))
        }
        Kind::OneOfMultipleValid { .. } => format!("{} matches more than one alternative", value()),
        Kind::Format { format } if format == "regex" => {
            format!(
                "{} is no pattern that runs in linear time and little memory: no look-around, no back-references, no vast repetition",
                value()
            )
        }
        Kind::Format { format } => format!("{} is not of format {format}", value()),
        _ => error.to_string(),
    }
}

/// Of the alternatives, the one that came furthest into the document says why it failed.
fn closest(context: &[Vec<ValidationError<'static>>]) -> String {
    let first = context.iter().filter_map(|errors| errors.first());
    let best = first.max_by_key(|error| error.instance_path().as_str().matches('/').count());
    best.map_or_else(String::new, |error| {
        format!(" (the closest says {:?}: {})", error.instance_path().as_str(), message(error))
    })
}

fn count(limit: u64, noun: &str) -> String {
    format!("{limit} {noun}{}", if limit == 1 { "" } else { "s" })
}

fn named(names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().take(5).map(|name| format!("{name:?}")).collect();
    format!("{} {}", if names.len() == 1 { "property" } else { "properties" }, quoted.join(", "))
}

/// A value as JSON, cut where it is long.
pub(crate) fn quote(value: &Value) -> String {
    shorten(value.to_string())
}

/// A text, cut where it is long.
pub(crate) fn shorten(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(QUOTE_CHARS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

impl Json for Nodes {
    type Node<'a> = &'a Node<'a>;
    type PreparedKey = Box<str>;
    type StringBuffer = ();

    const KEYS_PER_LOOKUP: usize = 2;
    const ACYCLIC: bool = true;

    fn prepare_key(key: &str) -> Box<str> {
        key.into()
    }

    fn with_string_node<T>((): &mut (), string: &str, f: impl FnOnce(Self::Node<'_>) -> T) -> T {
        f(&Node::Str(string))
    }
}

impl<'a> JsonNode<'a, Nodes> for &'a Node<'a> {
    type Object = &'a [Field<'a>];
    type Array = &'a [Node<'a>];
    type Number = Numeral;

    fn as_object(&self) -> Option<Self::Object> {
        Node::as_object(**self)
    }

    fn as_array(&self) -> Option<Self::Array> {
        Node::as_array(**self)
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        self.as_str().map(Cow::Borrowed)
    }

    fn as_number(&self) -> Option<Numeral> {
        Some(match **self {
            Node::U64(value) => Numeral::U64(value),
            Node::I64(value) => Numeral::I64(value),
            Node::F64(value) => Numeral::F64(value),
            _ => return None,
        })
    }

    fn as_boolean(&self) -> Option<bool> {
        self.as_bool()
    }

    fn is_null(&self) -> bool {
        Node::is_null(**self)
    }

    fn json_type(&self) -> JsonType {
        match self {
            Node::Null => JsonType::Null,
            Node::Bool(_) => JsonType::Boolean,
            Node::U64(_) | Node::I64(_) | Node::F64(_) => JsonType::Number,
            Node::Str(_) => JsonType::String,
            Node::Array(_) => JsonType::Array,
            Node::Object(_) => JsonType::Object,
        }
    }

    fn string_length_within(&self, min: u64, max: u64) -> Option<bool> {
        let text = self.as_str()?;
        // A character takes one to four bytes, which mostly settles it.
        let most = text.len() as u64;
        let least = most.div_ceil(4);
        Some(if most < min || least > max {
            false
        } else if min <= least && most <= max {
            true
        } else {
            (min..=max).contains(&(text.chars().count() as u64))
        })
    }

    fn equals_value(&self, expected: &Value) -> bool {
        equals(**self, expected)
    }

    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Owned(to_value(**self))
    }

    fn identity(&self) -> Option<NodeIdentity> {
        Some(NodeIdentity::new(std::ptr::from_ref::<Node<'_>>(self) as usize))
    }
}

/// Whether a node is a value of a schema.
fn equals(node: Node<'_>, value: &Value) -> bool {
    match (node, value) {
        (Node::Str(a), Value::String(b)) => a == b,
        (Node::Bool(a), Value::Bool(b)) => a == *b,
        (Node::Null, Value::Null) => true,
        (Node::U64(_) | Node::I64(_) | Node::F64(_), Value::Number(_))
        | (Node::Array(_), Value::Array(_))
        | (Node::Object(_), Value::Object(_)) => {
            let arena = crate::Arena::new();
            crate::compare(node, crate::from_value(&arena, value)).is_eq()
        }
        _ => false,
    }
}

impl<'a> Object<'a, Nodes> for &'a [Field<'a>] {
    type Node = &'a Node<'a>;
    type MemberName = &'a str;
    type MembersIter = std::iter::Map<std::slice::Iter<'a, Field<'a>>, fn(&'a Field<'a>) -> (&'a str, &'a Node<'a>)>;

    fn len(&self) -> usize {
        <[Field<'a>]>::len(self)
    }

    fn get(&self, key: &Box<str>) -> Option<&'a Node<'a>> {
        let fields: &'a [Field<'a>] = self;
        field(fields, key).map(|field| &field.value)
    }

    fn members(&self) -> Self::MembersIter {
        self.iter().map(|field| (field.name, &field.value))
    }
}

impl<'a> Array<'a, Nodes> for &'a [Node<'a>] {
    type Node = &'a Node<'a>;
    type ElementsIter = std::slice::Iter<'a, Node<'a>>;

    fn len(&self) -> usize {
        <[Node<'a>]>::len(self)
    }

    fn elements(&self) -> Self::ElementsIter {
        self.iter()
    }

    fn is_unique(&self) -> bool {
        let mut sorted = self.to_vec();
        sorted.sort_unstable_by(|a, b| crate::compare(*a, *b));
        sorted.windows(2).all(|pair| crate::compare(pair[0], pair[1]).is_ne())
    }
}

/// A number of a document.
#[derive(Clone, Copy)]
pub(crate) enum Numeral {
    U64(u64),
    I64(i64),
    F64(f64),
}

impl JsonNumber for Numeral {
    fn as_u64(&self) -> Option<u64> {
        match *self {
            Numeral::U64(value) => Some(value),
            _ => None,
        }
    }

    fn as_i64(&self) -> Option<i64> {
        match *self {
            Numeral::U64(value) => i64::try_from(value).ok(),
            Numeral::I64(value) => Some(value),
            Numeral::F64(_) => None,
        }
    }

    fn as_f64(&self) -> Option<f64> {
        Some(match *self {
            Numeral::U64(value) => value as f64,
            Numeral::I64(value) => value as f64,
            Numeral::F64(value) => value,
        })
    }

    fn as_str(&self) -> Cow<'_, str> {
        Cow::Owned(self.to_number().to_string())
    }

    fn to_number(&self) -> Cow<'_, Number> {
        Cow::Owned(match *self {
            Numeral::U64(value) => value.into(),
            Numeral::I64(value) => value.into(),
            Numeral::F64(value) => Number::from_f64(value).expect("numbers of documents are finite"),
        })
    }

    fn is_integer(&self) -> bool {
        match *self {
            Numeral::U64(_) | Numeral::I64(_) => true,
            Numeral::F64(value) => value.fract() == 0.0,
        }
    }

    fn is_written_as_integer(&self) -> bool {
        !matches!(self, Numeral::F64(_))
    }
}
