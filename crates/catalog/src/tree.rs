//! A YAML or JSON value in which every node knows its place.

mod json;
mod yaml;

use serde_json::{Map, Number, Value};
use url::Url;

use crate::diagnostic::{Diagnostic, Report};
use crate::{Place, SourceId, Sources};

pub(crate) use yaml::expand_merges;

/// The text as a tree, or nothing where its syntax is broken. What is wrong goes to the report; of duplicate keys the first
/// stays in the tree.
pub(crate) fn parse(source: SourceId, text: &str, report: &mut Report) -> Option<Tree> {
    let json = if json::is_likely(text) { json::parse(source, text) } else { None };
    json.or_else(|| yaml::parse(source, text, report))
}

/// A value and where it stands. A value that is an alias has the place of the alias, what is inside it the places of the
/// anchor's definition.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The value.
    pub kind: Kind,
    /// Where it stands.
    pub place: Place,
}

/// A value, without its place.
#[derive(Debug, Clone)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number; integers up to 64 bits are exact.
    Number(Number),
    /// A string.
    String(String),
    /// A list.
    Array(Vec<Tree>),
    /// A map, in the order it is written; each key once.
    Object(Vec<Member>),
}

/// A key of an object and its value.
#[derive(Debug, Clone)]
pub struct Member {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_place: Place,
    /// The value.
    pub value: Tree,
}

impl Tree {
    /// Reads YAML or JSON text, as the file at `url`, which is added to `sources`. Merge keys (`<<`) are left as they are.
    pub fn from_yaml(sources: &mut Sources, url: Url, text: &str) -> Result<Tree, Vec<Diagnostic>> {
        let source = sources.add(url, text.into());
        let mut report = Report::default();
        match parse(source, text, &mut report) {
            Some(tree) if report.is_empty() => Ok(tree),
            _ => Err(report.into_sorted().0),
        }
    }

    /// Replaces merge keys (`<<`) by what they name, as catalog files have them replaced.
    pub fn expand_merges(&mut self) -> Result<(), Vec<Diagnostic>> {
        let mut report = Report::default();
        expand_merges(self, &mut report);
        if report.is_empty() { Ok(()) } else { Err(report.into_sorted().0) }
    }

    /// Where the value stands.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The value, without places.
    pub fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(value) => Value::Number(value.clone()),
            Kind::String(value) => Value::String(value.clone()),
            Kind::Array(items) => Value::Array(items.iter().map(Tree::to_value).collect()),
            Kind::Object(members) => {
                let pairs = members.iter().map(|member| (member.key.clone(), member.value.to_value()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    /// The items, if it is a list.
    pub fn as_array(&self) -> Option<&[Tree]> {
        match &self.kind {
            Kind::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The members, if it is an object.
    pub fn as_object(&self) -> Option<&[Member]> {
        match &self.kind {
            Kind::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The text, if it is a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }

    /// The property of this name, if it is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Tree> {
        Some(&self.as_object()?.iter().find(|member| member.key == key)?.value)
    }

    /// The child by this token of a JSON pointer: a property or an index.
    pub fn child(&self, token: &str) -> Option<&Tree> {
        match &self.kind {
            Kind::Array(items) => items.get(token.parse::<usize>().ok()?),
            Kind::Object(_) => self.get(token),
            _ => None,
        }
    }

    /// The value at a JSON pointer; an ill-formed pointer is the root.
    pub fn at(&self, pointer: &str) -> Option<&Tree> {
        tokens(pointer).try_fold(self, |tree, token| tree.child(&token))
    }

    /// The place of the value at a JSON pointer, or of its nearest ancestor that exists. An ill-formed pointer is the root.
    pub fn place_at(&self, pointer: &str) -> Place {
        let mut tree = self;
        for token in tokens(pointer) {
            match tree.child(&token) {
                Some(child) => tree = child,
                None => break,
            }
        }
        tree.place
    }

    /// What it is, in words: `an object`.
    pub(crate) fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "null",
            Kind::Bool(_) => "a boolean",
            Kind::Number(_) => "a number",
            Kind::String(_) => "a string",
            Kind::Array(_) => "a list",
            Kind::Object(_) => "an object",
        }
    }
}

/// The unescaped tokens of a JSON pointer.
fn tokens(pointer: &str) -> impl Iterator<Item = String> + '_ {
    let rest = pointer.strip_prefix('/');
    rest.into_iter().flat_map(|rest| rest.split('/')).map(|token| token.replace("~1", "/").replace("~0", "~"))
}

/// A token as JSON pointers spell it.
pub(crate) fn escaped(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}
