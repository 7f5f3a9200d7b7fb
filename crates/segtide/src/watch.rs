//! Notices when the files of a catalog change, by looking at them: no events to miss, on any file system.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use catalog::Sources;

/// How often it looks. Files that were quiet from one look to the next are taken to be written to their end.
const LOOK: Duration = Duration::from_millis(100);

/// What tells two versions of a file apart; `None` where there is no file.
type Stamp = Option<(SystemTime, u64)>;

/// Files that are looked at.
#[derive(Debug)]
pub struct Watch {
    files: Vec<(PathBuf, Stamp)>,
    looked: Instant,
    changed: bool,
}

impl Watch {
    /// The files a catalog was read from, as they are now.
    pub fn of(sources: &Sources) -> Watch {
        let mut watch = Watch { files: Vec::new(), looked: Instant::now(), changed: false };
        watch.add(sources);
        watch
    }

    /// Looks at the files of another version as well.
    pub fn add(&mut self, sources: &Sources) {
        for path in sources.iter().filter_map(|source| source.url.to_file_path().ok()) {
            if !self.files.iter().any(|(known, _)| *known == path) {
                let stamp = stamp(&path);
                self.files.push((path, stamp));
            }
        }
    }

    /// Whether files have changed since it was asked last, and are quiet again.
    pub fn has_changed(&mut self) -> bool {
        if self.looked.elapsed() < LOOK {
            return false;
        }
        self.looked = Instant::now();
        let mut changes = false;
        for (path, known) in &mut self.files {
            let now = stamp(path);
            changes |= now != *known;
            *known = now;
        }
        let settled = self.changed && !changes;
        self.changed = changes || (self.changed && !settled);
        settled
    }
}

fn stamp(path: &PathBuf) -> Stamp {
    let file = std::fs::metadata(path).ok()?;
    Some((file.modified().ok()?, file.len()))
}
