//! The data directory: where a running catalog keeps its log and its files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use catalog::Catalog;
use journal::{Codec, Embedded, OpenError, Options, Template};

use crate::cli::Stores;
use crate::clock::SystemClock;
use crate::memory::{self, Tasks};
use crate::output::tell;

/// The data directory below `directory`, named after the program.
pub fn path(directory: &Path) -> PathBuf {
    let program = std::env::args_os().next().map(PathBuf::from);
    let stem = program.as_deref().and_then(Path::file_stem);
    let name = if stem.is_some_and(|s| s == "flowctl") { "flowctl_develop" } else { "segtide_develop" };
    // Messages are read more easily without a leading `./`.
    if directory == Path::new(".") { name.into() } else { directory.join(name) }
}

/// The file of a data directory that says where the program that runs it listens, and how it is told from others: a line each.
const ADDRESS: &str = "address";
/// What says which run it is that answers.
pub const VERSION_PATH: &str = "/api/v1/version";
/// How long that may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Says where a running catalog listens, for as long as it runs.
#[derive(Debug)]
pub struct Announced(PathBuf);

impl Drop for Announced {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A name for a run that no other has.
pub fn name_of_run() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Says that the catalog over a data directory listens at a port of this machine, in the run of this name.
pub fn announce(data: &Path, port: u16, run: &str) -> anyhow::Result<Announced> {
    let path = data.join(ADDRESS);
    std::fs::write(&path, format!("http://localhost:{port}\n{run}\n"))
        .with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(Announced(path))
}

/// Where the catalog over the data directory below `directory` listens; an error where none runs. One that was killed leaves
/// its address behind, and another program may have the port by now.
pub fn address(directory: &Path) -> anyhow::Result<String> {
    let data = path(directory);
    let hint = "run `segtide develop`, or name its place with --directory";
    let announced = std::fs::read_to_string(data.join(ADDRESS))
        .map_err(|_| anyhow::anyhow!("no catalog runs over {}; {hint}", data.display()))?;
    let (address, run) = announced.split_once('\n').unwrap_or((&announced, ""));
    anyhow::ensure!(
        answers(address, run.trim_end()),
        "nothing answers at {address} for {}; did it end by a crash? {hint}",
        data.display()
    );
    Ok(address.to_owned())
}

/// Whether the run of this name answers at an address.
fn answers(address: &str, run: &str) -> bool {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(ANSWER_MAX)).proxy(None).build().into();
    let answer = agent.get(format!("{address}{VERSION_PATH}")).call();
    let text = answer.and_then(|mut answer| answer.body_mut().read_to_string());
    let version = text.ok().and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    version.is_some_and(|version| version["run"] == run)
}

/// How the log of a data directory is opened, whatever runs over it.
pub fn options(path: &Path) -> Options {
    let clouds = ["AWS_", "GOOGLE_", "AZURE_"];
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let named = variables.filter(|(name, _)| clouds.iter().any(|cloud| name.starts_with(cloud)));
    let credentials = named.filter_map(|(name, value)| Some((name, value.into_string().ok()?))).collect();
    Options { credentials, ..Options::new(path, Arc::new(SystemClock)) }
}

/// The same, for a catalog to run within so much memory: its collections are kept as it says, and in the stores that are asked
/// for.
pub fn options_for(path: &Path, catalog: &Catalog, stores: Option<&Stores>, memory: u64) -> Options {
    let template = |collection: &catalog::Collection| {
        let fragments = &collection.fragments;
        let mapped = catalog.storage.iter().rfind(|mapping| collection.name.starts_with(&mapping.prefix));
        let template = Template {
            codec: match fragments.codec {
                catalog::Codec::Gzip => Codec::Gzip,
                catalog::Codec::None => Codec::None,
                catalog::Codec::Zstandard => Codec::Zstandard,
            },
            bytes_max: fragments.length_bytes,
            interval_ms: fragments.flush_interval_seconds.map(|seconds| seconds.saturating_mul(1000)),
            retention_ms: fragments.retention_seconds.map(|seconds| seconds.saturating_mul(1000)),
            store: mapped.filter(|_| matches!(stores, Some(Stores::Mapped))).map(|mapping| mapping.url.clone()),
        };
        (format!("{}/", collection.name), template)
    };
    let store = match stores {
        Some(Stores::Url(url)) => Some(url.clone()),
        _ => None,
    };
    let templates = catalog.collections.iter().map(template).collect();
    let shares = memory::share(memory, Tasks::default());
    memory::of_log(Options { store, templates, ..options(path) }, &shares)
}

/// What people are told of a data directory that is not there.
pub fn missing(path: &Path) -> String {
    format!("{} is not there; name the place of a data directory with --directory", path.display())
}

/// What people are told of a batch that was cut off.
pub fn torn(bytes: u64) -> String {
    format!("the last run was cut off while it wrote; {bytes} bytes that nobody was answered for are dropped")
}

/// An error with what to do about it.
pub fn hinted(error: OpenError) -> anyhow::Error {
    match error {
        OpenError::InUse { .. } => anyhow::anyhow!("{error}; end that one, or name another place with --directory"),
        _ => error.into(),
    }
}

/// Opens the log of a data directory, which is made where there is none.
pub fn open(options: Options) -> anyhow::Result<Embedded> {
    let path = &options.directory;
    std::fs::create_dir_all(path).with_context(|| format!("{} cannot be made", path.display()))?;
    let log = Embedded::open(options).map_err(hinted)?;
    let bytes = log.stats().torn_bytes;
    if bytes > 0 {
        tell(&torn(bytes));
    }
    Ok(log)
}
