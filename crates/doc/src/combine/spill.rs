//! Combining more than memory holds: what is in memory goes to a run, sorted by key, and runs are merged as they are drained.
//!
//! A key may be in several runs. What is in an older run came earlier, so entries of one key are reduced in the order of the
//! runs; whether that is possible, and gives a valid document, may turn out only then. Whoever reduces them into what is stored
//! may take them as they are, which is one reduction less. Runs that have become many are merged to one, so that what is on disk
//! follows what is unique, too.

use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{CombineError, Combiner, Drained};
use crate::{Arena, Node};

/// Runs that are merged to one.
const RUNS_MAX: usize = 32;
/// What of each run is read or written at once.
const BUFFER_BYTES: usize = 64 << 10;
/// Documents of a key are handed out as they are up to so many bytes.
const APART_BYTES_MAX: usize = 1 << 20;
/// Before the key and the documents: their lengths, whether there are several documents, and the hash of all.
const HEADER_BYTES: usize = 25;

/// A place for one run: written from begin to end, then read from begin to end, and gone once dropped.
pub trait SpillFile: Read + Write + Seek + Send {}

impl<F: Read + Write + Seek + Send> SpillFile for F {}

/// Makes empty places for runs.
pub type Spill = Arc<dyn Fn() -> io::Result<Box<dyn SpillFile>> + Send + Sync>;

/// A [`Combiner`] whose documents can be put elsewhere, whenever its owner finds that it holds too many.
pub struct SpillingCombiner {
    memory: Combiner,
    spill: Spill,
    /// The oldest first.
    runs: Vec<Run>,
}

/// A run that is written.
struct Run {
    file: Box<dyn SpillFile>,
    entries: u64,
    bytes: u64,
}

impl SpillingCombiner {
    /// A combiner that makes room with `spill`.
    pub fn new(combiner: Combiner, spill: Spill) -> Self {
        Self { memory: combiner, spill, runs: Vec::new() }
    }

    /// As [`Combiner::combine_right`]. Where documents of the key were spilled, errors of their reduction come out of the drain.
    pub fn combine_right<'a>(&mut self, arena: &'a Arena, document: Node<'a>) -> Result<(), CombineError> {
        self.memory.combine_right(arena, document).map(drop)
    }

    /// As [`Combiner::combine_right_written`], likewise.
    pub fn combine_right_written<'a>(
        &mut self,
        arena: &'a Arena,
        document: Node<'a>,
        text: &[u8],
        is_valid: bool,
    ) -> Result<(), CombineError> {
        self.memory.combine_right_written(arena, document, text, is_valid).map(drop)
    }

    /// What is in memory: all there is, as long as nothing was spilled.
    pub fn in_memory(&mut self) -> &mut Combiner {
        &mut self.memory
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.runs.is_empty()
    }

    /// Memory taken, in bytes.
    pub fn bytes(&self) -> usize {
        self.memory.bytes()
    }

    /// What was spilled, in bytes.
    pub fn spilled_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.bytes).sum()
    }

    /// Puts what is in memory elsewhere. The memory stays for what comes next. After an error it must be given up.
    pub fn spill(&mut self) -> Result<(), CombineError> {
        self.spill_memory()?;
        if self.runs.len() >= RUNS_MAX { self.merge() } else { Ok(()) }
    }

    /// Merges what was spilled, so that it holds each key once. After an error it must be given up.
    pub fn merge(&mut self) -> Result<(), CombineError> {
        if self.runs.len() < 2 {
            return Ok(());
        }
        let mut run = Writer::create(&self.spill)?;
        let mut drain = SpillDrain::of_runs(&mut self.runs, self.memory.like())?;
        while let Some(drained) = drain.next(Documents::Reduced)? {
            run.write(drained)?;
        }
        self.runs.push(run.finish()?);
        Ok(())
    }

    /// Forgets all documents.
    pub fn clear(&mut self) {
        self.memory.clear();
        self.runs.clear();
    }

    /// Takes all documents, in the order of their keys.
    pub fn drain(&mut self) -> Result<SpillDrain<'_>, CombineError> {
        if self.runs.is_empty() {
            let reducer = self.memory.like();
            return Ok(SpillDrain { memory: Box::new(self.memory.drain_by_key()), ..SpillDrain::empty(reducer) });
        }
        self.spill_memory()?;
        self.memory = self.memory.like();
        SpillDrain::of_runs(&mut self.runs, self.memory.like())
    }

    fn spill_memory(&mut self) -> Result<(), CombineError> {
        if self.memory.is_empty() {
            return Ok(());
        }
        let mut run = Writer::create(&self.spill)?;
        self.memory.drain_by_key().try_for_each(|drained| run.write(drained))?;
        self.runs.push(run.finish()?);
        Ok(())
    }
}

/// How documents of one key come out of several runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Documents {
    /// As one, unless they are kept apart.
    Reduced,
    /// As they are, for whoever reduces them into what is stored.
    AsTheyAre,
}

/// The documents of a [`SpillingCombiner`], from the first key to the last.
pub struct SpillDrain<'c> {
    /// Entries of different keys; none where there are runs.
    memory: Box<dyn Iterator<Item = Drained<'c>> + 'c>,
    runs: Vec<Cursor>,
    /// Reduces documents of one key; empty in between.
    reducer: Combiner,
    arena: Arena,
    /// What was handed out last.
    entry: Entry,
}

/// The documents of a key, out of one run or several.
#[derive(Default)]
struct Entry {
    key: Vec<u8>,
    text: Vec<u8>,
    apart: bool,
}

impl Entry {
    fn drained(&self) -> Drained<'_> {
        Drained { key: &self.key, text: &self.text, apart: self.apart }
    }
}

impl SpillDrain<'_> {
    fn empty(reducer: Combiner) -> Self {
        let (runs, arena, entry) = (Vec::new(), Arena::new(), Entry::default());
        Self { memory: Box::new(std::iter::empty()), runs, reducer, arena, entry }
    }

    fn of_runs(runs: &mut Vec<Run>, reducer: Combiner) -> Result<Self, CombineError> {
        let mut drain = Self::empty(reducer);
        for run in runs.drain(..) {
            drain.runs.extend(Cursor::open(run)?);
        }
        Ok(drain)
    }

    /// All documents of the next key. Those of several runs are handed out as they are only where that makes no difference to
    /// what is stored in the end, and there are few.
    pub fn next(&mut self, documents: Documents) -> Result<Option<Drained<'_>>, CombineError> {
        let Some(first) = self.least() else { return Ok(self.memory.next()) };
        std::mem::swap(&mut self.entry, &mut self.runs[first].entry);
        self.advance(first)?;
        // Where something is deleted it matters whether documents were reduced into each other before.
        let is_left_apart = documents == Documents::AsTheyAre && !self.reducer.schema.prunes();
        while let Some(at) = self.least().filter(|&at| self.runs[at].entry.key == self.entry.key) {
            let next = &self.runs[at].entry;
            if is_left_apart && self.entry.text.len() + next.text.len() < APART_BYTES_MAX {
                self.entry.text.push(b'\n');
                self.entry.text.extend_from_slice(&next.text);
                self.entry.apart = true;
            } else {
                self.arena.reset();
                self.reducer.clear();
                self.reducer.combine_drained(&self.arena, self.entry.drained())?;
                self.reducer.combine_drained(&self.arena, next.drained())?;
                for Drained { text, apart, .. } in self.reducer.drain_by_arrival() {
                    self.entry.text.clear();
                    self.entry.text.extend_from_slice(text);
                    self.entry.apart = apart;
                }
            }
            self.advance(at)?;
        }
        Ok(Some(self.entry.drained()))
    }

    /// The run with the least key. Of equal keys the first is least, and it is of the oldest run.
    fn least(&self) -> Option<usize> {
        (0..self.runs.len()).min_by_key(|&at| &self.runs[at].entry.key)
    }

    fn advance(&mut self, at: usize) -> Result<(), CombineError> {
        if !self.runs[at].advance()? {
            self.runs.remove(at);
        }
        Ok(())
    }
}

/// A run being written.
struct Writer {
    file: BufWriter<Box<dyn SpillFile>>,
    entries: u64,
    bytes: u64,
}

impl Writer {
    fn create(spill: &Spill) -> Result<Self, CombineError> {
        let file = spill().map_err(failure)?;
        Ok(Self { file: BufWriter::with_capacity(BUFFER_BYTES, file), entries: 0, bytes: 0 })
    }

    fn write(&mut self, Drained { key, text, apart }: Drained<'_>) -> Result<(), CombineError> {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&(key.len() as u64).to_le_bytes());
        header[8..16].copy_from_slice(&(text.len() as u64).to_le_bytes());
        header[16] = u8::from(apart);
        header[17..].copy_from_slice(&check(key, text, apart).to_le_bytes());
        [&header, key, text].iter().try_for_each(|part| self.file.write_all(part)).map_err(failure)?;
        self.entries += 1;
        self.bytes += (HEADER_BYTES + key.len() + text.len()) as u64;
        Ok(())
    }

    fn finish(self) -> Result<Run, CombineError> {
        let file = self.file.into_inner().map_err(|error| failure(error.into_error()))?;
        Ok(Run { file, entries: self.entries, bytes: self.bytes })
    }
}

/// A run being read, at one of its entries.
struct Cursor {
    file: BufReader<Box<dyn SpillFile>>,
    /// Entries behind this one.
    left: u64,
    /// Length of the whole run.
    bytes: u64,
    entry: Entry,
}

impl Cursor {
    /// At the first entry, if there is any.
    fn open(mut run: Run) -> Result<Option<Self>, CombineError> {
        run.file.seek(SeekFrom::Start(0)).map_err(failure)?;
        let file = BufReader::with_capacity(BUFFER_BYTES, run.file);
        let (left, bytes) = (run.entries, run.bytes);
        let mut cursor = Self { file, left, bytes, entry: Entry::default() };
        Ok(cursor.advance()?.then_some(cursor))
    }

    /// Goes to the next entry; whether there is one.
    fn advance(&mut self) -> Result<bool, CombineError> {
        if self.left == 0 {
            return Ok(false);
        }
        self.left -= 1;
        self.read().map_err(failure)?;
        Ok(true)
    }

    fn read(&mut self) -> io::Result<()> {
        let mut header = [0; HEADER_BYTES];
        self.file.read_exact(&mut header)?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "what was read back is not what was written");
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|n| header[at + n]));
        let Entry { key, text, apart } = &mut self.entry;
        for (part, len) in [(&mut *key, number(0)), (&mut *text, number(8))] {
            if len > self.bytes {
                return Err(damaged());
            }
            part.resize(usize::try_from(len).map_err(|_| damaged())?, 0);
            self.file.read_exact(part)?;
        }
        *apart = header[16] != 0;
        if check(key, text, *apart) == number(17) { Ok(()) } else { Err(damaged()) }
    }
}

fn check(key: &[u8], text: &[u8], apart: bool) -> u64 {
    xxh3_64_with_seed(text, xxh3_64_with_seed(key, u64::from(apart)))
}

fn failure(error: io::Error) -> CombineError {
    CombineError::Spill(error.to_string())
}
