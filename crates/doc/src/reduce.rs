//! Reductions: two values of a location become one.
//!
//! What applies where is decided by the right value alone, the later one: its schema says, through the sub-schemas it is
//! valid against. [`plan`] has settled beforehand what does not depend on values. A result shares the parts of both sides
//! that it keeps, and makes only what is new.

use std::cmp::Ordering;

use bumpalo::collections::Vec;

use crate::node::order;
use crate::schema::annotations::Strategy;
use crate::schema::validate::shorten;
use crate::{Arena, Field, Node, Pointer, compare_at};

pub(crate) mod decimal;
mod number;
mod plan;
mod schemas;
mod set;

use plan::Active;
pub(crate) use plan::Plan;

/// Why two documents cannot be reduced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("while reducing {location:?}, having values LHS: {left}, RHS: {right}: {reason}")]
pub struct ReduceError {
    /// Where in the document, as a JSON pointer.
    pub location: String,
    /// What is wrong.
    pub reason: Reason,
    /// The left value as JSON, shortened.
    pub left: String,
    /// The right value as JSON, shortened.
    pub right: String,
}

/// What two values have against being reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Something else than an array.
    #[error("'append' strategy expects arrays")]
    Append,
    /// Something else than numbers, or than strings that are numbers.
    #[error("'sum' strategy expects numbers")]
    Sum,
    /// A sum beyond what numbers hold.
    #[error("`sum` resulted in numeric overflow")]
    Overflow,
    /// Anything but two objects or two arrays.
    #[error("'merge' strategy expects objects or arrays")]
    Merge,
    /// A value that is no set, or another kind of set.
    #[error(
        "'set' strategy expects objects having only 'add', 'remove', and 'intersect' properties with consistent object or array types"
    )]
    Set,
    /// No mistake: the annotation has both documents stay as they are, until what came before them is known.
    #[error("the documents differ, and are kept apart until the one before them is known")]
    Apart,
    /// Something else than a JSON schema.
    #[error("'jsonSchemaMerge' strategy expects JSON schemas")]
    Schema,
}

type Result<'a> = std::result::Result<Option<Node<'a>>, ReduceError>;

impl ReduceError {
    fn new(reason: Reason, left: Node<'_>, right: Node<'_>) -> Self {
        let (left, right) = (shorten(left.to_json()), shorten(right.to_json()));
        ReduceError { location: String::new(), reason, left, right }
    }

    /// Of a right value that has no left one.
    fn lone(reason: Reason, right: Node<'_>) -> Self {
        let right = shorten(right.to_json());
        ReduceError { location: String::new(), reason, left: "nothing".to_owned(), right }
    }

    /// Puts the name of the parent's property, or the index, in front of the location.
    fn within(mut self, name: impl AsRef<str>) -> Self {
        let mut location = String::new();
        crate::pointer::push_escaped(name.as_ref(), &mut location);
        self.location.insert_str(0, &location);
        self
    }
}

/// One reduction of two documents.
#[derive(Clone, Copy)]
struct Reduction<'a, 'p> {
    arena: &'a Arena,
    plan: &'p Plan,
    full: bool,
}

impl Plan {
    /// Reduces the right document into the left.
    pub(crate) fn reduce<'a>(
        &self,
        arena: &'a Arena,
        left: Option<Node<'a>>,
        right: Node<'a>,
        full: bool,
    ) -> Result<'a> {
        let root = self.root();
        if left.is_none() && !(full && self.prunes(root)) {
            return Ok(Some(right));
        }
        Reduction { arena, plan: self, full }.value(root, left, right)
    }
}

impl<'a> Reduction<'a, '_> {
    /// Reduces one location; `None` where it is deleted.
    #[inline]
    fn value(&self, active: &Active, left: Option<Node<'a>>, right: Node<'a>) -> Result<'a> {
        // Most locations have nothing to say; and a lone right value is taken as it is, unless something below it is pruned.
        if active.is_blank() {
            return Ok(Some(right));
        }
        if left.is_none() && !(self.full && self.plan.prunes(active)) {
            return self.lone(active, right).map(|()| Some(right));
        }
        self.by_strategy(active, left, right)
    }

    fn by_strategy(&self, active: &Active, left: Option<Node<'a>>, right: Node<'a>) -> Result<'a> {
        let (strategy, below) = self.plan.decide(active, right);
        let Some(strategy) = strategy else {
            return Ok(Some(right));
        };
        match (strategy, left) {
            (
                Strategy::LastWriteWins { associative: false, .. } | Strategy::Merge { associative: false, .. },
                Some(left),
            ) if !self.full && left != right => Err(ReduceError::new(Reason::Apart, left, right)),
            (Strategy::LastWriteWins { delete: true, .. }, _) if self.full => Ok(None),
            (Strategy::Merge { delete: true, key, .. }, _) if self.full => {
                self.merge(&below, key, left, right)?;
                Ok(None)
            }
            (Strategy::Merge { key, .. }, _) => self.merge(&below, key, left, right),
            (Strategy::Set { key }, _) => self.set(&below, key, left, right),
            (_, None) => self.lone(active, right).map(|()| Some(right)),
            (Strategy::LastWriteWins { .. }, _) => Ok(Some(right)),
            (Strategy::FirstWriteWins, Some(left)) => Ok(Some(left)),
            (Strategy::Minimize { key }, Some(left)) => self.least(&below, key, left, right, false),
            (Strategy::Maximize { key }, Some(left)) => self.least(&below, key, left, right, true),
            (Strategy::Sum, Some(left)) => {
                let sum = match (left, right) {
                    (Node::Str(a), Node::Str(b)) => decimal::add(a, b).map(|sum| Node::Str(self.arena.alloc_str(&sum))),
                    _ => number::add(left, right),
                };
                sum.map(Some).map_err(|reason| ReduceError::new(reason, left, right))
            }
            (Strategy::Append, Some(left)) => match (left, right) {
                (Node::Null, Node::Array(_)) => Ok(Some(Node::Null)),
                (Node::Array(a), Node::Array(b)) => {
                    let mut all = Vec::with_capacity_in(a.len() + b.len(), self.arena);
                    all.extend_from_slice_copy(a);
                    all.extend_from_slice_copy(b);
                    Ok(Some(Node::Array(all.into_bump_slice())))
                }
                _ => Err(ReduceError::new(Reason::Append, left, right)),
            },
            (Strategy::JsonSchemaMerge, Some(left)) => {
                let merged = schemas::merge(self.arena, left, right);
                merged.map(Some).ok_or_else(|| ReduceError::new(Reason::Schema, left, right))
            }
        }
    }

    /// Checks a right value without a left one: it can be reduced into, once there is one. Null is where a merge or an array
    /// has not begun.
    fn lone(&self, active: &Active, right: Node<'a>) -> std::result::Result<(), ReduceError> {
        if !self.plan.checks(active) {
            return Ok(());
        }
        let (strategy, below) = self.plan.decide(active, right);
        let (sound, reason) = match (strategy, right) {
            (Some(Strategy::Merge { .. }), Node::Object(fields)) => {
                return fields.iter().try_for_each(|field| {
                    let checked = self.lone(&self.plan.property(&below, field.name), field.value);
                    checked.map_err(|error| error.within(field.name))
                });
            }
            (Some(Strategy::Merge { .. }), Node::Array(items)) => {
                return items.iter().enumerate().try_for_each(|(at, item)| {
                    let checked = self.lone(&self.plan.item(&below, at), *item);
                    checked.map_err(|error| error.within(at.to_string()))
                });
            }
            (Some(Strategy::Merge { .. }), _) => (right.is_null(), Reason::Merge),
            (Some(Strategy::Append), _) => (right.is_null() || right.as_array().is_some(), Reason::Append),
            (Some(Strategy::Sum), Node::Str(text)) => (decimal::is_number(text), Reason::Sum),
            (Some(Strategy::Sum), _) => (right.as_f64().is_some(), Reason::Sum),
            (Some(Strategy::Set { .. }), _) => (set::is_set(right), Reason::Set),
            (Some(Strategy::JsonSchemaMerge), _) => (schemas::is_schema(right), Reason::Schema),
            _ => return Ok(()),
        };
        if sound { Ok(()) } else { Err(ReduceError::lone(reason, right)) }
    }

    /// The lesser of two values, or with `greatest` the greater. Without a key, equal values are the same; with one they may
    /// differ elsewhere, and merge.
    fn least(&self, below: &Active, key: &[Pointer], left: Node<'a>, right: Node<'a>, greatest: bool) -> Result<'a> {
        let order = if key.is_empty() { crate::compare(left, right) } else { compare_at(key, left, right) };
        let order = if greatest { order.reverse() } else { order };
        if order.is_lt() {
            Ok(Some(left))
        } else if order.is_gt() || key.is_empty() {
            Ok(Some(right))
        } else {
            self.merge(below, &[], Some(left), right)
        }
    }

    fn merge(&self, below: &Active, key: &[Pointer], left: Option<Node<'a>>, right: Node<'a>) -> Result<'a> {
        match (left, right) {
            (None, Node::Object(right)) => self.merge_objects(below, &[], right),
            (None, Node::Array(right)) => self.merge_arrays(below, &[], right),
            (None, Node::Null) => Ok(Some(Node::Null)),
            (None, right) => Err(ReduceError::lone(Reason::Merge, right)),
            (Some(Node::Null), Node::Object(_) | Node::Array(_)) => Ok(Some(Node::Null)),
            (Some(Node::Object(left)), Node::Object(right)) => self.merge_objects(below, left, right),
            (Some(Node::Array(left)), Node::Array(right)) if key.is_empty() => self.merge_arrays(below, left, right),
            (Some(Node::Array(left)), Node::Array(right)) => self.merge_sorted(below, key, left, right),
            (Some(left), right) => Err(ReduceError::new(Reason::Merge, left, right)),
        }
    }

    fn merge_objects(&self, below: &Active, left: &'a [Field<'a>], right: &'a [Field<'a>]) -> Result<'a> {
        let mut fields = Vec::with_capacity_in(left.len() + right.len(), self.arena);
        let mut rest = left;
        for field in right {
            let mut same = None;
            let found = rest.iter().position(|left| {
                let order = order(left.name, field.name);
                same = order.is_eq().then_some(left.value);
                order.is_ge()
            });
            let ahead = found.unwrap_or(rest.len());
            fields.extend_from_slice_copy(&rest[..ahead]);
            rest = &rest[ahead + usize::from(same.is_some())..];
            let active = self.plan.property(below, field.name);
            // Most fields are taken as they are, from where they are: a node that was handed on in memory is waited for.
            if active.is_blank() {
                fields.push(*field);
                continue;
            }
            let value = self.value(&active, same, field.value).map_err(|error| error.within(field.name))?;
            fields.extend(value.map(|value| Field { name: field.name, value }));
        }
        fields.extend_from_slice_copy(rest);
        Ok(Some(Node::Object(fields.into_bump_slice())))
    }

    /// Item by item.
    fn merge_arrays(&self, below: &Active, left: &'a [Node<'a>], right: &'a [Node<'a>]) -> Result<'a> {
        let mut items = Vec::with_capacity_in(left.len().max(right.len()), self.arena);
        for (at, item) in right.iter().enumerate() {
            items.extend(self.item(below, at, left.get(at).copied(), *item)?);
        }
        items.extend(left.iter().skip(right.len()));
        Ok(Some(Node::Array(items.into_bump_slice())))
    }

    /// Joins two arrays that are both sorted by the key.
    fn merge_sorted(&self, below: &Active, key: &[Pointer], left: &'a [Node<'a>], right: &'a [Node<'a>]) -> Result<'a> {
        let mut items = Vec::with_capacity_in(left.len() + right.len(), self.arena);
        let mut rest = left;
        for (at, item) in right.iter().enumerate() {
            let mut same = None;
            while let Some((first, others)) = rest.split_first() {
                match compare_at(key, *first, *item) {
                    Ordering::Less => items.push(*first),
                    Ordering::Equal => same = Some(*first),
                    Ordering::Greater => break,
                }
                rest = others;
                if same.is_some() {
                    break;
                }
            }
            items.extend(self.item(below, at, same, *item)?);
        }
        items.extend_from_slice_copy(rest);
        Ok(Some(Node::Array(items.into_bump_slice())))
    }

    fn item(&self, below: &Active, at: usize, left: Option<Node<'a>>, right: Node<'a>) -> Result<'a> {
        let active = self.plan.item(below, at);
        self.value(&active, left, right).map_err(|error| error.within(at.to_string()))
    }
}
