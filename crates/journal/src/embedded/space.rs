//! Room on the disk of a data directory, so that the store itself ever meets a full one as an exception.
//!
//! ```text
//! free   │ kept: a tenth of the disk, 256 MiB at most                    │ documents are taken in
//!        │ a quarter of it                    │ fragments are written    │
//!        │ what destinations still need       │                          │
//! ```
//!
//! Below the first bound nothing that grows is taken in; what only moves on is committed to the end, so that destinations
//! drain. Another program may fill the disk all the same. Then a write of the store fails, and the space of a file that was
//! put aside is what it goes on with.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// What is kept free is a share of the disk …
const KEPT_SHARE: u64 = 10;
/// … up to this, which is what the store needs at its worst to write its tables anew.
const KEPT_BYTES_MAX: u64 = 256 << 20;
/// Fragments are written above this share of what is kept free.
const FRAGMENTS_SHARE: u64 = 4;
/// The file put aside has this share of it, and half of that is enough to open the store again.
const RESERVE_SHARE: u64 = 16;
/// Files that can still be made.
const FILES_MIN: u64 = 64;

/// The disk of a data directory.
pub(crate) struct Space {
    directory: PathBuf,
    /// Put aside for when the store meets a full disk.
    reserve: PathBuf,
}

/// What a file system says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Free {
    bytes: u64,
    bytes_total: u64,
    files: u64,
    /// Zero where the file system does not count files.
    files_total: u64,
}

impl Free {
    fn of(path: &Path) -> io::Result<Free> {
        let found = statvfs(path)?;
        Ok(Free {
            bytes: found.f_bavail.saturating_mul(found.f_frsize),
            bytes_total: found.f_blocks.saturating_mul(found.f_frsize),
            files: found.f_favail,
            files_total: found.f_files,
        })
    }

    /// Bytes that are kept free.
    fn kept(&self) -> u64 {
        (self.bytes_total / KEPT_SHARE).min(KEPT_BYTES_MAX)
    }

    fn has(&self, bytes: u64) -> bool {
        self.bytes >= bytes && (self.files >= FILES_MIN || self.files_total == 0)
    }
}

impl Space {
    pub(crate) fn new(directory: &Path) -> Space {
        Space { directory: directory.to_owned(), reserve: directory.join("reserve") }
    }

    /// Whether so many bytes of documents may be taken in; why not otherwise. The reason stays the same for as long as it
    /// holds.
    pub(crate) fn admits(&self, bytes: u64) -> Result<(), String> {
        self.check(|free| free.kept().saturating_add(bytes))
    }

    /// Whether fragments may be written.
    pub(crate) fn admits_fragments(&self) -> Result<(), String> {
        self.check(|free| free.kept() / FRAGMENTS_SHARE)
    }

    /// Whether the store can be opened again after it met a full disk.
    pub(crate) fn admits_opening(&self) -> bool {
        self.check(|free| free.kept() / RESERVE_SHARE / 2).is_ok()
    }

    fn check(&self, bytes_min: impl Fn(&Free) -> u64) -> Result<(), String> {
        match Free::of(&self.directory) {
            Ok(free) if !free.has(bytes_min(&free)) => Err(self.full(&free)),
            // A file system that does not tell is not held against anybody: a write that fails will say so.
            _ => Ok(()),
        }
    }

    /// What people are told, also where the store itself ran into it.
    pub(crate) fn reason(&self) -> String {
        match Free::of(&self.directory) {
            Ok(free) => self.full(&free),
            Err(_) => format!("the disk of {} is full", self.directory.display()),
        }
    }

    fn full(&self, free: &Free) -> String {
        let directory = self.directory.display();
        if free.files_total > 0 && free.files < FILES_MIN {
            return format!("the disk of {directory} can take fewer than {FILES_MIN} more files; make room there");
        }
        let mib = free.kept().div_ceil(1 << 20);
        format!("the disk of {directory} has less than {mib} MiB left; make room there")
    }

    /// Gives the file that was put aside to the store; whether there was one.
    pub(crate) fn release(&self) -> bool {
        fs::remove_file(&self.reserve).is_ok()
    }

    /// Puts the file aside again where there is room for it.
    pub(crate) fn replenish(&self) {
        if self.reserve.exists() {
            return;
        }
        let Ok(free) = Free::of(&self.directory) else { return };
        let bytes = free.kept() / RESERVE_SHARE;
        if bytes > 0 && free.has(free.kept() + bytes) && self.put_aside(bytes).is_err() {
            // A file system that cannot set space aside does without.
            self.release();
        }
    }

    fn put_aside(&self, bytes: u64) -> io::Result<()> {
        let file: File = OpenOptions::new().create_new(true).write(true).open(&self.reserve)?;
        Ok(fallocate(&file, FallocateFlags::empty(), 0, bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_free_is_a_share_with_a_bound() {
        let disk = |bytes_total| Free { bytes: 0, bytes_total, files: 0, files_total: 0 };
        assert_eq!(disk(64 << 20).kept(), (64 << 20) / 10);
        assert_eq!(disk(1 << 40).kept(), 256 << 20);
    }

    #[test]
    fn bytes_and_files_both_run_out() {
        let cases = [
            ("enough of both", (100, 64, 1000), true),
            ("too few bytes", (99, 64, 1000), false),
            ("too few files", (100, 63, 1000), false),
            ("files are not counted", (100, 0, 0), true),
        ];
        for (name, (bytes, files, files_total), expected) in cases {
            let free = Free { bytes, bytes_total: 1000, files, files_total };
            assert_eq!(free.has(100), expected, "{name}");
        }
    }

    #[test]
    fn the_reserve_takes_real_space_and_gives_it_back() {
        let directory = tempfile::tempdir().unwrap();
        let space = Space::new(directory.path());
        let Ok(free) = Free::of(directory.path()) else { panic!("a temporary directory has a file system") };
        space.replenish();
        // A disk too full for a reserve has none.
        if free.has(free.kept() + free.kept() / RESERVE_SHARE) {
            assert_eq!(fs::metadata(&space.reserve).unwrap().len(), free.kept() / RESERVE_SHARE);
            assert!(space.release());
        }
        assert!(!space.release());
    }
}
