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
