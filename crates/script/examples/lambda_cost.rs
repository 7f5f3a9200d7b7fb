//! What a document costs in the lambdas of the segmentation example, natively and in QuickJS: nodes in, nodes out.
//!
//! `cargo run --release -p script --example lambda_cost`. Both run in turn, block by block; the best block of each counts.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement prints, and may panic")]

use std::time::Instant;

use doc::{Arena, Node};
use script::{Engine, Limits};

const MODULE: &str = include_str!("../../../examples/segmentation/derive.flow.ts");
/// Documents of a block.
const DOCUMENTS: usize = 1000;
const ROUNDS: usize = 60;

/// An event, an addition or a removal.
fn event<'a>(arena: &'a Arena, n: usize, remove: bool) -> Node<'a> {
    let what = if remove { r#""remove":true,"# } else { "" };
    let value = if remove { String::new() } else { format!(r#","value":"value-{n}""#) };
    let text = format!(
        r#"{{"event":"3ca8c4b2-4c54-4c2c-8f0a-{n:012}",{what}"segment":{{"name":"seg-{}","vendor":{}}},"timestamp":"2021-07-22T13:36:12Z","user":"usr-{n:06}"{value}}}"#,
        n % 50,
        n % 7
    );
    doc::parse(arena, arena.alloc_str(&text).as_bytes()).unwrap()
}

fn main() {
    let update = "fromSegmentationUpdate";
    let publish = "fromSegmentationPublish";
    println!("{:<22} {:>12} {:>12}", "ns per document", "native", "QuickJS");
    for (class, method) in [
        ("ExamplesSegmentMemberships", publish),
        ("ExamplesSegmentProfiles", publish),
        ("ExamplesSegmentToggles", update),
        ("ExamplesSegmentToggles", publish),
    ] {
        let arena = Arena::new();
        let calls: Vec<[Node<'_>; 3]> = (0..DOCUMENTS)
            .map(|n| {
                let source = event(&arena, n, n % 3 == 0);
                let register = |remove| {
                    let fields = vec![
                        doc::Field { name: "event", value: event(&arena, n + 1, remove) },
                        doc::Field { name: "firstAdd", value: Node::Bool(n % 5 != 0) },
                    ];
                    Node::object(&arena, fields)
                };
                [source, register(n % 3 == 0), register(n % 2 == 0)]
            })
            .collect();
        let open = || Engine::open("derive.flow.ts", MODULE, class, &[method], None, Limits::default()).unwrap();
        assert_eq!(open().refusal(method), None);
        let mut engines = [open(), open().without_native().unwrap()];
        let mut best = [f64::MAX; 2];
        for _ in 0..ROUNDS {
            for (engine, best) in engines.iter_mut().zip(&mut best) {
                let arena = Arena::with_capacity(1 << 20);
                let began = Instant::now();
                let rows = if method == update {
                    engine.call(&arena, method, calls.iter().map(|[source, ..]| [*source])).unwrap()
                } else {
                    engine.call(&arena, method, calls.iter().copied()).unwrap()
                };
                *best = best.min(began.elapsed().as_secs_f64() * 1e9 / DOCUMENTS as f64);
                assert_eq!(rows.ends.len(), DOCUMENTS);
            }
        }
        let name = format!("{} {}", class.trim_start_matches("ExamplesSegment"), &method["fromSegmentation".len()..]);
        println!("{name:<22} {:>12.0} {:>12.0}", best[0], best[1]);
    }
}
