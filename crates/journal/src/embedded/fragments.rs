//! Where fragment files are kept: the data directory, another directory, or an object store.

use std::collections::HashSet;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode};
use rustc_hash::FxHashMap;

use crate::directory::{OpenError, create_directory, sync_directory};
use crate::failpoint::{defect, durable_point};
use crate::fragment::{FragmentInfo, sha256, unpack};
use crate::log::LogError;
use crate::remote::{self, Remote};

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
    /// Where the data directory's own are.
    own: Arc<Place>,
    /// Where others are, by URL.
    others: Mutex<FxHashMap<String, Arc<Place>>>,
    credentials: Vec<(String, String)>,
}

/// One place that keeps files.
struct Place {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    local: Option<Local>,
}

struct Local {
    root: PathBuf,
    /// Directories whose names this process has made durable.
    synced: Mutex<HashSet<PathBuf>>,
}

/// What a place says of a file.
enum Found {
    File(Vec<u8>),
    Missing,
    /// It cannot be told now.
    Away(String),
}

impl Files {
    /// Opens the data directory's own place; others are opened when they are needed, with these credentials.
    pub(crate) fn open(fragments: &Fragments, credentials: Vec<(String, String)>) -> Result<Files, OpenError> {
        let own = match fragments {
            Fragments::Store(store, prefix) => {
                Place { store: store.clone(), prefix: prefix.trim_matches('/').to_owned(), local: None }
            }
            Fragments::Directory(root) => Place::directory(root)?,
        };
        Ok(Files { own: Arc::new(own), others: Mutex::default(), credentials })
    }

    /// Makes a fragment's file durable under its name; the fragment as it is there.
    pub(crate) fn put(&self, info: FragmentInfo, file: Vec<u8>) -> Result<FragmentInfo, String> {
        let place = self.place(&info.store)?;
        let path = place.path(&info)?;
        if let Some(local) = &place.local {
            local.sync_directories(&path).map_err(|error| error.to_string())?;
            durable_point("fragment.directories");
            local.remove_unfinished(&path).map_err(|error| error.to_string())?;
        }
        let payload = object_store::PutPayload::from(file);
        let put = |mode: PutMode| pollster::block_on(place.store.put_opts(&path, payload.clone(), mode.into()));
        let written = match put(PutMode::Create) {
            Ok(_) => Ok(info),
            // What a crash left behind has the same documents, but may not be durable yet.
            Err(Error::AlreadyExists { .. }) if place.local.is_some() => {
                durable_point("fragment.there");
                put(PutMode::Overwrite).map(|_| info).map_err(|error| error.to_string())
            }
            // An attempt whose answer was lost. Who packed it does not matter, but what is in it.
            Err(Error::AlreadyExists { .. }) => match place.get(&path) {
                Found::File(there) => {
                    unpack(&there, info.codec, info.end - info.begin, &info.sha1)
                        .map_err(|reason| format!("another file of its name is there: {reason}"))?;
                    Ok(FragmentInfo { file_bytes: there.len() as u64, sha256: Some(sha256(&there)), ..info })
                }
                Found::Missing => Err("it was there, and then was not".to_owned()),
                Found::Away(reason) => Err(reason),
            },
            Err(error) => Err(error.to_string()),
        }?;
        // The store does not tell when it could not remove what it wrote beside the name.
        if let Some(local) = &place.local {
            local.remove_unfinished(&path).map_err(|error| error.to_string())?;
        }
        Ok(written)
    }

    /// The documents of a fragment, checked against its name and its sums.
    pub(crate) fn get(&self, info: &FragmentInfo) -> Result<Vec<u8>, LogError> {
        let damaged = |reason| LogError::Damaged { what: format!("fragment {}{}", info.store, info.path()), reason };
        let place = self.place(&info.store).map_err(|reason| LogError::Unreadable { reason })?;
        let file = match place.get(&place.path(info).map_err(damaged)?) {
            Found::File(file) => file,
            Found::Missing => return Err(damaged("the file is missing".to_owned())),
            Found::Away(reason) => return Err(LogError::Unreadable { reason }),
        };
        info.verify(&file).map_err(damaged)?;
        unpack(&file, info.codec, info.end - info.begin, &info.sha1).map_err(damaged)
    }

    /// Deletes a fragment's file, if it is there.
    pub(crate) fn delete(&self, info: &FragmentInfo) -> Result<(), String> {
        let place = self.place(&info.store)?;
        let path = place.path(info)?;
        match pollster::block_on(place.store.delete(&path)) {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error.to_string()),
        }
        if let Some(local) = &place.local {
            local.remove_empty(&path);
        }
        Ok(())
    }

    /// The paths of all files of a place, below its root, and their sizes in bytes.
    pub(crate) fn list(&self, store: &str) -> Result<Vec<(String, u64)>, String> {
        let place = self.place(store)?;
        let mut found = Vec::new();
        match &place.local {
            Some(local) => local.list(&local.root, &mut found).map_err(|error| error.to_string())?,
            None => place.list(&mut found).map_err(|error| error.to_string())?,
        }
        found.sort();
        Ok(found)
    }

    fn place(&self, url: &str) -> Result<Arc<Place>, String> {
        if url.is_empty() {
            return Ok(Arc::clone(&self.own));
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = others.get(url) {
            return Ok(Arc::clone(place));
        }
        let place = match remote::open(url, &self.credentials)? {
            Remote::Directory(root) => Place::directory(&root).map_err(|error| error.to_string())?,
            Remote::Store(store, prefix) => Place { store, prefix, local: None },
        };
        let place = Arc::new(place);
        others.insert(url.to_owned(), Arc::clone(&place));
        Ok(place)
    }
}

impl Place {
    fn directory(root: &FilePath) -> Result<Place, OpenError> {
        create_directory(root).map_err(|error| OpenError::unusable(root, error))?;
        // Called outside of tokio, this store does its I/O on the calling thread, without a reactor. It syncs a file
        // before it names it, and the directory after.
        let store = LocalFileSystem::new_with_prefix(root).map_err(|error| OpenError::unusable(root, error))?;
        let local = Local { root: root.to_owned(), synced: Mutex::default() };
        let store = Arc::new(store.with_fsync(!defect("no-directory-sync")));
        Ok(Place { store, prefix: String::new(), local: Some(local) })
    }

    fn get(&self, path: &Path) -> Found {
        let file = pollster::block_on(async { self.store.get(path).await?.bytes().await });
        match file {
            Ok(file) => Found::File(file.into()),
            Err(Error::NotFound { .. }) => Found::Missing,
            Err(error) => Found::Away(error.to_string()),
        }
    }

    fn path(&self, info: &FragmentInfo) -> Result<Path, String> {
        let path = match self.prefix.as_str() {
            "" => info.path(),
            prefix => format!("{prefix}/{}", info.path()),
        };
        Path::parse(path).map_err(|error| error.to_string())
    }

    fn list(&self, found: &mut Vec<(String, u64)>) -> object_store::Result<()> {
        let root = Path::parse(&self.prefix)?;
        let mut directories = vec![root.clone()];
        while let Some(directory) = directories.pop() {
            let listed = pollster::block_on(self.store.list_with_delimiter(Some(&directory)))?;
            directories.extend(listed.common_prefixes);
            found.extend(listed.objects.into_iter().map(|object| {
                let below = object.location.as_ref().strip_prefix(self.prefix.as_str());
                (below.unwrap_or(object.location.as_ref()).trim_start_matches('/').to_owned(), object.size)
            }));
        }
        Ok(())
    }
}

impl Local {
    /// The files below a directory of it, whatever they are.
    fn list(&self, directory: &FilePath, found: &mut Vec<(String, u64)>) -> std::io::Result<()> {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                self.list(&path, found)?;
            } else {
                let below = path.strip_prefix(&self.root).unwrap_or(&path);
                found.push((below.to_string_lossy().into_owned(), entry.metadata()?.len()));
            }
        }
        Ok(())
    }

    /// Removes the directories of an hour and a date that a deleted file leaves empty.
    fn remove_empty(&self, file: &Path) {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.root.join(file.as_ref());
        for directory in file.ancestors().skip(1).take(2) {
            // One that is not empty stays.
            if std::fs::remove_dir(directory).is_err() {
                break;
            }
            synced.remove(directory);
        }
    }

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
