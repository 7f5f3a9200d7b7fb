//! Methods of arrays and of strings.

use super::{Evaluator, Result, Stop};
use crate::native::plan::Method;
use crate::native::value::{Elements, Value};
use crate::native::{number, text};

impl<'a> Evaluator<'_, 'a> {
    /// Calls a method; its arguments are the values from a place on.
    pub(super) fn method(&mut self, method: Method, receiver: Value<'a>, base: usize) -> Result<Value<'a>> {
        let argument = |at: usize| self.values.get(base + at).copied().unwrap_or(Value::Undefined);
        let arguments = [argument(0), argument(1)];
        let count = self.values.len() - base;
        let result = match (receiver, receiver.elements()) {
            (_, Some(elements)) => self.of_array(method, elements, arguments, count, base),
            (Value::Text(text), _) => self.of_text(method, text, arguments, count),
            (Value::Number(_) | Value::Bool(_), _) if method == Method::ToString && count == 0 => {
                let mut out = String::new();
                receiver.write(&mut out)?;
                self.keep(&out)
            }
            _ => Err(Stop::GiveUp),
        };
        self.values.truncate(base);
        result
    }

    fn of_array(
        &mut self,
        method: Method,
        elements: Elements<'a>,
        [first, second]: [Value<'a>; 2],
        count: usize,
        base: usize,
    ) -> Result<Value<'a>> {
        let length = elements.len();
        match method {
            Method::Includes | Method::IndexOf if count == 1 => {
                self.spend(length)?;
                for (at, element) in elements.iter().enumerate() {
                    let found = match method {
                        Method::Includes => element.is_same(first)?,
                        _ => element.is_strictly(first)?,
                    };
                    if found {
                        return Ok(if method == Method::Includes {
                            Value::Bool(true)
                        } else {
                            Value::Number(at as f64)
                        });
                    }
                }
                Ok(if method == Method::Includes { Value::Bool(false) } else { Value::Number(-1.0) })
            }
            Method::Slice => {
                let (begin, end) = range(first, second, length)?;
                let end = end.max(begin);
                self.spend(end - begin)?;
                Ok(match elements {
                    Elements::Items(items) => Value::Items(&items[begin..end]),
                    Elements::Array(values) => Value::Array(&values[begin..end]),
                })
            }
            Method::At if count == 1 => {
                let at = first.to_number()?;
                let at = if at.is_nan() { 0.0 } else { at.trunc() };
                let at = if at < 0.0 { at + length as f64 } else { at };
                Ok(if (0.0..length as f64).contains(&at) { elements.get(at as usize) } else { Value::Undefined })
            }
            Method::Concat => {
                self.spend(length)?;
                let from = self.values.len();
                self.values.extend(elements.iter());
                for at in base..from {
                    let argument = self.values[at];
                    match argument.elements() {
                        Some(more) => {
                            self.spend(more.len())?;
                            self.values.extend(more.iter());
                        }
                        None => self.values.push(argument),
                    }
                }
                self.array(from)
            }
            Method::Join => {
                let separator = match (count, first) {
                    (0, _) => ",",
                    (1, Value::Text(separator)) => separator,
                    _ => return Err(Stop::GiveUp),
                };
                let mut out = String::new();
                for (at, element) in elements.iter().enumerate() {
                    self.spend(1)?;
                    if at > 0 {
                        out.push_str(separator);
                    }
                    if !element.is_nullish() {
                        element.write(&mut out)?;
                    }
                    if out.len() / 16 > self.steps {
                        return Err(Stop::GiveUp);
                    }
                }
                self.keep(&out)
            }
            Method::Sort if count == 0 => {
                // Comparisons, roughly.
                self.spend(length * 8)?;
                let mut named = Vec::with_capacity(length);
                let mut undefined = 0;
                for element in elements.iter() {
                    if let Value::Undefined = element {
                        undefined += 1;
                        continue;
                    }
                    let mut name = String::new();
                    element.write(&mut name)?;
                    self.spend(name.len() / 16)?;
                    named.push((name, element));
                }
                named.sort_by(|(a, _), (b, _)| text::compare(a, b));
                let from = self.values.len();
                self.values.extend(named.iter().map(|(_, element)| *element));
                self.values.extend(std::iter::repeat_n(Value::Undefined, undefined));
                self.array(from)
            }
            _ => Err(Stop::GiveUp),
        }
    }

    fn of_text(
        &mut self,
        method: Method,
        text: &'a str,
        [first, second]: [Value<'a>; 2],
        count: usize,
    ) -> Result<Value<'a>> {
        self.spend(text.len() / 16)?;
        match method {
            Method::Includes | Method::StartsWith | Method::EndsWith | Method::IndexOf => {
                let (1, Value::Text(sought)) = (count, first) else { return Err(Stop::GiveUp) };
                Ok(match method {
                    Method::Includes => Value::Bool(text.contains(sought)),
                    Method::StartsWith => Value::Bool(text.starts_with(sought)),
                    Method::EndsWith => Value::Bool(text.ends_with(sought)),
                    _ => Value::Number(text.find(sought).map_or(-1.0, |at| text::length(&text[..at]) as f64)),
                })
            }
            Method::Slice => {
                let (begin, end) = range(first, second, text::length(text))?;
                Ok(Value::Text(text::slice(text, begin, end)?))
            }
            Method::Substring => {
                let length = text::length(text);
                // Counted from the beginning alone, and in either order.
                let place = |value: Value<'_>| Ok::<_, Stop>(number::position(value.to_number()?.max(0.0), length));
                let begin = place(first)?;
                let end = if let Value::Undefined = second { length } else { place(second)? };
                Ok(Value::Text(text::slice(text, begin.min(end), begin.max(end))?))
            }
            Method::CharAt => {
                let at = first.to_number()?;
                let at = if at.is_nan() { 0.0 } else { at.trunc() };
                let inside = (0.0..text::length(text) as f64).contains(&at);
                Ok(Value::Text(if inside { text::slice(text, at as usize, at as usize + 1)? } else { "" }))
            }
            Method::Split => {
                let (1, Value::Text(separator)) = (count, first) else { return Err(Stop::GiveUp) };
                if separator.is_empty() && !text.is_ascii() {
                    return Err(Stop::GiveUp);
                }
                self.spend(text.len())?;
                let base = self.values.len();
                if separator.is_empty() {
                    self.values.extend((0..text.len()).map(|at| Value::Text(&text[at..=at])));
                } else {
                    self.values.extend(text.split(separator).map(Value::Text));
                }
                self.array(base)
            }
            Method::ToUpperCase | Method::ToLowerCase => {
                if !text.is_ascii() {
                    return Err(Stop::GiveUp);
                }
                let changed = match method {
                    Method::ToUpperCase => text.to_ascii_uppercase(),
                    _ => text.to_ascii_lowercase(),
                };
                self.keep(&changed)
            }
            Method::Trim => Ok(Value::Text(text::trim(text))),
            Method::TrimStart => Ok(Value::Text(text.trim_start_matches(text::is_space))),
            Method::TrimEnd => Ok(Value::Text(text.trim_end_matches(text::is_space))),
            Method::PadStart | Method::PadEnd => {
                let fill = match second {
                    Value::Undefined => " ",
                    Value::Text(fill) => fill,
                    _ => return Err(Stop::GiveUp),
                };
                let length = first.to_number()?;
                let own = text::length(text) as f64;
                if fill.is_empty() || length.is_nan() || length.trunc() <= own {
                    return Ok(Value::Text(text));
                }
                if length > self.steps as f64 || !fill.is_ascii() {
                    return Err(Stop::GiveUp);
                }
                let missing = (length.trunc() - own) as usize;
                let padding = fill.chars().cycle().take(missing);
                let padded: String = match method {
                    Method::PadStart => padding.chain(text.chars()).collect(),
                    _ => text.chars().chain(padding).collect(),
                };
                self.spend(missing)?;
                self.keep(&padded)
            }
            Method::Repeat => {
                let times = first.to_number()?;
                let times = if times.is_nan() { 0.0 } else { times.trunc() };
                if times < 0.0 || times * (text.len() as f64 + 1.0) > self.steps as f64 {
                    return Err(Stop::GiveUp);
                }
                let repeated = text.repeat(times as usize);
                self.keep(&repeated)
            }
            Method::Concat => {
                let (1, Value::Text(more)) = (count, first) else { return Err(Stop::GiveUp) };
                let joined = [text, more].concat();
                self.keep(&joined)
            }
            Method::ToString if count == 0 => Ok(Value::Text(text)),
            _ => Err(Stop::GiveUp),
        }
    }
}

/// Where `slice` begins and ends.
fn range(begin: Value<'_>, end: Value<'_>, length: usize) -> Result<(usize, usize)> {
    let begin = number::position(begin.to_number()?, length);
    let end = if let Value::Undefined = end { length } else { number::position(end.to_number()?, length) };
    Ok((begin, end))
}
