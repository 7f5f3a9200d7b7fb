//! Values of documents as SQL knows them.

use doc::Node;

use super::{Column, Table};
use crate::error;
use runtime::ConnectorError;

const KEY_SHOWN_CHARS: usize = 200;

/// Why a value cannot be stored in its column.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit(pub(crate) &'static str);

const TYPE: Misfit = Misfit("has another type than its schema said");

impl Misfit {
    /// The error, which names the document and what to do.
    pub(crate) fn at(self, table: &Table, column: &Column, key: &[Node<'_>]) -> ConnectorError {
        let mut text = Vec::new();
        for (n, part) in key.iter().enumerate() {
            text.extend_from_slice(if n == 0 { b"" } else { b", " });
            doc::write(*part, &mut text);
        }
        let text = String::from_utf8_lossy(&text);
        let key: String = text.chars().take(KEY_SHOWN_CHARS).collect();
        error::user(format!(
            "the document with key [{key}] cannot be stored in table {}: column {:?} {}. Restrict it in the collection's \
             schema, or leave the field out of the binding",
            table.shown(),
            column.name,
            self.0,
        ))
    }
}

/// For a column of 64-bit integers.
pub(crate) fn integer(node: Node<'_>) -> Result<Option<i64>, Misfit> {
    const WIDE: Misfit = Misfit("holds an integer beyond 64 bits with sign");
    match node {
        Node::Null => Ok(None),
        Node::I64(value) => Ok(Some(value)),
        Node::U64(value) => i64::try_from(value).map(Some).map_err(|_| WIDE),
        // JSON Schema takes 1.0 for an integer.
        Node::F64(value) if value.fract() == 0.0 => {
            let whole = value as i64;
            if whole as f64 == value && whole != i64::MAX { Ok(Some(whole)) } else { Err(WIDE) }
        }
        _ => Err(TYPE),
    }
}

/// For a column of floating point.
pub(crate) fn number(node: Node<'_>) -> Result<Option<f64>, Misfit> {
    match node {
        Node::Null => Ok(None),
        Node::I64(value) => Ok(Some(value as f64)),
        Node::U64(value) => Ok(Some(value as f64)),
        Node::F64(value) => Ok(Some(value)),
        _ => Err(TYPE),
    }
}

/// For a column of booleans.
pub(crate) fn boolean(node: Node<'_>) -> Result<Option<bool>, Misfit> {
    match node {
        Node::Null => Ok(None),
        Node::Bool(value) => Ok(Some(value)),
        _ => Err(TYPE),
    }
}

/// For a column of text.
pub(crate) fn text(node: Node<'_>) -> Result<Option<&str>, Misfit> {
    match node {
        Node::Null => Ok(None),
        Node::Str(value) => Ok(Some(value)),
        _ => Err(TYPE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_keep_every_digit_or_are_refused() {
        assert_eq!(integer(Node::U64(i64::MAX as u64)), Ok(Some(i64::MAX)));
        assert_eq!(integer(Node::I64(i64::MIN)), Ok(Some(i64::MIN)));
        assert_eq!(integer(Node::F64(-3.0)), Ok(Some(-3)));
        assert_eq!(integer(Node::F64(i64::MIN as f64)), Ok(Some(i64::MIN)));
        assert_eq!(integer(Node::Null), Ok(None));
        for refused in [Node::U64(1 << 63), Node::F64(1e300), Node::F64(9_223_372_036_854_775_808.0)] {
            assert!(integer(refused).is_err(), "{refused:?}");
        }
        for refused in [Node::F64(1.5), Node::Str("1"), Node::Bool(true)] {
            assert_eq!(integer(refused), Err(TYPE));
        }
    }
}
