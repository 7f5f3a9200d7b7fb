//! A combiner that spills drains to what one that does not drains to, at whatever size it spills.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use doc::{Arena, CombineError, Combiner, Documents, Node, Schema, Spill, SpillFile, SpillingCombiner};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{finished, finished_key, node, pointers, schema};

fn in_memory() -> Spill {
    Arc::new(|| Ok(Box::new(Cursor::new(Vec::new()))))
}

fn combiner(schema: &Arc<Schema>) -> Combiner {
    Combiner::new(Arc::clone(schema), pointers(["/k"]))
}

/// What becomes of everything that is drained behind what is stored.
fn drain(spilling: &mut SpillingCombiner, schema: &Arc<Schema>, stored: &[Value], documents: Documents) -> Vec<String> {
    let mut drain = spilling.drain().unwrap();
    let mut found = Vec::new();
    while let Some(drained) = drain.next(documents).unwrap() {
        found.push(finished_key(schema, drained, stored).unwrap());
    }
    found
}

/// Every way of reducing that can be spilled between any two documents.
fn every_strategy() -> Arc<Schema> {
    Arc::new(schema(json!({
        "reduce": {"strategy": "merge"},
        "properties": {
            "sum": {"type": "integer", "reduce": {"strategy": "sum"}},
            "first": {"reduce": {"strategy": "firstWriteWins"}},
            "least": {"reduce": {"strategy": "minimize"}},
            "most": {"reduce": {"strategy": "maximize"}},
            "log": {"reduce": {"strategy": "append"}},
            "set": {"reduce": {"strategy": "set"}, "additionalProperties": {"additionalProperties": {"reduce": {"strategy": "sum"}}}},
            "apart": {"reduce": {"strategy": "lastWriteWins", "associative": false}},
            "tags": {"type": "array", "reduce": {"strategy": "merge", "key": ["/t"]}, "items": {
                "type": "object",
                "reduce": {"strategy": "merge"},
                "properties": {"n": {"reduce": {"strategy": "sum"}}},
            }},
        },
    })))
}

/// Those of them that never take anything away: documents of several runs are left apart.
fn keeping() -> Arc<Schema> {
    Arc::new(schema(json!({
        "reduce": {"strategy": "merge"},
        "properties": {
            "sum": {"type": "integer", "reduce": {"strategy": "sum"}},
            "first": {"reduce": {"strategy": "firstWriteWins"}},
            "least": {"reduce": {"strategy": "minimize"}},
            "log": {"reduce": {"strategy": "append"}},
            "apart": {"reduce": {"strategy": "lastWriteWins", "associative": false}},
            "tags": {"type": "array", "reduce": {"strategy": "merge", "key": ["/t"]}, "items": {
                "type": "object",
                "reduce": {"strategy": "merge"},
                "properties": {"n": {"reduce": {"strategy": "sum"}}},
            }},
        },
    })))
}

/// Documents that delete what was before them, and documents that begin anew behind those.
fn deletes() -> impl Iterator<Item = Arc<Schema>> {
    let ways = [
        (
            json!({"strategy": "lastWriteWins", "delete": true, "associative": false}),
            json!({"strategy": "merge", "associative": false}),
        ),
        (json!({"strategy": "lastWriteWins", "delete": true}), json!({"strategy": "merge", "associative": false})),
        (json!({"strategy": "merge", "delete": true}), json!({"strategy": "merge", "associative": false})),
        (json!({"strategy": "merge", "delete": true, "associative": false}), json!({"strategy": "lastWriteWins"})),
    ];
    ways.into_iter().map(|(delete, other)| {
        Arc::new(schema(json!({
            "if": {"required": ["first"]},
            "then": {"reduce": delete},
            "else": {"reduce": other},
            "properties": {
                "sum": {"type": "integer", "reduce": {"strategy": "sum"}},
                "set": {"reduce": {"strategy": "set"}},
                "apart": {"reduce": {"strategy": "lastWriteWins", "associative": false}},
            },
        })))
    })
}

fn document(n: usize, k: u8, fields: u16, at: i64) -> Value {
    let members: serde_json::Map<_, _> = (0..3).map(|m| (format!("m{}", (at + m) % 5), json!(m))).collect();
    let names = ["add", "remove", "intersect"];
    let all = [
        ("sum", json!(at)),
        ("first", json!(n)),
        ("last", json!(n)),
        ("least", json!(at)),
        ("most", json!(at)),
        ("log", json!([n])),
        ("set", json!({ names[n % 3]: members })),
        ("apart", json!(at % 3)),
        ("tags", json!([{"t": at % 2, "n": 1}, {"t": 2 + at % 3, "n": 1}])),
    ];
    let mut document = json!({ "k": format!("key {k}") });
    for (bit, (name, value)) in all.into_iter().enumerate() {
        if fields >> bit & 1 == 1 {
            document[name] = value;
        }
    }
    document
}

/// What becomes of documents that are reduced into what is stored as they come, each alone.
fn one_by_one(schema: &Schema, documents: &[(u8, u16, i64)], stored: &[Value]) -> Vec<String> {
    let arena = Arena::new();
    let mut rows = BTreeMap::new();
    for (n, (k, fields, at)) in documents.iter().enumerate() {
        let document = document(n, *k, *fields, *at);
        let stored = stored.iter().find(|stored| stored["k"] == document["k"]).map(|stored| node(&arena, stored));
        let (key, document) = (document["k"].to_string(), node(&arena, &document));
        let before = rows.get(&key).copied().or(stored);
        rows.insert(key, schema.reduce(&arena, before, document, true).unwrap().unwrap());
    }
    rows.into_values().map(Node::to_json).collect()
}

proptest! {
    #[test]
    fn spilling_at_every_size_drains_the_same(
        documents in prop::collection::vec((0u8..12, any::<u16>(), 0i64..9), 1..60),
        stored in prop::collection::btree_map(0u8..12, (any::<u16>(), 0i64..7), 0..12),
        bytes_max in prop_oneof![1usize..400, 400usize..8_000],
        documents_are in prop::sample::select(vec![Documents::Reduced, Documents::AsTheyAre]),
        merged in prop::collection::vec(prop::bool::weighted(0.1), 60),
        schema in prop::sample::select([every_strategy(), keeping()].into_iter().chain(deletes()).collect::<Vec<_>>()),
    ) {
        let stored: Vec<Value> = stored.into_iter().map(|(k, (fields, at))| document(0, k, fields, at)).collect();
        let (mut plain, mut spilling) = (combiner(&schema), SpillingCombiner::new(combiner(&schema), in_memory()));
        for (n, (k, fields, at)) in documents.iter().enumerate() {
            let arena = Arena::new();
            let document = document(n, *k, *fields, *at);
            plain.combine_right(&arena, node(&arena, &document)).unwrap();
            spilling.combine_right(&arena, node(&arena, &document)).unwrap();
            if spilling.bytes() > bytes_max {
                spilling.spill().unwrap();
                prop_assert_eq!(spilling.bytes(), 0);
            }
            if merged[n] {
                spilling.merge().unwrap();
            }
        }
        let found = drain(&mut spilling, &schema, &stored, documents_are);
        if !schema.prunes() {
            prop_assert_eq!(&found, &one_by_one(&schema, &documents, &stored));
        }
        prop_assert_eq!(found, finished(&schema, &mut plain, &stored).into_iter().map(Result::unwrap).collect::<Vec<_>>());
        prop_assert!(spilling.is_empty() && spilling.spilled_bytes() == 0);
        // And again, with the same combiner.
        spilling.combine_right(&Arena::new(), node(&Arena::new(), &document(1, 1, 1, 1))).unwrap();
        prop_assert_eq!(drain(&mut spilling, &schema, &[], documents_are), [r#"{"k":"key 1","sum":1}"#]);
    }
}

#[test]
fn what_is_spilled_follows_what_is_unique() {
    let schema = every_strategy();
    let mut spilling = SpillingCombiner::new(combiner(&schema), in_memory());
    let mut most = 0;
    for n in 0..5_000 {
        let arena = Arena::new();
        spilling.combine_right(&arena, node(&arena, &json!({"k": n % 100, "sum": 1}))).unwrap();
        if spilling.bytes() > 1_000 {
            spilling.spill().unwrap();
        }
        most = most.max(spilling.spilled_bytes());
    }
    assert!(most < 100_000, "{most} bytes for a hundred keys");
    let found = drain(&mut spilling, &schema, &[], Documents::Reduced);
    assert_eq!((found.len(), found[99].as_str()), (100, r#"{"k":99,"sum":50}"#));
}

/// Two documents that are valid, and are not once reduced.
#[test]
fn errors_of_spilled_documents_come_out_of_the_drain() {
    let schema = Arc::new(schema(json!({
        "reduce": {"strategy": "merge"},
        "properties": {"n": {"type": "integer", "maximum": 100, "reduce": {"strategy": "sum"}}},
    })));
    let mut spilling = SpillingCombiner::new(combiner(&schema), in_memory());
    for _ in 0..2 {
        spilling.combine_right(&Arena::new(), node(&Arena::new(), &json!({"k": 1, "n": 60}))).unwrap();
        spilling.spill().unwrap();
    }
    let error = spilling.drain().unwrap().next(Documents::Reduced).map(drop).unwrap_err();
    assert!(matches!(error, CombineError::CombinedInvalid(_)), "{error}");
    assert!(spilling.is_empty());
}

/// A file that has room for so many bytes, and forgets a bit of the one at `flipped`.
struct Poor {
    file: Cursor<Vec<u8>>,
    bytes_max: u64,
    flipped: u64,
}

impl Write for Poor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.file.position() + bytes.len() as u64 > self.bytes_max {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Poor {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let begin = self.file.position();
        let count = self.file.read(into)?;
        if (begin..begin + count as u64).contains(&self.flipped) {
            into[(self.flipped - begin) as usize] ^= 1;
        }
        Ok(count)
    }
}

impl Seek for Poor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[test]
fn a_full_or_damaged_disk_is_an_error() {
    let schema = every_strategy();
    let poor = |bytes_max, flipped| -> Spill {
        let poor = move || Poor { file: Cursor::new(Vec::new()), bytes_max, flipped };
        Arc::new(move || Ok(Box::new(poor()) as Box<dyn SpillFile>))
    };
    let spilled = |spill| {
        let mut spilling = SpillingCombiner::new(combiner(&schema), spill);
        for k in 0..5 {
            spilling.combine_right(&Arena::new(), node(&Arena::new(), &json!({"k": k, "first": "text"}))).unwrap();
        }
        spilling.spill().map(|()| spilling)
    };
    let error = spilled(poor(100, u64::MAX)).map(drop).unwrap_err();
    assert!(matches!(error, CombineError::Spill(_)), "{error}");
    let bytes = spilled(poor(u64::MAX, u64::MAX)).unwrap().spilled_bytes();
    for flipped in 0..bytes {
        let mut spilling = spilled(poor(u64::MAX, flipped)).unwrap();
        let error = spilling.drain().and_then(|mut drain| {
            while drain.next(Documents::Reduced)?.is_some() {}
            Ok(())
        });
        assert!(matches!(error, Err(CombineError::Spill(_))), "the bit at {flipped}: {error:?}");
    }
}
