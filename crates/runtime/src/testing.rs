//! Catalog tests: documents in, derivations run, collections compared. In memory, on one thread, with a clock of its own.
//!
//! Time moves only when nothing else can happen, so a read delay of two days takes none. Before each step everything that is
//! ready is derived; a verify waits for delayed reads that could still write to its collection. Each test starts with empty
//! collections and registers. Source: reference 7.3.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use catalog::{Catalog, Period, Place, Selector, Step, StepKind, Test};
use doc::{Arena, Combiner, Node};
use foldhash::HashMap;
use journal::LogError;

use crate::connector::Connectors;
use crate::derive::{Deriver, shortened};
use crate::partition::{JournalFilter, Partitions};
use crate::registers::RegisterStore;
use crate::shard::Failure;
use crate::testing::compare::differences;
use crate::uuid::{DocClock, Stamper};

mod compare;

/// When tests take place: 2040-01-01T00:00:00Z. Later than what a catalog calls the past, as when it reads a collection only
/// from some day on, and earlier than what it calls the future.
const START_US: u64 = 2_208_988_800_000_000;
/// Registers of a derivation that are kept apart from those it has committed.
const REGISTERS_BYTES_MAX: usize = 64 << 20;
/// Rounds of transactions, or moves of the clock, after which a catalog that still has something to derive is said not to
/// settle.
const ROUNDS_MAX: usize = 5_000;

/// Runs the tests of a catalog.
pub struct Tests<'c> {
    catalog: &'c Catalog,
    derivations: Vec<Derivation<'c>>,
    collections: BTreeMap<&'c str, Vec<Stored>>,
    stamper: Stamper,
    now_us: u64,
}

/// A test that failed.
#[derive(Debug, Clone)]
pub struct Failed {
    /// The step it failed at; the last one where it failed after all steps.
    pub step: usize,
    /// Where the step is.
    pub place: Place,
    /// What went wrong.
    pub why: Why,
}

/// What went wrong in a test.
#[derive(Debug, Clone)]
pub enum Why {
    /// Documents could not be ingested, derived or combined.
    Broken(String),
    /// A collection did not hold what a verify expects.
    Different(Vec<Difference>),
}

/// One difference between what a verify expects and what there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which document, counted from zero in key order.
    pub document: usize,
    /// Where in it, as a JSON pointer.
    pub location: String,
    /// What was expected there, as JSON; `None` where no document was.
    pub expected: Option<String>,
    /// What is there; `None` where nothing is.
    pub actual: Option<String>,
    /// Where the expectation stands; the step where there is none.
    pub place: Place,
}

struct Derivation<'c> {
    collection: &'c str,
    deriver: Deriver,
    reads: Vec<Read<'c>>,
    registers: Registers,
    published: Combiner,
}

struct Read<'c> {
    source: &'c str,
    filter: JournalFilter,
    period: Period,
    priority: u32,
    delay_us: u64,
    /// Index of the next document of the source.
    next: usize,
    /// Documents before `next` that wait for their delay.
    waiting: Vec<usize>,
}

struct Stored {
    journal: String,
    clock: DocClock,
    text: Bytes,
}

#[derive(Default)]
struct Registers(HashMap<Arc<[u8]>, Bytes>);

impl RegisterStore for Registers {
    fn get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>, LogError> {
        Ok(keys.iter().map(|key| self.0.get(*key).cloned()).collect())
    }
}

impl<'c> Tests<'c> {
    /// Opens the lambdas of every derivation.
    pub fn open(catalog: &'c Catalog, connectors: &dyn Connectors) -> Result<Self, String> {
        let mut derivations = Vec::new();
        let nothing = |keys: &[&[u8]]| Ok(vec![None; keys.len()]);
        for collection in &catalog.collections {
            let Some(spec) = &collection.derivation else { continue };
            let lambdas = connectors
                .open_lambdas(catalog, collection, &nothing)
                .map_err(|e| format!("{}: {e}", collection.name))?;
            let deriver =
                Deriver::new(catalog, collection, spec, lambdas, REGISTERS_BYTES_MAX, true).map_err(|e| e.why)?;
            let read = |transform: &'c catalog::Transform| Read {
                source: &transform.source,
                filter: JournalFilter::of(&transform.selector),
                period: transform.selector.period,
                priority: transform.priority,
                delay_us: transform.read_delay_seconds.saturating_mul(1_000_000),
                next: 0,
                waiting: Vec::new(),
            };
            derivations.push(Derivation {
                collection: &collection.name,
                deriver,
                reads: spec.transforms.iter().map(read).collect(),
                registers: Registers::default(),
                published: Combiner::new(collection.schema.clone(), collection.key.clone()),
            });
        }
        Ok(Self { catalog, derivations, collections: BTreeMap::new(), stamper: Stamper::new(0), now_us: START_US })
    }

    /// Runs one test.
    pub fn run(&mut self, test: &'c Test) -> Result<(), Failed> {
        let failed =
            |step: usize, why: Why| Failed { step, place: test.steps.get(step).map_or(test.place, |s| s.place), why };
        self.reset().map_err(|why| failed(0, Why::Broken(why)))?;
        for (n, step) in test.steps.iter().enumerate() {
            match step.kind {
                StepKind::Ingest => self.ingest(step).map_err(|why| failed(n, Why::Broken(why)))?,
                StepKind::Verify => {
                    self.wait(Some(&step.collection)).map_err(|why| failed(n, Why::Broken(why)))?;
                    self.verify(step).map_err(|why| failed(n, why))?;
                }
            }
            self.derive().map_err(|why| failed(n, Why::Broken(why)))?;
        }
        let last = test.steps.len().saturating_sub(1);
        self.wait(None).map_err(|why| failed(last, Why::Broken(why)))
    }

    /// Takes documents of a fixture as one transaction, each with its collection, and derives what comes of them, delays
    /// included. An error says which collection is not known, or which document cannot be used.
    pub fn ingest_fixture(&mut self, documents: &[(String, String)]) -> Result<(), String> {
        let mut named: Vec<&str> = documents.iter().map(|(collection, _)| collection.as_str()).collect();
        named.sort_unstable();
        named.dedup();
        for name in named {
            let collection = self.catalog.collection(name);
            let collection = collection.ok_or_else(|| format!("collection {name} is not in the catalog"))?;
            let mut combiner = Combiner::new(collection.schema.clone(), collection.key.clone());
            let arena = Arena::new();
            for (_, text) in documents.iter().filter(|(collection, _)| collection == name) {
                let text = arena.alloc_slice_copy(text.as_bytes());
                let node = doc::parse(&arena, text).map_err(|e| e.to_string())?;
                combiner
                    .combine_right(&arena, node)
                    .map_err(|e| format!("a document of {name} is refused: {e}, in {}", shortened(&node.to_json())))?;
            }
            self.append(&collection.name, &mut combiner)?;
        }
        self.derive()?;
        self.wait(None)
    }

    /// The documents of a collection since the test began, from the n-th on, each with its newline.
    pub fn documents(&self, collection: &str, from: usize) -> impl Iterator<Item = &[u8]> {
        let stored = self.collections.get(collection).map_or(&[][..], Vec::as_slice);
        stored.iter().skip(from).map(|stored| &stored.text[..])
    }

    fn reset(&mut self) -> Result<(), String> {
        self.collections.clear();
        for derivation in &mut self.derivations {
            derivation.deriver.reset().map_err(|e| e.why)?;
            derivation.registers.0.clear();
            derivation.published.clear();
            for read in &mut derivation.reads {
                read.next = 0;
                read.waiting.clear();
            }
        }
        Ok(())
    }

    /// Combines a step's documents by key and appends them in key order, as one transaction.
    fn ingest(&mut self, step: &Step) -> Result<(), String> {
        let collection = self.catalog.collection(&step.collection).ok_or("the collection is not in the catalog")?;
        let mut combiner = Combiner::new(collection.schema.clone(), collection.key.clone());
        let arena = Arena::new();
        for (n, document) in step.documents.iter().enumerate() {
            let value = document.to_value();
            let node = doc::from_value(&arena, &value);
            combiner.combine_right(&arena, node).map_err(|e| format!("document {n}: {e}"))?;
        }
        self.append(&collection.name, &mut combiner)
    }

    fn append(&mut self, collection: &'c str, combiner: &mut Combiner) -> Result<(), String> {
        let spec = self.catalog.collection(collection).ok_or("the collection is not in the catalog")?;
        let partitions = Partitions::of(spec);
        let mut arena = Arena::new();
        let stored = self.collections.entry(collection).or_default();
        for document in combiner.drain_by_key().flat_map(|drained| drained.documents()) {
            arena.reset();
            let mut journal = String::new();
            partitions.journal(doc::parse(&arena, document).map_err(|e| e.to_string())?, &mut journal)?;
            let uuid = self.stamper.next(self.now_us);
            let mut text = Vec::with_capacity(document.len() + 64);
            doc::stamp(document, std::str::from_utf8(&uuid).map_err(|e| e.to_string())?, &mut text);
            stored.push(Stored { journal, clock: self.stamper.last(), text: Bytes::from(text) });
        }
        Ok(())
    }

    /// Lets time pass until nothing is delayed that could lead to a write to `target`, or to anything. Time goes from one
    /// delayed document to the next, whichever derivation it is for, so that no delay takes longer than it says.
    fn wait(&mut self, target: Option<&str>) -> Result<(), String> {
        for _ in 0..ROUNDS_MAX {
            let upstream = target.map(|target| self.writers_of(target));
            let leads_there = |d: &Derivation<'_>| upstream.as_ref().is_none_or(|set| set.contains(d.collection));
            if !self.derivations.iter().any(|d| leads_there(d) && d.next_ready_us(&self.collections).is_some()) {
                return Ok(());
            }
            let next_us = self.derivations.iter().filter_map(|d| d.next_ready_us(&self.collections)).min();
            self.now_us = next_us.unwrap_or(self.now_us);
            self.derive()?;
        }
        Err(format!(
            "the catalog does not settle: something is still delayed after the clock was moved {ROUNDS_MAX} times"
        ))
    }

    /// Derives everything that is ready now, until nothing is. In each round all derivations take what there was before
    /// it, so that documents which went different ways for as many steps meet in one transaction.
    fn derive(&mut self) -> Result<(), String> {
        for _ in 0..ROUNDS_MAX {
            let (collections, now_us) = (&self.collections, self.now_us);
            let ready: Vec<_> = self.derivations.iter_mut().map(|d| d.take_ready(collections, now_us)).collect();
            if ready.iter().all(Vec::is_empty) {
                return Ok(());
            }
            for (n, ready) in ready.iter().enumerate().filter(|(_, ready)| !ready.is_empty()) {
                self.transact(n, ready)?;
            }
        }
        Err(format!("the catalog does not settle: something is still derived after {ROUNDS_MAX} rounds"))
    }

    /// Lets one derivation process documents, and appends what it publishes.
    fn transact(&mut self, derivation: usize, ready: &[(usize, Bytes)]) -> Result<(), String> {
        let Derivation { collection, deriver, registers, published, .. } = &mut self.derivations[derivation];
        let arena = Arena::new();
        let parse = |(transform, text): &(usize, Bytes)| {
            let text = arena.alloc_slice_copy(text);
            doc::parse(&arena, text).map(|node| (*transform, node))
        };
        let sources: Vec<(usize, Node<'_>)> =
            ready.iter().map(parse).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
        for (transform, document) in &sources {
            deriver.validate(*transform, *document, false).map_err(|e| e.why)?;
        }
        let mut publish = |node| Ok(published.combine_right(&arena, node).map(drop)?);
        deriver.extend(&arena, registers, &sources, &mut publish).map_err(|e| e.why)?;
        for (key, register) in deriver.finish(&arena, &mut publish).map_err(|e| e.why)? {
            registers.0.insert(key, Bytes::from_owner(register.unwrap_or_default()));
        }
        let collection = *collection;
        let spec = self.catalog.collection(collection).ok_or("the collection is not in the catalog")?;
        let mut published = std::mem::replace(published, Combiner::new(spec.schema.clone(), spec.key.clone()));
        self.append(collection, &mut published)
    }

    /// The derived collections whose derivations write to `target`, at once or through others.
    fn writers_of(&self, target: &str) -> BTreeSet<&str> {
        let mut writers = BTreeSet::new();
        let mut open = vec![target];
        while let Some(collection) = open.pop() {
            for derivation in self.derivations.iter().filter(|d| d.collection == collection) {
                if writers.insert(derivation.collection) {
                    open.extend(derivation.reads.iter().map(|read| read.source));
                }
            }
        }
        writers
    }

    fn verify(&self, step: &Step) -> Result<(), Why> {
        let broken = |why: String| Why::Broken(why);
        let collection = self
            .catalog
            .collection(&step.collection)
            .ok_or_else(|| broken("the collection is not in the catalog".into()))?;
        let actual = self
            .combined(collection, &step.selector)
            .map_err(|e| broken(format!("documents of {} cannot be combined: {e}", collection.name)))?;
        let found = differences(step, &actual).map_err(broken)?;
        if found.is_empty() { Ok(()) } else { Err(Why::Different(found)) }
    }

    /// Everything the collection got since the test began, combined, in key order.
    fn combined(&self, collection: &catalog::Collection, selector: &Selector) -> Result<Vec<String>, String> {
        let filter = JournalFilter::of(selector);
        let mut stored: Vec<&Stored> = self.collections.get(collection.name.as_str()).into_iter().flatten().collect();
        stored.retain(|s| filter.matches(&s.journal) && selector.period.holds(s.clock.us()));
        stored.sort_by(|a, b| a.journal.cmp(&b.journal));
        let mut combiner = Combiner::new(collection.read_schema.clone(), collection.key.clone());
        let mut arena = Arena::new();
        for document in stored {
            arena.reset();
            let node = doc::parse(&arena, &document.text).map_err(|e| e.to_string())?;
            combiner.combine_right(&arena, node).map_err(|e| format!("{e}, in {}", shortened(&node.to_json())))?;
        }
        let documents = combiner.drain_by_key().flat_map(|drained| drained.documents());
        Ok(documents.map(|document| String::from_utf8_lossy(document).into_owned()).collect())
    }
}

impl Derivation<'_> {
    /// When the next document that waits for its delay is ready.
    fn next_ready_us(&self, collections: &BTreeMap<&str, Vec<Stored>>) -> Option<u64> {
        let ready_us = |read: &Read<'_>| {
            let stored = collections.get(read.source)?;
            read.waiting.iter().map(|&n| stored[n].clock.us() + read.delay_us).min()
        };
        self.reads.iter().filter_map(ready_us).min()
    }

    /// Takes what is ready to be read, with the index of its transform: higher priorities first, then by adjusted clock.
    fn take_ready(&mut self, collections: &BTreeMap<&str, Vec<Stored>>, now_us: u64) -> Vec<(usize, Bytes)> {
        let mut ready = Vec::new();
        for (transform, read) in self.reads.iter_mut().enumerate() {
            let Some(stored) = collections.get(read.source) else { continue };
            let meant = |s: &Stored| read.filter.matches(&s.journal) && read.period.holds(s.clock.us());
            let fresh = (read.next..stored.len()).filter(|&n| meant(&stored[n]));
            read.waiting.extend(fresh);
            read.next = stored.len();
            let (delay_us, priority) = (read.delay_us, read.priority);
            read.waiting.retain(|&n| {
                let document = &stored[n];
                let is_ready = delay_us == 0 || document.clock.us() + delay_us <= now_us;
                if is_ready {
                    let adjusted = document.clock.0 + delay_us * 160;
                    let turn = (std::cmp::Reverse(priority), adjusted, &document.journal, transform);
                    ready.push((turn, document.text.clone()));
                }
                !is_ready
            });
        }
        ready.sort_by_key(|(turn, _)| *turn);
        ready.into_iter().map(|((.., transform), text)| (transform, text)).collect()
    }
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::never(why)
    }
}
