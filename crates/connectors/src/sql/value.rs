//! Values of documents as SQL knows them.

use doc::Node;

use runtime::Row;

use super::{Column, Dialect, Kind, Table};

/// Why a value cannot be stored in its column.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit(&'static str);

const TYPE: Misfit = Misfit("has another type than its schema said");
const REQUIRED: Misfit = Misfit("must have a value, and has none");
const NUL: Misfit = Misfit("holds the character NUL (\\u0000), which PostgreSQL cannot store as text");

/// Whether the columns of a row can hold its values; says which cannot otherwise, and why.
pub(crate) fn fits(dialect: Dialect, table: &Table, row: &Row<'_>) -> Result<(), String> {
    let values = row.key.iter().chain(row.values);
    for (column, value) in table.columns.iter().zip(values) {
        check(dialect, column, *value).map_err(|misfit| format!("column {:?} {}", column.name, misfit.0))?;
    }
    Ok(())
}

/// Whether a table can hold a row of this key.
pub(crate) fn key_fits(dialect: Dialect, table: &Table, key: &[Node<'_>]) -> bool {
    table.key_columns().iter().zip(key).all(|(column, value)| check(dialect, column, *value).is_ok())
}

fn check(dialect: Dialect, column: &Column, value: Node<'_>) -> Result<(), Misfit> {
    if value.is_null() {
        return if column.required { Err(REQUIRED) } else { Ok(()) };
    }
    match column.kind {
        Kind::Integer => integer(value).map(drop),
        Kind::Number => number(value).map(drop),
        Kind::Boolean => boolean(value).map(drop),
        Kind::Json => Ok(()),
        Kind::Text | Kind::Formatted(_) => match text(value)? {
            Some(text) if dialect == Dialect::Postgres && text.contains('\0') => Err(NUL),
            _ => Ok(()),
        },
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
