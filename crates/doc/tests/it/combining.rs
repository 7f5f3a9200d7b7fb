//! The combiner: what it keeps, in which order, and what it says of documents it refuses.

use std::sync::Arc;

use doc::{Arena, CombineError, Combiner, Schema};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{finished, node, pointers, schema};

fn counts() -> Combiner {
    let schema = schema(json!({
        "type": "object",
        "required": ["k"],
        "reduce": {"strategy": "merge"},
        "properties": {
            "k": {"type": ["integer", "string"]},
            "n": {"type": "integer", "maximum": 100, "reduce": {"strategy": "sum"}},
        },
        "if": {"required": ["gone"]},
        "then": {"properties": {"gone": {"const": true}}},
    }));
    Combiner::new(Arc::new(schema), pointers(["/k"]))
}

fn drained<'c>(drain: impl Iterator<Item = doc::Drained<'c>>) -> Vec<String> {
    let text = |document| std::str::from_utf8(document).unwrap().to_owned();
    drain.flat_map(|drained| drained.documents()).map(text).collect()
}

fn combine(combiner: &mut Combiner, document: Value) -> Result<(), CombineError> {
    let arena = Arena::new();
    combiner.combine_right(&arena, node(&arena, &document)).map(drop)
}

#[test]
fn drains_in_both_orders_and_again() {
    let mut combiner = counts();
    for round in 0..2 {
        for (k, n) in [("b", 1), ("a", 2), ("b", 3), ("c", 4)] {
            combine(&mut combiner, json!({"k": k, "n": n})).unwrap();
        }
        assert_eq!(combiner.len(), 3);
        assert!(combiner.bytes() > 0);
        let (a, b, c) = (r#"{"k":"a","n":2}"#, r#"{"k":"b","n":4}"#, r#"{"k":"c","n":4}"#);
        if round == 0 {
            assert_eq!(drained(combiner.drain_by_arrival()), [b, a, c]);
        } else {
            assert_eq!(drained(combiner.drain_by_key()), [a, b, c]);
        }
        assert!(combiner.is_empty() && combiner.bytes() == 0);
        assert_eq!(combiner.drain_by_key().count(), 0);
    }
}

#[test]
fn the_document_of_a_key_is_told() {
    let mut combiner = counts();
    let arena = Arena::new();
    for (k, n, nth, told) in [("b", 1, 0, 1), ("a", 2, 1, 2), ("b", 3, 0, 4)] {
        let document = node(&arena, &json!({"k": k, "n": n}));
        let text = document.to_json();
        let (at, now) = combiner.combine_right_written(&arena, document, text.as_bytes(), false).unwrap();
        assert_eq!((at, now.to_json()), (nth, json!({"k": k, "n": told}).to_string()));
    }
    assert_eq!(drained(combiner.drain_by_arrival()), [r#"{"k":"b","n":4}"#, r#"{"k":"a","n":2}"#]);
}

#[test]
fn a_refused_document_changes_nothing() {
    let mut combiner = counts();
    combine(&mut combiner, json!({"k": 1, "n": 60})).unwrap();
    let error = combine(&mut combiner, json!({"n": 1})).unwrap_err();
    assert_eq!(error.to_string(), "document is invalid: \"\": the property \"k\" is missing");
    let error = combine(&mut combiner, json!({"k": 1, "n": 60})).unwrap_err();
    assert_eq!(error.to_string(), "combined document is invalid: \"/n\": 120 is more than the maximum of 100");
    let deep = (0..200).fold(json!(1), |deep, _| json!([deep]));
    // Of a key that is there, and of one that is not, whose text is half written when it turns out.
    for k in [1, 2] {
        assert_eq!(combine(&mut combiner, json!({"k": k, "deep": deep})), Err(CombineError::Depth));
    }
    assert_eq!(combiner.len(), 1);
    combine(&mut combiner, json!({"k": 2, "n": 3})).unwrap();
    assert_eq!(drained(combiner.drain_by_key()), [r#"{"k":1,"n":60}"#, r#"{"k":2,"n":3}"#]);
}

#[test]
fn deleted_documents_can_come_back() {
    let schema = schema(json!({
        "if": {"required": ["gone"]},
        "then": {"reduce": {"strategy": "lastWriteWins", "delete": true}},
        "else": {"reduce": {"strategy": "merge"}},
    }));
    let arena = Arena::new();
    let [old, gone, new] = ["old", "gone", "new"].map(|name| node(&arena, &json!({"k": 1, name: true})));
    let reduced = |stored, documents: &[_]| schema.reduce_all(&arena, stored, documents).unwrap().map(|d| d.to_json());
    assert_eq!(reduced(Some(old), &[gone]), None);
    assert_eq!(reduced(None, &[gone]), None);
    assert_eq!(reduced(Some(old), &[gone, new]).as_deref(), Some(r#"{"k":1,"new":true}"#));
    assert_eq!(reduced(Some(old), &[new]).as_deref(), Some(r#"{"k":1,"new":true,"old":true}"#));
}

#[test]
fn garbage_is_compacted() {
    let schema =
        schema(json!({"reduce": {"strategy": "merge"}, "properties": {"log": {"reduce": {"strategy": "append"}}}}));
    let mut combiner = Combiner::new(Arc::new(schema), pointers(["/k"]));
    for n in 0..2000 {
        combine(&mut combiner, json!({"k": n % 2, "log": [n]})).unwrap();
    }
    assert!(combiner.bytes() < 200 << 10, "{}", combiner.bytes());
    let documents = drained(combiner.drain_by_key());
    assert!(documents[0].starts_with(r#"{"k":0,"log":[0,2,4,"#) && documents[1].ends_with("1997,1999]}"));
}

/// Documents of a key that its schema keeps apart: each is there until what came before them is known.
#[test]
fn documents_are_kept_apart() {
    let schema = Arc::new(schema(json!({
        "reduce": {"strategy": "merge"},
        "properties": {
            "v": {"reduce": {"strategy": "lastWriteWins", "associative": false}},
            "n": {"type": "integer", "maximum": 100, "reduce": {"strategy": "sum"}},
        },
    })));
    let combiner = |documents: &[Value]| {
        let mut combiner = Combiner::new(schema.clone(), pointers(["/k"]));
        documents.iter().for_each(|document| combine(&mut combiner, document.clone()).unwrap());
        combiner
    };
    let documents = [
        json!({"k": 1, "n": 1, "v": 1}),
        json!({"k": 2, "n": 1}),
        json!({"k": 1, "n": 2, "v": 1}),
        json!({"k": 1, "n": 3, "v": 2}),
        json!({"k": 1, "n": 4}),
        json!({"k": 1, "n": 5, "v": 3}),
    ];
    let (two, apart) =
        (r#"{"k":2,"n":1}"#, [r#"{"k":1,"n":3,"v":1}"#, r#"{"k":1,"n":7,"v":2}"#, r#"{"k":1,"n":5,"v":3}"#]);
    assert_eq!(drained(combiner(&documents).drain_by_arrival()), [apart[0], apart[1], apart[2], two]);
    assert_eq!(drained(combiner(&documents).drain_by_key()), [apart[0], apart[1], apart[2], two]);

    let all = |documents: &[Value], stored: &[Value]| finished(&schema, &mut combiner(documents), stored).into_iter();
    let old = json!({"k": 1, "n": 10, "old": true});
    let unwrapped = |stored: &[Value]| all(&documents, stored).map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(unwrapped(&[old]), [r#"{"k":1,"n":25,"old":true,"v":3}"#, two]);
    assert_eq!(unwrapped(&[]), [r#"{"k":1,"n":15,"v":3}"#, two]);
    let error = all(&documents, &[json!({"k": 1, "n": 90})]).next().unwrap().unwrap_err();
    assert!(matches!(error, CombineError::CombinedInvalid(_)), "{error}");

    let mut refused = combiner(&documents);
    let error = combine(&mut refused, json!({"k": 1, "n": 96, "v": 3})).unwrap_err();
    assert!(matches!(error, CombineError::CombinedInvalid(_)), "{error}");
    assert_eq!(drained(refused.drain_by_key())[..3], apart);
}

/// What is reduced in full when nothing is stored does not depend on which documents were kept apart until then.
#[test]
fn a_new_document_is_all_there_is_however_it_was_cut() {
    let schema = Arc::new(schema(json!({
        "if": {"required": ["gone"]},
        "then": {"reduce": {"strategy": "lastWriteWins", "delete": true}},
        "else": {"reduce": {"strategy": "merge"}},
        "properties": {
            "set": {"reduce": {"strategy": "set"}},
            "v": {"reduce": {"strategy": "lastWriteWins", "associative": false}},
        },
    })));
    let finished = |documents: &[Value]| {
        let mut combiner = Combiner::new(schema.clone(), pointers(["/k"]));
        documents.iter().for_each(|document| combine(&mut combiner, document.clone()).unwrap());
        finished(&schema, &mut combiner, &[]).into_iter().map(Result::unwrap).collect::<Vec<_>>()
    };
    let remove = json!({"k": 1, "set": {"remove": {"a": 1}}, "v": 0});
    let add = json!({"k": 1, "set": {"add": {"b": 1}}});
    let combined = json!({"k": 1, "set": {"add": {"b": 1}, "remove": {"a": 1}}, "v": 0});
    let last = json!({"k": 1, "v": 1});
    let expected = [r#"{"k":1,"set":{"add":{"b":1}},"v":1}"#];
    assert_eq!(finished(&[remove.clone(), add, last.clone()]), expected);
    assert_eq!(finished(&[combined, last.clone()]), expected);
    assert_eq!(finished(&[remove, last, json!({"k": 1, "set": {"add": {"b": 1}}})]), expected);
    assert_eq!(finished(&[json!({"k": 1, "set": {"remove": {}}})]), [r#"{"k":1,"set":{}}"#]);
    assert_eq!(finished(&[json!({"k": 1, "gone": true})]), ["deleted"]);
}

/// A strategy of documents, and of those that delete what was before them.
fn deleting(delete: &Value, other: &Value) -> Arc<Schema> {
    Arc::new(schema(json!({
        "if": {"required": ["gone"]},
        "then": {"reduce": delete},
        "else": {"reduce": other},
        "properties": {
            "n": {"type": "integer", "reduce": {"strategy": "sum"}},
            "first": {"reduce": {"strategy": "firstWriteWins"}},
            "log": {"reduce": {"strategy": "append"}},
            "set": {"reduce": {"strategy": "set"}},
            "v": {"reduce": {"strategy": "lastWriteWins", "associative": false}},
            "o": {
                "if": {"type": "null"},
                "then": {"reduce": {"strategy": "lastWriteWins", "delete": true, "associative": false}},
                "else": {"reduce": {"strategy": "merge"}},
            },
        },
    })))
}

/// What is stored of one key after transactions that end before each of these documents.
fn stored(schema: &Arc<Schema>, documents: &[Value], cut: impl Fn(usize) -> bool) -> Option<Value> {
    let mut stored: Vec<Value> = Vec::new();
    let mut transact = |combiner: &mut Combiner| {
        let row = finished(schema, combiner, &stored).remove(0).unwrap();
        stored = if row == "deleted" { Vec::new() } else { vec![serde_json::from_str(&row).unwrap()] };
    };
    let mut combiner = Combiner::new(schema.clone(), pointers(["/k"]));
    for (n, document) in documents.iter().enumerate() {
        if n > 0 && cut(n) {
            transact(&mut combiner);
        }
        combine(&mut combiner, document.clone()).unwrap();
    }
    transact(&mut combiner);
    stored.pop()
}

proptest! {
    /// Transactions of one document each are what is meant; no other way to cut them gives anything else.
    #[test]
    fn transactions_cut_anywhere_store_the_same(
        documents in prop::collection::vec((any::<u8>(), 0u8..4), 1..12),
        cuts in prop::collection::vec(any::<bool>(), 12),
        delete in prop::sample::select(vec![
            json!({"strategy": "lastWriteWins", "delete": true}),
            json!({"strategy": "merge", "delete": true}),
        ]),
        apart in any::<bool>(),
        // What merges into a document that deletes must be kept apart from it; what replaces it need not be.
        other in prop::sample::select(vec![
            json!({"strategy": "merge", "associative": false}),
            json!({"strategy": "lastWriteWins", "associative": false}),
            json!({"strategy": "lastWriteWins"}),
        ]),
    ) {
        let mut delete = delete;
        delete["associative"] = json!(!apart);
        let schema = deleting(&delete, &other);
        let documents: Vec<Value> = documents.iter().enumerate().map(|(n, (fields, at))| {
            let all = [
                ("gone", json!(true)),
                ("n", json!(at)),
                ("first", json!(n)),
                ("log", json!([n])),
                ("set", json!({ if *at % 2 == 0 { "add" } else { "remove" }: { (format!("m{}", at % 3)): n } })),
                ("v", json!(at % 2)),
                ("o", if at % 2 == 0 { Value::Null } else { json!({ (format!("p{n}")): n }) }),
                ("plain", json!(n)),
            ];
            let mut document = json!({"k": 1});
            for (bit, (name, value)) in all.into_iter().enumerate() {
                if fields >> bit & 1 == 1 {
                    document[name] = value;
                }
            }
            document
        }).collect();
        let meant = stored(&schema, &documents, |_| true);
        prop_assert_eq!(stored(&schema, &documents, |n| cuts[n]), meant.clone(), "{:?}", documents);
        prop_assert_eq!(stored(&schema, &documents, |_| false), meant, "{:?}", documents);
    }
}
