//! `segtide doctor`: whether a catalog could run here: its files, its place, its port, its destinations.

use std::path::Path;
use std::time::Duration;

use catalog::Materialization;
use journal::Clock as _;
use serde_json::json;

use crate::build::{For, load};
use crate::cli::Doctor;
use crate::clock::SystemClock;
use crate::data;
use crate::host;
use crate::http::Port;
use crate::output::{Exit, Paint, plural};
use crate::rows::{Cell, Rows};
use crate::secrets::{self, Missing};
use crate::symbols::symbols;

/// How long a destination may take to answer.
const REACH_MAX: Duration = Duration::from_secs(3);
/// A clock before this is not set: 2024-01-01, in microseconds since 1970.
const CLOCK_US_MIN: u64 = 1_704_067_200_000_000;

pub fn run(args: &Doctor) -> anyhow::Result<Exit> {
    secrets::allow_commands(args.allow_exec);
    let mut looked: Vec<(&str, Result<String, String>)> = Vec::new();
    let mut tell = |what: &'static str, found: Result<String, String>| looked.push((what, found));
    let source = &args.source.source;
    let built = load(source, For::Run);
    tell(
        "catalog",
        match &built {
            Err(error) => Err(format!("{error:#}")),
            Ok(built) if built.is_sound() => Ok(format!("{source} is right")),
            Ok(built) => Err(format!(
                "{source} has {}; `segtide check --source {source}` shows them",
                plural(built.diagnostics.len() + built.more, "mistake")
            )),
        },
    );
    tell("place", place(&args.place.directory));
    let running = data::address(&args.place.directory).is_ok();
    tell(
        "port",
        match Port::take(args.port) {
            Ok(_) => Ok(format!("{} is free", args.port)),
            Err(_) if running => Ok(format!("{} may be that of the catalog that runs here", args.port)),
            Err(error) => Err(format!("{error:#}")),
        },
    );
    tell(
        "clock",
        match SystemClock.now_us() {
            0..CLOCK_US_MIN => Err("is not set; documents are named and filed by it".into()),
            _ => Ok("is set".into()),
        },
    );
    for capture in built.iter().flat_map(|built| &built.catalog.captures) {
        let endpoint = secrets::resolve(&capture.endpoint, Missing::Refuse).ok();
        if let Some(checked) = endpoint.and_then(|endpoint| connectors::check_source(&endpoint, &host::surroundings()))
        {
            let told = checked.map(|()| format!("{} works", capture.name));
            tell("source", told.map_err(|why| format!("{}: {why}", capture.name)));
        }
    }
    for materialization in built.iter().flat_map(|built| &built.catalog.materializations) {
        if let Some(reached) = reach(materialization) {
            tell("destination", reached.map(|at| format!("{} answers at {at}", materialization.name)));
        }
    }
    let well = looked.iter().all(|(_, found)| found.is_ok());
    let mut rows = Rows::new(args.output.format());
    for (what, found) in looked {
        let is_well = found.is_ok();
        let text = found.unwrap_or_else(|why| why);
        rows.row(&[("what", json!(what)), ("ok", json!(is_well)), ("found", json!(text))], || {
            let (mark, role) = if is_well { (symbols().good, Paint::Good) } else { (symbols().bad, Paint::Bad) };
            let [mark, what, found] = [("", mark), ("what", what), ("found", &text)]
                .map(|(heading, text)| Cell(heading.into(), text.to_owned(), None));
            vec![Cell(mark.0, mark.1, Some(role)), what, found]
        })?;
    }
    rows.end()?;
    Ok(if well { Exit::Ok } else { Exit::Failed })
}

/// Whether the data directory can be used.
fn place(directory: &Path) -> Result<String, String> {
    let path = data::path(directory);
    if let Ok(address) = data::address(directory) {
        return Ok(format!("{} is in use by the catalog at {address}", path.display()));
    }
    let known = path.exists();
    let probe = directory.join(".segtide-doctor");
    std::fs::write(&probe, b"").map_err(|e| format!("{} cannot be written: {e}", directory.display()))?;
    let _ = std::fs::remove_file(&probe);
    Ok(format!("{} {}", path.display(), if known { "is there, and goes on where it was" } else { "can be made" }))
}

/// Whether a destination that is elsewhere answers.
fn reach(materialization: &Materialization) -> Option<Result<String, String>> {
    let endpoint = secrets::resolve(&materialization.endpoint, Missing::Refuse).ok()?;
    let reached = connectors::reach(&endpoint, REACH_MAX)?;
    Some(reached.map_err(|why| format!("{}: {why}", materialization.name)))
}
