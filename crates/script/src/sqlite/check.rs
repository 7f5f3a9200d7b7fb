//! Mistakes of SQL lambdas, found before there is a document: migrations that do not apply, statements that are none,
//! parameters that mean no field.

use std::ops::Range;

use catalog::{Collection, Lambda, ModuleError, SqlError, Text, Transform};
use rusqlite::Error;

use super::block::{self, Piece, SPACE};
use super::database::{Database, reason};
use super::field::Fields;

/// Applies migrations to a database in memory and prepares the statements of the transforms over it, each of which has its
/// source beside it. What does not migrate says nothing of statements.
pub(crate) fn check(migrations: &[Text], transforms: &[(&Transform, &Collection)]) -> Result<(), Vec<SqlError>> {
    let nothing = |keys: &[&[u8]]| Ok(vec![None; keys.len()]);
    // What keeps SQLite itself from opening shows when the derivation is opened.
    let Ok(mut database) = Database::bare(None, &nothing) else { return Ok(()) };
    if let Err(unapplied) = database.migrate(migrations) {
        let Some((n, e)) = unapplied.by_sqlite else { return Ok(()) };
        let text = &migrations[n];
        let range = culprit(&e, &text.text).unwrap_or(0..first_line(&text.text));
        return Err(vec![mistake(text, range, reason(&e), None)]);
    }
    let mut errors = Vec::new();
    for (transform, source) in transforms {
        let Some(Lambda::Sql(text)) = &transform.publish else { continue };
        let fields = Fields::of(source);
        for piece in block::split(&text.text) {
            match database.connection.prepare(&piece.sql) {
                Ok(prepared) => {
                    let names = (1..=prepared.parameter_count()).map(|n| prepared.parameter_name(n).unwrap_or("?"));
                    for name in names.filter(|name| fields.find(name).is_none()) {
                        errors.push(unknown(text, &piece, name, &fields));
                    }
                }
                Err(e) => {
                    let within = culprit(&e, &piece.sql).and_then(|range| within(text, &piece, range));
                    let range = within.unwrap_or(piece.at..piece.at + first_line(&text.text[piece.at..]));
                    errors.push(mistake(text, range, reason(&e), None));
                }
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn unknown(text: &Text, piece: &Piece, name: &str, fields: &Fields) -> SqlError {
    let spelled = name.replace(SPACE, " ");
    let found = text.text[piece.at..].find(&spelled).map(|at| piece.at + at..piece.at + at + spelled.len());
    let range = found.unwrap_or(piece.at..piece.at + first_line(&text.text[piece.at..]));
    let hint = match fields.nearest(name) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "a parameter is `$` and the name of a field, with `$` for `/`".to_owned(),
    };
    mistake(text, range, format!("parameter `{spelled}` not found"), Some(hint))
}

fn mistake(text: &Text, range: Range<usize>, message: String, hint: Option<String>) -> SqlError {
    SqlError { text: text.clone(), error: ModuleError { range, message, hint } }
}

/// The word of a statement that SQLite stumbled over.
fn culprit(e: &Error, sql: &str) -> Option<Range<usize>> {
    let Error::SqlInputError { offset, .. } = e else { return None };
    let at = usize::try_from(*offset).ok().filter(|at| sql.is_char_boundary(*at))?;
    let rest = &sql[at..];
    let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
    let len = if word > 0 { word } else { rest.chars().next()?.len_utf8() };
    Some(at..at + len)
}

/// A range of a statement in the text it is of, which may have comments within.
fn within(text: &Text, piece: &Piece, range: Range<usize>) -> Option<Range<usize>> {
    let word = &piece.sql[range.clone()];
    let before = piece.sql[..range.start].matches(word).count();
    let (at, _) = text.text[piece.at..].match_indices(word).nth(before)?;
    Some(piece.at + at..piece.at + at + word.len())
}

fn first_line(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}
