//! Building a materialization: what the connector says of each binding, and the fields that are kept.

use serde_json::Value;

use super::{Build, suggest};
use crate::fields::{FieldProblem, Wanted, select};
use crate::parse::{RawBinding, RawMaterialization, Word};
use crate::{Binding, Constraint, Materialization, Place, Selector, Tree};

impl Build<'_, '_> {
    pub(super) fn materialization(&mut self, raw: &RawMaterialization) -> Option<Materialization> {
        let mut bindings = Vec::new();
        let mut paths: Vec<(Vec<String>, Place)> = Vec::new();
        let Some(endpoint) = &raw.endpoint else {
            for binding in &raw.bindings {
                self.source(raw, binding);
            }
            return None;
        };
        if let Err(errors) = self.host.check_endpoint(&endpoint.endpoint)
            && !self.config_errors(&format!("materialization `{}`", raw.name.value), endpoint, &[], errors)
        {
            // What its bindings refer to is looked at all the same.
            for binding in &raw.bindings {
                self.source(raw, binding);
            }
            return None;
        }
        let values: Vec<Value> = raw.bindings.iter().map(|binding| binding.resource.to_value()).collect();
        let trees: Vec<&Tree> = raw.bindings.iter().map(|binding| &binding.resource).collect();
        self.unused(endpoint, &values.iter().collect::<Vec<_>>(), &trees);
        for binding in &raw.bindings {
            bindings.extend(self.binding(raw, binding, &mut paths));
        }
        let endpoint = endpoint.endpoint.clone();
        Some(Materialization { name: raw.name.value.clone(), endpoint, bindings, place: raw.name.place })
    }

    /// Resolves the collection of a binding, and which partitions of it.
    fn source(&mut self, raw: &RawMaterialization, binding: &RawBinding) -> Option<Selector> {
        self.resolve(&binding.source, &format!("materialization `{}`", raw.name.value))?;
        Some(self.selector(&binding.selector, &binding.source.value))
    }

    fn binding(
        &mut self,
        raw: &RawMaterialization,
        binding: &RawBinding,
        paths: &mut Vec<(Vec<String>, Place)>,
    ) -> Option<Binding> {
        let selector = self.source(raw, binding)?;
        let endpoint = raw.endpoint.as_ref()?;
        let collection = self.collections.get(&binding.source.value)?;
        let resource = binding.resource.to_value();
        let mut rules = match self.host.check_binding(&endpoint.endpoint, &resource, collection) {
            Ok(rules) => rules,
            Err(errors) => {
                let resources = [&binding.resource];
                self.config_errors(&format!("materialization `{}`", raw.name.value), endpoint, &resources, errors);
                return None;
            }
        };
        let place = binding.resource.place;
        if let Some((_, first)) = paths.iter().find(|(path, _)| *path == rules.path) {
            let message = format!("another binding keeps `{}`", rules.path.join("."));
            self.report.error("resource-duplicate", place, message).related(*first, "it is here");
        }
        paths.push((rules.path, place));

        // Before 2023 nobody knew of it, and tables are to stay as they were.
        for (projection, (constraint, _)) in collection.projections.iter().zip(&mut rules.constraints) {
            if !self.modern && !projection.explicit && projection.pointer.is_published_at() {
                *constraint = (*constraint).max(Constraint::Optional);
            }
        }
        let texts = |words: &'_ [Word]| words.iter().map(|word| word.value.clone()).collect::<Vec<_>>();
        let (include, exclude) = (texts(&binding.fields.include), texts(&binding.fields.exclude));
        let wanted = Wanted {
            include: &include.iter().map(String::as_str).collect::<Vec<_>>(),
            exclude: &exclude.iter().map(String::as_str).collect::<Vec<_>>(),
            recommended: binding.fields.recommended,
        };
        let (fields, problems) = select(&collection.key, &collection.projections, &rules.constraints, wanted);
        let known: Vec<String> = collection.projections.iter().map(|projection| projection.field.clone()).collect();
        for problem in problems {
            self.field_problem(problem, binding, &known);
        }
        Some(Binding {
            resource,
            source: binding.source.value.clone(),
            selector,
            fields,
            delta_updates: rules.delta_updates,
            place: binding.place,
        })
    }

    fn field_problem(&mut self, problem: FieldProblem, binding: &RawBinding, known: &[String]) {
        let source = &binding.source;
        let place = |field: &str| {
            let mut words = binding.fields.include.iter().chain(&binding.fields.exclude);
            words.find(|word| word.value == field).map_or(source.place, |word| word.place)
        };
        match problem {
            FieldProblem::Unknown(field) => {
                let message = format!("`{field}` is not a field of collection `{}`", source.value);
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let error = self.report.error("field-not-found", place(&field), message);
                suggest(error, &field, &known, "it has none");
            }
            FieldProblem::Both(field) => {
                let message = format!("field `{field}` is both included and excluded");
                self.report.error("field-both", place(&field), message);
            }
            FieldProblem::Unsatisfiable(field, reason) => {
                let message = format!("field `{field}` must be kept and cannot be: {reason}");
                self.report.error("field-unsatisfiable", place(&field), message);
            }
            FieldProblem::Forbidden(field, reason) => {
                let message = format!("field `{field}` cannot be kept: {reason}");
                self.report.error("field-forbidden", place(&field), message);
            }
            FieldProblem::Required(field, reason) => {
                let message = format!("field `{field}` cannot be excluded: {reason}");
                self.report.error("field-required", place(&field), message);
            }
            FieldProblem::Location(pointer, reason) => {
                let message = format!("a field of location `{pointer}` must be kept, and none is: {reason}");
                self.report.error("location-required", source.place, message);
            }
        }
    }
}
