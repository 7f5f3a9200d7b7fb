//! Transactions into tables: load what is stored, reduce, store; rows and checkpoint in the table's own transaction.
//!
//! A transaction is taken in chunks, in the order of the keys, so that memory holds one chunk of it however large it is.

use std::sync::Arc;

use catalog::{Binding, Collection, Materialization};
use doc::{Arena, Combiner, Node, Pointer, Schema};
use journal::KeyRange;
use journal::failpoint::defect;

use super::{Finisher, Taken, Transaction};
use crate::connector::{Row, Table};
use crate::position::{self, Position};
use crate::seen::Seen;
use crate::shard::{Context, Failure};
use crate::status::Counters;

/// Rows that are loaded, reduced and stored at once …
const ROWS_MAX: usize = 1_000;
/// … and how long the documents of a transaction that become them may be, together; one may be longer.
const CHUNK_BYTES_MAX: usize = 4 << 20;
/// Where the stored documents of a chunk were longer than this, together, the next one has fewer rows.
const STORED_BYTES_MAX: usize = 8 << 20;
/// The part of the task's memory that says which rows there are.
const STORED_PARTS: usize = 16;

/// A binding: where its fields are in its documents, and the chunk of them that is being stored.
struct Bound {
    schema: Arc<Schema>,
    keys: Vec<Pointer>,
    values: Vec<Pointer>,
    delta_updates: bool,
    /// The keys of all rows there are; `None` where there may be others.
    stored: Option<Seen>,
    chunk: Combiner,
    /// How many keys the next chunk may have.
    keys_max: usize,
}

impl Bound {
    /// `seen_bytes`: what a binding whose table has no rows yet may remember of them.
    fn new(binding: &Binding, collection: &Collection, seen_bytes: Option<usize>) -> Self {
        let pointers = |names: &[String]| {
            names.iter().filter_map(|name| collection.projection(name)).map(|p| p.pointer.clone()).collect()
        };
        Self {
            schema: Arc::clone(&collection.read_schema),
            keys: pointers(&binding.fields.keys),
            values: pointers(&binding.fields.values),
            delta_updates: binding.delta_updates,
            stored: seen_bytes.filter(|_| !binding.delta_updates).map(Seen::new),
            chunk: Combiner::new(Arc::clone(&collection.read_schema), Arc::clone(&collection.key)),
            keys_max: ROWS_MAX,
        }
    }
}

/// Sees transactions through at a table.
pub(super) struct TableFinisher {
    table: Box<dyn Table>,
    bindings: Vec<Bound>,
    counters: Arc<Counters>,
    /// Of the documents of a chunk.
    arena: Arena,
}

/// A document that becomes a row.
#[derive(Clone, Copy)]
struct Document<'a> {
    text: &'a [u8],
    node: Node<'a>,
    /// Whether it deletes the row, for its reduction did.
    is_deleted: bool,
}

impl Finisher for TableFinisher {
    fn recover(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn finish(&mut self, transaction: &mut Transaction) -> Result<Taken, Failure> {
        let mut taken = Taken::default();
        let position = position::to_checkpoint(&transaction.position.encode());
        if defect("checkpoint-before-data") {
            self.table.commit(&position)?;
        }
        for (binding, combiner) in transaction.combiners.iter_mut().enumerate() {
            if combiner.is_empty() {
                continue;
            }
            let combining = |e| Failure::combining("documents cannot be reduced", e);
            let mut drain = combiner.drain().map_err(combining)?;
            loop {
                let Bound { chunk, keys_max, .. } = &mut self.bindings[binding];
                if !drain.next(chunk, *keys_max, CHUNK_BYTES_MAX).map_err(combining)? {
                    break;
                }
                self.finish_chunk(binding, &mut taken)?;
            }
        }
        if let Some(former) = self.table.checkpoint().filter(|_| defect("checkpoint-after-data")).map(str::to_owned) {
            self.table.commit(&former)?;
        }
        self.table.commit(&position)?;
        self.tell();
        Ok(taken)
    }
}

impl TableFinisher {
    /// A finisher, and the position that the table's last commit explains.
    pub(super) fn open(
        context: &Context,
        table: Box<dyn Table>,
        materialization: &Materialization,
        collections: &[&Collection],
        range: KeyRange,
    ) -> Result<(Position, Self), Failure> {
        let stored = table.checkpoint().map(position::from_checkpoint).transpose().map_err(Failure::never)?;
        let bindings = materialization.bindings.iter().zip(collections);
        let seen_bytes = stored.is_none().then(|| context.memory_bytes / STORED_PARTS / bindings.len().max(1));
        let position = Position::decode(range, &stored.unwrap_or_default())?;
        let bindings = bindings.map(|(b, c)| Bound::new(b, c, seen_bytes)).collect();
        let counters = Arc::clone(&context.counters);
        let mut finisher = Self { table, bindings, counters, arena: Arena::new() };
        finisher.tell();
        Ok((position, finisher))
    }

    /// Passes on what the table has to tell.
    fn tell(&mut self) {
        let report = self.table.report();
        self.counters.set_aside(report.set_aside);
        report.notes.into_iter().for_each(|note| self.counters.note(note));
    }

    /// Reduces the documents of a chunk into those that are stored, and stores the rows.
    fn finish_chunk(&mut self, binding: usize, taken: &mut Taken) -> Result<(), Failure> {
        let Self { table, bindings, arena, .. } = self;
        let Bound { schema, keys, values, delta_updates, stored: there, chunk, keys_max } = &mut bindings[binding];
        arena.reset();
        let (arena, keys, values): (&Arena, &[Pointer], &[Pointer]) = (arena, keys, values);
        let mut documents: Vec<Document<'_>> = Vec::with_capacity(chunk.len());
        let mut ends = Vec::with_capacity(chunk.len());
        // Of which keys there may be a row.
        let mut sought = Vec::with_capacity(chunk.len());
        for drained in chunk.drain_by_key() {
            if there.as_ref().is_none_or(|there| there.may_contain(drained.key)) {
                sought.push(ends.len());
            }
            if let Some(there) = there.as_mut() {
                there.insert(drained.key);
            }
            for text in drained.documents() {
                documents.push(Document { text, node: parse(arena, text)?, is_deleted: false });
            }
            ends.push(documents.len());
        }
        if !*delta_updates {
            let begins: Vec<usize> = std::iter::once(0).chain(ends.iter().copied()).take(ends.len()).collect();
            let looked_up: Vec<&[Node<'_>]> =
                sought.iter().map(|nth| fields(arena, documents[begins[*nth]].node, keys)).collect();
            let mut stored: Vec<Option<Node<'_>>> = vec![None; begins.len()];
            let (mut stored_bytes, mut read) = (0, Ok(()));
            table.load(binding, &looked_up, &mut |n, text| {
                stored_bytes += text.len();
                match parse(arena, arena.alloc_slice_copy(text)) {
                    Ok(node) => stored[sought[n]] = Some(node),
                    Err(failure) => read = Err(failure),
                }
            })?;
            read?;
            taken.updated += stored.iter().flatten().count() as u64;
            *keys_max = match stored_bytes {
                bytes if bytes > STORED_BYTES_MAX => (*keys_max / 2).max(1),
                bytes if bytes < STORED_BYTES_MAX / 4 => (*keys_max * 2).min(ROWS_MAX),
                _ => *keys_max,
            };
            let of_key = begins.iter().zip(&ends).map(|(begin, end)| &documents[*begin..*end]).zip(stored);
            let reduced = of_key.map(|(documents, stored)| reduce(schema, arena, stored, documents));
            documents = reduced.collect::<Result<_, _>>()?;
        }
        // More than the keys of a chunk only where documents of a key are kept apart.
        for documents in documents.chunks(ROWS_MAX) {
            let rows = documents.iter().map(|document| Row {
                key: fields(arena, document.node, keys),
                values: fields(arena, document.node, values),
                document: std::str::from_utf8(document.text).expect("documents are written as UTF-8"),
                delete: document.is_deleted,
            });
            let rows: Vec<Row<'_>> = rows.collect();
            table.store(binding, &rows)?;
        }
        taken.documents += documents.len() as u64;
        taken.bytes += documents.iter().map(|document| document.text.len() as u64).sum::<u64>();
        Ok(())
    }
}

/// Reduces the documents of a key into the one that is stored, or, where none is, as all there is.
fn reduce<'a>(
    schema: &Schema,
    arena: &'a Arena,
    stored: Option<Node<'a>>,
    documents: &[Document<'a>],
) -> Result<Document<'a>, Failure> {
    let last = documents[documents.len() - 1];
    if stored.is_none() && documents.len() == 1 && !schema.prunes() {
        return Ok(last);
    }
    let nodes: Vec<Node<'a>> = documents.iter().map(|document| document.node).collect();
    let reduced = schema.reduce_all(arena, stored, &nodes).map_err(|e| {
        let what = if stored.is_some() { "a stored row" } else { "documents of a new row" };
        Failure::combining(&format!("{what} cannot be reduced"), e)
    })?;
    let Some(node) = reduced else { return Ok(Document { is_deleted: true, ..last }) };
    let mut text = Vec::with_capacity(last.text.len());
    doc::write(node, &mut text);
    Ok(Document { text: arena.alloc_slice_copy(&text), node, is_deleted: false })
}

fn parse<'a>(arena: &'a Arena, text: &'a [u8]) -> Result<Node<'a>, Failure> {
    doc::parse(arena, text).map_err(|e| Failure::never(format!("a stored document cannot be read: {e}")))
}

fn fields<'a>(arena: &'a Arena, document: Node<'a>, pointers: &'a [Pointer]) -> &'a [Node<'a>] {
    arena.alloc_slice_fill_iter(pointers.iter().map(|pointer| pointer.value_in(arena, document)))
}
