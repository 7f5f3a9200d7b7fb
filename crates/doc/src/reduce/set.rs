//! The `set` strategy: values that add to, remove from, or intersect with what came before.
//!
//! A value is an object of the terms `add` and one of `intersect` and `remove`. Terms are all objects, whose names are the
//! elements' keys, or all arrays, sorted by key. With L and R for left and right, and A, I, R for the terms:
//!
//! | left has | right has | add            | intersect | remove  |
//! |----------|-----------|----------------|-----------|---------|
//! | I        | I         | (LA & RI) U RA | LI & RI   |         |
//! | I        | not I     | (LA - RR) U RA | LI - RR   |         |
//! | not I    | I         | (LA & RI) U RA | RI - LR   |         |
//! | not I    | not I     | (LA - RR) U RA |           | LR U RR |
//!
//! A full reduction is what is in the set, and has no use for what is not: it drops `intersect` and `remove`.

use std::cmp::Ordering;

use super::{Active, Reason, ReduceError, Reduction};
use crate::{Field, Node, Pointer, compare, compare_at};

/// One element of a term. In arrays the name is empty.
#[derive(Clone, Copy)]
struct Element<'a> {
    name: &'a str,
    value: Node<'a>,
    /// Where it is in its array.
    at: usize,
}

/// Whether a value is a set.
pub(super) fn is_set(value: Node<'_>) -> bool {
    Terms::read(value).is_some()
}

type Term<'a> = Option<Vec<Element<'a>>>;

#[derive(Default)]
struct Terms<'a> {
    add: Term<'a>,
    intersect: Term<'a>,
    remove: Term<'a>,
    /// Whether terms are arrays; `None` where there are none.
    arrays: Option<bool>,
}

impl<'a> Terms<'a> {
    fn read(value: Node<'a>) -> Option<Terms<'a>> {
        let mut terms = Terms::default();
        for field in value.as_object()? {
            let (elements, array) = match field.value {
                Node::Object(fields) => (
                    fields.iter().map(|field| Element { name: field.name, value: field.value, at: 0 }).collect(),
                    false,
                ),
                Node::Array(items) => {
                    let each = items.iter().enumerate().map(|(at, value)| Element { name: "", value: *value, at });
                    (each.collect(), true)
                }
                _ => return None,
            };
            if *terms.arrays.get_or_insert(array) != array {
                return None;
            }
            match field.name {
                "add" => terms.add = Some(elements),
                "intersect" => terms.intersect = Some(elements),
                "remove" => terms.remove = Some(elements),
                _ => return None,
            }
        }
        (terms.intersect.is_none() || terms.remove.is_none()).then_some(terms)
    }
}

impl<'a> Reduction<'a, '_> {
    pub(super) fn set(
        &self,
        below: &Active,
        key: &[Pointer],
        left: Option<Node<'a>>,
        right: Node<'a>,
    ) -> super::Result<'a> {
        let wrong = || ReduceError::new(Reason::Set, left.unwrap_or_default(), right);
        let l = left.map_or_else(|| Some(Terms::default()), Terms::read).ok_or_else(wrong)?;
        let r = Terms::read(right).ok_or_else(wrong)?;
        if l.arrays.zip(r.arrays).is_some_and(|(l, r)| l != r) {
            return Err(wrong());
        }
        let arrays = l.arrays.or(r.arrays).unwrap_or(true);
        let order = Order { key, arrays };
        let adds = l.add.is_some() || r.add.is_some();
        let (l_add, r_add) = (l.add.unwrap_or_default(), r.add.unwrap_or_default());
        let kept = match (&r.intersect, &r.remove) {
            (Some(only), _) => order.common(&l_add, only),
            (None, Some(without)) => order.without(&l_add, without),
            (None, None) => l_add,
        };
        let mut fields = Vec::with_capacity(2);
        let mut emit = |name: &'static str, elements: Vec<Element<'a>>| {
            fields.push(Field { name, value: self.term(elements, arrays) });
        };
        if adds {
            emit("add", self.union(below, "add", order, right, kept, r_add)?);
        }
        if !self.full {
            match (l.intersect, r.intersect) {
                (Some(l), Some(r)) => {
                    let (l, r) = (order.common(&l, &r), order.common(&r, &l));
                    emit("intersect", self.union(below, "intersect", order, right, l, r)?);
                }
                (Some(l), None) => emit("intersect", order.without(&l, &r.remove.unwrap_or_default())),
                (None, Some(r)) => emit("intersect", order.without(&r, &l.remove.unwrap_or_default())),
                (None, None) if l.remove.is_some() || r.remove.is_some() => {
                    let (l, r) = (l.remove.unwrap_or_default(), r.remove.unwrap_or_default());
                    emit("remove", self.union(below, "remove", order, right, l, r)?);
                }
                (None, None) => {}
            }
        }
        Ok(Some(Node::Object(self.arena.alloc_slice_copy(&fields))))
    }

    /// All elements of both terms; those that both have are reduced by the annotations of the right one.
    fn union(
        &self,
        below: &Active,
        name: &str,
        order: Order<'_>,
        right: Node<'a>,
        l: Vec<Element<'a>>,
        r: Vec<Element<'a>>,
    ) -> Result<Vec<Element<'a>>, ReduceError> {
        let active = self.plan.property(below, name);
        let (_, below) = self.plan.decide(&active, right.get(name).unwrap_or_default());
        let mut all = Vec::with_capacity(l.len() + r.len());
        let mut rest = l.as_slice();
        for element in r {
            let ahead = rest.iter().take_while(|left| order.compare(left, &element).is_lt()).count();
            all.extend_from_slice(&rest[..ahead]);
            rest = &rest[ahead..];
            let mut same = None;
            if let Some((first, others)) = rest.split_first()
                && order.compare(first, &element).is_eq()
            {
                (same, rest) = (Some(first.value), others);
            }
            let active = match order.arrays {
                true => self.plan.item(&below, element.at),
                false => self.plan.property(&below, element.name),
            };
            let reduced = self.value(&active, same, element.value).map_err(|error| {
                let at = element.at.to_string();
                error.within(if order.arrays { &at } else { element.name }).within(name)
            })?;
            all.extend(reduced.map(|value| Element { value, ..element }));
        }
        all.extend_from_slice(rest);
        Ok(all)
    }

    fn term(&self, elements: Vec<Element<'a>>, arrays: bool) -> Node<'a> {
        let elements = elements.into_iter();
        if arrays {
            Node::array(self.arena, &elements.map(|element| element.value).collect::<Vec<_>>())
        } else {
            let fields: Vec<_> = elements.map(|element| Field { name: element.name, value: element.value }).collect();
            Node::Object(self.arena.alloc_slice_copy(&fields))
        }
    }
}

/// How elements are told apart.
#[derive(Clone, Copy)]
struct Order<'k> {
    key: &'k [Pointer],
    arrays: bool,
}

impl Order<'_> {
    fn compare(&self, a: &Element<'_>, b: &Element<'_>) -> Ordering {
        match (self.arrays, self.key) {
            (false, _) => a.name.cmp(b.name),
            (true, []) => compare(a.value, b.value),
            (true, key) => compare_at(key, a.value, b.value),
        }
    }

    /// The elements of `l` that `r` has, too.
    fn common<'a>(&self, l: &[Element<'a>], r: &[Element<'a>]) -> Vec<Element<'a>> {
        self.select(l, r, true)
    }

    /// The elements of `l` that `r` does not have.
    fn without<'a>(&self, l: &[Element<'a>], r: &[Element<'a>]) -> Vec<Element<'a>> {
        self.select(l, r, false)
    }

    fn select<'a>(&self, l: &[Element<'a>], r: &[Element<'a>], common: bool) -> Vec<Element<'a>> {
        let mut rest = r;
        let mut selected = Vec::new();
        for element in l {
            while let Some((first, others)) = rest.split_first()
                && self.compare(first, element).is_lt()
            {
                rest = others;
            }
            let found = rest.first().is_some_and(|first| self.compare(first, element).is_eq());
            if found == common {
                selected.push(*element);
            }
        }
        selected
    }
}
