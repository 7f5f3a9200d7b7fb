//! `segtide check`: finds the mistakes of a catalog.

use crate::build::{For, build};
use crate::cli::Source;
use crate::output::{Exit, plural, say};

pub fn run(args: &Source) -> anyhow::Result<Exit> {
    let Some(catalog) = build(&args.source, For::Run)? else { return Ok(Exit::Failed) };
    let derived = catalog.collections.iter().filter(|c| c.derivation.is_some()).count();
    say(&format!(
        "{} is right: {} ({derived} derived), {}, {}, {}",
        args.source,
        plural(catalog.collections.len(), "collection"),
        plural(catalog.captures.len(), "capture"),
        plural(catalog.materializations.len(), "materialization"),
        plural(catalog.tests.len(), "test"),
    ));
    Ok(Exit::Ok)
}
