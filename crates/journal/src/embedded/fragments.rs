//! Where fragment files are kept: a local directory, or any object store.

use std::collections::HashSet;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode};

use crate::directory::{OpenError, create_directory, sync_directory};
use crate::failpoint::{defect, durable_point};
use crate::fragment::{FragmentInfo, unpack};
use crate::log::LogError;

/// Directories remembered as durable; forgetting them costs a few syncs.
const SYNCED_DIRECTORIES_MAX: usize = 16 << 10;

/// Where fragment files go.
#[derive(Debug, Clone)]
pub enum Fragments {
    /// Below this directory, which is created where missing.
    Directory(PathBuf),
    /// Below this prefix of an object store that creates objects atomically and durably.
    Store(Arc<dyn ObjectStore>, String),
}

/// The files.
pub(crate) struct Files {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    local: Option<Local>,
}

struct Local {
    root: PathBuf,
    /// Directories whose names this process has made durable.
    synced: Mutex<HashSet<PathBuf>>,
}

impl Files {
    pub(crate) fn open(fragments: &Fragments) -> Result<Files, OpenError> {
        match fragments {
            Fragments::Store(store, prefix) => {
                Ok(Files { store: store.clone(), prefix: prefix.trim_matches('/').to_owned(), local: None })
            }
            Fragments::Directory(root) => {
                create_directory(root).map_err(|error| OpenError::unusable(root, error))?;
                // Called outside of tokio, this store does its I/O on the calling thread, without a reactor. It syncs a
                // file before it names it, and the directory after.
                let store = LocalFileSystem::new_with_prefix(root).map_err(|error| OpenError::unusable(root, error))?;
                let local = Local { root: root.clone(), synced: Mutex::default() };
                Ok(Files {
                    store: Arc::new(store.with_fsync(!defect("no-directory-sync"))),
                    prefix: String::new(),
                    local: Some(local),
                })
            }
        }
    }

    /// Makes a fragment's file durable under its name.
    pub(crate) fn put(&self, info: &FragmentInfo, file: Vec<u8>) -> Result<(), String> {
        let path = self.path(info)?;
        if let Some(local) = &self.local {
            local.sync_directories(&path).map_err(|error| error.to_string())?;
            durable_point("fragment.directories");
            local.remove_unfinished(&path).map_err(|error| error.to_string())?;
        }
        let file = object_store::PutPayload::from(file);
        let created = pollster::block_on(self.store.put_opts(&path, file.clone(), PutMode::Create.into()));
        match created {
            // What a crash left behind has the same documents, but may not be durable yet.
            Err(Error::AlreadyExists { .. }) => {
                durable_point("fragment.there");
                pollster::block_on(self.store.put_opts(&path, file, PutMode::Overwrite.into()))
            }
            other => other,
        }
        .map_err(|error| error.to_string())?;
        // The store does not tell when it could not remove what it wrote beside the name.
        match &self.local {
            Some(local) => local.remove_unfinished(&path).map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    /// The documents of a fragment, checked against its name.
    pub(crate) fn get(&self, info: &FragmentInfo) -> Result<Vec<u8>, LogError> {
        let damaged = |reason| LogError::Damaged { what: format!("fragment {}", info.path()), reason };
        let path = self.path(info).map_err(damaged)?;
        let failed = |error| match error {
            Error::NotFound { .. } => damaged("the file is missing".to_owned()),
            error => LogError::Unreadable { reason: error.to_string() },
        };
        let found = pollster::block_on(self.store.get(&path)).map_err(failed)?;
        if found.meta.size != info.file_bytes {
            return Err(damaged(format!("expected {} bytes, found {}", info.file_bytes, found.meta.size)));
        }
        let file = pollster::block_on(found.bytes()).map_err(failed)?;
        unpack(&file, info.end - info.begin, &info.sha1).map_err(damaged)
    }

    fn path(&self, info: &FragmentInfo) -> Result<Path, String> {
        let path = match self.prefix.as_str() {
            "" => info.path(),
            prefix => format!("{prefix}/{}", info.path()),
        };
        Path::parse(path).map_err(|error| error.to_string())
    }
}

impl Local {
    /// Removes what a process left that was killed while it wrote this file: the store first writes beside its name, at
    /// `#` and the first number that is free.
    fn remove_unfinished(&self, file: &Path) -> std::io::Result<()> {
        for number in 1.. {
            match std::fs::remove_file(self.root.join(format!("{file}#{number}"))) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => break,
                removed => removed?,
            }
        }
        Ok(())
    }

    /// Creates the directories above a file and makes their names durable, also those that a process made which was killed
    /// before it could sync them.
    fn sync_directories(&self, file: &Path) -> std::io::Result<()> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if synced.len() > SYNCED_DIRECTORIES_MAX {
            synced.clear();
        }
        let mut directory = self.root.clone();
        for part in FilePath::new(file.as_ref()).parent().into_iter().flatten() {
            let parent = directory.clone();
            directory.push(part);
            if !synced.contains(&directory) {
                create_directory(&directory)?;
                sync_directory(&parent)?;
                synced.insert(directory.clone());
            }
        }
        Ok(())
    }
}
