//! The log on one machine: a transactional store and fragment files in one data directory, owned by one process.
//!
//! Two threads run behind it: [`commit`] makes deltas durable in groups, [`writer`] turns tails into fragments. Readers of
//! the present are served from memory, of the recent past from the store, of the rest from fragments.

mod block;
mod cache;
mod commit;
mod expiry;
mod fragments;
mod journals;
mod layout;
mod space;
mod store;
mod torn;
mod verify;
mod writer;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Sender, bounded};
use rustc_hash::FxHashMap;

use crate::directory::{Directory, OpenError};
use crate::failpoint::durable_point;
use crate::fragment::{Codec, FragmentInfo};
use crate::keys::KeyRange;
use crate::log::{Block, Clock, Commit, Delta, Head, Log, LogError, Opened};
use crate::template::{Policies, Policy, Template};
use block::{pack, run_len};
use cache::Cache;
use commit::{Committer, Queue, Request, Ticket, stopped};
use fragments::Files;
pub use fragments::Fragments;
use journals::{Journal, Journals, Place, TailBlock, with_prefix};
use layout::BlockKey;
use space::Space;
use store::Store;
pub use verify::{Finding, Verified, verify};
use writer::Signal;

/// Signals that wait for the fragment writer; a nudge more than that tells it nothing new.
const SIGNALS_MAX: usize = 16;

/// How to open an [`Embedded`] log.
#[derive(Clone)]
pub struct Options {
    /// The data directory; created where missing.
    pub directory: PathBuf,
    /// Where fragment files go; `fragments` in the data directory unless told otherwise.
    pub fragments: Fragments,
    /// The URL of the store that fragments go to instead.
    pub store: Option<String>,
    /// How journals are kept whose names start with these prefixes, none of which is a prefix of another.
    pub templates: BTreeMap<String, Template>,
    /// What stores by URL need to be used: names and values as the clouds' own tools take them from the environment.
    pub credentials: Vec<(String, String)>,
    /// Tells the age of tails.
    pub clock: Arc<dyn Clock>,
    /// Uncompressed bytes that close a fragment: 16 MiB.
    pub fragment_bytes_max: u64,
    /// Age of the oldest documents in a tail that closes a fragment: ten seconds.
    pub fragment_age_max_ms: u64,
    /// Bytes of the newest documents kept in memory for readers of the present: 64 MiB.
    pub live_cache_bytes: usize,
    /// Bytes of older documents kept in memory once read: 64 MiB, and never less than two fragments.
    pub read_cache_bytes: usize,
    /// Bytes that wait to be committed before [`Log::commit`] blocks: 32 MiB.
    pub commit_queue_bytes: usize,
    /// Bytes of memory that the store under the log takes, for tables that are not written yet and what was read: 256 MiB.
    pub store_bytes: usize,
}

impl Options {
    /// The defaults for a data directory.
    pub fn new(directory: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Options {
        let directory = directory.into();
        Options {
            fragments: Fragments::Directory(directory.join("fragments")),
            directory,
            store: None,
            templates: BTreeMap::new(),
            credentials: Vec::new(),
            clock,
            fragment_bytes_max: 16 << 20,
            fragment_age_max_ms: 10_000,
            live_cache_bytes: 64 << 20,
            read_cache_bytes: 64 << 20,
            commit_queue_bytes: 32 << 20,
            store_bytes: 256 << 20,
        }
    }
}

/// What an [`Embedded`] log has done since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Deltas committed.
    pub commits: u64,
    /// Batches made durable.
    pub syncs: u64,
    /// Bytes of documents appended.
    pub appended_bytes: u64,
    /// Fragments written.
    pub fragments: u64,
    /// Bytes of their files.
    pub fragment_bytes: u64,
    /// Times that fragments could not be written; they are tried again.
    pub fragment_failures: u64,
    /// Bytes of a batch, never answered for, that a crash tore and opening cut off.
    pub torn_bytes: u64,
}

/// The embedded log. Dropping it commits what is queued and leaves tails where they are; [`Embedded::close`] writes them out.
pub struct Embedded {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Last, so that the lock outlives everything that writes.
    directory: Directory,
}

/// What the threads share with callers.
struct Shared {
    store: Store,
    files: Files,
    space: Space,
    /// Why nothing is committed any more, once that is so for good.
    broken: OnceLock<String>,
    journals: Journals,
    /// Ids of tasks by name.
    task_ids: RwLock<FxHashMap<String, u64>>,
    /// The newest documents, put in before their heads move.
    live: Mutex<Cache>,
    /// Older documents that somebody read.
    read: Mutex<Cache>,
    /// Held while a fragment is unpacked: one at a time, and only once for readers of the same.
    unpacking: Mutex<()>,
    queue: Queue,
    signals: Sender<Signal>,
    clock: Arc<dyn Clock>,
    fragment_bytes_max: u64,
    policies: Policies,
    stats: Counters,
}

#[derive(Default)]
struct Counters {
    commits: AtomicU64,
    syncs: AtomicU64,
    appended_bytes: AtomicU64,
    fragments: AtomicU64,
    fragment_bytes: AtomicU64,
    fragment_failures: AtomicU64,
    torn_bytes: AtomicU64,
}

impl Embedded {
    /// Opens a data directory, creating it where missing: takes its lock, cuts what a crash tore off the last batch, loads
    /// heads and epochs.
    pub fn open(options: Options) -> Result<Embedded, OpenError> {
        let mut directory = Directory::take(&options.directory)?;
        let space = Space::new(directory.path());
        if !space.admits_opening() {
            space.release();
        }
        let (store, torn_bytes) = Store::open(&mut directory, options.store_bytes)?;
        let files = Files::open(&options.fragments, options.credentials)?;
        let journals = recover(&store, options.clock.now_us())?;
        durable_point("boot.recovered");
        let otherwise = Policy {
            bytes_max: options.fragment_bytes_max,
            age_max_us: options.fragment_age_max_ms.saturating_mul(1000),
            interval_us: None,
            retention_us: None,
            codec: Codec::Gzip,
            store: options.store.unwrap_or_default(),
        };
        let policies = Policies::new(otherwise, &options.templates);
        let (signals, told) = bounded(SIGNALS_MAX);
        let shared = Arc::new(Shared {
            task_ids: RwLock::default(),
            live: Mutex::new(Cache::new(options.live_cache_bytes)),
            read: Mutex::new(Cache::new(
                options
                    .read_cache_bytes
                    .max(usize::try_from(policies.bytes_max().saturating_mul(2)).unwrap_or(usize::MAX)),
            )),
            unpacking: Mutex::new(()),
            queue: Queue::new(options.commit_queue_bytes),
            signals,
            clock: options.clock,
            fragment_bytes_max: options.fragment_bytes_max,
            policies,
            stats: Counters { torn_bytes: torn_bytes.into(), ..Counters::default() },
            store,
            files,
            space,
            broken: OnceLock::new(),
            journals: Journals::new(journals),
        });
        let committer = Committer::new(shared.clone())?;
        // Built step by step, so that a thread that does not start leaves the other one joined.
        let mut embedded = Embedded { shared: shared.clone(), threads: Vec::new(), directory };
        embedded.spawn("commit", move || committer.run())?;
        embedded.spawn("fragments", move || writer::run(&shared, &told))?;
        Ok(embedded)
    }

    fn spawn(&mut self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), OpenError> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
        self.threads.push(thread.map_err(|error| OpenError::Unusable {
            what: format!("the thread \"{name}\""),
            reason: error.to_string(),
        })?);
        Ok(())
    }

    /// Commits what is queued and writes every tail into fragments; returns when the files hold all that was submitted
    /// before the call.
    pub fn flush(&self) -> Result<(), LogError> {
        let (done, committed) = bounded(1);
        self.shared.queue.push(Request::Barrier { done });
        committed.recv().map_err(|_| stopped())?;
        let (done, flushed) = bounded(1);
        self.shared.signals.send(Signal::Flush(done)).map_err(|_| stopped())?;
        flushed.recv().unwrap_or_else(|_| Err(stopped()))
    }

    /// [`Embedded::flush`], then gives the directory free.
    pub fn close(self) -> Result<(), LogError> {
        self.flush()
    }

    /// The fragments of the journals whose names start with `prefix`, by name and offset.
    pub fn fragments(&self, prefix: &str) -> Result<Vec<FragmentInfo>, LogError> {
        let journals: Vec<_> = self
            .shared
            .journals
            .with(|journals| with_prefix(journals, prefix).map(|(name, journal)| (name.clone(), journal.id)).collect());
        let mut fragments = Vec::new();
        for (name, id) in journals {
            fragments.extend(self.shared.store.fragments(&name, id)?);
        }
        Ok(fragments)
    }

    /// What was done since the log was opened.
    pub fn stats(&self) -> Stats {
        let counters = &self.shared.stats;
        Stats {
            commits: counters.commits.load(Relaxed),
            syncs: counters.syncs.load(Relaxed),
            appended_bytes: counters.appended_bytes.load(Relaxed),
            fragments: counters.fragments.load(Relaxed),
            fragment_bytes: counters.fragment_bytes.load(Relaxed),
            fragment_failures: counters.fragment_failures.load(Relaxed),
            torn_bytes: counters.torn_bytes.load(Relaxed),
        }
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Embedded").field(&self.directory.path()).finish()
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // The writer first: it waits for the commit thread.
        let _ = self.shared.signals.send(Signal::Stop);
        if let Some(writer) = (self.threads.len() == 2).then(|| self.threads.pop()).flatten() {
            let _ = writer.join();
        }
        self.shared.queue.close();
        for thread in self.threads.drain(..) {
            // What a thread panicked about was printed when it did.
            let _ = thread.join();
        }
    }
}

impl Log for Embedded {
    fn open(&self, task: &str, range: KeyRange) -> Result<Opened, LogError> {
        let (done, opened) = bounded(1);
        self.shared.queue.push(Request::Open { task: task.to_owned(), range, done });
        opened.recv().unwrap_or_else(|_| Err(stopped()))
    }

    fn commit(&self, delta: Delta) -> Box<dyn Commit> {
        let (done, committed) = bounded(1);
        let packed = pack(&delta, &self.shared.policies);
        self.shared.queue.push(Request::Commit { delta, packed, done });
        Box::new(Ticket(committed))
    }

    fn room(&self) -> Result<(), LogError> {
        match self.shared.broken.get() {
            Some(reason) => Err(LogError::Poisoned { reason: reason.clone() }),
            None => self.shared.space.admits(0).map_err(|reason| LogError::Full { reason }),
        }
    }

    fn release(&self, journal: &str, offset: u64) {
        self.shared.journals.release(journal, offset);
    }

    fn registers(&self, task: &str, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>, LogError> {
        let id = self.shared.task_ids.read().unwrap_or_else(PoisonError::into_inner).get(task).copied();
        match id {
            Some(id) => self.shared.store.registers(id, keys),
            None => Ok(vec![None; keys.len()]),
        }
    }

    fn heads(&self, prefix: &str) -> Vec<Head> {
        self.shared.journals.heads(prefix)
    }

    fn read(&self, journal: &str, offset: u64, max_bytes: usize) -> Result<Option<Block>, LogError> {
        let run = match self.shared.journals.place(journal, offset)? {
            Place::End => return Ok(None),
            Place::Tail(id, key) => self.shared.tail(journal, id, offset, &key)?,
            Place::Fragment(id) => self.shared.past(journal, id, offset)?,
        };
        let skipped = usize::try_from(offset - run.begin).expect("an offset within a run in memory");
        if skipped > 0 && run.documents[skipped - 1] != b'\n' {
            return Err(LogError::NoSuchOffset { journal: journal.to_owned(), offset });
        }
        let len = run_len(&run.documents[skipped..], max_bytes);
        let documents = match len < run.documents.len() {
            // A slice would keep all of the run in memory, a whole fragment perhaps, for as long as it is held.
            true => Bytes::copy_from_slice(&run.documents[skipped..skipped + len]),
            false => run.documents,
        };
        Ok(Some(Block { begin: offset, documents }))
    }

    fn follow(&self, seen: u64, timeout: Duration) -> u64 {
        self.shared.journals.follow(seen, timeout)
    }
}

impl Shared {
    /// The run of documents around `offset`, which is in this block of a tail or, by now, in a fragment.
    fn tail(&self, journal: &str, id: u64, offset: u64, key: &BlockKey) -> Result<Block, LogError> {
        if let Some(run) = self.cached(id, offset) {
            return Ok(run);
        }
        let Some(documents) = self.store.block(journal, key)? else {
            return self.past(journal, id, offset);
        };
        lock(&self.read).insert(id, key.begin, documents.clone());
        Ok(Block { begin: key.begin, documents })
    }

    /// The run of documents around `offset`, which is in a fragment.
    fn past(&self, journal: &str, id: u64, offset: u64) -> Result<Block, LogError> {
        if let Some(run) = self.cached(id, offset) {
            return Ok(run);
        }
        let _one = lock(&self.unpacking);
        if let Some(run) = self.cached(id, offset) {
            return Ok(run);
        }
        let fragment = self.store.fragment(journal, id, offset)?.filter(|fragment| offset < fragment.end);
        let fragment = fragment.ok_or_else(|| LogError::Damaged {
            what: journal.to_owned(),
            reason: format!("no fragment holds offset {offset}"),
        })?;
        let documents = Bytes::from(self.files.get(&fragment)?);
        lock(&self.read).insert(id, fragment.begin, documents.clone());
        Ok(Block { begin: fragment.begin, documents })
    }

    fn cached(&self, id: u64, offset: u64) -> Option<Block> {
        let live = lock(&self.live).get(id, offset);
        live.or_else(|| lock(&self.read).get(id, offset))
    }

    /// A block of a tail that is still in memory.
    fn live_block(&self, key: &BlockKey) -> Option<Bytes> {
        let block = lock(&self.live).get(key.journal, key.begin)?;
        (block.begin == key.begin && block.end() == key.end()).then_some(block.documents)
    }

    /// Tells the writer that a tail is large; when it has not yet heard of the last ones, it will look anyway.
    fn nudge(&self) {
        let _ = self.signals.try_send(Signal::Nudge);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing of ours panics with one of these held half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Loads the journals and checks that the store does not contradict itself: fragments, then the tail, without a gap, up to
/// the head.
fn recover(store: &Store, now_us: u64) -> Result<BTreeMap<Arc<str>, Journal>, OpenError> {
    let mut names = FxHashMap::default();
    let mut journals = BTreeMap::new();
    let mut heads = FxHashMap::default();
    let damaged = |journal: &str, reason: String| OpenError::Damaged { what: format!("journal {journal}"), reason };
    for (name, record) in store.journals()? {
        let name: Arc<str> = name.into();
        names.insert(record.id, name.clone());
        heads.insert(record.id, record.end);
        let fragment = store.fragment(&name, record.id, u64::MAX).map_err(|error| damaged(&name, error.to_string()))?;
        let mut journal = Journal::new(record);
        journal.end = fragment.map_or(record.begin, |fragment| fragment.end);
        journals.insert(name, journal);
    }
    for key in store.block_keys()? {
        let key = key?;
        let Some(name) = names.get(&key.journal) else {
            return Err(damaged(&format!("number {}", key.journal), "it has documents but no name".to_owned()));
        };
        let journal = journals.get_mut(name).expect("a named journal is recovered");
        if key.begin != journal.end {
            return Err(damaged(name, format!("expected documents at offset {}, found {}", journal.end, key.begin)));
        }
        journal.push(TailBlock { key, arrived_us: now_us, sum: None });
    }
    for (name, journal) in &mut journals {
        journal.next_end = store.next_end(journal.id)?;
        let last = journal.planned().last().map(|block| block.key.end());
        if journal.next_end != last {
            let end = journal.next_end.unwrap_or_default();
            return Err(damaged(name, format!("its next fragment ends at {end}, where no block of its tail does")));
        }
    }
    for (name, journal) in &journals {
        let head = heads[&journal.id];
        if journal.end != head {
            return Err(damaged(name, format!("its head is {head}, its documents end at {}", journal.end)));
        }
    }
    Ok(journals)
}
