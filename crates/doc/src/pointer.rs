//! JSON pointers: where in a document a value is.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde_json::Value;

use crate::node::number;
use crate::published::published_at;
use crate::{Arena, Node, PUBLISHED_AT};

/// A JSON pointer (RFC 6901) without empty tokens: the root, or `/a/b/0`; and what stands for the value of documents that
/// have none there. Cheap to clone; equal and ordered by its tokens alone.
#[derive(Clone, Default)]
pub struct Pointer {
    tokens: Arc<[Token]>,
    default: Option<Arc<Value>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Token {
    name: Box<str>,
    /// The array index it also is, when it is one.
    index: Option<usize>,
}

impl Token {
    fn new(name: String) -> Self {
        let digits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        let index = if digits && (name == "0" || !name.starts_with('0')) { name.parse().ok() } else { None };
        Token { name: name.into(), index }
    }
}

/// Why a text is not a pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    /// It is neither empty nor begins with a slash.
    #[error("{0:?} is not a valid JSON pointer (missing leading '/' slash)")]
    MissingSlash(String),
    /// Two slashes follow each other, or it ends with one.
    #[error("{0:?} is not a valid JSON pointer (a component is empty)")]
    EmptyToken(String),
    /// A tilde that is neither `~0` nor `~1`.
    #[error("{0:?} is not a valid JSON pointer ('~' must be written '~0', and '/' within a name '~1')")]
    Escape(String),
}

impl Pointer {
    /// The whole document.
    pub fn root() -> Self {
        Self::default()
    }

    /// Whether it is the whole document.
    pub fn is_root(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The names and indices along the way, unescaped.
    pub fn tokens(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.tokens.iter().map(|token| &*token.name)
    }

    /// The location of a property or an index below this one.
    pub fn child(&self, name: &str) -> Pointer {
        let last = Token::new(name.to_owned());
        Pointer { tokens: self.tokens.iter().cloned().chain([last]).collect(), default: None }
    }

    /// The same location, whose value is `default` where a document has none. Only a scalar can stand for a value.
    pub fn with_default(self, default: &Value) -> Pointer {
        let scalar = !matches!(default, Value::Array(_) | Value::Object(_));
        Pointer { default: scalar.then(|| Arc::new(default.clone())), ..self }
    }

    /// The value here, if the document has one.
    pub fn query<'a>(&self, document: Node<'a>) -> Option<Node<'a>> {
        let mut node = document;
        for token in &*self.tokens {
            node = match node {
                Node::Object(_) => node.get(&token.name)?,
                Node::Array(items) => *items.get(token.index?)?,
                _ => return None,
            };
        }
        Some(node)
    }

    /// The value here as [`Pointer::value`] gives it, or, at [`PUBLISHED_AT`], when the document was published.
    pub fn value_in<'a>(&'a self, arena: &'a Arena, document: Node<'a>) -> Node<'a> {
        match self.is_published_at() {
            true => published_at(document).map_or(Node::Null, |at| Node::Str(arena.alloc_str(&at))),
            false => self.value(document),
        }
    }

    /// Whether this is [`PUBLISHED_AT`].
    pub fn is_published_at(&self) -> bool {
        self.tokens.len() == 3 && self.tokens().eq(PUBLISHED_AT.split('/').skip(1))
    }

    /// The value here, or else what stands for it: the default, or null.
    pub fn value<'a>(&'a self, document: Node<'a>) -> Node<'a> {
        self.query(document).unwrap_or_else(|| match self.default.as_deref() {
            Some(Value::Bool(value)) => Node::Bool(*value),
            Some(Value::Number(value)) => number(value),
            Some(Value::String(text)) => Node::Str(text),
            _ => Node::Null,
        })
    }
}

impl PartialEq for Pointer {
    fn eq(&self, other: &Self) -> bool {
        self.tokens == other.tokens
    }
}

impl Eq for Pointer {}

impl Ord for Pointer {
    fn cmp(&self, other: &Self) -> Ordering {
        self.tokens.cmp(&other.tokens)
    }
}

impl PartialOrd for Pointer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Pointer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.tokens.hash(state);
    }
}

impl FromStr for Pointer {
    type Err = PointerError;

    fn from_str(text: &str) -> Result<Self, PointerError> {
        if text.is_empty() {
            return Ok(Self::root());
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(PointerError::MissingSlash(text.to_owned()));
        };
        let tokens = rest.split('/').map(|token| {
            if token.is_empty() {
                return Err(PointerError::EmptyToken(text.to_owned()));
            }
            let name = unescape(token).ok_or_else(|| PointerError::Escape(text.to_owned()))?;
            Ok(Token::new(name))
        });
        Ok(Pointer { tokens: tokens.collect::<Result<_, _>>()?, default: None })
    }
}

/// A token without its escapes; `None` where a tilde is neither `~0` nor `~1`.
pub(crate) fn unescape(token: &str) -> Option<String> {
    let mut name = String::with_capacity(token.len());
    let mut chars = token.chars();
    while let Some(char) = chars.next() {
        name.push(match char {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            char => char,
        });
    }
    Some(name)
}

/// Appends `/` and the escaped name.
pub(crate) fn push_escaped(name: &str, out: &mut String) {
    out.push('/');
    for char in name.chars() {
        match char {
            '~' => out.push_str("~0"),
            '/' => out.push_str("~1"),
            char => out.push(char),
        }
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for token in self.tokens() {
            push_escaped(token, &mut text);
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arena, parse};

    #[test]
    fn pointers_read_and_print() {
        for text in ["", "/a", "/a/0/-", "/a~1b/~0c", "/with space"] {
            assert_eq!(text.parse::<Pointer>().unwrap().to_string(), text);
        }
        for text in ["a", "/", "//", "/a/", "/~", "/~2"] {
            assert!(text.parse::<Pointer>().is_err(), "{text}");
        }
    }

    #[test]
    fn queries() {
        let arena = Arena::new();
        let document = parse(&arena, br#"{"a":[{"b/c":1},2],"0":3}"#).unwrap();
        let query = |pointer: &str| pointer.parse::<Pointer>().unwrap().query(document).map(Node::to_json);
        assert_eq!(query("/a/0/b~1c").as_deref(), Some("1"));
        assert_eq!(query("/a/1").as_deref(), Some("2"));
        assert_eq!(query("/0").as_deref(), Some("3"));
        for missing in ["/a/2", "/a/01", "/a/-", "/a/b", "/a/1/x", "/x"] {
            assert_eq!(query(missing), None, "{missing}");
        }
    }

    #[test]
    fn defaults_stand_for_what_is_not_there() {
        let arena = Arena::new();
        let document = parse(&arena, br#"{"here":"x","null":null}"#).unwrap();
        let value = |pointer: &str, default: Value| {
            pointer.parse::<Pointer>().unwrap().with_default(&default).value(document).to_json()
        };
        assert_eq!(value("/here", "y".into()), r#""x""#);
        assert_eq!(value("/null", "y".into()), "null");
        assert_eq!(value("/absent", "y".into()), r#""y""#);
        assert_eq!(value("/absent", (-3).into()), "-3");
        assert_eq!(value("/absent", true.into()), "true");
        assert_eq!(value("/absent", Value::Array(Vec::new())), "null");
        assert_eq!("/absent".parse::<Pointer>().unwrap().value(document).to_json(), "null");
    }
}
