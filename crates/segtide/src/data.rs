//! The data directory: where a running catalog keeps its log and its files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use journal::{Embedded, Options};

use crate::clock::SystemClock;

/// The data directory below `directory`, named after the program.
pub fn path(directory: &Path) -> PathBuf {
    let program = std::env::args_os().next().map(PathBuf::from);
    let stem = program.as_deref().and_then(Path::file_stem);
    directory.join(if stem.is_some_and(|s| s == "flowctl") { "flowctl_develop" } else { "segtide_develop" })
}

/// Opens the log of a data directory, which is made where there is none.
pub fn open(path: &Path) -> anyhow::Result<Embedded> {
    std::fs::create_dir_all(path).with_context(|| format!("{} cannot be made", path.display()))?;
    Ok(Embedded::open(Options::new(path, Arc::new(SystemClock)))?)
}
