//! One column of many rows, as PostgreSQL takes it in one argument.

use ::postgres::types::ToSql;
use std::borrow::Cow;

use doc::Node;

use crate::sql::{self, Column, Kind, Table};

/// Values that fit their column; what does not was found before.
pub(super) enum Array<'a> {
    Integers(Vec<Option<i64>>),
    Numbers(Vec<Option<f64>>),
    Booleans(Vec<Option<bool>>),
    Texts(Vec<Option<&'a str>>),
    Json(Vec<Option<Cow<'a, str>>>),
}

impl<'a> Array<'a> {
    /// The values of a column.
    pub(super) fn new(column: &Column, values: impl Iterator<Item = Node<'a>>) -> Self {
        match column.kind {
            Kind::Integer => Array::Integers(values.map(|value| sql::integer(value).ok().flatten()).collect()),
            Kind::Number => Array::Numbers(values.map(|value| sql::number(value).ok().flatten()).collect()),
            Kind::Boolean => Array::Booleans(values.map(|value| sql::boolean(value).ok().flatten()).collect()),
            Kind::Text | Kind::Formatted(_) => {
                Array::Texts(values.map(|value| sql::text(value).ok().flatten()).collect())
            }
            Kind::Json => Array::json(values.map(|value| (value, None))),
        }
    }

    /// An array of JSON, of values and their text where it is known.
    pub(super) fn json(values: impl Iterator<Item = (Node<'a>, Option<&'a str>)>) -> Self {
        let text = |value: Node<'_>, known: Option<&'a str>| known.map_or_else(|| value.to_json().into(), Cow::from);
        Array::Json(values.map(|(value, known)| (!value.is_null()).then(|| text(value, known))).collect())
    }

    /// What a statement takes.
    pub(super) fn bind(&self) -> &(dyn ToSql + Sync) {
        match self {
            Array::Integers(values) => values,
            Array::Numbers(values) => values,
            Array::Booleans(values) => values,
            Array::Texts(values) => values,
            Array::Json(values) => values,
        }
    }
}

/// The columns of the key.
pub(super) fn key_arrays<'a>(table: &Table, keys: impl Iterator<Item = &'a [Node<'a>]> + Clone) -> Vec<Array<'a>> {
    let columns = table.key_columns().iter().enumerate();
    columns.map(|(n, column)| Array::new(column, keys.clone().map(|key| key[n]))).collect()
}
