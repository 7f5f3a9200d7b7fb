//! Functions of the language: of `Object`, `Math`, `Number` and their like.

use doc::{Field, Node};

use super::{Evaluator, Result, Stop};
use crate::native::number;
use crate::native::plan::Builtin;
use crate::native::value::Value;

/// Digits of a name that is the index of an array, and so comes before all others; longer ones are left to QuickJS.
const INDEX_DIGITS_MAX: usize = 9;

impl<'a> Evaluator<'_, 'a> {
    /// Calls a function; its arguments are the values from a place on.
    pub(super) fn builtin(&mut self, builtin: Builtin, base: usize) -> Result<Value<'a>> {
        let count = self.values.len() - base;
        let first = self.values.get(base).copied().unwrap_or(Value::Undefined);
        let result = match builtin {
            Builtin::Keys | Builtin::Values | Builtin::Entries => return self.properties_of(builtin, first, base),
            Builtin::IsArray => Value::Bool(first.elements().is_some()),
            Builtin::Boolean => Value::Bool(first.is_truthy()),
            Builtin::Number => Value::Number(if count == 0 { 0.0 } else { first.to_number()? }),
            Builtin::String => match first {
                Value::Text(text) => Value::Text(text),
                _ if count == 0 => Value::Text(""),
                _ => {
                    let mut out = String::new();
                    first.write(&mut out)?;
                    self.keep(&out)?
                }
            },
            Builtin::ParseInt => {
                let radix = self.values.get(base + 1).copied().unwrap_or(Value::Undefined);
                if !matches!(radix, Value::Undefined) && !radix.is_strictly(Value::Number(10.0))? {
                    return Err(Stop::GiveUp);
                }
                match first {
                    Value::Text(text) => Value::Number(number::parse_int(text)?),
                    _ => {
                        let mut out = String::new();
                        first.write(&mut out)?;
                        Value::Number(number::parse_int(&out)?)
                    }
                }
            }
            Builtin::IsInteger => {
                Value::Bool(matches!(first, Value::Number(value) if value.is_finite() && value.fract() == 0.0))
            }
            Builtin::IsFinite => Value::Bool(matches!(first, Value::Number(value) if value.is_finite())),
            Builtin::IsNan => Value::Bool(matches!(first, Value::Number(value) if value.is_nan())),
            Builtin::Abs => Value::Number(first.to_number()?.abs()),
            Builtin::Ceil => Value::Number(first.to_number()?.ceil()),
            Builtin::Floor => Value::Number(first.to_number()?.floor()),
            Builtin::Round => Value::Number(number::round(first.to_number()?)),
            Builtin::Trunc => Value::Number(first.to_number()?.trunc()),
            Builtin::Sign => {
                let value = first.to_number()?;
                Value::Number(if value == 0.0 || value.is_nan() { value } else { value.signum() })
            }
            Builtin::Max | Builtin::Min => {
                let max = matches!(builtin, Builtin::Max);
                let mut so_far = if max { f64::NEG_INFINITY } else { f64::INFINITY };
                for value in &self.values[base..] {
                    so_far = number::extreme(max, so_far, value.to_number()?);
                }
                Value::Number(so_far)
            }
        };
        self.values.truncate(base);
        Ok(result)
    }

    /// `Object.keys` and its like, of an object of a document: its order is known.
    fn properties_of(&mut self, builtin: Builtin, object: Value<'a>, base: usize) -> Result<Value<'a>> {
        let fields = match object {
            Value::Fields(fields) => fields,
            Value::Bool(_) | Value::Number(_) => &[],
            _ => return Err(Stop::GiveUp),
        };
        self.spend(fields.len())?;
        self.values.truncate(base);
        if fields.iter().any(|f| f.name.len() > INDEX_DIGITS_MAX && f.name.starts_with(|c: char| c.is_ascii_digit())) {
            return Err(Stop::GiveUp);
        }
        let mut indices: Vec<&Field<'a>> = fields.iter().filter(|field| is_index(field.name)).collect();
        // All digits and none in front that is zero: the longer is the larger.
        indices.sort_by_key(|field| (field.name.len(), field.name));
        let others = fields.iter().filter(|field| !is_index(field.name));
        for field in indices.iter().copied().chain(others) {
            let value = match builtin {
                Builtin::Keys => Value::Text(field.name),
                Builtin::Values => field.value.into(),
                _ => {
                    let entry = [Node::Str(field.name), field.value];
                    self.bytes = self.bytes.checked_sub(size_of_val(&entry)).ok_or(Stop::GiveUp)?;
                    Value::Items(self.arena.alloc(entry))
                }
            };
            self.values.push(value);
        }
        self.array(base)
    }
}

/// Whether a name is how the index of an array is written.
fn is_index(name: &str) -> bool {
    name == "0" || (!name.starts_with('0') && !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()))
}
