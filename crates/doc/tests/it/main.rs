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

use doc::{Arena, Node, Pointer, Schema, SchemaError};
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

/// Says how many cases a file holds.
#[allow(clippy::print_stdout)]
fn count(file: &str, cases: usize) {
    println!("{file}: {cases} cases");
}
