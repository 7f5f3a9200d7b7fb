//! Properties over random documents, against serde_json and against models too simple to be wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use doc::{Arena, Combiner, Node, compare, pack_node, parse};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{finished, node, pointers, schema};

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
    let leaf =
        prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), number(), text().prop_map(Value::from),];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
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

/// Schemas of documents with the properties `a` and `b`, from most keywords.
fn random_schema() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(vec!["null", "boolean", "integer", "number", "string", "array", "object"]);
    let types = prop::collection::btree_set(kind, 1..4).prop_map(|types| json!({ "type": types }));
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        types.clone(),
        types,
        small().prop_map(|value| json!({ "const": value })),
        prop::collection::vec(small(), 1..3).prop_map(|values| json!({ "enum": values })),
        Just(json!({"type": "object", "required": ["a"]})),
        Just(json!({"type": "array", "minItems": 1, "maxItems": 2})),
        Just(json!({"type": ["object", "array"], "required": ["b"], "minItems": 2})),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        let several = prop::collection::vec(inner.clone(), 1..3);
        let keyword = prop_oneof![
            inner.clone().prop_map(|s| json!({"properties": {"a": s}})),
            (inner.clone(), inner.clone())
                .prop_map(|(s, t)| json!({"type": "object", "properties": {"a": s, "b": t}, "required": ["b"]})),
            (inner.clone(), inner.clone())
                .prop_map(|(s, t)| json!({"properties": {"b": s}, "additionalProperties": t})),
            (inner.clone(), inner.clone())
                .prop_map(|(s, t)| json!({"patternProperties": {"^a": s}, "additionalProperties": t})),
            (several.clone(), inner.clone()).prop_map(|(s, t)| json!({"items": s, "additionalItems": t})),
            inner.clone().prop_map(|s| json!({"type": "array", "items": s, "minItems": 1})),
            inner.clone().prop_map(|s| json!({ "not": s })),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(s, t, u)| json!({"if": s, "then": t, "else": u})),
            (inner.clone(), inner.clone()).prop_map(|(s, t)| json!({"if": s, "then": t})),
            several.clone().prop_map(|s| json!({ "allOf": s })),
            several.clone().prop_map(|s| json!({ "anyOf": s })),
            several.prop_map(|s| json!({ "oneOf": s })),
            inner.clone().prop_map(|s| json!({"$defs": {"x": s}, "$ref": "#/$defs/x"})),
        ];
        // Two keywords stand together in one schema; their references would lead elsewhere, and so only one has them.
        (keyword, inner).prop_map(|(mut schema, more)| {
            for (keyword, value) in more.as_object().into_iter().flatten() {
                if !keyword.starts_with('$') {
                    schema[keyword] = value.clone();
                }
            }
            schema
        })
    })
    .prop_map(|schema| without_references(&schema))
}

/// References are to the root of the document, and so only the outermost can lead anywhere.
fn without_references(schema: &Value) -> Value {
    fn strip(value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let target = map.get("$defs").and_then(|defs| defs.get("x")).map(strip);
                let mut kept: serde_json::Map<_, _> = map
                    .iter()
                    .filter(|(name, _)| !name.starts_with('$'))
                    .map(|(name, value)| (name.clone(), strip(value)))
                    .collect();
                if let Some(target) = target {
                    kept.entry("allOf").or_insert_with(|| json!([target]));
                }
                Value::Object(kept)
            }
            Value::Array(items) => items.iter().map(strip).collect(),
            value => value.clone(),
        }
    }
    let mut stripped = strip(schema);
    if let (Some(root), Some(target)) = (stripped.as_object_mut(), schema.get("$defs").and_then(|defs| defs.get("x"))) {
        root.insert("$defs".to_owned(), json!({ "x": strip(target) }));
        root.insert("$ref".to_owned(), json!("#/$defs/x"));
    }
    stripped
}

fn small() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-1i64..3).prop_map(Value::from),
        Just(json!(0.5)),
        "[ab]{0,1}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("a|b|c", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Every valid document is as the schema's shape says; and our validator, which sees resolved references and our nodes,
    /// agrees with the plain one.
    #[test]
    fn shapes_hold_for_valid_documents(value in random_schema(), documents in prop::collection::vec(small(), 24)) {
        let schema = schema(value.clone());
        let plain = jsonschema::options().with_draft(jsonschema::Draft::Draft201909).build(&value).unwrap();
        let arena = Arena::new();
        let mut asked: Vec<doc::Pointer> = schema.shape().locations().into_iter().map(|(pointer, _)| pointer).collect();
        asked.extend(["", "/a", "/b", "/c", "/0", "/1", "/2", "/a/b", "/a/0", "/0/a"].map(|pointer| pointer.parse().unwrap()));
        for document in &documents {
            let node = node(&arena, document);
            prop_assert_eq!(schema.is_valid(node), plain.is_valid(document), "{}", document);
            if !schema.is_valid(node) {
                prop_assert!(schema.validate(node).is_err());
                continue;
            }
            for pointer in &asked {
                let located = schema.shape().locate(pointer);
                match pointer.query(node) {
                    None => prop_assert!(located.exists != doc::Exists::Must, "{:?} of {}", pointer, document),
                    Some(found) => {
                        prop_assert!(located.exists != doc::Exists::Cannot, "{:?} of {}", pointer, document);
                        let types = doc::Types::of(&doc::to_value(found));
                        prop_assert!(located.shape.types.contains(types), "{:?} of {}", pointer, document);
                    }
                }
            }
        }
    }
}

/// Annotates schemas here and there.
fn annotated(schema: &Value, strategies: &mut impl Iterator<Item = &'static str>) -> Value {
    let mut schema = schema.clone();
    if let Value::Object(keywords) = &mut schema {
        for (keyword, value) in keywords.iter_mut() {
            match (keyword.as_str(), value) {
                ("properties" | "patternProperties" | "$defs", Value::Object(map)) => {
                    map.values_mut().for_each(|value| *value = annotated(value, strategies));
                }
                ("allOf" | "anyOf" | "oneOf" | "items", Value::Array(items)) => {
                    items.iter_mut().for_each(|value| *value = annotated(value, strategies));
                }
                ("additionalProperties" | "items" | "additionalItems" | "then" | "else", value) => {
                    *value = annotated(value, strategies);
                }
                _ => {}
            }
        }
        if let Some(strategy) = strategies.next().filter(|strategy| !strategy.is_empty()) {
            keywords.insert("reduce".to_owned(), json!({ "strategy": strategy }));
        }
    }
    schema
}

proptest! {
    /// Where the combiner does not check what it reduced, there is nothing to find: it asserts that in tests.
    #[test]
    fn what_needs_no_check_is_valid(
        schema_value in random_schema(),
        strategies in prop::collection::vec(prop::sample::select(vec![
            "", "merge", "merge", "merge", "sum", "append", "minimize", "maximize", "firstWriteWins", "lastWriteWins", "set",
        ]), 12),
        documents in prop::collection::vec(small(), 24),
    ) {
        let annotated = annotated(&schema_value, &mut strategies.into_iter().cycle());
        let mut combiner = Combiner::new(Arc::new(schema(annotated)), pointers(["/no/such"]));
        let arena = Arena::new();
        for document in &documents {
            let _ = combiner.combine_right(&arena, node(&arena, document));
        }
    }
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
            combiner.drain_by_key().map(|drained| String::from_utf8(drained.single().unwrap().to_vec()).unwrap()).collect()
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
        let old: Vec<Value> = drain(&mut chunk).iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        let stored = finished(&schema, &mut stored, &old).into_iter().map(Result::unwrap);
        // What was stored and has no new document stays.
        let stored: BTreeMap<u64, String> = stored.map(|text| {
            (serde_json::from_str::<Value>(&text).unwrap()["k"].as_u64().unwrap(), text)
        }).collect();
        let old = old.into_iter().map(|old| (old["k"].as_u64().unwrap(), old.to_string()));
        let stored: BTreeMap<u64, String> = old.chain(stored).collect();
        let stored: Vec<String> = stored.into_values().collect();
        prop_assert_eq!(&drain(&mut whole), &model);
        prop_assert_eq!(&drain(&mut chunks), &model);
        prop_assert_eq!(&stored, &model);
    }
}
