//! What a catalog says, as plain data: the specs that a build hands to the runtime, the connectors and the tests.
//!
//! Everything here has been checked: names resolve, keys exist, schemas compile. Nothing refers to YAML, except that each
//! spec keeps its [`Place`] so that later messages can point at it.

use std::collections::BTreeMap;
use std::sync::Arc;

use doc::{Pointer, Schema, Types};
use serde_json::Value;
use url::Url;

use crate::{Fragments, Place, Sources, StorageMapping, Tree};

/// A built catalog. Lists are sorted by name, except tests: by file, then name.
#[derive(Debug)]
pub struct Catalog {
    /// The texts it was built from, to show places.
    pub sources: Sources,
    /// Collections, derived ones included.
    pub collections: Vec<Collection>,
    /// Captures.
    pub captures: Vec<Capture>,
    /// Materializations.
    pub materializations: Vec<Materialization>,
    /// Catalog tests.
    pub tests: Vec<Test>,
    /// Which buckets keep which collections, sorted by prefix.
    pub storage: Vec<StorageMapping>,
}

impl Catalog {
    /// The collection of this name.
    pub fn collection(&self, name: &str) -> Option<&Collection> {
        let at = self.collections.binary_search_by(|c| c.name.as_str().cmp(name)).ok()?;
        self.collections.get(at)
    }
}

/// A named set of documents of one schema, grouped by a key.
#[derive(Debug)]
pub struct Collection {
    /// Its name, `a/b/c`.
    pub name: String,
    /// What documents are validated against when they are written, and how they reduce.
    pub schema: Arc<Schema>,
    /// What documents are validated against when they are read; the same unless the catalog gives a `readSchema`.
    pub read_schema: Arc<Schema>,
    /// The locations that make a document's key, in order; never empty.
    pub key: Arc<[Pointer]>,
    /// All fields, explicit and canonical, sorted by field name.
    pub projections: Vec<Projection>,
    /// How its documents are made from other collections, if they are.
    pub derivation: Option<Derivation>,
    /// How it is kept.
    pub fragments: Fragments,
    /// Where it is defined.
    pub place: Place,
}

impl Collection {
    /// The projections that partition it, sorted by field name.
    pub fn partitions(&self) -> impl Iterator<Item = &Projection> {
        self.projections.iter().filter(|p| p.partition)
    }
    /// The projection of this field.
    pub fn projection(&self, field: &str) -> Option<&Projection> {
        let at = self.projections.binary_search_by(|p| p.field.as_str().cmp(field)).ok()?;
        self.projections.get(at)
    }
}

/// A location of a collection's documents under a flat name.
#[derive(Debug, Clone)]
pub struct Projection {
    /// The name: of the author's choice, or the pointer without its slash; `flow_document` for the root.
    pub field: String,
    /// The location.
    pub pointer: Pointer,
    /// Whether the catalog names it.
    pub explicit: bool,
    /// Whether documents are partitioned by it.
    pub partition: bool,
    /// Whether the location is part of the collection's key.
    pub key: bool,
    /// The types the schema allows there.
    pub types: Types,
    /// Whether every valid document has it.
    pub must_exist: bool,
    /// The `format` that strings there are held to; in catalogs older than 2023 to none.
    pub format: Option<String>,
}

/// How documents of a collection are made.
#[derive(Debug)]
pub struct Derivation {
    /// What its lambdas are written in.
    pub using: Using,
    /// What registers validate against and reduce by.
    pub register_schema: Arc<Schema>,
    /// A register before its first update, as JSON.
    pub register_initial: String,
    /// Its transforms, sorted by name.
    pub transforms: Vec<Transform>,
}

/// The language of a derivation's lambdas.
#[derive(Debug)]
pub enum Using {
    /// One exported class of a TypeScript module.
    Typescript(Module),
    /// Statements of SQLite over a database of the shard's own.
    Sqlite {
        /// Statements that make the database, applied once each in order.
        migrations: Vec<Text>,
    },
}

/// A TypeScript module and the class of it that serves a derivation.
#[derive(Debug, Clone)]
pub struct Module {
    /// The source text.
    pub text: Text,
    /// The exported class.
    pub class: String,
    /// Whether a method takes the whole read (`read.doc`) and there are no registers, as since 2023.
    pub modern: bool,
    /// The files it imports.
    pub imports: Imports,
}

/// The files a module imports, directly or not.
#[derive(Debug, Clone, Default)]
pub struct Imports {
    /// The files, each after all that it imports itself.
    pub files: Vec<Text>,
    /// Which file one means by an import: the URL of the one, what it writes, and the URL of the other.
    pub links: BTreeMap<(Url, String), Url>,
}

/// A piece of program text and where it stands.
#[derive(Debug, Clone)]
pub struct Text {
    /// The file, or the catalog file it is written in.
    pub url: Url,
    /// The text.
    pub text: Arc<str>,
    /// The file as a whole, or the scalar it is written in.
    pub place: Place,
}

/// One source of a derivation and what is done with its documents.
#[derive(Debug)]
pub struct Transform {
    /// Its name.
    pub name: String,
    /// The collection it reads.
    pub source: String,
    /// What source documents must also validate against, where stricter than their collection.
    pub source_schema: Option<Arc<Schema>>,
    /// Which partitions it reads.
    pub selector: Selector,
    /// The locations whose values select the register and the shard.
    pub shuffle: Arc<[Pointer]>,
    /// The lambda that updates the register.
    pub update: Option<Lambda>,
    /// The lambda that publishes documents.
    pub publish: Option<Lambda>,
    /// Ready documents of a higher priority go first.
    pub priority: u32,
    /// How long documents wait before they are read.
    pub read_delay_seconds: u64,
    /// Where it is defined.
    pub place: Place,
}

/// What runs for a source document.
#[derive(Debug, Clone)]
pub enum Lambda {
    /// A method of the derivation's class.
    Method(String),
    /// SQLite statements.
    Sql(Text),
}

/// Which documents of a collection are meant. Values are JSON scalars.
#[derive(Debug, Clone, Default)]
pub struct Selector {
    /// For each field here the document's value is one of the list.
    pub include: Vec<(String, Vec<Value>)>,
    /// No document has one of these values in the field.
    pub exclude: Vec<(String, Vec<Value>)>,
    /// When documents were published.
    pub period: Period,
}

/// A time from one moment to another, both within it, in microseconds since 1970 UTC. All of time unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The first moment.
    pub not_before_us: u64,
    /// The last moment.
    pub not_after_us: u64,
}

impl Default for Period {
    fn default() -> Self {
        Period { not_before_us: 0, not_after_us: u64::MAX }
    }
}

impl Period {
    /// Whether a moment is in it.
    pub fn holds(&self, us: u64) -> bool {
        (self.not_before_us..=self.not_after_us).contains(&us)
    }
}

/// A connector and its configuration.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The connector: the last component of its image's name without the tag, such as `materialize-sqlite`.
    pub connector: String,
    /// The image, where the catalog names one.
    pub image: Option<String>,
    /// Its configuration, an object.
    pub config: Value,
    /// The file the configuration stands in: what relative paths in it are relative to.
    pub base: Url,
    /// Where it is defined.
    pub place: Place,
}

/// Documents from an endpoint into collections.
#[derive(Debug)]
pub struct Capture {
    /// Its name.
    pub name: String,
    /// The source.
    pub endpoint: Endpoint,
    /// What of it goes where; the order is significant.
    pub bindings: Vec<CaptureBinding>,
    /// How long after the start of one run the next one starts, where the source ends.
    pub interval_seconds: u64,
    /// Where it is defined.
    pub place: Place,
}

/// One stream of a capture and its collection.
#[derive(Debug)]
pub struct CaptureBinding {
    /// What of the endpoint, an object.
    pub resource: Value,
    /// The collection.
    pub target: String,
    /// Where it is defined.
    pub place: Place,
}

/// Collections kept up to date in an endpoint.
#[derive(Debug)]
pub struct Materialization {
    /// Its name.
    pub name: String,
    /// The destination.
    pub endpoint: Endpoint,
    /// What goes where; the order is significant.
    pub bindings: Vec<Binding>,
    /// Where it is defined.
    pub place: Place,
}

/// One collection of a materialization.
#[derive(Debug)]
pub struct Binding {
    /// Where in the endpoint, an object.
    pub resource: Value,
    /// The collection.
    pub source: String,
    /// Which partitions of it.
    pub selector: Selector,
    /// The fields that are kept.
    pub fields: FieldSelection,
    /// Whether the endpoint takes each transaction's documents as they are, and is never asked for what it holds.
    pub delta_updates: bool,
    /// Where it is defined.
    pub place: Place,
}

/// Fields of a collection, by the part they play in an endpoint. Each names a projection of the collection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelection {
    /// One field per component of the key, in its order; empty where the endpoint keeps only documents.
    pub keys: Vec<String>,
    /// Further fields, sorted.
    pub values: Vec<String>,
    /// The field of the whole document.
    pub document: Option<String>,
}

/// A catalog test.
#[derive(Debug)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// Its steps, in order.
    pub steps: Vec<Step>,
    /// Where it is defined.
    pub place: Place,
}

/// One step of a test.
#[derive(Debug)]
pub struct Step {
    /// What it does.
    pub kind: StepKind,
    /// The collection it ingests into or verifies.
    pub collection: String,
    /// The documents, each an object with the place of every value in it.
    pub documents: Vec<Tree>,
    /// Which partitions a verify looks at.
    pub selector: Selector,
    /// What the author says of it.
    pub description: Option<String>,
    /// Where it is defined.
    pub place: Place,
}

/// What a step does with its documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// Adds them to the collection.
    Ingest,
    /// Compares them with what the collection got since the test began.
    Verify,
}
