//! A data directory: one owner, one format, and the rules by which its names become durable.
//!
//! ```text
//! <directory>/            mode 0700
//!   lock                  held by the process that owns the directory
//!   format                "segtide data directory, format 3\n"; written last, so its presence says the rest is complete
//!   store/                the transactional store
//!   fragments/            fragment files, unless they are kept elsewhere
//!   reserve               space put aside for when the disk is full
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::failpoint::{defect, durable_point};

/// The format of data directories this program writes and reads.
const FORMAT: u32 = 3;
/// How often a lock that is held is tried again, and after how long: a process that its former owner is just starting holds it
/// for an instant more.
const LOCK_TRIES_MAX: u32 = 20;
const LOCK_WAIT: Duration = Duration::from_millis(10);
const FORMAT_PREFIX: &str = "segtide data directory, format ";
const FORMAT_BYTES_MAX: u64 = 128;

/// Why a data directory could not be opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the lock.
    #[error("{directory} is in use by another segtide process")]
    InUse {
        /// The data directory.
        directory: String,
    },
    /// The directory holds files, but none that say it is ours.
    #[error("{directory} holds other files and is not a data directory of segtide; name an empty or a new directory")]
    Foreign {
        /// The data directory.
        directory: String,
    },
    /// Another version of the program wrote it.
    #[error(
        "{directory} has format {found}, and this segtide reads format {known}; open it with the version that wrote it"
    )]
    Format {
        /// The data directory.
        directory: String,
        /// What the format file says.
        found: String,
        /// What this program reads.
        known: u32,
    },
    /// What is stored contradicts itself or its checksums. Nothing was changed.
    #[error("{what} is damaged: {reason}; nothing was changed")]
    Damaged {
        /// The file or journal.
        what: String,
        /// Expected and actual.
        reason: String,
    },
    /// The file system or the store refused.
    #[error("{what} cannot be opened: {reason}")]
    Unusable {
        /// The file or directory.
        what: String,
        /// What the system said.
        reason: String,
    },
}

impl OpenError {
    pub(crate) fn unusable(what: &Path, reason: impl ToString) -> OpenError {
        OpenError::Unusable { what: what.display().to_string(), reason: reason.to_string() }
    }
}

/// A data directory owned by this process until dropped.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// Whether the format file was there, so that everything else must be.
    pub(crate) is_complete: bool,
    _lock: File,
}

impl Directory {
    /// Creates the directory where there is none, takes its lock and checks its format.
    pub(crate) fn take(path: &Path) -> Result<Directory, OpenError> {
        let unusable = |error: io::Error| OpenError::unusable(path, error);
        create_directory(path).map_err(unusable)?;
        let is_bare = is_bare(path).map_err(unusable)?;
        let format = path.join("format");
        let is_complete = format.try_exists().map_err(unusable)?;
        if !is_complete && !is_bare {
            return Err(OpenError::Foreign { directory: path.display().to_string() });
        }
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).open(path.join("lock")).map_err(unusable)?;
        let mut tries = 0;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries < LOCK_TRIES_MAX => {
                    tries += 1;
                    std::thread::sleep(LOCK_WAIT);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(OpenError::InUse { directory: path.display().to_string() });
                }
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
            }
        }
        durable_point("boot.lock");
        // Looked at again under the lock: its former owner may just have completed it.
        let is_complete = format.try_exists().map_err(unusable)?;
        if is_complete {
            check_format(path, &format)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(unusable)?;
        Ok(Directory { path: path.to_owned(), is_complete, _lock: lock })
    }

    /// Says that everything in the directory is there and durable.
    pub(crate) fn complete(&mut self) -> Result<(), OpenError> {
        let format = self.path.join("format");
        write_durably(&format, format!("{FORMAT_PREFIX}{FORMAT}\n").as_bytes())
            .map_err(|error| OpenError::unusable(&format, error))?;
        self.is_complete = true;
        durable_point("boot.format");
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn check_format(directory: &Path, format: &Path) -> Result<(), OpenError> {
    use io::Read;
    let mut text = Vec::new();
    File::open(format)
        .and_then(|file| file.take(FORMAT_BYTES_MAX).read_to_end(&mut text))
        .map_err(|error| OpenError::unusable(format, error))?;
    let text = String::from_utf8_lossy(&text);
    let found = text.trim_end().strip_prefix(FORMAT_PREFIX);
    if found == Some(FORMAT.to_string().as_str()) {
        return Ok(());
    }
    Err(OpenError::Format {
        directory: directory.display().to_string(),
        found: found.unwrap_or(text.trim_end()).escape_debug().to_string(),
        known: FORMAT,
    })
}

/// Whether the directory holds nothing but what an interrupted creation leaves behind.
fn is_bare(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if !["lock", "store", "store.new", "format.new", "fragments", "reserve"].iter().any(|ours| name == *ours) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Creates a directory and its missing parents, private to this user, and makes each durable.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_directory(parent)?;
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) => return Err(error),
    }
    sync_directory(parent)
}

/// Writes a file so that after a crash it is either whole or not there.
fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    rename_durably(&new, path)
}

/// Renames within one directory; nobody else renames.
pub(crate) fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_directory(to.parent().expect("a renamed file is in a directory"))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    if defect("no-directory-sync") {
        return Ok(());
    }
    File::open(path)?.sync_all()
}
