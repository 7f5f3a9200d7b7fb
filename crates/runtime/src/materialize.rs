//! Materializations: collections into tables and hooks.
//!
//! The shard's thread reads and combines. A closed transaction goes to the destination's own thread, which loads, reduces,
//! stores and commits it while the next one extends; there is never more than one with the destination. While that takes
//! long, documents of a key become one in the open transaction; what memory has no room for goes to disk if a table is to
//! have it, which takes it in any order of the keys, and waits where it is if a hook is.
//!
//! A table commits rows and checkpoint in its own transaction, and its checkpoint is where a restart goes on. A hook cannot:
//! its requests are committed to the log's outbox with the position, then sent, then cleared. After a crash what is still in
//! the outbox is sent again, the same bytes under the same id.

use std::sync::Arc;
use std::thread::JoinHandle;

use catalog::{Catalog, Collection, Materialization};
use crossbeam_channel::{Receiver, Sender, bounded};
use doc::{Arena, Combiner, SpillingCombiner};
use journal::KeyRange;
use journal::failpoint::defect;

use crate::connector::{Connectors, Destination, Retry};
use crate::position::{Offsets, Position};
use crate::reader::{Document, Read, Reader};
use crate::shard::{Context, Extended, Failure, Task};

mod hook;
mod table;

/// Documents read at once, in bytes of text: so few that their nodes stay in a core's own cache.
const BLOCK_BYTES: usize = 128 << 10;

/// What an open transaction may have on disk; when that is reached it is merged, and half of it is the most that may be left.
const SPILLED_BYTES_MAX: u64 = 1 << 30;

/// A destination rests only after a transaction that took longer than this …
const TOOK_US_MIN: u64 = 1_000_000;
/// … for as long as it took if all its rows were there, for less if fewer of their bytes were, …
/// … but not longer than this.
const REST_US_MAX: u64 = 5_000_000;

/// A materialization's shard.
pub(crate) struct MaterializeTask {
    context: Context,
    name: String,
    reader: Reader,
    /// The collection of each binding.
    collections: Vec<String>,
    /// Whether its documents are published by the schema they are read by.
    published_by: Vec<bool>,
    /// The open transaction, a combiner per binding.
    open: Vec<SpillingCombiner>,
    /// Whether it has no room for more.
    full: bool,
    /// What it may hold in memory, in bytes; the one with the destination may, too.
    combined_bytes_max: usize,
    /// Whether the destination takes what is on disk.
    spills: bool,
    /// Empty combiners, while no transaction is with the destination.
    spare: Option<Vec<SpillingCombiner>>,
    arena: Arena,
    destination: Worker,
    /// How far the transaction with the destination reaches.
    reaches: Offsets,
    /// How long the destination had better not be asked for another transaction, in microseconds.
    rest_us: u64,
}

/// A closed transaction.
struct Transaction {
    combiners: Vec<SpillingCombiner>,
    position: Position,
    now_us: u64,
}

/// What the destination's thread says of a transaction.
type Outcome = Result<Done, Failure>;

/// A transaction that is durable at the destination, or what recovery finished.
#[derive(Default)]
struct Done {
    /// Its combiners, empty again.
    combiners: Vec<SpillingCombiner>,
    rest_us: u64,
}

/// What a transaction took to the destination.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Taken {
    /// Rows, or documents of requests.
    documents: u64,
    /// The documents' bytes.
    bytes: u64,
    /// Those of rows that were there before.
    updated_bytes: u64,
}

impl MaterializeTask {
    pub(crate) fn recover(
        context: &Context,
        catalog: &Catalog,
        materialization: &Materialization,
        connectors: &dyn Connectors,
        range: KeyRange,
        random: u64,
    ) -> Result<Self, Failure> {
        let mut collections = Vec::new();
        let mut reads = Vec::new();
        for binding in &materialization.bindings {
            let collection = catalog
                .collection(&binding.source)
                .ok_or_else(|| Failure::never(format!("collection {} is not in the catalog", binding.source)))?;
            collections.push(collection);
            reads.push(Read {
                // What a binding writes to names it, so that bindings may be reordered.
                name: format!("{} to {}", binding.source, binding.resource),
                collection: binding.source.clone(),
                selector: binding.selector.clone(),
                key: Arc::clone(&collection.key),
                priority: 0,
                delay_seconds: 0,
            });
        }
        let (position, destination, spills) = match connectors.open_destination(materialization, &collections, range)? {
            Destination::Table(table) => {
                let (position, finisher) =
                    table::TableFinisher::open(context, table, materialization, &collections, range)?;
                (position, Worker::start(context, finisher)?, true)
            }
            Destination::Hook(hook) => {
                let (position, finisher) = hook::HookFinisher::open(context, hook, materialization, random)?;
                (position, Worker::start(context, finisher)?, false)
            }
        };
        let reaches = position.least();
        context.progress.recovered(&reads, &reaches);
        let combiners = || {
            let combiner = |c: &&Collection| {
                let combiner = Combiner::new(Arc::clone(&c.read_schema), Arc::clone(&c.key));
                SpillingCombiner::new(combiner, Arc::clone(&context.spill))
            };
            collections.iter().map(combiner).collect::<Vec<_>>()
        };
        Ok(Self {
            context: context.clone(),
            name: materialization.name.clone(),
            reader: Reader::new(Arc::clone(&context.log), reads, range, position, Arc::clone(&context.started))
                .holding(context.read_bytes),
            collections: collections.iter().map(|c| c.name.clone()).collect(),
            published_by: collections.iter().map(|c| Arc::ptr_eq(&c.read_schema, &c.schema)).collect(),
            open: combiners(),
            full: false,
            combined_bytes_max: context.memory_bytes / 2,
            spills,
            spare: Some(combiners()),
            arena: Arena::new(),
            destination,
            reaches,
            rest_us: 0,
        })
    }

    /// Puts aside on disk what the open transaction has no memory for.
    fn make_room(&mut self) -> Result<(), Failure> {
        let combining = |e| Failure::combining("documents cannot be combined", e);
        while self.open.iter().map(SpillingCombiner::bytes).sum::<usize>() > self.combined_bytes_max {
            if !self.spills {
                self.full = true;
                return Ok(());
            }
            let largest = self.open.iter_mut().max_by_key(|combiner| combiner.bytes());
            largest.map_or(Ok(()), SpillingCombiner::spill).map_err(combining)?;
            if self.spilled_bytes() > SPILLED_BYTES_MAX {
                self.open.iter_mut().try_for_each(SpillingCombiner::merge).map_err(combining)?;
                self.full = self.spilled_bytes() > SPILLED_BYTES_MAX / 2;
            }
        }
        Ok(())
    }

    fn spilled_bytes(&self) -> u64 {
        self.open.iter().map(SpillingCombiner::spilled_bytes).sum()
    }
}

impl Task for MaterializeTask {
    // A webhook's outbox passes: it empties as it is sent.
    const GROWS: bool = false;

    fn extend(&mut self, now_us: u64) -> Result<Extended, Failure> {
        let block = self.reader.next(now_us, BLOCK_BYTES)?;
        self.arena.reset();
        let dropped = usize::from(defect("drop-document") && block.len() > 1);
        for Document { read, text, is_fresh } in block.documents().skip(dropped) {
            let document = doc::parse(&self.arena, text)
                .map_err(|e| Failure::never(format!("a stored document cannot be read: {e}")))?;
            let is_valid = is_fresh && self.published_by[read];
            self.open[read]
                .combine_right_written(&self.arena, document, text, is_valid)
                .map_err(|e| Failure::never(format!("{}, binding of {}: {e}", self.name, self.collections[read])))?;
        }
        self.make_room()?;
        self.context.counters.waits(self.reader.lag_bytes(), self.reader.waiting_since_us());
        Ok(Extended {
            documents: block.len() as u64,
            bytes: block.bytes as u64,
            full: self.full,
            progress: block.passed_bytes > 0,
            more: block.more,
            again_us: block.ready_at_us,
            ..Extended::default()
        })
    }

    fn close(&mut self, now_us: u64) -> Result<(), Failure> {
        let spare = self.spare.take().expect("a transaction closes only when none is in flight");
        let combiners = std::mem::replace(&mut self.open, spare);
        self.full = false;
        let position = self.reader.position();
        self.reaches = position.least();
        self.destination.submit(Transaction { combiners, position, now_us })
    }

    fn committed(&mut self) -> Result<bool, Failure> {
        let Some(outcome) = self.destination.outcome() else { return Ok(false) };
        let Done { combiners, rest_us } = outcome?;
        self.rest_us = rest_us;
        if !combiners.is_empty() || self.spare.is_none() {
            self.spare = Some(combiners);
        }
        self.context.progress.committed(self.reaches.clone());
        Ok(true)
    }

    fn rest_us(&self) -> u64 {
        self.rest_us
    }

    fn recovered_in_flight(&self) -> bool {
        true
    }
}

/// Sees closed transactions through, on the destination's thread.
trait Finisher: Send + 'static {
    /// Finishes what was under way when the task stopped last.
    fn recover(&mut self) -> Result<(), Failure>;
    /// Makes a transaction durable at the destination.
    fn finish(&mut self, transaction: &mut Transaction) -> Result<Taken, Failure>;
}

/// How long a destination that took so long had better wait for more: a row that was there already would have been written once, had
/// the transaction that wrote it waited for this one. What took little time may be as up to date as it can be.
fn rest_us(took_us: u64, taken: Taken) -> u64 {
    if took_us < TOOK_US_MIN {
        return 0;
    }
    let updated = taken.updated_bytes as f64 / taken.bytes.max(1) as f64;
    ((took_us as f64 * updated) as u64).min(REST_US_MAX)
}

/// The destination's thread.
struct Worker {
    transactions: Option<Sender<Transaction>>,
    outcomes: Receiver<Outcome>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread, whose first outcome is that of recovery.
    fn start(context: &Context, mut finisher: impl Finisher) -> Result<Self, Failure> {
        let (transactions, incoming) = bounded::<Transaction>(1);
        let (report, outcomes) = bounded::<Outcome>(1);
        let context = context.clone();
        let work = move || {
            let recovered = finisher.recover().map(|()| Done::default());
            let mut failed = recovered.is_err();
            if report.send(recovered).is_err() {
                return;
            }
            context.signal.notify();
            while !failed && let Ok(mut transaction) = incoming.recv() {
                let began_us = context.clock.now_us();
                let outcome = finisher.finish(&mut transaction).map(|taken| {
                    context.counters.went_out(taken.documents, taken.bytes);
                    let took_us = context.clock.now_us().saturating_sub(began_us);
                    Done { combiners: transaction.combiners, rest_us: rest_us(took_us, taken) }
                });
                failed = outcome.is_err();
                if report.send(outcome).is_err() {
                    return;
                }
                context.signal.notify();
            }
        };
        let thread = std::thread::Builder::new()
            .name("destination".into())
            .spawn(work)
            .map_err(|e| Failure { why: format!("cannot start a thread: {e}"), retry: Retry::Later })?;
        Ok(Self { transactions: Some(transactions), outcomes, thread: Some(thread) })
    }

    fn submit(&self, transaction: Transaction) -> Result<(), Failure> {
        let sender = self.transactions.as_ref().expect("only dropping closes the queue");
        sender.send(transaction).map_err(|_| Failure::never("the destination's thread has ended"))
    }

    fn outcome(&self) -> Option<Outcome> {
        self.outcomes.try_recv().ok()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The destination must be closed before a successor opens it.
        self.transactions = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_rests_when_most_of_what_it_wrote_was_there() {
        for (took_us, bytes, updated_bytes, expected) in [
            (999_999, 100, 100, 0),
            (2_000_000, 100, 0, 0),
            (2_000_000, 100, 25, 500_000),
            (2_000_000, 100, 100, 2_000_000),
            (60_000_000, 100, 100, 5_000_000),
            (2_000_000, 0, 0, 0),
        ] {
            let taken = Taken { documents: 1, bytes, updated_bytes };
            assert_eq!(rest_us(took_us, taken), expected, "{took_us} {taken:?}");
        }
    }
}
