//! A compiled schema: validation, reduction and shape of the documents of one collection or register.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use url::Url;

use crate::reduce::Plan;
use crate::{Arena, Node, ReduceError, Shape, Types};

pub(crate) mod annotations;
mod circles;
pub(crate) mod documents;
mod plain;
pub(crate) mod validate;

use annotations::{Strategy, nearest};
use documents::{Documents, Loaded};
use plain::Plain;
pub use validate::Formats;
use validate::{Bundle, Validator};

/// A mistake in a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SchemaError {
    /// Names the kind of mistake.
    pub slug: &'static str,
    /// The schema document.
    pub url: Url,
    /// Where in that document, as a JSON pointer.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Why a document is not valid. Prints as `"/segment/vendor": 0 is less than the minimum of 1`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{location:?}: {message}")]
pub struct Invalid {
    /// The value in the document, as a JSON pointer.
    pub location: String,
    /// The keyword that refuses it: an absolute URL with a fragment.
    pub schema_location: String,
    /// What is wrong, naming the value.
    pub message: String,
}

/// A compiled schema: JSON Schema 2019-09, or 2020-12 where a document uses `prefixItems`, whatever `$schema` says. Unknown
/// keywords mean nothing, nor do `dependencies`.
pub struct Schema {
    documents: Documents,
    plain: Plain,
    validator: Validator,
    shape: Shape,
    plan: Plan,
    doubts: Vec<SchemaError>,
}

impl Schema {
    /// Compiles the schema at `root`, whose fragment may be a JSON pointer or an anchor. `documents` gives the schema document
    /// of a URL without fragment. All mistakes that can be found at once are. `format` is an annotation, and refuses nothing.
    pub fn compile(root: &Url, documents: &dyn Fn(&Url) -> Option<Arc<Value>>) -> Result<Schema, Vec<SchemaError>> {
        Schema::compile_with(root, documents, Formats::Described)
    }

    /// The same, and says what formats are.
    pub fn compile_with(
        root: &Url,
        documents: &dyn Fn(&Url) -> Option<Arc<Value>>,
        formats: Formats,
    ) -> Result<Schema, Vec<SchemaError>> {
        let Loaded { documents, root, mut errors } = Documents::load(root, documents);
        let (bundle, place) = match (check(&documents, formats), root) {
            (Ok(bundle), Some(place)) if errors.is_empty() => (bundle, place),
            (checked, _) => {
                errors.extend(checked.err().unwrap_or_default());
                return Err(errors);
            }
        };
        let validator = bundle.validator(&documents, &place)?;
        let mut doubts = check_defaults(&documents, &bundle)?;
        doubts.extend(circles::circles(&documents));
        let shape = Shape::infer(&documents, &place);
        let plan = Plan::compile(&documents, &bundle, &place)?;
        let plain = Plain::compile(&documents, &place, formats);
        Ok(Schema { documents, plain, validator, shape, plan, doubts })
    }

    /// Checks a document.
    pub fn validate(&self, document: Node<'_>) -> Result<(), Invalid> {
        // Asking whether it is valid takes a faster road than asking why it is not.
        if self.is_valid(document) {
            return Ok(());
        }
        validate::validate(&self.validator, &self.documents, document)
    }

    /// Whether a document is valid.
    pub fn is_valid(&self, document: Node<'_>) -> bool {
        let is_proven = self.plain.proves(document);
        debug_assert!(!is_proven || self.validator.is_valid(&document), "what is proven is valid");
        is_proven || self.validator.is_valid(&document)
    }

    /// What the schema proves about its documents.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// What is wrong with it although it can be used all the same: defaults that the schema they stand in refuses, and
    /// references that lead back to their own schema.
    pub fn doubts(&self) -> &[SchemaError] {
        &self.doubts
    }

    /// Reduces `right`, a valid document, into `left`, the document before it. With `full`, `left` is all there was before.
    /// `None`: the reduction deleted the document. The result shares what it can with `left` and `right`.
    pub fn reduce<'a>(
        &self,
        arena: &'a Arena,
        left: Option<Node<'a>>,
        right: Node<'a>,
        full: bool,
    ) -> Result<Option<Node<'a>>, ReduceError> {
        self.plan.reduce(arena, left, right, full)
    }

    /// Whether every reduction of valid documents gives a valid one, no deeper than they are.
    pub fn closed(&self) -> bool {
        self.plan.closed()
    }

    /// Whether every reduction gives the right document as it is.
    pub(crate) fn keeps_right(&self) -> bool {
        self.plan.keeps_right()
    }

    /// Whether a full reduction may drop something of a document that has none before it.
    pub fn prunes(&self) -> bool {
        self.plan.prunes(self.plan.root())
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").field("shape", &self.shape).finish_non_exhaustive()
    }
}

/// Checks all documents; gives what validators are built from.
pub(crate) fn check(documents: &Documents, formats: Formats) -> Result<Bundle, Vec<SchemaError>> {
    let mut errors = check_keywords(documents);
    match Bundle::new(documents, formats) {
        Ok(bundle) if errors.is_empty() => Ok(bundle),
        Ok(_) => Err(errors),
        Err(more) => {
            // What we said already, we said better.
            let said = |error: &SchemaError| {
                errors.iter().any(|own| own.url == error.url && own.pointer.starts_with(&error.pointer))
            };
            let more: Vec<_> = more.into_iter().filter(|error| !said(error)).collect();
            errors.extend(more);
            Err(errors)
        }
    }
}

/// A default stands in for a missing value, and so should be valid. Gives those that are not.
fn check_defaults(documents: &Documents, bundle: &Bundle) -> Result<Vec<SchemaError>, Vec<SchemaError>> {
    let places = documents.places().into_iter();
    let defaults: Vec<_> = places.filter_map(|place| Some((place, documents.schema(place).get("default")?))).collect();
    let wrong = bundle.wrong(documents, &defaults)?;
    let error = |(n, location, message): (usize, String, String)| {
        let (place, _) = defaults[n];
        SchemaError {
            slug: "schema-default-invalid",
            url: documents.url(place),
            pointer: place.child(&["default"]).pointer + &location,
            message: format!("the default is not valid: {message}"),
            hint: None,
        }
    };
    Ok(wrong.into_iter().map(error).collect())
}

/// Mistakes in the keywords that we read ourselves.
fn check_keywords(documents: &Documents) -> Vec<SchemaError> {
    let mut errors = Vec::new();
    for place in documents.places() {
        let schema = documents.schema(place);
        let mut mistake = |slug, pointer, message, hint| {
            errors.push(SchemaError { slug, url: documents.url(place), pointer, message, hint });
        };
        if let Some(Err(wrong)) = schema.get("reduce").map(Strategy::read) {
            let pointer = place.child(&["reduce"]).pointer + &wrong.pointer;
            mistake(wrong.slug, pointer, wrong.message, wrong.hint);
        }
        let mut check_type = |names: &[&str], value: &Value| {
            if let Some(name) = value.as_str().filter(|name| Types::named(name).is_none()) {
                let known = ["array", "boolean", "integer", "null", "number", "object", "string"];
                let hint = nearest(name, known.into_iter());
                let message = format!("{name} is not a type");
                mistake("schema-type-unknown", place.child(names).pointer, message, Some(hint));
            }
        };
        match schema.get("type") {
            Some(Value::Array(names)) => {
                for (at, name) in names.iter().enumerate() {
                    check_type(&["type", &at.to_string()], name);
                }
            }
            Some(name) => check_type(&["type"], name),
            None => {}
        }
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        for pattern in patterns.into_iter().flat_map(|patterns| patterns.keys()) {
            if let Err(error) = regex::Regex::new(pattern) {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                let message = format!("{pattern:?} is no pattern: {}", last.trim_start_matches("error: "));
                let hint = "patterns run in linear time: no look-around, no back-references".to_owned();
                let pointer = place.child(&["patternProperties", pattern]).pointer;
                mistake("schema-pattern-invalid", pointer, message, Some(hint));
            }
        }
    }
    errors
}
