//! Push ingestion: documents posted for collections, each request all or nothing.
//!
//! Requests wait in a bounded queue. The shard takes those that wait, validates each one whole before anything of it is kept,
//! and commits them together; every request is answered with its own offsets once the commit is durable. Documents of one key
//! within a request are combined. Source: reference 5.3, guarantees C1 and C2.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use catalog::Catalog;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};
use doc::{Arena, CombineError, Node};
use journal::failpoint::{defect, durable_point};
use journal::{Append, Commit, Delta};

use crate::capture::Target;
use crate::shard::{Context, Extended, Failure, Signal, Task};
use crate::uuid::Stamper;

/// Requests that may wait …
pub(crate) const REQUESTS_MAX: usize = 256;
/// … and the bytes of their bodies.
const REQUEST_BYTES_MAX: usize = 128 << 20;
/// The ingestion's shard.
const SHARD: &str = "ingestion/00000000-00000000";

/// The way in. Cheap to clone.
#[derive(Clone)]
pub struct Ingest {
    queue: Sender<Request>,
    /// Bytes of the bodies in the queue.
    waiting_bytes: Arc<AtomicUsize>,
    signal: Arc<Signal>,
}

/// Called once with a request's outcome, from the shard's thread.
pub type Reply = Box<dyn FnOnce(Result<Ingested, IngestError>) + Send>;

pub(crate) struct Request {
    body: Body,
    reply: Reply,
}

/// A body, counted for as long as it exists.
struct Body {
    text: Vec<u8>,
    waiting_bytes: Arc<AtomicUsize>,
}

impl Drop for Body {
    fn drop(&mut self) {
        self.waiting_bytes.fetch_sub(self.text.len(), Ordering::AcqRel);
    }
}

/// A request's documents are durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingested {
    /// For each journal that got documents of the request, the offset behind them.
    pub offsets: BTreeMap<String, u64>,
    /// Documents kept, after combining.
    pub documents: u64,
}

/// Why a request's documents were not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// The request is wrong; it will be refused again.
    #[error("{0}")]
    Refused(String),
    /// Too much is waiting.
    #[error("too many requests are waiting; try again")]
    Busy,
    /// The program is stopping, or cannot write; the outcome of the request is not known.
    #[error("documents cannot be stored now: {0}")]
    Unavailable(String),
}

impl Ingest {
    /// Hands over a request's body, an object of arrays of documents by collection. `reply` is called once it is durable or
    /// refused; it is called at once where the queue is full.
    pub fn submit(&self, text: Vec<u8>, reply: Reply) {
        let before = self.waiting_bytes.fetch_add(text.len(), Ordering::AcqRel);
        let body = Body { text, waiting_bytes: Arc::clone(&self.waiting_bytes) };
        // One large request is let through where nothing else waits.
        if before > 0 && before + body.text.len() > REQUEST_BYTES_MAX && !defect("unbounded-queue") {
            return reply(Err(IngestError::Busy));
        }
        match self.queue.try_send(Request { body, reply }) {
            Ok(()) => self.signal.notify(),
            Err(TrySendError::Full(request)) => (request.reply)(Err(IngestError::Busy)),
            Err(TrySendError::Disconnected(request)) => {
                (request.reply)(Err(IngestError::Unavailable("it is stopping".into())));
            }
        }
    }
}

/// The queue between [`Ingest`] and the shard.
pub(crate) fn queue(signal: Arc<Signal>) -> (Ingest, Receiver<Request>) {
    let (queue, requests) = if defect("unbounded-queue") { unbounded() } else { bounded(REQUESTS_MAX) };
    (Ingest { queue, waiting_bytes: Arc::default(), signal }, requests)
}

/// The ingestion's shard.
pub(crate) struct IngestTask {
    context: Context,
    epoch: u64,
    requests: Receiver<Request>,
    targets: Vec<Target>,
    derived: Vec<String>,
    stamper: Stamper,
    arena: Arena,
    open: Open,
    in_flight: Option<InFlight>,
}

/// A transaction whose commit is under way.
struct InFlight {
    commit: Box<dyn Commit>,
    /// The journals appended to, and how many bytes each got.
    journals: Vec<(String, u64)>,
    waiting: Vec<Waiting>,
}

/// Requests accepted into the open transaction.
#[derive(Default)]
struct Open {
    appends: Vec<Append>,
    waiting: Vec<Waiting>,
}

/// A request that waits for its commit: for each journal, how far into the append its documents reach.
struct Waiting {
    reply: Reply,
    reach: Vec<(usize, u64)>,
    documents: u64,
}

impl IngestTask {
    pub(crate) fn recover(
        context: &Context,
        catalog: &Catalog,
        requests: Receiver<Request>,
        random: u64,
    ) -> Result<Self, Failure> {
        let opened = context.log.open(SHARD)?;
        let (derived, captured): (Vec<_>, Vec<_>) = catalog.collections.iter().partition(|c| c.derivation.is_some());
        let targets = captured.into_iter().map(|c| Target::new(context, catalog, &c.name)).collect::<Result<_, _>>()?;
        Ok(Self {
            context: context.clone(),
            epoch: opened.epoch,
            requests,
            targets,
            derived: derived.into_iter().map(|c| c.name.clone()).collect(),
            stamper: Stamper::new(random ^ opened.epoch),
            arena: Arena::new(),
            open: Open::default(),
            in_flight: None,
        })
    }

    /// Parses and validates a request whole, then adds it to the open transaction.
    fn accept(&mut self, body: &[u8], now_us: u64) -> Result<(Vec<(usize, u64)>, u64), IngestError> {
        let refused = |why: String| IngestError::Refused(why);
        self.arena.reset();
        let parsed = doc::parse(&self.arena, body).map_err(|e| refused(format!("the body is not valid JSON: {e}")))?;
        let Node::Object(collections) = parsed else {
            return Err(refused(format!(
                "the body must be an object of collection names, each with an array of documents, not of type {}",
                parsed.type_name()
            )));
        };
        let combined = combine(&self.arena, &mut self.targets, &self.derived, collections);
        if let Err(why) = combined {
            for target in &mut self.targets {
                target.combiner.clear();
            }
            return Err(refused(why));
        }
        let mut appends = Vec::new();
        let mut documents = 0;
        for target in &mut self.targets {
            match target.publisher.publish(&mut target.combiner, &mut self.stamper, now_us, &mut appends) {
                Ok(published) => documents += published,
                Err(failure) => {
                    self.targets.iter_mut().for_each(|t| t.combiner.clear());
                    return Err(refused(failure.why));
                }
            }
        }
        let mut reach = Vec::with_capacity(appends.len());
        for append in appends {
            let at = match self.open.appends.iter().position(|a| a.journal == append.journal) {
                Some(at) => {
                    self.open.appends[at].documents.extend_from_slice(&append.documents);
                    at
                }
                None => {
                    self.open.appends.push(append);
                    self.open.appends.len() - 1
                }
            };
            reach.push((at, self.open.appends[at].documents.len() as u64));
        }
        Ok((reach, documents))
    }
}

/// Combines each collection's documents; an error names the collection and what is wrong.
fn combine(
    arena: &Arena,
    targets: &mut [Target],
    derived: &[String],
    collections: &[doc::Field<'_>],
) -> Result<(), String> {
    for field in collections {
        let target = targets.iter_mut().find(|t| t.collection == field.name).ok_or_else(|| {
            let why = match derived.iter().any(|name| name == field.name) {
                true => "it is derived from others",
                false => "the catalog has no collection of this name",
            };
            format!("\"{}\" is not an ingestable collection: {why}", field.name)
        })?;
        let Node::Array(documents) = field.value else {
            return Err(format!(
                "ingestion of collection \"{}\": expected an array of documents, not a value of type {}",
                field.name,
                field.value.type_name()
            ));
        };
        for (n, document) in documents.iter().enumerate() {
            target.combiner.combine_right(arena, *document).map_err(|e| {
                format!(
                    "ingestion of collection \"{}\": document {} of {}{}",
                    field.name,
                    n + 1,
                    documents.len(),
                    explain(&e)
                )
            })?;
        }
    }
    Ok(())
}

/// What is wrong with a document, and which keyword of which schema says so; follows the document's number.
fn explain(error: &CombineError) -> String {
    let (what, invalid) = match error {
        CombineError::Invalid(invalid) => ("", invalid),
        CombineError::CombinedInvalid(invalid) => (", combined with those of the same key,", invalid),
        _ => return format!(": {error}"),
    };
    let at = if invalid.location.is_empty() { String::new() } else { format!(" at {:?}", invalid.location) };
    format!("{what} is invalid{at}: {} ({})", invalid.message, invalid.schema_location)
}

impl Task for IngestTask {
    fn extend(&mut self, now_us: u64) -> Result<Extended, Failure> {
        let Ok(request) = self.requests.try_recv() else { return Ok(Extended::default()) };
        let bytes = request.body.text.len() as u64;
        let mut extended = Extended { bytes, more: !self.requests.is_empty(), ..Extended::default() };
        match self.accept(&request.body.text, now_us) {
            Ok((_, 0)) => (request.reply)(Ok(Ingested { offsets: BTreeMap::new(), documents: 0 })),
            Ok((reach, documents)) => {
                durable_point("ingest.validated");
                extended.documents = documents;
                self.open.waiting.push(Waiting { reply: request.reply, reach, documents });
            }
            Err(error) => (request.reply)(Err(error)),
        }
        Ok(extended)
    }

    fn close(&mut self, now_us: u64) -> Result<(), Failure> {
        let open = std::mem::take(&mut self.open);
        let journals = open.appends.iter().map(|a| (a.journal.clone(), a.documents.len() as u64)).collect();
        durable_point("ingest.before_commit");
        let commit = self.context.log.commit(Delta {
            shard: SHARD.into(),
            epoch: self.epoch,
            time_us: now_us,
            appends: open.appends,
            ..Delta::default()
        });
        self.in_flight = Some(InFlight { commit, journals, waiting: open.waiting });
        Ok(())
    }

    fn committed(&mut self) -> Result<bool, Failure> {
        if self.in_flight.as_ref().is_some_and(|t| !t.commit.is_done()) {
            return Ok(false);
        }
        let Some(InFlight { commit, journals, waiting }) = self.in_flight.take() else { return Ok(true) };
        match commit.wait() {
            Ok(ends) => {
                durable_point("ingest.committed");
                for request in waiting {
                    self.context.counters.documents_out.fetch_add(request.documents, Ordering::Relaxed);
                    let offset = |(at, reach): &(usize, u64)| {
                        let (journal, appended) = &journals[*at];
                        (journal.clone(), ends[*at] - appended + reach)
                    };
                    let offsets = request.reach.iter().map(offset).collect();
                    (request.reply)(Ok(Ingested { offsets, documents: request.documents }));
                }
                Ok(true)
            }
            Err(error) => {
                for request in waiting {
                    (request.reply)(Err(IngestError::Unavailable(error.to_string())));
                }
                Err(error.into())
            }
        }
    }
}

impl Drop for IngestTask {
    fn drop(&mut self) {
        let in_flight = self.in_flight.take().map(|t| t.waiting).unwrap_or_default();
        for request in self.open.waiting.drain(..).chain(in_flight) {
            (request.reply)(Err(IngestError::Unavailable("it is stopping".into())));
        }
    }
}
