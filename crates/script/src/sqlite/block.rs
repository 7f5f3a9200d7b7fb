//! Splits a lambda's text into its statements.
//!
//! A statement ends at a `;` that stands in no quotes and no comment. What is left of one without its comments and white
//! space may be nothing; then it is none.

/// One statement of a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// From its first character that means something to the one before its `;`.
    pub(super) sql: String,
    /// The line it begins on, from one.
    pub(super) line: usize,
    /// The byte of the block it begins at.
    pub(super) at: usize,
}

/// Stands for a space within `$p::(a field)`, which SQLite's own reader of parameters would end at. SQLite takes it for a
/// letter.
pub(super) const SPACE: char = '\u{a0}';

/// The statements of a block, in order.
pub(super) fn split(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut sql = String::new();
    let (mut at, mut line, mut begun) = (0, 1, (0, 1));
    let finish = |sql: &mut String, (at, line): (usize, usize), pieces: &mut Vec<Piece>| {
        let whole = std::mem::take(sql);
        if !whole.trim().is_empty() {
            pieces.push(Piece { sql: whole.trim_end().to_owned(), line, at });
        }
    };
    while at < text.len() {
        let rest = &text[at..];
        let (kind, len) = token(rest);
        let taken = &rest[..len];
        match kind {
            Token::End => finish(&mut sql, begun, &mut pieces),
            // Nothing is kept of what stands before a statement.
            Token::Comment | Token::Space if sql.is_empty() => {}
            // A block may end in a comment, and a line of one would go on behind it.
            Token::Comment => sql.push(if taken.ends_with('\n') { '\n' } else { ' ' }),
            _ => {
                if sql.is_empty() {
                    begun = (at, line);
                }
                match kind {
                    Token::Field => sql.extend(taken.chars().map(|c| if c.is_whitespace() { SPACE } else { c })),
                    _ => sql.push_str(taken),
                }
            }
        }
        line += taken.matches('\n').count();
        at += len;
    }
    finish(&mut sql, begun, &mut pieces);
    pieces
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    End,
    Space,
    Comment,
    /// The field in `$p::(field)`, with what stands around it.
    Field,
    Other,
}

/// The first token of a text that is not empty, and its length.
fn token(text: &str) -> (Token, usize) {
    let quoted = |close: char| text[1..].find(close).map_or(text.len(), |at| at + 2);
    let Some(first) = text.chars().next() else { return (Token::End, 0) };
    match first {
        ';' => (Token::End, 1),
        // A quote that is doubled within quotes ends them and begins others, which comes to the same.
        '\'' | '"' | '`' => (Token::Other, quoted(first)),
        '[' => (Token::Other, quoted(']')),
        '-' if text.starts_with("--") => (Token::Comment, text.find('\n').map_or(text.len(), |at| at + 1)),
        '/' if text.starts_with("/*") => (Token::Comment, text[2..].find("*/").map_or(text.len(), |at| at + 4)),
        ':' if text.starts_with("::(") => match text.find([')', '\n']) {
            Some(end) if text[end..].starts_with(')') => (Token::Field, end + 1),
            _ => (Token::Other, 3),
        },
        space if space.is_whitespace() => (Token::Space, space.len_utf8()),
        other => (Token::Other, other.len_utf8()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_where_they_end() {
        let cases: &[(&str, &[(&str, usize)])] = &[
            ("", &[]),
            (" ;;\n ; ", &[]),
            ("-- nothing here; at all", &[]),
            ("/* nothing; */ -- or here\n", &[]),
            ("select 1", &[("select 1", 1)]),
            ("select 1;\nselect 2;\n", &[("select 1", 1), ("select 2", 2)]),
            ("select ';' ; select \";\"", &[("select ';'", 1), ("select \";\"", 1)]),
            ("select 'it''s; so'; select 2", &[("select 'it''s; so'", 1), ("select 2", 1)]),
            ("select [a;b], `c;d`", &[("select [a;b], `c;d`", 1)]),
            ("select 1 -- one; more\n, 2;", &[("select 1 \n, 2", 1)]),
            ("select/* ; */1", &[("select 1", 1)]),
            ("-- first\n\n  select 1;\n/* two\nlines */ select 2;", &[("select 1", 3), ("select 2", 5)]),
            ("select 1;\n-- the end", &[("select 1", 1)]),
            ("select 'open; and on", &[("select 'open; and on", 1)]),
            ("select 5 - -1, 6 / 2", &[("select 5 - -1, 6 / 2", 1)]),
            ("select '\u{e9};\u{1f600}'; select '\u{e9}'", &[("select '\u{e9};\u{1f600}'", 1), ("select '\u{e9}'", 1)]),
            ("select $p::(a field), $a$b", &[("select $p::(a\u{a0}field), $a$b", 1)]),
            ("select '$p::(a field)'", &[("select '$p::(a field)'", 1)]),
        ];
        for (text, want) in cases {
            let pieces = split(text);
            let got: Vec<_> = pieces.iter().map(|piece| (piece.sql.as_str(), piece.line)).collect();
            assert_eq!(got, *want, "{text}");
            for piece in pieces {
                assert!(text[piece.at..].starts_with(&piece.sql[..1]), "{text}");
            }
        }
    }
}
