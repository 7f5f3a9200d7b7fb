//! What schemas prove of locations: `cases/shapes.json` asks for types and existence, `inspections.json` for mistakes.

use std::fmt::Write;

use doc::Types;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::{count, schema};

#[test]
fn cases() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("cases/shapes.json")).unwrap();
    count("shapes.json", cases.iter().map(|case| case["at"].as_object().unwrap().len()).sum());
    for case in &cases {
        let schema = schema(case["schema"].clone());
        for (pointer, expect) in case["at"].as_object().unwrap() {
            let located = schema.shape().locate(&pointer.parse().unwrap());
            let types =
                if located.shape.types == Types::ANY { "any".to_owned() } else { located.shape.types.to_string() };
            assert_eq!(
                format!("{:?} {types}", located.exists),
                expect.as_str().unwrap(),
                "{}: {pointer:?}",
                case["name"]
            );
        }
    }
}

#[test]
fn locations_are_named_without_patterns() {
    let schema = schema(json!({
        "type": "object",
        "properties": {
            "b": {"type": "array", "items": [{"type": "string"}], "minItems": 1},
            "a": {"type": ["object", "null"], "properties": {"x/y": {"type": "number"}}, "required": ["x/y"]},
        },
        "patternProperties": {"^z": {"type": "string"}},
        "additionalProperties": {"type": "integer"},
        "required": ["b"],
    }));
    let mut text = String::new();
    for (pointer, located) in schema.shape().locations() {
        writeln!(text, "{pointer:?} {:?} {}", located.exists, located.shape.types).unwrap();
    }
    expect![[r#"
        "" Must [object]
        "/a" May [null, object]
        "/a/x~1y" May [number]
        "/b" Must [array]
        "/b/0" Must [string]
    "#]]
    .assert_eq(&text);
}

#[test]
fn annotations_come_from_the_outer_schema() {
    let schema = schema(json!({
        "$defs": {"id": {"title": "inner", "format": "uuid", "maxLength": 40, "reduce": {"strategy": "maximize"}}},
        "$ref": "#/$defs/id",
        "title": "outer",
        "maxLength": 36,
    }));
    let shape = schema.shape();
    assert_eq!((shape.title.as_deref(), shape.format.as_deref()), (Some("outer"), Some("uuid")));
    assert_eq!((shape.length_max, shape.reduce), (Some(36), Some("maximize")));
}

#[test]
fn inspections() {
    let check = |document: Value, expect: Expect| {
        let found = schema(document).shape().inspect();
        let lines = found.iter().map(|found| format!("{} {:?}: {}\n", found.slug, found.pointer, found.message));
        expect.assert_eq(&lines.collect::<String>());
    };
    let sum = json!({"strategy": "sum"});
    let merge = json!({"strategy": "merge"});
    check(
        json!({"type": "object", "reduce": merge, "properties": {"n": {"type": "integer", "reduce": sum}}}),
        expect![""],
    );
    check(
        json!({"type": "object", "required": ["a", "c"], "properties": {"a": false, "b": false, "c": {"type": "string", "enum": [1]}}}),
        expect![[r#"
            schema-impossible "/a": '/a' must exist, but is constrained to always be invalid
            schema-impossible "/c": '/c' must exist, but is constrained to always be invalid
        "#]],
    );
    check(
        json!({"type": "object", "properties": {"n": {"type": "integer", "reduce": sum}}, "additionalProperties": {"reduce": {"strategy": "maximize"}}}),
        expect![[r#"
            reduce-parent-missing "/n": '/n' has reduction strategy, but its parent does not
            reduce-parent-missing "/*": '/*' has reduction strategy, but its parent does not
        "#]],
    );
    check(
        json!({"reduce": merge, "type": ["object", "string"], "properties": {"n": {"reduce": sum}}}),
        expect![[r#"
            reduce-type-mismatch "": '' has 'merge' reduction strategy, restricted to objects & arrays, but has types [object, string]
            reduce-type-mismatch "/n": '/n' has 'sum' reduction strategy, restricted to numbers, but has types [array, boolean, null, number, object, string]
        "#]],
    );
    check(
        json!({"type": "object", "reduce": {"strategy": "set"}, "properties": {"add": true, "drop": true}}),
        expect![[r#"
            reduce-set-property "": '' has 'set' reduction strategy, whose properties are add, intersect, remove; not drop
        "#]],
    );
    check(
        json!({"type": "object", "oneOf": [
            {"reduce": {"strategy": "lastWriteWins"}, "properties": {"v": {"type": "integer"}}},
            {"reduce": merge, "properties": {"v": {"type": "integer", "reduce": sum}}},
        ]}),
        expect![""],
    );
}

#[test]
fn inspected_cases() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("cases/inspections.json")).unwrap();
    count("inspections.json", cases.len());
    for case in &cases {
        let found = schema(case["schema"].clone()).shape().inspect();
        let found: Vec<_> = found.iter().map(|found| format!("{} {}", found.slug, found.pointer)).collect();
        assert_eq!(json!(found), case["found"], "{}: {}", case["rule"], case["schema"]);
    }
}

#[test]
fn types_are_sets() {
    let integer_or_string = Types::INTEGER.union(Types::STRING);
    assert_eq!(integer_or_string.to_string(), "[integer, string]");
    assert_eq!(Types::NUMBER.to_string(), "[number]");
    assert_eq!(Types::NONE.to_string(), "[]");
    assert!(integer_or_string.contains(Types::INTEGER) && !integer_or_string.contains(Types::NUMBER));
    assert!(Types::INTEGER.subset(Types::NUMBER) && Types::NONE.is_empty());
    assert_eq!(Types::NUMBER.intersect(integer_or_string), Types::INTEGER);
}
