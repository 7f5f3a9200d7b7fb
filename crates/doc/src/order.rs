//! The one order of JSON values: null, booleans, numbers, strings, arrays, objects.

use std::cmp::Ordering;

use crate::node::order;
use crate::{Node, Pointer};

/// Compares two values. Numbers compare by value, exactly, however they are written; strings by their bytes; arrays item by
/// item and then by length; objects field by field in the order of names (name, then value) and then by length.
pub fn compare(a: Node<'_>, b: Node<'_>) -> Ordering {
    match (a, b) {
        (Node::Bool(a), Node::Bool(b)) => a.cmp(&b),
        (Node::U64(a), Node::U64(b)) => a.cmp(&b),
        (Node::I64(a), Node::I64(b)) => a.cmp(&b),
        (Node::U64(_), Node::I64(_)) => Ordering::Greater,
        (Node::I64(_), Node::U64(_)) => Ordering::Less,
        (Node::F64(a), Node::F64(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        (Node::U64(a), Node::F64(b)) => integer_to_float(a.into(), b),
        (Node::I64(a), Node::F64(b)) => integer_to_float(a.into(), b),
        (Node::F64(a), Node::U64(b)) => integer_to_float(b.into(), a).reverse(),
        (Node::F64(a), Node::I64(b)) => integer_to_float(b.into(), a).reverse(),
        (Node::Str(a), Node::Str(b)) => a.cmp(b),
        (Node::Array(a), Node::Array(b)) => {
            let items = a.iter().zip(b).map(|(a, b)| compare(*a, *b));
            first_difference(items).then_with(|| a.len().cmp(&b.len()))
        }
        (Node::Object(a), Node::Object(b)) => {
            let fields = a.iter().zip(b);
            let fields = fields.map(|(a, b)| order(a.name, b.name).then_with(|| compare(a.value, b.value)));
            first_difference(fields).then_with(|| a.len().cmp(&b.len()))
        }
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

/// Compares what two documents have at the locations of a key; a missing value counts as what stands for it.
pub fn compare_at(key: &[Pointer], a: Node<'_>, b: Node<'_>) -> Ordering {
    first_difference(key.iter().map(|pointer| compare(pointer.value(a), pointer.value(b))))
}

fn first_difference(mut orders: impl Iterator<Item = Ordering>) -> Ordering {
    orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn rank(node: Node<'_>) -> u8 {
    match node {
        Node::Null => 0,
        Node::Bool(_) => 1,
        Node::U64(_) | Node::I64(_) | Node::F64(_) => 2,
        Node::Str(_) => 3,
        Node::Array(_) => 4,
        Node::Object(_) => 5,
    }
}

/// Compares without rounding the integer: every `f64` of the range of 64-bit integers has an exact whole part.
fn integer_to_float(a: i128, b: f64) -> Ordering {
    const TWO_64: f64 = 18446744073709551616.0;
    if b >= TWO_64 {
        return Ordering::Less;
    }
    if b < -TWO_64 {
        return Ordering::Greater;
    }
    let whole = b.trunc();
    a.cmp(&(whole as i128)).then_with(|| 0.0.partial_cmp(&(b - whole)).unwrap_or(Ordering::Equal))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arena, parse};

    #[test]
    fn values_ascend() {
        let ascending = [
            "null",
            "false",
            "true",
            "-1e300",
            "-9223372036854775808",
            "-9223372036854775807",
            "-1.5",
            "-1",
            "0",
            "0.5",
            "1",
            "9007199254740992.0",
            "9007199254740993",
            "18446744073709549568.0",
            "18446744073709551615",
            "18446744073709551616.0",
            "1e300",
            "\"\"",
            "\"\\u0000\"",
            "\"a\"",
            "\"a\\u0000\"",
            "\"aa\"",
            "\"é\"",
            "[]",
            "[null]",
            "[1]",
            "[1,0]",
            "[2]",
            "{}",
            r#"{"a":1}"#,
            r#"{"a":1,"b":0}"#,
            r#"{"a":2}"#,
            r#"{"b":0}"#,
        ];
        let arena = Arena::new();
        let nodes: Vec<_> = ascending.iter().map(|text| parse(&arena, text.as_bytes()).unwrap()).collect();
        for (i, a) in nodes.iter().enumerate() {
            for (j, b) in nodes.iter().enumerate() {
                assert_eq!(compare(*a, *b), i.cmp(&j), "{} {}", ascending[i], ascending[j]);
                let (mut packed_a, mut packed_b) = (Vec::new(), Vec::new());
                crate::pack_node(*a, &mut packed_a);
                crate::pack_node(*b, &mut packed_b);
                assert_eq!(packed_a.cmp(&packed_b), i.cmp(&j), "{} {}", ascending[i], ascending[j]);
            }
        }
    }

    #[test]
    fn numbers_are_equal_by_value() {
        assert_eq!(compare(Node::U64(1), Node::F64(1.0)), Ordering::Equal);
        assert_eq!(compare(Node::F64(-0.0), Node::U64(0)), Ordering::Equal);
        assert_eq!(compare(Node::F64(-2.0), Node::I64(-2)), Ordering::Equal);
    }
}
