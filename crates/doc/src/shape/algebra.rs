//! Shapes of values that two schemas both allow, or that either does.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{ANY, MULTIPLE, Property, Shape, Types};
use crate::{Arena, compare, from_value};

impl Shape {
    /// What values look like that have both shapes. Of annotations, those of `self` hold.
    pub(crate) fn intersect(self, other: Shape) -> Shape {
        let values = match (self.values.clone(), other.values.clone()) {
            (Some(a), Some(b)) => Some(a.into_iter().filter(|a| b.iter().any(|b| same(a, b))).collect()),
            (a, b) => a.or(b),
        };
        let mut patterns = self.patterns.clone();
        for (pattern, shape) in &other.patterns {
            let both = match patterns.remove(pattern) {
                Some(own) => own.intersect(shape.clone()),
                None => shape.clone(),
            };
            patterns.insert(pattern.clone(), both);
        }
        let mut properties = BTreeMap::new();
        for name in self.properties.keys().chain(other.properties.keys()) {
            if properties.contains_key(name) {
                continue;
            }
            let side = |shape: &Shape| match shape.properties.get(name) {
                Some(property) => (Some(property.shape.clone()), property.required),
                None => (shape.unnamed(name).cloned(), false),
            };
            let ((a, a_required), (b, b_required)) = (side(&self), side(&other));
            let shape = both(a, b).unwrap_or_else(|| ANY.clone());
            properties.insert(name.clone(), Property { shape, required: a_required || b_required });
        }
        let tuple = (0..self.tuple.len().max(other.tuple.len()))
            .map(|at| both(self.item(at).cloned(), other.item(at).cloned()).unwrap_or_else(|| ANY.clone()))
            .collect();
        let unboxed = |shape: Option<Box<Shape>>| shape.map(|shape| *shape);
        Shape {
            types: self.types.intersect(other.types),
            values,
            format: self.format.or(other.format),
            content_encoding: self.content_encoding.or(other.content_encoding),
            content_type: self.content_type.or(other.content_type),
            title: self.title.or(other.title),
            description: self.description.or(other.description),
            default: self.default.or(other.default),
            reduce: self.reduce.or(other.reduce),
            length_min: self.length_min.max(other.length_min),
            length_max: least(self.length_max, other.length_max),
            properties,
            patterns,
            additional_properties: both(unboxed(self.additional_properties), unboxed(other.additional_properties))
                .map(Box::new),
            tuple,
            items: both(unboxed(self.items), unboxed(other.items)).map(Box::new),
            items_min: self.items_min.max(other.items_min),
            items_max: least(self.items_max, other.items_max),
        }
        .settle()
    }

    /// What values look like that have either shape. Annotations hold where both agree.
    pub(crate) fn union(self, other: Shape) -> Shape {
        if self.types.is_empty() {
            return other;
        }
        if other.types.is_empty() {
            return self;
        }
        let values = match (&self.values, &other.values) {
            (Some(a), Some(b)) => {
                let more = b.iter().filter(|b| !a.iter().any(|a| same(a, b)));
                Some(a.iter().chain(more).cloned().collect())
            }
            _ => None,
        };
        let mut union = Shape::of_types(self.types.union(other.types));
        union.values = values;
        union.unite_strings(&self, &other);
        union.unite_objects(&self, &other);
        union.unite_arrays(&self, &other);
        union.title = agreed(self.title, other.title);
        union.description = agreed(self.description, other.description);
        union.default = agreed(self.default, other.default);
        union.reduce = if self.reduce == other.reduce { self.reduce } else { Some(MULTIPLE) };
        union
    }

    // A side that has no strings says nothing of strings; and so on.

    fn unite_strings(&mut self, a: &Shape, b: &Shape) {
        let only = sole(a, b, Types::STRING);
        let agreed = |get: fn(&Shape) -> &Option<String>| match only {
            Some(side) => get(side).clone(),
            None => agreed(get(a).clone(), get(b).clone()),
        };
        self.format = agreed(|shape| &shape.format);
        self.content_encoding = agreed(|shape| &shape.content_encoding);
        self.content_type = agreed(|shape| &shape.content_type);
        let (a, b) = only.map_or((a, b), |side| (side, side));
        self.length_min = a.length_min.min(b.length_min);
        self.length_max = a.length_max.zip(b.length_max).map(|(a, b)| a.max(b));
    }

    fn unite_objects(&mut self, a: &Shape, b: &Shape) {
        if let Some(side) = sole(a, b, Types::OBJECT) {
            self.properties.clone_from(&side.properties);
            self.patterns.clone_from(&side.patterns);
            self.additional_properties.clone_from(&side.additional_properties);
            return;
        }
        for name in a.properties.keys().chain(b.properties.keys()) {
            let side = |shape: &Shape| match shape.properties.get(name) {
                Some(property) => Some((property.shape.clone(), property.required)),
                None => Some((shape.unnamed(name)?.clone(), false)),
            };
            if let (Some((a, a_required)), Some((b, b_required))) = (side(a), side(b)) {
                let property = Property { shape: a.union(b), required: a_required && b_required };
                self.properties.insert(name.clone(), property);
            }
        }
        for (pattern, shape) in &a.patterns {
            if let Some(other) = b.patterns.get(pattern) {
                self.patterns.insert(pattern.clone(), shape.clone().union(other.clone()));
            }
        }
        if let (Some(a), Some(b)) = (&a.additional_properties, &b.additional_properties) {
            self.additional_properties = Some(Box::new((**a).clone().union((**b).clone())));
        }
    }

    fn unite_arrays(&mut self, a: &Shape, b: &Shape) {
        if let Some(side) = sole(a, b, Types::ARRAY) {
            self.tuple.clone_from(&side.tuple);
            self.items.clone_from(&side.items);
            (self.items_min, self.items_max) = (side.items_min, side.items_max);
            return;
        }
        let united = |at: usize| Some(a.item(at)?.clone().union(b.item(at)?.clone()));
        self.tuple = (0..a.tuple.len().max(b.tuple.len())).map_while(united).collect();
        if let (Some(a), Some(b)) = (&a.items, &b.items) {
            self.items = Some(Box::new((**a).clone().union((**b).clone())));
        }
        self.items_min = a.items_min.min(b.items_min);
        self.items_max = a.items_max.zip(b.items_max).map(|(a, b)| a.max(b));
    }

    /// Makes types and listed values agree.
    pub(crate) fn settle(mut self) -> Shape {
        if let Some(values) = &mut self.values {
            values.retain(|value| self.types.contains(Types::of(value)));
            let listed = values.iter().map(Types::of).fold(Types::NONE, Types::union);
            self.types = self.types.intersect(listed);
        }
        self
    }

    /// What is known of a property that is not named.
    pub(crate) fn unnamed(&self, name: &str) -> Option<&Shape> {
        let pattern = self.patterns.iter().find(|(pattern, _)| super::matches(pattern, name));
        pattern.map(|(_, shape)| shape).or(self.additional_properties.as_deref())
    }

    /// What is known of an item.
    pub(crate) fn item(&self, at: usize) -> Option<&Shape> {
        self.tuple.get(at).or(self.items.as_deref())
    }
}

fn both(a: Option<Shape>, b: Option<Shape>) -> Option<Shape> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.intersect(b)),
        (a, b) => a.or(b),
    }
}

fn least(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn agreed<T: PartialEq>(a: Option<T>, b: Option<T>) -> Option<T> {
    if a == b { a } else { None }
}

/// The side that alone has values of these types.
fn sole<'s>(a: &'s Shape, b: &'s Shape, types: Types) -> Option<&'s Shape> {
    match (a.types.contains(types), b.types.contains(types)) {
        (true, false) => Some(a),
        (false, true) => Some(b),
        _ => None,
    }
}

fn same(a: &Value, b: &Value) -> bool {
    let arena = Arena::new();
    compare(from_value(&arena, a), from_value(&arena, b)).is_eq()
}
