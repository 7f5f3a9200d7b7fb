//! Transactions into tables: load what is stored, reduce, store; rows and checkpoint in the table's own transaction.
//!
//! A transaction is taken in chunks, in the order of the keys, so that memory holds three chunks of it however large it is: while
//! the rows of one are stored, the documents of the next are reduced and those of the one behind it are read. What is stored has
//! other keys than what is loaded meanwhile.
//!
//! ```text
//! table                load 1                    load 2  store 1           load 3  store 2           …
//! documents    read 1          reduce 1, read 2          reduce 2, read 3          reduce 3, read 4  …
//! ```

use std::sync::Arc;
use std::thread;

use catalog::{Binding, Collection, Materialization, Projection};
use doc::{Arena, Documents, Node, Pointer, Schema, SpillDrain, Types};
use journal::KeyRange;
use journal::failpoint::defect;

use super::{Finisher, Taken, Transaction};
use crate::connector::{Retry, Row, Table};
use crate::position::{self, Position};
use crate::seen::Seen;
use crate::shard::{Context, Failure};
use crate::status::Counters;

/// Rows that are loaded, reduced and stored at once …
const ROWS_MAX: usize = 4_000;
/// … and how long the documents of a transaction that become them may be, together; one may be longer.
const CHUNK_BYTES_MAX: usize = 2 << 20;
/// Where the stored documents of a chunk were longer than this, together, the next one has fewer rows.
const STORED_BYTES_MAX: usize = 2 << 20;
/// The part of the task's memory that says which rows there are.
const STORED_PARTS: usize = 16;

/// What a binding's documents become.
struct Bound {
    schema: Arc<Schema>,
    keys: Vec<Pointer>,
    values: Vec<Pointer>,
    /// The values that are whole properties of a document and may be long, by the property's name.
    properties: Vec<(usize, String)>,
    delta_updates: bool,
}

/// How far a binding's table is known, and how much of it is loaded at once.
struct Known {
    /// The keys of all rows there are; `None` where there may be others.
    stored: Option<Seen>,
    /// How many keys the next chunk may have.
    keys_max: usize,
}

/// Sees transactions through at a table.
pub(super) struct TableFinisher {
    table: Box<dyn Table>,
    bindings: Vec<(Bound, Known)>,
    counters: Arc<Counters>,
    /// Of the documents of the chunks on their way.
    arenas: [Arena; 3],
}

/// A document that becomes a row.
#[derive(Clone, Copy)]
struct Document<'a> {
    text: &'a [u8],
    node: Node<'a>,
    /// The text of its values, where it is known.
    texts: &'a [Option<&'a str>],
    /// Whether it deletes the row, for its reduction did.
    is_deleted: bool,
}

/// The documents of some keys.
struct Chunk<'a> {
    arena: &'a Arena,
    documents: Vec<Document<'a>>,
    /// Where those of each key end.
    ends: Vec<usize>,
    /// Which keys there may be a row of.
    sought: Vec<usize>,
}

/// The way of one binding's documents into its table.
struct Pass<'p> {
    table: &'p mut dyn Table,
    binding: usize,
    side: Side<'p>,
}

/// The side of it that does not touch the table.
struct Side<'p> {
    bound: &'p Bound,
    known: &'p mut Known,
    drain: SpillDrain<'p>,
    taken: &'p mut Taken,
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
            let drain = combiner.drain().map_err(reducing)?;
            let (bound, known) = &mut self.bindings[binding];
            let side = Side { bound, known, drain, taken: &mut taken };
            Pass { table: &mut *self.table, binding, side }.run(&mut self.arenas)?;
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
        let bindings = bindings.map(|(b, c)| (Bound::new(b, c), Known::new(b, seen_bytes))).collect();
        let counters = Arc::clone(&context.counters);
        let mut finisher = Self { table, bindings, counters, arenas: Default::default() };
        finisher.tell();
        Ok((position, finisher))
    }

    /// Passes on what the table has to tell.
    fn tell(&mut self) {
        let report = self.table.report();
        self.counters.set_aside(report.set_aside);
        report.notes.into_iter().for_each(|note| self.counters.note(note));
    }
}

impl Bound {
    fn new(binding: &Binding, collection: &Collection) -> Self {
        let projections = |names: &[String]| names.iter().filter_map(|name| collection.projection(name)).collect();
        let pointers = |projections: &[&Projection]| projections.iter().map(|p| p.pointer.clone()).collect();
        let (keys, values): (Vec<_>, Vec<_>) = (projections(&binding.fields.keys), projections(&binding.fields.values));
        let is_long = |p: &Projection| p.types.without(Types::ARRAY.union(Types::OBJECT)) != p.types;
        let properties = values.iter().enumerate().filter(|(_, p)| is_long(p)).filter_map(|(nth, p)| {
            let mut tokens = p.pointer.tokens();
            tokens.next().filter(|_| tokens.next().is_none()).map(|name| (nth, name.to_owned()))
        });
        Self {
            schema: Arc::clone(&collection.read_schema),
            properties: properties.collect(),
            keys: pointers(&keys),
            values: pointers(&values),
            delta_updates: binding.delta_updates,
        }
    }
}

impl Known {
    /// `seen_bytes`: what a binding whose table has no rows yet may remember of them.
    fn new(binding: &Binding, seen_bytes: Option<usize>) -> Self {
        Self { stored: seen_bytes.filter(|_| !binding.delta_updates).map(Seen::new), keys_max: ROWS_MAX }
    }
}

impl<'p> Pass<'p> {
    fn run(mut self, [a, b, c]: &mut [Arena; 3]) -> Result<(), Failure> {
        let Some(mut chunk) = self.side.read(a)? else { return Ok(()) };
        let mut rows = Vec::new();
        // Three steps in turn, so that each arena is free again when its turn comes.
        loop {
            let (first, Some(next)) = self.step(rows, chunk, b)? else { return Ok(()) };
            let (second, Some(next)) = self.step(first, next, c)? else { return Ok(()) };
            let (third, Some(next)) = self.step(second, next, a)? else { return Ok(()) };
            (rows, chunk) = (third, next);
        }
    }

    /// Stores the rows before a chunk, meanwhile makes those of the chunk, which wait for the next step, and reads the next chunk.
    /// Behind the last one nothing waits.
    fn step<'c, 'n>(
        &mut self,
        before: Vec<Row<'_>>,
        chunk: Chunk<'c>,
        next: &'n mut Arena,
    ) -> Result<(Vec<Row<'c>>, Option<Chunk<'n>>), Failure>
    where
        'p: 'c,
    {
        let stored = self.load(&chunk)?;
        let Self { table, binding, side } = self;
        let go_on = || Ok::<_, Failure>((side.reduce(chunk, stored)?, side.read(next)?));
        let (rows, next) = if before.is_empty() {
            go_on()?
        } else {
            thread::scope(|scope| {
                let storing = thread::Builder::new().name("store".into());
                let storing = storing.spawn_scoped(scope, || store(*table, *binding, &before));
                let storing =
                    storing.map_err(|e| Failure { why: format!("cannot start a thread: {e}"), retry: Retry::Later })?;
                let gone_on = go_on();
                storing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                gone_on
            })?
        };
        if next.is_none() {
            store(*table, *binding, &rows)?;
        }
        Ok((rows, next))
    }

    /// The stored documents of a chunk's keys.
    fn load<'c>(&mut self, chunk: &Chunk<'c>) -> Result<Vec<Option<&'c [u8]>>, Failure>
    where
        'p: 'c,
    {
        let Side { bound, known, .. } = &mut self.side;
        let mut stored: Vec<Option<&[u8]>> = vec![None; chunk.ends.len()];
        if bound.delta_updates {
            return Ok(stored);
        }
        let first = |nth: usize| if nth == 0 { 0 } else { chunk.ends[nth - 1] };
        let keys = chunk.sought.iter().map(|nth| fields(chunk.arena, chunk.documents[first(*nth)].node, &bound.keys));
        let keys: Vec<&[Node<'_>]> = keys.collect();
        let mut bytes = 0;
        self.table.load(self.binding, &keys, &mut |n, text| {
            bytes += text.len();
            stored[chunk.sought[n]] = Some(chunk.arena.alloc_slice_copy(text));
        })?;
        known.keys_max = match bytes {
            bytes if bytes > STORED_BYTES_MAX => (known.keys_max / 2).max(1),
            bytes if bytes < STORED_BYTES_MAX / 4 => (known.keys_max * 2).min(ROWS_MAX),
            _ => known.keys_max,
        };
        Ok(stored)
    }
}

impl<'p> Side<'p> {
    /// Reads the next chunk; `None` behind the last one.
    fn read<'n>(&mut self, arena: &'n mut Arena) -> Result<Option<Chunk<'n>>, Failure> {
        arena.reset();
        let arena: &Arena = arena;
        let Known { stored, keys_max } = &mut *self.known;
        // What is reduced into a row can be so in one go.
        let are = if self.bound.delta_updates { Documents::Reduced } else { Documents::AsTheyAre };
        let (mut documents, mut ends, mut sought) = (Vec::new(), Vec::new(), Vec::new());
        let mut bytes = 0;
        while ends.len() < *keys_max
            && bytes < CHUNK_BYTES_MAX
            && let Some(drained) = self.drain.next(are).map_err(reducing)?
        {
            if stored.as_ref().is_none_or(|stored| stored.may_contain(drained.key)) {
                sought.push(ends.len());
            }
            if let Some(stored) = stored {
                stored.insert(drained.key);
            }
            for text in drained.documents() {
                bytes += text.len();
                let text = arena.alloc_slice_copy(text);
                documents.push(Document { text, node: parse(arena, text)?, texts: &[], is_deleted: false });
            }
            ends.push(documents.len());
        }
        if ends.is_empty() {
            return Ok(None);
        }
        Ok(Some(Chunk { arena, documents, ends, sought }))
    }

    /// Reduces the documents of a chunk into those that are stored, into rows.
    fn reduce<'c>(&mut self, chunk: Chunk<'c>, stored: Vec<Option<&'c [u8]>>) -> Result<Vec<Row<'c>>, Failure>
    where
        'p: 'c,
    {
        let Chunk { arena, mut documents, ends, .. } = chunk;
        let Bound { keys, values, delta_updates, .. } = self.bound;
        if !delta_updates {
            let mut begin = 0;
            let reduced = ends.iter().zip(stored).map(|(end, stored)| {
                let stored = stored.map(|text| parse(arena, text)).transpose()?;
                let reduced = reduce(self.bound, arena, stored, &documents[begin..*end])?;
                begin = *end;
                self.taken.updated_bytes += stored.map_or(0, |_| reduced.text.len() as u64);
                Ok(reduced)
            });
            documents = reduced.collect::<Result<_, Failure>>()?;
        }
        self.taken.documents += documents.len() as u64;
        self.taken.bytes += documents.iter().map(|document| document.text.len() as u64).sum::<u64>();
        let row = |document: &Document<'c>| Row {
            key: fields(arena, document.node, keys),
            values: fields(arena, document.node, values),
            texts: document.texts,
            document: std::str::from_utf8(document.text).expect("documents are written as UTF-8"),
            delete: document.is_deleted,
        };
        Ok(documents.iter().map(row).collect())
    }
}

/// Stores rows; more of them than the keys of a chunk only where documents of a key are kept apart.
fn store(table: &mut dyn Table, binding: usize, rows: &[Row<'_>]) -> Result<(), Failure> {
    rows.chunks(ROWS_MAX).try_for_each(|rows| Ok(table.store(binding, rows)?))
}

fn reducing(error: doc::CombineError) -> Failure {
    Failure::combining("documents cannot be reduced", error)
}

/// Reduces the documents of a key into the one that is stored, or, where none is, as all there is.
fn reduce<'a>(
    bound: &Bound,
    arena: &'a Arena,
    stored: Option<Node<'a>>,
    documents: &[Document<'a>],
) -> Result<Document<'a>, Failure> {
    let last = documents[documents.len() - 1];
    let Bound { schema, values, properties, .. } = bound;
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
    let mut places = Vec::with_capacity(properties.len());
    doc::write_fields(node, &mut text, |name, place| {
        places.extend(properties.iter().filter(|(_, property)| property == name).map(|(nth, _)| (*nth, place.clone())));
    });
    let text: &'a [u8] = arena.alloc_slice_copy(&text);
    let texts = arena.alloc_slice_fill_copy(if places.is_empty() { 0 } else { values.len() }, None);
    for (nth, place) in places {
        texts[nth] = std::str::from_utf8(&text[place]).ok();
    }
    Ok(Document { text, node, texts, is_deleted: false })
}

fn parse<'a>(arena: &'a Arena, text: &'a [u8]) -> Result<Node<'a>, Failure> {
    doc::parse(arena, text).map_err(|e| Failure::never(format!("a stored document cannot be read: {e}")))
}

fn fields<'a>(arena: &'a Arena, document: Node<'a>, pointers: &'a [Pointer]) -> &'a [Node<'a>] {
    arena.alloc_slice_fill_iter(pointers.iter().map(|pointer| pointer.value_in(arena, document)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use doc::{Combiner, SpillingCombiner};

    use super::*;
    use crate::connector::{ConnectorError, Fault};

    /// Rows by key, as JSON.
    type Sheet = BTreeMap<String, String>;

    /// What is committed and what is open, and how often was stored. It fails when it is stored to the n-th time.
    #[derive(Clone, Default)]
    struct Fake(Arc<Mutex<(Sheet, Sheet, usize)>>, Option<usize>);

    impl Table for Fake {
        fn checkpoint(&self) -> Option<&str> {
            None
        }
        fn load(
            &mut self,
            _: usize,
            keys: &[&[Node<'_>]],
            found: &mut dyn FnMut(usize, &[u8]),
        ) -> Result<(), ConnectorError> {
            let (committed, open, _) = &*self.0.lock().unwrap();
            for (n, key) in keys.iter().enumerate() {
                let key = key[0].to_json();
                assert!(!open.contains_key(&key), "{key} is loaded after it was stored");
                committed.get(&key).into_iter().for_each(|document| found(n, document.as_bytes()));
            }
            Ok(())
        }
        fn store(&mut self, _: usize, rows: &[Row<'_>]) -> Result<(), ConnectorError> {
            let (_, open, stores) = &mut *self.0.lock().unwrap();
            *stores += 1;
            if Some(*stores) == self.1 {
                let message = "the disk is full".to_owned();
                return Err(ConnectorError { message, fault: Fault::Endpoint, retry: Retry::Never });
            }
            assert!(rows.len() <= ROWS_MAX);
            for row in rows {
                assert!(row.texts.is_empty() || row.texts == [Some(&*row.values[0].to_json())]);
                assert_eq!(
                    row.values[0].to_json(),
                    row.document.split_once("\"sum\":").unwrap().1.trim_end_matches('}')
                );
                open.insert(row.key[0].to_json(), row.document.to_owned());
            }
            Ok(())
        }
        fn commit(&mut self, _: &str) -> Result<(), ConnectorError> {
            let (committed, open, _) = &mut *self.0.lock().unwrap();
            committed.append(open);
            Ok(())
        }
    }

    /// A transaction of one document for each of these keys, which adds one to its sum, to a table of such sums.
    fn add(fake: &Fake, keys: impl Iterator<Item = u64>) -> Result<Taken, Failure> {
        let schema = Arc::new(serde_json::json!({
            "type": "object",
            "reduce": {"strategy": "merge"},
            "properties": {"key": {"type": "integer"}, "sum": {"type": "integer", "reduce": {"strategy": "sum"}}},
        }));
        let schema = Schema::compile(&"test:/schema".parse().unwrap(), &|_| Some(Arc::clone(&schema))).unwrap();
        let schema = Arc::new(schema);
        let combiner = || Combiner::new(Arc::clone(&schema), Arc::from(["/key".parse().unwrap()]));
        let bound = Bound {
            schema: Arc::clone(&schema),
            keys: vec!["/key".parse().unwrap()],
            values: vec!["/sum".parse().unwrap()],
            properties: vec![(0, "sum".to_owned())],
            delta_updates: false,
        };
        let known = Known { stored: None, keys_max: ROWS_MAX };
        let mut finisher = TableFinisher {
            table: Box::new(fake.clone()),
            bindings: vec![(bound, known)],
            counters: Arc::default(),
            arenas: Default::default(),
        };
        let mut documents = SpillingCombiner::new(combiner(), Arc::new(|| Err(std::io::ErrorKind::Unsupported.into())));
        let arena = Arena::new();
        for key in keys {
            let text = arena.alloc_str(&format!(r#"{{"key":{key},"sum":1}}"#));
            documents.combine_right(&arena, doc::parse(&arena, text.as_bytes()).unwrap()).unwrap();
        }
        let position = Position::begin(KeyRange::ALL);
        finisher.finish(&mut Transaction { combiners: vec![documents], position, now_us: 0 })
    }

    #[test]
    fn chunks_of_a_transaction_are_stored_once_each_whatever_there_was() {
        // As many chunks as there are arenas, fewer and more; whole ones, and ones of a single key.
        for count in [1, 3_999, 4_000, 4_001, 8_000, 12_000, 12_001, 18_000, 28_000] {
            let fake = Fake::default();
            add(&fake, 0..count).unwrap();
            let taken = add(&fake, (0..2 * count).filter(|key| key % 3 == 0)).unwrap();
            let rows = &fake.0.lock().unwrap().0;
            let sum = |key: u64| u64::from(key < count) + u64::from(key.is_multiple_of(3));
            for key in (0..2 * count).filter(|key| sum(*key) > 0) {
                assert_eq!(rows[&key.to_string()], format!(r#"{{"key":{key},"sum":{}}}"#, sum(key)), "of {count}");
            }
            assert_eq!(rows.len() as u64, (0..2 * count).filter(|key| sum(*key) > 0).count() as u64);
            assert_eq!(taken.documents, (2 * count).div_ceil(3));
            assert!(taken.updated_bytes > 0 && (count == 1 || taken.updated_bytes < taken.bytes), "{taken:?}");
        }
    }

    #[test]
    fn a_chunk_that_cannot_be_stored_fails_its_transaction() {
        for nth in 1..=5 {
            let fake = Fake(Arc::default(), Some(nth));
            let failed = add(&fake, 0..18_000).unwrap_err();
            assert!(failed.why.contains("the disk is full"), "{}", failed.why);
            let (committed, _, stores) = &*fake.0.lock().unwrap();
            assert!(committed.is_empty() && *stores == nth, "{stores} of {nth}");
        }
    }
}
