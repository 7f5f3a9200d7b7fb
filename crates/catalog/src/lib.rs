//! Catalogs: YAML, JSON Schemas and lambdas in; specs out, or every mistake at once with file, line and hint.

mod diagnostic;
mod fetch;
mod sources;
mod tree;

pub use diagnostic::{Diagnostic, SLUGS, Severity};
pub use fetch::{FILE_BYTES_MAX, Fetch, FetchError, Files, RootError, root_url};
pub use sources::{Location, Place, Source, SourceId, Sources};
pub use tree::{Kind, Member, Tree};
