//! Runs a catalog: a thread per shard, and one that wakes them when something was committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use catalog::{Capture, Catalog, Derivation};
use doc::Spill;
use journal::{Clock, KeyRange, Log};

use crate::capture::CaptureTask;
use crate::connector::Connectors;
use crate::derive::{DeriveTask, Deriver};
use crate::ingest::{self, Ingest, IngestTask};
use crate::lifecycle::Limits;
use crate::materialize::MaterializeTask;
use crate::needed::Progress;
use crate::pace::Pace;
use crate::partition::prefix;
use crate::reader::Ends;
use crate::retry::Jitter;
use crate::shard::{self, Context, Signal};
use crate::status::{Counters, State, Status};

/// The most shards of one task.
pub const SHARDS_MAX: u32 = 64;

/// Longest time the log is followed without looking whether to stop.
const FOLLOW_MS: u64 = 200;
/// How long the start waits for destinations, and how often it looks.
const OPEN_WAIT_MAX: Duration = Duration::from_secs(10);
const OPEN_LOOK: Duration = Duration::from_millis(1);

/// How often the log is told what nobody needs any more.
const RELEASE_EVERY: Duration = Duration::from_secs(1);

/// Tells the log what no reader needs of the journals of a collection.
fn release(log: &dyn Log, prefix: &str, readers: &[Arc<Progress>]) {
    for head in log.heads(prefix) {
        let needs = readers.iter().map(|reader| reader.needs(&head.journal, head.begin, head.end));
        log.release(&head.journal, needs.min().unwrap_or(head.end));
    }
}

/// How a catalog is run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Sources go on as they grow; otherwise they end with what is there.
    pub tail: bool,
    /// Random bits, fresh for each run: they name the producers of documents.
    pub random: u64,
    /// Among how many shards the keys of a task are divided, where they can be; [`SHARDS_MAX`] at most. May change from one
    /// run to the next.
    pub shards: u32,
    /// A transaction closes when it has read so many bytes.
    pub transaction_bytes_max: u64,
    /// A transaction closes when its first document has waited so long.
    pub transaction_age_ms_max: u64,
    /// Memory for the registers of all derivations and the combined documents of all materializations, in bytes.
    pub memory_bytes: usize,
    /// Memory for what all of them have read and not processed yet, in bytes.
    pub read_bytes: usize,
    /// Bytes of posted documents that may wait to be ingested; a single request may have more.
    pub request_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tail: true,
            random: 0,
            shards: 1,
            transaction_bytes_max: 16 << 20,
            transaction_age_ms_max: 1_000,
            memory_bytes: 192 << 20,
            read_bytes: 64 << 20,
            request_bytes_max: 128 << 20,
        }
    }
}

/// A running catalog.
pub struct Runtime {
    log: Arc<dyn Log>,
    /// Asks captures and ingestion to stop, and so everything that brings documents in.
    stop_sources: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    tasks: Vec<Running>,
    follower: Option<JoinHandle<()>>,
    ingest: Ingest,
}

/// Looks at the tasks of a running catalog, from any thread. Cheap to clone.
#[derive(Clone)]
pub struct Monitor(Arc<[Watched]>);

/// A task's kind and name, and the counters of its shards.
type Watched = (&'static str, String, Vec<Arc<Counters>>);

impl Monitor {
    /// Every task at this moment.
    pub fn status(&self) -> Vec<Status> {
        self.0.iter().map(|(kind, name, shards)| Status::of(kind, name, shards)).collect()
    }
}

/// A task and its shards.
struct Running {
    kind: &'static str,
    name: String,
    shards: Vec<Shard>,
}

struct Shard {
    context: Context,
    thread: Option<JoinHandle<()>>,
}

impl Runtime {
    /// Starts every task of the catalog, each where its last run left it; `spill` is where there is room for what is not to
    /// be held in memory. Fails only where a thread cannot be started.
    pub fn start(
        catalog: &Arc<Catalog>,
        log: Arc<dyn Log>,
        connectors: &Arc<dyn Connectors>,
        clock: Arc<dyn Clock>,
        spill: &Spill,
        options: Options,
    ) -> std::io::Result<Self> {
        let (stop, stop_sources) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let jitter = Jitter::new(options.random);
        let parts = |can_divide: bool| if can_divide { options.shards.clamp(1, SHARDS_MAX) } else { 1 };
        let derivations = || catalog.collections.iter().filter_map(|collection| collection.derivation.as_ref());
        let shards = |derivation: &Derivation| parts(Deriver::can_divide(derivation)) as usize;
        let tables: u32 = catalog.materializations.iter().map(|spec| parts(connectors.can_divide(spec))).sum();
        let reading = derivations().map(shards).sum::<usize>() + tables as usize;
        let keeping = derivations().filter(|d| Deriver::has_registers(d)).map(shards).sum::<usize>() + tables as usize;
        let heads = catalog.collections.iter().flat_map(|collection| log.heads(&prefix(&collection.name)));
        let started: Arc<Ends> = Arc::new(heads.map(|head| (head.journal, head.end)).collect());
        let context = |stop: &Arc<AtomicBool>, rolls_up| Context {
            started: Arc::clone(&started),
            log: Arc::clone(&log),
            clock: Arc::clone(&clock),
            signal: Arc::new(Signal::default()),
            counters: Arc::new(Counters::default()),
            progress: Arc::new(Progress::default()),
            stop: Arc::clone(stop),
            jitter: jitter.clone(),
            limits: Limits {
                bytes_max: options.transaction_bytes_max,
                age_us_max: options.transaction_age_ms_max * 1_000,
                rolls_up,
            },
            memory_bytes: options.memory_bytes / keeping.max(1),
            read_bytes: options.read_bytes / reading.max(1),
            spill: Arc::clone(spill),
        };
        let ingestion = context(&stop_sources, false);
        let (ingest, requests) = ingest::queue(&ingestion, options.request_bytes_max);
        let mut runtime = Self {
            log: Arc::clone(&log),
            stop_sources: Arc::clone(&stop_sources),
            stop: Arc::clone(&stop),
            tasks: Vec::new(),
            follower: None,
            ingest,
        };

        // Every shard draws its own random bits from the run's.
        let mut drawn = 0_u64;
        let mut random = || {
            drawn += 1;
            xxhash_rust::xxh3::xxh3_64_with_seed(&drawn.to_le_bytes(), options.random)
        };
        let ranges = |can_divide: bool| {
            let count = parts(can_divide);
            (0..count).map(move |n| KeyRange::nth(n, count))
        };
        // Destinations are opened before anything flows, so that tables exist when the first document arrives.
        for (n, spec) in catalog.materializations.iter().enumerate() {
            for range in ranges(connectors.can_divide(spec)) {
                let (context, catalog, connectors) =
                    (context(&stop, true), Arc::clone(catalog), Arc::clone(connectors));
                let random = random();
                runtime.spawn("materialization", &spec.name, context, move |context| {
                    let spec = &catalog.materializations[n];
                    let recover = || MaterializeTask::recover(context, &catalog, spec, &*connectors, range, random);
                    shard::run(context, recover);
                })?;
            }
        }
        runtime.wait_until_opened();
        for (n, spec) in catalog.collections.iter().enumerate() {
            for range in spec.derivation.as_ref().into_iter().flat_map(|d| ranges(Deriver::can_divide(d))) {
                let (context, catalog, connectors) =
                    (context(&stop, false), Arc::clone(catalog), Arc::clone(connectors));
                let random = random();
                runtime.spawn("derivation", &spec.name, context, move |context| {
                    let spec = &catalog.collections[n];
                    let recover = || DeriveTask::recover(context, &catalog, spec, &*connectors, range, random);
                    shard::run(context, recover);
                })?;
            }
        }
        let (shared, random_bits) = (Arc::clone(catalog), random());
        runtime.spawn("ingestion", "ingestion", ingestion, move |context| {
            shard::run(context, || {
                IngestTask::recover(context, &shared, requests.clone(), random_bits)
                    .inspect_err(|failure| ingest::refuse(&requests, &failure.why))
            });
        })?;
        for (n, spec) in catalog.captures.iter().enumerate() {
            let (context, catalog, connectors) =
                (context(&stop_sources, false), Arc::clone(catalog), Arc::clone(connectors));
            let readers = runtime.readers_of(&catalog, spec);
            let random = random();
            runtime.spawn("capture", &spec.name, context, move |context| {
                let spec = &catalog.captures[n];
                let pace = || Pace::of(&readers);
                let recover =
                    || CaptureTask::recover(context, &catalog, spec, &*connectors, options.tail, pace(), random);
                shard::run(context, recover);
            })?;
        }
        runtime.follow(catalog)?;
        Ok(runtime)
    }

    /// The counters of the derivations that read what a capture brings.
    fn readers_of(&self, catalog: &Catalog, capture: &Capture) -> Vec<Arc<Counters>> {
        let is_read = |derivation: &Derivation| {
            let mut sources = derivation.transforms.iter().map(|transform| &transform.source);
            sources.any(|source| capture.bindings.iter().any(|binding| binding.target == *source))
        };
        let reads = |task: &&Running| {
            let derivation = catalog.collection(&task.name).and_then(|collection| collection.derivation.as_ref());
            task.kind == "derivation" && derivation.is_some_and(is_read)
        };
        let shards = self.tasks.iter().filter(reads).flat_map(|task| &task.shards);
        shards.map(|shard| Arc::clone(&shard.context.counters)).collect()
    }

    /// Starts a shard; those of one task follow each other.
    fn spawn(
        &mut self,
        kind: &'static str,
        name: &str,
        context: Context,
        work: impl FnOnce(&Context) + Send + 'static,
    ) -> std::io::Result<()> {
        let shared = context.clone();
        let guarded = move || {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&shared)));
            if outcome.is_err() {
                shared.counters.set_state(State::Halted { why: "a broken invariant; this is a bug".into() });
            }
        };
        let thread = std::thread::Builder::new().name(format!("{kind} {name}")).spawn(guarded)?;
        let shard = Shard { context, thread: Some(thread) };
        match self.tasks.last_mut() {
            Some(task) if task.kind == kind && task.name == name => task.shards.push(shard),
            _ => self.tasks.push(Running { kind, name: name.to_owned(), shards: vec![shard] }),
        }
        Ok(())
    }

    /// Waits until every task so far has been opened or could not be, but for no longer than a destination may take that does
    /// not answer.
    fn wait_until_opened(&self) {
        let begun = Instant::now();
        let opened = |shard: &Shard| shard.context.counters.opened.load(Ordering::Acquire);
        while !self.shards().all(opened) && begun.elapsed() < OPEN_WAIT_MAX {
            std::thread::sleep(OPEN_LOOK);
        }
    }

    /// Wakes every shard whenever something was committed, and tells the log from time to time what nobody needs any more.
    fn follow(&mut self, catalog: &Catalog) -> std::io::Result<()> {
        let kept = catalog.collections.iter().filter(|c| c.fragments.retention_seconds.is_some());
        let released: Vec<String> = kept.map(|collection| prefix(&collection.name)).collect();
        let readers = self.tasks.iter().filter(|task| matches!(task.kind, "derivation" | "materialization"));
        let readers = readers.flat_map(|task| &task.shards);
        let readers: Vec<Arc<Progress>> = readers.map(|shard| Arc::clone(&shard.context.progress)).collect();
        let signals: Vec<Arc<Signal>> = self.shards().map(|shard| Arc::clone(&shard.context.signal)).collect();
        let (log, stop) = (Arc::clone(&self.log), Arc::clone(&self.stop));
        let work = move || {
            let mut seen = 0;
            let mut looked = Instant::now();
            while !stop.load(Ordering::Acquire) {
                let count = log.follow(seen, Duration::from_millis(FOLLOW_MS));
                if count != seen {
                    seen = count;
                    signals.iter().for_each(|signal| signal.notify());
                }
                if !released.is_empty() && looked.elapsed() >= RELEASE_EVERY {
                    looked = Instant::now();
                    released.iter().for_each(|prefix| release(&*log, prefix, &readers));
                }
            }
        };
        self.follower = Some(std::thread::Builder::new().name("follower".into()).spawn(work)?);
        Ok(())
    }

    /// The way in for posted documents.
    pub fn ingest(&self) -> Ingest {
        self.ingest.clone()
    }

    /// Every task at this moment.
    pub fn status(&self) -> Vec<Status> {
        self.monitor().status()
    }

    /// Something that tells the same elsewhere, and longer.
    pub fn monitor(&self) -> Monitor {
        let counters = |shard: &Shard| Arc::clone(&shard.context.counters);
        let watched = |task: &Running| (task.kind, task.name.clone(), task.shards.iter().map(counters).collect());
        Monitor(self.tasks.iter().map(watched).collect())
    }

    fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.tasks.iter().flat_map(|task| &task.shards)
    }

    /// Whether every source has ended and all that was read has been seen through: only a new document could change anything.
    pub fn is_settled(&self) -> bool {
        let commits = self.log.follow(0, Duration::ZERO);
        let is_settled = |task: &Running, shard: &Shard| {
            let idle_at = shard.context.counters.idle_at.load(Ordering::Acquire);
            match task.kind {
                "capture" => idle_at == u64::MAX,
                _ => idle_at == u64::MAX || idle_at == commits + 1,
            }
        };
        self.tasks.iter().all(|task| task.shards.iter().all(|shard| is_settled(task, shard)))
            && self.log.follow(0, Duration::ZERO) == commits
    }

    /// Asks captures and ingestion to commit what they have open and end; the other tasks go on with what was captured.
    pub fn stop_sources(&self) {
        self.stop_sources.store(true, Ordering::Release);
        self.shards().for_each(|shard| shard.context.signal.notify());
    }

    /// Asks every task to commit what it has open and end.
    pub fn stop(&self) {
        self.stop_sources.store(true, Ordering::Release);
        self.stop.store(true, Ordering::Release);
        self.shards().for_each(|shard| shard.context.signal.notify());
    }

    /// Waits until every task has ended; their last states.
    pub fn join(mut self) -> Vec<Status> {
        for shard in self.tasks.iter_mut().flat_map(|task| &mut task.shards) {
            if let Some(thread) = shard.thread.take() {
                let _ = thread.join();
            }
        }
        self.stop.store(true, Ordering::Release);
        if let Some(follower) = self.follower.take() {
            let _ = follower.join();
        }
        self.status()
    }
}
