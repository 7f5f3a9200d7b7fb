//! Fields of a source document as parameters of a statement: how they are named, and what they become.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use catalog::{Collection, Projection};
use doc::{Arena, Node, Pointer};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};

use super::block::SPACE;

/// How many edits away a parameter may be to be meant.
const EDITS_MAX: usize = 4;

/// The fields of a transform's source.
pub(super) struct Fields(Vec<Field>);

/// One projection of the source.
#[derive(Debug, Clone)]
pub(super) struct Field {
    /// Its name.
    pub(super) name: String,
    pointer: Pointer,
    strings: Strings,
}

/// What strings of a field are to SQLite.
#[derive(Debug, Clone, Copy)]
enum Strings {
    /// TEXT.
    Plain,
    /// Decimal digits: INTEGER where they are one.
    Integer,
    /// REAL where it is one.
    Number,
    /// BLOB where it decodes.
    Base64,
}

impl Fields {
    /// The fields of a source collection.
    pub(super) fn of(source: &Collection) -> Fields {
        let shape = source.read_schema.shape();
        let field = |projection: &Projection| {
            let encoding = &shape.locate(&projection.pointer).shape.content_encoding;
            let strings = match (encoding.as_deref(), projection.format.as_deref()) {
                (Some("base64"), _) => Strings::Base64,
                (_, Some("integer")) => Strings::Integer,
                (_, Some("number")) => Strings::Number,
                _ => Strings::Plain,
            };
            Field { name: projection.field.clone(), pointer: projection.pointer.clone(), strings }
        };
        Fields(source.projections.iter().map(field).collect())
    }

    /// The field a parameter means: `$a$b` is the field `a/b`, or else one that differs from it only by white space or a `-`
    /// where the parameter has `_`; `$p::(any field)` is the one in parentheses.
    pub(super) fn find(&self, parameter: &str) -> Option<&Field> {
        let name = parameter.get(1..)?;
        if let Some((_, inner)) = name.split_once("::(") {
            let inner = inner.strip_suffix(')')?.replace(SPACE, " ");
            return self.0.iter().find(|field| field.name == inner);
        }
        let name = name.replace('$', "/");
        let exact = self.0.iter().find(|field| field.name == name);
        exact.or_else(|| self.0.iter().find(|field| loosely(&name, &field.name)))
    }

    /// What to say of a parameter that means no field.
    pub(super) fn unknown(&self, parameter: &str) -> String {
        let shown = parameter.replace(SPACE, " ");
        match self.nearest(parameter) {
            Some(name) => format!("parameter {shown} not found: did you mean {name} ?"),
            None => format!("parameter {shown} not found"),
        }
    }

    /// The parameter that one which means no field may have been meant to be.
    pub(super) fn nearest(&self, parameter: &str) -> Option<String> {
        let spelled = |field: &Field| match field.name.contains([' ', '(', ')']) {
            true => format!("$p::({})", field.name),
            false => format!("${}", field.name.replace('/', "$")),
        };
        let near = self.0.iter().map(spelled).map(|name| (strsim::osa_distance(parameter, &name), name)).min();
        near.filter(|(edits, _)| *edits <= EDITS_MAX).map(|(_, name)| name)
    }
}

fn loosely(name: &str, field: &str) -> bool {
    let mut field = field.chars();
    let same = |c: char| field.next().is_some_and(|f| f == c || c == '_' && (f == '-' || f.is_whitespace()));
    name.chars().all(same) && field.next().is_none()
}

impl Field {
    /// What is bound for a document.
    pub(super) fn value<'a>(&'a self, arena: &'a Arena, document: Node<'a>) -> ToSqlOutput<'a> {
        ToSqlOutput::Owned(match self.pointer.value_in(arena, document) {
            Node::Null => Value::Null,
            Node::Bool(value) => Value::Integer(i64::from(value)),
            // What no integer of SQLite's holds is rounded, as its own literals are.
            Node::U64(value) => i64::try_from(value).map_or(Value::Real(value as f64), Value::Integer),
            Node::I64(value) => Value::Integer(value),
            Node::F64(value) => Value::Real(value),
            Node::Str(text) => {
                let parsed = match self.strings {
                    Strings::Plain => None,
                    Strings::Integer => text.parse().ok().map(Value::Integer),
                    // SQLite has no NaN: it would be NULL.
                    Strings::Number => text.parse().ok().filter(|n: &f64| !n.is_nan()).map(Value::Real),
                    Strings::Base64 => STANDARD.decode(text).ok().map(Value::Blob),
                };
                match parsed {
                    Some(value) => value,
                    None => return ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
                }
            }
            compound => Value::Text(compound.to_json()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_mean_fields() {
        let names = ["a", "a/b", "a-b", "my field", "my_field", "odd one-out", "flow_document"];
        let field = |name: &&str| Field { name: (*name).into(), pointer: Pointer::root(), strings: Strings::Plain };
        let fields = Fields(names.iter().map(field).collect());
        let cases: &[(&str, Result<&str, &str>)] = &[
            ("$a", Ok("a")),
            ("@a", Ok("a")),
            (":a", Ok("a")),
            ("$a$b", Ok("a/b")),
            ("$a_b", Ok("a-b")),
            ("$my_field", Ok("my_field")),
            ("$odd_one_out", Ok("odd one-out")),
            ("$p::(my\u{a0}field)", Ok("my field")),
            ("$p::(a/b)", Ok("a/b")),
            ("$flow_document", Ok("flow_document")),
            ("$a$c", Err("parameter $a$c not found: did you mean $a$b ?")),
            ("$p::(no\u{a0}field)", Err("parameter $p::(no field) not found: did you mean $p::(my field) ?")),
            ("$quite_another", Err("parameter $quite_another not found")),
            ("?1", Err("parameter ?1 not found: did you mean $a ?")),
        ];
        for (parameter, want) in cases {
            let got = fields.find(parameter).map(|f| f.name.as_str()).ok_or_else(|| fields.unknown(parameter));
            assert_eq!(got, want.map_err(str::to_owned), "{parameter}");
        }
    }
}
