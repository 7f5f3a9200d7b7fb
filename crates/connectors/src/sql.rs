//! What SQL endpoints share: columns and what may be kept in them, table definitions, and the checkpoint with its fence.
//!
//! Rows and the checkpoint that explains them commit in one transaction, whose last statement updates the checkpoint where
//! the fence is still ours. Opening takes the fence: a counter, so that people can see who came later, and a random nonce,
//! because a counter comes back when a database is restored from a backup.

mod apply;
mod dead_letters;
mod evolve;
mod held;
mod value;

use std::fmt::Write;

use catalog::{Binding, Collection, Constraint, Projection};
use doc::Types;
use runtime::ConnectorError;
use sha2::{Digest, Sha256};

use crate::error;
pub(crate) use apply::{Applied, CHECKPOINTS, Existing, Fence, SPECS, Session, apply};
pub(crate) use dead_letters::{DEAD_LETTERS, note as dead_letters_note, set_aside};
pub(crate) use held::Held;
pub(crate) use value::{boolean, fits, integer, key_fits, number, text};

/// Tables that are ours.
pub(crate) const RESERVED: [&str; 3] = [CHECKPOINTS, SPECS, DEAD_LETTERS];

/// How many characters of a shortened name tell it from others.
const NAME_HASH_CHARS: usize = 8;

/// A database we speak to, by how its table definitions differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// How long names may be, in bytes. PostgreSQL cuts longer ones, so that two become one.
    pub(crate) fn name_bytes_max(self) -> usize {
        match self {
            Dialect::Sqlite => 1024,
            Dialect::Postgres => 63,
        }
    }

    /// The name of a field's column: the field's, or, where that is too long, its beginning and a hash of all of it.
    pub(crate) fn column_name(self, field: &str) -> String {
        let max = self.name_bytes_max();
        if field.len() <= max {
            return field.to_owned();
        }
        let begin = &field[..field.floor_char_boundary(max - NAME_HASH_CHARS - 1)];
        let hash: String = Sha256::digest(field).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{begin}_{}", &hash[..NAME_HASH_CHARS])
    }

    fn column_type(self, kind: Kind) -> &'static str {
        match (self, kind) {
            (Dialect::Sqlite, Kind::Integer) => "INTEGER",
            (Dialect::Sqlite, Kind::Number) => "REAL",
            (Dialect::Postgres, Kind::Integer) => "BIGINT",
            (Dialect::Postgres, Kind::Number) => "DOUBLE PRECISION",
            (_, Kind::Boolean) => "BOOLEAN",
            (Dialect::Postgres, Kind::Json) => "JSON",
            (Dialect::Postgres, Kind::Formatted(kind)) => kind,
            (_, Kind::Json | Kind::Text | Kind::Formatted(_)) => "TEXT",
        }
    }
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Integer,
    Number,
    Boolean,
    Text,
    /// Text of a format that the database has a type of its own for: this one.
    Formatted(&'static str),
    /// An object or array, as JSON text.
    Json,
}

impl Kind {
    /// The kind of column for values of these types, if one can hold them all.
    fn of(types: Types) -> Option<Kind> {
        let types = types.without(Types::NULL);
        match types {
            _ if types.is_empty() => None,
            Types::INTEGER => Some(Kind::Integer),
            Types::BOOLEAN => Some(Kind::Boolean),
            Types::STRING => Some(Kind::Text),
            Types::ARRAY | Types::OBJECT => Some(Kind::Json),
            _ if types.subset(Types::NUMBER) => Some(Kind::Number),
            _ => None,
        }
    }
}

/// The type of PostgreSQL for strings of a format, spelled as it is told of tables that are there.
fn formatted(format: &str) -> Option<&'static str> {
    Some(match format {
        "date-time" => "TIMESTAMP WITH TIME ZONE",
        "date" => "DATE",
        "uuid" => "UUID",
        "integer" | "number" => "NUMERIC",
        _ => return None,
    })
}

/// What may be done with each projection of a collection, in their order.
pub(crate) fn constraints(collection: &Collection) -> Vec<(Constraint, &'static str)> {
    let fits = |projection: &Projection| field_mistake(&projection.field).is_none();
    let all = &collection.projections;
    let constraint = |projection: &Projection| {
        let kind = Kind::of(projection.types);
        let required = projection.key || projection.pointer.is_root();
        match kind {
            _ if required && !fits(projection) => {
                if all.iter().any(|other| other.pointer == projection.pointer && fits(other)) {
                    (Constraint::Forbidden, "its name cannot be a column's; another field of the location can be kept")
                } else {
                    (Constraint::Unsatisfiable, "its name cannot be a column's; give it a projection with another one")
                }
            }
            _ if projection.pointer.is_root() => (Constraint::LocationRequired, "the document must be kept"),
            None if projection.key => {
                (Constraint::Unsatisfiable, "a part of the key must have one type to be a column")
            }
            _ if projection.key => (Constraint::LocationRequired, "all parts of the key must be kept"),
            None => (Constraint::Forbidden, "a location of several types, or of null alone, cannot be a column"),
            _ if !fits(projection) => (Constraint::Forbidden, "its name cannot be a column's"),
            Some(Kind::Json) => (Constraint::Optional, "an object or array can be kept as JSON"),
            Some(_) => (Constraint::LocationRecommended, "a location of one scalar type makes a column"),
        }
    };
    all.iter().map(constraint).collect()
}

/// Why the name cannot be that of a table or schema.
pub(crate) fn name_mistake(dialect: Dialect, name: &str) -> Option<String> {
    let max = dialect.name_bytes_max();
    match field_mistake(name) {
        Some(mistake) => Some(mistake.to_owned()),
        None if name.len() > max => Some(format!("the name is {} bytes long, and may be {max} at most", name.len())),
        None => None,
    }
}

/// Why the name of a field cannot be that of a column.
fn field_mistake(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("a name must not be empty"),
        _ if name.contains('\0') => Some("a name must not contain the character NUL"),
        _ => None,
    }
}

/// A name as an SQL identifier, always in quotes, so that no word is reserved and nothing ends it early.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table of a binding.
#[derive(Debug)]
pub(crate) struct Table {
    /// Its name, behind its schema's if that is given.
    pub(crate) path: Vec<String>,
    /// Columns: those of the key, of the values, and of the document.
    pub(crate) columns: Vec<Column>,
    /// How many columns make the key.
    pub(crate) keys: usize,
    /// Whether there is a column for the document, the last one.
    pub(crate) document: bool,
    /// Whether documents are only added. Such a table has no primary key.
    pub(crate) delta: bool,
    /// The collection whose documents it keeps.
    pub(crate) collection: String,
}

/// Which columns of a table must have a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Required {
    /// Those whose schema says so.
    AsKnown,
    /// Those of the key alone.
    Keys,
}

/// A column of a table.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
    comment: String,
}

impl Table {
    /// The table of a binding.
    pub(crate) fn new(
        dialect: Dialect,
        path: Vec<String>,
        binding: &Binding,
        collection: &Collection,
    ) -> Result<Self, ConnectorError> {
        let shown = path.join(".");
        let fields = &binding.fields;
        let mut columns: Vec<Column> = Vec::new();
        for field in fields.keys.iter().chain(&fields.values).chain(&fields.document) {
            let column = collection
                .projection(field)
                .ok_or_else(|| error::user(format!("{} has no field {field:?}", collection.name)))
                .and_then(|projection| Column::new(dialect, projection))?;
            // SQLite tells names apart by more than the case of ASCII letters.
            let same = |other: &&Column| match dialect {
                Dialect::Sqlite => other.name.eq_ignore_ascii_case(&column.name),
                Dialect::Postgres => other.name == column.name,
            };
            if let Some(other) = columns.iter().find(same) {
                let (a, b) = (&other.name, &column.name);
                return Err(error::user(format!("the fields {a:?} and {b:?} would be one column of table {shown}")));
            }
            columns.push(column);
        }
        if !binding.delta_updates && (fields.keys.is_empty() || fields.document.is_none()) {
            let message = format!("table {shown} keeps neither key nor document, so it can only have delta updates");
            return Err(error::user(message));
        }
        Ok(Self {
            path,
            columns,
            keys: fields.keys.len(),
            document: fields.document.is_some(),
            delta: binding.delta_updates,
            collection: collection.name.clone(),
        })
    }

    /// Its name as people write it.
    pub(crate) fn shown(&self) -> String {
        self.path.join(".")
    }

    /// Its name in SQL.
    pub(crate) fn quoted(&self) -> String {
        self.path.iter().map(|part| quote(part)).collect::<Vec<_>>().join(".")
    }

    /// Keeps as text what a table that is there has as text, for it was made when all strings were.
    pub(crate) fn stay_with(&mut self, existing: &[Existing]) {
        let is_text = |name: &str| existing.iter().any(|e| e.name == name && e.kind.eq_ignore_ascii_case("text"));
        for column in &mut self.columns {
            if matches!(column.kind, Kind::Formatted(_)) && is_text(&column.name) {
                column.kind = Kind::Text;
            }
        }
    }

    /// The columns of the key.
    pub(crate) fn key_columns(&self) -> &[Column] {
        &self.columns[..self.keys]
    }

    /// The statement that creates it, with the columns that must have a value.
    fn create(&self, dialect: Dialect, required: Required) -> String {
        let mut sql = format!(
            "-- Generated by Segtide for materializing collection '{}'\n-- to table: {}\nCREATE TABLE {} (\n",
            printable(&self.collection),
            printable(&self.shown()),
            self.quoted(),
        );
        for (n, column) in self.columns.iter().enumerate() {
            let (name, kind) = (quote(&column.name), dialect.column_type(column.kind));
            let must = column.required && (required == Required::AsKnown || n < self.keys && !self.delta);
            let required = if must { " NOT NULL" } else { "" };
            let comma = if n + 1 < self.columns.len() || !self.delta { "," } else { "" };
            write!(sql, "\t-- {}\n\t{name} {kind}{required}{comma}\n", column.comment)
                .expect("memory can be written to");
        }
        if self.delta {
            sql.push_str(");\n");
        } else {
            write!(sql, "\n\tPRIMARY KEY({})\n);\n", names(self.key_columns())).expect("memory can be written to");
        }
        sql
    }

    /// What follows an `INSERT` into the table, called `t`, so that a row that is there is updated.
    pub(crate) fn on_conflict(&self) -> String {
        if self.delta {
            return String::new();
        }
        let rest = &self.columns[self.keys..];
        let set = rest.iter().map(|column| {
            let name = quote(&column.name);
            format!("{name} = excluded.{name}")
        });
        let set = set.collect::<Vec<_>>().join(", ");
        // A row that is as it was is left alone. The document comes last, and is what differs where anything does.
        let differs = rest.iter().rev().map(|column| {
            let name = quote(&column.name);
            match column.kind {
                // PostgreSQL cannot compare JSON but by its text.
                Kind::Json => format!("CAST(t.{name} AS TEXT) IS DISTINCT FROM CAST(excluded.{name} AS TEXT)"),
                _ => format!("t.{name} IS DISTINCT FROM excluded.{name}"),
            }
        });
        let differs = differs.collect::<Vec<_>>().join(" OR ");
        format!(" ON CONFLICT ({}) DO UPDATE SET {set} WHERE {differs}", names(self.key_columns()))
    }
}

impl Column {
    fn new(dialect: Dialect, projection: &Projection) -> Result<Self, ConnectorError> {
        let Projection { field, pointer, types, .. } = projection;
        if let Some(mistake) = field_mistake(field) {
            return Err(error::user(format!("the field {field:?} cannot be a column: {mistake}")));
        }
        let kind = if pointer.is_root() { Some(Kind::Json) } else { Kind::of(*types) };
        let mut kind =
            kind.ok_or_else(|| error::user(format!("the field {field:?} of types {types} cannot be a column")))?;
        // Two keys may be one moment, or one number.
        if kind == Kind::Text
            && dialect == Dialect::Postgres
            && !projection.key
            && let Some(own) = projection.format.as_deref().and_then(formatted)
        {
            kind = Kind::Formatted(own);
        }
        let origin = if projection.explicit { "user-provided" } else { "auto-generated" };
        let comment = format!("{origin} projection of JSON at: {pointer} with inferred types: {types}");
        Ok(Self {
            name: dialect.column_name(field),
            kind,
            required: projection.pointer.is_root() || projection.must_exist && !types.contains(Types::NULL),
            comment: printable(&comment),
        })
    }
}

/// Column names for SQL, with commas.
pub(crate) fn names(columns: &[Column]) -> String {
    columns.iter().map(|column| quote(&column.name)).collect::<Vec<_>>().join(", ")
}

/// Text for a comment of SQL, which ends with its line.
fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_types() {
        for (types, kind) in [
            (Types::INTEGER, Some(Kind::Integer)),
            (Types::INTEGER.union(Types::NULL), Some(Kind::Integer)),
            (Types::NUMBER, Some(Kind::Number)),
            (Types::FRACTION, Some(Kind::Number)),
            (Types::STRING, Some(Kind::Text)),
            (Types::BOOLEAN, Some(Kind::Boolean)),
            (Types::OBJECT, Some(Kind::Json)),
            (Types::ARRAY.union(Types::OBJECT), None),
            (Types::INTEGER.union(Types::STRING), None),
            (Types::NULL, None),
            (Types::NONE, None),
            (Types::ANY, None),
        ] {
            assert_eq!(Kind::of(types), kind, "{types}");
        }
    }

    #[test]
    fn long_names_stay_apart() {
        let (a, b) = ("x".repeat(63) + "a", "x".repeat(63) + "b");
        let (long_a, long_b) = (Dialect::Postgres.column_name(&a), Dialect::Postgres.column_name(&b));
        assert_eq!((long_a.len(), long_b.len()), (63, 63));
        assert_ne!(long_a, long_b);
        assert_eq!(long_a, Dialect::Postgres.column_name(&a), "they are kept in tables, so they stay");
        assert_eq!(Dialect::Postgres.column_name(&"ü".repeat(40)), format!("{}_bdf9bfe5", "ü".repeat(27)));
        assert_eq!(Dialect::Postgres.column_name(&a[..63]), a[..63]);
        assert_eq!(Dialect::Sqlite.column_name(&a), a);
    }

    #[test]
    fn names_cannot_break_out() {
        assert_eq!(quote("select"), r#""select""#);
        assert_eq!(quote(r#"a"; DROP TABLE b; --"#), r#""a""; DROP TABLE b; --""#);
        assert_eq!(printable("a\nDROP TABLE b;\r\u{85}"), "a\u{fffd}DROP TABLE b;\u{fffd}\u{fffd}");
    }

    #[test]
    fn a_table_says_where_its_columns_come_from() {
        let column =
            |name: &str, kind, required| Column { name: name.into(), kind, required, comment: "comment".into() };
        let mut table = Table {
            path: vec!["t".into()],
            columns: vec![
                column("id", Kind::Integer, true),
                column("a b", Kind::Number, false),
                column("flow_document", Kind::Json, true),
            ],
            keys: 1,
            document: true,
            delta: false,
            collection: "a/b\nc".into(),
        };
        assert_eq!(
            table.create(Dialect::Postgres, Required::AsKnown),
            "-- Generated by Segtide for materializing collection 'a/b\u{fffd}c'\n-- to table: t\nCREATE TABLE \"t\" (\n\
             \t-- comment\n\t\"id\" BIGINT NOT NULL,\n\t-- comment\n\t\"a b\" DOUBLE PRECISION,\n\
             \t-- comment\n\t\"flow_document\" JSON NOT NULL,\n\n\tPRIMARY KEY(\"id\")\n);\n"
        );
        assert_eq!(
            table.on_conflict(),
            " ON CONFLICT (\"id\") DO UPDATE SET \"a b\" = excluded.\"a b\", \"flow_document\" = excluded.\"flow_document\" \
             WHERE CAST(t.\"flow_document\" AS TEXT) IS DISTINCT FROM CAST(excluded.\"flow_document\" AS TEXT) \
             OR t.\"a b\" IS DISTINCT FROM excluded.\"a b\""
        );
        table.delta = true;
        assert!(table.create(Dialect::Sqlite, Required::AsKnown).ends_with("\t\"flow_document\" TEXT NOT NULL\n);\n"));
        assert_eq!(table.on_conflict(), "");
    }
}
