//! Finding locations in a shape.

use super::{ANY, Exists, Located, NEVER, Shape, Types};
use crate::Pointer;

impl Shape {
    /// What is proven about one location.
    pub fn locate(&self, pointer: &Pointer) -> Located<'_> {
        let mut located = Located { shape: self, exists: Exists::Must };
        for token in pointer.tokens() {
            let step = located.shape.step(token);
            located = Located { shape: step.shape, exists: located.exists.min(step.exists) };
        }
        if located.shape.types.is_empty() {
            located.exists = Exists::Cannot;
        }
        located
    }

    /// One step down: a property, or an index.
    fn step(&self, token: &str) -> Located<'_> {
        let index = self.types.contains(Types::ARRAY).then(|| index(token)).flatten();
        let property = self.types.contains(Types::OBJECT).then(|| self.property(token));
        let item = index.map(|at| self.indexed(at));
        let never = Located { shape: &NEVER, exists: Exists::Cannot };
        match (property.unwrap_or(never), item.unwrap_or(never)) {
            (property, item) if item.exists == Exists::Cannot => property,
            (property, item) if property.exists == Exists::Cannot => item,
            // It may be a name or an index, and nothing is known of both.
            (property, item) => Located { shape: &ANY, exists: property.exists.max(item.exists) },
        }
    }

    fn property(&self, name: &str) -> Located<'_> {
        if let Some(property) = self.properties.get(name) {
            let must = property.required && self.types == Types::OBJECT;
            let exists = match property.shape.types.is_empty() {
                true => Exists::Cannot,
                false if must => Exists::Must,
                false => Exists::May,
            };
            return Located { shape: &property.shape, exists };
        }
        unnamed(self.unnamed(name))
    }

    fn indexed(&self, at: usize) -> Located<'_> {
        let at_u64 = at as u64;
        if self.items_max.is_some_and(|max| at_u64 >= max) {
            return Located { shape: &NEVER, exists: Exists::Cannot };
        }
        let mut located = unnamed(self.item(at));
        if located.exists != Exists::Cannot {
            if self.types == Types::ARRAY && at_u64 < self.items_min {
                located.exists = Exists::Must;
            } else if self.items_max.is_some() {
                located.exists = Exists::May;
            }
        }
        located
    }

    /// Every location the schema names without a pattern, the root first, in the order of pointers.
    pub fn locations(&self) -> Vec<(Pointer, Located<'_>)> {
        let mut found = Vec::new();
        let root = Located { shape: self, exists: Exists::Must };
        self.collect(&Pointer::root(), root.exists, &mut found);
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        found
    }

    fn collect<'s>(&'s self, pointer: &Pointer, exists: Exists, found: &mut Vec<(Pointer, Located<'s>)>) {
        let exists = if self.types.is_empty() { Exists::Cannot } else { exists };
        found.push((pointer.clone(), Located { shape: self, exists }));
        let mut below = |token: &str| {
            let step = self.step(token);
            step.shape.collect(&pointer.child(token), exists.min(step.exists), found);
        };
        if self.types.contains(Types::OBJECT) {
            self.properties.keys().for_each(|name| below(name));
        }
        if self.types.contains(Types::ARRAY) {
            (0..self.tuple.len()).for_each(|at| below(&at.to_string()));
        }
    }
}

fn unnamed(shape: Option<&Shape>) -> Located<'_> {
    match shape {
        Some(shape) if shape.types.is_empty() => Located { shape, exists: Exists::Cannot },
        Some(shape) => Located { shape, exists: Exists::May },
        None => Located { shape: &ANY, exists: Exists::Implicit },
    }
}

fn index(token: &str) -> Option<usize> {
    let plain = token == "0" || (!token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit()));
    if plain { token.parse().ok() } else { None }
}
