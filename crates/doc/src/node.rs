//! A JSON document as a tree of small copyable nodes in an arena.
//!
//! A node borrows its strings from the text it was parsed from, or from the arena when they were escaped. Nodes are freed
//! with their arena, all at once, so building and dropping a document costs no allocation per value.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// Where nodes live. One arena serves a block of documents and is reset after it.
pub type Arena = bumpalo::Bump;

/// A JSON value. Twenty-four bytes, and `Copy`. Equal as JSON values are: `1` is `1.0`.
///
/// Three words: were the tag a byte, nodes would be copied as what follows that byte, in moves that cut across the words they
/// were written by, and such a read waits for the write.
#[derive(Clone, Copy, Debug, Default)]
#[repr(u64)]
pub enum Node<'a> {
    /// `null`
    #[default]
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer of zero or more.
    U64(u64),
    /// An integer below zero; zero and above are always [`Node::U64`].
    I64(i64),
    /// A number that was written with a fraction or an exponent, or that arithmetic made so. Always finite.
    F64(f64),
    /// A string.
    Str(&'a str),
    /// An array.
    Array(&'a [Node<'a>]),
    /// An object: fields sorted by name (bytewise), each name once.
    Object(&'a [Field<'a>]),
}

/// One property of an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field<'a> {
    /// The property's name.
    pub name: &'a str,
    /// Its value.
    pub value: Node<'a>,
}

impl<'a> Node<'a> {
    /// An integer of either sign.
    pub fn integer(value: i64) -> Node<'static> {
        u64::try_from(value).map_or(Node::I64(value), Node::U64)
    }

    /// An object of these fields, sorted; of fields with the same name the last one stays.
    pub fn object(arena: &'a Arena, mut fields: Vec<Field<'a>>) -> Node<'a> {
        if !fields.is_sorted_by(|a, b| order(a.name, b.name).is_lt()) {
            fields.sort_by(|a, b| order(a.name, b.name));
            fields.dedup_by(|later, kept| {
                let same = later.name == kept.name;
                if same {
                    *kept = *later;
                }
                same
            });
        }
        Node::Object(arena.alloc_slice_copy(&fields))
    }

    /// An array of these items.
    pub fn array(arena: &'a Arena, items: &[Node<'a>]) -> Node<'a> {
        Node::Array(arena.alloc_slice_copy(items))
    }

    /// The string, if it is one.
    pub fn as_str(self) -> Option<&'a str> {
        match self {
            Node::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The boolean, if it is one.
    pub fn as_bool(self) -> Option<bool> {
        match self {
            Node::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The number, if it is written as an integer and is an `i64`.
    pub fn as_i64(self) -> Option<i64> {
        match self {
            Node::U64(value) => i64::try_from(value).ok(),
            Node::I64(value) => Some(value),
            _ => None,
        }
    }

    /// The number, if it is written as an integer of zero or more.
    pub fn as_u64(self) -> Option<u64> {
        match self {
            Node::U64(value) => Some(value),
            _ => None,
        }
    }

    /// The number, if it is one; large integers are rounded.
    pub fn as_f64(self) -> Option<f64> {
        match self {
            Node::U64(value) => Some(value as f64),
            Node::I64(value) => Some(value as f64),
            Node::F64(value) => Some(value),
            _ => None,
        }
    }

    /// The items, if it is an array.
    pub fn as_array(self) -> Option<&'a [Node<'a>]> {
        match self {
            Node::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The fields, if it is an object.
    pub fn as_object(self) -> Option<&'a [Field<'a>]> {
        match self {
            Node::Object(fields) => Some(fields),
            _ => None,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        matches!(self, Node::Null)
    }

    /// The value of a property, if this is an object that has it.
    pub fn get(self, name: &str) -> Option<Node<'a>> {
        let fields = self.as_object()?;
        field(fields, name).map(|field| field.value)
    }

    /// The name of its JSON type; every number is a `number`.
    pub fn type_name(self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Bool(_) => "boolean",
            Node::U64(_) | Node::I64(_) | Node::F64(_) => "number",
            Node::Str(_) => "string",
            Node::Array(_) => "array",
            Node::Object(_) => "object",
        }
    }

    /// Whether no more than so many arrays and objects stand within each other.
    pub(crate) fn within_depth(self, max: usize) -> bool {
        match (self, max) {
            (Node::Array(_) | Node::Object(_), 0) => false,
            (Node::Array(items), _) => items.iter().all(|item| item.within_depth(max - 1)),
            (Node::Object(fields), _) => fields.iter().all(|field| field.value.within_depth(max - 1)),
            _ => true,
        }
    }

    /// A deep copy that borrows from `arena` alone.
    pub fn copy_into<'b>(self, arena: &'b Arena) -> Node<'b> {
        match self {
            Node::Null => Node::Null,
            Node::Bool(value) => Node::Bool(value),
            Node::U64(value) => Node::U64(value),
            Node::I64(value) => Node::I64(value),
            Node::F64(value) => Node::F64(value),
            Node::Str(text) => Node::Str(arena.alloc_str(text)),
            Node::Array(items) => {
                Node::Array(arena.alloc_slice_fill_with(items.len(), |at| items[at].copy_into(arena)))
            }
            Node::Object(fields) => Node::Object(arena.alloc_slice_fill_with(fields.len(), |at| Field {
                name: arena.alloc_str(fields[at].name),
                value: fields[at].value.copy_into(arena),
            })),
        }
    }
}

/// In objects of so many fields a name is looked for one by one.
const FIELDS_SCANNED_MAX: usize = 16;

/// The field of this name among sorted fields.
pub(crate) fn field<'s, 'a>(fields: &'s [Field<'a>], name: &str) -> Option<&'s Field<'a>> {
    if fields.len() > FIELDS_SCANNED_MAX {
        let at = fields.binary_search_by(|field| order(field.name, name)).ok()?;
        return fields.get(at);
    }
    fields.iter().find(|field| is_same(field.name, name))
}

/// Whether two names are the same. Most differ in length; and to compare short ones is no call.
#[inline]
fn is_same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    match a.len() {
        len if len != b.len() => false,
        8..=16 => a.first_chunk::<8>() == b.first_chunk() && a.last_chunk::<8>() == b.last_chunk(),
        4..=7 => a.first_chunk::<4>() == b.first_chunk() && a.last_chunk::<4>() == b.last_chunk(),
        0..=3 => a.iter().eq(b),
        _ => a == b,
    }
}

/// The order of names, which is that of their bytes. The first byte mostly decides, without a call.
pub(crate) fn order(a: &str, b: &str) -> Ordering {
    match (a.as_bytes(), b.as_bytes()) {
        ([a, ..], [b, ..]) if a != b => a.cmp(b),
        (a, b) => a.cmp(b),
    }
}

impl PartialEq for Node<'_> {
    fn eq(&self, other: &Self) -> bool {
        crate::compare(*self, *other).is_eq()
    }
}

/// The node of a `serde_json` value, for configurations, schemas and tests; documents are parsed with [`crate::parse`].
pub fn from_value<'a>(arena: &'a Arena, value: &Value) -> Node<'a> {
    match value {
        Value::Null => Node::Null,
        Value::Bool(value) => Node::Bool(*value),
        Value::Number(value) => number(value),
        Value::String(text) => Node::Str(arena.alloc_str(text)),
        Value::Array(items) => {
            Node::Array(arena.alloc_slice_fill_iter(items.iter().map(|item| from_value(arena, item))))
        }
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| Field { name: arena.alloc_str(name), value: from_value(arena, value) });
            Node::object(arena, fields.collect())
        }
    }
}

/// The node of a `serde_json` number.
pub(crate) fn number(number: &Number) -> Node<'static> {
    match (number.as_u64(), number.as_i64(), number.as_f64()) {
        (Some(value), _, _) => Node::U64(value),
        (_, Some(value), _) => Node::I64(value),
        (_, _, value) => Node::F64(value.unwrap_or_default()),
    }
}

/// The `serde_json` value of a node.
pub fn to_value(node: Node<'_>) -> Value {
    match node {
        Node::Null => Value::Null,
        Node::Bool(value) => Value::Bool(value),
        Node::U64(value) => Value::from(value),
        Node::I64(value) => Value::from(value),
        Node::F64(value) => Value::from(value),
        Node::Str(text) => Value::String(text.to_owned()),
        Node::Array(items) => Value::Array(items.iter().map(|item| to_value(*item)).collect()),
        Node::Object(fields) => {
            Value::Object(fields.iter().map(|field| (field.name.to_owned(), to_value(field.value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_24_bytes() {
        assert_eq!(size_of::<Node<'_>>(), 24);
        assert_eq!(size_of::<Option<Node<'_>>>(), 24);
    }

    #[test]
    fn of_equal_names_the_last_stays() {
        let arena = Arena::new();
        let field = |name, value| Field { name, value: Node::U64(value) };
        let node = Node::object(&arena, vec![field("b", 1), field("a", 2), field("b", 3), field("b", 4)]);
        assert_eq!(node.to_json(), r#"{"a":2,"b":4}"#);
    }

    #[test]
    fn names_are_the_same_where_every_byte_is() {
        for len in 0..20 {
            let name = "abcdefghijklmnopqrst"[..len].to_owned();
            assert!(is_same(&name, &name.clone()));
            assert!(!is_same(&name, &format!("{name}x")) && !is_same(&format!("{name}x"), &name));
            for at in 0..len {
                let mut other = name.clone();
                other.replace_range(at..=at, "-");
                assert!(!is_same(&name, &other), "{name} {other}");
            }
        }
    }

    #[test]
    fn a_field_is_found_among_few_and_among_many() {
        for count in 0..40 {
            // Names that share lengths and beginnings, and the empty one.
            let names: Vec<String> = (0..count).map(|n| format!("{:b}", 2 * n)).chain([String::new()]).collect();
            let arena = Arena::new();
            let node = Node::object(&arena, names.iter().map(|name| Field { name, value: Node::Null }).collect());
            assert!(names.iter().all(|name| node.get(name).is_some()), "{count}");
            assert!((0..count).all(|n| node.get(&format!("{:b}", 2 * n + 1)).is_none()), "{count}");
        }
    }

    #[test]
    fn names_are_ordered_by_their_bytes() {
        let names = ["", "a", "aa", "ab", "b", "é", "z", "Z"];
        for (a, b) in names.iter().flat_map(|a| names.iter().map(move |b| (a, b))) {
            assert_eq!(order(a, b), a.as_bytes().cmp(b.as_bytes()), "{a:?} {b:?}");
        }
    }
}
