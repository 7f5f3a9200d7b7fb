//! Whether documents are what a verify expects: equal to it, or more than it. Source: reference 7.4.

use catalog::{Place, Step, Tree};
use serde_json::{Number, Value};

use super::Difference;

/// Differences shown of one verify.
const DIFFERENCES_MAX: usize = 20;

/// Compares the documents of a collection, in key order, with those a step expects.
pub(super) fn differences(step: &Step, actual: &[String]) -> Result<Vec<Difference>, String> {
    let mut found = Vec::new();
    for n in 0..step.documents.len().max(actual.len()) {
        match (step.documents.get(n), actual.get(n)) {
            (Some(expected), Some(actual)) => {
                let actual: Value = serde_json::from_str(actual).map_err(|e| e.to_string())?;
                Comparison { document: n, tree: expected, found: &mut found }.value(
                    &mut String::new(),
                    &expected.to_value(),
                    Some(&actual),
                );
            }
            (Some(expected), None) => found.push(Difference {
                document: n,
                location: String::new(),
                expected: Some(expected.to_value().to_string()),
                actual: None,
                place: expected.place(),
            }),
            (None, Some(actual)) => found.push(Difference {
                document: n,
                location: String::new(),
                expected: None,
                actual: Some(actual.clone()),
                place: step.place,
            }),
            (None, None) => {}
        }
    }
    found.truncate(DIFFERENCES_MAX);
    Ok(found)
}

struct Comparison<'a> {
    document: usize,
    tree: &'a Tree,
    found: &'a mut Vec<Difference>,
}

impl Comparison<'_> {
    fn value(&mut self, location: &mut String, expected: &Value, actual: Option<&Value>) {
        match (expected, actual) {
            (Value::Object(fields), Some(Value::Object(others))) => {
                for (name, expected) in fields {
                    let token = name.replace('~', "~0").replace('/', "~1");
                    self.at(location, &token, expected, others.get(name));
                }
            }
            (Value::Array(items), Some(Value::Array(others))) => {
                for (n, expected) in items.iter().enumerate() {
                    self.at(location, &n.to_string(), expected, others.get(n));
                }
            }
            (Value::Number(a), Some(Value::Number(b))) if close(a, b) => {}
            (expected, Some(actual)) if expected == actual => {}
            (expected, actual) => {
                let place = self.place(location);
                self.found.push(Difference {
                    document: self.document,
                    location: location.clone(),
                    expected: Some(expected.to_string()),
                    actual: actual.map(Value::to_string),
                    place,
                });
            }
        }
    }

    fn at(&mut self, location: &mut String, token: &str, expected: &Value, actual: Option<&Value>) {
        let len = location.len();
        location.push('/');
        location.push_str(token);
        self.value(location, expected, actual);
        location.truncate(len);
    }

    fn place(&self, location: &str) -> Place {
        self.tree.place_at(location)
    }
}

/// Whether two numbers are the same but for the last bit of a double.
fn close(a: &Number, b: &Number) -> bool {
    if a == b {
        return true;
    }
    let (Some(a), Some(b)) = (a.as_f64(), b.as_f64()) else { return false };
    a == b || (a - b).abs() < f64::EPSILON * a.abs().max(b.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_by_value() {
        for (a, b, same) in [("1", "1.0", true), ("3.8", "3.8000000000000003", true), ("1", "2", false), ("0", "0.0", true), ("0.1", "0.2", false)] {
            let number = |text: &str| serde_json::from_str::<Number>(text).unwrap();
            assert_eq!(close(&number(a), &number(b)), same, "{a} {b}");
        }
    }
}
