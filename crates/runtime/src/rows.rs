//! Documents from rows of text, as in CSV: a header says which field of the collection each column is.
//!
//! A field's location and types come from the collection, so `7` is a number where the schema says so and text where it
//! does not. Source: reference 5.3.

use catalog::{Collection, Projection};
use doc::{Arena, Field, Node, Pointer, Types};

/// What columns may name: the fields of a collection.
#[derive(Debug, Clone)]
pub struct Fields {
    collection: String,
    /// Sorted by field.
    projections: Vec<Projection>,
}

/// The columns of rows, as their header names them.
#[derive(Debug)]
pub struct Header {
    columns: Vec<Column>,
    root: Vec<(String, Branch)>,
}

#[derive(Debug)]
struct Column {
    field: String,
    types: Types,
    must_exist: bool,
}

/// What is at a location: the value of a column, or an object of further ones. Sorted by name.
#[derive(Debug)]
enum Branch {
    Column(usize),
    Object(Vec<(String, Branch)>),
}

impl Fields {
    /// Those of a collection.
    pub fn of(collection: &Collection) -> Self {
        // No row says when it is published.
        let given = collection.projections.iter().filter(|projection| !projection.pointer.is_published_at());
        Self { collection: collection.name.clone(), projections: given.cloned().collect() }
    }

    /// Understands a header; an error says which column, and what is wrong with it.
    pub fn header<'n>(&self, names: impl Iterator<Item = &'n str>) -> Result<Header, String> {
        let mut header = Header { columns: Vec::new(), root: Vec::new() };
        let mut pointers: Vec<&Pointer> = Vec::new();
        for name in names {
            let found = self.projections.iter().find(|projection| projection.field == name);
            let projection =
                found.ok_or_else(|| format!("collection {:?} has no projection {name:?}", self.collection))?;
            header.add(&self.projections, projection)?;
            pointers.push(&projection.pointer);
        }
        let covered = |p: &Projection| pointers.iter().any(|column| is_within(column, &p.pointer));
        if let Some(missing) = self.projections.iter().find(|p| p.must_exist && !covered(p)) {
            let location = missing.pointer.to_string();
            return Err(format!("header does not include any field that maps to the location {location:?}"));
        }
        sort(&mut header.root);
        Ok(header)
    }
}

impl Header {
    fn add(&mut self, projections: &[Projection], projection: &Projection) -> Result<(), String> {
        let column = self.columns.len();
        let field = &projection.field;
        let wrong = |why: &str| format!("column {} ({field:?}) {why}", column + 1);
        let mut above = Pointer::root();
        let mut at = &mut self.root;
        let mut tokens = projection.pointer.tokens().peekable();
        if tokens.peek().is_none() {
            return Err(wrong("is the whole document, which rows cannot hold"));
        }
        while let Some(token) = tokens.next() {
            let types = projections.iter().find(|p| p.pointer == above).map(|p| p.types);
            if !above.is_root() && types.is_some_and(|types| !types.contains(Types::OBJECT)) {
                return Err(wrong("is within an array, which rows cannot hold"));
            }
            above = above.child(token);
            let known = at.iter().position(|(name, _)| name == token);
            if tokens.peek().is_none() {
                if known.is_some() {
                    return Err(wrong("fills a location that another column fills, too"));
                }
                at.push((token.to_owned(), Branch::Column(column)));
                break;
            }
            let known = known.unwrap_or_else(|| {
                at.push((token.to_owned(), Branch::Object(Vec::new())));
                at.len() - 1
            });
            at = match &mut at[known].1 {
                Branch::Object(fields) => fields,
                Branch::Column(_) => return Err(wrong("is within the location of another column")),
            };
        }
        let must_exist = projection.must_exist;
        self.columns.push(Column { field: field.clone(), types: projection.types, must_exist });
        Ok(())
    }

    /// The document of a row. Columns at the end may be left out where the schema does not ask for them.
    pub fn document<'a>(&self, arena: &'a Arena, row: &[&str]) -> Result<Node<'a>, String> {
        if row.len() > self.columns.len() {
            return Err(format!("row has {} columns, but header had only {}", row.len(), self.columns.len()));
        }
        let omitted = self.columns.iter().enumerate().skip(row.len()).find(|(_, column)| column.must_exist);
        if let Some((n, column)) = omitted {
            return Err(format!("row omits column {} ({:?}), which must exist", n + 1, column.field));
        }
        let mut values = Vec::with_capacity(row.len());
        for (column, text) in self.columns.iter().zip(row) {
            values.push(column.value(arena, text)?);
        }
        Ok(object(arena, &self.root, &values).unwrap_or(Node::Object(&[])))
    }
}

impl Column {
    /// The value of a cell. Types are tried in the order integer, number, boolean, null, string; nothing is the value of an
    /// empty cell that may be left out.
    fn value<'a>(&self, arena: &'a Arena, text: &str) -> Result<Option<Node<'a>>, String> {
        let takes = |types: Types| !self.types.intersect(types).is_empty();
        if takes(Types::INTEGER) {
            if let Ok(value) = text.parse() {
                return Ok(Some(Node::U64(value)));
            }
            if let Ok(value) = text.parse() {
                return Ok(Some(Node::integer(value)));
            }
        }
        if takes(Types::FRACTION)
            && let Some(value) = text.parse().ok().filter(|value: &f64| value.is_finite())
        {
            return Ok(Some(Node::F64(value)));
        }
        if takes(Types::BOOLEAN) {
            match text {
                "1" | "t" | "T" | "TRUE" | "true" | "True" => return Ok(Some(Node::Bool(true))),
                "0" | "f" | "F" | "FALSE" | "false" | "False" => return Ok(Some(Node::Bool(false))),
                _ => {}
            }
        }
        if text.is_empty() && takes(Types::NULL) {
            return Ok(Some(Node::Null));
        }
        if takes(Types::STRING) {
            return Ok(Some(Node::Str(arena.alloc_str(text))));
        }
        match text.is_empty() {
            true if self.must_exist => Err(format!("field {:?}: value cannot be null", self.field)),
            true => Ok(None),
            false => {
                let types = self.types.names().collect::<Vec<_>>().join(" or ");
                Err(format!("field {:?}: {text:?} is no {types}", self.field))
            }
        }
    }
}

/// Whether a row ends within quotes, as one does that was cut off: nothing else tells it from a whole one.
pub fn ends_in_quotes(row: &[u8], separator: u8) -> bool {
    enum At {
        Begin,
        Plain,
        Quoted,
        /// Behind a quote within quotes, which a second one makes a character.
        Quote,
    }
    let mut at = At::Begin;
    for &byte in row {
        at = match (at, byte) {
            (At::Begin | At::Quote, b'"') => At::Quoted,
            (At::Quoted, b'"') => At::Quote,
            (At::Quoted, _) => At::Quoted,
            (_, b'\r' | b'\n') => At::Begin,
            (_, byte) if byte == separator => At::Begin,
            _ => At::Plain,
        };
    }
    matches!(at, At::Quoted)
}

/// The object of some fields; none where none of them has a value.
fn object<'a>(arena: &'a Arena, fields: &[(String, Branch)], values: &[Option<Node<'a>>]) -> Option<Node<'a>> {
    let mut made = Vec::with_capacity(fields.len());
    for (name, branch) in fields {
        let value = match branch {
            Branch::Column(column) => values.get(*column).copied().flatten(),
            Branch::Object(fields) => object(arena, fields, values),
        };
        made.extend(value.map(|value| Field { name: arena.alloc_str(name), value }));
    }
    (!made.is_empty()).then(|| Node::object(arena, made))
}

fn sort(fields: &mut [(String, Branch)]) {
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    for (_, branch) in fields {
        if let Branch::Object(fields) = branch {
            sort(fields);
        }
    }
}

/// Whether a location is `above`, or within it.
fn is_within(location: &Pointer, above: &Pointer) -> bool {
    let mut tokens = location.tokens();
    above.tokens().all(|token| tokens.next() == Some(token))
}

#[cfg(test)]
mod tests {
    use super::ends_in_quotes;

    #[test]
    fn rows_that_are_cut_off() {
        for (row, expected) in [
            ("", false),
            ("a,b\n", false),
            ("a,\"b\"\n", false),
            ("a,\"b\nc\"", false),
            ("a,\"b\"\"", true),
            ("a,\"b\"\"\"", false),
            ("a,\"b\n", true),
            ("a,\"", true),
            ("a,b\"c", false),
            ("a,\"b\"c\"", false),
            ("a\n\"b", true),
        ] {
            assert_eq!(ends_in_quotes(row.as_bytes(), b','), expected, "{row:?}");
        }
    }
}
