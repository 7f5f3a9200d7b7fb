//! JSON texts are read as `serde_json` reads them, or refused for a reason of ours; what is written is read back.
#![no_main]

use doc::{Arena, ParseReason, parse, parse_elements, to_value};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let arena = Arena::new();
    let _ = parse_elements(&arena, data);
    match (parse(&arena, data), serde_json::from_slice::<Value>(data)) {
        (Ok(node), Ok(theirs)) => {
            let text = node.to_json();
            let again = parse(&arena, arena.alloc_str(&text).as_bytes()).expect("what is written is JSON");
            assert_eq!(format!("{node:?}"), format!("{again:?}"));
            // They read `-0` as a float; the text of ours has no such thing.
            if !data.windows(2).any(|pair| pair == b"-0") {
                assert_eq!(to_value(node), theirs);
            }
        }
        (Ok(node), Err(error)) => panic!("{} {error}", node.to_json()),
        (Err(error), Ok(theirs)) => assert!(
            matches!(error.reason, ParseReason::Duplicate(_) | ParseReason::Integer | ParseReason::Depth),
            "{error} {theirs}"
        ),
        (Err(_), Err(_)) => {}
    }
});
