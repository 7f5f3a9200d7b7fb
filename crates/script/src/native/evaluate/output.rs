//! From expressions to documents, as `JSON.stringify` would write them and the parser read them: what is undefined is
//! dropped, what is no number is null.

use doc::{Field, Node};

use super::{Evaluator, Result, Stop};
use crate::native::number;
use crate::native::plan::{Each, Expr, Item};
use crate::native::value::Value;

/// How deep documents are made; deeper ones, which may be too deep, are left to QuickJS.
const DEPTH_MAX: usize = 100;

impl<'p, 'a> Evaluator<'p, 'a> {
    /// The node of an expression's value; `None` where it is undefined. Literals become nodes at once.
    pub(super) fn output(&mut self, expr: &'p Expr) -> Result<Option<Node<'a>>> {
        match expr {
            Expr::Record(names) => {
                self.spend(1)?;
                let base = self.fields.len();
                for (name, expr) in names {
                    if let Some(value) = self.output(expr)? {
                        self.fields.push(Field { name: self.texts[*name], value });
                    }
                }
                self.reserve((self.fields.len() - base) * size_of::<Field<'_>>())?;
                let fields = self.arena.alloc_slice_copy(&self.fields[base..]);
                self.fields.truncate(base);
                Ok(Some(Node::Object(fields)))
            }
            Expr::Array(items) if items.iter().all(|item| matches!(item, Item::One(_))) => {
                self.spend(1)?;
                let base = self.nodes.len();
                self.rows(items)?;
                self.items(base)
            }
            Expr::If(branches) => {
                let [test, then, other] = &**branches;
                let test = self.value(test)?.is_truthy();
                self.output(if test { then } else { other })
            }
            Expr::Call(function, arguments) => match self.apply(*function, arguments)? {
                Some(expr) => self.output(expr),
                None => Ok(None),
            },
            Expr::Each(Each::Map, function, both) => {
                let array = self.value(&both.0)?;
                let elements = array.elements().ok_or(Stop::GiveUp)?;
                let base = self.nodes.len();
                for (at, element) in elements.iter().enumerate() {
                    self.spend(1)?;
                    let from = self.values.len();
                    self.values.extend([element, Value::Number(at as f64), array]);
                    let node = match self.enter(*function, from)? {
                        Some(expr) => self.output(expr)?,
                        None => None,
                    };
                    self.nodes.push(node.unwrap_or(Node::Null));
                }
                self.items(base)
            }
            _ => {
                let value = self.value(expr)?;
                self.node(value, 0)
            }
        }
    }

    /// The array of the nodes from a place on.
    fn items(&mut self, base: usize) -> Result<Option<Node<'a>>> {
        self.reserve((self.nodes.len() - base) * size_of::<Node<'_>>())?;
        let items = self.arena.alloc_slice_copy(&self.nodes[base..]);
        self.nodes.truncate(base);
        Ok(Some(Node::Array(items)))
    }

    /// The node of a value.
    fn node(&mut self, value: Value<'a>, depth: usize) -> Result<Option<Node<'a>>> {
        self.spend(1)?;
        if depth > DEPTH_MAX {
            return Err(Stop::GiveUp);
        }
        Ok(Some(match value {
            Value::Undefined => return Ok(None),
            Value::Null => Node::Null,
            Value::Bool(value) => Node::Bool(value),
            Value::Number(value) => number::node(value)?,
            Value::Text(text) => Node::Str(text),
            Value::Items(items) => return self.again(Node::Array(items), depth).map(Some),
            Value::Fields(fields) => return self.again(Node::Object(fields), depth).map(Some),
            Value::Array(values) => {
                let base = self.nodes.len();
                for value in values {
                    let node = self.node(*value, depth + 1)?.unwrap_or(Node::Null);
                    self.nodes.push(node);
                }
                return self.items(base);
            }
            Value::Object(properties) => {
                let base = self.fields.len();
                for property in properties {
                    if let Some(value) = self.node(property.value, depth + 1)? {
                        self.fields.push(Field { name: property.name, value });
                    }
                }
                self.reserve((self.fields.len() - base) * size_of::<Field<'_>>())?;
                let fields = self.arena.alloc_slice_copy(&self.fields[base..]);
                self.fields.truncate(base);
                Node::Object(fields)
            }
        }))
    }

    /// A part of a document, given back: shared as it is unless numbers in it come back otherwise.
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
