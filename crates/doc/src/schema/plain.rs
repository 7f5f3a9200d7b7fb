//! A quick yes: what can be seen to be valid by the plain keywords of a schema.
//!
//! Most schemas say of most locations no more than which types, properties and items they have, and most documents are valid.
//! [`Plain`] knows those keywords and proves what it can; whatever it cannot, or finds wrong, is for the validator to judge, which
//! also has the words for it. So it may give up anywhere, but never say yes where the validator says no.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::ops::RangeInclusive;

use serde_json::Value;

use super::documents::{Documents, Place, REFERENCES};
use super::validate::Formats;
use crate::node::{field, order};
use crate::{Field, Node, Types};

/// Sets of schemas may be many more than schemas; where there are more than this, nothing is proven.
const DEMANDS_MAX: usize = 1_000;
/// How often a schema that depends on a property may lead to another one for the same object.
const DEPENDENTS_MAX: u8 = 4;

const ANY_NUMBER: RangeInclusive<i128> = i128::MIN..=i128::MAX;
const ANY_LENGTH: RangeInclusive<u64> = 0..=u64::MAX;

/// Keywords that demand nothing.
const SILENT: [&str; 14] = [
    "$anchor",
    "$comment",
    "$defs",
    "$id",
    "$schema",
    "default",
    "definitions",
    "deprecated",
    "description",
    "examples",
    "readOnly",
    "reduce",
    "title",
    "writeOnly",
];

/// What the schemas of one place demand. The first is of the document.
pub(crate) struct Plain(Vec<Demand>);

/// What one set of schemas demands of a value.
struct Demand {
    /// The types it may be of; none where nothing can be proven.
    types: Types,
    /// The scalars it may be one of.
    scalars: Option<Vec<Scalar>>,
    /// Of a number: at least and at most.
    range: RangeInclusive<i128>,
    /// Of a string: how many characters.
    chars: RangeInclusive<u64>,
    /// Of an object: properties that are spoken of, in the order of their names …
    named: Vec<Named>,
    /// … how many of them it must have …
    required: usize,
    /// … what all others must be …
    others: Option<usize>,
    /// … and what the object must be if it has a property.
    dependents: Vec<(Box<str>, usize)>,
    /// Of an array: what its items must be.
    items: Option<usize>,
}

struct Named {
    name: Box<str>,
    is_required: bool,
    demand: Option<usize>,
}

#[derive(PartialEq)]
enum Scalar {
    Null,
    Bool(bool),
    Str(Box<str>),
}

impl Plain {
    pub(crate) fn compile(documents: &Documents, place: &Place, formats: Formats) -> Plain {
        let mut demands = Demands { documents, formats, known: HashMap::new(), places: Vec::new() };
        demands.id(vec![place.clone()]);
        let mut compiled = Vec::new();
        while let Some(places) = demands.places.get(compiled.len()).cloned() {
            if compiled.len() == DEMANDS_MAX {
                return Plain(vec![Demand::unknown()]);
            }
            compiled.push(demands.compile(&places).unwrap_or_else(Demand::unknown));
        }
        // What demands nothing need not be asked.
        let blank: Vec<bool> = compiled.iter().map(Demand::is_blank).collect();
        let asked = |demand: &mut Option<usize>| *demand = demand.filter(|at| !blank[*at]);
        for demand in &mut compiled {
            demand.named.iter_mut().for_each(|named| asked(&mut named.demand));
            asked(&mut demand.others);
            asked(&mut demand.items);
            if demand.others.is_none() {
                demand.named.retain(|named| named.is_required || named.demand.is_some());
            }
        }
        Plain(compiled)
    }

    /// Whether the document is seen to be valid.
    pub(crate) fn proves(&self, document: Node<'_>) -> bool {
        self.demand(0, document, DEPENDENTS_MAX)
    }

    fn demand(&self, at: usize, node: Node<'_>, dependents: u8) -> bool {
        let demand = &self.0[at];
        if let Some(scalars) = &demand.scalars
            && !scalars.iter().any(|scalar| scalar.is(node))
        {
            return false;
        }
        match node {
            Node::Null => demand.types.contains(Types::NULL),
            Node::Bool(_) => demand.types.contains(Types::BOOLEAN),
            Node::U64(value) => demand.number(i128::from(value)),
            Node::I64(value) => demand.number(i128::from(value)),
            // Whether it is an integer, and how it compares with one, is a matter of its own.
            Node::F64(_) => demand.types.contains(Types::NUMBER) && demand.range == ANY_NUMBER,
            Node::Str(text) => {
                // A character takes one to four bytes.
                let (least, most) = ((text.len() as u64).div_ceil(4), text.len() as u64);
                demand.types.contains(Types::STRING) && demand.chars.contains(&least) && demand.chars.contains(&most)
            }
            Node::Array(items) => {
                demand.types.contains(Types::ARRAY)
                    && demand.items.is_none_or(|at| items.iter().all(|item| self.demand(at, *item, DEPENDENTS_MAX)))
            }
            Node::Object(fields) => {
                demand.types.contains(Types::OBJECT)
                    && self.fields(demand, fields)
                    && demand.dependents.iter().all(|(name, at)| {
                        field(fields, name).is_none() || dependents > 0 && self.demand(*at, node, dependents - 1)
                    })
            }
        }
    }

    /// Both are in the order of names.
    fn fields(&self, demand: &Demand, fields: &[Field<'_>]) -> bool {
        let (mut named, mut found) = (demand.named.as_slice(), 0);
        for Field { name, value } in fields {
            let mut of_it = demand.others;
            while let [next, rest @ ..] = named {
                match order(&next.name, name) {
                    Ordering::Less => named = rest,
                    Ordering::Equal => {
                        (of_it, named) = (next.demand, rest);
                        found += usize::from(next.is_required);
                        break;
                    }
                    Ordering::Greater => break,
                }
            }
            if of_it.is_some_and(|at| !self.demand(at, *value, DEPENDENTS_MAX)) {
                return false;
            }
        }
        found == demand.required
    }
}

impl Demand {
    /// Of which nothing is proven.
    fn unknown() -> Demand {
        Demand { types: Types::NONE, ..Demand::blank() }
    }

    /// Which demands nothing.
    fn blank() -> Demand {
        Demand {
            types: Types::ANY,
            scalars: None,
            range: ANY_NUMBER,
            chars: ANY_LENGTH,
            named: Vec::new(),
            required: 0,
            others: None,
            dependents: Vec::new(),
            items: None,
        }
    }

    fn is_blank(&self) -> bool {
        let Demand { types, scalars, range, chars, named, required: _, others, dependents, items } = self;
        *types == Types::ANY
            && (scalars.is_none() && *range == ANY_NUMBER && *chars == ANY_LENGTH)
            && (named.is_empty() && others.is_none() && dependents.is_empty() && items.is_none())
    }

    fn number(&self, value: i128) -> bool {
        self.types.contains(Types::INTEGER) && self.range.contains(&value)
    }

    fn one_of(&mut self, scalars: Vec<Scalar>) {
        self.scalars = Some(match self.scalars.take() {
            Some(before) => before.into_iter().filter(|scalar| scalars.contains(scalar)).collect(),
            None => scalars,
        });
    }
}

impl Scalar {
    fn read(value: &Value) -> Option<Scalar> {
        Some(match value {
            Value::Null => Scalar::Null,
            Value::Bool(value) => Scalar::Bool(*value),
            Value::String(text) => Scalar::Str(text.as_str().into()),
            // Numbers are equal in more ways than one.
            Value::Number(_) | Value::Array(_) | Value::Object(_) => return None,
        })
    }

    fn is(&self, node: Node<'_>) -> bool {
        match (self, node) {
            (Scalar::Null, Node::Null) => true,
            (Scalar::Bool(a), Node::Bool(b)) => *a == b,
            (Scalar::Str(a), Node::Str(b)) => **a == *b,
            _ => false,
        }
    }
}

/// Demands of sets of places that are asked for, compiled one after another, so that schemas within themselves end.
struct Demands<'d> {
    documents: &'d Documents,
    formats: Formats,
    known: HashMap<Vec<Place>, usize>,
    places: Vec<Vec<Place>>,
}

impl Demands<'_> {
    fn id(&mut self, places: Vec<Place>) -> usize {
        *self.known.entry(places.clone()).or_insert_with(|| {
            self.places.push(places);
            self.places.len() - 1
        })
    }

    /// `None` where some keyword is not a plain one.
    fn compile(&mut self, places: &[Place]) -> Option<Demand> {
        let mut schemas = Vec::new();
        places.iter().for_each(|place| self.flatten(place, &mut schemas));
        let mut demand = Demand::blank();
        let mut required = BTreeSet::new();
        let mut names = BTreeSet::new();
        let mut items = Vec::new();
        for place in &schemas {
            let schema = self.documents.schema(place);
            let keywords = match schema {
                Value::Object(keywords) => keywords,
                Value::Bool(true) => continue,
                _ => return None,
            };
            for (keyword, value) in keywords {
                match keyword.as_str() {
                    "type" => demand.types = demand.types.intersect(types(value)?),
                    "properties" => names.extend(value.as_object()?.keys().cloned()),
                    "required" => {
                        for name in value.as_array()? {
                            required.insert(name.as_str()?.to_owned());
                        }
                    }
                    "additionalProperties" if schema.get("patternProperties").is_none() => {}
                    "items" if !value.is_array() && schema.get("prefixItems").is_none() => {
                        items.push(place.child(&["items"]));
                    }
                    "minimum" if schema.get("exclusiveMinimum").is_none() => {
                        narrow(&mut demand.range, integer(value)?..=i128::MAX);
                    }
                    "maximum" if schema.get("exclusiveMaximum").is_none() => {
                        narrow(&mut demand.range, i128::MIN..=integer(value)?);
                    }
                    "minLength" => narrow(&mut demand.chars, value.as_u64()?..=u64::MAX),
                    "maxLength" => narrow(&mut demand.chars, 0..=value.as_u64()?),
                    "const" => demand.one_of(vec![Scalar::read(value)?]),
                    "enum" => demand.one_of(value.as_array()?.iter().map(Scalar::read).collect::<Option<_>>()?),
                    "dependentSchemas" => {
                        for name in value.as_object()?.keys() {
                            let at = self.id(vec![place.child(&["dependentSchemas", name])]);
                            demand.dependents.push((name.as_str().into(), at));
                        }
                    }
                    "format" if self.formats == Formats::Described => {}
                    // Followed already.
                    "allOf" => {}
                    keyword if REFERENCES.contains(&keyword) => _ = self.documents.target(place)?,
                    keyword if SILENT.contains(&keyword) => {}
                    _ => return None,
                }
            }
        }
        demand.items = (!items.is_empty()).then(|| self.id(items));
        demand.required = required.len();
        names.extend(required.iter().cloned());
        let documents = self.documents;
        let others = |place: &Place| {
            let has = documents.schema(place).get("additionalProperties").is_some();
            has.then(|| place.child(&["additionalProperties"]))
        };
        for name in names {
            let of_name = |place: &Place| {
                let has = documents.schema(place).get("properties").is_some_and(|map| map.get(&name).is_some());
                if has { Some(place.child(&["properties", &name])) } else { others(place) }
            };
            let places: Vec<Place> = schemas.iter().filter_map(of_name).collect();
            let demand_of_it = (!places.is_empty()).then(|| self.id(places));
            demand.named.push(Named { is_required: required.contains(&name), name: name.into(), demand: demand_of_it });
        }
        let of_others: Vec<Place> = schemas.iter().filter_map(others).collect();
        demand.others = (!of_others.is_empty()).then(|| self.id(of_others));
        Some(demand)
    }

    /// Lists the schemas that apply to the same value without a condition.
    fn flatten(&self, place: &Place, schemas: &mut Vec<Place>) {
        if schemas.contains(place) {
            return;
        }
        schemas.push(place.clone());
        let count = self.documents.schema(place).get("allOf").and_then(Value::as_array).map_or(0, Vec::len);
        (0..count).for_each(|at| self.flatten(&place.child(&["allOf", &at.to_string()]), schemas));
        if let Some(target) = self.documents.target(place) {
            self.flatten(target, schemas);
        }
    }
}

fn types(value: &Value) -> Option<Types> {
    match value {
        Value::Array(names) => names.iter().try_fold(Types::NONE, |all, name| Some(all.union(types(name)?))),
        name => Types::named(name.as_str()?),
    }
}

/// Leaves what is within both.
fn narrow<T: Ord + Copy>(range: &mut RangeInclusive<T>, by: RangeInclusive<T>) {
    *range = *range.start().max(by.start())..=*range.end().min(by.end());
}

fn integer(value: &Value) -> Option<i128> {
    value.as_i64().map(i128::from).or(value.as_u64().map(i128::from))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::{Arena, Schema, from_value};

    fn schema(value: Value, formats: Formats) -> Schema {
        let value = Arc::new(value);
        Schema::compile_with(&"test:/schema".parse().unwrap(), &|_| Some(Arc::clone(&value)), formats).unwrap()
    }

    #[test]
    fn what_plain_keywords_say_is_proven_and_nothing_else() {
        // What is proven, and what is left to the validator, be it valid or not.
        for (value, proven, left) in [
            (json!(true), vec![json!(null), json!({"a": [1.5]})], vec![]),
            (json!(false), vec![], vec![json!(1)]),
            (json!({"type": "integer"}), vec![json!(1), json!(-1)], vec![json!(1.0), json!(1.5), json!("1")]),
            (json!({"type": ["number", "null"]}), vec![json!(1), json!(1.5), json!(null)], vec![json!(true)]),
            (
                json!({"minimum": 1, "maximum": 3}),
                vec![json!(1), json!(3), json!("x")],
                vec![json!(0), json!(4), json!(2.0)],
            ),
            (json!({"minimum": 0.5}), vec![], vec![json!(1)]),
            (json!({"minimum": 1, "exclusiveMinimum": true}), vec![], vec![json!(1), json!(2)]),
            (
                json!({"minLength": 1, "maxLength": 8}),
                vec![json!("a"), json!("12345678"), json!(7)],
                vec![json!(""), json!("ééééé")],
            ),
            (json!({"const": true}), vec![json!(true)], vec![json!(false), json!(1)]),
            (json!({"enum": ["a", null], "const": "a"}), vec![json!("a")], vec![json!(null), json!("b")]),
            (json!({"const": 1}), vec![], vec![json!(1), json!(1.0)]),
            (
                json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]}),
                vec![json!({"b": 1}), json!({"a": "", "b": null, "c": 1})],
                vec![json!({}), json!({"a": 1, "b": 1}), json!([])],
            ),
            (
                json!({"properties": {"b": true}, "additionalProperties": {"type": "string"}}),
                vec![json!({}), json!({"a": "", "b": 1, "c": ""})],
                vec![json!({"a": 1}), json!({"c": 1})],
            ),
            // What one schema names is still another for the one beside it.
            (
                json!({"properties": {"b": true}, "allOf": [{"additionalProperties": {"type": "string"}}]}),
                vec![json!({"b": ""})],
                vec![json!({"b": 1})],
            ),
            (json!({"properties": {"a": false}}), vec![json!({"b": 1})], vec![json!({"a": 1})]),
            (json!({"patternProperties": {"^a": true}, "additionalProperties": false}), vec![], vec![json!({"a": 1})]),
            (json!({"items": {"type": "string"}}), vec![json!([]), json!(["a"]), json!({})], vec![json!([1])]),
            (json!({"items": [{"type": "string"}]}), vec![], vec![json!(["a"])]),
            (
                json!({"dependentSchemas": {"a": {"required": ["b"]}}}),
                vec![json!({}), json!({"b": 1}), json!({"a": 1, "b": 1})],
                vec![json!({"a": 1})],
            ),
            (
                json!({"$ref": "#/$defs/x", "required": ["b"], "$defs": {"x": {"required": ["a"], "type": "object"}}}),
                vec![json!({"a": 1, "b": 1})],
                vec![json!({"a": 1}), json!({"b": 1})],
            ),
            // Schemas within themselves, for the same object and for its parts.
            (json!({"dependentSchemas": {"a": {"$ref": "#"}}}), vec![json!({})], vec![json!({"a": 1})]),
            (
                json!({"properties": {"a": {"$ref": "#"}}, "type": "object"}),
                vec![json!({"a": {"a": {}}})],
                vec![json!({"a": 1})],
            ),
            (
                json!({"properties": {"a": {"anyOf": [true]}, "b": {"not": false}}}),
                vec![json!({"c": 1})],
                vec![json!({"a": 1}), json!({"b": 1})],
            ),
            (json!({"uniqueItems": true}), vec![], vec![json!([])]),
        ] {
            let schema = schema(value.clone(), Formats::Described);
            let arena = Arena::new();
            for (documents, expected) in [(&proven, true), (&left, false)] {
                for document in documents {
                    assert_eq!(schema.plain.proves(from_value(&arena, document)), expected, "{document} by {value}");
                }
            }
        }
    }

    #[test]
    fn formats_that_are_asserted_are_for_the_validator() {
        let value = json!({"type": "string", "format": "date"});
        let document = Node::Str("2026-12-01");
        assert!(schema(value.clone(), Formats::Described).plain.proves(document));
        assert!(!schema(value, Formats::Asserted).plain.proves(document));
    }
}
