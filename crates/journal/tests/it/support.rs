//! A clock moved by hand, small constructors, and a data directory to throw away.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use journal::{Append, Block, Clock, Delta, Embedded, Log, LogError, Options};
use tempfile::TempDir;

/// 2026-11-23 07:00:00 UTC.
pub(crate) const MORNING_US: u64 = 1_795_417_200_000_000;
pub(crate) const HOUR_US: u64 = 3_600_000_000;

/// Stands still until moved.
#[derive(Debug)]
pub(crate) struct HandClock(AtomicU64);

impl HandClock {
    pub(crate) fn new() -> Arc<HandClock> {
        Arc::new(HandClock(AtomicU64::new(MORNING_US)))
    }

    pub(crate) fn advance_ms(&self, ms: u64) {
        self.0.fetch_add(ms * 1000, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now_us(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A data directory with its clock, and the options to open it.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) options: Options,
}

impl Place {
    pub(crate) fn new() -> Place {
        // Nothing here cuts the power, and memory syncs at once.
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let clock = HandClock::new();
        let mut options = Options::new(directory.path().join("data"), clock.clone());
        options.fragment_age_max_ms = 1000;
        Place { directory, clock, options }
    }

    pub(crate) fn open(&self) -> Embedded {
        Embedded::open(self.options.clone()).unwrap()
    }
}

pub(crate) fn append(journal: &str, documents: impl AsRef<[u8]>) -> Append {
    Append { journal: journal.to_owned(), documents: documents.as_ref().to_vec() }
}

pub(crate) fn delta(shard: &str, epoch: u64, appends: Vec<Append>) -> Delta {
    Delta { task: shard.to_owned(), epoch, time_us: MORNING_US, appends, ..Delta::default() }
}

pub(crate) fn commit(log: &dyn Log, delta: Delta) -> Result<Vec<u64>, LogError> {
    log.commit(delta).wait()
}

/// All documents of a journal, read in runs of about `max_bytes`.
pub(crate) fn read_all(log: &dyn Log, journal: &str, max_bytes: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(Block { begin, documents }) = log.read(journal, all.len() as u64, max_bytes).unwrap() {
        assert_eq!(begin, all.len() as u64);
        assert_eq!(documents.last(), Some(&b'\n'));
        all.extend_from_slice(&documents);
    }
    all
}

/// Copies a directory that may change meanwhile.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            // A file may vanish under our hands: the store deletes tables it has merged.
            let _ = std::fs::copy(entry.path(), target);
        }
    }
}
