//! Rules of the code base that no compiler holds: who may import whom, who may touch the world, what a file looks like.
//!
//! `ARCHITECTURE.md` says them in prose. They are checked on the text of the sources: comments and test modules are left
//! out, strings are not, so a rule may be stricter than it means to be; so far that costs nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each crate and what it may use of the others. `testkit` is for tests, so nobody but `bench` may name it outside
/// `[dev-dependencies]`.
const ARROWS: &[(&str, &[&str])] = &[
    ("bench", &["catalog", "connectors", "doc", "journal", "runtime", "script", "testkit"]),
    ("catalog", &["doc"]),
    ("connectors", &["catalog", "doc", "runtime"]),
    ("doc", &[]),
    ("journal", &[]),
    ("runtime", &["catalog", "doc", "journal"]),
    ("script", &["catalog", "doc", "runtime"]),
    ("segtide", &["catalog", "connectors", "doc", "journal", "runtime", "script"]),
    ("testkit", &["journal"]),
];

/// Libraries, each with a crate it stays in; SQLite is a destination and a language.
const KEPT_IN: &[(&str, &str)] = &[
    ("annotate-snippets", "segtide"),
    ("anyhow", "bench"),
    ("anyhow", "segtide"),
    ("axum", "segtide"),
    ("clap", "bench"),
    ("clap", "segtide"),
    ("fjall", "journal"),
    ("jsonschema", "doc"),
    ("object_store", "journal"),
    ("referencing", "doc"),
    ("rquickjs", "script"),
    ("rusqlite", "bench"),
    ("rusqlite", "connectors"),
    ("rusqlite", "script"),
    ("saphyr", "catalog"),
    ("signal-hook", "segtide"),
    ("tokio", "segtide"),
    ("ureq", "connectors"),
    ("ureq", "journal"),
    ("ureq", "segtide"),
];

/// What a crate's sources may not mention.
const ABSENT: &[(&str, &[&str])] = &[
    ("doc", &["std::fs", "std::net", "std::process", "std::thread", "std::time", "File::", ".await", "async fn"]),
    ("catalog", &["std::net", "std::process", "std::thread", "std::time", ".await", "async fn"]),
    ("journal", &["jsonschema", "reduce"]),
    ("runtime", &["std::fs", "std::net", "std::process", "rusqlite", "materialize-", "source-file", "event-generator"]),
    ("script", &["journal::", "std::net", "std::process"]),
    ("connectors", &["journal::"]),
];

/// What only `segtide`, `bench`, and `testkit` in tests, may mention: everyone else is handed what they need, and hands back text.
const OUTERMOST: &[&str] = &["print!(", "println!(", "eprint!(", "eprintln!(", "std::env", "env::var", "process::exit"];

/// The ways to read the wall clock. `Instant` is not among them: it tells durations, not the time.
const WALL_CLOCK: &[&str] = &["SystemTime::now", "Utc::now", "Local::now", "Timestamp::now", "Zoned::now"];

/// Module names that say nothing.
const NAMELESS: &[&str] = &["common", "helper", "helpers", "manager", "misc", "mod", "types", "util", "utils"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn crates() -> Vec<String> {
    let entries = fs::read_dir(root().join("crates")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| root().join("crates").join(name).join("Cargo.toml").exists());
    names.sort();
    names
}

/// Names under `[dependencies]`, `[build-dependencies]` and their per-target forms.
fn dependencies(krate: &str) -> Vec<String> {
    let manifest = fs::read_to_string(root().join("crates").join(krate).join("Cargo.toml")).unwrap();
    let mut found = Vec::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            inside = section.ends_with("dependencies") && !section.ends_with("dev-dependencies");
            // `[dependencies.name]`
            if let Some((table, name)) = section.rsplit_once('.')
                && table.ends_with("dependencies")
                && !table.ends_with("dev-dependencies")
            {
                found.push(name.to_owned());
            }
        } else if inside && !line.starts_with('#') {
            let name = line.split(['.', '=', ' ']).next().unwrap();
            if !name.is_empty() {
                found.push(name.to_owned());
            }
        }
    }
    found
}

/// Every `.rs` file below `crates/<krate>/<folder>`, by its path from the root.
fn sources(krate: &str, folder: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join("crates").join(krate).join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    found
}

/// The lines that are code of the program: no comments, no test module (which ends a file), none of a file of tests.
fn code<'a>(path: &str, text: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    let tests = path.ends_with("/tests.rs") || path.contains("/tests/");
    let mut lines = text.lines().enumerate().peekable();
    std::iter::from_fn(move || {
        let (number, line) = lines.next()?;
        let ends = line == "#[cfg(test)]" && lines.peek().is_some_and(|(_, next)| next.starts_with("mod "));
        (!tests && !ends).then_some((number + 1, line))
    })
    .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Where one of these is mentioned in the code of a crate, as `path:line: code`.
fn mentions(krate: &str, what: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in sources(krate, "src") {
        for (number, line) in code(&path, &text) {
            if what.iter().any(|word| line.contains(word)) {
                found.push(format!("{path}:{number}: {}", line.trim()));
            }
        }
    }
    found
}

#[test]
fn crates_import_only_along_the_arrows() {
    let known: Vec<_> = ARROWS.iter().map(|(krate, _)| *krate).collect();
    assert_eq!(crates(), known, "a new crate needs a decision note and a row here");
    for (krate, may) in ARROWS {
        for dependency in dependencies(krate) {
            let ours = known.contains(&dependency.as_str());
            assert!(!ours || may.contains(&dependency.as_str()), "{krate} may not use {dependency}");
        }
    }
}

#[test]
fn heavy_libraries_stay_in_their_crate() {
    for krate in crates() {
        for dependency in dependencies(&krate) {
            let kept = KEPT_IN.iter().filter(|(library, _)| *library == dependency);
            let homes: Vec<&str> = kept.map(|(_, home)| *home).collect();
            let fits = homes.is_empty() || homes.contains(&krate.as_str());
            assert!(fits, "{dependency} belongs in {homes:?}, not in {krate}");
        }
    }
}

#[test]
fn crates_do_not_mention_what_they_must_not_know() {
    for (krate, words) in ABSENT {
        assert_eq!(mentions(krate, words), Vec::<String>::new(), "{krate} must not mention any of {words:?}");
    }
}

#[test]
fn a_catalog_opens_files_only_to_fetch_them() {
    let mut found = mentions("catalog", &["std::fs", "fs::", "File::"]);
    found.retain(|place| !place.starts_with("crates/catalog/src/fetch.rs:"));
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn lambdas_open_no_file_but_their_database() {
    let mut found = mentions("script", &["std::fs", "fs::", "File::"]);
    found.retain(|place| !place.starts_with("crates/script/src/sqlite/scratch.rs:"));
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn only_the_binary_prints_exits_and_reads_the_environment() {
    for krate in crates().iter().filter(|krate| !["bench", "segtide", "testkit"].contains(&krate.as_str())) {
        assert_eq!(mentions(krate, OUTERMOST), Vec::<String>::new());
    }
}

#[test]
fn one_place_reads_the_wall_clock() {
    let found: Vec<_> = crates().iter().flat_map(|krate| mentions(krate, WALL_CLOCK)).collect();
    assert!(found.len() == 1, "the wall clock is read in one place, behind `journal::Clock`:\n{}", found.join("\n"));
}

#[test]
fn every_crate_inherits_the_lints_and_forbids_unsafe() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("unsafe_code = \"forbid\""));
    for krate in crates() {
        let manifest = fs::read_to_string(root().join("crates").join(&krate).join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{krate} does not inherit the workspace's lints");
    }
}

/// `cargo run -- demo` is the first thing the README says, and there is more than one binary.
#[test]
fn cargo_run_means_the_program() {
    let cargo = std::env::var_os("CARGO").unwrap();
    let arguments = ["metadata", "--format-version", "1", "--no-deps", "--offline"];
    let told = std::process::Command::new(cargo).args(arguments).current_dir(root()).output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    let [meant] = told["workspace_default_members"].as_array().unwrap().as_slice() else { panic!("more than one") };
    assert!(meant.as_str().unwrap().contains("crates/segtide"), "{meant}");
}

#[test]
fn every_file_says_what_it_is_for_and_has_a_name_of_its_own() {
    for krate in crates() {
        for (path, text) in sources(&krate, "src").into_iter().chain(sources(&krate, "tests")) {
            assert!(text.starts_with("//!"), "{path} does not open with //!");
            let stem = Path::new(&path).file_stem().unwrap().to_str().unwrap();
            assert!(!NAMELESS.contains(&stem), "{path} is not named after a thing");
        }
    }
}

#[test]
fn a_line_of_a_test_module_or_comment_is_no_code() {
    let text = "//! About.\nfn a() {}\n// SystemTime::now\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
    assert_eq!(code("crates/x/src/y.rs", text).collect::<Vec<_>>(), [(2, "fn a() {}")]);
    assert_eq!(code("crates/x/src/y/tests.rs", text).count(), 0);
    assert_eq!(code("crates/x/src/y.rs", "#[cfg(test)]\nuse a::b;\n").count(), 2);
}
