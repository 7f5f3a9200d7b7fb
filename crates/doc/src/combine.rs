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
use crate::{Arena, Invalid, Node, Pointer, Reason, ReduceError, Schema, pack, parse, write};
pub use spill::{Spill, SpillDrain, SpillFile, SpillingCombiner};

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
    /// A stored document was given for a key that has one already.
    #[error("a stored document was given twice for the same key")]
    LeftTwice,
    /// Documents could not be put where there is more room than in memory, or not be read back.
    #[error("documents for which there is no room in memory cannot be kept on disk: {0}")]
    Spill(String),
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
    /// Whether the reduction deleted it; `document` is then the one that did.
    pub deleted: bool,
}

/// All documents of one key, as a combiner keeps them.
#[derive(Debug, Clone, Copy)]
struct Kept<'c> {
    /// The packed key.
    key: &'c [u8],
    /// The document; several, one a line, where they are kept apart.
    text: &'c [u8],
    /// Whether there are several.
    apart: bool,
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
    full: bool,
    deleted: bool,
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

    /// Adds a document behind those of its key that came before. After an error the entry of the key is what it was.
    pub fn combine_right(&mut self, arena: &Arena, document: Node<'_>) -> Result<(), CombineError> {
        check_depth(document)?;
        self.schema.validate(document).map_err(CombineError::Invalid)?;
        let (hash, found) = self.find_document(document);
        let Some(at) = found else {
            self.insert(hash, document, false);
            return Ok(());
        };
        self.reduce_right(arena, at, document)
    }

    /// Adds documents of one key that another combiner of the same schema kept, behind those that came before.
    fn combine_kept(&mut self, arena: &Arena, kept: Kept<'_>) -> Result<(), CombineError> {
        self.begin();
        self.scratch.key.clear();
        self.scratch.key.extend_from_slice(kept.key);
        let hash = xxh3_64(kept.key);
        let Some(at) = self.find(hash, kept.key) else {
            let begin = self.documents.len();
            self.documents.extend_from_slice(kept.text);
            self.push(hash, begin, false, kept.apart);
            return Ok(());
        };
        for text in documents_of(kept.text, kept.apart) {
            self.reduce_right(arena, at, stored(arena, text))?;
        }
        Ok(())
    }

    /// Reduces a valid document into the last one of an entry, or keeps it apart.
    fn reduce_right(&mut self, arena: &Arena, at: usize, document: Node<'_>) -> Result<(), CombineError> {
        let entry = &self.entries[at];
        let text = &self.documents[entry.document.clone()];
        let before = if entry.apart { memchr::memrchr(b'\n', text).map_or(0, |at| at + 1) } else { 0 };
        // A replaced document need not be read, and the new one is valid already.
        let left = if entry.deleted || self.schema.keeps_right() { None } else { Some(stored(arena, &text[before..])) };
        self.scratch.document.clear();
        match self.schema.reduce(arena, left, document, entry.full) {
            Ok(reduced) => {
                if left.is_some() && !self.schema.closed() {
                    self.check_reduced(reduced)?;
                }
                debug_assert!(reduced.is_none_or(|reduced| self.schema.is_valid(reduced)), "closed means valid");
                self.scratch.document.extend_from_slice(&text[..before]);
                write(reduced.unwrap_or(document), &mut self.scratch.document);
                self.replace(at, reduced.is_none());
            }
            Err(ReduceError { reason: Reason::Apart, .. }) => {
                self.scratch.document.extend_from_slice(text);
                self.scratch.document.push(b'\n');
                write(document, &mut self.scratch.document);
                self.replace(at, false);
                self.entries[at].apart = true;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Puts a stored document, which holds all there was, before those of its key.
    pub fn reduce_left(&mut self, arena: &Arena, document: Node<'_>) -> Result<(), CombineError> {
        check_depth(document)?;
        let (hash, found) = self.find_document(document);
        let Some(at) = found else {
            self.insert(hash, document, true);
            return Ok(());
        };
        if self.entries[at].full {
            return Err(CombineError::LeftTwice);
        }
        self.reduce_all(arena, at, Some(document))?;
        self.entries[at].full = true;
        Ok(())
    }

    /// Says that no other document is stored: what has no stored document before it is all there is, and is reduced as such.
    pub fn reduce_rest(&mut self, arena: &Arena) -> Result<(), CombineError> {
        for at in 0..self.entries.len() {
            let entry = &self.entries[at];
            if !entry.full && (entry.apart || self.schema.prunes()) {
                self.reduce_all(arena, at, None)?;
            }
        }
        Ok(())
    }

    /// Reduces all documents of an entry, in full, into the one that was there before.
    fn reduce_all(&mut self, arena: &Arena, at: usize, before: Option<Node<'_>>) -> Result<(), CombineError> {
        let entry = &self.entries[at];
        let mut left = before;
        let mut last = Node::Null;
        for text in documents_of(&self.documents[entry.document.clone()], entry.apart) {
            last = stored(arena, text);
            left = self.schema.reduce(arena, left, last, true)?;
        }
        self.check_reduced(left)?;
        self.scratch.document.clear();
        write(left.unwrap_or(last), &mut self.scratch.document);
        self.replace(at, left.is_none());
        self.entries[at].apart = false;
        Ok(())
    }

    /// Whether there is a document of this packed key.
    pub fn contains(&self, packed: &[u8]) -> bool {
        self.find(xxh3_64(packed), packed).is_some()
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

    /// All packed keys so far, each with a document of it, in the order in which they came first.
    pub fn documents(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|entry| {
            let mut documents = documents_of(&self.documents[entry.document.clone()], entry.apart);
            (&self.keys[entry.key.clone()], documents.next().unwrap_or_default())
        })
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

    /// Takes all documents as they are kept, in the order of their keys.
    fn drain_kept(&mut self) -> impl Iterator<Item = Kept<'_>> {
        self.take_sorted();
        self.drained.iter().map(|entry| {
            debug_assert!(!entry.full && !entry.deleted, "stored documents are not spilled");
            let (key, text) = (&self.keys[entry.key.clone()], &self.documents[entry.document.clone()]);
            Kept { key, text, apart: entry.apart }
        })
    }

    fn check_reduced(&self, reduced: Option<Node<'_>>) -> Result<(), CombineError> {
        let Some(reduced) = reduced else {
            return Ok(());
        };
        check_depth(reduced)?;
        self.schema.validate(reduced).map_err(CombineError::CombinedInvalid)
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
        self.drained.iter().flat_map(|entry| {
            let documents = documents_of(&self.documents[entry.document.clone()], entry.apart);
            documents.map(|document| Drained {
                key: &self.keys[entry.key.clone()],
                document,
                full: entry.full,
                deleted: entry.deleted,
            })
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

    /// Packs the key of a document into the scratch, and looks for its entry.
    fn find_document(&mut self, document: Node<'_>) -> (u64, Option<usize>) {
        self.begin();
        self.scratch.key.clear();
        pack(document, &self.key, &mut self.scratch.key);
        let hash = xxh3_64(&self.scratch.key);
        (hash, self.find(hash, &self.scratch.key))
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

    /// Adds the entry of a new key, which is in the scratch.
    fn insert(&mut self, hash: u64, document: Node<'_>, full: bool) {
        let begin = self.documents.len();
        write(document, &mut self.documents);
        self.push(hash, begin, full, false);
    }

    /// Adds the entry of a new key, which is in the scratch, and of documents that were written from `begin` on.
    fn push(&mut self, hash: u64, begin: usize, full: bool, apart: bool) {
        let at = u32::try_from(self.entries.len()).expect("a transaction is closed long before it has 2^32 keys");
        let key_begin = self.keys.len();
        self.keys.extend_from_slice(&self.scratch.key);
        self.entries.push(Entry {
            key: key_begin..self.keys.len(),
            document: begin..self.documents.len(),
            next: self.first.insert(hash, at),
            full,
            deleted: false,
            apart,
        });
    }

    /// Gives an entry the document of the scratch: in place where it fits.
    fn replace(&mut self, at: usize, deleted: bool) {
        let entry = &mut self.entries[at];
        let (old, new) = (entry.document.clone(), &self.scratch.document);
        entry.deleted = deleted;
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

fn stored<'a>(arena: &'a Arena, document: &'a [u8]) -> Node<'a> {
    parse(arena, document).expect("an entry is JSON that we wrote")
}

/// The documents of an entry's text; JSON that we wrote has no line end within it.
fn documents_of(text: &[u8], apart: bool) -> impl Iterator<Item = &[u8]> {
    text.split(move |byte| apart && *byte == b'\n')
}
