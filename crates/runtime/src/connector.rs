//! The seams to the outside: sources that documents come from, destinations they go to, lambdas that make them.
//!
//! The runtime does not know which connectors or script engines exist. It calls these traits from a shard's thread; each
//! call may block, and a retry is always the runtime's decision.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use catalog::{Capture, Catalog, Collection, Materialization};
use doc::{Arena, Node};
use journal::{KeyRange, Register};

/// Opens what a catalog names.
pub trait Connectors: Send + Sync {
    /// Opens a capture's source to go on after `cursor`, which is what the source's last committed [`Batch`] said. With
    /// `tail` unset the source ends once it has read what is there. `collections` are those of the bindings, in their order.
    fn open_source(
        &self,
        capture: &Capture,
        collections: &[&Collection],
        cursor: Option<&[u8]>,
        tail: bool,
    ) -> Result<Box<dyn Source>, ConnectorError>;

    /// Opens a materialization's destination for a range of keys, creating what it needs (tables) on the first run, and fences
    /// former owners of any of the keys. `collections` are those of the bindings, in their order.
    fn open_destination(
        &self,
        materialization: &Materialization,
        collections: &[&Collection],
        range: KeyRange,
    ) -> Result<Destination, ConnectorError>;

    /// Whether a materialization's destination can be opened more than once at a time, each for some of the keys.
    fn can_divide(&self, materialization: &Materialization) -> bool;

    /// Opens the lambdas of a derived collection of the catalog, with the state they had when `kept` was committed.
    fn open_lambdas(
        &self,
        catalog: &Catalog,
        collection: &Collection,
        kept: &Kept<'_>,
    ) -> Result<Box<dyn Lambdas>, LambdaError>;
}

/// Looks up what lambdas last committed as [`Changes`]: values in the order of the keys.
pub type Kept<'k> = dyn Fn(&[&[u8]]) -> Result<Vec<Option<Bytes>>, LambdaError> + 'k;

/// What a transaction changed of the state of lambdas: values by key, `None` where there is no longer one.
pub type Changes = Vec<Register>;

/// Why a connector could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ConnectorError {
    /// What happened, where, and what to do.
    pub message: String,
    /// Who has to mend it.
    pub fault: Fault,
    /// Whether trying again may help.
    pub retry: Retry,
}

/// Whose mistake an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The catalog's, or the data's.
    User,
    /// The other side's, or the network's.
    Endpoint,
    /// Another process of ours took over.
    Fenced,
}

/// Whether to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It will fail again.
    Never,
    /// It may pass.
    Later,
    /// It may pass, but what is refused again and again is refused for good.
    AFewTimes,
    /// It may pass after so long.
    After(Duration),
}

/// A running capture.
pub trait Source: Send {
    /// Adds what is available now to `batch`, a few hundred kilobytes at most, and the cursor that explains it. Blocks for
    /// no longer than a tenth of a second.
    fn read(&mut self, batch: &mut Batch) -> Result<Progress, ConnectorError>;
    /// Whether a document that cannot be used stops the task, rather than being set aside.
    fn halts_on_invalid(&self) -> bool {
        false
    }
    /// Takes note that this cursor is committed: nothing before it will be asked for again.
    fn committed(&mut self, _cursor: &[u8]) {}
    /// How much of what is there waits to be read, in bytes; `None` where the source cannot say.
    fn remaining_bytes(&self) -> Option<u64> {
        None
    }
}

/// Documents from a source, with the cursor behind them.
#[derive(Debug, Default)]
pub struct Batch {
    /// The text of the documents, one after another.
    pub text: Vec<u8>,
    /// Each document: the capture's binding, and its range of the text.
    pub documents: Vec<(usize, Range<usize>)>,
    /// Where the source goes on once these documents are committed; `None` leaves the former cursor.
    pub cursor: Option<Vec<u8>>,
    /// Where runs of documents come from: the first document of the run, its file, and that document's line. Empty where the
    /// source cannot say.
    pub files: Vec<(usize, String, u64)>,
    /// Documents that cannot be used, in order, and why; their text is as the source has it.
    pub refused: Vec<(usize, String)>,
    /// Whether the documents must be committed together with those of the next batch, or not at all. The source bounds how
    /// many follow each other so.
    pub unfinished: bool,
}

impl Batch {
    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.documents.clear();
        self.cursor = None;
        self.files.clear();
        self.refused.clear();
        self.unfinished = false;
    }

    /// Adds the place of the document that comes next.
    pub fn add_place(&mut self, file: &str, line: u64) {
        let next = self.documents.len();
        let follows =
            |(first, last, begin): &(usize, String, u64)| last == file && begin + (next - first) as u64 == line;
        if !self.files.last().is_some_and(follows) {
            self.files.push((next, file.to_owned(), line));
        }
    }

    /// Why the n-th document cannot be used, if so.
    pub fn refusal(&self, n: usize) -> Option<&str> {
        let at = self.refused.binary_search_by_key(&n, |(n, _)| *n).ok()?;
        Some(&self.refused[at].1)
    }

    /// Where the n-th document comes from, such as `events.ndjson:17`, in runs of one document a line.
    pub fn place(&self, n: usize) -> Option<String> {
        let (first, file, line) = self.files.iter().rev().find(|(first, ..)| *first <= n)?;
        Some(format!("{file}:{}", line + (n - first) as u64))
    }
}

/// What a source expects next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More is waiting.
    More,
    /// Nothing is, for about so long.
    Wait(Duration),
    /// The source has ended.
    Done,
}

/// A running materialization, by who is the authority on what was committed.
pub enum Destination {
    /// Tables, which keep the checkpoint in their own transaction.
    Table(Box<dyn Table>),
    /// Requests, kept in the log's outbox until they were taken.
    Hook(Box<dyn Hook>),
}

/// Tables whose rows and checkpoint commit together. The checkpoints of all owners are rows that divide the keys among them;
/// each key has one owner at a time. A later one fences this, and [`crate::take_over`] says what becomes of the rows.
pub trait Table: Send {
    /// The checkpoint that former owners left for the keys; `None` where they left none.
    fn checkpoint(&self) -> Option<&str>;
    /// Looks up stored documents by key, each key the values of [`catalog::FieldSelection::keys`]; calls `found` for each that
    /// exists, in any order, with the place of its key among `keys` and its JSON text.
    fn load(
        &mut self,
        binding: usize,
        keys: &[&[Node<'_>]],
        found: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<(), ConnectorError>;
    /// Inserts or updates rows in the open transaction. A row that the table can never take is set aside in it, with the
    /// reason.
    fn store(&mut self, binding: usize, rows: &[Row<'_>]) -> Result<(), ConnectorError>;
    /// Commits what was stored together with the checkpoint. After an error nothing is known: the table is opened again.
    fn commit(&mut self, checkpoint: &str) -> Result<(), ConnectorError>;
    /// What there is to tell since it was asked last; asked after opening and after each commit.
    fn report(&mut self) -> Report {
        Report::default()
    }
}

/// What a table has to tell people.
#[derive(Debug, Default)]
pub struct Report {
    /// Rows set aside.
    pub set_aside: u64,
    /// What people should know, in whole sentences.
    pub notes: Vec<String>,
}

/// One row of a table.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Values of the key fields.
    pub key: &'a [Node<'a>],
    /// Values of the further fields; null where the document has none.
    pub values: &'a [Node<'a>],
    /// Their JSON text, of those of which it is known: it is a part of the document's. Empty where it is known of none.
    pub texts: &'a [Option<&'a str>],
    /// The whole document as JSON text.
    pub document: &'a str,
    /// Whether the reduction deleted the document.
    pub delete: bool,
}

/// An endpoint that takes requests and cannot take part in a transaction.
pub trait Hook: Send {
    /// Makes requests of one transaction's documents of one binding, in order, each with at least one document.
    fn encode(&self, binding: usize, documents: &[&[u8]]) -> Vec<Request>;
    /// Sends one request and waits for the answer. Called again with the same bytes until it succeeds.
    fn send(&mut self, id: &str, request: &Request) -> Result<(), ConnectorError>;
}

/// A request as it is kept in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Absolute URL.
    pub url: String,
    /// The body.
    pub body: String,
}

/// The lambdas of one derivation. With registers they are pure: the same arguments give the same documents. Without they may
/// have a state of their own, which depends on nothing but what they were called with since it was committed last: they are
/// then called in the order of the documents, whichever transform reads them.
pub trait Lambdas: Send {
    /// Calls a transform's update lambda for each source; the n-th run of rows are the register deltas of the n-th source.
    fn update<'a>(&mut self, arena: &'a Arena, transform: usize, sources: &[Node<'a>])
    -> Result<Rows<'a>, LambdaError>;

    /// Calls a transform's publish lambda for each source; the n-th run of rows are the documents of the n-th source.
    fn publish<'a>(
        &mut self,
        arena: &'a Arena,
        transform: usize,
        sources: &[Publish<'a>],
    ) -> Result<Rows<'a>, LambdaError>;

    /// Ends a transaction: the documents that are published with it and were not before.
    fn flush<'a>(&mut self, _arena: &'a Arena) -> Result<Vec<Node<'a>>, LambdaError> {
        Ok(Vec::new())
    }

    /// What the transaction changed of their state, to be committed with it. Called after [`Lambdas::flush`].
    fn changes(&mut self) -> Result<Changes, LambdaError> {
        Ok(Changes::new())
    }

    /// Starts anew, as between catalog tests.
    fn reset(&mut self) -> Result<(), LambdaError>;
}

/// The arguments of a publish lambda.
#[derive(Debug, Clone, Copy)]
pub struct Publish<'a> {
    /// The source document.
    pub source: Node<'a>,
    /// The register after this source's updates.
    pub register: Node<'a>,
    /// The register before them.
    pub previous: Node<'a>,
}

/// What lambdas returned for a block of sources: runs of documents, one run per source.
#[derive(Debug, Default)]
pub struct Rows<'a> {
    /// All documents.
    pub documents: Vec<Node<'a>>,
    /// For each source, the end of its run in `documents`.
    pub ends: Vec<usize>,
}

impl<'a> Rows<'a> {
    /// The run of the n-th source.
    pub fn run(&self, n: usize) -> &[Node<'a>] {
        let begin = if n == 0 { 0 } else { self.ends[n - 1] };
        &self.documents[begin..self.ends[n]]
    }

    /// Adds the runs of further sources.
    pub(crate) fn append(&mut self, rows: Rows<'a>) {
        if self.ends.is_empty() {
            *self = rows;
            return;
        }
        let before = self.documents.len();
        self.documents.extend(rows.documents);
        self.ends.extend(rows.ends.iter().map(|end| before + end));
    }
}

/// A lambda that failed; it stops its task.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct LambdaError {
    /// What was thrown, or which limit was passed, with the method and the place in the module where known.
    pub message: String,
    /// Which source of the call it was, where known.
    pub source_index: Option<usize>,
}
