//! Derivations: source documents through update and publish lambdas, with registers, into a collection.
//!
//! [`Deriver`] is the derivation itself, over blocks of documents in memory; catalog tests use it as it is. [`DeriveTask`]
//! feeds it from the log and commits what it made. Sources: reference 4.2 and 4.3.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use catalog::{Catalog, Collection, Derivation, Module, Transform, Using};
use doc::{Arena, Node, Pointer, Schema};
use journal::failpoint::durable_point;
use journal::{Commit, Delta, KeyRange, Log, LogError};

use crate::capture::{appended, finish};
use crate::connector::{Changes, Connectors, LambdaError, Lambdas, Publish, Rows};
use crate::position::{Offsets, Position};
use crate::publish::{Target, Unpublishable};
use crate::reader::{Document, Read, Reader};
use crate::registers::{RegisterStore, Registers};
use crate::shard::{Context, Extended, Failure, Task};
use crate::uuid::Stamper;

/// Documents processed at once, in bytes of text: so few that their nodes, and what becomes of them, stay in a core's own cache.
const BLOCK_BYTES: usize = 128 << 10;
/// Where registers are far larger than documents, blocks become smaller, down to one document, so that those a block touches
/// are about so many bytes of text.
const TOUCHED_BYTES: usize = 8 << 20;

/// A derivation's transforms, registers and lambdas.
pub(crate) struct Deriver {
    name: String,
    transforms: Vec<Spec>,
    lambdas: Box<dyn Lambdas>,
    registers: Kind,
}

/// Takes what is published.
pub(crate) type Published<'p, 'a> = dyn FnMut(Node<'a>) -> Result<(), Unpublishable> + 'p;

/// What lasts from one document to the next.
enum Kind {
    /// Registers, each changed by update lambdas.
    Registers(Box<Registers>),
    /// Registers nothing ever changes: this one serves all.
    Initial(String),
    /// What the lambdas keep themselves, so that they are called in the order of the documents.
    Own,
}

struct Spec {
    name: String,
    source: String,
    schemas: Vec<Arc<Schema>>,
    /// How many of them, from the first, are what documents of the source are published by.
    published_by: usize,
    shuffle: Arc<[Pointer]>,
    update: bool,
    publish: bool,
}

impl Deriver {
    pub(crate) fn new(
        catalog: &Catalog,
        collection: &Collection,
        derivation: &Derivation,
        lambdas: Box<dyn Lambdas>,
        memory_bytes: usize,
        is_new: bool,
    ) -> Result<Self, Failure> {
        let spec = |transform: &Transform| {
            let source = catalog.collection(&transform.source).ok_or_else(|| {
                Failure::never(format!("{} reads {}, which is not in the catalog", collection.name, transform.source))
            })?;
            let schemas = [Some(&source.read_schema), transform.source_schema.as_ref()];
            Ok(Spec {
                name: transform.name.clone(),
                source: transform.source.clone(),
                schemas: schemas.into_iter().flatten().cloned().collect(),
                published_by: usize::from(Arc::ptr_eq(&source.read_schema, &source.schema)),
                shuffle: Arc::clone(&transform.shuffle),
                update: transform.update.is_some(),
                publish: transform.publish.is_some(),
            })
        };
        let transforms = derivation.transforms.iter().map(spec).collect::<Result<Vec<_>, Failure>>()?;
        Ok(Self {
            name: collection.name.clone(),
            registers: match &derivation.using {
                using if keeps_own_state(using) => Kind::Own,
                _ if Self::has_registers(derivation) => Kind::Registers(Box::new(Registers::new(
                    Arc::clone(&derivation.register_schema),
                    &derivation.register_initial,
                    memory_bytes,
                    is_new,
                ))),
                _ => Kind::Initial(derivation.register_initial.clone()),
            },
            transforms,
            lambdas,
        })
    }

    /// Whether shards can divide the keys among them: what lambdas keep themselves is one, registers are of one key each.
    pub(crate) fn can_divide(derivation: &Derivation) -> bool {
        !keeps_own_state(&derivation.using)
    }

    /// Whether there are registers that change.
    pub(crate) fn has_registers(derivation: &Derivation) -> bool {
        !keeps_own_state(&derivation.using) && derivation.transforms.iter().any(|transform| transform.update.is_some())
    }

    /// What to read: one read per transform, in their order.
    pub(crate) fn reads(derivation: &Derivation) -> Vec<Read> {
        let read = |transform: &Transform| Read {
            name: transform.name.clone(),
            collection: transform.source.clone(),
            selector: transform.selector.clone(),
            key: Arc::clone(&transform.shuffle),
            priority: transform.priority,
            delay_seconds: transform.read_delay_seconds,
        };
        derivation.transforms.iter().map(read).collect()
    }

    /// Validates a source document of a transform; one that is `fresh` is known to be valid by the schema it was published by.
    pub(crate) fn validate(&self, transform: usize, document: Node<'_>, fresh: bool) -> Result<(), Failure> {
        let spec = &self.transforms[transform];
        let known = if fresh { spec.published_by } else { 0 };
        spec.schemas[known..].iter().try_for_each(|schema| {
            schema.validate(document).map_err(|e| {
                let Spec { name, source, .. } = spec;
                Failure::never(format!("{}, transform {name}: a document of {source} is invalid: {e}", self.name))
            })
        })
    }

    /// Processes a block of valid source documents, each with the index of its transform, in order, and gives what they publish to
    /// `publish`.
    pub(crate) fn extend<'a>(
        &mut self,
        arena: &'a Arena,
        store: &dyn RegisterStore,
        sources: &[(usize, Node<'a>)],
        publish: &mut Published<'_, 'a>,
    ) -> Result<(), Failure> {
        let calls = self.reduce_registers(arena, store, sources)?;

        let mut rows = self.batch(
            sources,
            |spec| spec.publish,
            |lambdas, transform, members| {
                let calls: Vec<Publish<'_>> = members.iter().map(|&n| calls[n]).collect();
                lambdas.publish(arena, transform, &calls)
            },
        )?;
        for (n, (transform, _)) in sources.iter().enumerate() {
            for document in rows.run(*transform) {
                publish(*document).map_err(|e| {
                    let spec = &self.transforms[*transform];
                    let source = calls[n].source.to_json();
                    Failure::never(format!(
                        "{}, transform {}: {e}; it was published for this document of {}: {}",
                        self.name,
                        spec.name,
                        spec.source,
                        shortened(&source)
                    ))
                })?;
            }
        }
        Ok(())
    }

    /// Calls update lambdas and reduces registers in document order; each document's arguments for its publish lambda.
    fn reduce_registers<'a>(
        &mut self,
        arena: &'a Arena,
        store: &dyn RegisterStore,
        sources: &[(usize, Node<'a>)],
    ) -> Result<Vec<Publish<'a>>, Failure> {
        let deltas = self.batch(
            sources,
            |spec| spec.update,
            |lambdas, transform, members| {
                let sources: Vec<Node<'_>> = members.iter().map(|&n| sources[n].1).collect();
                lambdas.update(arena, transform, &sources)
            },
        )?;
        let initial = match &mut self.registers {
            Kind::Own => Node::Null,
            Kind::Initial(json) => doc::parse(arena, arena.alloc_str(json).as_bytes())
                .map_err(|e| Failure::never(format!("the initial register cannot be read: {e}")))?,
            Kind::Registers(registers) => {
                return reduce(registers, &self.transforms, arena, store, sources, deltas)
                    .map_err(|e| Failure { why: format!("{}, {}", self.name, e.why), ..e });
            }
        };
        let call = |(_, source): &(usize, Node<'a>)| Publish { source: *source, register: initial, previous: initial };
        Ok(sources.iter().map(call).collect())
    }

    /// Calls a lambda for the documents of a block: once for all of a transform, or, where the lambdas keep a state, once for
    /// each run of documents of the same transform.
    fn batch<'a>(
        &mut self,
        sources: &[(usize, Node<'a>)],
        has: impl Fn(&Spec) -> bool,
        mut call: impl FnMut(&mut dyn Lambdas, usize, &[usize]) -> Result<Rows<'a>, LambdaError>,
    ) -> Result<Returned<'a>, Failure> {
        let mut returned = Returned(self.transforms.iter().map(|_| (Rows::default(), 0)).collect());
        let mut groups: Vec<(usize, Vec<usize>)> = Vec::new();
        match self.registers {
            Kind::Own => {
                for (n, (transform, _)) in sources.iter().enumerate() {
                    match groups.last_mut() {
                        Some((last, members)) if last == transform => members.push(n),
                        _ => groups.push((*transform, vec![n])),
                    }
                }
            }
            _ => {
                groups.extend((0..self.transforms.len()).map(|transform| (transform, Vec::new())));
                sources.iter().enumerate().for_each(|(n, (transform, _))| groups[*transform].1.push(n));
            }
        }
        for (transform, members) in groups {
            let spec = &self.transforms[transform];
            if !has(spec) || members.is_empty() {
                continue;
            }
            let rows = call(&mut *self.lambdas, transform, &members)
                .map_err(|e| Failure::never(format!("{}, transform {}: {e}", self.name, spec.name)))?;
            if rows.ends.len() != members.len() {
                return Err(Failure::never(format!(
                    "{}, transform {}: {} rows were expected and {} returned",
                    self.name,
                    spec.name,
                    members.len(),
                    rows.ends.len()
                )));
            }
            returned.0[transform].0.append(rows);
        }
        Ok(returned)
    }

    /// Ends a transaction: gives what is published last to `publish`; what is to be committed with it.
    pub(crate) fn finish<'a>(&mut self, arena: &'a Arena, publish: &mut Published<'_, 'a>) -> Result<Changes, Failure> {
        let kept = match &mut self.registers {
            Kind::Registers(registers) => return Ok(registers.drain()),
            Kind::Initial(_) => return Ok(Changes::new()),
            Kind::Own => &mut self.lambdas,
        };
        let flushed = kept.flush(arena).map_err(|e| Failure::never(format!("{}: {e}", self.name)))?;
        for document in flushed {
            publish(document).map_err(|e| {
                let document = document.to_json();
                Failure::never(format!("{}: {e}; it was published by flush: {}", self.name, shortened(&document)))
            })?;
        }
        kept.changes().map_err(|e| Failure::never(format!("{}: {e}", self.name)))
    }

    /// The registers, where there are any that change.
    fn registers(&self) -> Option<&Registers> {
        match &self.registers {
            Kind::Registers(registers) => Some(registers),
            Kind::Initial(_) | Kind::Own => None,
        }
    }

    /// Starts anew, as between catalog tests.
    pub(crate) fn reset(&mut self) -> Result<(), Failure> {
        if let Kind::Registers(registers) = &mut self.registers {
            registers.clear();
        }
        Ok(self.lambdas.reset()?)
    }
}

/// Whether lambdas remember what they like, instead of registers.
fn keeps_own_state(using: &Using) -> bool {
    matches!(using, Using::Typescript(Module { modern: true, .. }) | Using::Sqlite { .. })
}

/// Reduces registers by what update lambdas returned, in document order; each document's arguments for its publish lambda.
fn reduce<'a>(
    registers: &mut Registers,
    transforms: &[Spec],
    arena: &'a Arena,
    store: &dyn RegisterStore,
    sources: &[(usize, Node<'a>)],
    mut deltas: Returned<'a>,
) -> Result<Vec<Publish<'a>>, Failure> {
    let mut packed = Vec::new();
    let pack = |(transform, document): &(usize, Node<'_>)| {
        packed.clear();
        doc::pack(*document, &transforms[*transform].shuffle, &mut packed);
        &*arena.alloc_slice_copy(&packed)
    };
    let keys: Vec<&[u8]> = sources.iter().map(pack).collect();
    let (mut touched, slots) = registers.touch(arena, store, &keys)?;
    let mut calls = Vec::with_capacity(sources.len());
    for ((transform, document), slot) in sources.iter().zip(slots) {
        let previous = touched.get(slot);
        for delta in deltas.run(*transform) {
            registers.update(arena, &mut touched, slot, *delta).map_err(|e| {
                let name = &transforms[*transform].name;
                Failure::never(format!("transform {name}: {}", e.why))
            })?;
        }
        calls.push(Publish { source: *document, register: touched.get(slot), previous });
    }
    registers.keep(touched);
    Ok(calls)
}

/// What each transform's lambda returned for a block, handed out in document order.
struct Returned<'a>(Vec<(Rows<'a>, usize)>);

impl<'a> Returned<'a> {
    /// The run of the next document of a transform; empty where the transform has no such lambda.
    fn run(&mut self, transform: usize) -> &[Node<'a>] {
        let (rows, next) = &mut self.0[transform];
        if rows.ends.is_empty() {
            return &[];
        }
        *next += 1;
        rows.run(*next - 1)
    }
}

/// Enough of a document to recognise it by.
pub(crate) fn shortened(json: &str) -> String {
    const CHARS_MAX: usize = 300;
    match json.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}…", &json[..at]),
        None => json.to_owned(),
    }
}

/// A derivation's shard.
pub(crate) struct DeriveTask {
    context: Context,
    task: String,
    epoch: u64,
    reader: Reader,
    deriver: Deriver,
    block_bytes: usize,
    target: Target,
    stamper: Stamper,
    arena: Arena,
    in_flight: Option<Box<dyn Commit>>,
    /// How far the commit in flight reaches.
    reaches: Offsets,
}

impl DeriveTask {
    pub(crate) fn recover(
        context: &Context,
        catalog: &Catalog,
        collection: &Collection,
        connectors: &dyn Connectors,
        range: KeyRange,
        random: u64,
    ) -> Result<Self, Failure> {
        let derivation = collection
            .derivation
            .as_ref()
            .ok_or_else(|| Failure::never(format!("{} is not derived", collection.name)))?;
        let task = format!("derivation/{}", collection.name);
        let opened = context.log.open(&task, range)?;
        let is_new = opened.position.is_empty();
        let position = Position::decode(range, &opened.position)?;
        let kept = |keys: &[&[u8]]| {
            let found = context.log.registers(&task, keys);
            found.map_err(|e| LambdaError { message: e.to_string(), source_index: None })
        };
        let lambdas = connectors.open_lambdas(catalog, collection, &kept)?;
        let reads = Deriver::reads(derivation);
        let reaches = position.least();
        context.progress.recovered(&reads, &reaches);
        Ok(Self {
            context: context.clone(),
            task,
            epoch: opened.epoch,
            reader: Reader::new(Arc::clone(&context.log), reads, range, position, Arc::clone(&context.started))
                .holding(context.read_bytes),
            deriver: Deriver::new(catalog, collection, derivation, lambdas, context.memory_bytes, is_new)?,
            block_bytes: BLOCK_BYTES,
            reaches,
            target: Target::new(context, catalog, &collection.name)?,
            stamper: Stamper::new(random ^ opened.epoch),
            arena: Arena::new(),
            in_flight: None,
        })
    }
}

/// The registers of one derivation, in the log.
struct TaskRegisters<'l> {
    log: &'l dyn Log,
    task: &'l str,
}

impl RegisterStore for TaskRegisters<'_> {
    fn get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>, LogError> {
        self.log.registers(self.task, keys)
    }
}

impl Task for DeriveTask {
    const GROWS: bool = true;

    fn extend(&mut self, now_us: u64) -> Result<Extended, Failure> {
        let block = self.reader.next(now_us, self.block_bytes)?;
        self.arena.reset();
        let mut sources = Vec::with_capacity(block.len());
        for Document { read, text, is_fresh } in block.documents() {
            let document = doc::parse(&self.arena, text)
                .map_err(|e| Failure::never(format!("a stored document cannot be read: {e}")))?;
            self.deriver.validate(read, document, is_fresh)?;
            sources.push((read, document));
        }
        let store = TaskRegisters { log: &*self.context.log, task: &self.task };
        if !sources.is_empty() {
            let (arena, target) = (&self.arena, &mut self.target);
            self.deriver.extend(arena, &store, &sources, &mut |document| target.combine(arena, document))?;
        }
        let registers_full = self.deriver.registers().is_some_and(Registers::is_full);
        match self.deriver.registers().map_or(0, Registers::touched_bytes) {
            touched if touched > TOUCHED_BYTES => self.block_bytes /= 2,
            touched if touched < TOUCHED_BYTES / 4 => self.block_bytes = (self.block_bytes * 2).clamp(1, BLOCK_BYTES),
            _ => {}
        }
        self.context.counters.waits(self.reader.lag_bytes(), self.reader.waiting_since_us());
        self.context.counters.ready_bytes.store(self.reader.ready_bytes(), Ordering::Relaxed);
        Ok(Extended {
            documents: block.len() as u64,
            bytes: block.bytes as u64,
            full: registers_full || self.target.bytes() as u64 > self.context.limits.bytes_max,
            progress: block.passed_bytes > 0,
            more: block.more,
            again_us: block.ready_at_us,
            ..Extended::default()
        })
    }

    fn close(&mut self, now_us: u64) -> Result<(), Failure> {
        self.arena.reset();
        let (arena, target) = (&self.arena, &mut self.target);
        let position = self.reader.position();
        self.reaches = position.least();
        let mut delta = Delta {
            task: self.task.clone(),
            epoch: self.epoch,
            time_us: now_us,
            registers: self.deriver.finish(arena, &mut |document| target.combine(arena, document))?,
            position: position.encode(),
            ..Delta::default()
        };
        let collection = target.collection.clone();
        let mut refuse =
            |_: &mut Stamper, _: &[u8], why: Unpublishable| Err(Failure::never(format!("{collection}: {why}")));
        let published = target.publish(&mut self.stamper, now_us, &mut delta.appends, &mut refuse)?;
        self.context.counters.went_out(published, appended(&delta));
        durable_point("derive.before_commit");
        self.in_flight = Some(self.context.log.commit(delta));
        Ok(())
    }

    fn committed(&mut self) -> Result<bool, Failure> {
        let is_done = finish(&mut self.in_flight)?;
        if is_done {
            self.context.progress.committed(self.reaches.clone());
        }
        Ok(is_done)
    }
}
