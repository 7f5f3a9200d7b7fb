//! `segtide test`: runs the tests of a catalog, and shows what differs.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use catalog::{Built, Catalog, Sources, StepKind, Test};
use runtime::testing::{Difference, Failed, Tests, Why};

use crate::annotations;
use crate::build::{For, count, load, show};
use crate::cli::{self, Format};
use crate::host::Program;
use crate::output::{Exit, Paint, fail, paint, plain, say};
use crate::report::{self, Tested};
use crate::secrets::Missing;
use crate::signals::Asked;
use crate::symbols::symbols;
use crate::watch::Watch;

/// How often it looks whether files have changed, or to end.
const LOOK: Duration = Duration::from_millis(50);

/// Colours text, or does not.
type Painter = fn(Paint, &str) -> String;

pub fn run(args: &cli::Test) -> anyhow::Result<Exit> {
    if !args.watch {
        return run_once(args).map(|(exit, _)| exit);
    }
    let asked = Asked::listen().context("signals cannot be listened to")?;
    let (mut exit, sources) = run_once(args)?;
    let mut watch = Watch::of(&sources);
    while !asked.is_set() {
        std::thread::sleep(LOOK);
        if watch.has_changed() {
            let (now, sources) = run_once(args)?;
            watch.add(&sources);
            exit = now;
        }
    }
    Ok(exit)
}

/// Runs the tests; also the files they were read from.
fn run_once(args: &cli::Test) -> anyhow::Result<(Exit, Sources)> {
    let built = load(&args.source.source, For::Tests)?;
    let for_people = args.report.format() == Format::Text;
    if for_people {
        show(&built);
    }
    let tested = match built.is_sound() {
        true => run_tests(&built, args.pattern.as_deref(), for_people),
        false => None,
    };
    if for_people && !built.is_sound() {
        count(&built, &args.source.source);
    }
    let passed = tested.as_ref().is_some_and(|tested| tested.iter().all(|test| test.failure.is_none()));
    match args.report.format() {
        Format::Text => {}
        Format::Json => say(&report::json(passed, &built, tested.as_deref())),
        Format::Sarif => say(&annotations::sarif(&built)),
    }
    if for_people && annotations::are_read() {
        annotations::of_diagnostics(&built);
        annotations::of_tests(tested.as_deref().unwrap_or_default());
    }
    let Some(tested) = tested else { return Ok((Exit::Invalid, built.catalog.sources)) };
    if let Some(pattern) = args.pattern.as_ref().filter(|_| tested.is_empty()) {
        fail(&format!("no test of {} has {pattern:?} in its name", args.source.source));
        return Ok((Exit::NotFound, built.catalog.sources));
    }
    if let Some(file) = &args.junit {
        std::fs::write(file, report::junit(&tested))
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok((if passed { Exit::Ok } else { Exit::Failed }, built.catalog.sources))
}

/// Runs the tests of a catalog whose names match; `None` where its lambdas cannot be opened.
fn run_tests(built: &Built, pattern: Option<&str>, for_people: bool) -> Option<Vec<Tested>> {
    let catalog = &built.catalog;
    let pattern = pattern.unwrap_or_default().to_lowercase();
    let chosen: Vec<&Test> = catalog.tests.iter().filter(|t| t.name.to_lowercase().contains(&pattern)).collect();
    let tell = |line: &str| {
        if for_people {
            say(line);
        }
    };
    tell(&format!("Running {} tests...", chosen.len()));
    let mut tests = Tests::open(catalog, &Program::new(Missing::StandIn)).map_err(|why| fail(&why)).ok()?;
    let mut tested = Vec::new();
    for test in &chosen {
        let begun = Instant::now();
        let outcome = tests.run(test);
        let took = begun.elapsed();
        let at = catalog.sources.locate(test.place);
        match &outcome {
            Ok(()) => {
                let time = paint(Paint::Dim, &format!("({:.1} ms)", took.as_secs_f64() * 1e3));
                tell(&format!("{} {} :: {} {time}", paint(Paint::Good, symbols().passed), at.file, test.name));
            }
            Err(failed) => tell(&describe(catalog, test, failed, paint)),
        }
        let failure = outcome.err().map(|failed| describe(catalog, test, &failed, plain));
        tested.push(Tested { name: test.name.clone(), file: at.file, line: at.line, took, failure });
    }
    let failed: Vec<&str> = tested.iter().filter(|t| t.failure.is_some()).map(|t| t.name.as_str()).collect();
    let (ran, failures) = (tested.len(), failed.len());
    tell(&format!("\nRan {ran} tests, {} passed, {failures} failed", ran - failures));
    if failures > 0 {
        tell(&format!("failed tests: [{}]", failed.join(", ")));
    }
    Some(tested)
}

/// What failed, in the phrases that readers of other programs' reports look for, and more closely where.
fn describe(catalog: &Catalog, test: &Test, failed: &Failed, paint: Painter) -> String {
    let at = catalog.sources.locate(failed.place);
    let name = test.name.replace('~', "~0").replace('/', "~1");
    let pointer = paint(Paint::Bad, &format!("/tests/{name}/{}", failed.step));
    let mut out = format!("{} {} failure at step {pointer} :\n", paint(Paint::Bad, symbols().failed), at.file);
    if let Some(step) = test.steps.get(failed.step) {
        let verb = match step.kind {
            StepKind::Ingest => "ingest into",
            StepKind::Verify => "verify",
        };
        let (number, of) = (failed.step + 1, test.steps.len());
        out += &format!("  {}:{} :: {}\n", at.file, at.line, test.name);
        out += &format!("  step {number} of {of}, {verb} {}", step.collection);
        if let Some(description) = &step.description {
            out += &format!(" ({})", description.trim());
        }
        out.push('\n');
    }
    match &failed.why {
        Why::Broken(why) => out += &format!("    {why}\n"),
        Why::Different(differences) => {
            out += "    verify: actual and expected document(s) did not match:\n";
            let mut mismatched = None;
            for found in differences {
                out += &difference(catalog, found, mismatched, paint);
                mismatched = Some(found.document);
            }
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// One difference, below a heading unless it is of the document that has the one above.
fn difference(catalog: &Catalog, difference: &Difference, above: Option<usize>, paint: Painter) -> String {
    let at = catalog.sources.locate(difference.place);
    let place = paint(Paint::Dim, &format!("{}:{}:{}", at.file, at.line, at.column));
    let index = difference.document;
    match (&difference.expected, &difference.actual) {
        (Some(expected), None) if difference.location.is_empty() => {
            let expected = line(paint, Paint::Bad, "- expected", expected);
            format!("    Missing expected document at index {index}:\n{expected}   {place}\n")
        }
        (None, Some(actual)) => {
            let actual = line(paint, Paint::Good, "+ actual  ", actual);
            format!("    Unexpected actual document at index {index}:\n{actual}\n")
        }
        (expected, actual) => {
            let heading = match above == Some(index) {
                true => String::new(),
                false => format!("    mismatched document at index {index}:\n"),
            };
            format!(
                "{heading}      at {}\n{}   {place}\n{}\n",
                difference.location,
                line(paint, Paint::Bad, "- expected", expected.as_deref().unwrap_or("nothing")),
                line(paint, Paint::Good, "+ actual  ", actual.as_deref().unwrap_or("nothing")),
            )
        }
    }
}

fn line(paint: Painter, role: Paint, label: &str, text: &str) -> String {
    format!("      {}", paint(role, &format!("{label}  {text}")))
}
