//! Values while a lambda runs: what documents hold, and what JavaScript has beside it.

use std::cmp::Ordering;

use doc::{Field, Node};

use super::{GiveUp, number, text};

/// A value. Three words, as nodes are, and `Copy`; what it points to is in the arena, and never changes.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(super) enum Value<'a> {
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    Text(&'a str),
    /// An array of a document.
    Items(&'a [Node<'a>]),
    /// An object of a document, whose properties JavaScript has in the order of their names.
    Fields(&'a [Field<'a>]),
    /// An array the lambda made.
    Array(&'a [Value<'a>]),
    /// An object the lambda made: properties sorted by name, each name once. Their order in JavaScript is not kept.
    Object(&'a [Property<'a>]),
}

/// One property of an object the lambda made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Property<'a> {
    pub(super) name: &'a str,
    pub(super) value: Value<'a>,
}

impl<'a> From<Node<'a>> for Value<'a> {
    fn from(node: Node<'a>) -> Value<'a> {
        match node {
            Node::Null => Value::Null,
            Node::Bool(value) => Value::Bool(value),
            Node::U64(value) => Value::Number(value as f64),
            Node::I64(value) => Value::Number(value as f64),
            Node::F64(value) => Value::Number(value),
            Node::Str(text) => Value::Text(text),
            Node::Array(items) => Value::Items(items),
            Node::Object(fields) => Value::Fields(fields),
        }
    }
}

/// The elements of an array of either kind.
#[derive(Clone, Copy)]
pub(super) enum Elements<'a> {
    Items(&'a [Node<'a>]),
    Array(&'a [Value<'a>]),
}

impl<'a> Elements<'a> {
    pub(super) fn len(self) -> usize {
        match self {
            Elements::Items(items) => items.len(),
            Elements::Array(values) => values.len(),
        }
    }

    pub(super) fn get(self, at: usize) -> Value<'a> {
        let found = match self {
            Elements::Items(items) => items.get(at).map(|node| Value::from(*node)),
            Elements::Array(values) => values.get(at).copied(),
        };
        found.unwrap_or(Value::Undefined)
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Value<'a>> {
        (0..self.len()).map(move |at| self.get(at))
    }
}

impl<'a> Value<'a> {
    pub(super) fn is_nullish(self) -> bool {
        matches!(self, Value::Undefined | Value::Null)
    }

    pub(super) fn is_truthy(self) -> bool {
        match self {
            Value::Undefined | Value::Null => false,
            Value::Bool(value) => value,
            Value::Number(value) => value != 0.0 && !value.is_nan(),
            Value::Text(text) => !text.is_empty(),
            Value::Items(_) | Value::Fields(_) | Value::Array(_) | Value::Object(_) => true,
        }
    }

    pub(super) fn type_of(self) -> &'static str {
        match self {
            Value::Undefined => "undefined",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::Text(_) => "string",
            Value::Null | Value::Items(_) | Value::Fields(_) | Value::Array(_) | Value::Object(_) => "object",
        }
    }

    /// Its elements, if it is an array.
    pub(super) fn elements(self) -> Option<Elements<'a>> {
        match self {
            Value::Items(items) => Some(Elements::Items(items)),
            Value::Array(values) => Some(Elements::Array(values)),
            _ => None,
        }
    }

    /// Where it is, if it is an object or an array.
    fn address(self) -> Option<usize> {
        match self {
            Value::Items(items) => Some(items.as_ptr().addr()),
            Value::Fields(fields) => Some(fields.as_ptr().addr()),
            Value::Array(values) => Some(values.as_ptr().addr()),
            Value::Object(properties) => Some(properties.as_ptr().addr()),
            _ => None,
        }
    }

    /// The value of a property, by its name. `Err` where JavaScript throws or finds something inherited.
    pub(super) fn property(self, name: &str) -> Result<Value<'a>, GiveUp> {
        let missing = || if is_inherited(name) { Err(GiveUp) } else { Ok(Value::Undefined) };
        match self {
            Value::Fields(fields) => Node::Object(fields).get(name).map_or_else(missing, |node| Ok(node.into())),
            Value::Object(properties) => {
                let at = properties.binary_search_by(|p| p.name.cmp(name));
                at.map_or_else(|_| missing(), |at| Ok(properties[at].value))
            }
            Value::Text(text) if name == "length" => Ok(Value::Number(text::length(text) as f64)),
            Value::Items(_) | Value::Array(_) if name == "length" => {
                Ok(Value::Number(self.elements().map_or(0, Elements::len) as f64))
            }
            Value::Bool(_) | Value::Number(_) if !matches!(name, "toFixed" | "toExponential" | "toPrecision") => {
                missing()
            }
            _ => Err(GiveUp),
        }
    }

    /// The value of `self[key]`.
    pub(super) fn element(self, key: Value<'_>) -> Result<Value<'a>, GiveUp> {
        match (self, key) {
            (_, Value::Text(name)) => self.property(name),
            (Value::Items(_) | Value::Array(_), Value::Number(at)) => {
                let index = at as usize;
                let elements = self.elements().ok_or(GiveUp)?;
                Ok(if index as f64 == at { elements.get(index) } else { Value::Undefined })
            }
            (Value::Text(text), Value::Number(at)) => {
                let index = at as usize;
                let found = index as f64 == at && index < text::length(text);
                if found { text::slice(text, index, index + 1).map(Value::Text) } else { Ok(Value::Undefined) }
            }
            (Value::Fields(_) | Value::Object(_) | Value::Bool(_) | Value::Number(_), _) => {
                let mut name = String::new();
                key.write(&mut name)?;
                self.property(&name)
            }
            _ => Err(GiveUp),
        }
    }

    /// Whether an object has a property of its own; `Err` for anything else.
    pub(super) fn has_own(self, name: &str) -> Result<bool, GiveUp> {
        match self {
            Value::Fields(fields) => Ok(Node::Object(fields).get(name).is_some()),
            Value::Object(properties) => Ok(properties.binary_search_by(|p| p.name.cmp(name)).is_ok()),
            _ => Err(GiveUp),
        }
    }

    /// What `Number` makes of it.
    pub(super) fn to_number(self) -> Result<f64, GiveUp> {
        match self {
            Value::Undefined => Ok(f64::NAN),
            Value::Null => Ok(0.0),
            Value::Bool(value) => Ok(f64::from(u8::from(value))),
            Value::Number(value) => Ok(value),
            Value::Text(text) => number::of_text(text),
            Value::Items(_) | Value::Fields(_) | Value::Array(_) | Value::Object(_) => Err(GiveUp),
        }
    }

    /// Appends what `String` makes of it.
    pub(super) fn write(self, out: &mut String) -> Result<(), GiveUp> {
        match self {
            Value::Undefined => out.push_str("undefined"),
            Value::Null => out.push_str("null"),
            Value::Bool(value) => out.push_str(if value { "true" } else { "false" }),
            Value::Number(value) => number::write(value, out),
            Value::Text(text) => out.push_str(text),
            Value::Items(_) | Value::Fields(_) | Value::Array(_) | Value::Object(_) => return Err(GiveUp),
        }
        Ok(())
    }

    /// `===`. Whether two objects are the same one is told by where they are: at two places they are two.
    pub(super) fn is_strictly(self, other: Value<'_>) -> Result<bool, GiveUp> {
        match (self, other) {
            (Value::Undefined, Value::Undefined) | (Value::Null, Value::Null) => Ok(true),
            (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
            (Value::Number(a), Value::Number(b)) => Ok(a == b),
            (Value::Text(a), Value::Text(b)) => Ok(a == b),
            _ => match (self.address(), other.address()) {
                (Some(a), Some(b)) if a == b => Err(GiveUp),
                _ => Ok(false),
            },
        }
    }

    /// `==`.
    pub(super) fn is_loosely(self, other: Value<'_>) -> Result<bool, GiveUp> {
        match (self.is_nullish(), other.is_nullish()) {
            (true, true) => return Ok(true),
            (false, false) => {}
            _ => return Ok(false),
        }
        if self.type_of() == other.type_of() {
            return self.is_strictly(other);
        }
        Ok(self.to_number()? == other.to_number()?)
    }

    /// What `includes` looks for: `===`, and what is no number is itself.
    pub(super) fn is_same(self, other: Value<'_>) -> Result<bool, GiveUp> {
        match (self, other) {
            (Value::Number(a), Value::Number(b)) if a.is_nan() && b.is_nan() => Ok(true),
            _ => self.is_strictly(other),
        }
    }

    /// The order that `<` and its kin see; `None` where there is none.
    pub(super) fn order(self, other: Value<'_>) -> Result<Option<Ordering>, GiveUp> {
        match (self, other) {
            (Value::Text(a), Value::Text(b)) => Ok(Some(text::compare(a, b))),
            _ => Ok(self.to_number()?.partial_cmp(&other.to_number()?)),
        }
    }
}

/// Whether every object has a property of this name from `Object.prototype`.
fn is_inherited(name: &str) -> bool {
    matches!(
        name,
        "constructor"
            | "__proto__"
            | "hasOwnProperty"
            | "isPrototypeOf"
            | "propertyIsEnumerable"
            | "toString"
            | "toLocaleString"
            | "valueOf"
            | "__defineGetter__"
            | "__defineSetter__"
            | "__lookupGetter__"
            | "__lookupSetter__"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_24_bytes() {
        assert_eq!(size_of::<Value<'_>>(), 24);
    }
}
