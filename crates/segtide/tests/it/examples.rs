//! The examples' tests pass. They are what we promise of the catalog language: what they expect comes from its rules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// All catalogs below a directory that define tests, sorted.
fn catalogs(directory: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            catalogs(&path, found);
        } else if path.to_string_lossy().ends_with(".flow.yaml") {
            let text = fs::read_to_string(&path).unwrap();
            if text.lines().any(|line| line == "tests:") {
                found.push(path);
            }
        }
    }
}

/// Processor time of all processes we have waited for, in seconds; zero where the system does not say.
fn children_cpu_seconds() -> f64 {
    /// Of the clock that `/proc` counts in, on every Linux there is.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold anything; user and system time of children are the 14th and 15th from there.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(13).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND
}

#[test]
fn examples_pass_their_tests() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut found = Vec::new();
    catalogs(&examples, &mut found);
    assert!(found.len() >= 18, "only {} catalogs with tests were found", found.len());

    let begun = Instant::now();
    let cpu = children_cpu_seconds();
    let mut failed = String::new();
    for path in &found {
        let mut command = Command::new(env!("CARGO_BIN_EXE_segtide"));
        let output = command.arg("test").arg("--source").arg(path).output().unwrap();
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        if !output.status.success() || said.contains("Ran 0 tests") {
            failed += &format!("{}:\n{said}\n", path.display());
        }
    }
    assert!(failed.is_empty(), "{failed}");
    println!(
        "{} catalogs in {:.2} s, of which {:.2} s of processor",
        found.len(),
        begun.elapsed().as_secs_f64(),
        children_cpu_seconds() - cpu
    );
}
