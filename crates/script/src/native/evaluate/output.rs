//! From expressions to documents, as `JSON.stringify` would write them and the parser read them: what is undefined is
//! dropped, what is no number is null.

use doc::{Field, Node};

use super::{Evaluator, Result, Stop};
use crate::native::number;
use crate::native::plan::{Each, Expr, Item};
use crate::native::value::Value;

/// How deep documents are made; deeper ones, which may be too deep, are left to QuickJS.
const DEPTH_MAX: usize = 100;

/// Where a node goes to: a node that is handed through memory is waited for.
trait Slot<'a>: Copy {
    fn put(self, evaluator: &mut Evaluator<'_, 'a>, node: Node<'a>);
}

/// To the items of the array that is being made.
#[derive(Clone, Copy)]
struct Element;

/// To the fields of the object that is being made, by this name.
#[derive(Clone, Copy)]
struct Named<'a>(&'a str);

impl<'a> Slot<'a> for Element {
    #[inline(always)]
    fn put(self, evaluator: &mut Evaluator<'_, 'a>, node: Node<'a>) {
        evaluator.nodes.push(node);
    }
}

impl<'a> Slot<'a> for Named<'a> {
    #[inline(always)]
    fn put(self, evaluator: &mut Evaluator<'_, 'a>, node: Node<'a>) {
        evaluator.fields.push(Field { name: self.0, value: node });
    }
}

impl<'p, 'a> Evaluator<'p, 'a> {
    /// Adds the node of an expression's value to the items, null where it is undefined.
    pub(super) fn element(&mut self, expr: &'p Expr) -> Result<()> {
        if !self.output(Element, expr)? {
            self.nodes.push(Node::Null);
        }
        Ok(())
    }

    /// Puts the node of an expression's value where it goes to, unless it is undefined; whether it did. Literals become nodes at
    /// once.
    fn output(&mut self, slot: impl Slot<'a>, expr: &'p Expr) -> Result<bool> {
        match expr {
            Expr::Record(names) => {
                self.spend(1)?;
                let base = self.fields.len();
                for (name, expr) in names {
                    self.output(Named(self.texts[*name]), expr)?;
                }
                let fields = self.record(base)?;
                slot.put(self, Node::Object(fields));
            }
            Expr::Array(items) if items.iter().all(|item| matches!(item, Item::One(_))) => {
                self.spend(1)?;
                let base = self.nodes.len();
                self.rows(items)?;
                let items = self.items(base)?;
                slot.put(self, Node::Array(items));
            }
            Expr::If(branches) => {
                let [test, then, other] = &**branches;
                let test = self.value(test)?.is_truthy();
                return self.output(slot, if test { then } else { other });
            }
            Expr::Call(function, arguments) => {
                return match self.apply(*function, arguments)? {
                    Some(expr) => self.output(slot, expr),
                    None => Ok(false),
                };
            }
            Expr::Each(Each::Map, function, both) => {
                let array = self.value(&both.0)?;
                let elements = array.elements().ok_or(Stop::GiveUp)?;
                let base = self.nodes.len();
                for (at, element) in elements.iter().enumerate() {
                    self.spend(1)?;
                    let from = self.values.len();
                    self.values.extend([element, Value::Number(at as f64), array]);
                    match self.enter(*function, from)? {
                        Some(expr) => self.element(expr)?,
                        None => self.nodes.push(Node::Null),
                    }
                }
                let items = self.items(base)?;
                slot.put(self, Node::Array(items));
            }
            Expr::Local(local) => {
                self.spend(1)?;
                return self.node(slot, self.slots[*local], 0);
            }
            _ => {
                let value = self.value(expr)?;
                return self.node(slot, value, 0);
            }
        }
        Ok(true)
    }

    /// The items from a place on.
    fn items(&mut self, base: usize) -> Result<&'a [Node<'a>]> {
        self.reserve((self.nodes.len() - base) * size_of::<Node<'_>>())?;
        let items = self.arena.alloc_slice_copy(&self.nodes[base..]);
        self.nodes.truncate(base);
        Ok(items)
    }

    /// The fields from a place on.
    fn record(&mut self, base: usize) -> Result<&'a [Field<'a>]> {
        self.reserve((self.fields.len() - base) * size_of::<Field<'_>>())?;
        let fields = self.arena.alloc_slice_copy(&self.fields[base..]);
        self.fields.truncate(base);
        Ok(fields)
    }

    /// Puts the node of a value where it goes to, unless it is undefined; whether it did.
    fn node(&mut self, slot: impl Slot<'a>, value: Value<'a>, depth: usize) -> Result<bool> {
        self.spend(1)?;
        if depth > DEPTH_MAX {
            return Err(Stop::GiveUp);
        }
        match value {
            Value::Undefined => return Ok(false),
            Value::Null => slot.put(self, Node::Null),
            Value::Bool(value) => slot.put(self, Node::Bool(value)),
            Value::Number(value) => slot.put(self, number::node(value)?),
            Value::Text(text) => slot.put(self, Node::Str(text)),
            Value::Items(items) => {
                let node = self.again(Node::Array(items), depth)?;
                slot.put(self, node);
            }
            Value::Fields(fields) => {
                let node = self.again(Node::Object(fields), depth)?;
                slot.put(self, node);
            }
            Value::Array(values) => {
                let base = self.nodes.len();
                for value in values {
                    if !self.node(Element, *value, depth + 1)? {
                        self.nodes.push(Node::Null);
                    }
                }
                let items = self.items(base)?;
                slot.put(self, Node::Array(items));
            }
            Value::Object(properties) => {
                let base = self.fields.len();
                for property in properties {
                    self.node(Named(property.name), property.value, depth + 1)?;
                }
                let fields = self.record(base)?;
                slot.put(self, Node::Object(fields));
            }
        }
        Ok(true)
    }

    /// A part of a document, given back: shared as it is unless numbers in it come back otherwise.
    #[inline]
    fn again(&mut self, node: Node<'a>, depth: usize) -> Result<Node<'a>> {
        if self.stays(node, depth)? {
            return Ok(node);
        }
        self.spend(1)?;
        Ok(match node {
            Node::Array(items) => {
                self.reserve(size_of_val(items))?;
                let mut made = Vec::with_capacity(items.len());
                for item in items {
                    made.push(self.again(*item, depth + 1)?);
                }
                Node::Array(self.arena.alloc_slice_copy(&made))
            }
            Node::Object(fields) => {
                self.reserve(size_of_val(fields))?;
                let mut made = Vec::with_capacity(fields.len());
                for field in fields {
                    made.push(Field { name: field.name, value: self.again(field.value, depth + 1)? });
                }
                Node::Object(self.arena.alloc_slice_copy(&made))
            }
            Node::U64(value) => number::node(value as f64)?,
            Node::I64(value) => number::node(value as f64)?,
            Node::F64(value) => number::node(value)?,
            Node::Null | Node::Bool(_) | Node::Str(_) => node,
        })
    }

    fn stays(&mut self, node: Node<'a>, depth: usize) -> Result<bool> {
        if depth > DEPTH_MAX {
            return Err(Stop::GiveUp);
        }
        match node {
            Node::Array(items) => {
                self.spend(items.len())?;
                for item in items {
                    if !self.stays(*item, depth + 1)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Node::Object(fields) => {
                self.spend(fields.len())?;
                for field in fields {
                    if !self.stays(field.value, depth + 1)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            node => Ok(number::stays(node)),
        }
    }
}
