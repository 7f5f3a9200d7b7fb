//! Reports for programs: diagnostics and tests as JSON, tests as JUnit.

use std::fmt::Write as _;
use std::time::Duration;

use catalog::{Built, Place, Severity, Sources};
use serde_json::{Value, json};

/// The version of the JSON that is reported.
const VERSION: u32 = 1;

/// A test that was run.
#[derive(Debug)]
pub struct Tested {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub file: String,
    /// Counted from one.
    pub line: usize,
    /// How long it ran.
    pub took: Duration,
    /// What a person is told of its failure.
    pub failure: Option<String>,
}

/// One line of JSON: `{version, ok, diagnostics, more, tests?}`.
pub fn json(ok: bool, built: &Built, tested: Option<&[Tested]>) -> String {
    let sources = &built.catalog.sources;
    let diagnostic = |d: &catalog::Diagnostic| {
        let mut value = place(sources, d.place);
        value["code"] = json!(d.slug);
        value["severity"] = json!(match d.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        });
        value["message"] = json!(d.message);
        value["help"] = json!(d.hint);
        let related = d.related.iter().map(|(at, message)| {
            let mut value = place(sources, *at);
            value["message"] = json!(message);
            value
        });
        value["related"] = related.collect();
        value
    };
    let mut report = json!({
        "version": VERSION,
        "ok": ok,
        "diagnostics": built.diagnostics.iter().map(diagnostic).collect::<Vec<_>>(),
        "more": built.more,
    });
    if let Some(tested) = tested {
        let test = |t: &Tested| {
            json!({
                "name": t.name,
                "file": t.file,
                "line": t.line,
                "passed": t.failure.is_none(),
                "milliseconds": t.took.as_secs_f64() * 1e3,
                "failure": t.failure,
            })
        };
        report["tests"] = tested.iter().map(test).collect();
    }
    report.to_string()
}

fn place(sources: &Sources, place: Place) -> Value {
    let begin = sources.locate(place);
    let end = sources.locate(Place { start: place.end, ..place });
    json!({
        "file": begin.file,
        "line": begin.line,
        "column": begin.column,
        "end_line": end.line,
        "end_column": end.column,
    })
}

/// A JUnit report: one suite, a class per file.
pub fn junit(tested: &[Tested]) -> String {
    let failures = tested.iter().filter(|test| test.failure.is_some()).count();
    let seconds: f64 = tested.iter().map(|test| test.took.as_secs_f64()).sum();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let infallible = "writing to a string cannot fail";
    let count = tested.len();
    writeln!(out, r#"<testsuite name="segtide" tests="{count}" failures="{failures}" time="{seconds:.3}">"#)
        .expect(infallible);
    for test in tested {
        let (name, file) = (escaped(&test.name), escaped(&test.file));
        let took = test.took.as_secs_f64();
        write!(out, r#"  <testcase classname="{file}" name="{name}" line="{}" time="{took:.3}""#, test.line)
            .expect(infallible);
        match &test.failure {
            None => out.push_str("/>\n"),
            Some(why) => {
                writeln!(out, ">\n    <failure>{}</failure>\n  </testcase>", escaped(why)).expect(infallible);
            }
        }
    }
    out.push_str("</testsuite>\n");
    out
}

/// Text for an XML attribute or element. What XML cannot say at all is replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_junit_report_escapes_what_it_quotes() {
        let test = |name: &str, failure: Option<&str>| Tested {
            name: name.into(),
            file: "a.flow.yaml".into(),
            line: 3,
            took: Duration::from_millis(5),
            failure: failure.map(Into::into),
        };
        let report = junit(&[test("a < b & \"c\"", None), test("fails", Some("1 > 0\u{1b}[31m"))]);
        expect_test::expect![[r#"
            <?xml version="1.0" encoding="UTF-8"?>
            <testsuite name="segtide" tests="2" failures="1" time="0.010">
              <testcase classname="a.flow.yaml" name="a &lt; b &amp; &quot;c&quot;" line="3" time="0.005"/>
              <testcase classname="a.flow.yaml" name="fails" line="3" time="0.005">
                <failure>1 &gt; 0�[31m</failure>
              </testcase>
            </testsuite>
        "#]]
        .assert_eq(&report);
    }
}
