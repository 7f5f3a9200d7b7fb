//! The schema documents that one schema reaches, with every reference in them resolved.
//!
//! Resolution is ours alone: `$id`, `$anchor` and relative references are settled here, and the validator is then given one
//! bundle in which every `$ref` is a pointer within it. So what validates, what reduces and what the shape says can never
//! disagree about what a reference means.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};
use url::Url;

use super::SchemaError;
use crate::pointer::push_escaped;

/// What of a JSON pointer may stand in the fragment of a URL as it is.
const FRAGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'~').remove(b'-').remove(b'.').remove(b'_');

/// A schema: a document and where in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Index of the document.
    pub(crate) document: usize,
    /// JSON pointer within it.
    pub(crate) pointer: String,
}

impl Place {
    /// The place below this one, by the names on the way.
    pub(crate) fn child<S: AsRef<str>>(&self, names: &[S]) -> Place {
        let mut pointer = self.pointer.clone();
        for name in names {
            push_escaped(name.as_ref(), &mut pointer);
        }
        Place { document: self.document, pointer }
    }
}

/// All documents that a schema reaches.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    documents: Vec<(Url, Arc<Value>)>,
    /// Resources by URL: documents, and what `$id` names within them.
    resources: HashMap<Url, Place>,
    anchors: HashMap<Url, Place>,
    /// Each schema that has been looked at, with the URL its references are relative to.
    bases: HashMap<Place, Url>,
    /// Where the reference of a schema leads.
    targets: HashMap<Place, Place>,
}

/// What loading gives: all that could be loaded, and every mistake on the way.
pub(crate) struct Loaded {
    pub(crate) documents: Documents,
    /// The place of the root URL, if there is one.
    pub(crate) root: Option<Place>,
    pub(crate) errors: Vec<SchemaError>,
}

/// A reference that waits to be resolved.
struct Reference {
    from: Place,
    keyword: &'static str,
    /// `None` where it is no URL.
    to: Option<Url>,
}

/// The keywords that refer to another schema; of several in one schema the first holds. Dynamic references lead where they
/// would without anything dynamic.
pub(super) const REFERENCES: [&str; 3] = ["$ref", "$recursiveRef", "$dynamicRef"];

type Fetch<'f> = &'f dyn Fn(&Url) -> Option<Arc<Value>>;

impl Documents {
    /// Loads the document of `root` and all that it reaches.
    pub(crate) fn load(root: &Url, fetch: Fetch<'_>) -> Loaded {
        let mut documents = Documents::default();
        let mut errors = Vec::new();
        let mut waiting = Vec::new();
        let Some(document) = documents.fetch(root, fetch, &mut waiting) else {
            return Loaded { documents, root: None, errors: vec![not_found(root, root, String::new())] };
        };
        let place = documents.resolve(root, &mut waiting);
        if place.is_none() {
            errors.push(no_such_fragment(root, &documents.documents[document].0, String::new()));
        }
        let mut missing = HashSet::new();
        while let Some(Reference { from, keyword, to }) = waiting.pop() {
            let (url, at) = (documents.url(&from), from.child(&[keyword]).pointer);
            let Some(to) = to else {
                errors.push(no_url(url, at));
                continue;
            };
            let resource = without_fragment(&to);
            if documents.fetch(&to, fetch, &mut waiting).is_none() && !documents.resources.contains_key(&resource) {
                if missing.insert(resource) {
                    errors.push(not_found(&to, &url, at));
                }
            } else if let Some(target) = documents.resolve(&to, &mut waiting) {
                documents.targets.insert(from, target);
            } else {
                errors.push(no_such_fragment(&to, &url, at));
            }
        }
        errors.sort_by(|a, b| (&a.url, &a.pointer).cmp(&(&b.url, &b.pointer)));
        Loaded { documents, root: place, errors }
    }

    /// The schema at a place.
    pub(crate) fn schema(&self, place: &Place) -> &Value {
        let (_, document) = &self.documents[place.document];
        document.pointer(&place.pointer).expect("a place is made from the document it is in")
    }

    /// Where the `$ref` of the schema at a place leads.
    pub(crate) fn target(&self, place: &Place) -> Option<&Place> {
        self.targets.get(place)
    }

    /// The URL of a place's document.
    pub(crate) fn url(&self, place: &Place) -> Url {
        self.documents[place.document].0.clone()
    }

    /// The URLs of the documents.
    pub(crate) fn urls(&self) -> impl Iterator<Item = &Url> {
        self.documents.iter().map(|(url, _)| url)
    }

    /// Every schema that was looked at.
    pub(crate) fn places(&self) -> Vec<&Place> {
        let mut places: Vec<_> = self.bases.keys().collect();
        places.sort();
        places
    }

    /// One schema that holds all documents as its definitions, in the words of one draft: that of 2020 if `modern`, or else
    /// that of 2019. `dependencies` of older drafts mean nothing.
    pub(crate) fn bundle(&self, modern: bool) -> Value {
        let mut documents: Vec<Value> = self.documents.iter().map(|(_, value)| (**value).clone()).collect();
        for place in self.bases.keys() {
            let Some(Value::Object(schema)) = documents[place.document].pointer_mut(&place.pointer) else {
                continue;
            };
            const SETTLED: [&str; 6] =
                ["$id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$schema", "dependencies"];
            SETTLED.iter().for_each(|keyword| drop(schema.remove(*keyword)));
            for (limit, exclusive) in [("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")] {
                // As draft 4 has it: whether the limit itself is excluded.
                if let Some(Value::Bool(excluded)) = schema.get(exclusive) {
                    let limit = if *excluded { schema.remove(limit) } else { None };
                    schema.remove(exclusive);
                    schema.extend(limit.map(|limit| (exclusive.to_owned(), limit)));
                }
            }
            if self.targets.contains_key(place) {
                REFERENCES.iter().for_each(|keyword| drop(schema.remove(*keyword)));
            }
            if let Some(target) = self.targets.get(place) {
                schema.insert("$ref".to_owned(), Value::String(self.bundled(target, modern)));
            }
        }
        // What is within goes first, while it is where its place says.
        let mut tuples: Vec<_> = self.bases.keys().filter(|place| modern && self.is_tuple(place)).collect();
        tuples.sort_by_key(|place| std::cmp::Reverse(place.pointer.len()));
        for place in tuples {
            if let Some(Value::Object(schema)) = documents[place.document].pointer_mut(&place.pointer) {
                let (tuple, rest) = (schema.remove("items"), schema.remove("additionalItems"));
                let tuple = tuple.filter(|_| !schema.contains_key("prefixItems"));
                schema.extend(tuple.map(|tuple| ("prefixItems".to_owned(), tuple)));
                schema.extend(rest.map(|rest| ("items".to_owned(), rest)));
            }
        }
        let named = documents.into_iter().enumerate().map(|(at, value)| (at.to_string(), value));
        json!({ "$defs": Value::Object(named.collect()) })
    }

    /// Whether the schema at a place has the array form of `items`, which the draft of 2020 spells `prefixItems`.
    fn is_tuple(&self, place: &Place) -> bool {
        self.bases.contains_key(place) && self.schema(place).get("items").is_some_and(Value::is_array)
    }

    /// A reference to a place within the bundle.
    pub(crate) fn bundled(&self, place: &Place, modern: bool) -> String {
        let mut pointer = format!("/$defs/{}", place.document);
        let mut at = Place { document: place.document, pointer: String::new() };
        for token in place.pointer.split('/').skip(1) {
            let spelled = match token {
                "items" if modern && self.is_tuple(&at) => "prefixItems",
                "additionalItems" if modern && self.is_tuple(&at) => "items",
                token => token,
            };
            pointer.extend(["/", spelled]);
            at.pointer.extend(["/", token]);
        }
        format!("#{}", utf8_percent_encode(&pointer, FRAGMENT))
    }

    /// The document URL and the pointer of a location in the bundle.
    pub(crate) fn unbundled(&self, location: &str) -> Option<(&Url, String)> {
        let rest = location.strip_prefix("/$defs/")?;
        let end = rest.find('/').unwrap_or(rest.len());
        let (url, _) = self.documents.get(rest[..end].parse::<usize>().ok()?)?;
        Some((url, rest[end..].to_owned()))
    }

    /// Makes sure that the document of a URL is there; `None` where nobody has it.
    fn fetch(&mut self, url: &Url, fetch: Fetch<'_>, waiting: &mut Vec<Reference>) -> Option<usize> {
        let url = without_fragment(url);
        if let Some(place) = self.resources.get(&url) {
            return Some(place.document);
        }
        let value = meta_schema(&url).or_else(|| fetch(&url))?;
        let document = self.documents.len();
        self.documents.push((url.clone(), value));
        let place = Place { document, pointer: String::new() };
        self.resources.insert(url.clone(), place.clone());
        self.look_at(place, url, waiting);
        Some(document)
    }

    /// The place a URL means; looks at it, where no keyword led there before.
    fn resolve(&mut self, url: &Url, waiting: &mut Vec<Reference>) -> Option<Place> {
        let resource = self.resources.get(&without_fragment(url))?.clone();
        // What stands for a document that nobody has read stands for all of it.
        if *self.schema(&resource) == Value::Bool(true) {
            return Some(resource);
        }
        let fragment = percent_decode_str(url.fragment().unwrap_or("")).decode_utf8().ok()?.into_owned();
        if !fragment.is_empty() && !fragment.starts_with('/') {
            // A document goes by where it was read from as well as by its `$id`, which anchors are kept under.
            let mut own = self.bases.get(&resource)?.clone();
            own.set_fragment(url.fragment());
            return self.anchors.get(url).or_else(|| self.anchors.get(&own)).cloned();
        }
        let place = Place { document: resource.document, pointer: resource.pointer.clone() + &fragment };
        let (_, document) = &self.documents[place.document];
        document.pointer(&place.pointer)?;
        if !self.bases.contains_key(&place) {
            self.look_at(place.clone(), without_fragment(url), waiting);
        }
        Some(place)
    }

    /// Notes what a schema and all schemas within it are called and refer to.
    fn look_at(&mut self, place: Place, mut base: Url, waiting: &mut Vec<Reference>) {
        if self.bases.contains_key(&place) {
            return;
        }
        let document = self.documents[place.document].1.clone();
        let Some(schema) = document.pointer(&place.pointer) else {
            return;
        };
        let text = |keyword: &str| schema.get(keyword).and_then(Value::as_str);
        // Until draft 7 an anchor was an identifier that is a fragment alone.
        let old_anchor = text("$id").and_then(|id| id.strip_prefix('#'));
        if let Some(id) = text("$id").and_then(|id| base.join(id).ok()) {
            base = without_fragment(&id);
            self.resources.entry(base.clone()).or_insert_with(|| place.clone());
        }
        for anchor in [text("$anchor"), text("$dynamicAnchor"), old_anchor].into_iter().flatten() {
            let mut url = base.clone();
            url.set_fragment(Some(anchor));
            self.anchors.insert(url, place.clone());
        }
        let reference = REFERENCES.iter().find_map(|keyword| Some((*keyword, text(keyword)?)));
        if let Some((keyword, to)) = reference {
            waiting.push(Reference { from: place.clone(), keyword, to: base.join(to).ok() });
        }
        self.bases.insert(place.clone(), base.clone());
        for names in subschemas(schema) {
            self.look_at(place.child(&names), base.clone(), waiting);
        }
    }
}

/// A schema of schemas, as the drafts have it; it need not be fetched.
fn meta_schema(url: &Url) -> Option<Arc<Value>> {
    if url.host_str() != Some("json-schema.org") {
        return None;
    }
    let base = referencing::uri::from_str(url.as_str()).ok()?;
    let found = referencing::SPECIFICATIONS.resolver(base).lookup("").ok()?;
    Some(Arc::new(found.contents().clone()))
}

/// The paths of the schemas directly within a schema.
pub(super) fn subschemas(schema: &Value) -> Vec<Vec<Cow<'_, str>>> {
    let Value::Object(keywords) = schema else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (keyword, value) in keywords {
        match keyword.as_str() {
            "additionalProperties"
            | "additionalItems"
            | "not"
            | "if"
            | "then"
            | "else"
            | "contains"
            | "propertyNames"
            | "unevaluatedItems"
            | "unevaluatedProperties"
            | "contentSchema" => {
                found.push(vec![keyword.into()]);
            }
            "items" if !value.is_array() => found.push(vec![keyword.into()]),
            "items" | "allOf" | "anyOf" | "oneOf" | "prefixItems" => {
                let items = value.as_array().map_or(0, Vec::len);
                found.extend((0..items).map(|at| vec![keyword.into(), at.to_string().into()]));
            }
            "properties" | "patternProperties" | "dependentSchemas" | "$defs" | "definitions" => {
                let names = value.as_object().into_iter().flat_map(|map| map.keys());
                found.extend(names.map(|name| vec![keyword.into(), name.into()]));
            }
            _ => {}
        }
    }
    found
}

fn without_fragment(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_fragment(None);
    url
}

fn not_found(target: &Url, url: &Url, pointer: String) -> SchemaError {
    SchemaError {
        slug: "schema-not-found",
        url: without_fragment(url),
        pointer,
        message: format!("there is no schema at {}", without_fragment(target)),
        hint: None,
    }
}

fn no_url(url: Url, pointer: String) -> SchemaError {
    let message = "a reference is a URL, absolute or relative".to_owned();
    SchemaError { slug: "schema-reference-invalid", url, pointer, message, hint: None }
}

fn no_such_fragment(target: &Url, url: &Url, pointer: String) -> SchemaError {
    SchemaError {
        slug: "schema-fragment-not-found",
        url: without_fragment(url),
        pointer,
        message: format!("referenced schema fragment location {target} does not exist"),
        hint: None,
    }
}
