//! `segtide check`: finds the mistakes of a catalog.

use crate::build::{For, build, load};
use crate::cli::{Check, Format};
use crate::output::{Exit, plural, say};
use crate::report;

pub fn run(args: &Check) -> anyhow::Result<Exit> {
    let source = &args.source.source;
    if args.report.output == Format::Json {
        let built = load(source, For::Check)?;
        say(&report::json(built.is_sound(), &built, None));
        return Ok(if built.is_sound() { Exit::Ok } else { Exit::Failed });
    }
    let Some(catalog) = build(source, For::Check)? else { return Ok(Exit::Failed) };
    let derived = catalog.collections.iter().filter(|c| c.derivation.is_some()).count();
    say(&format!(
        "{source} is right: {} ({derived} derived), {}, {}, {}",
        plural(catalog.collections.len(), "collection"),
        plural(catalog.captures.len(), "capture"),
        plural(catalog.materializations.len(), "materialization"),
        plural(catalog.tests.len(), "test"),
    ));
    Ok(Exit::Ok)
}
