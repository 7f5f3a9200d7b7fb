//! Building a collection: its schemas, its key, its fields.

use std::collections::BTreeMap;

use doc::{Exists, Located, PUBLISHED_AT, Pointer, Types};

use super::Build;
use super::schema::{Named, with_default};
use crate::names::{self, Form};
use crate::parse::{RawCollection, RawProjection, Word};
use crate::{Collection, Projection};

/// What messages call a location of a key.
const KEY: &str = "part of the key";
/// The field of the whole document.
const DOCUMENT_FIELD: &str = "flow_document";
/// The field of when a document was published, which every collection has.
const PUBLISHED_AT_FIELD: &str = "flow_published_at";

impl Build<'_, '_> {
    /// The collection without its derivation, if its schemas compile and it has a key.
    pub(super) fn collection(&mut self, raw: &RawCollection) -> Option<Collection> {
        let name = &raw.name.value;
        let schema = raw.schema.as_ref().and_then(|url| self.schema(url));
        let write = raw.schema.as_ref().map(|url| &url.value);
        let read = raw.read_schema.as_ref().map(|url| self.read_schema(url, write));
        if let (Some(url), Some(named)) = (&raw.schema, &schema) {
            let types = named.schema.shape().types;
            if types != Types::OBJECT {
                let message = format!("the schema of collection `{name}` must allow objects only, and allows {types}");
                self.report.error("schema-not-object", url.place, message).hint("give it `type: object`");
            }
        }
        let words = raw.key.as_ref()?;
        if words.value.is_empty() {
            let message = format!("the key of collection `{name}` cannot be empty");
            self.report
                .error("key-empty", words.place, message)
                .hint("list what tells documents apart, such as `[/id]`");
        }
        let (schema, read) = (
            schema?,
            match read {
                Some(read) => Some(read?),
                None => None,
            },
        );
        // Keys are taken from documents as they are read, and grouped by as they are written.
        let mut key: Vec<Pointer> = Vec::new();
        for word in &words.value {
            let pointer = self.key_location(word, KEY, &schema);
            if let Some(read) = read.as_ref().filter(|read| read.url != schema.url) {
                self.key_location(word, KEY, read);
            }
            key.extend(pointer);
        }
        let read = read.unwrap_or_else(|| schema.clone());
        let projections = self.projections(raw, &read, &key);
        if key.is_empty() {
            return None;
        }
        self.read_urls.insert(name.clone(), read.url);
        Some(Collection {
            name: name.clone(),
            schema: schema.schema,
            read_schema: read.schema,
            key: key.into(),
            projections,
            derivation: None,
            fragments: raw.fragments.clone(),
            place: raw.name.place,
        })
    }

    fn projections(&mut self, raw: &RawCollection, read: &Named, key: &[Pointer]) -> Vec<Projection> {
        let shape = read.schema.shape();
        let mut fields: BTreeMap<String, Projection> = BTreeMap::new();
        let modern = self.modern;
        let projection = |field: String, pointer: Pointer, located: Located| Projection {
            field,
            key: key.contains(&pointer),
            pointer: if modern { with_default(pointer, &located) } else { pointer },
            explicit: false,
            partition: false,
            types: located.shape.types,
            must_exist: located.exists == Exists::Must,
            // Before 2023 nothing came of a format.
            format: located.shape.format.clone().filter(|_| modern),
        };
        let mut add = |pointer: Pointer, located: Located| {
            if located.exists > Exists::Implicit || pointer.is_root() {
                let field = canonical(&pointer);
                fields.entry(field.clone()).or_insert_with(|| projection(field, pointer, located));
            }
        };
        for (pointer, located) in shape.locations() {
            add(pointer, located);
        }
        for pointer in key {
            add(pointer.clone(), shape.locate(pointer));
        }

        let words: Vec<&Word> = raw.projections.iter().map(|projection| &projection.field).collect();
        let first = names::check_distinct("projection", &words, false, &mut self.report);
        let mut explicit = Vec::new();
        for (raw, _) in raw.projections.iter().zip(first).filter(|(_, first)| *first) {
            if let Some(pointer) = self.explicit(raw, read) {
                if pointer.is_published_at() {
                    explicit.push(Projection { explicit: true, ..published(&raw.field.value) });
                    continue;
                }
                let located = shape.locate(&pointer);
                if let Some(canonical) = fields.get(&raw.field.value).filter(|canonical| canonical.pointer != pointer) {
                    let message = format!(
                        "`{}` is the field of location `{}`, and cannot stand for `{pointer}`",
                        raw.field.value, canonical.pointer
                    );
                    self.report.error("projection-canonical", raw.field.place, message).hint("choose another name");
                    continue;
                }
                let field = canonical(&pointer);
                fields.entry(field.clone()).or_insert_with(|| projection(field, pointer.clone(), located));
                explicit.push(Projection {
                    explicit: true,
                    partition: raw.partition.is_some(),
                    ..projection(raw.field.value.clone(), pointer, located)
                });
            }
        }
        fields.extend(explicit.into_iter().map(|projection| (projection.field.clone(), projection)));
        // A field of the collection's own that has its name goes first.
        fields.entry(PUBLISHED_AT_FIELD.to_owned()).or_insert_with_key(|field| published(field));
        fields.into_values().collect()
    }

    /// The location of an explicit projection, if it can be one.
    fn explicit(&mut self, raw: &RawProjection, read: &Named) -> Option<Pointer> {
        if raw.partition.is_some() {
            names::check("partition", &raw.field, Form::Token, &mut self.report);
            return self.key_location(&raw.location, "a partition", read);
        }
        if raw.field.value.is_empty() {
            self.report.error("name-empty", raw.field.place, "the name of a projection cannot be empty");
            return None;
        }
        let pointer = self.pointer(&raw.location)?;
        if pointer.is_published_at() {
            return Some(pointer);
        }
        let text = &raw.location.value;
        match read.schema.shape().locate(&pointer).exists {
            Exists::Cannot => {
                let message = format!("location `{text}` can never exist");
                self.report.error("location-impossible", raw.location.place, message);
                None
            }
            Exists::Implicit => {
                let message = format!("the schema says nothing of location `{text}`");
                let shape = read.schema.shape();
                let known: Vec<String> = shape.locations().iter().map(|(pointer, _)| pointer.to_string()).collect();
                let near = crate::diagnostic::nearest(text, known.iter().map(String::as_str)).map(str::to_owned);
                let error = self.report.error("location-unknown", raw.location.place, message);
                match near {
                    Some(near) => error.hint(format!("did you mean `{near}`?")),
                    None => error.hint("add it to the schema's `properties`"),
                };
                None
            }
            _ => Some(pointer),
        }
    }
}

/// A field of when documents were published, which no schema speaks of.
fn published(field: &str) -> Projection {
    Projection {
        field: field.to_owned(),
        pointer: PUBLISHED_AT.parse().expect("the constant is a pointer"),
        explicit: false,
        partition: false,
        key: false,
        types: Types::STRING,
        must_exist: false,
        format: Some("date-time".to_owned()),
    }
}

/// The name a location has when nobody names it: the pointer without its slash.
fn canonical(pointer: &Pointer) -> String {
    match pointer.to_string().strip_prefix('/') {
        Some(field) => field.to_owned(),
        None => DOCUMENT_FIELD.to_owned(),
    }
}
