//! Specs as a build would make them.

use std::sync::Arc;

use catalog::{
    Binding, Capture, CaptureBinding, Collection, Endpoint, FieldSelection, Materialization, Place, Projection,
    Selector, Sources, Tree,
};
use connectors::Builtin;
use doc::{Pointer, Schema, Types};
use runtime::{Batch, Progress, Source};
use serde_json::{Value, json};
use url::Url;

/// A projection: field, pointer, types, whether it must exist, whether it is a part of the key.
pub(crate) type Field<'a> = (&'a str, &'a str, Types, bool, bool);

pub(crate) fn place() -> Place {
    let url = "file:///catalog.flow.yaml".parse().unwrap();
    Tree::from_yaml(&mut Sources::default(), url, "{}").unwrap().place()
}

pub(crate) fn endpoint(connector: &str, base: &str, config: Value) -> Endpoint {
    Endpoint { connector: connector.into(), image: None, config, base: base.parse().unwrap(), place: place() }
}

pub(crate) fn capture(endpoint: Endpoint, resources: &[Value]) -> Capture {
    let binding =
        |resource: &Value| CaptureBinding { resource: resource.clone(), target: "a/b".into(), place: place() };
    let bindings = resources.iter().map(binding).collect();
    Capture { name: "acme/capture".into(), endpoint, bindings, interval_seconds: 300, place: place() }
}

pub(crate) fn collection(name: &str, fields: &[Field<'_>]) -> Collection {
    let url: Url = "file:///schema.json".parse().unwrap();
    let schema = Arc::new(Schema::compile(&url, &|_| Some(Arc::new(json!({"type": "object"})))).unwrap());
    let mut projections: Vec<Projection> = fields
        .iter()
        .chain(&[("flow_document", "", Types::OBJECT, true, false)])
        .map(|(field, pointer, types, must_exist, key)| Projection {
            field: (*field).into(),
            pointer: pointer.parse().unwrap(),
            explicit: false,
            partition: false,
            key: *key,
            types: *types,
            must_exist: *must_exist,
            format: None,
        })
        .collect();
    projections.sort_by(|a, b| a.field.cmp(&b.field));
    let key: Vec<Pointer> = fields.iter().filter(|field| field.4).map(|field| field.1.parse().unwrap()).collect();
    Collection {
        name: name.into(),
        schema: Arc::clone(&schema),
        read_schema: schema,
        key: key.into(),
        projections,
        derivation: None,
        fragments: catalog::Fragments::default(),
        place: place(),
    }
}

/// A binding that keeps all fields given, in their order.
pub(crate) fn binding(resource: Value, source: &str, fields: &[Field<'_>], delta_updates: bool) -> Binding {
    let pick = |key| fields.iter().filter(move |field| field.4 == key).map(|field| field.0.to_owned()).collect();
    Binding {
        resource,
        source: source.into(),
        selector: Selector::default(),
        fields: FieldSelection { keys: pick(true), values: pick(false), document: Some("flow_document".into()) },
        delta_updates,
        place: place(),
    }
}

pub(crate) fn materialization(name: &str, endpoint: Endpoint, bindings: Vec<Binding>) -> Materialization {
    Materialization { name: name.into(), endpoint, bindings, place: place() }
}

pub(crate) fn builtin() -> Builtin {
    Builtin::new(|| 0)
}

/// Documents of a batch, as text without the newlines.
pub(crate) fn texts(batch: &Batch) -> Vec<String> {
    let text = |range: &std::ops::Range<usize>| String::from_utf8(batch.text[range.clone()].to_vec()).unwrap();
    batch.documents.iter().map(|(_, range)| text(range).trim_end().to_owned()).collect()
}

/// Reads until nothing is waiting; returns the documents, the last cursor and what the source said at last.
pub(crate) fn read_all(source: &mut dyn Source) -> (Vec<String>, Option<Vec<u8>>, Progress) {
    let (mut documents, mut cursor) = (Vec::new(), None);
    let mut batch = Batch::default();
    loop {
        batch.clear();
        let progress = source.read(&mut batch).unwrap();
        documents.extend(texts(&batch));
        cursor = batch.cursor.take().or(cursor);
        if progress != Progress::More {
            return (documents, cursor, progress);
        }
    }
}
