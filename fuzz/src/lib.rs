//! Values from bytes: every input is some value, and a small change of the input is a small change of the value.

use serde_json::{Map, Value};

/// How deep values go.
const DEPTH_MAX: usize = 4;

/// Names that annotations in the targets give a meaning, and others.
const NAMES: [&str; 12] = ["k", "n", "a", "b", "add", "remove", "intersect", "list", "min", "first", "all", ""];

/// The bytes that are left.
pub struct Bytes<'d>(pub &'d [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    fn word(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.next()))
    }

    /// Any value. Without `floats` all numbers are integers.
    pub fn value(&mut self, floats: bool) -> Value {
        self.within(floats, 0)
    }

    /// An object.
    pub fn object(&mut self, floats: bool) -> Value {
        self.fields(floats, 0)
    }

    fn within(&mut self, floats: bool, depth: usize) -> Value {
        match self.next() % if depth < DEPTH_MAX { 12 } else { 8 } {
            0 => Value::Null,
            1 => Value::Bool(self.next() % 2 == 1),
            2 | 3 => Value::from(i64::from(self.next()) - 64),
            4 => Value::from(self.word() as i64),
            5 if floats => serde_json::Number::from_f64(f64::from_bits(self.word())).map_or(Value::Null, Value::Number),
            5 => Value::from(self.word()),
            6 => Value::String((self.next() % 32).to_string()),
            7 => {
                let length = self.next() % 6;
                let bytes: Vec<u8> = (0..length).map(|_| self.next()).collect();
                Value::String(String::from_utf8_lossy(&bytes).into_owned())
            }
            8 | 9 => (0..self.next() % 4).map(|_| self.within(floats, depth + 1)).collect(),
            _ => self.fields(floats, depth),
        }
    }

    fn fields(&mut self, floats: bool, depth: usize) -> Value {
        let mut fields = Map::new();
        for _ in 0..self.next() % 6 {
            let name = NAMES[usize::from(self.next()) % NAMES.len()];
            fields.insert(name.to_owned(), self.within(floats, depth + 1));
        }
        Value::Object(fields)
    }
}
