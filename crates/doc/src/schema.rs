//! A compiled schema: validation, reduction and shape of the documents of one collection or register.

use std::sync::Arc;

use serde_json::Value;
use url::Url;

use crate::{Arena, Node, ReduceError, Shape};

/// A mistake in a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SchemaError {
    /// Names the kind of mistake.
    pub slug: &'static str,
    /// The schema document.
    pub url: Url,
    /// Where in that document, as a JSON pointer.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Why a document is not valid. Prints as `"/segment/vendor": 0 is less than the minimum of 1`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{location:?}: {message}")]
pub struct Invalid {
    /// The value in the document, as a JSON pointer.
    pub location: String,
    /// The keyword that refuses it: an absolute URL with a fragment.
    pub schema_location: String,
    /// What is wrong, naming the value.
    pub message: String,
}

/// A compiled schema.
#[derive(Debug)]
pub struct Schema;

impl Schema {
    /// Compiles the schema at `root`, whose fragment may be a JSON pointer or an anchor. `documents` gives the schema document
    /// of a URL without fragment. All mistakes that can be found at once are.
    pub fn compile(root: &Url, documents: &dyn Fn(&Url) -> Option<Arc<Value>>) -> Result<Schema, Vec<SchemaError>> {
        unimplemented!()
    }
    /// Checks a document.
    pub fn validate(&self, document: Node<'_>) -> Result<(), Invalid> {
        unimplemented!()
    }
    /// Whether a document is valid; cheaper than [`Schema::validate`] where it is not.
    pub fn is_valid(&self, document: Node<'_>) -> bool {
        unimplemented!()
    }
    /// What the schema proves about its documents.
    pub fn shape(&self) -> &Shape {
        unimplemented!()
    }
    /// Reduces `right`, a valid document, into `left`, the document before it. With `full`, `left` is all there was before.
    /// `None`: the reduction deleted the document.
    pub fn reduce<'a>(
        &self,
        arena: &'a Arena,
        left: Option<Node<'a>>,
        right: Node<'a>,
        full: bool,
    ) -> Result<Option<Node<'a>>, ReduceError> {
        unimplemented!()
    }
}
