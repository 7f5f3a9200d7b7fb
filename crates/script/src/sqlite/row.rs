//! Rows of a statement as documents.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doc::{Arena, Field, Node};
use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::field::Fields;

/// What becomes of the columns of a statement's rows.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// The names as SQLite has them.
    names: Vec<String>,
    /// The properties of the document, and whether each is a boolean where the schema has its way.
    properties: Vec<(String, bool)>,
}

impl Columns {
    /// Brings itself up to date with the statement a row is of: its columns change when a table does. SQLite has no booleans
    /// but those of JSON, which come as text; they are told from other text by the properties that are to be `booleans`.
    pub(super) fn update(&mut self, row: &Row<'_>, fields: &Fields, booleans: &[String]) {
        let statement: &rusqlite::Statement<'_> = row.as_ref();
        if !statement.column_names().eq(self.names.iter().map(String::as_str)) {
            self.names = statement.column_names().map(str::to_owned).collect();
            let property = |name: &String| match name.starts_with(['$', '@', ':']) {
                true => fields.find(name).map_or_else(|| name.clone(), |field| field.name.clone()),
                false => name.clone(),
            };
            let typed = |name: &String| {
                let name = property(name);
                let is_boolean = booleans.contains(&name);
                (name, is_boolean)
            };
            self.properties = self.names.iter().map(typed).collect();
        }
    }

    /// A row's document: the value of a single column whose name starts with `json`, or an object of the columns.
    pub(super) fn document<'a>(&self, arena: &'a Arena, row: &Row<'_>) -> rusqlite::Result<Node<'a>> {
        if let [name] = &*self.names
            && name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("json"))
        {
            return Ok(match row.get_ref(0)? {
                ValueRef::Text(text) => parse(arena, text).unwrap_or_else(|| string(arena, text)),
                other => value(arena, other),
            });
        }
        let mut fields = Vec::with_capacity(self.properties.len());
        for (n, (name, is_boolean)) in self.properties.iter().enumerate() {
            let value = match row.get_ref(n)? {
                ValueRef::Text(b"true") if *is_boolean => Node::Bool(true),
                ValueRef::Text(b"false") if *is_boolean => Node::Bool(false),
                other => value(arena, other),
            };
            fields.push(Field { name: arena.alloc_str(name), value });
        }
        Ok(Node::object(arena, fields))
    }
}

/// Bytes of a row's values, about.
pub(super) fn size(row: &Row<'_>, columns: usize) -> usize {
    let size = |n| match row.get_ref(n) {
        Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => bytes.len(),
        _ => 0,
    };
    (0..columns).map(|n| size(n) + size_of::<Field<'_>>()).sum()
}

fn value<'a>(arena: &'a Arena, value: ValueRef<'_>) -> Node<'a> {
    match value {
        ValueRef::Null => Node::Null,
        ValueRef::Integer(value) => Node::integer(value),
        ValueRef::Real(value) if value.is_finite() => Node::F64(value),
        ValueRef::Real(value) => Node::Str(match value {
            f64::INFINITY => "Infinity",
            f64::NEG_INFINITY => "-Infinity",
            _ => "NaN",
        }),
        ValueRef::Blob(bytes) => Node::Str(arena.alloc_str(&STANDARD.encode(bytes))),
        ValueRef::Text(text) => {
            let compound = matches!(text, [b'{', .., b'}'] | [b'[', .., b']']);
            let parsed = if compound { parse(arena, text) } else { None };
            parsed.unwrap_or_else(|| string(arena, text))
        }
    }
}

fn parse<'a>(arena: &'a Arena, text: &[u8]) -> Option<Node<'a>> {
    // Text that is no JSON after all stays in the arena for as long as the block does.
    doc::parse(arena, arena.alloc_slice_copy(text)).ok()
}

fn string<'a>(arena: &'a Arena, text: &[u8]) -> Node<'a> {
    Node::Str(arena.alloc_str(&String::from_utf8_lossy(text)))
}
