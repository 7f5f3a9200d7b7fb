//! Reductions never panic; where a schema is associative, it does not matter which two of three documents are reduced first.
#![no_main]

use std::sync::{Arc, LazyLock};

use doc::{Arena, Node, Schema, compare, from_value};
use fuzz::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fn schema(value: Value) -> Schema {
    let url = "fuzz:/schema".parse().expect("a constant URL is valid");
    let value = Arc::new(value);
    Schema::compile(&url, &|_| Some(value.clone())).expect("the schemas of this target are valid")
}

/// Every strategy somewhere.
static ASSOCIATIVE: LazyLock<[Schema; 3]> = LazyLock::new(|| {
    let properties = json!({
        "n": {"type": "integer", "reduce": {"strategy": "sum"}},
        "a": {"reduce": {"strategy": "maximize"}},
        "min": {"reduce": {"strategy": "minimize"}},
        "first": {"reduce": {"strategy": "firstWriteWins"}},
        "all": {"reduce": {"strategy": "append"}},
        "list": {"reduce": {"strategy": "merge", "key": [""]}},
    });
    let set = json!({
        "type": "object", "additionalProperties": {"type": "object"},
        "reduce": {"strategy": "set"},
        "properties": {"add": {"additionalProperties": {"type": "integer", "reduce": {"strategy": "sum"}}}},
    });
    let merge = json!({"strategy": "merge"});
    [
        schema(json!({"type": "object", "reduce": merge, "properties": properties})),
        schema(json!({
            "type": "object", "reduce": merge, "properties": properties,
            "additionalProperties": {"if": {"type": "object"}, "then": {"$ref": "#"}},
        })),
        schema(set),
    ]
});

/// What is sound to reduce, though not associative.
static OTHERS: LazyLock<[Schema; 3]> = LazyLock::new(|| {
    let set = json!({"reduce": {"strategy": "set", "key": ["/k"]}});
    let patch = json!({
        "if": {"type": "object"},
        "then": {"reduce": {"strategy": "merge"}, "additionalProperties": {"$ref": "#"}},
        "else": {"if": {"type": "null"}, "then": {"reduce": {"strategy": "lastWriteWins", "delete": true}}},
    });
    let mixed = json!({
        "reduce": {"strategy": "merge", "key": ["/k"]},
        "properties": {"n": {"reduce": {"strategy": "sum"}}, "add": {"reduce": {"strategy": "jsonSchemaMerge"}}},
        "oneOf": [{"required": ["k"], "properties": {"k": {"reduce": {"strategy": "minimize", "key": ["/k"]}}}}, true],
        "items": {"$ref": "#"}, "unevaluatedProperties": {"reduce": {"strategy": "maximize", "key": ["/a"]}},
    });
    [schema(set), schema(patch), schema(mixed)]
});

/// Lists that are merged by key are sorted, each element once.
fn sort_lists(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.values_mut().for_each(sort_lists);
        if let Some(Value::Array(items)) = fields.get_mut("list") {
            let arena = Arena::new();
            items.sort_by(|a, b| compare(from_value(&arena, a), from_value(&arena, b)));
            items.dedup_by(|a, b| compare(from_value(&arena, a), from_value(&arena, b)).is_eq());
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes(data);
    let arena = Arena::new();
    let objects: [Node<'_>; 3] = std::array::from_fn(|_| {
        let mut object = bytes.object(false);
        sort_lists(&mut object);
        from_value(&arena, &object)
    });
    let [a, b, c] = objects;
    for schema in ASSOCIATIVE.iter().filter(|schema| objects.iter().all(|object| schema.is_valid(*object))) {
        let reduce = |left, right| schema.reduce(&arena, Some(left), right, false).ok().flatten();
        let before = reduce(a, b).and_then(|ab| reduce(ab, c));
        let after = reduce(b, c).and_then(|bc| reduce(a, bc));
        if let (Some(before), Some(after)) = (before, after) {
            assert!(compare(before, after).is_eq(), "{} {}", before.to_json(), after.to_json());
        }
    }
    let values: [Node<'_>; 2] = std::array::from_fn(|_| from_value(&arena, &bytes.value(true)));
    for schema in OTHERS.iter().filter(|schema| schema.is_valid(values[1])) {
        for full in [false, true] {
            let _ = schema.reduce(&arena, Some(values[0]), values[1], full);
            let _ = schema.reduce(&arena, None, values[1], full);
        }
    }
});
