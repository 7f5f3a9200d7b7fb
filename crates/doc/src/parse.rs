//! From JSON text to nodes, strictly: what two readers could understand differently is refused.
//!
//! Refused: a name given twice in one object, integers beyond 64 bits, numbers beyond `f64`, lone surrogates, invalid UTF-8,
//! anything deeper than [`DEPTH_MAX`]. `-0` is the integer zero. A string without escapes is a slice of the text; names that
//! come in order, as our own writer leaves them, are not sorted again.

use std::ops::Range;

use smallvec::SmallVec;

use crate::node::order;
use crate::{Arena, Field, Node};

/// How many arrays and objects may stand within each other.
pub(crate) const DEPTH_MAX: usize = 128;

/// Why a text is not a JSON document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {at}")]
pub struct ParseError {
    /// Offset of the byte where reading stopped; for a duplicate name, of its object.
    pub at: usize,
    /// What is wrong there.
    pub reason: ParseReason,
}

/// What is wrong with a JSON text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseReason {
    /// The text ends within a value.
    #[error("the text ends too early")]
    End,
    /// Something else was to stand here.
    #[error("expected {0}")]
    Expected(&'static str),
    /// More follows the document.
    #[error("unexpected text after the document")]
    Trailing,
    /// Bytes that are no UTF-8.
    #[error("invalid UTF-8")]
    Utf8,
    /// A control character that must be escaped within a string.
    #[error("a control character must be escaped")]
    Control,
    /// `\` and something JSON does not know.
    #[error("invalid escape")]
    Escape,
    /// Half of a surrogate pair.
    #[error("a lone surrogate is no character")]
    Surrogate,
    /// An integer beyond 64 bits.
    #[error("an integer of more than 64 bits")]
    Integer,
    /// A number beyond what `f64` holds.
    #[error("a number beyond the range of floating point")]
    Range,
    /// A number JSON does not know, such as `01` or `1.`.
    #[error("invalid number")]
    Number,
    /// Too deep.
    #[error("more than {DEPTH_MAX} arrays and objects within each other")]
    Depth,
    /// The same name twice in one object.
    #[error("duplicate property {0:?}")]
    Duplicate(String),
}

/// Reads exactly one JSON document, with white space around it or not.
pub fn parse<'a>(arena: &'a Arena, text: &'a [u8]) -> Result<Node<'a>, ParseError> {
    let mut parser = Parser::new(arena, text)?;
    let node = parser.root(0).filter(|_| parser.finish());
    node.ok_or_else(|| parser.failure())
}

/// Reads one JSON array; gives each element and its range of the text.
pub fn parse_elements<'a>(arena: &'a Arena, text: &'a [u8]) -> Result<Vec<(Node<'a>, Range<usize>)>, ParseError> {
    let mut parser = Parser::new(arena, text)?;
    parser.elements().filter(|_| parser.finish()).ok_or_else(|| parser.failure())
}

/// What it reads is `None` where it could not be read, so that a value is no larger on its way than a node; then why is in
/// `failed`.
struct Parser<'a> {
    arena: &'a Arena,
    text: &'a str,
    at: usize,
    /// Items of the arrays being read, innermost last, until they move to the arena.
    items: SmallVec<[Node<'a>; 16]>,
    /// Fields of the objects being read, likewise.
    fields: SmallVec<[Field<'a>; 24]>,
    failed: Option<ParseError>,
}

/// Where a value goes to.
trait Slot<'a>: Copy {
    fn put(self, parser: &mut Parser<'a>, value: Node<'a>);
}

/// To the items of the array being read.
#[derive(Clone, Copy)]
struct Item;

/// To the fields of the object being read, by this name.
#[derive(Clone, Copy)]
struct Named<'a>(&'a str);

impl<'a> Slot<'a> for Item {
    #[inline(always)]
    fn put(self, parser: &mut Parser<'a>, value: Node<'a>) {
        parser.items.push(value);
    }
}

impl<'a> Slot<'a> for Named<'a> {
    #[inline(always)]
    fn put(self, parser: &mut Parser<'a>, value: Node<'a>) {
        parser.fields.push(Field { name: self.0, value });
    }
}

impl<'a> Parser<'a> {
    fn new(arena: &'a Arena, text: &'a [u8]) -> Result<Self, ParseError> {
        match std::str::from_utf8(text) {
            Ok(text) => {
                Ok(Parser { arena, text, at: 0, items: SmallVec::new(), fields: SmallVec::new(), failed: None })
            }
            Err(error) => Err(ParseError { at: error.valid_up_to(), reason: ParseReason::Utf8 }),
        }
    }

    fn failure(self) -> ParseError {
        self.failed.expect("whatever fails says why")
    }

    #[cold]
    fn fail_at<T>(&mut self, at: usize, reason: ParseReason) -> Option<T> {
        self.failed = Some(ParseError { at, reason });
        None
    }

    #[cold]
    fn fail<T>(&mut self, reason: ParseReason) -> Option<T> {
        self.fail_at(self.at, reason)
    }

    #[cold]
    fn expected<T>(&mut self, what: &'static str) -> Option<T> {
        self.fail(if self.at < self.text.len() { ParseReason::Expected(what) } else { ParseReason::End })
    }

    fn elements(&mut self) -> Option<Vec<(Node<'a>, Range<usize>)>> {
        let mut elements = Vec::new();
        self.space();
        if self.peek() != Some(b'[') {
            return self.expected("an array");
        }
        self.at += 1;
        if !self.closes(b']') {
            loop {
                self.space();
                let begin = self.at;
                let node = self.root(1)?;
                elements.push((node, begin..self.at));
                if !self.continues(b']', "',' or ']'")? {
                    break;
                }
            }
        }
        Some(elements)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Whether nothing follows.
    fn finish(&mut self) -> bool {
        self.space();
        self.at == self.text.len() || self.fail::<()>(ParseReason::Trailing).is_some()
    }

    /// Whether a container ends before its first element.
    fn closes(&mut self, close: u8) -> bool {
        self.space();
        let closes = self.peek() == Some(close);
        if closes {
            self.at += 1;
        }
        closes
    }

    /// After an element: whether another one follows.
    fn continues(&mut self, close: u8, what: &'static str) -> Option<bool> {
        self.space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Some(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Some(false)
            }
            _ => self.expected(what),
        }
    }

    /// Reads a value that belongs nowhere yet.
    fn root(&mut self, depth: usize) -> Option<Node<'a>> {
        self.value(Item, depth)?;
        self.items.pop()
    }

    /// Reads a value and puts it where it belongs: a node that is handed through memory in two halves is waited for.
    fn value(&mut self, slot: impl Slot<'a>, depth: usize) -> Option<()> {
        self.space();
        match self.peek() {
            Some(b'"') => {
                let text = self.string()?;
                slot.put(self, Node::Str(text));
            }
            Some(b'{') => {
                let fields = self.object(depth)?;
                slot.put(self, Node::Object(fields));
            }
            Some(b'[') => {
                let items = self.array(depth)?;
                slot.put(self, Node::Array(items));
            }
            Some(b'-' | b'0'..=b'9') => {
                let node = self.number()?;
                slot.put(self, node);
            }
            Some(b't') => {
                self.word("true")?;
                slot.put(self, Node::Bool(true));
            }
            Some(b'f') => {
                self.word("false")?;
                slot.put(self, Node::Bool(false));
            }
            Some(b'n') => {
                self.word("null")?;
                slot.put(self, Node::Null);
            }
            _ => return self.expected("a value"),
        }
        Some(())
    }

    fn word(&mut self, word: &'static str) -> Option<()> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return self.expected("a value");
        }
        self.at += word.len();
        Some(())
    }

    fn array(&mut self, depth: usize) -> Option<&'a [Node<'a>]> {
        if depth == DEPTH_MAX {
            return self.fail(ParseReason::Depth);
        }
        self.at += 1;
        if self.closes(b']') {
            return Some(&[]);
        }
        let base = self.items.len();
        loop {
            self.value(Item, depth + 1)?;
            if !self.continues(b']', "',' or ']'")? {
                break;
            }
        }
        let items = self.arena.alloc_slice_copy(&self.items[base..]);
        self.items.truncate(base);
        Some(items)
    }

    fn object(&mut self, depth: usize) -> Option<&'a [Field<'a>]> {
        if depth == DEPTH_MAX {
            return self.fail(ParseReason::Depth);
        }
        let begin = self.at;
        self.at += 1;
        if self.closes(b'}') {
            return Some(&[]);
        }
        let base = self.fields.len();
        let mut sorted = true;
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return self.expected("a property name");
            }
            let name = self.string()?;
            self.space();
            if self.peek() != Some(b':') {
                return self.expected("':'");
            }
            self.at += 1;
            sorted = sorted && self.fields[base..].last().is_none_or(|last| order(last.name, name).is_lt());
            self.value(Named(name), depth + 1)?;
            if !self.continues(b'}', "',' or '}'")? {
                break;
            }
        }
        let fields = self.arena.alloc_slice_copy(&self.fields[base..]);
        self.fields.truncate(base);
        if !sorted {
            fields.sort_unstable_by(|a, b| order(a.name, b.name));
            if let Some(pair) = fields.windows(2).find(|pair| pair[0].name == pair[1].name) {
                return self.fail_at(begin, ParseReason::Duplicate(pair[0].name.to_owned()));
            }
        }
        Some(fields)
    }

    /// Reads a string, the opening quote being next.
    #[inline(always)]
    fn string(&mut self) -> Option<&'a str> {
        let begin = self.at + 1;
        let end = plain_end(self.text.as_bytes(), begin);
        if self.text.as_bytes().get(end) == Some(&b'"') {
            self.at = end + 1;
            return Some(&self.text[begin..end]);
        }
        self.escaped(begin, end)
    }

    /// Reads the rest of a string that is not plain, or fails.
    #[cold]
    fn escaped(&mut self, begin: usize, end: usize) -> Option<&'a str> {
        let mut text = String::new();
        let mut from = begin;
        self.at = end;
        loop {
            text.push_str(&self.text[from..self.at]);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => text.push(self.escape()?),
                Some(_) => return self.fail(ParseReason::Control),
                None => return self.fail(ParseReason::End),
            }
            from = self.at;
            self.at = plain_end(self.text.as_bytes(), from);
        }
        self.at += 1;
        Some(self.arena.alloc_str(&text))
    }

    fn escape(&mut self) -> Option<char> {
        self.at += 1;
        let char = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            Some(_) => return self.fail(ParseReason::Escape),
            None => return self.fail(ParseReason::End),
        };
        self.at += 1;
        Some(char)
    }

    /// Reads what follows `\u`, the second half of a pair included.
    fn unicode(&mut self) -> Option<char> {
        let begin = self.at;
        let first = self.hex()?;
        let code = match first {
            0xd800..0xdc00 if self.text.as_bytes()[self.at..].starts_with(b"\\u") => {
                self.at += 2;
                match self.hex()? {
                    second @ 0xdc00..0xe000 => Some(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)),
                    _ => None,
                }
            }
            _ => Some(first),
        };
        code.and_then(char::from_u32).or_else(|| self.fail_at(begin, ParseReason::Surrogate))
    }

    fn hex(&mut self) -> Option<u32> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = match self.peek() {
                Some(byte) => char::from(byte).to_digit(16),
                None => return self.fail(ParseReason::End),
            };
            let Some(digit) = digit else { return self.fail(ParseReason::Escape) };
            value = value * 16 + digit;
            self.at += 1;
        }
        Some(value)
    }

    fn digits(&mut self) -> usize {
        let begin = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at - begin
    }

    fn number(&mut self) -> Option<Node<'a>> {
        let begin = self.at;
        let negative = self.peek() == Some(b'-');
        if negative {
            self.at += 1;
        }
        let whole = self.at;
        let digits = self.digits();
        if digits == 0 || (digits > 1 && self.text.as_bytes()[whole] == b'0') {
            return self.fail(ParseReason::Number);
        }
        let whole = &self.text[whole..self.at];
        let mut integer = true;
        if self.peek() == Some(b'.') {
            integer = false;
            self.at += 1;
            if self.digits() == 0 {
                return self.fail(ParseReason::Number);
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            integer = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return self.fail(ParseReason::Number);
            }
        }
        let text = &self.text[begin..self.at];
        if integer {
            let parsed = match negative {
                true => text.parse().map(Node::integer),
                false => whole.parse().map(Node::U64),
            };
            return parsed.ok().or_else(|| self.fail_at(begin, ParseReason::Integer));
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Some(Node::F64(value)),
            _ => self.fail_at(begin, ParseReason::Range),
        }
    }
}

/// Marks, in their highest bits, the bytes of a word that a string cannot hold as they are. A borrow may mark bytes above a
/// true hit too.
fn marks(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    const QUOTES: u64 = u64::from_le_bytes([b'"'; 8]);
    const BACKSLASHES: u64 = u64::from_le_bytes([b'\\'; 8]);
    const SPACES: u64 = u64::from_le_bytes([b' '; 8]);
    let (quote, backslash) = (word ^ QUOTES, word ^ BACKSLASHES);
    (quote.wrapping_sub(ONES) & !quote | backslash.wrapping_sub(ONES) & !backslash | word.wrapping_sub(SPACES) & !word)
        & HIGHS
}

/// From `at`, the index of the first byte that a string cannot hold as it is: a quote, a backslash, a control character; or
/// the length. Looks at eight bytes at a time.
#[inline(always)]
pub(crate) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let marks = marks(u64::from_le_bytes(*chunk));
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    short_end(bytes, at)
}

/// The same for the last seven bytes.
#[inline(never)]
fn short_end(bytes: &[u8], mut at: usize) -> usize {
    // Most short strings are plain as a whole.
    if let rest @ [_, _, _, _, ..] = &bytes[at..]
        && let (Some(first), Some(last)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>())
        && marks(u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))) == 0
    {
        return bytes.len();
    }
    while let Some(&byte) = bytes.get(at) {
        if byte == b'"' || byte == b'\\' || byte < b' ' {
            break;
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(text: &str) -> String {
        let arena = Arena::new();
        match parse(&arena, text.as_bytes()) {
            Ok(node) => node.to_json(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn reads_and_refuses() {
        for (text, expect) in [
            (" {\"b\" : [1, -2.50,true] ,\"a\":null}\n", r#"{"a":null,"b":[1,-2.5,true]}"#),
            ("-0", "0"),
            ("-0.0", "-0.0"),
            ("5.0", "5.0"),
            ("1e2", "100.0"),
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("18446744073709551616", "an integer of more than 64 bits at byte 0"),
            ("-9223372036854775809", "an integer of more than 64 bits at byte 0"),
            ("[1e400]", "a number beyond the range of floating point at byte 1"),
            ("01", "invalid number at byte 2"),
            ("1.", "invalid number at byte 2"),
            ("-", "invalid number at byte 1"),
            ("+1", "expected a value at byte 0"),
            ("", "the text ends too early at byte 0"),
            ("{\"a\":1", "the text ends too early at byte 6"),
            ("[1,]", "expected a value at byte 3"),
            ("{\"a\":1,}", "expected a property name at byte 7"),
            ("1 2", "unexpected text after the document at byte 2"),
            ("[nul]", "expected a value at byte 1"),
            (r#"{"a":1,"b":2,"a":3}"#, r#"duplicate property "a" at byte 0"#),
            (r#"{"a":1,"\u0061":3}"#, r#"duplicate property "a" at byte 0"#),
            (r#""\ud83d\ude00 \" \\ \/ \n""#, "\"😀 \\\" \\\\ / \\n\""),
            (r#""\ud83d""#, "a lone surrogate is no character at byte 3"),
            (r#""\ude00""#, "a lone surrogate is no character at byte 3"),
            (r#""\ud83d\u0041""#, "a lone surrogate is no character at byte 3"),
            (r#""\x""#, "invalid escape at byte 2"),
            (r#""\u12g4""#, "invalid escape at byte 5"),
            ("\"a\tb\"", "a control character must be escaped at byte 2"),
            ("\"open", "the text ends too early at byte 5"),
        ] {
            assert_eq!(round(text), expect, "{text}");
        }
    }

    #[test]
    fn invalid_utf8_is_refused_where_it_stands() {
        let arena = Arena::new();
        let error = parse(&arena, b"\"a\xff\"").unwrap_err();
        assert_eq!(error, ParseError { at: 2, reason: ParseReason::Utf8 });
    }

    #[test]
    fn depth_is_bounded() {
        let nest = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(round(&nest(DEPTH_MAX)), nest(DEPTH_MAX));
        assert!(round(&nest(DEPTH_MAX + 1)).starts_with("more than 128"));
        assert!(round(&"[{\"a\":".repeat(100_000)).starts_with("more than 128"));
    }

    #[test]
    fn elements_know_their_range() {
        let arena = Arena::new();
        let text = br#" [ {"a":1} , 2,"x"] "#;
        let found: Vec<_> = parse_elements(&arena, text).unwrap();
        let texts: Vec<_> = found.iter().map(|(_, range)| std::str::from_utf8(&text[range.clone()]).unwrap()).collect();
        assert_eq!(texts, [r#"{"a":1}"#, "2", "\"x\""]);
        assert_eq!(parse_elements(&arena, b"[]").unwrap().len(), 0);
        assert!(parse_elements(&arena, b"{}").is_err());
        assert!(parse_elements(&arena, b"[1] 2").is_err());
    }

    #[test]
    fn plain_ends_at_every_offset() {
        for stop in [b'"', b'\\', 0, 0x1f] {
            for at in 0..20 {
                let mut bytes = vec![0xc3; 24];
                bytes[at] = stop;
                assert_eq!(plain_end(&bytes, 0), at);
            }
        }
        assert_eq!(plain_end(&[0x7f; 19], 3), 19);
    }
}
