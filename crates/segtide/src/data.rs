//! The data directory: where a running catalog keeps its log and its files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use journal::{Embedded, OpenError, Options};

use crate::clock::SystemClock;

/// The data directory below `directory`, named after the program.
pub fn path(directory: &Path) -> PathBuf {
    let program = std::env::args_os().next().map(PathBuf::from);
    let stem = program.as_deref().and_then(Path::file_stem);
    let name = if stem.is_some_and(|s| s == "flowctl") { "flowctl_develop" } else { "segtide_develop" };
    // Messages are read more easily without a leading `./`.
    if directory == Path::new(".") { name.into() } else { directory.join(name) }
}

/// Opens the log of a data directory, which is made where there is none.
pub fn open(path: &Path) -> anyhow::Result<Embedded> {
    std::fs::create_dir_all(path).with_context(|| format!("{} cannot be made", path.display()))?;
    Embedded::open(Options::new(path, Arc::new(SystemClock))).map_err(|error| match error {
        OpenError::InUse { .. } => anyhow::anyhow!("{error}; end that one, or name another place with --directory"),
        _ => error.into(),
    })
}
