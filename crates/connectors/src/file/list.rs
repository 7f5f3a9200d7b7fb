//! Finding files below a root, and nowhere else.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use runtime::ConnectorError;

use super::glob::Glob;
use crate::error;

const DEPTH_MAX: usize = 16;
const ENTRIES_MAX: usize = 100_000;

/// A regular file below the root.
#[derive(Debug)]
pub(super) struct Listed {
    /// Its path below the root, with slashes.
    pub(super) name: String,
    /// Where it really is, symbolic links resolved; none for standard input.
    pub(super) path: Option<PathBuf>,
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
}

/// The files a stream names, by name. `root` has no symbolic links in it.
///
/// A file named without wildcards must exist. Links to files below the root are followed; links that lead out of it,
/// devices and pipes are refused when they are named and passed over when a wildcard meets them. Links to directories are
/// not followed.
pub(super) fn list(root: &Path, stream: &str, glob: &Glob) -> Result<Vec<Listed>, ConnectorError> {
    if glob.is_literal() {
        return Ok(vec![examine(root, stream.to_owned()).map_err(error::user)?]);
    }
    let mut found = Vec::new();
    let mut entries = 0;
    walk(root, root, "", 0, &mut entries, &mut |name| {
        if glob.matches(&name)
            && let Ok(file) = examine(root, name)
        {
            found.push(file);
        }
    })?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    // Two names of one file are one file.
    let mut known = std::collections::HashSet::new();
    found.retain(|file| known.insert((file.device, file.inode)));
    Ok(found)
}

fn walk(
    root: &Path,
    dir: &Path,
    prefix: &str,
    depth: usize,
    entries: &mut usize,
    found: &mut dyn FnMut(String),
) -> Result<(), ConnectorError> {
    let failed = |reason| error::endpoint(format!("the directory {} cannot be read: {reason}", dir.display()));
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        *entries += 1;
        if *entries > ENTRIES_MAX {
            let message = format!("{} holds more than {ENTRIES_MAX} files; give a narrower root", root.display());
            return Err(error::user(message));
        }
        let Some(name) = entry.file_name().to_str().map(|name| format!("{prefix}{name}")) else { continue };
        if !entry.file_type().map_err(failed)?.is_dir() {
            found(name);
        } else if depth < DEPTH_MAX {
            walk(root, &entry.path(), &format!("{name}/"), depth + 1, entries, found)?;
        }
    }
    Ok(())
}

/// Looks at a file; says what is wrong with it.
fn examine(root: &Path, name: String) -> Result<Listed, String> {
    let shown = root.join(&name);
    let shown = shown.display();
    let path = root.join(&name).canonicalize().map_err(|reason| format!("{shown} cannot be read: {reason}"))?;
    if !path.starts_with(root) {
        return Err(format!("{shown} is a link that leads out of the root directory"));
    }
    let stat: Metadata = fs::symlink_metadata(&path).map_err(|reason| format!("{shown} cannot be read: {reason}"))?;
    if !stat.is_file() {
        return Err(format!("{shown} is not a regular file"));
    }
    Ok(Listed { name, path: Some(path), device: stat.dev(), inode: stat.ino(), size: stat.len() })
}
