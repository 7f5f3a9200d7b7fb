//! Sums of the three kinds of numbers.

use super::Reason;
use crate::Node;

/// Integers stay exact integers; with a float the sum is a float.
pub(crate) fn add(left: Node<'_>, right: Node<'_>) -> Result<Node<'static>, Reason> {
    if let (Some(a), Some(b)) = (integer(left), integer(right)) {
        let sum = a + b;
        return match (u64::try_from(sum), i64::try_from(sum)) {
            (Ok(sum), _) => Ok(Node::U64(sum)),
            (_, Ok(sum)) => Ok(Node::I64(sum)),
            _ => Err(Reason::Overflow),
        };
    }
    let sum = left.as_f64().ok_or(Reason::Sum)? + right.as_f64().ok_or(Reason::Sum)?;
    if sum.is_finite() { Ok(Node::F64(sum)) } else { Err(Reason::Overflow) }
}

fn integer(node: Node<'_>) -> Option<i128> {
    match node {
        Node::U64(value) => Some(value.into()),
        Node::I64(value) => Some(value.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums() {
        let sum = |a, b| add(a, b).map(Node::to_json);
        assert_eq!(sum(Node::U64(u64::MAX), Node::I64(-1)).unwrap(), (u64::MAX - 1).to_string());
        assert_eq!(sum(Node::I64(-5), Node::U64(5)).unwrap(), "0");
        assert_eq!(sum(Node::I64(i64::MIN), Node::I64(-1)), Err(Reason::Overflow));
        assert_eq!(sum(Node::U64(u64::MAX), Node::U64(1)), Err(Reason::Overflow));
        assert_eq!(sum(Node::U64(5), Node::F64(-1.2)).unwrap(), "3.8");
        assert_eq!(sum(Node::U64(98), Node::F64(0.1)).unwrap(), "98.1");
        assert_eq!(sum(Node::F64(1.5), Node::F64(-1.5)).unwrap(), "0.0");
        assert_eq!(sum(Node::F64(f64::MAX), Node::F64(f64::MAX)), Err(Reason::Overflow));
        assert_eq!(sum(Node::Str("1"), Node::U64(1)), Err(Reason::Sum));
    }
}
