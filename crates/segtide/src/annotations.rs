//! What is wrong with a catalog, for a code review: as annotations of GitHub's, where its machines run this, and as SARIF.

use std::fmt::Write as _;

use catalog::{Built, Diagnostic, Place, Severity, Sources};
use serde_json::{Value, json};

use crate::output::say;
use crate::report::Tested;

/// Whether one of GitHub's machines runs this, which reads annotations from the output.
pub fn are_read() -> bool {
    std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true")
}

/// Annotates the lines that diagnostics are about.
pub fn of_diagnostics(built: &Built) {
    for diagnostic in &built.diagnostics {
        say(&diagnosed(&built.catalog.sources, diagnostic));
    }
}

/// Annotates the tests that failed.
pub fn of_tests(tested: &[Tested]) {
    for test in tested {
        if let Some(failure) = &test.failure {
            say(&line("error", &test.file, test.line, None, &test.name, failure));
        }
    }
}

fn diagnosed(sources: &Sources, diagnostic: &Diagnostic) -> String {
    let at = sources.locate(diagnostic.place);
    let mut message = diagnostic.message.clone();
    if let Some(hint) = &diagnostic.hint {
        let _ = write!(message, "\n{hint}");
    }
    line(level(diagnostic), &at.file, at.line, Some(at.column), diagnostic.slug, &message)
}

fn level(diagnostic: &Diagnostic) -> &'static str {
    match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// A command of the workflow that shows a message at a line.
fn line(level: &str, file: &str, line: usize, column: Option<usize>, title: &str, message: &str) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let column = column.map(|column| format!(",col={column}")).unwrap_or_default();
    format!("::{level} file={},line={line}{column},title={}::{}", property(file), property(title), data(message))
}

/// A SARIF log of the diagnostics, on one line.
pub fn sarif(built: &Built) -> String {
    let sources = &built.catalog.sources;
    let mut slugs: Vec<&str> = built.diagnostics.iter().map(|diagnostic| diagnostic.slug).collect();
    slugs.sort_unstable();
    slugs.dedup();
    let result = |diagnostic: &Diagnostic| {
        let help = diagnostic.hint.as_ref().map(|hint| format!("\n{hint}")).unwrap_or_default();
        let related = diagnostic.related.iter().map(|(place, message)| {
            let mut location = location(sources, *place);
            location["message"] = json!({ "text": message });
            location
        });
        json!({
            "ruleId": diagnostic.slug,
            "level": level(diagnostic),
            "message": { "text": format!("{}{help}", diagnostic.message) },
            "locations": [location(sources, diagnostic.place)],
            "relatedLocations": related.collect::<Vec<_>>(),
        })
    };
    let driver = json!({
        "name": "segtide",
        "semanticVersion": env!("CARGO_PKG_VERSION"),
        "rules": slugs.iter().map(|slug| json!({ "id": slug })).collect::<Vec<_>>(),
    });
    let results: Vec<Value> = built.diagnostics.iter().map(result).collect();
    json!({ "version": "2.1.0", "runs": [{ "tool": { "driver": driver }, "results": results }] }).to_string()
}

fn location(sources: &Sources, place: Place) -> Value {
    let begin = sources.locate(place);
    let end = sources.locate(Place { start: place.end, ..place });
    json!({
        "physicalLocation": {
            "artifactLocation": { "uri": begin.file },
            "region": {
                "startLine": begin.line,
                "startColumn": begin.column,
                "endLine": end.line,
                "endColumn": end.column,
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn what_would_end_an_annotation_is_escaped() {
        let shown = line("error", "a,b:c.yaml", 3, Some(7), "it's 100%", "one\ntwo: 50%, three");
        assert_eq!(shown, "::error file=a%2Cb%3Ac.yaml,line=3,col=7,title=it's 100%25::one%0Atwo: 50%25, three");
    }
}
