//! Which journal of a collection a document goes to, and which journals a selector means.
//!
//! A journal is named `<collection>/<field>=<value>/…/pivot=00`: partition fields in order of their names, each value as a
//! path component that any file system and URL takes. Sources: reference 2.5 and 9.1.

use std::fmt::Write as _;

use catalog::{Collection, Selector};
use doc::{Node, Pointer};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The last component: the begin of the key range, of which there is one.
const PIVOT: &str = "pivot=00";

/// Longest component of a journal's name, in bytes: what file systems take.
const COMPONENT_BYTES_MAX: usize = 255;

/// Most journals of one collection: each costs memory in every reader.
pub(crate) const PARTITIONS_MAX: usize = 10_000;

const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');

/// Names the journals of one collection.
#[derive(Debug)]
pub(crate) struct Partitions {
    collection: String,
    fields: Vec<(String, Pointer)>,
}

impl Partitions {
    /// The partitions of a collection.
    pub(crate) fn of(collection: &Collection) -> Self {
        let fields = collection.partitions().map(|p| (p.field.clone(), p.pointer.clone())).collect();
        Self { collection: collection.name.clone(), fields }
    }

    /// Whether documents need to be looked at to name their journal.
    pub(crate) fn is_single(&self) -> bool {
        self.fields.is_empty()
    }

    /// Appends the packed values of a document's partition fields.
    pub(crate) fn pack(&self, document: Node<'_>, packed: &mut Vec<u8>) {
        self.fields.iter().for_each(|(_, pointer)| doc::pack_node(pointer.value(document), packed));
    }

    /// Writes the name of the document's journal. An error is a value that cannot be a path component.
    pub(crate) fn journal(&self, document: Node<'_>, name: &mut String) -> Result<(), String> {
        name.clear();
        name.push_str(&self.collection);
        name.push('/');
        for (field, pointer) in &self.fields {
            let begin = name.len();
            name.push_str(field);
            name.push('=');
            encode(pointer.value(document), name);
            if name.len() - begin > COMPONENT_BYTES_MAX {
                return Err(format!(
                    "the value at {pointer} is too long for a partition ({} bytes encoded, {COMPONENT_BYTES_MAX} at most)",
                    name.len() - begin
                ));
            }
            name.push('/');
        }
        name.push_str(PIVOT);
        Ok(())
    }
}

/// What all journals of a collection, and none of another, start with.
pub(crate) fn prefix(collection: &str) -> String {
    format!("{collection}/")
}

fn encode(value: Node<'_>, out: &mut String) {
    match value {
        // A space is `+`, as in a query string.
        Node::Str(text) => {
            for piece in utf8_percent_encode(text, KEPT) {
                out.extend(piece.chars().map(|c| if c == ' ' { '+' } else { c }));
            }
        }
        other => {
            let json = other.to_json();
            write!(out, "{}", utf8_percent_encode(&json, KEPT)).expect("writing to a string cannot fail");
        }
    }
}

/// Picks journals by their partition values.
#[derive(Debug, Default)]
pub(crate) struct JournalFilter {
    include: Vec<Vec<String>>,
    exclude: Vec<String>,
}

impl JournalFilter {
    /// The filter of a selector.
    pub(crate) fn of(selector: &Selector) -> Self {
        let component = |field: &str, value: &serde_json::Value| {
            let arena = doc::Arena::new();
            let mut text = format!("/{field}=");
            encode(doc::from_value(&arena, value), &mut text);
            text.push('/');
            text
        };
        let components = |(field, values): &(String, Vec<serde_json::Value>)| {
            values.iter().map(|v| component(field, v)).collect::<Vec<_>>()
        };
        Self {
            include: selector.include.iter().map(components).collect(),
            exclude: selector.exclude.iter().flat_map(components).collect(),
        }
    }

    /// Whether the journal is meant.
    pub(crate) fn matches(&self, journal: &str) -> bool {
        self.include.iter().all(|any| any.iter().any(|component| journal.contains(component.as_str())))
            && !self.exclude.iter().any(|component| journal.contains(component.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn encoded(value: serde_json::Value) -> String {
        let arena = doc::Arena::new();
        let mut out = String::new();
        encode(doc::from_value(&arena, &value), &mut out);
        out
    }

    #[test]
    fn values_are_path_components() {
        for (value, component) in [
            (json!("seg-7_a.b~"), "seg-7_a.b~"),
            (json!("a b/c"), "a+b%2Fc"),
            (json!("a+b"), "a%2Bb"),
            (json!("é"), "%C3%A9"),
            (json!(8), "8"),
            (json!(-3), "-3"),
            (json!(true), "true"),
            (json!(null), "null"),
        ] {
            assert_eq!(encoded(value), component);
        }
    }

    #[test]
    fn selectors_pick_journals() {
        let selector = Selector {
            include: vec![("vendor".into(), vec![json!(1), json!(2)])],
            exclude: vec![("kind".into(), vec![json!("a b")])],
            ..Selector::default()
        };
        let filter = JournalFilter::of(&selector);
        for (journal, expected) in [
            ("c/kind=x/vendor=1/pivot=00", true),
            ("c/kind=x/vendor=2/pivot=00", true),
            ("c/kind=x/vendor=12/pivot=00", false),
            ("c/kind=a+b/vendor=1/pivot=00", false),
        ] {
            assert_eq!(filter.matches(journal), expected, "{journal}");
        }
        assert!(JournalFilter::default().matches("c/pivot=00"));
    }
}
