//! One column of many rows, as PostgreSQL takes it in one argument.

use ::postgres::types::ToSql;
use doc::Node;

use crate::sql::{self, Column, Kind, Table};

/// Values that fit their column; what does not was found before.
pub(super) enum Array<'a> {
    Integers(Vec<Option<i64>>),
    Numbers(Vec<Option<f64>>),
    Booleans(Vec<Option<bool>>),
    Texts(Vec<Option<&'a str>>),
    Json(Vec<Option<String>>),
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
            Kind::Json => Array::Json(values.map(|value| (!value.is_null()).then(|| value.to_json())).collect()),
        }
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
