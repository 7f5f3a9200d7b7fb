//! Transactions into tables: load what is stored, reduce, store rows and checkpoint in the table's own transaction.

use catalog::{Binding, Collection, Materialization};
use doc::{Arena, Combiner, Node, Pointer};
use journal::failpoint::defect;

use super::{Finisher, Transaction};
use crate::connector::{Row, Table};
use crate::derive::Position;
use crate::shard::Failure;

/// Rows handed to a table at once.
const ROWS_MAX: usize = 1_000;

/// Where a binding's fields are in its documents.
struct Columns {
    keys: Vec<Pointer>,
    values: Vec<Pointer>,
    delta_updates: bool,
}

impl Columns {
    fn of(binding: &Binding, collection: &Collection) -> Self {
        let pointers = |names: &[String]| {
            names.iter().filter_map(|name| collection.projection(name)).map(|p| p.pointer.clone()).collect()
        };
        Self {
            keys: pointers(&binding.fields.keys),
            values: pointers(&binding.fields.values),
            delta_updates: binding.delta_updates,
        }
    }
}

/// Sees transactions through at a table.
pub(super) struct TableFinisher {
    table: Box<dyn Table>,
    /// For each binding.
    columns: Vec<Columns>,
    arena: Arena,
}

impl Finisher for TableFinisher {
    fn recover(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn finish(&mut self, transaction: &mut Transaction) -> Result<u64, Failure> {
        let position = transaction.position.encode();
        if defect("checkpoint-before-data") {
            self.table.commit(&position)?;
        }
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
        if let Some(former) = self.table.checkpoint().filter(|_| defect("checkpoint-after-data")) {
            self.table.commit(&former)?;
        }
        self.table.commit(&position)?;
        Ok(stored)
    }
}

impl TableFinisher {
    /// A finisher, and the position that the table's last commit explains.
    pub(super) fn open(
        table: Box<dyn Table>,
        materialization: &Materialization,
        collections: &[&Collection],
    ) -> Result<(Position, Self), Failure> {
        let position = Position::decode(table.checkpoint().as_deref())?;
        let columns = materialization.bindings.iter().zip(collections).map(|(b, c)| Columns::of(b, c)).collect();
        Ok((position, Self { table, columns, arena: Arena::new() }))
    }

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
