//! Transactions into tables: load what is stored, reduce, store; rows and checkpoint in the table's own transaction.
//!
//! A transaction is taken in chunks, in the order of the keys, so that memory holds one chunk of it however large it is.

use std::sync::Arc;

use catalog::{Binding, Collection, Materialization};
use doc::{Arena, Combiner, Node, Pointer};
use journal::KeyRange;
use journal::failpoint::defect;

use super::{Finisher, Transaction};
use crate::connector::{Row, Table};
use crate::position::{self, Position};
use crate::shard::{Context, Failure};
use crate::status::Counters;

/// Rows that are loaded, reduced and stored at once …
const ROWS_MAX: usize = 1_000;
/// … and how long the documents of a transaction that become them may be, together; one may be longer.
const CHUNK_BYTES_MAX: usize = 4 << 20;

/// A binding: where its fields are in its documents, and the chunk of them that is being stored.
struct Bound {
    keys: Vec<Pointer>,
    values: Vec<Pointer>,
    delta_updates: bool,
    chunk: Combiner,
}

impl Bound {
    fn new(binding: &Binding, collection: &Collection) -> Self {
        let pointers = |names: &[String]| {
            names.iter().filter_map(|name| collection.projection(name)).map(|p| p.pointer.clone()).collect()
        };
        Self {
            keys: pointers(&binding.fields.keys),
            values: pointers(&binding.fields.values),
            delta_updates: binding.delta_updates,
            chunk: Combiner::new(Arc::clone(&collection.read_schema), Arc::clone(&collection.key)),
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
    /// Of one stored document.
    stored: Arena,
}

impl Finisher for TableFinisher {
    fn recover(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn finish(&mut self, transaction: &mut Transaction) -> Result<u64, Failure> {
        let mut stored = 0;
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
            while drain.next(&mut self.bindings[binding].chunk, ROWS_MAX, CHUNK_BYTES_MAX).map_err(combining)? {
                if !self.bindings[binding].delta_updates {
                    self.load(binding)?;
                }
                stored += self.store(binding)?;
            }
        }
        if let Some(former) = self.table.checkpoint().filter(|_| defect("checkpoint-after-data")).map(str::to_owned) {
            self.table.commit(&former)?;
        }
        self.table.commit(&position)?;
        self.tell();
        Ok(stored)
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
        let position = Position::decode(range, &stored.unwrap_or_default())?;
        let bindings = materialization.bindings.iter().zip(collections).map(|(b, c)| Bound::new(b, c)).collect();
        let counters = Arc::clone(&context.counters);
        let mut finisher = Self { table, bindings, counters, arena: Arena::new(), stored: Arena::new() };
        finisher.tell();
        Ok((position, finisher))
    }

    /// Passes on what the table has to tell.
    fn tell(&mut self) {
        let report = self.table.report();
        self.counters.set_aside(report.set_aside);
        report.notes.into_iter().for_each(|note| self.counters.note(note));
    }

    /// Reduces the documents of a chunk into those that are stored.
    fn load(&mut self, binding: usize) -> Result<(), Failure> {
        let Bound { keys: pointers, chunk, .. } = &mut self.bindings[binding];
        self.arena.reset();
        let mut keys: Vec<&[Node<'_>]> = Vec::with_capacity(chunk.len());
        for (_, document) in chunk.documents() {
            // The text moves as the chunk reduces, so keys have a copy of their own.
            let document = self.arena.alloc_slice_copy(document);
            keys.push(fields(&self.arena, parse(&self.arena, document)?, pointers));
        }
        let (stored, mut reduced) = (&mut self.stored, Ok(()));
        self.table.load(binding, &keys, &mut |text| {
            if reduced.is_ok() {
                stored.reset();
                reduced = parse(stored, text).and_then(|document| {
                    let reduced = chunk.reduce_left(stored, document);
                    reduced.map_err(|e| Failure::combining("a stored row cannot be reduced", e))
                });
            }
        })?;
        reduced?;
        stored.reset();
        chunk.reduce_rest(stored).map_err(|e| Failure::combining("documents of a new row cannot be reduced", e))
    }

    /// Stores the rows of a chunk; how many.
    fn store(&mut self, binding: usize) -> Result<u64, Failure> {
        let Bound { keys, values, chunk, .. } = &mut self.bindings[binding];
        let mut drained = chunk.drain_by_key();
        let mut stored = 0;
        loop {
            self.arena.reset();
            // More than the keys of a chunk only where documents of a key are kept apart.
            let mut rows = Vec::with_capacity(ROWS_MAX);
            for document in drained.by_ref().take(ROWS_MAX) {
                let text = std::str::from_utf8(document.document).expect("documents are written as UTF-8");
                let node = parse(&self.arena, document.document)?;
                rows.push(Row {
                    key: fields(&self.arena, node, keys),
                    values: fields(&self.arena, node, values),
                    document: text,
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

fn fields<'a>(arena: &'a Arena, document: Node<'a>, pointers: &'a [Pointer]) -> &'a [Node<'a>] {
    arena.alloc_slice_fill_iter(pointers.iter().map(|pointer| pointer.value(document)))
}
