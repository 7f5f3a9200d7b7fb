//! What a schema proves about the locations of its documents: types, bounds, and whether a value exists at all.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

mod algebra;
mod infer;
mod inspect;
mod locate;

pub use inspect::Inspection;

/// A set of JSON types. Integers and numbers with a fraction are told apart: `number` is both.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Types(u8);

impl Types {
    /// No type: no value is possible.
    pub const NONE: Types = Types(0);
    /// `null`
    pub const NULL: Types = Types(1);
    /// `boolean`
    pub const BOOLEAN: Types = Types(2);
    /// Numbers without a fraction.
    pub const INTEGER: Types = Types(4);
    /// Numbers with a fraction.
    pub const FRACTION: Types = Types(8);
    /// `number`: with a fraction or without.
    pub const NUMBER: Types = Types(4 | 8);
    /// `string`
    pub const STRING: Types = Types(16);
    /// `array`
    pub const ARRAY: Types = Types(32);
    /// `object`
    pub const OBJECT: Types = Types(64);
    /// Every type.
    pub const ANY: Types = Types(127);

    /// The types of a name in a schema's `type`.
    pub fn named(name: &str) -> Option<Types> {
        Some(match name {
            "null" => Types::NULL,
            "boolean" => Types::BOOLEAN,
            "integer" => Types::INTEGER,
            "number" => Types::NUMBER,
            "string" => Types::STRING,
            "array" => Types::ARRAY,
            "object" => Types::OBJECT,
            _ => return None,
        })
    }

    /// The type of one value.
    pub fn of(value: &Value) -> Types {
        match value {
            Value::Null => Types::NULL,
            Value::Bool(_) => Types::BOOLEAN,
            Value::Number(number) => match number.as_f64() {
                Some(value) if value.fract() != 0.0 => Types::FRACTION,
                _ => Types::INTEGER,
            },
            Value::String(_) => Types::STRING,
            Value::Array(_) => Types::ARRAY,
            Value::Object(_) => Types::OBJECT,
        }
    }

    /// Whether all of the other's types are among these.
    pub const fn contains(self, other: Types) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether all of these are among the other's.
    pub const fn subset(self, other: Types) -> bool {
        other.contains(self)
    }

    /// The types that are in both.
    pub const fn intersect(self, other: Types) -> Types {
        Types(self.0 & other.0)
    }

    /// The types that are in either.
    pub const fn union(self, other: Types) -> Types {
        Types(self.0 | other.0)
    }

    /// The types of these that are not among the other's.
    pub const fn without(self, other: Types) -> Types {
        Types(self.0 & !other.0)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names, sorted; `number` stands for `integer` where both are meant.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let whole = self.contains(Types::INTEGER) && !self.contains(Types::FRACTION);
        [
            (self.contains(Types::ARRAY), "array"),
            (self.contains(Types::BOOLEAN), "boolean"),
            (whole, "integer"),
            (self.contains(Types::NULL), "null"),
            (self.contains(Types::FRACTION), "number"),
            (self.contains(Types::OBJECT), "object"),
            (self.contains(Types::STRING), "string"),
        ]
        .into_iter()
        .filter_map(|(has, name)| has.then_some(name))
    }
}

impl fmt::Display for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.names().collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Debug for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether valid documents have a value at a location; weaker first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exists {
    /// No valid document does.
    Cannot,
    /// The schema says nothing of it, and nothing forbids it.
    Implicit,
    /// The schema allows for it.
    May,
    /// Every valid document does.
    Must,
}

/// What a schema proves about the values at one location, and below it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// The types a value can have; none where no value is valid.
    pub types: Types,
    /// The values that are possible, if they are listed.
    pub values: Option<Vec<Value>>,
    /// `format` of strings.
    pub format: Option<String>,
    /// `contentEncoding` of strings.
    pub content_encoding: Option<String>,
    /// `contentMediaType` of strings.
    pub content_type: Option<String>,
    /// `title`
    pub title: Option<String>,
    /// `description`
    pub description: Option<String>,
    /// `default`
    pub default: Option<Value>,
    /// The name of the reduction strategy, where it is given; `multiple` where it depends on the value.
    pub reduce: Option<&'static str>,
    /// Least length of strings, in characters.
    pub length_min: u64,
    /// Largest length of strings, in characters.
    pub length_max: Option<u64>,
    /// Properties the schema names, in `properties` or `required`.
    pub properties: BTreeMap<String, Property>,
    /// `patternProperties`: the pattern and the shape of what it matches.
    pub patterns: BTreeMap<String, Shape>,
    /// Shape of all other properties; `None` where the schema says nothing of them.
    pub additional_properties: Option<Box<Shape>>,
    /// Shapes of the first items.
    pub tuple: Vec<Shape>,
    /// Shape of the items behind the tuple; `None` where the schema says nothing of them.
    pub items: Option<Box<Shape>>,
    /// Least number of items.
    pub items_min: u64,
    /// Largest number of items.
    pub items_max: Option<u64>,
}

/// A property a schema names.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// What its values look like.
    pub shape: Shape,
    /// Whether every object has it.
    pub required: bool,
}

/// What a schema proves about one location.
#[derive(Debug, Clone, Copy)]
pub struct Located<'s> {
    /// What its values look like.
    pub shape: &'s Shape,
    /// Whether it exists: the weakest along the way to it.
    pub exists: Exists,
}

/// Stands for a strategy that alternatives of a schema do not agree on.
const MULTIPLE: &str = "multiple";

static ANY: Shape = Shape::of_types(Types::ANY);
static NEVER: Shape = Shape::of_types(Types::NONE);

/// Whether a name matches a pattern; patterns that are no regular expressions are refused before.
fn matches(pattern: &str, name: &str) -> bool {
    regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(name))
}
