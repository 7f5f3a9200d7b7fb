//! Materializations: collections into tables and hooks.
//!
//! The shard's thread reads and combines. A closed transaction goes to the destination's own thread, which loads, reduces,
//! stores and commits it while the next one extends; there is never more than one with the destination.
//!
//! A table commits rows and checkpoint in its own transaction, and its checkpoint is where a restart goes on. A hook cannot:
//! its requests are committed to the log's outbox with the position, then sent, then cleared. After a crash what is still in
//! the outbox is sent again, the same bytes under the same id.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use catalog::{Catalog, Collection, FieldSelection, Materialization};
use crossbeam_channel::{Receiver, Sender, bounded};
use doc::{Arena, Combiner, Node, Pointer};
use journal::Delta;
use serde::{Deserialize, Serialize};

use crate::connector::{Connectors, Destination, Hook, Request, Retry, Row, Table};
use crate::derive::Position;
use crate::reader::{Read, Reader};
use crate::shard::{Context, Extended, Failure, Task};
use crate::status::State;

/// Documents read at once, in bytes of text.
const BLOCK_BYTES: usize = 512 << 10;
/// Rows handed to a table at once.
const ROWS_MAX: usize = 1_000;

/// A materialization's shard.
pub(crate) struct MaterializeTask {
    context: Context,
    name: String,
    reader: Reader,
    bindings: Vec<BindingPlan>,
    /// The open transaction, a combiner per binding.
    open: Vec<Combiner>,
    /// Empty combiners, while no transaction is with the destination.
    spare: Option<Vec<Combiner>>,
    arena: Arena,
    destination: Worker,
}

struct BindingPlan {
    collection: String,
    columns: Columns,
}

/// Where a binding's fields are in its documents.
struct Columns {
    keys: Vec<Pointer>,
    values: Vec<Pointer>,
    delta_updates: bool,
}

/// A closed transaction.
struct Transaction {
    combiners: Vec<Combiner>,
    position: Position,
    now_us: u64,
}

/// What the destination's thread says of a transaction: its combiners, empty again.
type Outcome = Result<Vec<Combiner>, Failure>;

impl MaterializeTask {
    pub(crate) fn recover(
        context: &Context,
        catalog: &Catalog,
        materialization: &Materialization,
        connectors: &dyn Connectors,
        random: u64,
    ) -> Result<Self, Failure> {
        let mut collections = Vec::new();
        let mut plans = Vec::new();
        let mut reads = Vec::new();
        for binding in &materialization.bindings {
            let collection = catalog
                .collection(&binding.source)
                .ok_or_else(|| Failure::never(format!("collection {} is not in the catalog", binding.source)))?;
            collections.push(collection);
            plans.push(BindingPlan {
                collection: collection.name.clone(),
                columns: Columns::of(collection, &binding.fields, binding.delta_updates),
            });
            reads.push(Read {
                // What a binding writes to names it, so that bindings may be reordered.
                name: format!("{} to {}", binding.source, binding.resource),
                collection: binding.source.clone(),
                selector: binding.selector.clone(),
                priority: 0,
                delay_seconds: 0,
            });
        }
        let shard = format!("materialization/{}/00000000-00000000", materialization.name);
        let (position, destination) = match connectors.open_destination(materialization, &collections)? {
            Destination::Table(table) => {
                let position = Position::decode(table.checkpoint().as_deref())?;
                let columns = plans.iter().map(|plan| plan.columns.clone()).collect();
                (position, Worker::start(context, TableFinisher { table, columns, arena: Arena::new() })?)
            }
            Destination::Hook(hook) => {
                let opened = context.log.open(&shard)?;
                let position = HookPosition::decode(opened.position.as_deref(), random)?;
                let mut outbox = Vec::new();
                for (sequence, bytes) in opened.outbox {
                    outbox.push((sequence, decode_request(&bytes)?));
                }
                let finisher = HookFinisher {
                    context: context.clone(),
                    task: materialization.name.clone(),
                    shard,
                    epoch: opened.epoch,
                    hook,
                    outbox,
                    next_sequence: position.next_sequence,
                    instance: position.instance,
                };
                (position.position, Worker::start(context, finisher)?)
            }
        };
        let combiners = || {
            let combiner = |c: &&Collection| Combiner::new(Arc::clone(&c.read_schema), Arc::clone(&c.key));
            collections.iter().map(combiner).collect::<Vec<_>>()
        };
        Ok(Self {
            context: context.clone(),
            name: materialization.name.clone(),
            reader: Reader::new(Arc::clone(&context.log), reads, &position.offsets),
            bindings: plans,
            open: combiners(),
            spare: Some(combiners()),
            arena: Arena::new(),
            destination,
        })
    }
}

impl Task for MaterializeTask {
    fn extend(&mut self, now_us: u64) -> Result<Extended, Failure> {
        let block = self.reader.next(now_us, BLOCK_BYTES)?;
        self.arena.reset();
        for sourced in &block.documents {
            let document = doc::parse(&self.arena, &sourced.text)
                .map_err(|e| Failure::never(format!("a stored document cannot be read: {e}")))?;
            self.open[sourced.read].combine_right(&self.arena, document).map_err(|e| {
                Failure::never(format!("{}, binding of {}: {e}", self.name, self.bindings[sourced.read].collection))
            })?;
        }
        self.context.counters.lag_bytes.store(self.reader.lag_bytes(), Ordering::Relaxed);
        Ok(Extended {
            documents: block.documents.len() as u64,
            bytes: block.bytes as u64,
            more: block.more,
            again_us: block.ready_at_us,
            ..Extended::default()
        })
    }

    fn close(&mut self, now_us: u64) -> Result<(), Failure> {
        let spare = self.spare.take().expect("a transaction closes only when none is in flight");
        let combiners = std::mem::replace(&mut self.open, spare);
        let position = Position::new(self.reader.offsets());
        self.destination.submit(Transaction { combiners, position, now_us })
    }

    fn committed(&mut self) -> Result<bool, Failure> {
        let Some(outcome) = self.destination.outcome() else { return Ok(false) };
        let combiners = outcome?;
        if !combiners.is_empty() || self.spare.is_none() {
            self.spare = Some(combiners);
        }
        Ok(true)
    }

    fn recovered_in_flight(&self) -> bool {
        true
    }
}

impl Clone for Columns {
    fn clone(&self) -> Self {
        Self { keys: self.keys.clone(), values: self.values.clone(), delta_updates: self.delta_updates }
    }
}

impl Columns {
    fn of(collection: &Collection, fields: &FieldSelection, delta_updates: bool) -> Self {
        let pointers = |names: &[String]| {
            names.iter().filter_map(|name| collection.projection(name)).map(|p| p.pointer.clone()).collect()
        };
        Self { keys: pointers(&fields.keys), values: pointers(&fields.values), delta_updates }
    }
}

/// Sees closed transactions through, on the destination's thread.
trait Finisher: Send + 'static {
    /// Finishes what was under way when the task stopped last.
    fn recover(&mut self) -> Result<(), Failure>;
    /// Makes a transaction durable at the destination; how many rows or documents it took.
    fn finish(&mut self, transaction: &mut Transaction) -> Result<u64, Failure>;
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
            let recovered = finisher.recover().map(|()| Vec::new());
            let mut failed = recovered.is_err();
            if report.send(recovered).is_err() {
                return;
            }
            context.signal.notify();
            while !failed && let Ok(mut transaction) = incoming.recv() {
                let outcome = finisher.finish(&mut transaction).map(|stored| {
                    context.counters.documents_out.fetch_add(stored, Ordering::Relaxed);
                    transaction.combiners
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

struct TableFinisher {
    table: Box<dyn Table>,
    columns: Vec<Columns>,
    arena: Arena,
}

impl Finisher for TableFinisher {
    fn recover(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn finish(&mut self, transaction: &mut Transaction) -> Result<u64, Failure> {
        let mut stored = 0;
        for (binding, combiner) in transaction.combiners.iter_mut().enumerate() {
            if combiner.is_empty() {
                continue;
            }
            if !self.columns[binding].delta_updates {
                self.load(binding, combiner)?;
            }
            stored += self.store(binding, combiner)?;
        }
        self.table.commit(&transaction.position.encode())?;
        Ok(stored)
    }
}

impl TableFinisher {
    /// Reduces stored documents into those of the transaction.
    fn load(&mut self, binding: usize, combiner: &mut Combiner) -> Result<(), Failure> {
        let columns = &self.columns[binding];
        self.arena.reset();
        let mut keys: Vec<&[Node<'_>]> = Vec::with_capacity(combiner.len());
        for (_, document) in combiner.documents() {
            // The text moves as the combiner reduces, so keys have a copy of their own.
            let document = self.arena.alloc_slice_copy(document);
            keys.push(fields(&self.arena, parse(&self.arena, document)?, &columns.keys));
        }
        let mut loaded: Vec<Vec<u8>> = Vec::new();
        for chunk in keys.chunks(ROWS_MAX) {
            self.table.load(binding, chunk, &mut |document| loaded.push(document.to_vec()))?;
        }
        drop(keys);
        for text in loaded {
            self.arena.reset();
            let document = parse(&self.arena, &text)?;
            combiner
                .reduce_left(&self.arena, document)
                .map_err(|e| Failure::never(format!("a stored row cannot be reduced: {e}")))?;
        }
        self.arena.reset();
        combiner
            .reduce_apart(&self.arena)
            .map_err(|e| Failure::never(format!("documents of a new row cannot be reduced: {e}")))
    }

    fn store(&mut self, binding: usize, combiner: &mut Combiner) -> Result<u64, Failure> {
        let columns = &self.columns[binding];
        let mut drained = combiner.drain_by_key();
        let mut stored = 0;
        loop {
            self.arena.reset();
            let mut rows = Vec::with_capacity(ROWS_MAX);
            for document in drained.by_ref().take(ROWS_MAX) {
                let text = std::str::from_utf8(document.document).expect("documents are written as UTF-8");
                let node = parse(&self.arena, document.document)?;
                rows.push(Row {
                    key: fields(&self.arena, node, &columns.keys),
                    values: fields(&self.arena, node, &columns.values),
                    document: text,
                    exists: document.full,
                    delete: document.deleted,
                });
            }
            if rows.is_empty() {
                return Ok(stored);
            }
            self.table.store(binding, &rows)?;
            stored += rows.len() as u64;
        }
    }
}

fn parse<'a>(arena: &'a Arena, text: &'a [u8]) -> Result<Node<'a>, Failure> {
    doc::parse(arena, text).map_err(|e| Failure::never(format!("a stored document cannot be read: {e}")))
}

fn fields<'a>(arena: &'a Arena, document: Node<'a>, pointers: &[Pointer]) -> &'a [Node<'a>] {
    arena.alloc_slice_fill_iter(pointers.iter().map(|pointer| pointer.query(document).unwrap_or(Node::Null)))
}

struct HookFinisher {
    context: Context,
    task: String,
    shard: String,
    epoch: u64,
    hook: Box<dyn Hook>,
    /// Requests that were committed and may not have been taken.
    outbox: Vec<(u64, Request)>,
    next_sequence: u64,
    /// Random, and kept for as long as the position is: a fresh start makes fresh ids.
    instance: String,
}

impl Finisher for HookFinisher {
    fn recover(&mut self) -> Result<(), Failure> {
        self.send_outbox()
    }

    fn finish(&mut self, transaction: &mut Transaction) -> Result<u64, Failure> {
        let mut delta = self.delta(transaction.now_us);
        let mut documents = 0;
        for (binding, combiner) in transaction.combiners.iter_mut().enumerate() {
            if combiner.is_empty() {
                continue;
            }
            documents += combiner.len() as u64;
            // In the order of arrival, so that what happened to one user is told in the order it happened in.
            let drained: Vec<_> = combiner.drain_by_arrival().collect();
            let texts: Vec<&[u8]> = drained.iter().map(|d| d.document).collect();
            for request in self.hook.encode(binding, &texts) {
                delta.outbox.push((self.next_sequence, encode_request(&request)));
                self.outbox.push((self.next_sequence, request));
                self.next_sequence += 1;
            }
        }
        let position = HookPosition {
            position: transaction.position.clone(),
            next_sequence: self.next_sequence,
            instance: self.instance.clone(),
        };
        delta.position = Some(position.encode());
        self.context.log.commit(delta).wait()?;
        self.send_outbox()?;
        Ok(documents)
    }
}

impl HookFinisher {
    fn delta(&self, now_us: u64) -> Delta {
        Delta { shard: self.shard.clone(), epoch: self.epoch, time_us: now_us, ..Delta::default() }
    }

    /// Sends what is in the outbox, in order, each until it is taken, then clears it.
    fn send_outbox(&mut self) -> Result<(), Failure> {
        if self.outbox.is_empty() {
            return Ok(());
        }
        for (sequence, request) in &self.outbox {
            let id = format!("{}-{sequence}", self.instance);
            let mut attempts = 0;
            while let Err(error) = self.hook.send(&id, request) {
                let why = format!("{}: {error}", self.task);
                if error.retry == Retry::Never || self.context.is_stopping() {
                    return Err(Failure { why, retry: error.retry });
                }
                attempts += 1;
                self.context.counters.set_state(State::Retrying { why, attempts });
                self.context.back_off(attempts, error.retry);
            }
            if attempts > 0 {
                self.context.counters.set_state(State::Running);
            }
        }
        let mut delta = self.delta(self.context.clock.now_us());
        delta.outbox_clear = self.outbox.drain(..).map(|(sequence, _)| sequence).collect();
        self.context.log.commit(delta).wait()?;
        Ok(())
    }
}

/// The position of a hook's shard: that of its reads, and what makes its requests' ids.
#[derive(Debug, Default, Serialize, Deserialize)]
struct HookPosition {
    #[serde(flatten)]
    position: Position,
    next_sequence: u64,
    instance: String,
}

impl HookPosition {
    fn decode(bytes: Option<&[u8]>, random: u64) -> Result<Self, Failure> {
        let Some(bytes) = bytes else {
            return Ok(Self { instance: format!("{random:016x}"), ..Self::default() });
        };
        Position::decode(Some(bytes))?;
        serde_json::from_slice(bytes).map_err(|e| Failure::never(format!("the stored position cannot be read: {e}")))
    }

    fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("positions have string keys")
    }
}

/// A request in the outbox: its URL, a newline, its body.
fn encode_request(request: &Request) -> Vec<u8> {
    [request.url.as_bytes(), b"\n", request.body.as_bytes()].concat()
}

fn decode_request(bytes: &[u8]) -> Result<Request, Failure> {
    let text = std::str::from_utf8(bytes).ok().and_then(|text| text.split_once('\n'));
    let (url, body) = text.ok_or_else(|| Failure::never("a request in the outbox cannot be read"))?;
    Ok(Request { url: url.into(), body: body.into() })
}
