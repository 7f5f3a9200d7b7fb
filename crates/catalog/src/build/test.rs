//! Building catalog tests: fixtures are valid, and in the order in which they will be compared.

use std::cmp::Ordering;

use doc::{Arena, compare_at, from_value};

use super::Build;
use super::schema::{reason, rule_place};
use crate::parse::{RawStep, RawTest};
use crate::{Step, StepKind, Test};

impl Build<'_, '_> {
    pub(super) fn test(&mut self, raw: &RawTest) -> Test {
        let steps = raw.steps.iter().filter_map(|step| self.step(&raw.name.value, step)).collect();
        Test { name: raw.name.value.clone(), steps, place: raw.name.place }
    }

    fn step(&mut self, test: &str, raw: &RawStep) -> Option<Step> {
        self.resolve(&raw.collection, &format!("test `{test}`"))?;
        let selector = self.selector(&raw.selector, &raw.collection.value);
        match raw.kind {
            StepKind::Ingest => self.check_ingest(raw),
            StepKind::Verify => self.check_verify(raw),
        }
        Some(Step {
            kind: raw.kind,
            collection: raw.collection.value.clone(),
            documents: raw.documents.clone(),
            selector,
            description: raw.description.clone(),
            place: raw.place,
        })
    }

    fn check_ingest(&mut self, raw: &RawStep) {
        let Some(collection) = self.collections.get(&raw.collection.value) else {
            return;
        };
        let mut arena = Arena::new();
        for tree in &raw.documents {
            arena.reset();
            if let Err(invalid) = collection.schema.validate(from_value(&arena, &tree.to_value())) {
                let message = format!("the document is not valid for `{}`: {}", collection.name, reason(&invalid));
                let error = self.report.error("ingest-invalid", tree.place_at(&invalid.location), message);
                if let Some(rule) = rule_place(self.library, &invalid.schema_location) {
                    error.related(rule, "the schema says so here");
                }
            }
        }
    }

    fn check_verify(&mut self, raw: &RawStep) {
        let Some(collection) = self.collections.get(&raw.collection.value) else {
            return;
        };
        let arena = Arena::new();
        let nodes: Vec<_> = raw.documents.iter().map(|tree| from_value(&arena, &tree.to_value())).collect();
        for (pair, trees) in nodes.windows(2).zip(raw.documents.windows(2)) {
            if compare_at(&collection.key, pair[0], pair[1]) == Ordering::Greater {
                let key: Vec<String> = collection.key.iter().map(|pointer| format!("`{pointer}`")).collect();
                let message = format!(
                    "this document must come before the one above: they are compared in the order of {}",
                    key.join(", ")
                );
                self.report.error("verify-order", trees[1].place, message).related(trees[0].place, "the one above");
            }
        }
    }
}
