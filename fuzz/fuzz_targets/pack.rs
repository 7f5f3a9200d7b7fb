//! Packed keys order as values do, alone and one after another, and different keys have different bytes.
#![no_main]

use doc::{Arena, compare, from_value, pack_node};
use fuzz::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes(data);
    let arena = Arena::new();
    let values: [_; 4] = std::array::from_fn(|_| from_value(&arena, &bytes.value(true)));
    let [a, b, c, d] = values;
    let packed = |nodes: &[_]| {
        let mut out = Vec::new();
        nodes.iter().for_each(|node| pack_node(*node, &mut out));
        out
    };
    assert_eq!(packed(&[a]).cmp(&packed(&[b])), compare(a, b));
    assert_eq!(compare(a, b), compare(b, a).reverse());
    assert_eq!(packed(&[a, b]).cmp(&packed(&[c, d])), compare(a, c).then(compare(b, d)));
});
