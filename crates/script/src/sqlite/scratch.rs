//! A database in a file of which the log keeps every page, so that it commits with the rest of a transaction or not at all.
//!
//! The file is scratch: it is made from the log when its task starts, and nothing is read of it that this process did not
//! write. SQLite's write-ahead log beside it is used for one thing, to learn which pages a transaction changed: they stand at
//! its end, each in a frame. Those pages are what [`Scratch::changes`] gives to the log.
//!
//! ```text
//! the log's registers of the task        the write-ahead log (https://www.sqlite.org/fileformat2.html#walformat)
//!   "database"  {"version":1,"pages":N}    header  32 bytes
//!   page 1      4096 bytes                 frame   page u32 | pages after commit u32, or 0 | 16 bytes | 4096 bytes
//!   ...                                    ...     the frame with a page count ends a transaction
//! ```
//!
//! A page's key is its number, 4 bytes, big-endian. A page without a register is one SQLite never wrote: zeros.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use runtime::{Changes, Kept, LambdaError};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::lambdas::error;

/// Bytes of a page.
const PAGE_BYTES: usize = 4096;
/// Bytes of a frame before its page.
const FRAME_BYTES: usize = 24;
/// Bytes of the write-ahead log before its first frame.
const WAL_BYTES: u64 = 32;
/// The write-ahead log is written into the file when it is longer than this.
const WAL_BYTES_MAX: u64 = 16 << 20;
/// Pages restored at a time.
const PAGES_AT_ONCE: u32 = 256;
/// The key of the [`Header`].
const HEADER: &[u8] = b"database";
/// The version of what is kept that is written, and the only one that is read.
const VERSION: u32 = 1;

/// What is kept beside the pages.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    version: u32,
    pages: u32,
}

/// A scratch file and what the log knows of it.
pub(super) struct Scratch {
    path: PathBuf,
    /// Pages the log keeps; zero where it knows nothing yet.
    pages: u32,
    /// How far the write-ahead log has been read.
    read: u64,
}

impl Scratch {
    /// What makes SQLite write as this expects: nothing but us reads or checkpoints, and nothing is synced, because nothing is
    /// read after a crash.
    pub(super) const PRAGMAS: &str = "PRAGMA page_size = 4096; PRAGMA locking_mode = EXCLUSIVE; \
        PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 0";

    /// Makes the file anew from what is kept.
    pub(super) fn restore(path: &Path, kept: &Kept<'_>) -> Result<Scratch, LambdaError> {
        let unwritable = |e: io::Error| error(format!("{} cannot be written: {e}", path.display()));
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(unwritable)?;
        }
        for suffix in ["", "-wal", "-shm", "-journal"] {
            match std::fs::remove_file(beside(path, suffix)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(unwritable(e)),
                _ => {}
            }
        }
        let header = match kept(&[HEADER])?.into_iter().next().flatten() {
            None => Header::default(),
            Some(json) => serde_json::from_slice(&json)
                .map_err(|e| error(format!("what is kept of the database cannot be read: {e}")))?,
        };
        if header.pages > 0 && header.version != VERSION {
            let found = header.version;
            return Err(error(format!(
                "the database is kept in version {found}; this program reads version {VERSION}"
            )));
        }
        let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(unwritable)?;
        for first in (1..=header.pages).step_by(PAGES_AT_ONCE as usize) {
            let numbers = first..=header.pages.min(first + PAGES_AT_ONCE - 1);
            let keys: Vec<[u8; 4]> = numbers.map(u32::to_be_bytes).collect();
            let keys: Vec<&[u8]> = keys.iter().map(<[u8; 4]>::as_slice).collect();
            for page in kept(&keys)? {
                match page {
                    Some(page) if page.len() == PAGE_BYTES => file.write_all(&page),
                    Some(_) => return Err(error("a kept page of the database is damaged".to_owned())),
                    None => file.write_all(&[0; PAGE_BYTES]),
                }
                .map_err(unwritable)?;
            }
        }
        Ok(Scratch { path: path.to_owned(), pages: header.pages, read: 0 })
    }

    /// What was committed to the file since the last call.
    pub(super) fn changes(&mut self, connection: &Connection) -> io::Result<Changes> {
        let key = |number: u32| number.to_be_bytes().as_slice().into();
        let mut changes = Changes::new();
        let before = self.pages;
        if before == 0 {
            // The first page of a new database is written past the write-ahead log, so all of it is taken.
            self.checkpoint(connection)?;
            let file = std::fs::read(&self.path)?;
            self.pages = (file.len() / PAGE_BYTES) as u32;
            let pages = (1..).zip(file.chunks_exact(PAGE_BYTES));
            changes.extend(pages.map(|(number, page)| (key(number), Some(page.into()))));
        } else {
            let wal = self.fresh_frames()?;
            let committed = Committed::of(&wal);
            self.read += committed.bytes as u64;
            self.pages = committed.pages.unwrap_or(before);
            let within = committed.frames.into_iter().filter(|(number, _)| *number <= self.pages);
            changes.extend(within.map(|(number, page)| (key(number), Some(page.into()))));
            if self.read > WAL_BYTES_MAX {
                self.checkpoint(connection)?;
            }
        }
        changes.extend((self.pages + 1..=before).map(|number| (key(number), None)));
        if self.pages != before {
            let header = Header { version: VERSION, pages: self.pages };
            changes.push((HEADER.into(), Some(serde_json::to_vec(&header)?.into())));
        }
        Ok(changes)
    }

    /// The write-ahead log from where it was read to.
    fn fresh_frames(&mut self) -> io::Result<Vec<u8>> {
        let mut wal = Vec::new();
        match File::open(beside(&self.path, "-wal")) {
            Ok(mut file) => {
                self.read = self.read.max(WAL_BYTES);
                file.seek(SeekFrom::Start(self.read))?;
                file.read_to_end(&mut wal)?;
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        Ok(wal)
    }

    /// Writes the write-ahead log into the file and begins another.
    fn checkpoint(&mut self, connection: &Connection) -> io::Result<()> {
        let busy: i64 =
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(io::Error::other)?;
        if busy != 0 {
            return Err(io::Error::other("the database is in use"));
        }
        self.read = 0;
        Ok(())
    }
}

/// What of some frames was committed.
#[derive(Debug, Default)]
struct Committed<'w> {
    /// Pages by number, each as it was last.
    frames: BTreeMap<u32, &'w [u8]>,
    /// Pages of the database; `None` where nothing was committed.
    pages: Option<u32>,
    /// Bytes of the frames.
    bytes: usize,
}

impl<'w> Committed<'w> {
    /// Reads one transaction. What stands behind the frame that ends it was never committed: a transaction larger than
    /// SQLite's cache writes early, and may take some of it back.
    fn of(wal: &'w [u8]) -> Committed<'w> {
        let mut frames = BTreeMap::new();
        for (n, frame) in wal.chunks_exact(FRAME_BYTES + PAGE_BYTES).enumerate() {
            let number = |at: usize| u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
            frames.insert(number(0), &frame[FRAME_BYTES..]);
            if number(4) > 0 {
                return Committed { frames, pages: Some(number(4)), bytes: (n + 1) * (FRAME_BYTES + PAGE_BYTES) };
            }
        }
        Committed::default()
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
