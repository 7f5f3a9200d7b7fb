//! What the guide shows is what happens: its files are written, its commands are run, and their output is compared.
//!
//! A chapter runs in a directory of its own. A block `yaml file=NAME` or `ts file=NAME` is a file. A block `console` holds
//! commands, each behind `$ `, and what they print; a line of `…` stands for any lines, a `…` within one for any text. Other
//! blocks are only read.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::kit::undisturbed;

/// A fenced block: what stands behind the fence, and its lines.
fn blocks(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            found.push((info, lines.by_ref().take_while(|line| *line != "```").collect()));
        }
    }
    found
}

/// Runs a command of the guide; both of its outputs.
fn run(command: &str, directory: &Path) -> Result<String, String> {
    let programs = Path::new(env!("CARGO_BIN_EXE_segtide")).parent().unwrap().to_str().unwrap();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{command} 2>&1")).current_dir(directory).env("PATH", path);
    undisturbed(&mut shell);
    let output = shell.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(printed)
    } else {
        Err(format!("it failed ({}) and printed:\n{printed}", output.status))
    }
}

/// Whether lines are as they are expected to be.
fn matches(expected: &[&str], actual: &[&str]) -> bool {
    match expected {
        [] => actual.is_empty(),
        ["…", rest @ ..] => (0..=actual.len()).any(|skipped| matches(rest, &actual[skipped..])),
        [line, rest @ ..] => actual.first().is_some_and(|found| is_like(line, found)) && matches(rest, &actual[1..]),
    }
}

/// Whether a line is as expected, where `…` stands for any text.
fn is_like(expected: &str, actual: &str) -> bool {
    let mut parts = expected.split('…');
    let Some(mut rest) = actual.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty()
}

#[test]
fn likeness() {
    for (expected, actual, alike) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a…", "ab", true),
        ("a…c", "abc", true),
        ("a…c", "ab", false),
        ("a…c…e", "abcde", true),
        ("…", "", true),
    ] {
        assert_eq!(is_like(expected, actual), alike, "{expected} {actual}");
    }
    assert!(matches(&["a", "…", "z"], &["a", "b", "c", "z"]) && !matches(&["a", "…", "z"], &["a", "b"]));
}

/// Would catch a guide that says what is not so.
#[test]
fn every_block_of_the_guide_is_true() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide");
    let (mut commands, mut wrong) = (0, String::new());
    let mut chapters: Vec<_> = fs::read_dir(guide).unwrap().map(|entry| entry.unwrap().path()).collect();
    chapters.sort();
    for chapter in chapters {
        let text = fs::read_to_string(&chapter).unwrap();
        let directory = tempfile::tempdir().unwrap();
        for (info, lines) in blocks(&text) {
            if let Some((_, name)) = info.split_once(" file=") {
                fs::write(directory.path().join(name), lines.join("\n") + "\n").unwrap();
            }
            if info != "console" {
                continue;
            }
            let mut rest = &lines[..];
            while let Some((command, after)) = rest.split_first() {
                let command = command.strip_prefix("$ ").unwrap_or_else(|| panic!("{command:?} is no command"));
                let (expected, next) =
                    after.split_at(after.iter().position(|l| l.starts_with("$ ")).unwrap_or(after.len()));
                rest = next;
                commands += 1;
                let name = chapter.file_name().unwrap().to_string_lossy();
                match run(command, directory.path()) {
                    Err(why) => wrong += &format!("{name}: $ {command}\n{why}\n"),
                    Ok(printed) => {
                        let actual: Vec<&str> = printed.lines().map(str::trim_end).collect();
                        // Talk about how long something took is left out of the guide where nothing else is expected.
                        if !expected.is_empty() && !matches(expected, &actual) {
                            wrong += &format!("{name}: $ {command}\nprinted:\n{printed}\n");
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(commands > 15, "only {commands} commands were found");
}
