//! Each strategy with its options and errors: `cases/reductions.json` lists documents that are reduced one after another.

use doc::Arena;
use serde_json::Value;

use crate::{node, schema};

#[test]
fn cases() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("cases/reductions.json")).unwrap();
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
