//! The data directory: where a running catalog keeps its log and its files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use journal::{Embedded, OpenError, Options};

use crate::clock::SystemClock;
use crate::output::tell;

/// The data directory below `directory`, named after the program.
pub fn path(directory: &Path) -> PathBuf {
    let program = std::env::args_os().next().map(PathBuf::from);
    let stem = program.as_deref().and_then(Path::file_stem);
    let name = if stem.is_some_and(|s| s == "flowctl") { "flowctl_develop" } else { "segtide_develop" };
    // Messages are read more easily without a leading `./`.
    if directory == Path::new(".") { name.into() } else { directory.join(name) }
}

/// The file of a data directory that says where the program that runs it listens.
const ADDRESS: &str = "address";

/// Says where a running catalog listens, for as long as it runs.
#[derive(Debug)]
pub struct Announced(PathBuf);

impl Drop for Announced {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Says that the catalog over a data directory listens at a port of this machine.
pub fn announce(data: &Path, port: u16) -> anyhow::Result<Announced> {
    let path = data.join(ADDRESS);
    std::fs::write(&path, format!("http://localhost:{port}\n"))
        .with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(Announced(path))
}

/// Where the catalog over the data directory below `directory` listens; an error where none runs, as far as is known.
pub fn address(directory: &Path) -> anyhow::Result<String> {
    let data = path(directory);
    let address = std::fs::read_to_string(data.join(ADDRESS)).map_err(|_| {
        let hint = "run `segtide develop`, or name its place with --directory";
        anyhow::anyhow!("no catalog runs over {}; {hint}", data.display())
    })?;
    Ok(address.trim_end().to_owned())
}

/// Opens the log of a data directory, which is made where there is none.
pub fn open(path: &Path) -> anyhow::Result<Embedded> {
    std::fs::create_dir_all(path).with_context(|| format!("{} cannot be made", path.display()))?;
    let log = Embedded::open(Options::new(path, Arc::new(SystemClock))).map_err(|error| match error {
        OpenError::InUse { .. } => anyhow::anyhow!("{error}; end that one, or name another place with --directory"),
        _ => anyhow::Error::from(error),
    })?;
    let torn = log.stats().torn_bytes;
    if torn > 0 {
        tell(&format!(
            "the last run was cut off while it wrote; {torn} bytes that nobody was answered for are dropped"
        ));
    }
    Ok(log)
}
