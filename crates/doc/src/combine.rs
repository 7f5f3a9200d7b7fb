//! stub
use std::sync::Arc;

use crate::{Arena, Invalid, Node, Pointer, ReduceError, Schema};

/// Why a document cannot be combined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CombineError {
    /// The document is not valid.
    #[error("document is invalid: {0}")]
    Invalid(Invalid),
    /// The reduced document is not valid.
    #[error("combined document is invalid: {0}")]
    CombinedInvalid(Invalid),
    /// The documents cannot be reduced.
    #[error("failed to combine documents having shared key: {0}")]
    Reduce(ReduceError),
    /// A stored document was given twice.
    #[error("the stored document of this key was given twice")]
    LeftTwice,
}

/// One combined document.
#[derive(Debug, Clone, Copy)]
pub struct Drained<'c> {
    /// The packed key.
    pub key: &'c [u8],
    /// The document as JSON text.
    pub document: &'c [u8],
    /// Whether it holds all there was before, too: a stored document was reduced into it.
    pub full: bool,
    /// Whether the reduction deleted it; then the document is what was reduced last.
    pub deleted: bool,
}

/// Reduces documents by key.
#[derive(Debug)]
pub struct Combiner;

impl Combiner {
    /// An empty combiner.
    pub fn new(schema: Arc<Schema>, key: Arc<[Pointer]>) -> Self {
        unimplemented!()
    }
    /// Adds a document behind those of its key that came before.
    pub fn combine_right(&mut self, arena: &Arena, document: Node<'_>) -> Result<(), CombineError> {
        unimplemented!()
    }
    /// Puts a stored, fully reduced document before those of its key.
    pub fn reduce_left(&mut self, arena: &Arena, document: Node<'_>) -> Result<(), CombineError> {
        unimplemented!()
    }
    /// Whether there is a document of this packed key.
    pub fn contains(&self, packed: &[u8]) -> bool {
        unimplemented!()
    }
    /// Forgets all documents.
    pub fn clear(&mut self) {}
    /// x
    pub fn documents(&self) -> impl Iterator<Item = (&[u8], &[u8])> { std::iter::empty() }
    /// How many keys there are.
    pub fn len(&self) -> usize {
        unimplemented!()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        unimplemented!()
    }
    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        unimplemented!()
    }
    /// Takes all documents, in the order in which their keys came first.
    pub fn drain_by_arrival(&mut self) -> impl Iterator<Item = Drained<'_>> {
        std::iter::empty()
    }
    /// Takes all documents, in the order of their keys.
    pub fn drain_by_key(&mut self) -> impl Iterator<Item = Drained<'_>> {
        std::iter::empty()
    }
}
