//! Reading configurations and resources, which are JSON objects, so that every mistake in them is found at once.
//!
//! Each connector lists the fields it knows. What else is written is no mistake, since catalogs that were made for other
//! connectors of the same name have it; [`unused`] tells of it.

use std::collections::BTreeMap;

use catalog::{ConfigAt, ConfigError, Unused};
use serde_json::{Map, Value};

/// How far a name may be from a known one to be taken for a slip of it.
const NEAR_MIN: f64 = 0.75;

/// An object being read field by field. What goes wrong is collected until [`Fields::finish`].
pub(crate) struct Fields<'a> {
    object: Option<&'a Map<String, Value>>,
    resource: Option<usize>,
    known: &'static [&'static str],
    errors: Vec<ConfigError>,
}

/// A type of configuration values.
pub(crate) trait Scalar: Sized {
    const EXPECTED: &'static str;
    fn read(value: &Value) -> Option<Self>;
}

impl Scalar for String {
    const EXPECTED: &'static str = "a string";
    fn read(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl Scalar for u64 {
    const EXPECTED: &'static str = "an integer of zero or more";
    fn read(value: &Value) -> Option<Self> {
        value.as_u64()
    }
}

impl Scalar for bool {
    const EXPECTED: &'static str = "true or false";
    fn read(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl Scalar for BTreeMap<String, String> {
    const EXPECTED: &'static str = "an object of strings";
    fn read(value: &Value) -> Option<Self> {
        value.as_object()?.iter().map(|(name, value)| Some((name.clone(), String::read(value)?))).collect()
    }
}

impl<'a> Fields<'a> {
    /// The configuration of an endpoint, and the fields that are read of it.
    pub(crate) fn config(value: &'a Value, known: &'static [&'static str]) -> Self {
        Self::new(value, None, known)
    }

    /// The resource of the n-th binding, and the fields that are read of it.
    pub(crate) fn resource(n: usize, value: &'a Value, known: &'static [&'static str]) -> Self {
        Self::new(value, Some(n), known)
    }

    fn new(value: &'a Value, resource: Option<usize>, known: &'static [&'static str]) -> Self {
        let mut fields = Self { object: value.as_object(), resource, known, errors: Vec::new() };
        if fields.object.is_none() {
            let what = if resource.is_some() { "the resource" } else { "the configuration" };
            fields.push(String::new(), format!("{what} must be an object, not {}", kind(value)), None);
        }
        fields
    }

    /// The value of a field that need not be there; null counts as absent.
    pub(crate) fn optional<T: Scalar>(&mut self, name: &'static str) -> Option<T> {
        let value = self.get(name)?;
        let read = T::read(value);
        if read.is_none() {
            self.wrong(name, format!("`{name}` must be {}, not {}", T::EXPECTED, kind(value)), None);
        }
        read
    }

    /// The value of a field that must be there. `hint` says what it is for.
    pub(crate) fn required<T: Scalar>(&mut self, name: &'static str, hint: &str) -> Option<T> {
        let read = self.optional(name);
        if self.object.is_some_and(|object| object.get(name).is_none_or(Value::is_null)) {
            self.push(String::new(), format!("`{name}` is missing"), Some(hint.to_owned()));
        }
        read
    }

    /// The texts of a list that need not be there.
    pub(crate) fn list(&mut self, name: &'static str) -> Vec<&'a str> {
        let value = self.get(name);
        let texts = |items: &'a Vec<Value>| items.iter().map(Value::as_str).collect::<Option<Vec<_>>>();
        match value.map(|value| value.as_array().and_then(texts)) {
            None => Vec::new(),
            Some(Some(texts)) => texts,
            Some(None) => {
                self.wrong(name, format!("`{name}` must be a list of strings"), None);
                Vec::new()
            }
        }
    }

    /// Whether a capture stops at a document that its collection refuses, rather than setting it aside.
    pub(crate) fn halts_on_invalid(&mut self) -> bool {
        let given: Option<String> = self.optional("onInvalid");
        if given.as_ref().is_some_and(|given| given != "halt" && given != "set-aside") {
            let hint = "`halt` stops the capture, `set-aside` keeps the document among the dead letters and goes on";
            self.wrong("onInvalid", "there is no such way", Some(hint));
        }
        given.is_some_and(|given| given == "halt")
    }

    fn get(&self, name: &'static str) -> Option<&'a Value> {
        debug_assert!(self.known.contains(&name), "{name} is not in the list of fields");
        self.object?.get(name).filter(|value| !value.is_null())
    }

    /// Adds a mistake in the value of a field.
    pub(crate) fn wrong(&mut self, name: &str, message: impl Into<String>, hint: Option<&str>) {
        self.push(pointer(name), message.into(), hint.map(str::to_owned));
    }

    fn push(&mut self, pointer: String, message: String, hint: Option<String>) {
        self.errors.push(ConfigError { at: at(self.resource, pointer), message, hint });
    }

    /// Everything found.
    pub(crate) fn finish(self) -> Vec<ConfigError> {
        self.errors
    }
}

/// Which fields of a configuration, or of the resource of the n-th binding, are not among those that are read.
pub(crate) fn unused(value: &Value, resource: Option<usize>, known: &[&'static str]) -> Vec<Unused> {
    let keys = value.as_object().into_iter().flatten().map(|(key, _)| key);
    let unused = keys.filter(|key| !known.contains(&key.as_str())).map(|key| Unused {
        at: at(resource, pointer(key)),
        name: key.clone(),
        near: nearest(key, known.iter().copied()),
    });
    unused.collect()
}

fn at(resource: Option<usize>, pointer: String) -> ConfigAt {
    match resource {
        None => ConfigAt::Config(pointer),
        Some(n) => ConfigAt::Resource(n, pointer),
    }
}

/// Both results, or the mistakes of both.
pub(crate) fn both<A, B>(
    a: Result<A, Vec<ConfigError>>,
    b: Result<B, Vec<ConfigError>>,
) -> Result<(A, B), Vec<ConfigError>> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(mut a), Err(b)) => {
            a.extend(b);
            Err(a)
        }
        (Err(errors), _) | (_, Err(errors)) => Err(errors),
    }
}

/// The known name that this one is probably a slip of.
pub(crate) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let lower = name.to_lowercase();
    let scored = known.map(|other| (strsim::normalized_damerau_levenshtein(&lower, &other.to_lowercase()), other));
    scored.filter(|(score, _)| *score >= NEAR_MIN).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, other)| other)
}

/// Names for a message: `` `a`, `b` ``.
pub(crate) fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number of another kind",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_mistake_is_found() {
        let value = json!({"host": 5, "prot": 1, "a/b~": 1});
        let known = &["host", "port", "user"];
        let mut fields = Fields::config(&value, known);
        assert_eq!(fields.required::<String>("host", "where it is"), None);
        assert_eq!(fields.optional::<u64>("port"), None);
        assert_eq!(fields.required::<String>("user", "who we are"), None);
        let found: Vec<_> = fields
            .finish()
            .into_iter()
            .map(|error| match error.at {
                ConfigAt::Config(at) => format!("{at}: {} ({})", error.message, error.hint.unwrap_or_default()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            found,
            ["/host: `host` must be a string, not a number of another kind ()", ": `user` is missing (who we are)",]
        );
        let unused: Vec<_> = unused(&value, Some(2), known)
            .into_iter()
            .map(|unused| match unused.at {
                ConfigAt::Resource(2, at) => (at, unused.name, unused.near),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [("/a~1b~0", "a/b~", None), ("/prot", "prot", Some("port"))];
        assert_eq!(unused, expected.map(|(at, name, near)| (at.to_owned(), name.to_owned(), near)));
    }
}
