//! Documents, schemas and reductions together, mostly from data in `cases/`.

#![allow(clippy::unwrap_used)]

mod combining;
mod order;
mod properties;
mod reductions;
mod schemas;
mod shapes;
mod spilling;

use std::collections::HashMap;
use std::sync::Arc;

use doc::{Arena, CombineError, Combiner, Drained, Node, Pointer, Schema, SchemaError};
use serde_json::Value;
use url::Url;

/// Compiles a schema that refers to nothing else.
fn schema(value: Value) -> Schema {
    schemas_of("test:/schema", [("test:/schema", value)]).unwrap()
}

/// Compiles the schema at a URL among documents.
fn schemas_of<const N: usize>(root: &str, documents: [(&str, Value); N]) -> Result<Schema, Vec<SchemaError>> {
    compile(root, documents.map(|(url, value)| (url.to_owned(), value)).into())
}

fn compile(root: &str, documents: Vec<(String, Value)>) -> Result<Schema, Vec<SchemaError>> {
    let documents: HashMap<Url, Arc<Value>> =
        documents.into_iter().map(|(url, value)| (url.parse().unwrap(), Arc::new(value))).collect();
    Schema::compile(&root.parse().unwrap(), &|url| documents.get(url).cloned())
}

fn node<'a>(arena: &'a Arena, value: &Value) -> Node<'a> {
    doc::from_value(arena, value)
}

fn pointers<const N: usize>(pointers: [&str; N]) -> Arc<[Pointer]> {
    pointers.iter().map(|pointer| pointer.parse().unwrap()).collect()
}

/// What the documents of each key `k` become, in the order of keys, behind what is stored of them.
fn finished(schema: &Schema, combiner: &mut Combiner, stored: &[Value]) -> Vec<Result<String, CombineError>> {
    combiner.drain_by_key().map(|drained| finished_key(schema, drained, stored)).collect()
}

/// The same of one key.
fn finished_key(schema: &Schema, drained: Drained<'_>, stored: &[Value]) -> Result<String, CombineError> {
    let arena = Arena::new();
    let parse = |text| doc::parse(&arena, arena.alloc_slice_copy(text)).unwrap();
    let documents: Vec<Node<'_>> = drained.documents().map(parse).collect();
    let stored = stored.iter().map(|stored| node(&arena, stored));
    let stored = stored.into_iter().find(|stored| stored.get("k") == documents[0].get("k"));
    let reduced = schema.reduce_all(&arena, stored, &documents)?;
    Ok(reduced.map_or_else(|| "deleted".to_owned(), Node::to_json))
}

/// Says how many cases a file holds.
#[allow(clippy::print_stdout)]
fn count(file: &str, cases: usize) {
    println!("{file}: {cases} cases");
}
