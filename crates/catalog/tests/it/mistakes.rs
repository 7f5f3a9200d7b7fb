//! One file per mistake in `mistakes/`: edits of the golden catalog, and the whole report they give.
//!
//! A file is a list of `edits`, each `{file, find, replace}` or `{file, text}` (a file of its own, `~` for none), and the
//! `report`, which stands last. With `UPDATE_EXPECT=1` the reports are written anew.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use catalog::{Built, SLUGS, Severity, Sources, Tree};
use url::Url;

use crate::host::Memory;

/// A report as plain text: each mistake on a line, then its related places and its hint.
pub(crate) fn render(built: &Built) -> String {
    let sources = &built.catalog.sources;
    let show = |place| {
        let at = sources.locate(place);
        format!("{}:{}:{}", at.file, at.line, at.column)
    };
    let mut text = String::new();
    for diagnostic in &built.diagnostics {
        writeln!(text, "{}: {}: {}", show(diagnostic.place), diagnostic.slug, diagnostic.message).unwrap();
        if diagnostic.severity == Severity::Warning {
            writeln!(text, "  only a warning").unwrap();
        }
        for (place, words) in &diagnostic.related {
            writeln!(text, "  {}: {words}", show(*place)).unwrap();
        }
        if let Some(hint) = &diagnostic.hint {
            writeln!(text, "  hint: {hint}").unwrap();
        }
    }
    if built.more > 0 {
        writeln!(text, "and {} more", built.more).unwrap();
    }
    text
}

struct Mistake {
    path: PathBuf,
    text: String,
    tree: Tree,
}

fn mistakes() -> Vec<Mistake> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/mistakes");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let url = Url::from_file_path(&path).unwrap();
        let tree = Tree::from_yaml(&mut Sources::default(), url, &text).unwrap();
        Mistake { path, text, tree }
    };
    paths.into_iter().map(read).collect()
}

fn apply(tree: &Tree, files: &mut Memory) {
    for edit in tree.get("edits").unwrap().as_array().unwrap() {
        let field = |name: &str| edit.get(name).and_then(Tree::as_str);
        let file = field("file").unwrap();
        match field("find") {
            Some(find) => {
                let text = files.0.get_mut(file).unwrap();
                assert_eq!(text.matches(find).count(), 1, "{find:?} must stand once in {file}");
                *text = text.replace(find, field("replace").unwrap());
            }
            None => match field("text") {
                Some(text) => drop(files.0.insert(file.to_owned(), text.to_owned())),
                None => drop(files.0.remove(file).unwrap()),
            },
        }
    }
}

#[test]
fn every_mistake_is_reported() {
    let golden = Memory::golden();
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut failures = String::new();
    for Mistake { path, text, tree } in mistakes() {
        let mut files = golden.clone();
        apply(&tree, &mut files);
        let report = render(&files.build());
        let expected = tree.get("report").and_then(Tree::as_str).unwrap_or_default();
        if update {
            let head = text.split("report:").next().unwrap();
            let lines: String = report.lines().map(|line| format!("  {line}\n")).collect();
            std::fs::write(&path, format!("{head}report: |\n{lines}")).unwrap();
        } else if report != expected {
            let name = path.file_name().unwrap().to_str().unwrap();
            write!(failures, "\n{name}: expected\n{expected}got\n{report}").unwrap();
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn every_slug_has_a_mistake() {
    let mistakes = mistakes();
    let reports = mistakes.iter().filter_map(|mistake| mistake.tree.get("report").and_then(Tree::as_str));
    let lines = reports.flat_map(str::lines).filter(|line| !line.starts_with(' ') && !line.starts_with("and "));
    let shown: BTreeSet<&str> = lines.map(|line| line.split(": ").nth(1).unwrap()).collect();
    let table: BTreeSet<&str> = SLUGS.iter().map(|(slug, _)| *slug).collect();
    let unshown: Vec<_> = table.difference(&shown).collect();
    assert!(unshown.is_empty(), "no mistake shows {unshown:?}");
    assert!(shown.is_subset(&table));
}

/// The first diagnostic of a slug in a report, with its related places and its hint.
fn example<'r>(slug: &str, report: &'r str) -> Option<Vec<&'r str>> {
    let mut lines = report.lines().skip_while(|line| line.split(": ").nth(1) != Some(slug) || line.starts_with(' '));
    let first = lines.next()?;
    Some(std::iter::once(first).chain(lines.take_while(|line| line.starts_with(' '))).collect())
}

/// With `UPDATE_EXPECT=1` the page is written anew.
#[test]
fn the_page_of_errors_is_what_the_table_says() {
    let mistakes = mistakes();
    let mut page = "# Mistakes in catalogs\n\n\
        `segtide check` names each mistake by one of these slugs, which stay the same between versions. It finds all of them at\n\
        once, shows the first 200 and says how many more there are. The examples are from the tests of the catalog crate, one\n\
        line for the mistake and one for each other place that matters; on a terminal they stand over the source.\n\n\
        This page is written by those tests from the table in `crates/catalog/src/diagnostic.rs`.\n"
        .to_owned();
    for (slug, meaning) in SLUGS {
        writeln!(page, "\n## {slug}\n\n{}{}.\n", meaning[..1].to_uppercase(), &meaning[1..]).unwrap();
        let named = mistakes.iter().filter(|mistake| mistake.path.file_stem().unwrap().to_str().unwrap() == *slug);
        let report = named.chain(&mistakes).find_map(|mistake| {
            let report = mistake.tree.get("report").and_then(Tree::as_str)?;
            example(slug, report)
        });
        writeln!(page, "```text\n{}\n```", report.unwrap().join("\n")).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, page).unwrap();
    } else {
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(found == page, "docs/errors.md is stale: run the tests with UPDATE_EXPECT=1");
    }
}
