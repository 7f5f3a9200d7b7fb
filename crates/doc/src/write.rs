//! From nodes to JSON text: compact, names in order, the shortest digits that read back as the same number.

use std::ops::Range;

use crate::parse::plain_end;
use crate::{Arena, Field, Node, parse};

/// Appends a node as compact JSON.
pub fn write(node: Node<'_>, out: &mut Vec<u8>) {
    let is_whole = write_within(node, usize::MAX, out);
    debug_assert!(is_whole, "nothing is so deep");
}

/// Appends an object as compact JSON, and tells of each field where its value is in `out`. Of anything else there is nothing to
/// tell.
pub fn write_fields(node: Node<'_>, out: &mut Vec<u8>, mut told: impl FnMut(&str, Range<usize>)) {
    let Node::Object(fields) = node else { return write(node, out) };
    object(fields, out, |field, out| {
        let begin = out.len();
        write(field.value, out);
        told(field.name, begin..out.len());
        true
    });
}

/// The same as [`write`], unless more than so many arrays and objects stand within each other; then what was written is worth nothing.
pub(crate) fn write_within(node: Node<'_>, depth_max: usize, out: &mut Vec<u8>) -> bool {
    match node {
        Node::Null => out.extend_from_slice(b"null"),
        Node::Bool(true) => out.extend_from_slice(b"true"),
        Node::Bool(false) => out.extend_from_slice(b"false"),
        Node::U64(value) => number(&value, out),
        Node::I64(value) => number(&value, out),
        Node::F64(value) => number(&value, out),
        Node::Str(text) => string(text, out),
        Node::Array(_) | Node::Object(_) if depth_max == 0 => return false,
        Node::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                if !write_within(*item, depth_max - 1, out) {
                    return false;
                }
            }
            out.push(b']');
        }
        Node::Object(fields) => {
            return object(fields, out, |field, out| write_within(field.value, depth_max - 1, out));
        }
    }
    true
}

/// Appends an object whose values `value` appends, until it says that one cannot be.
#[inline]
fn object(fields: &[Field<'_>], out: &mut Vec<u8>, mut value: impl FnMut(&Field<'_>, &mut Vec<u8>) -> bool) -> bool {
    out.push(b'{');
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        string(field.name, out);
        out.push(b':');
        if !value(field, out) {
            return false;
        }
    }
    out.push(b'}');
    true
}

fn number(value: &impl serde::Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("a number is always written to memory");
}

fn string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    let mut from = 0;
    out.push(b'"');
    loop {
        let end = plain_end(bytes, from);
        out.extend_from_slice(&bytes[from..end]);
        let Some(&byte) = bytes.get(end) else { break };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x8 => out.extend_from_slice(b"\\b"),
            0xc => out.extend_from_slice(b"\\f"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
        from = end + 1;
    }
    out.push(b'"');
}

impl Node<'_> {
    /// The node as compact JSON, as [`write`] makes it.
    pub fn to_json(self) -> String {
        let mut out = Vec::new();
        write(self, &mut out);
        String::from_utf8(out).expect("JSON of valid strings is UTF-8")
    }
}

/// Appends `document`, the text of one object as [`write`] makes it, with `/_meta/uuid` set to `uuid`; other properties of
/// `_meta` are kept.
///
/// Most documents have no `_meta` and only names that sort behind it, so that the stamp goes in front without parsing.
pub fn stamp(document: &[u8], uuid: &str, out: &mut Vec<u8>) {
    let behind_meta = match document {
        b"{}" => true,
        [b'{', b'"', name @ ..] => {
            let end = plain_end(name, 0);
            name.get(end) == Some(&b'"') && &name[..end] > b"_meta".as_slice()
        }
        _ => false,
    };
    if behind_meta {
        out.extend_from_slice(b"{\"_meta\":{\"uuid\":");
        string(uuid, out);
        out.push(b'}');
        if document != b"{}" {
            out.push(b',');
        }
        out.extend_from_slice(&document[1..]);
        return;
    }
    let arena = Arena::new();
    let node = parse(&arena, document).expect("a stamped document is JSON that we wrote");
    let uuid = Node::Str(arena.alloc_str(uuid));
    let meta = with(&arena, node.get("_meta"), "uuid", uuid);
    write(with(&arena, Some(node), "_meta", meta), out);
}

/// The object with one property set; anything else counts as an empty object.
fn with<'a>(arena: &'a Arena, node: Option<Node<'a>>, name: &'a str, value: Node<'a>) -> Node<'a> {
    let mut fields = node.and_then(Node::as_object).unwrap_or_default().to_vec();
    fields.push(Field { name, value });
    Node::object(arena, fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps() {
        for (document, expect) in [
            ("{}", r#"{"_meta":{"uuid":"U"}}"#),
            (r#"{"event":1}"#, r#"{"_meta":{"uuid":"U"},"event":1}"#),
            (r#"{"A":1,"event":2}"#, r#"{"A":1,"_meta":{"uuid":"U"},"event":2}"#),
            (r#"{"_meta":{"op":"d","uuid":"old"},"a":1}"#, r#"{"_meta":{"op":"d","uuid":"U"},"a":1}"#),
            (r#"{"_meta":7,"a":1}"#, r#"{"_meta":{"uuid":"U"},"a":1}"#),
            (r#"{"_meta2":1}"#, r#"{"_meta":{"uuid":"U"},"_meta2":1}"#),
            (r#"{"_m\"":1}"#, r#"{"_m\"":1,"_meta":{"uuid":"U"}}"#),
        ] {
            let mut out = Vec::new();
            stamp(document.as_bytes(), "U", &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expect);
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(
            Node::Str("\u{1}\u{8}\u{c}\n\r\t\"\\é\u{7f}").to_json(),
            "\"\\u0001\\b\\f\\n\\r\\t\\\"\\\\é\u{7f}\""
        );
    }
}
