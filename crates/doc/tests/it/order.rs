//! The order of values, and of their packed keys: `cases/order.json` lists texts in ascending order, those of one line equal.

use std::cmp::Ordering;

use doc::{Arena, compare, pack_node, parse};

use crate::count;

#[test]
fn cases() {
    let ranks: Vec<Vec<String>> = serde_json::from_str(include_str!("cases/order.json")).unwrap();
    let arena = Arena::new();
    let mut values = Vec::new();
    for (rank, texts) in ranks.iter().enumerate() {
        for text in texts {
            let node = parse(&arena, text.as_bytes()).unwrap();
            let mut packed = Vec::new();
            pack_node(node, &mut packed);
            values.push((rank, text, node, packed));
        }
    }
    count("order.json", values.len());
    for (a_rank, a_text, a, a_packed) in &values {
        for (b_rank, b_text, b, b_packed) in &values {
            let expect: Ordering = a_rank.cmp(b_rank);
            assert_eq!(compare(*a, *b), expect, "{a_text} {b_text}");
            assert_eq!(a_packed.cmp(b_packed), expect, "{a_text} {b_text}, packed");
        }
    }
}
