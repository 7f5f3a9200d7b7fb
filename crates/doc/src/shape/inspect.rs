//! Mistakes that only show in the shape of a whole schema: reductions that can never work.

use super::{Shape, Types};
use crate::Pointer;

/// A mistake in how a schema reduces, or in what it requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The location in documents; what matches a pattern is `*`, and so are items.
    pub pointer: Pointer,
    /// Names the kind of mistake.
    pub slug: &'static str,
    /// What is wrong.
    pub message: String,
}

impl Shape {
    /// Looks for locations that are required and impossible, reductions whose parent does not reduce, and reductions of types
    /// that they cannot reduce.
    pub fn inspect(&self) -> Vec<Inspection> {
        let mut found = Vec::new();
        self.inspect_at(&Pointer::root(), true, true, &mut found);
        found
    }

    fn inspect_at(&self, pointer: &Pointer, must: bool, parent_reduces: bool, found: &mut Vec<Inspection>) {
        let mut mistake = |slug, message| found.push(Inspection { pointer: pointer.clone(), slug, message });
        if self.types.is_empty() {
            if must {
                let message = format!("'{pointer}' must exist, but is constrained to always be invalid");
                mistake("schema-impossible", message);
            }
            return;
        }
        if self.reduce.is_some() && !parent_reduces {
            let message = format!("'{pointer}' has reduction strategy, but its parent does not");
            mistake("reduce-parent-missing", message);
        }
        let mut restricted = |to: Types, text: &str| {
            if !self.types.subset(to) {
                let (strategy, types) = (self.reduce.unwrap_or_default(), self.types);
                let message = format!(
                    "'{pointer}' has '{strategy}' reduction strategy, restricted to {text}, but has types {types}"
                );
                mistake("reduce-type-mismatch", message);
            }
        };
        match self.reduce {
            Some("sum") if matches!(self.format.as_deref(), Some("integer" | "number")) => {
                restricted(Types::NUMBER.union(Types::STRING), "numbers");
            }
            Some("sum") => restricted(Types::NUMBER, "numbers"),
            Some("merge") => restricted(Types::OBJECT.union(Types::ARRAY), "objects & arrays"),
            Some("set") => {
                restricted(Types::OBJECT, "objects");
                for name in
                    self.properties.keys().filter(|name| !["add", "intersect", "remove"].contains(&name.as_str()))
                {
                    let message = format!(
                        "'{pointer}' has 'set' reduction strategy, whose properties are add, intersect, remove; not {name}"
                    );
                    mistake("reduce-set-property", message);
                }
            }
            _ => {}
        }
        let reduces = self.reduce.is_some();
        if self.types.contains(Types::OBJECT) {
            for (name, property) in &self.properties {
                let must = must && property.required && self.types == Types::OBJECT;
                property.shape.inspect_at(&pointer.child(name), must, reduces, found);
            }
            for shape in self.patterns.values().chain(self.additional_properties.as_deref()) {
                shape.inspect_at(&pointer.child("*"), false, reduces, found);
            }
        }
        if self.types.contains(Types::ARRAY) {
            for (at, shape) in self.tuple.iter().enumerate() {
                let must = must && (at as u64) < self.items_min && self.types == Types::ARRAY;
                shape.inspect_at(&pointer.child(&at.to_string()), must, reduces, found);
            }
            if let Some(shape) = &self.items {
                shape.inspect_at(&pointer.child("*"), false, reduces, found);
            }
        }
    }
}
