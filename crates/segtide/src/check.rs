//! `segtide check`: finds the mistakes of a catalog.

use catalog::{Collection, Lambda, Using};

use crate::annotations;
use crate::build::{For, count, load, show};
use crate::cli::{Check, Format};
use crate::output::{Exit, plural, say};
use crate::report;

pub fn run(args: &Check) -> anyhow::Result<Exit> {
    let source = &args.source.source;
    let built = load(source, For::Check)?;
    let exit = if built.is_sound() { Exit::Ok } else { Exit::Failed };
    match args.report.format() {
        Format::Text => show(&built),
        Format::Json => {
            say(&report::json(built.is_sound(), &built, None));
            return Ok(exit);
        }
        Format::Sarif => {
            say(&annotations::sarif(&built));
            return Ok(exit);
        }
    }
    if annotations::are_read() {
        annotations::of_diagnostics(&built);
    }
    if !built.is_sound() {
        count(&built, source);
        return Ok(exit);
    }
    let catalog = built.catalog;
    if args.verbose {
        catalog.collections.iter().for_each(tell_lambdas);
    }
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

/// Says of each lambda of a collection's class where it runs.
fn tell_lambdas(collection: &Collection) {
    let Some(derivation) = &collection.derivation else { return };
    let Using::Typescript(module) = &derivation.using else { return };
    let lambdas = derivation.transforms.iter().flat_map(|t| [&t.update, &t.publish]).flatten();
    let methods: Vec<&str> = lambdas
        .filter_map(|lambda| match lambda {
            Lambda::Method(name) => Some(name.as_str()),
            Lambda::Sql(_) => None,
        })
        .collect();
    let file = module.text.url.path().rsplit('/').next().unwrap_or_default();
    // A module that does not load is a mistake of the catalog, and was shown as such.
    for (method, refusal) in script::refusals(module, &methods).unwrap_or_default() {
        let place = match refusal {
            None => "native".to_owned(),
            Some(refusal) => format!("in QuickJS, for {} ({file}:{})", refusal.what, refusal.line),
        };
        say(&format!("{}.{method}: {place}", collection.name));
    }
}
