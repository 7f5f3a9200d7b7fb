//! Keys as bytes: one codec that keeps the order of values, so that bytes can be sorted, hashed and compared in their place.
//!
//! Every value is self-delimiting, and equal values (`1` and `1.0`) have equal bytes. First a tag, which ranks the types as
//! [`crate::compare`] does; every tag is above [`END`] and below [`ESCAPE`]. Then:
//!
//! ```text
//! null, false, true   nothing
//! number              8 bytes: the nearest f64, flipped so that bytes order as values
//!                     2 bytes: what an integer is more than that f64, biased
//! string              its bytes, 00 written as 00 FF; then 00
//! array               its items; then 00
//! object              for each field 01, its name as strings are, its value; then 00
//! ```

use crate::{Node, Pointer};

const END: u8 = 0;
const FIELD: u8 = 1;
const NULL: u8 = 1;
const FALSE: u8 = 2;
const TRUE: u8 = 3;
const NUMBER: u8 = 4;
const STRING: u8 = 5;
const ARRAY: u8 = 6;
const OBJECT: u8 = 7;
const ESCAPE: u8 = 0xff;

/// Appends the packed values of a document at the locations of a key; a missing value packs as what stands for it.
pub fn pack(document: Node<'_>, key: &[Pointer], out: &mut Vec<u8>) {
    for pointer in key {
        pack_node(pointer.value(document), out);
    }
}

/// Appends one packed value. The order of packed values is that of [`crate::compare`].
pub fn pack_node(node: Node<'_>, out: &mut Vec<u8>) {
    match node {
        Node::Null => out.push(NULL),
        Node::Bool(false) => out.push(FALSE),
        Node::Bool(true) => out.push(TRUE),
        Node::U64(value) => pack_number(value as f64, i128::from(value) - (value as f64) as i128, out),
        Node::I64(value) => pack_number(value as f64, i128::from(value) - (value as f64) as i128, out),
        Node::F64(value) => pack_number(value, 0, out),
        Node::Str(text) => {
            out.push(STRING);
            pack_text(text, out);
        }
        Node::Array(items) => {
            out.push(ARRAY);
            for item in items {
                pack_node(*item, out);
            }
            out.push(END);
        }
        Node::Object(fields) => {
            out.push(OBJECT);
            for field in fields {
                out.push(FIELD);
                pack_text(field.name, out);
                pack_node(field.value, out);
            }
            out.push(END);
        }
    }
}

/// Rounding to the nearest `f64` is monotone, so the remainder only decides between integers of the same `f64`. It is at most
/// half the distance of neighbours below 2^64, which is 1024.
fn pack_number(nearest: f64, remainder: i128, out: &mut Vec<u8>) {
    // Adding zero makes -0 the same as 0.
    let bits = (nearest + 0.0).to_bits();
    let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    let biased = u16::try_from(remainder + 0x8000).expect("an integer is within 1024 of its nearest f64");
    out.push(NUMBER);
    out.extend_from_slice(&ordered.to_be_bytes());
    out.extend_from_slice(&biased.to_be_bytes());
}

fn pack_text(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    while let Some(at) = memchr::memchr(0, rest) {
        out.extend_from_slice(&rest[..=at]);
        out.push(ESCAPE);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(END);
}

/// Where a packed key falls in the range of keys that shards and partitions divide between them. The same on every machine
/// and in every version.
pub fn hash(packed: &[u8]) -> u32 {
    (xxhash_rust::xxh3::xxh3_64(packed) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(node: Node<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        pack_node(node, &mut out);
        out
    }

    #[test]
    fn equal_numbers_pack_alike() {
        assert_eq!(packed(Node::U64(1)), packed(Node::F64(1.0)));
        assert_eq!(packed(Node::U64(0)), packed(Node::F64(-0.0)));
        assert_eq!(packed(Node::I64(i64::MIN)), packed(Node::F64(-9223372036854775808.0)));
        assert_ne!(packed(Node::U64(u64::MAX)), packed(Node::U64(u64::MAX - 1)));
    }

    #[test]
    fn the_hash_never_changes() {
        assert_eq!(hash(b""), 0x2d06_8005);
    }

    #[test]
    fn a_missing_value_is_null() {
        let key = ["/a".parse().unwrap()];
        let (mut missing, mut null) = (Vec::new(), Vec::new());
        pack(Node::Object(&[]), &key, &mut missing);
        pack_node(Node::Null, &mut null);
        assert_eq!(missing, null);
    }
}
