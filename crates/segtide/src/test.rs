//! `segtide test`: runs the tests of a catalog, and shows what differs.

use std::time::Instant;

use catalog::{Catalog, StepKind, Test};
use runtime::testing::{Difference, Failed, Tests, Why};

use crate::build::{For, build};
use crate::cli::Source;
use crate::host::Program;
use crate::output::{Exit, Paint, fail, paint, say};

pub fn run(args: &Source) -> anyhow::Result<Exit> {
    let Some(catalog) = build(&args.source, For::Tests)? else { return Ok(Exit::Invalid) };
    say(&format!("Running {} tests...", catalog.tests.len()));
    let mut tests = match Tests::open(&catalog, &Program::new()) {
        Ok(tests) => tests,
        Err(why) => {
            fail(&why);
            return Ok(Exit::Invalid);
        }
    };
    let mut failures = 0;
    for test in &catalog.tests {
        let begun = Instant::now();
        let outcome = tests.run(test);
        let file = catalog.sources.locate(test.place).file;
        match outcome {
            Ok(()) => {
                let took = paint(Paint::Dim, &format!("({:.1} ms)", begun.elapsed().as_secs_f64() * 1e3));
                say(&format!("{} {file} :: {} {took}", paint(Paint::Good, "✔️"), test.name));
            }
            Err(failed) => {
                failures += 1;
                say(&describe(&catalog, test, &failed));
            }
        }
    }
    say(&format!("\nRan {} tests, {} passed, {failures} failed", catalog.tests.len(), catalog.tests.len() - failures));
    Ok(if failures == 0 { Exit::Ok } else { Exit::Failed })
}

fn describe(catalog: &Catalog, test: &Test, failed: &Failed) -> String {
    let at = catalog.sources.locate(failed.place);
    let mut out = format!("{} {}:{} :: {}\n", paint(Paint::Bad, "❌"), at.file, at.line, test.name);
    if let Some(step) = test.steps.get(failed.step) {
        let verb = match step.kind {
            StepKind::Ingest => "ingest into",
            StepKind::Verify => "verify",
        };
        out += &format!("  step {} of {}, {verb} {}", failed.step + 1, test.steps.len(), step.collection);
        if let Some(description) = &step.description {
            out += &format!(" ({})", description.trim());
        }
        out.push('\n');
    }
    match &failed.why {
        Why::Broken(why) => out += &format!("    {why}\n"),
        Why::Different(differences) => differences.iter().for_each(|d| out += &difference(catalog, d)),
    }
    out.truncate(out.trim_end().len());
    out
}

fn difference(catalog: &Catalog, difference: &Difference) -> String {
    let at = catalog.sources.locate(difference.place);
    let place = paint(Paint::Dim, &format!("{}:{}:{}", at.file, at.line, at.column));
    let number = difference.document + 1;
    match (&difference.expected, &difference.actual) {
        (Some(expected), None) if difference.location.is_empty() => {
            format!("    document {number} is missing\n{}   {place}\n", line(Paint::Bad, "- expected", expected))
        }
        (None, Some(actual)) => {
            format!("    document {number} was not expected\n{}\n", line(Paint::Good, "+ actual  ", actual))
        }
        (expected, actual) => format!(
            "    document {number} at {}\n{}   {place}\n{}\n",
            difference.location,
            line(Paint::Bad, "- expected", expected.as_deref().unwrap_or("nothing")),
            line(Paint::Good, "+ actual  ", actual.as_deref().unwrap_or("nothing")),
        ),
    }
}

fn line(role: Paint, label: &str, text: &str) -> String {
    format!("      {}", paint(role, &format!("{label}  {text}")))
}
