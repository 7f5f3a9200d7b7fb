//! Push ingestion: documents posted for collections, each request all or nothing.
//!
//! Requests wait in a bounded queue. The shard takes those that wait, validates each one whole before anything of it is kept,
//! and commits them together; every request is answered with its own offsets once the commit is durable. Documents of one key
//! within a request are combined. A request that was taken already, by the key its sender gave it, is answered and not taken
//! again. Source: reference 5.3, guarantees C1 to C3.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use catalog::Catalog;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};
use doc::{Arena, CombineError};
use journal::failpoint::{defect, durable_point};
use journal::{Append, Commit, Delta, KeyRange, Log, Piece};

use crate::publish::{Target, Unpublishable};
use crate::shard::{Context, Extended, Failure, Signal, Task};
use crate::uuid::Stamper;
use keys::{Found, Keyed, Keys, Taken};
use posted::Documents;
pub use posted::{Format, Posted, To};

mod keys;
mod posted;

/// Requests that may wait.
pub(crate) const REQUESTS_MAX: usize = 256;
/// The ingestion, as a task of the log.
const TASK: &str = "ingestion";

/// The way in. Cheap to clone.
#[derive(Clone)]
pub struct Ingest {
    queue: Sender<Request>,
    /// Bytes of the bodies in the queue.
    waiting_bytes: Arc<AtomicUsize>,
    waiting_bytes_max: usize,
    signal: Arc<Signal>,
    log: Arc<dyn Log>,
}

/// Called once with a request's outcome, from the shard's thread.
pub type Reply = Box<dyn FnOnce(Result<Ingested, IngestError>) + Send>;

pub(crate) struct Request {
    body: Body,
    reply: Reply,
}

/// What was posted, its bytes counted for as long as it exists.
struct Body {
    posted: Posted,
    waiting_bytes: Arc<AtomicUsize>,
}

impl Drop for Body {
    fn drop(&mut self) {
        self.waiting_bytes.fetch_sub(self.posted.text.len(), Ordering::AcqRel);
    }
}

/// A request's documents are durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingested {
    /// For each journal that got documents of the request, the offset behind them.
    pub offsets: BTreeMap<String, u64>,
    /// Documents in the request.
    pub received: u64,
    /// Documents kept of them, after combining.
    pub documents: u64,
    /// Whether the request had been taken before, and nothing of it was kept now. Offsets are then those of now.
    pub repeated: bool,
}

/// Why a request's documents were not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// The text is not what it should be.
    #[error("{0}")]
    Malformed(String),
    /// There is no such collection to send to.
    #[error("{0}")]
    Unknown(String),
    /// The sender may not write to the collection.
    #[error("{0}")]
    Forbidden(String),
    /// A document is refused by its schema, or cannot be combined with another of its key.
    #[error("{0}")]
    Invalid(String),
    /// The key of the request was used for another one.
    #[error("another request was taken under this key already; a new request needs a new key")]
    Conflict,
    /// Too much is waiting.
    #[error("too many requests are waiting; try again")]
    Busy,
    /// The program is stopping, or cannot write; the outcome of the request is not known.
    #[error("documents cannot be stored now: {0}")]
    Unavailable(String),
}

impl Ingest {
    /// Whether documents can be taken in now: asked before a body is read.
    pub fn room(&self) -> Result<(), IngestError> {
        self.log.room().map_err(|error| IngestError::Unavailable(error.to_string()))
    }

    /// Hands over what was posted. `reply` is called once it is durable or refused; it is called at once where the queue is
    /// full.
    pub fn submit(&self, posted: Posted, reply: Reply) {
        if let Err(full) = self.room() {
            return reply(Err(full));
        }
        let bytes = posted.text.len();
        let before = self.waiting_bytes.fetch_add(bytes, Ordering::AcqRel);
        let body = Body { posted, waiting_bytes: Arc::clone(&self.waiting_bytes) };
        // One large request is let through where nothing else waits.
        if before > 0 && before + bytes > self.waiting_bytes_max && !defect("unbounded-queue") {
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

/// The queue between [`Ingest`] and the shard of this context, for so many bytes of bodies.
pub(crate) fn queue(shard: &Context, waiting_bytes_max: usize) -> (Ingest, Receiver<Request>) {
    let (queue, requests) = if defect("unbounded-queue") { unbounded() } else { bounded(REQUESTS_MAX) };
    let (signal, log) = (Arc::clone(&shard.signal), Arc::clone(&shard.log));
    (Ingest { queue, waiting_bytes: Arc::default(), waiting_bytes_max, signal, log }, requests)
}

/// Answers what waits in the queue while there is no shard to take it.
pub(crate) fn refuse(requests: &Receiver<Request>, why: &str) {
    for request in requests.try_iter() {
        (request.reply)(Err(IngestError::Unavailable(why.to_owned())));
    }
}

/// The ingestion's shard.
pub(crate) struct IngestTask {
    context: Context,
    catalog: Arc<Catalog>,
    epoch: u64,
    requests: Receiver<Request>,
    targets: Vec<Target>,
    keys: Keys,
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

/// A request that waits for its commit.
struct Waiting {
    reply: Reply,
    /// Those who sent the same under the same key meanwhile.
    repeats: Vec<Reply>,
    keyed: Option<Keyed>,
    accepted: Accepted,
}

/// What the open transaction got of a request.
struct Accepted {
    /// For each append that has documents of it, how far into the append they reach.
    reach: Vec<(usize, u64)>,
    received: u64,
    documents: u64,
}

impl IngestTask {
    pub(crate) fn recover(
        context: &Context,
        catalog: &Arc<Catalog>,
        requests: Receiver<Request>,
        random: u64,
    ) -> Result<Self, Failure> {
        let opened = context.log.open(TASK, KeyRange::ALL)?;
        let captured = catalog.collections.iter().filter(|c| c.derivation.is_none());
        let targets = captured.map(|c| Target::new(context, catalog, &c.name)).collect::<Result<_, _>>()?;
        let keys = Keys::new(opened.position.first().map(|piece| piece.position.as_slice()))
            .map_err(|e| Failure::never(format!("the stored position of the ingestion cannot be read: {e}")))?;
        Ok(Self {
            context: context.clone(),
            catalog: Arc::clone(catalog),
            epoch: opened.epoch,
            requests,
            targets,
            keys,
            stamper: Stamper::new(random ^ opened.epoch),
            arena: Arena::new(),
            open: Open::default(),
            in_flight: None,
        })
    }

    /// Takes a request: into the open transaction, to those that wait for the same one, or not at all. Documents accepted.
    fn take(&mut self, request: Request, now_us: u64) -> Result<u64, Failure> {
        let Request { body, reply } = request;
        let keyed = Keyed::of(&body.posted);
        if let Some(keyed) = keyed {
            let in_flight = self.in_flight.iter_mut().flat_map(|t| &mut t.waiting);
            let mut waiting = self.open.waiting.iter_mut().chain(in_flight);
            let same_key = waiting.find(|w| w.keyed.is_some_and(|other| other.has_key_of(&keyed)));
            if let Some(waiting) = same_key {
                match waiting.keyed == Some(keyed) {
                    true => waiting.repeats.push(reply),
                    false => reply(Err(IngestError::Conflict)),
                }
                return Ok(0);
            }
            match self.keys.find(&*self.context.log, TASK, keyed, now_us)? {
                Found::New => {}
                Found::Other => {
                    reply(Err(IngestError::Conflict));
                    return Ok(0);
                }
                Found::Same(taken) => {
                    let end = |journal: String| {
                        let heads = self.context.log.heads(&journal);
                        let head = heads.into_iter().find(|head| *head.journal == *journal)?;
                        Some((journal, head.end))
                    };
                    let offsets = taken.journals.iter().cloned().filter_map(end).collect();
                    let Taken { received, documents, .. } = taken;
                    reply(Ok(Ingested { offsets, received, documents, repeated: true }));
                    return Ok(0);
                }
            }
        }
        let accepted = match self.accept(&body.posted, now_us) {
            Ok(accepted) => accepted,
            Err(error) => {
                reply(Err(error));
                return Ok(0);
            }
        };
        let (received, documents) = (accepted.received, accepted.documents);
        if documents == 0 {
            reply(Ok(Ingested { offsets: BTreeMap::new(), received: 0, documents, repeated: false }));
            return Ok(0);
        }
        durable_point("ingest.validated");
        if let Some(keyed) = keyed {
            let journals = accepted.reach.iter().map(|(at, _)| self.open.appends[*at].journal.clone()).collect();
            self.keys.remember(&*self.context.log, TASK, keyed, (received, documents, journals), now_us)?;
        }
        self.open.waiting.push(Waiting { reply, repeats: Vec::new(), keyed, accepted });
        Ok(documents)
    }

    /// Reads and validates a request whole, then adds it to the open transaction.
    fn accept(&mut self, posted: &Posted, now_us: u64) -> Result<Accepted, IngestError> {
        self.arena.reset();
        let read = posted::read(&self.arena, &self.catalog, posted)?;
        if let Err(why) = combine(&self.arena, &mut self.targets, &read) {
            self.targets.iter_mut().for_each(Target::clear);
            return Err(IngestError::Invalid(why));
        }
        let received = read.iter().map(|documents| documents.documents.len() as u64).sum();
        let mut appends = Vec::new();
        let mut documents = 0;
        for target in &mut self.targets {
            let mut refuse = |_: &mut Stamper, _: &[u8], why: Unpublishable| Err(Failure::never(why.to_string()));
            match target.publish(&mut self.stamper, now_us, &mut appends, &mut refuse) {
                Ok(published) => documents += published,
                Err(failure) => {
                    self.targets.iter_mut().for_each(Target::clear);
                    return Err(IngestError::Invalid(failure.why));
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
        Ok(Accepted { reach, received, documents })
    }
}

/// Combines each collection's documents; an error names the collection and what is wrong.
fn combine<'a>(arena: &'a Arena, targets: &mut [Target], read: &[Documents<'a>]) -> Result<(), String> {
    for documents in read {
        let target = targets.iter_mut().find(|t| t.collection == documents.collection);
        let target = target.expect("every collection that is not derived is a target");
        for (n, document) in documents.documents.iter().enumerate() {
            target.combine(arena, *document).map_err(|e| {
                let (collection, name) = (&documents.collection, documents.name(n));
                format!("ingestion of collection {collection:?}: {name}{}", explain(&e))
            })?;
        }
    }
    Ok(())
}

/// What is wrong with a document, and which keyword of which schema says so; follows the document's number.
fn explain(error: &Unpublishable) -> String {
    let (what, invalid) = match error {
        Unpublishable::Combine(CombineError::Invalid(invalid)) => ("", invalid),
        Unpublishable::Combine(CombineError::CombinedInvalid(invalid)) => {
            (", combined with those of the same key,", invalid)
        }
        _ => return format!(": {error}"),
    };
    let at = if invalid.location.is_empty() { String::new() } else { format!(" at {:?}", invalid.location) };
    format!("{what} is invalid{at}: {} ({})", invalid.message, invalid.schema_location)
}

impl Task for IngestTask {
    const GROWS: bool = true;

    fn extend(&mut self, now_us: u64) -> Result<Extended, Failure> {
        let Ok(request) = self.requests.try_recv() else { return Ok(Extended::default()) };
        let bytes = request.body.posted.text.len() as u64;
        let documents = self.take(request, now_us)?;
        Ok(Extended { documents, bytes, more: !self.requests.is_empty(), ..Extended::default() })
    }

    fn close(&mut self, now_us: u64) -> Result<(), Failure> {
        let mut open = std::mem::take(&mut self.open);
        if defect("answer-before-commit") {
            for Waiting { reply, accepted: Accepted { received, documents, .. }, .. } in open.waiting.drain(..) {
                reply(Ok(Ingested { offsets: BTreeMap::new(), received, documents, repeated: false }));
            }
        }
        let journals = open.appends.iter().map(|a| (a.journal.clone(), a.documents.len() as u64)).collect();
        let (registers, position) = self.keys.drain();
        durable_point("ingest.before_commit");
        let commit = self.context.log.commit(Delta {
            task: TASK.into(),
            epoch: self.epoch,
            time_us: now_us,
            appends: open.appends,
            registers,
            position: position.map(Piece::whole).unwrap_or_default(),
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
        let ends = commit.wait();
        durable_point("ingest.committed");
        if ends.is_ok() {
            let bytes = journals.iter().map(|(_, appended)| *appended).sum();
            let documents = waiting.iter().map(|request| request.accepted.documents).sum();
            self.context.counters.went_out(documents, bytes);
        }
        for request in waiting {
            let Accepted { reach, received, documents } = request.accepted;
            let answer = match &ends {
                Ok(ends) => {
                    let offset = |(at, reach): &(usize, u64)| {
                        let (journal, appended) = &journals[*at];
                        (journal.clone(), ends[*at] - appended + reach)
                    };
                    Ok(Ingested { offsets: reach.iter().map(offset).collect(), received, documents, repeated: false })
                }
                Err(error) => Err(IngestError::Unavailable(error.to_string())),
            };
            for repeat in request.repeats {
                repeat(answer.clone().map(|first| Ingested { repeated: true, ..first }));
            }
            (request.reply)(answer);
        }
        ends.map(|_| true).map_err(Failure::from)
    }
}

impl Drop for IngestTask {
    fn drop(&mut self) {
        let in_flight = self.in_flight.take().map(|t| t.waiting).unwrap_or_default();
        for request in self.open.waiting.drain(..).chain(in_flight) {
            for reply in request.repeats.into_iter().chain([request.reply]) {
                reply(Err(IngestError::Unavailable("it is stopping".into())));
            }
        }
        refuse(&self.requests, "it is stopping");
    }
}
