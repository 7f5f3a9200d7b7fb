//! Combining: all documents of a key become one, so that a slow destination makes fewer rows and not longer queues.
//!
//! Entries are bytes in two growing buffers, found by the hash of their packed key: memory is bounded by what is unique, no
//! arena outlives a block, and draining keeps the buffers for the next transaction.
//!
//! A key has one document, unless its schema keeps documents apart (`associative: false`) while what came before them is not
//! known. Then its text is one line per document, and only the last is reduced further.

use std::ops::Range;
use std::sync::Arc;

mod spill;

use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64;

use crate::parse::DEPTH_MAX;
use crate::write::write_within;
use crate::{Arena, Invalid, Node, Pointer, Reason, ReduceError, Schema, pack, parse, write};
pub use spill::{Documents, Spill, SpillDrain, SpillFile, SpillingCombiner};

/// Below this much garbage the buffer is not worth compacting.
const GARBAGE_BYTES_MIN: usize = 64 << 10;

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
    Reduce(#[from] ReduceError),
    /// A document is nested deeper than can be read back.
    #[error("document has more than {DEPTH_MAX} arrays and objects within each other")]
    Depth,
    /// Documents could not be put where there is more room than in memory, or not be read back.
    #[error("documents for which there is no room in memory cannot be kept on disk: {0}")]
    Spill(String),
}

/// All documents of one key.
#[derive(Debug, Clone, Copy)]
pub struct Drained<'c> {
    /// The packed key.
    pub key: &'c [u8],
    /// The document; several, one a line, where they are kept apart.
    text: &'c [u8],
    /// Whether there are several.
    apart: bool,
}

impl<'c> Drained<'c> {
    /// The documents as JSON text, in the order they came in: one, or several where they are kept apart.
    pub fn documents(&self) -> impl Iterator<Item = &'c [u8]> + use<'c> {
        documents_of(self.text, self.apart)
    }

    /// The document, unless there are several.
    pub fn single(&self) -> Option<&'c [u8]> {
        (!self.apart).then_some(self.text)
    }
}

/// Reduces documents by key.
#[derive(Debug)]
pub struct Combiner {
    schema: Arc<Schema>,
    key: Arc<[Pointer]>,
    /// Packed keys, one after another.
    keys: Vec<u8>,
    /// Documents, with garbage between them where they grew.
    documents: Vec<u8>,
    garbage: usize,
    /// In the order of arrival.
    entries: Vec<Entry>,
    /// The first entry of each hash of a key; others of the same hash follow by [`Entry::next`].
    first: FxHashMap<u64, u32>,
    /// Entries being drained, whose bytes stay until the next document.
    drained: Vec<Entry>,
    scratch: Scratch,
}

#[derive(Debug, Default)]
struct Scratch {
    key: Vec<u8>,
    document: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Entry {
    key: Range<usize>,
    document: Range<usize>,
    next: Option<u32>,
    /// Whether there are several documents.
    apart: bool,
}

impl Combiner {
    /// An empty combiner of the documents of a schema, grouped by a key.
    pub fn new(schema: Arc<Schema>, key: Arc<[Pointer]>) -> Self {
        Combiner {
            schema,
            key,
            keys: Vec::new(),
            documents: Vec::new(),
            garbage: 0,
            entries: Vec::new(),
            first: FxHashMap::default(),
            drained: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    /// An empty combiner of the same documents.
    fn like(&self) -> Self {
        Self::new(Arc::clone(&self.schema), Arc::clone(&self.key))
    }

    /// Adds a document behind those of its key that came before. Returns which of the keys it is of, and what the document of
    /// that key is now; where documents are kept apart, the last. After an error the entry of the key is what it was.
    pub fn combine_right<'a>(
        &mut self,
        arena: &'a Arena,
        document: Node<'a>,
    ) -> Result<(usize, Node<'a>), CombineError> {
        self.schema.validate(document).map_err(CombineError::Invalid)?;
        self.combine(arena, document, None)
    }

    /// The same for a document that was read from `text`, which [`write`] made; it may be known to be valid.
    pub fn combine_right_written<'a>(
        &mut self,
        arena: &'a Arena,
        document: Node<'a>,
        text: &[u8],
        is_valid: bool,
    ) -> Result<(usize, Node<'a>), CombineError> {
        if !is_valid {
            self.schema.validate(document).map_err(CombineError::Invalid)?;
        }
        self.combine(arena, document, Some(text))
    }

    fn combine<'a>(
        &mut self,
        arena: &'a Arena,
        document: Node<'a>,
        text: Option<&[u8]>,
    ) -> Result<(usize, Node<'a>), CombineError> {
        self.begin();
        self.scratch.key.clear();
        pack(document, &self.key, &mut self.scratch.key);
        let hash = xxh3_64(&self.scratch.key);
        if let Some(at) = self.find(hash, &self.scratch.key) {
            if text.is_none() {
                check_depth(document)?;
            }
            return Ok((at, self.reduce_right(arena, at, document)?));
        }
        let begin = self.documents.len();
        match text {
            Some(text) => self.documents.extend_from_slice(text),
            None if write_within(document, DEPTH_MAX, &mut self.documents) => {}
            None => {
                self.documents.truncate(begin);
                return Err(CombineError::Depth);
            }
        }
        self.push(hash, begin, false);
        Ok((self.entries.len() - 1, document))
    }

    /// Adds documents of one key that another combiner of the same schema kept, behind those that came before.
    fn combine_drained<'a>(&mut self, arena: &'a Arena, drained: Drained<'a>) -> Result<(), CombineError> {
        self.begin();
        self.scratch.key.clear();
        self.scratch.key.extend_from_slice(drained.key);
        let hash = xxh3_64(drained.key);
        let Some(at) = self.find(hash, drained.key) else {
            let begin = self.documents.len();
            self.documents.extend_from_slice(drained.text);
            self.push(hash, begin, drained.apart);
            return Ok(());
        };
        for text in drained.documents() {
            self.reduce_right(arena, at, read_back(arena, text))?;
        }
        Ok(())
    }

    /// Reduces a valid document into the last one of an entry, or keeps it apart; what the last one is now.
    fn reduce_right<'a>(&mut self, arena: &'a Arena, at: usize, document: Node<'a>) -> Result<Node<'a>, CombineError> {
        let entry = &self.entries[at];
        let text = &self.documents[entry.document.clone()];
        let before = if entry.apart { memchr::memrchr(b'\n', text).map_or(0, |at| at + 1) } else { 0 };
        // A replaced document need not be read, and the new one is valid already.
        let left = if self.schema.keeps_right() {
            None
        } else {
            // The text moves, and nodes point into it.
            Some(read_back(arena, arena.alloc_slice_copy(&text[before..])))
        };
        self.scratch.document.clear();
        let (last, apart) = match self.schema.reduce(arena, left, document, false) {
            Ok(reduced) => {
                // Only a full reduction deletes.
                let reduced = reduced.unwrap_or(document);
                if left.is_some() && !self.schema.closed() {
                    check(&self.schema, reduced)?;
                }
                debug_assert!(self.schema.is_valid(reduced), "closed means valid");
                self.scratch.document.extend_from_slice(&text[..before]);
                (reduced, entry.apart)
            }
            Err(ReduceError { reason: Reason::Apart, .. }) => {
                self.scratch.document.extend_from_slice(text);
                self.scratch.document.push(b'\n');
                (document, true)
            }
            Err(error) => return Err(error.into()),
        };
        write(last, &mut self.scratch.document);
        self.replace(at);
        self.entries[at].apart = apart;
        Ok(last)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Memory that documents, keys and their entries take, in bytes; zero once drained.
    pub fn bytes(&self) -> usize {
        /// An entry, and its part of the hash map.
        const ENTRY_BYTES: usize = size_of::<Entry>() + 24;
        if self.is_empty() { 0 } else { self.keys.len() + self.documents.len() + self.entries.len() * ENTRY_BYTES }
    }

    /// Forgets all documents.
    pub fn clear(&mut self) {
        self.take_entries();
    }

    /// Takes all documents, in the order in which their keys came first.
    pub fn drain_by_arrival(&mut self) -> impl Iterator<Item = Drained<'_>> {
        self.take_entries();
        self.drain()
    }

    /// Takes all documents, in the order of their keys.
    pub fn drain_by_key(&mut self) -> impl Iterator<Item = Drained<'_>> {
        self.take_sorted();
        self.drain()
    }

    fn take_entries(&mut self) {
        std::mem::swap(&mut self.entries, &mut self.drained);
        self.entries.clear();
        self.first.clear();
    }

    fn take_sorted(&mut self) {
        self.take_entries();
        let keys = &self.keys;
        self.drained.sort_unstable_by(|a, b| keys[a.key.clone()].cmp(&keys[b.key.clone()]));
    }

    fn drain(&self) -> impl Iterator<Item = Drained<'_>> {
        self.drained.iter().map(|entry| Drained {
            key: &self.keys[entry.key.clone()],
            text: &self.documents[entry.document.clone()],
            apart: entry.apart,
        })
    }

    /// Lets go of what was drained before, once something new comes.
    fn begin(&mut self) {
        if self.entries.is_empty() {
            self.keys.clear();
            self.documents.clear();
            self.drained.clear();
            self.garbage = 0;
        }
    }

    fn find(&self, hash: u64, packed: &[u8]) -> Option<usize> {
        let mut next = self.first.get(&hash).copied();
        while let Some(at) = next {
            let entry = &self.entries[at as usize];
            if self.keys[entry.key.clone()] == *packed {
                return Some(at as usize);
            }
            next = entry.next;
        }
        None
    }

    /// Adds the entry of a new key, which is in the scratch, and of documents that were written from `begin` on.
    fn push(&mut self, hash: u64, begin: usize, apart: bool) {
        let at = u32::try_from(self.entries.len()).expect("a transaction is closed long before it has 2^32 keys");
        let key_begin = self.keys.len();
        self.keys.extend_from_slice(&self.scratch.key);
        self.entries.push(Entry {
            key: key_begin..self.keys.len(),
            document: begin..self.documents.len(),
            next: self.first.insert(hash, at),
            apart,
        });
    }

    /// Gives an entry the document of the scratch: in place where it fits.
    fn replace(&mut self, at: usize) {
        let entry = &mut self.entries[at];
        let (old, new) = (entry.document.clone(), &self.scratch.document);
        if new.len() <= old.len() {
            entry.document = old.start..old.start + new.len();
            self.documents[entry.document.clone()].copy_from_slice(new);
            self.garbage += old.len() - new.len();
        } else {
            entry.document = self.documents.len()..self.documents.len() + new.len();
            self.documents.extend_from_slice(new);
            self.garbage += old.len();
        }
        if self.garbage > GARBAGE_BYTES_MIN && self.garbage > self.documents.len() / 2 {
            self.compact();
        }
    }

    fn compact(&mut self) {
        let mut compacted = Vec::with_capacity(self.documents.len() - self.garbage);
        for entry in &mut self.entries {
            let begin = compacted.len();
            compacted.extend_from_slice(&self.documents[entry.document.clone()]);
            entry.document = begin..compacted.len();
        }
        self.documents = compacted;
        self.garbage = 0;
    }
}

/// What is written here is read back, and what a lambda made may be deeper than what it was made from.
fn check_depth(document: Node<'_>) -> Result<(), CombineError> {
    if document.within_depth(DEPTH_MAX) { Ok(()) } else { Err(CombineError::Depth) }
}

fn check(schema: &Schema, reduced: Node<'_>) -> Result<(), CombineError> {
    check_depth(reduced)?;
    schema.validate(reduced).map_err(CombineError::CombinedInvalid)
}

fn read_back<'a>(arena: &'a Arena, document: &'a [u8]) -> Node<'a> {
    parse(arena, document).expect("an entry is JSON that we wrote")
}

impl Schema {
    /// Reduces all documents of a key, in their order, into the one that is stored before them; where none is, they are all
    /// there is, and are reduced as such. `None` where that deletes what there was.
    pub fn reduce_all<'a>(
        &self,
        arena: &'a Arena,
        stored: Option<Node<'a>>,
        documents: &[Node<'a>],
    ) -> Result<Option<Node<'a>>, CombineError> {
        let mut left = stored;
        // What is stored may be long: where nothing is taken away it is reduced into once.
        let together = if self.prunes() { None } else { self.reduce_partly(arena, documents)? };
        for document in together.as_ref().map_or(documents, std::slice::from_ref) {
            left = self.reduce(arena, left, *document, true)?;
        }
        left.map_or(Ok(()), |reduced| check(self, reduced))?;
        Ok(left)
    }

    /// Reduces documents of a key into one, whatever came before them; `None` where that has to be known.
    fn reduce_partly<'a>(&self, arena: &'a Arena, documents: &[Node<'a>]) -> Result<Option<Node<'a>>, CombineError> {
        let mut left = None;
        for document in documents {
            left = match self.reduce(arena, left, *document, false) {
                Err(ReduceError { reason: Reason::Apart, .. }) => return Ok(None),
                reduced => reduced?,
            };
        }
        Ok(left)
    }
}

/// The documents of an entry's text; JSON that we wrote has no line end within it.
fn documents_of(text: &[u8], apart: bool) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        match memchr::memchr(b'\n', text).filter(|_| apart) {
            Some(at) => {
                rest = Some(&text[at + 1..]);
                Some(&text[..at])
            }
            None => rest.take(),
        }
    })
}
