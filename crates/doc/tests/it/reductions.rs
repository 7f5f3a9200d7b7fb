//! Each strategy with its options and errors.
//!
//! `cases/reductions.json` lists documents that are reduced one after another. The rows of `tables.json` and `sets.json` are
//! `left | right | reduced`: `-` where there is nothing on the left, `!` and the reason where they cannot be reduced, or
//! `deleted`. `sets.json` holds every combination of terms.

use doc::Arena;
use serde_json::Value;

use crate::{count, node, schema};

#[test]
fn cases() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("cases/reductions.json")).unwrap();
    count("reductions.json", cases.iter().map(|case| case["steps"].as_array().unwrap().len()).sum());
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        let schema = schema(case["schema"].clone());
        let full = case["full"].as_bool().unwrap_or(false);
        let arena = Arena::new();
        let mut left = None;
        for (at, step) in case["steps"].as_array().unwrap().iter().enumerate() {
            let right = node(&arena, &step["doc"]);
            schema.validate(right).unwrap_or_else(|error| panic!("{name}, step {at}: {error}"));
            match schema.reduce(&arena, left, right, full) {
                Ok(Some(reduced)) => {
                    let expect = node(&arena, step.get("to").unwrap_or(&step["doc"]));
                    assert_eq!(reduced.to_json(), expect.to_json(), "{name}, step {at}");
                    left = Some(reduced);
                }
                Ok(None) => {
                    assert_eq!(step["deleted"], true, "{name}, step {at}");
                    left = None;
                }
                Err(error) => assert_eq!(error.to_string(), step["error"].as_str().unwrap_or(""), "{name}, step {at}"),
            }
        }
    }
}

fn rows(file: &str, text: &str) {
    let cases: Vec<Value> = serde_json::from_str(text).unwrap();
    let (mut rows, mut wrong) = (0, Vec::new());
    for case in &cases {
        let rule = case["rule"].as_str().unwrap();
        let schema = schema(case["schema"].clone());
        let full = case["full"].as_bool().unwrap_or(false);
        for row in case["rows"].as_array().unwrap() {
            let row = row.as_str().unwrap();
            let arena = Arena::new();
            let [left, right, expect] = row.split(" | ").collect::<Vec<_>>()[..] else { panic!("{rule}: {row}") };
            let read = |text: &str| doc::parse(&arena, arena.alloc_str(text).as_bytes()).unwrap();
            let left = (left != "-").then(|| read(left));
            let reduced = match schema.reduce(&arena, left, read(right), full) {
                Ok(Some(reduced)) => reduced.to_json(),
                Ok(None) => "deleted".to_owned(),
                Err(error) => format!("!{:?}", error.reason),
            };
            if reduced != expect {
                wrong.push(format!("{rule}: {row}, not {reduced}"));
            }
            rows += 1;
        }
    }
    count(file, rows);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn tables() {
    rows("tables.json", include_str!("cases/tables.json"));
}

#[test]
fn sets() {
    rows("sets.json", include_str!("cases/sets.json"));
}
