//! Looks at every byte of a data directory that nobody uses: checksums of all that is stored, and whether it fits together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::fragments::Files;
use super::journals::Journal;
use super::store::Store;
use super::{Options, recover};
use crate::directory::{Directory, OpenError};

/// Findings that are kept; of the others only the number is.
const FINDINGS_MAX: usize = 1000;

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file, or the journal and offset.
    pub what: String,
    /// What is wrong with it: expected and found.
    pub reason: String,
}

/// What was looked at, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Runs of documents that are in no fragment yet.
    pub blocks: u64,
    /// Bytes of their documents.
    pub block_bytes: u64,
    /// Registers, positions and other records.
    pub records: u64,
    /// Fragments.
    pub fragments: u64,
    /// Bytes of their files.
    pub fragment_bytes: u64,
    /// Bytes of a batch, never answered for, that a crash tore and that were cut off. No damage.
    pub torn_bytes: u64,
    /// What is wrong, a thousand at most.
    pub findings: Vec<Finding>,
    /// How many more there were.
    pub more: u64,
}

impl Verified {
    pub(crate) fn find(&mut self, what: impl Into<String>, reason: impl Into<String>) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { what: what.into(), reason: reason.into() });
        } else {
            self.more += 1;
        }
    }
}

/// Verifies the data directory of these options, which must be there, and which no process may use. Changes nothing but the torn
/// end of a batch, as opening does.
pub fn verify(options: &Options) -> Result<Verified, OpenError> {
    let format = options.directory.join("format");
    if !format.try_exists().map_err(|error| OpenError::unusable(&format, error))? {
        return Err(OpenError::unusable(&options.directory, "it is no data directory"));
    }
    let mut directory = Directory::take(&options.directory)?;
    let (store, torn_bytes) = Store::open(&mut directory, options.store_bytes)?;
    let files = Files::open(&options.fragments, options.credentials.clone())?;
    let mut verified = Verified { torn_bytes, ..Verified::default() };
    store.scan(&mut verified)?;
    match recover(&store, options.clock.now_us()) {
        Ok(journals) => look(&store, &files, &journals, &mut verified)?,
        Err(OpenError::Damaged { what, reason }) => verified.find(what, reason),
        Err(error) => return Err(error),
    }
    Ok(verified)
}

/// Whether fragments follow one another up to the tail, are as they were written, and no file is there but theirs.
fn look(
    store: &Store,
    files: &Files,
    journals: &BTreeMap<Arc<str>, Journal>,
    verified: &mut Verified,
) -> Result<(), OpenError> {
    let unusable = |error: crate::LogError| OpenError::Unusable { what: "the store".into(), reason: error.to_string() };
    // The data directory's own place is looked at also where nothing is in it any more.
    let mut explained: BTreeMap<String, BTreeSet<String>> = [(String::new(), BTreeSet::new())].into();
    let mut planned = Vec::new();
    for (name, journal) in journals {
        let mut end = journal.begin;
        for fragment in store.fragments(name, journal.id).map_err(unusable)? {
            if fragment.begin != end {
                let reason = format!("expected a fragment at offset {end}, found {}", fragment.begin);
                verified.find(name.to_string(), reason);
            }
            end = fragment.end;
            verified.fragments += 1;
            verified.fragment_bytes += fragment.file_bytes;
            match files.get(&fragment) {
                Ok(_) => {}
                Err(crate::LogError::Damaged { what, reason }) => verified.find(what, reason),
                Err(error) => return Err(unusable(error)),
            }
            explained.entry(fragment.store.clone()).or_default().insert(fragment.path());
        }
        if end != journal.tail_begin() {
            let reason =
                format!("its fragments end at offset {end}, and what follows begins at {}", journal.tail_begin());
            verified.find(name.to_string(), reason);
        }
        if let Some(next) = journal.next_end {
            planned.push((format!("{name}/"), format!("/{:016x}-{next:016x}-", journal.tail_begin())));
        }
    }
    let names: BTreeMap<u64, &Arc<str>> = journals.iter().map(|(name, journal)| (journal.id, name)).collect();
    for (_, fragment) in store.doomed(|id| names.get(&id).map(|name| name.to_string())).map_err(unusable)? {
        explained.entry(fragment.store.clone()).or_default().insert(fragment.path());
    }
    for (url, paths) in explained {
        let found =
            files.list(&url).map_err(|reason| OpenError::Unusable { what: format!("fragments {url}"), reason })?;
        for (path, bytes) in found {
            // What a crash leaves of the next fragment is written again, or removed, by the next run.
            let is_planned = planned.iter().any(|(name, range)| path.starts_with(name) && path.contains(range));
            if !paths.contains(&path) && !is_planned {
                verified.find(format!("file {url}{path}"), format!("nothing explains it; it has {bytes} bytes"));
            }
        }
    }
    Ok(())
}
