//! The transactional store: typed reads, and batches that are durable when they return.

use std::fs;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use fjall::compaction::Leveled;
use fjall::config::{BlockSizePolicy, CompressionPolicy};
use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable, Slice,
};

use super::layout::{self, BlockKey, JournalRecord, Malformed, TaskRecord};
use super::torn;
use super::verify::Verified;
use crate::directory::{Directory, OpenError, rename_durably, sync_directory};
use crate::failpoint::{defect, durable_point};
use crate::fragment::{Codec, FragmentInfo, unpack_part};
use crate::keys::{KeyRange, Part, Piece};
use crate::log::{LogError, Register};

/// What the store may hold in its journals before it must move it into tables; recovery reads this much at most.
const JOURNALING_BYTES_MAX: u64 = 512 << 20;
/// Threads that write tables and merge them. Of several, one leaves merging to the others, and while they are at it turns its
/// queue round without end.
const WORKERS: usize = 1;

/// Tables that were written one after another are merged with the older ones once there are so many of them. Each merge writes
/// most of what there is again; each table more is one more filter that a register is looked for in.
const TABLES_MAX: u8 = 8;

/// How much memory each part of the store takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Memory {
    /// Blocks and registers that stay once read.
    cache: u64,
    /// The table of blocks. Most live for seconds, and where it is large they die before they are written a second time.
    blocks: u64,
    registers: u64,
    state: u64,
}

impl Memory {
    /// Sixteenths of the whole. A table that is full is written while the next one fills, so blocks are counted twice.
    fn of(bytes: usize) -> Memory {
        let sixteenth = (bytes / 16) as u64;
        Memory { cache: 5 * sixteenth, blocks: 3 * sixteenth, registers: 4 * sixteenth, state: sixteenth }
    }
}

/// The store of one data directory.
pub(crate) struct Store {
    /// `None` after it could not be opened again; then nothing can be read or written.
    tables: RwLock<Option<Tables>>,
    /// What errors call it.
    path: PathBuf,
    memory: Memory,
}

/// The store while it is open. Clones share it.
#[derive(Clone)]
struct Tables {
    database: Database,
    state: Keyspace,
    registers: Keyspace,
    blocks: Keyspace,
}

/// Keeps the store open.
struct Reading<'a>(RwLockReadGuard<'a, Option<Tables>>);

impl Deref for Reading<'_> {
    type Target = Tables;

    fn deref(&self) -> &Tables {
        self.0.as_ref().expect("looked at when it was taken")
    }
}

impl Tables {
    fn open(path: &Path, memory: Memory) -> fjall::Result<Tables> {
        let database = Database::builder(path)
            .journal_compression(CompressionType::None)
            .manual_journal_persist(true)
            .cache_size(memory.cache)
            .max_journaling_size(JOURNALING_BYTES_MAX)
            .worker_threads(WORKERS)
            .open()?;
        let state = database.keyspace("state", || options(memory.state))?;
        let registers = database.keyspace("registers", || options(memory.registers))?;
        let blocks = database.keyspace("blocks", || {
            options(memory.blocks)
                .data_block_compression_policy(CompressionPolicy::disabled())
                .data_block_size_policy(BlockSizePolicy::all(64 << 10))
        })?;
        Ok(Tables { database, state, registers, blocks })
    }
}

/// Everything one group of commits changes.
pub(crate) struct Batch {
    tables: Tables,
    batch: OwnedWriteBatch,
    key: Vec<u8>,
}

/// Why a batch is not known to be durable.
#[derive(Debug)]
pub(crate) struct Failed {
    /// What the store said.
    pub(crate) reason: String,
    /// The disk was full; opening the store again tells what is on it.
    pub(crate) is_full: bool,
    /// An earlier failure, of a thread behind the commits, that the store did not give a reason for.
    pub(crate) is_later: bool,
}

impl Store {
    /// Opens the store of a directory, creating it in a new one, after mending what a power cut may have torn. It takes about
    /// so many bytes of memory.
    pub(crate) fn open(directory: &mut Directory, memory_bytes: usize) -> Result<(Store, u64), OpenError> {
        let memory = Memory::of(memory_bytes);
        let path = directory.path().join("store");
        if !directory.is_complete {
            Store::create(directory.path(), &path, memory)?;
            directory.complete()?;
        }
        durable_point("boot.store_there");
        let torn = torn::mend(&path)?;
        durable_point("boot.mended");
        let tables = Tables::open(&path, memory).map_err(|error| OpenError::unusable(&path, error))?;
        durable_point("boot.store_open");
        Ok((Store { tables: RwLock::new(Some(tables)), path, memory }, torn))
    }

    /// Closes the store, which failed, and opens it again as a new process would. No batch of it may exist.
    pub(crate) fn reopen(&self) -> Result<(), OpenError> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        // Its lock must be free before it is opened again.
        *tables = None;
        torn::mend(&self.path)?;
        let opened = Tables::open(&self.path, self.memory);
        *tables = Some(opened.map_err(|error| OpenError::unusable(&self.path, error))?);
        Ok(())
    }

    /// Builds an empty store aside and moves it into place, so that a half-built one is never opened.
    fn create(directory: &Path, path: &Path, memory: Memory) -> Result<(), OpenError> {
        let new = directory.join("store.new");
        let unusable = |error: std::io::Error| OpenError::unusable(&new, error);
        if path.try_exists().map_err(unusable)? {
            // Only the format file is missing; the store was whole before it got its name.
            return Ok(());
        }
        if new.try_exists().map_err(unusable)? {
            // Half-built, and nothing was ever committed to it.
            fs::remove_dir_all(&new).map_err(unusable)?;
        }
        drop(Tables::open(&new, memory).map_err(|error| OpenError::unusable(&new, error))?);
        sync_directory(&new).map_err(unusable)?;
        durable_point("boot.store_made");
        rename_durably(&new, path).map_err(unusable)
    }

    pub(crate) fn batch(&self, operations: usize) -> Result<Batch, LogError> {
        let tables = self.tables()?.clone();
        let batch = OwnedWriteBatch::with_capacity(tables.database.clone(), operations);
        let mode = if defect("no-commit-sync") { PersistMode::Buffer } else { PersistMode::SyncData };
        Ok(Batch { batch: batch.durability(Some(mode)), tables, key: Vec::new() })
    }

    /// The store while it is open; it stays open for as long as this is held.
    fn tables(&self) -> Result<Reading<'_>, LogError> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        match &*tables {
            Some(_) => Ok(Reading(tables)),
            None => Err(LogError::Unreadable { reason: format!("{} is being opened again", self.path.display()) }),
        }
    }

    fn opening(&self) -> Result<Reading<'_>, OpenError> {
        self.tables().map_err(|error| OpenError::unusable(&self.path, error))
    }

    /// Journals and their records, by name.
    pub(crate) fn journals(&self) -> Result<Vec<(String, JournalRecord)>, OpenError> {
        self.records(layout::JOURNAL, JournalRecord::decode)
    }

    /// Tasks and their records, by name.
    pub(crate) fn tasks(&self) -> Result<Vec<(String, TaskRecord)>, OpenError> {
        self.records(layout::TASK, TaskRecord::decode)
    }

    fn records<R>(
        &self,
        tag: u8,
        decode: impl Fn(&[u8]) -> Result<R, Malformed>,
    ) -> Result<Vec<(String, R)>, OpenError> {
        self.opening()?
            .state
            .prefix([tag])
            .map(|entry| {
                let (key, value) = entry.into_inner().map_err(|error| self.unopenable(error))?;
                let name =
                    String::from_utf8(key[1..].to_vec()).map_err(|error| self.damaged_state(error.to_string()))?;
                Ok((name, decode(&value).map_err(|reason| self.damaged_state(reason))?))
            })
            .collect()
    }

    /// The keys of all blocks, in the order of journals and offsets.
    pub(crate) fn block_keys(&self) -> Result<impl Iterator<Item = Result<BlockKey, OpenError>>, OpenError> {
        Ok(self.opening()?.blocks.iter().map(|entry| {
            let key = entry.key().map_err(|error| self.unopenable(error))?;
            BlockKey::decode(&key).map_err(|reason| self.damaged_state(reason))
        }))
    }

    /// The documents of a block, checked; `None` once they have moved to a fragment.
    pub(crate) fn block(&self, journal: &str, key: &BlockKey) -> Result<Option<Bytes>, LogError> {
        let Some(stored) = self.stored(journal, key)? else { return Ok(None) };
        if key.codec == Codec::None {
            return Ok(Some(stored));
        }
        let documents = unpack_part(&stored, key.codec, u64::from(key.len));
        documents.map(|documents| Some(documents.into())).map_err(|reason| damaged_block(journal, key, reason))
    }

    /// A block as it is stored, packed or not, checked; `None` once its documents have moved to a fragment.
    pub(crate) fn stored(&self, journal: &str, key: &BlockKey) -> Result<Option<Bytes>, LogError> {
        let Some(value) = self.tables()?.blocks.get(key.encode()).map_err(|error| self.unreadable(error))? else {
            return Ok(None);
        };
        key.verify(&value).map_err(|reason| damaged_block(journal, key, reason))?;
        Ok(Some(Bytes::from_owner(value)))
    }

    /// The fragment that holds the byte at `offset`, or the last one before it.
    pub(crate) fn fragment(&self, journal: &str, id: u64, offset: u64) -> Result<Option<FragmentInfo>, LogError> {
        let range = layout::fragment_key(id, 0)..=layout::fragment_key(id, offset);
        self.tables()?.state.range(range).next_back().map(|entry| self.decode_fragment(journal, entry)).transpose()
    }

    /// The fragments of a journal, by offset.
    pub(crate) fn fragments(&self, journal: &str, id: u64) -> Result<Vec<FragmentInfo>, LogError> {
        let range = layout::fragment_key(id, 0)..=layout::fragment_key(id, u64::MAX);
        self.tables()?.state.range(range).map(|entry| self.decode_fragment(journal, entry)).collect()
    }

    /// The first fragments of a journal, so many at most.
    pub(crate) fn first_fragments(&self, journal: &str, id: u64, max: usize) -> Result<Vec<FragmentInfo>, LogError> {
        let range = layout::fragment_key(id, 0)..=layout::fragment_key(id, u64::MAX);
        self.tables()?.state.range(range).take(max).map(|entry| self.decode_fragment(journal, entry)).collect()
    }

    /// Fragments whose files are to be deleted, with the ids of their journals. `name` gives a journal's name.
    pub(crate) fn doomed(&self, name: impl Fn(u64) -> Option<String>) -> Result<Vec<(u64, FragmentInfo)>, LogError> {
        let damaged = |reason| LogError::Damaged { what: self.path.display().to_string(), reason };
        let read = |entry: fjall::Guard| {
            let (key, value) = entry.into_inner().map_err(|error| self.unreadable(error))?;
            let id = layout::fragment_journal(&key).map_err(damaged)?;
            let name = name(id).ok_or_else(|| damaged(format!("journal number {id} has fragments but no name")))?;
            Ok((id, layout::decode_fragment(&name, &key, &value).map_err(damaged)?))
        };
        self.tables()?.state.prefix([layout::DOOMED]).map(read).collect()
    }

    /// Where the next fragment of a journal ends, if it is planned.
    pub(crate) fn next_end(&self, journal: u64) -> Result<Option<u64>, OpenError> {
        let value = self.opening()?.state.get(layout::next_key(journal)).map_err(|error| self.unopenable(error))?;
        value.map(|value| layout::decode_next(&value).map_err(|reason| self.damaged_state(reason))).transpose()
    }

    fn decode_fragment(&self, journal: &str, entry: fjall::Guard) -> Result<FragmentInfo, LogError> {
        let (key, value) = entry.into_inner().map_err(|error| self.unreadable(error))?;
        layout::decode_fragment(journal, &key, &value)
            .map_err(|reason| LogError::Damaged { what: format!("the fragment index of {journal}"), reason })
    }

    /// The registers of a task, as of one instant.
    pub(crate) fn registers(&self, task: u64, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>, LogError> {
        let tables = self.tables()?;
        let snapshot = tables.database.snapshot();
        let mut full = Vec::new();
        keys.iter()
            .map(|key| {
                layout::register_key(task, key, &mut full);
                let value = snapshot.get(&tables.registers, &full).map_err(|error| self.unreadable(error))?;
                // A copy, because the store's own bytes would keep all of the table's block around them.
                Ok(value.map(|value| Bytes::copy_from_slice(&value)))
            })
            .collect()
    }

    /// The parts of a task, in the order of their keys.
    pub(crate) fn parts(&self, task: u64) -> Result<Vec<Part>, LogError> {
        self.tables()?
            .state
            .prefix(layout::part_prefix(task))
            .map(|entry| {
                let (key, value) = entry.into_inner().map_err(|error| self.unreadable(error))?;
                layout::decode_part(&key, &value)
                    .map_err(|reason| LogError::Damaged { what: "a position".to_owned(), reason })
            })
            .collect()
    }

    pub(crate) fn outbox(&self, task: u64) -> Result<Vec<(u64, Vec<u8>)>, LogError> {
        self.tables()?
            .state
            .prefix(layout::outbox_prefix(task))
            .map(|entry| {
                let (key, value) = entry.into_inner().map_err(|error| self.unreadable(error))?;
                let sequence = layout::outbox_sequence(&key)
                    .map_err(|reason| LogError::Damaged { what: "an outbox".to_owned(), reason })?;
                Ok((sequence, value.to_vec()))
            })
            .collect()
    }

    /// Reads everything, which checks the store's own sums, and checks ours.
    pub(crate) fn scan(&self, verified: &mut Verified) -> Result<(), OpenError> {
        let tables = self.opening()?;
        let place = |error: fjall::Error| format!("{}: {error}", self.path.display());
        for entry in tables.blocks.iter() {
            let (key, stored) = match entry.into_inner() {
                Ok(entry) => entry,
                // What the store cannot read it cannot go on behind.
                Err(error) => {
                    verified.find("documents in the store", place(error));
                    break;
                }
            };
            verified.blocks += 1;
            let checked = BlockKey::decode(&key).and_then(|key| {
                let what = format!("journal number {} at offset {}", key.journal, key.begin);
                verified.block_bytes += u64::from(key.len);
                key.verify(&stored).map_err(|reason| format!("{what}: {reason}"))
            });
            checked.unwrap_or_else(|reason| verified.find("documents in the store", reason));
        }
        for (name, keyspace) in [("state", &tables.state), ("registers", &tables.registers)] {
            for entry in keyspace.iter() {
                match entry.into_inner() {
                    Ok(_) => verified.records += 1,
                    Err(error) => {
                        verified.find(format!("{name} in the store"), place(error));
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn unreadable(&self, error: fjall::Error) -> LogError {
        LogError::Unreadable { reason: format!("{}: {error}", self.path.display()) }
    }

    fn unopenable(&self, error: fjall::Error) -> OpenError {
        OpenError::unusable(&self.path, error)
    }

    fn damaged_state(&self, reason: String) -> OpenError {
        OpenError::Damaged { what: self.path.display().to_string(), reason }
    }
}

impl Batch {
    pub(crate) fn put_journal(&mut self, name: &str, record: JournalRecord) {
        self.batch.insert(&self.tables.state, layout::name_key(layout::JOURNAL, name), record.encode());
    }

    pub(crate) fn put_task(&mut self, name: &str, record: TaskRecord) {
        self.batch.insert(&self.tables.state, layout::name_key(layout::TASK, name), record.encode());
    }

    /// Puts a part; it takes the place of one that begins where it does.
    pub(crate) fn put_part(&mut self, task: u64, range: KeyRange, pieces: &[Piece]) {
        self.batch.insert(&self.tables.state, layout::part_key(task, range), layout::encode_part(range, pieces));
    }

    pub(crate) fn remove_part(&mut self, task: u64, range: KeyRange) {
        self.batch.remove(&self.tables.state, layout::part_key(task, range));
    }

    pub(crate) fn put_outbox(&mut self, task: u64, sequence: u64, entry: &[u8]) {
        self.batch.insert(&self.tables.state, layout::outbox_key(task, sequence), entry);
    }

    pub(crate) fn clear_outbox(&mut self, task: u64, sequence: u64) {
        self.batch.remove(&self.tables.state, layout::outbox_key(task, sequence));
    }

    /// Puts or deletes registers, in the order of their keys, so that each is looked for near the one before it.
    pub(crate) fn set_registers(&mut self, task: u64, registers: &[Register]) {
        let full = |(key, value): &'_ Register| {
            layout::register_key(task, key, &mut self.key);
            (Slice::from(self.key.as_slice()), value.clone())
        };
        let mut registers: Vec<_> = registers.iter().map(full).collect();
        registers.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (key, value) in registers {
            match value {
                Some(value) => self.batch.insert(&self.tables.registers, key, &value[..]),
                None => self.batch.remove(&self.tables.registers, key),
            }
        }
    }

    /// Puts a block, packed or not; the store's is the only copy that is made of it.
    pub(crate) fn put_block(&mut self, key: &BlockKey, stored: &[u8]) {
        self.batch.insert(&self.tables.blocks, key.encode(), stored);
    }

    /// Plans where the next fragment of a journal ends.
    pub(crate) fn plan_fragment(&mut self, journal: u64, end: u64) {
        self.batch.insert(&self.tables.state, layout::next_key(journal), layout::encode_next(end));
    }

    /// Adds the planned fragment to the index and removes the blocks it holds.
    pub(crate) fn move_to_fragment(&mut self, journal: u64, info: &FragmentInfo, blocks: &[BlockKey]) {
        self.batch.insert(&self.tables.state, layout::fragment_key(journal, info.begin), layout::encode_fragment(info));
        self.batch.remove(&self.tables.state, layout::next_key(journal));
        for key in blocks {
            self.batch.remove(&self.tables.blocks, key.encode());
        }
    }

    /// Takes a fragment out of the index and notes that its file is to be deleted.
    pub(crate) fn doom_fragment(&mut self, journal: u64, info: &FragmentInfo) {
        self.batch.remove(&self.tables.state, layout::fragment_key(journal, info.begin));
        let note = layout::doomed_key(journal, info.begin);
        self.batch.insert(&self.tables.state, note, layout::encode_fragment(info));
    }

    /// Removes the note of a file that was deleted.
    pub(crate) fn forget_fragment(&mut self, journal: u64, begin: u64) {
        self.batch.remove(&self.tables.state, layout::doomed_key(journal, begin));
    }

    /// Makes the batch durable; the only place that syncs a commit.
    pub(crate) fn commit(self) -> Result<(), Failed> {
        self.batch.commit().map_err(|error| Failed {
            reason: error.to_string(),
            is_full: is_full(&error),
            is_later: matches!(error, fjall::Error::Poisoned),
        })
    }
}

fn damaged_block(journal: &str, key: &BlockKey, reason: String) -> LogError {
    LogError::Damaged { what: format!("{journal} at offset {}", key.begin), reason }
}

/// Whether something could not be written because there is no room for it.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let full = |error: &io::Error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let mut error = Some(error);
    while let Some(cause) = error {
        if cause.downcast_ref::<io::Error>().is_some_and(full) {
            return true;
        }
        error = cause.source();
    }
    false
}

fn options(memtable_bytes: u64) -> KeyspaceCreateOptions {
    let levels = Leveled::default().with_l0_threshold(TABLES_MAX);
    KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes).compaction_strategy(Arc::new(levels))
}
