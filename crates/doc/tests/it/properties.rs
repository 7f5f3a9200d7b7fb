//! Properties over random documents, against serde_json and against models too simple to be wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use doc::{Arena, Combiner, Node, compare, pack_node, parse};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{node, pointers, schema};

/// Numbers where representations meet, and others.
fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-4i64..4).prop_map(Value::from),
        (-8i64..8).prop_map(|n| json!(n as f64 / 2.0)),
        prop::num::f64::NORMAL.prop_map(|n| json!(n)),
        (0u64..4096).prop_map(|n| json!((u64::MAX - n) as f64)),
        (0u64..4096).prop_map(|n| json!(u64::MAX - n)),
        (0u64..8).prop_map(|n| json!((1u64 << 53) + n)),
        (0u64..8).prop_map(|n| json!(((1u64 << 53) + n) as f64)),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ab\u{0}\u{1}\"\\\\é😀]{0,4}", ".{0,20}"]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number(),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// One key of the model: each field kept apart.
struct Modelled {
    sum: i64,
    first: u32,
    least: u32,
    last: u32,
    tags: BTreeMap<u8, u64>,
}

fn packed(node: Node<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    pack_node(node, &mut out);
    out
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(value in value()) {
        let arena = Arena::new();
        let made = node(&arena, &value);
        let text = made.to_json();
        let read = parse(&arena, text.as_bytes()).unwrap();
        prop_assert_eq!(format!("{read:?}"), format!("{made:?}"));
        prop_assert_eq!(&doc::to_value(read), &value);
        prop_assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), &value);
    }

    #[test]
    fn serde_json_is_read_alike(value in value(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let arena = Arena::new();
        prop_assert_eq!(doc::to_value(parse(&arena, text.as_bytes()).unwrap()), value);
    }

    #[test]
    fn broken_text_is_refused_alike(text in r#"[\[\]{},:"\\untrfalse0-9eE.+\- é]{0,12}"#) {
        let arena = Arena::new();
        let ours = parse(&arena, text.as_bytes()).map(doc::to_value);
        match (ours, serde_json::from_str::<Value>(&text)) {
            // serde_json keeps the last of duplicates, and makes large integers and `-0` floats.
            (Ok(ours), Ok(theirs)) => prop_assert!(ours == theirs || text.contains("-0"), "{} {}", ours, theirs),
            (Err(error), Ok(_)) => {
                let strict = ["duplicate", "64 bits"].iter().any(|reason| error.to_string().contains(reason));
                prop_assert!(strict, "{}: {}", text, error);
            }
            (Ok(ours), Err(error)) => prop_assert!(false, "{}: {} {}", text, ours, error),
            (Err(_), Err(_)) => {}
        }
    }

    #[test]
    fn packing_keeps_the_order(a in value(), b in value()) {
        let arena = Arena::new();
        let (a, b) = (node(&arena, &a), node(&arena, &b));
        prop_assert_eq!(packed(a).cmp(&packed(b)), compare(a, b));
    }

    #[test]
    fn numbers_pack_in_order(a in number(), b in number()) {
        let arena = Arena::new();
        let (a, b) = (node(&arena, &a), node(&arena, &b));
        prop_assert_eq!(packed(a).cmp(&packed(b)), compare(a, b));
        prop_assert_eq!(compare(a, b), compare(b, a).reverse());
    }

    #[test]
    fn keys_of_several_values_do_not_run_together(a in (text(), text()), b in (text(), text())) {
        let pack = |(x, y): &(String, String)| [packed(Node::Str(x)), packed(Node::Str(y))].concat();
        prop_assert_eq!(pack(&a).cmp(&pack(&b)), a.cmp(&b));
    }

    /// Documents combined in one go, or in chunks that are combined again, or behind a stored document, are the same; and
    /// they are what a model that keeps each field apart says.
    #[test]
    fn chunks_combine_to_the_same(
        documents in prop::collection::vec((0u8..4, -9i64..9, 0u32..5, prop::collection::btree_set(0u8..5, 0..3)), 1..24),
        cuts in prop::collection::vec(any::<bool>(), 24),
    ) {
        let schema = Arc::new(schema(json!({
            "type": "object",
            "reduce": {"strategy": "merge"},
            "properties": {
                "sum": {"type": "integer", "reduce": {"strategy": "sum"}},
                "first": {"reduce": {"strategy": "firstWriteWins"}},
                "least": {"reduce": {"strategy": "minimize"}},
                "tags": {"type": "array", "reduce": {"strategy": "merge", "key": ["/t"]}, "items": {
                    "type": "object",
                    "reduce": {"strategy": "merge"},
                    "properties": {"n": {"reduce": {"strategy": "sum"}}},
                }},
            },
        })));
        let combiner = || Combiner::new(schema.clone(), pointers(["/k"]));
        let texts: Vec<Value> = documents.iter().map(|(k, sum, at, tags)| {
            let tags: Vec<_> = tags.iter().map(|t| json!({"t": t, "n": 1})).collect();
            json!({"k": k, "sum": sum, "first": at, "least": at, "last": at, "tags": tags})
        }).collect();

        let mut model: BTreeMap<u8, Modelled> = BTreeMap::new();
        for (k, sum, at, tags) in &documents {
            let entry = model.entry(*k).or_insert(Modelled { sum: 0, first: *at, least: *at, last: *at, tags: BTreeMap::new() });
            entry.sum += sum;
            entry.least = entry.least.min(*at);
            entry.last = *at;
            tags.iter().for_each(|tag| *entry.tags.entry(*tag).or_default() += 1);
        }
        let model: Vec<String> = model.into_iter().map(|(k, Modelled { sum, first, least, last, tags })| {
            let tags: Vec<_> = tags.iter().map(|(t, n)| json!({"t": t, "n": n})).collect();
            json!({"k": k, "sum": sum, "first": first, "least": least, "last": last, "tags": tags}).to_string()
        }).collect();

        let drain = |combiner: &mut Combiner| -> Vec<String> {
            combiner.drain_by_key().map(|drained| String::from_utf8(drained.document.to_vec()).unwrap()).collect()
        };
        let arena = Arena::new();
        let (mut whole, mut chunk, mut chunks) = (combiner(), combiner(), combiner());
        for (at, text) in texts.iter().enumerate() {
            whole.combine_right(&arena, node(&arena, text)).unwrap();
            chunk.combine_right(&arena, node(&arena, text)).unwrap();
            if cuts[at] || at + 1 == texts.len() {
                for text in drain(&mut chunk) {
                    let text = arena.alloc_slice_copy(text.as_bytes());
                    chunks.combine_right(&arena, parse(&arena, text).unwrap()).unwrap();
                }
            }
        }
        let mut stored = combiner();
        let (old, new) = texts.split_at(texts.len() / 2);
        for text in new {
            stored.combine_right(&arena, node(&arena, text)).unwrap();
        }
        for text in old {
            chunk.combine_right(&arena, node(&arena, text)).unwrap();
        }
        for text in drain(&mut chunk) {
            let text = arena.alloc_slice_copy(text.as_bytes());
            stored.reduce_left(&arena, parse(&arena, text).unwrap()).unwrap();
        }
        prop_assert_eq!(&drain(&mut whole), &model);
        prop_assert_eq!(&drain(&mut chunks), &model);
        prop_assert_eq!(&drain(&mut stored), &model);
    }
}
