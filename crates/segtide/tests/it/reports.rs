//! What is written for whom: people with and without colours, programs, and those who review code.

use std::path::Path;
use std::process::Command;

use expect_test::expect;
use serde_json::Value;

use crate::kit::{segtide, undisturbed};

/// A catalog with one mistake, and one whose test fails.
const WRONG: &str = "collections:\n  a/b: { schema: { type: object }, key: [id] }\n";
const FAILS: &str = "collections:
  a/b: { schema: { type: object, properties: { id: { type: integer } }, required: [id] }, key: [/id] }
tests:
  it: [{ verify: { collection: a/b, documents: [{ id: 1 }] } }]
";

fn catalog(text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("flow.yaml"), text).unwrap();
    directory
}

/// What is printed to either stream with these variables.
fn said(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> [String; 2] {
    let mut command = Command::new(env!("CARGO_BIN_EXE_segtide"));
    undisturbed(&mut command);
    command.env_remove("NO_COLOR");
    let output = command.current_dir(directory).args(arguments).envs(variables.iter().copied()).output().unwrap();
    [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
}

#[test]
fn colours_are_as_was_asked_for() {
    let directory = catalog(WRONG);
    let is_coloured = |arguments: &[&str], variables: &[(&str, &str)]| {
        said(directory.path(), &[&["check"], arguments].concat(), variables).concat().contains('\x1b')
    };
    assert!(!is_coloured(&[], &[]), "no terminal");
    assert!(is_coloured(&["--color", "always"], &[]));
    assert!(is_coloured(&[], &[("FORCE_COLOR", "1")]));
    assert!(is_coloured(&[], &[("SEGTIDE_COLOR", "always")]));
    assert!(!is_coloured(&["--color", "never"], &[("FORCE_COLOR", "1")]));
    assert!(!is_coloured(&["--color", "always"], &[("NO_COLOR", "1")]));
}

/// Would catch a catalog, or an argument, that writes on the terminal what it likes.
#[test]
fn what_is_quoted_cannot_move_a_cursor() {
    let directory =
        catalog("collections: { \"a\\e[2Jb\": {} }\ntests: { \"t\\e]0;x\\a\": [{ verify: { collection: a/b } }] }\n");
    for arguments in
        [&["check"][..], &["test"], &["check", "--source", "x\x1b[2Jy"], &["read", "a\x1b[2Jb"], &["init", "x\x07"]]
    {
        for colours in ["never", "always"] {
            let [out, err] = said(directory.path(), &[arguments, &["--color", colours]].concat(), &[]);
            let both = [out, err].concat();
            let is_colour = |code: &str| {
                let codes = code.strip_prefix('[').unwrap_or("?");
                codes.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m')
            };
            assert!(both.split('\x1b').skip(1).all(is_colour), "{arguments:?}: {both:?}");
        }
    }
}

#[test]
fn mistakes_are_shown_where_code_is_reviewed() {
    let directory = catalog(WRONG);
    let sarif = segtide(directory.path(), &["check", "-o", "sarif"]);
    assert_eq!((sarif.code, sarif.err.as_str()), (1, ""));
    let sarif: Value = serde_json::from_str(&sarif.out).unwrap();
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!((&result["ruleId"], &result["level"]), (&"pointer-invalid".into(), &"error".into()));
    let at = &result["locations"][0]["physicalLocation"];
    assert_eq!(at["artifactLocation"]["uri"], "flow.yaml");
    assert_eq!((&at["region"]["startLine"], &at["region"]["startColumn"]), (&2.into(), &42.into()));
    assert_eq!(sarif["runs"][0]["tool"]["driver"]["rules"][0]["id"], "pointer-invalid");

    let reviewed = [("GITHUB_ACTIONS", "true")];
    expect![[r#"
        ::error file=flow.yaml,line=2,col=42,title=pointer-invalid::"id" is not a valid JSON pointer (missing leading '/' slash)%0Awrite `/id`
    "#]].assert_eq(&said(directory.path(), &["check"], &reviewed)[0]);
    let directory = catalog(FAILS);
    let [out, _] = said(directory.path(), &["test"], &reviewed);
    let annotations: Vec<&str> = out.lines().filter(|line| line.starts_with("::")).collect();
    assert_eq!(annotations.len(), 1, "{out}");
    assert!(annotations[0].starts_with("::error file=flow.yaml,line=4,title=it::"), "{out}");
    assert!(!said(directory.path(), &["test"], &[])[0].contains("::error"));
}

#[test]
fn json_goes_by_two_names() {
    let directory = catalog(FAILS);
    let by = |arguments: &[&str]| {
        let said = segtide(directory.path(), &[&["test"], arguments].concat());
        let mut report: Value = serde_json::from_str(&said.out).unwrap();
        report["tests"][0]["milliseconds"].take();
        report
    };
    assert_eq!(by(&["--json"]), by(&["-o", "json"]));
    assert_eq!(segtide(directory.path(), &["validate"]).code, 0);
}
