//! Catalogs: YAML, JSON Schemas and lambdas in; specs out, or every mistake at once with file, line and hint.
//!
//! [`build`] is the whole of it. It reads through a [`Fetch`], asks a [`Host`] about what it cannot know (connectors and
//! modules), and gives a [`Catalog`] of plain specs and a list of [`Diagnostic`]s, each at a [`Place`] of the [`Sources`].
//! Inside, `tree` reads YAML, `parse` gives raw definitions, `build` checks them against each other.

mod build;
mod diagnostic;
mod fetch;
pub mod fields;
mod host;
mod load;
mod names;
mod parse;
mod sources;
mod spec;
mod storage;
mod tree;
mod typescript;

pub use build::{Built, build, types};
pub use diagnostic::{Diagnostic, SLUGS, Severity, nearest};
pub use fetch::{FILE_BYTES_MAX, Fetch, FetchError, Files, RootError, root_url};
pub use host::{
    BindingRules, ConfigAt, ConfigError, Constraint, Host, Import, ModuleError, ModuleOutline, SqlError, Unused,
};
pub use sources::{Location, Place, Source, SourceId, Sources};
pub use spec::{
    Binding, Capture, CaptureBinding, Catalog, Collection, Derivation, Endpoint, FieldSelection, Imports, Lambda,
    Materialization, Module, Period, Projection, Selector, Step, StepKind, Test, Text, Transform, Using,
};
pub use storage::{Codec, Fragments, StorageMapping};
pub use tree::{Kind, Member, Tree};
pub use typescript::Generated;

/// A JSON Schema of catalog files, for editors.
pub const SCHEMA: &str = include_str!("catalog.schema.json");
