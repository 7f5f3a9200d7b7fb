//! Compiling schemas, and finding in their text what is said of them.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use doc::{Exists, Formats, Invalid, Located, Pointer, Schema, SchemaError, Shape, Types};
use serde_json::{Value, json};
use url::Url;

use super::Build;
use crate::diagnostic::{ELSEWHERE, nearest};
use crate::load::{Document, Library, Unread, unreadable};
use crate::parse::{Spanned, Word};
use crate::sources::percent_decoded as decoded;
use crate::tree::escaped;
use crate::{FetchError, Kind, Place, Tree};

/// The scheme of references to the schemas of the collection that they stand in.
const COLLECTION_SCHEME: &str = "flow";
/// How `doc` calls a reference into a file that leads nowhere.
const NO_FRAGMENT: &str = "schema-fragment-not-found";
/// How it calls a default that its schema refuses.
const WRONG_DEFAULT: &str = "schema-default-invalid";
/// The types that can be part of a key.
const KEY_TYPES: Types = Types::INTEGER.union(Types::STRING).union(Types::BOOLEAN);
/// How often a schema is compiled again without definitions that turn out to be broken.
const MENDS_MAX: usize = 4;
/// How many references are followed in search of a place.
const REFERENCES_MAX: usize = 64;

/// A schema and where it is.
#[derive(Clone)]
pub(super) struct Named {
    pub(super) url: Url,
    pub(super) schema: Arc<Schema>,
}

impl Build<'_, '_> {
    /// Compiles a schema, once. All that is wrong with it is reported when it is first referred to.
    pub(super) fn schema(&mut self, url: &Spanned<Url>) -> Option<Named> {
        self.read_schema(url, None)
    }

    /// Compiles the schema that a collection is read by, which may refer to the one it is written by.
    pub(super) fn read_schema(&mut self, url: &Spanned<Url>, write: Option<&Url>) -> Option<Named> {
        let known = (url.value.clone(), write.cloned());
        if let Some(known) = self.schemas.get(&known) {
            return known.clone().map(|schema| Named { url: url.value.clone(), schema });
        }
        let compiled = self.compile(url, write).map(Arc::new);
        if let Some(schema) = &compiled {
            for doubt in schema.doubts() {
                let place = self.library.place(&doubt.url, &doubt.pointer).unwrap_or(url.place);
                // Before 2023 nothing came of a default.
                let diagnostic = match self.modern && doubt.slug == WRONG_DEFAULT {
                    true => self.report.error(doubt.slug, place, &*doubt.message),
                    false => self.report.warning(doubt.slug, place, &*doubt.message),
                };
                diagnostic.hint = doubt.hint.clone();
            }
            for inspection in schema.shape().inspect() {
                let place = place_of(self.library, &url.value, &inspection.pointer).unwrap_or(url.place);
                self.report.error(inspection.slug, place, inspection.message);
            }
        }
        self.schemas.insert(known, compiled.clone());
        compiled.map(|schema| Named { url: url.value.clone(), schema })
    }

    fn compile(&mut self, url: &Spanned<Url>, write: Option<&Url>) -> Option<Schema> {
        let library = self.library;
        match library.document(&url.value) {
            Ok(_) => {}
            Err(Unread::Broken) => return None,
            Err(Unread::Fetch(error)) => {
                unreadable(library, &mut self.report, url.place, &url.value, &error);
                // What was found missing is told once for each place that refers to it.
                return None;
            }
        }
        let unread: RefCell<Vec<(Url, FetchError)>> = RefCell::default();
        let broken = RefCell::new(Vec::new());
        let elsewhere: RefCell<BTreeSet<Url>> = RefCell::default();
        let documents = |url: &Url| match library.document(url) {
            _ if url.scheme() == COLLECTION_SCHEME && write.is_some() => collection_schema(url, write?),
            Ok(document) => Some(document.value),
            Err(Unread::Broken) => {
                broken.borrow_mut().push(url.clone());
                None
            }
            Err(Unread::Fetch(FetchError::Scheme(scheme))) if scheme == "http" || scheme == "https" => {
                if let Some(known) = identified(library, url) {
                    return Some(known);
                }
                elsewhere.borrow_mut().insert(url.clone());
                Some(Arc::new(Value::Bool(true)))
            }
            Err(Unread::Fetch(error)) => {
                unread.borrow_mut().push((url.clone(), error));
                None
            }
        };
        let compiled = Schema::compile_with(&url.value, &documents, self.formats());
        for elsewhere in elsewhere.take() {
            let message = format!("the schema refers to {elsewhere}, which is not read: anything is valid there");
            let hint = "keep a copy beside the catalog, and refer to that";
            let place = reference_to(library, &elsewhere).unwrap_or(url.place);
            self.report.warning(ELSEWHERE, place, message).hint(hint);
        }
        match compiled {
            Ok(schema) => Some(schema),
            Err(errors) => {
                let mended = mended(library, &url.value, &errors, self.formats());
                for error in errors {
                    let target = reference_of(library, &error.url, &error.pointer).map(|mut url| {
                        url.set_fragment(None);
                        url
                    });
                    let same = |other: &Url| target.as_ref() == Some(other);
                    if broken.borrow().iter().any(same) {
                        continue;
                    }
                    let place = library.place(&error.url, &error.pointer).unwrap_or(url.place);
                    if let Some((missing, why)) = unread.borrow().iter().find(|(other, _)| same(other)) {
                        unreadable(library, &mut self.report, place, missing, why);
                        continue;
                    }
                    if error.slug == NO_FRAGMENT {
                        // One that the catalog asks for is its own mistake, not its schema's.
                        match reference_of(library, &error.url, &error.pointer) {
                            Some(target) => self.no_fragment(place, &target),
                            None => self.no_fragment(url.place, &url.value),
                        }
                        continue;
                    }
                    self.report.error(error.slug, place, error.message).hint = error.hint;
                }
                mended
            }
        }
    }

    fn formats(&self) -> Formats {
        if self.modern { Formats::Asserted } else { Formats::Described }
    }

    fn no_fragment(&mut self, place: Place, target: &Url) {
        let mut file = target.clone();
        file.set_fragment(None);
        let fragment = decoded(target.fragment().unwrap_or_default());
        let message = format!("{} has no schema `#{fragment}`", self.library.display(&file));
        let mut known = Vec::new();
        if let Ok(document) = self.library.document(&file) {
            fragments(&document.tree, String::new(), &mut known);
        }
        let near = nearest(&fragment, known.iter().map(String::as_str));
        let error = self.report.error(NO_FRAGMENT, place, message);
        if let Some(near) = near {
            error.hint(format!("did you mean `#{near}`?"));
        }
    }

    /// Checks that a location can play this role, of a key or a part of one; gives it back wherever it is a pointer.
    pub(super) fn key_location(&mut self, word: &Word, role: &str, named: &Named) -> Option<Pointer> {
        let pointer = self.pointer(word)?;
        let text = &word.value;
        let shape = named.schema.shape();
        let located = shape.locate(&pointer);
        let pointer = if self.modern { with_default(pointer, &located) } else { pointer };
        let schema = place_of(self.library, &named.url, &pointer);
        let report = &mut self.report;
        let error = match located.exists {
            Exists::Cannot => {
                Some(report.error("key-never-exists", word.place, format!("`{text}`, {role}, can never exist")))
            }
            Exists::Implicit => {
                let message = format!("the schema says nothing of `{text}`, {role}");
                Some(report.error("key-unknown", word.place, message))
            }
            Exists::May if located.shape.default.is_none() => {
                let message = format!("documents may lack `{text}`, {role}");
                let error = report.error("key-may-be-absent", word.place, message);
                if let Some(hint) = absence_hint(shape, &pointer) {
                    error.hint(hint);
                }
                Some(error)
            }
            _ => {
                let allowed = if self.modern { KEY_TYPES.union(Types::NULL) } else { KEY_TYPES };
                let bad = located.shape.types.without(allowed);
                if !bad.is_empty() {
                    let message = format!("`{text}`, {role}, may be {bad}; only {KEY_TYPES} can be");
                    let error = report.error("key-type", word.place, message);
                    if bad.contains(Types::FRACTION) && bad.subset(Types::NUMBER) {
                        error.hint("use `type: integer`");
                    }
                    Some(error)
                } else if let Some(strategy) = located.shape.reduce.filter(|strategy| *strategy != "lastWriteWins") {
                    let message = format!("`{text}`, {role}, reduces by `{strategy}`");
                    Some(
                        report
                            .error("key-reduce", word.place, message)
                            .hint("it stays as it first is: remove its `reduce`"),
                    )
                } else {
                    None
                }
            }
        };
        if let (Some(error), Some(place)) = (error, schema) {
            error.related(place, "the schema of its values is here");
        }
        Some(pointer)
    }

    pub(super) fn pointer(&mut self, word: &Word) -> Option<Pointer> {
        match word.value.parse() {
            Ok(pointer) => Some(pointer),
            Err(error) => {
                let error = self.report.error("pointer-invalid", word.place, format!("{error}"));
                if !word.value.is_empty() && !word.value.contains('/') {
                    error.hint(format!("write `/{}`", word.value));
                }
                None
            }
        }
    }
}

/// The schemas that a collection's own `readSchema` refers to: the one it is written by, and the one that is inferred from its
/// documents, which nobody does here, so that it says nothing.
fn collection_schema(url: &Url, write: &Url) -> Option<Arc<Value>> {
    match url.host_str()? {
        "write-schema" | "relaxed-write-schema" => Some(Arc::new(json!({ "$ref": write.as_str() }))),
        "inferred-schema" => Some(Arc::new(Value::Bool(true))),
        _ => None,
    }
}

/// Where one of the catalog's schemas first refers to the document at this URL.
fn reference_to(library: &Library, target: &Url) -> Option<Place> {
    fn find(tree: &Tree, base: &Url, target: &Url) -> Option<Place> {
        let text = |name: &str| tree.get(name).and_then(Tree::as_str);
        let base = text("$id").and_then(|id| base.join(id).ok()).unwrap_or_else(|| base.clone());
        let reference = tree.get("$ref").filter(|reference| {
            let url = reference.as_str().and_then(|reference| base.join(reference).ok());
            url.is_some_and(|mut url| {
                url.set_fragment(None);
                url == *target
            })
        });
        if let Some(reference) = reference {
            return Some(reference.place);
        }
        match &tree.kind {
            Kind::Array(items) => items.iter().find_map(|item| find(item, &base, target)),
            Kind::Object(members) => {
                let schemas = members.iter().filter(|m| !matches!(&*m.key, "default" | "const" | "enum" | "examples"));
                schemas.into_iter().find_map(|member| find(&member.value, &base, target))
            }
            _ => None,
        }
    }
    library.documents().iter().find_map(|(url, document)| find(&document.tree, url, target))
}

/// The schema of the catalog's own files that is known by this URL, its `$id`.
fn identified(library: &Library, url: &Url) -> Option<Arc<Value>> {
    let is_named = |(file, document): &(Url, Document)| {
        let id = document.value.get("$id").and_then(Value::as_str).and_then(|id| file.join(id).ok());
        id.is_some_and(|mut id| {
            id.set_fragment(None);
            id == *url
        })
    };
    library.documents().into_iter().find(is_named).map(|(_, document)| document.value)
}

/// A location with the default that stands for its value, as it does since 2023.
pub(super) fn with_default(pointer: Pointer, located: &Located<'_>) -> Pointer {
    match &located.shape.default {
        Some(default) if located.exists != Exists::Must => pointer.with_default(default),
        _ => pointer,
    }
}

/// The schema without the definitions that are broken, if it does not need them: what else is wrong with those who use it can
/// then be found. The catalog has mistakes all the same.
fn mended(library: &Library, root: &Url, errors: &[SchemaError], formats: Formats) -> Option<Schema> {
    let mut broken: HashMap<Url, BTreeSet<String>> = HashMap::new();
    let mut errors = errors.to_vec();
    for _ in 0..MENDS_MAX {
        for error in &errors {
            broken.entry(error.url.clone()).or_default().insert(definition(&error.pointer)?.to_owned());
        }
        let places = broken.iter().flat_map(|(url, pointers)| pointers.iter().map(|at| library.place(url, at)));
        if reaches(library, root, &places.collect::<Option<Vec<_>>>()?) {
            return None;
        }
        let documents = |url: &Url| {
            let mut value = library.document(url).ok()?.value;
            for pointer in broken.get(url).into_iter().flatten() {
                if let Some(schema) = Arc::make_mut(&mut value).pointer_mut(pointer) {
                    *schema = Value::Bool(true);
                }
            }
            Some(value)
        };
        match Schema::compile_with(root, &documents, formats) {
            Ok(schema) => return Some(schema),
            Err(more) => errors = more,
        }
    }
    None
}

/// The definition that a JSON pointer of a schema document leads into.
fn definition(pointer: &str) -> Option<&str> {
    let rest = pointer.strip_prefix("/$defs/").or_else(|| pointer.strip_prefix("/definitions/"))?;
    let end = pointer.len() - rest.len() + rest.find('/').unwrap_or(rest.len());
    Some(&pointer[..end])
}

/// Whether a schema refers, however indirectly, to something at one of these places.
fn reaches(library: &Library, root: &Url, broken: &[Place]) -> bool {
    fn walk(tree: &Tree, url: &Url, broken: &[Place], waiting: &mut Vec<Url>) -> bool {
        let at = tree.place;
        let inside = |b: &Place| b.source == at.source && b.start <= at.start && at.end <= b.end;
        if broken.iter().any(inside) {
            return true;
        }
        let reference = tree.get("$ref").and_then(Tree::as_str);
        waiting.extend(reference.and_then(|reference| url.join(reference).ok()));
        match &tree.kind {
            Kind::Array(items) => items.iter().any(|item| walk(item, url, broken, waiting)),
            Kind::Object(members) => {
                let applied = members.iter().filter(|member| !matches!(&*member.key, "$defs" | "definitions"));
                applied.into_iter().any(|member| walk(&member.value, url, broken, waiting))
            }
            _ => false,
        }
    }
    let mut seen = HashSet::new();
    let mut waiting = vec![root.clone()];
    while let Some(url) = waiting.pop() {
        if !seen.insert(url.clone()) {
            continue;
        }
        let Ok(document) = library.document(&url) else {
            return true;
        };
        // What cannot be found here may be anywhere.
        let Some(tree) = at_fragment(&document.tree, url.fragment().unwrap_or_default()) else {
            return true;
        };
        if walk(tree, &url, broken, &mut waiting) {
            return true;
        }
    }
    false
}

/// What would make a location exist.
fn absence_hint(shape: &Shape, pointer: &Pointer) -> Option<String> {
    let mut parent = Pointer::root();
    for token in pointer.tokens() {
        let location = parent.child(token);
        if shape.locate(&location).exists != Exists::Must {
            let of = if parent.is_root() { "the schema".to_owned() } else { format!("`{parent}`") };
            let types = shape.locate(&parent).shape.types;
            return Some(if types == Types::OBJECT {
                format!("add `{token}` to `required` of {of}")
            } else if types.contains(Types::OBJECT) {
                format!("give {of} `type: object`, and `{token}` in `required`")
            } else {
                return None;
            });
        }
        parent = location;
    }
    None
}

/// What the `$ref` at this place of a schema refers to.
fn reference_of(library: &Library, url: &Url, pointer: &str) -> Option<Url> {
    let document = library.document(url).ok()?;
    let tree = document.tree.at(pointer)?;
    let reference = tree.as_str().or_else(|| tree.get("$ref")?.as_str())?;
    url.join(reference).ok()
}

/// The anchors and definitions of a schema document, as fragments.
fn fragments(tree: &Tree, pointer: String, found: &mut Vec<String>) {
    found.extend(tree.get("$anchor").and_then(Tree::as_str).map(str::to_owned));
    for member in tree.as_object().unwrap_or_default() {
        let below = format!("{pointer}/{}", escaped(&member.key));
        if pointer.ends_with("/$defs") || pointer.ends_with("/definitions") {
            found.push(below.clone());
        }
        fragments(&member.value, below, found);
    }
}

/// Why a value is not valid; the place it is reported at need not be named again.
pub(super) fn reason(invalid: &Invalid) -> String {
    if invalid.location.is_empty() { invalid.message.clone() } else { invalid.to_string() }
}

/// The keyword that a validation names, an absolute URL with a fragment.
pub(super) fn rule_place(library: &Library, location: &str) -> Option<Place> {
    let url = Url::parse(location).ok()?;
    let pointer = decoded(url.fragment().unwrap_or_default());
    library.place(&url, &pointer)
}

/// Where a schema speaks of a location of its documents, as far as a look at `properties`, `items`, `$ref` and `allOf` tells.
fn place_of(library: &Library, url: &Url, pointer: &Pointer) -> Option<Place> {
    let document = library.document(url).ok()?;
    let tree = at_fragment(&document.tree, url.fragment().unwrap_or_default())?;
    let tokens: Vec<&str> = pointer.tokens().collect();
    let mut references = REFERENCES_MAX;
    find(library, url, tree, &tokens, &mut references)
}

fn find(library: &Library, url: &Url, tree: &Tree, tokens: &[&str], references: &mut usize) -> Option<Place> {
    let Some((token, rest)) = tokens.split_first() else {
        return Some(tree.place);
    };
    *references = references.checked_sub(1)?;
    let property = tree.get("properties").and_then(|properties| properties.get(token));
    let item = || match (token.parse::<usize>(), tree.get("prefixItems"), tree.get("items")) {
        (Ok(at), Some(Tree { kind: Kind::Array(tuple), .. }), _) if at < tuple.len() => tuple.get(at),
        (Ok(at), _, Some(Tree { kind: Kind::Array(tuple), .. })) => tuple.get(at),
        (Ok(_), _, items) => items,
        _ => None,
    };
    if let Some(child) = property.or_else(item) {
        // A property under a reference is best shown where it is named, if not deeper.
        return find(library, url, child, rest, references).or(Some(child.place));
    }
    if let Some(reference) = tree.get("$ref").and_then(Tree::as_str) {
        let target = url.join(reference).ok()?;
        let document = library.document(&target).ok()?;
        let tree = at_fragment(&document.tree, target.fragment().unwrap_or_default())?;
        if let Some(found) = find(library, &target, tree, tokens, references) {
            return Some(found);
        }
    }
    let all = tree.get("allOf").and_then(Tree::as_array).unwrap_or_default();
    all.iter().find_map(|tree| find(library, url, tree, tokens, references))
}

fn at_fragment<'t>(tree: &'t Tree, fragment: &str) -> Option<&'t Tree> {
    let fragment = decoded(fragment);
    if fragment.is_empty() || fragment.starts_with('/') { tree.at(&fragment) } else { anchored(tree, &fragment) }
}

fn anchored<'t>(tree: &'t Tree, anchor: &str) -> Option<&'t Tree> {
    match &tree.kind {
        Kind::Object(_) if tree.get("$anchor").and_then(Tree::as_str) == Some(anchor) => Some(tree),
        Kind::Object(members) => members.iter().find_map(|member| anchored(&member.value, anchor)),
        Kind::Array(items) => items.iter().find_map(|item| anchored(item, anchor)),
        _ => None,
    }
}
