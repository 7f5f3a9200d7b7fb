//! From schemas to a plan: first every step as a draft of places, then only those under which something is annotated.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use regex::Regex;
use serde_json::Value;

use super::{Active, Draft, DraftRule, DraftUnnamed, Plan, Rule, Step, Unnamed, closed};
use crate::schema::SchemaError;
use crate::schema::annotations::Strategy;
use crate::schema::documents::{Documents, Place};
use crate::schema::validate::Bundle;

/// Sets of schemas may be many more than schemas; a schema beyond this is refused.
const STEPS_MAX: usize = 10_000;

impl Plan {
    /// Compiles the reductions of the schema at a place.
    pub(crate) fn compile(documents: &Documents, bundle: &Bundle, place: &Place) -> Result<Plan, Vec<SchemaError>> {
        let mut drafts = Drafts { documents, known: HashMap::new(), drafts: Vec::new() };
        let root = drafts.id(vec![place.clone()]);
        // Drafts that are asked for are drafted after, so that schemas within themselves end.
        let mut at = 0;
        while let Some(places) = drafts.drafts.get(at).map(|draft| draft.places.clone()) {
            if at == STEPS_MAX {
                return Err(vec![SchemaError {
                    slug: "schema-too-large",
                    url: documents.url(place),
                    pointer: place.pointer.clone(),
                    message: format!("its schemas combine in more than {STEPS_MAX} ways"),
                    hint: None,
                }]);
            }
            drafts.draft(at, &places);
            at += 1;
        }
        let drafts = drafts.drafts;
        let mut annotated = spread(&drafts, |rule| matches!(rule, DraftRule::Strategy(_)));
        keep_evaluating(&drafts, &mut annotated);
        let prunes = spread(&drafts, |rule| {
            use Strategy::{LastWriteWins, Merge, Set};
            let prunes = |strategy: &Strategy| {
                matches!(strategy, Set { .. } | LastWriteWins { delete: true, .. } | Merge { delete: true, .. })
            };
            matches!(rule, DraftRule::Strategy(strategy) if prunes(strategy))
        });
        let checks = spread(&drafts, |rule| {
            use Strategy::{Append, JsonSchemaMerge, Merge, Set, Sum};
            let checks =
                |strategy: &Strategy| matches!(strategy, Append | JsonSchemaMerge | Merge { .. } | Set { .. } | Sum);
            matches!(rule, DraftRule::Strategy(strategy) if checks(strategy))
        });
        let kept = |step: &usize| annotated[*step].then_some(*step);
        let steps = drafts.iter().enumerate().map(|(at, draft)| {
            if !annotated[at] {
                return Ok(Step::default());
            }
            // What always applies overrules every strategy behind it; conditions may still annotate children.
            let (mut rules, mut decided) = (Vec::new(), false);
            for rule in &draft.rules {
                let strategy = matches!(rule, DraftRule::Strategy(_));
                if !(strategy && decided) {
                    rules.extend(rule.build(documents, bundle, &kept)?);
                }
                decided |= strategy;
            }
            Ok(Step {
                rules,
                named: draft.named.iter().map(|(name, step)| (name.as_str().into(), kept(step))).collect(),
                unnamed: draft.unnamed.iter().map(|unnamed| unnamed.build(&kept)).collect(),
                tuple: draft.tuple.iter().map(kept).collect(),
                items: draft.items.as_ref().map(kept),
                unevaluated: draft.unevaluated.map(|step| step.as_ref().and_then(kept)),
                prunes: prunes[at],
                checks: checks[at],
            })
        });
        let steps = steps.collect::<Result<Vec<_>, Vec<SchemaError>>>()?;
        let closed = closed::is_closed(documents, &drafts);
        Ok(Plan { steps, closed, root: kept(&root).map_or(Active::Blank, Active::One) })
    }
}

struct Drafts<'d> {
    documents: &'d Documents,
    known: HashMap<Vec<Place>, usize>,
    drafts: Vec<Draft>,
}

impl Drafts<'_> {
    fn id(&mut self, places: Vec<Place>) -> usize {
        if let Some(id) = self.known.get(&places) {
            return *id;
        }
        let id = self.drafts.len();
        self.known.insert(places.clone(), id);
        self.drafts.push(Draft { places, ..Draft::default() });
        id
    }

    fn draft(&mut self, id: usize, places: &[Place]) {
        let mut schemas = Vec::new();
        let mut rules = Vec::new();
        for place in places {
            self.flatten(place, &mut schemas, &mut rules);
        }
        let (named, unnamed) = self.properties(&schemas);
        let (tuple, items) = self.items(&schemas);
        let unevaluated = ["unevaluatedProperties", "unevaluatedItems"].map(|keyword| {
            let has = |place: &&Place| self.documents.schema(place).get(keyword).is_some();
            let places: Vec<_> = schemas.iter().filter(has).map(|place| place.child(&[keyword])).collect();
            (!places.is_empty()).then(|| self.id(places))
        });
        let draft = &mut self.drafts[id];
        (draft.schemas, draft.rules, draft.named, draft.unnamed) = (schemas, rules, named, unnamed);
        (draft.tuple, draft.items, draft.unevaluated) = (tuple, items, unevaluated);
    }

    /// Lists the schemas that apply to the same value without a condition, and the rules of each, outermost first.
    fn flatten(&mut self, place: &Place, schemas: &mut Vec<Place>, rules: &mut Vec<DraftRule>) {
        if schemas.contains(place) {
            return;
        }
        schemas.push(place.clone());
        let documents = self.documents;
        let schema = documents.schema(place);
        let count = |keyword: &str| schema.get(keyword).and_then(Value::as_array).map_or(0, Vec::len);
        let at = |keyword: &str, at: usize| place.child(&[keyword, &at.to_string()]);
        rules.extend(schema.get("reduce").and_then(|reduce| Strategy::read(reduce).ok()).map(DraftRule::Strategy));
        let mut alternatives = |keyword: &str| {
            let each = (0..count(keyword)).rev().map(|index| at(keyword, index));
            DraftRule::Any(each.map(|place| (place.clone(), self.id(vec![place]))).collect())
        };
        let (one_of, any_of) = (alternatives("oneOf"), alternatives("anyOf"));
        rules.push(one_of);
        if schema.get("if").is_some() {
            let condition = place.child(&["if"]);
            let has = |keyword: &str| schema.get(keyword).is_some().then(|| vec![place.child(&[keyword])]);
            let then = has("then").into_iter().chain([vec![condition.clone()]]);
            let then = then.map(|places| self.id(places)).collect();
            let otherwise = has("else").map(|places| self.id(places));
            rules.push(DraftRule::If { condition, then, otherwise });
        }
        let dependents = schema.get("dependentSchemas").and_then(Value::as_object);
        for name in dependents.into_iter().flat_map(|map| map.keys()) {
            let step = self.id(vec![place.child(&["dependentSchemas", name])]);
            rules.push(DraftRule::Dependent(name.clone(), step));
        }
        rules.push(any_of);
        for index in (0..count("allOf")).rev() {
            self.flatten(&at("allOf", index), schemas, rules);
        }
        if let Some(target) = documents.target(place) {
            self.flatten(target, schemas, rules);
        }
    }

    fn properties(&mut self, schemas: &[Place]) -> (BTreeMap<String, usize>, Vec<DraftUnnamed>) {
        let documents = self.documents;
        let keys = |place: &Place, keyword: &str| {
            let map = documents.schema(place).get(keyword).and_then(Value::as_object);
            map.into_iter().flat_map(|map| map.keys().cloned()).collect::<Vec<_>>()
        };
        let names: BTreeSet<String> = schemas.iter().flat_map(|place| keys(place, "properties")).collect();
        let mut named = BTreeMap::new();
        for name in names {
            let mut places = Vec::new();
            for place in schemas {
                let before = places.len();
                if documents.schema(place).get("properties").and_then(|map| map.get(&name)).is_some() {
                    places.push(place.child(&["properties", &name]));
                }
                for pattern in keys(place, "patternProperties") {
                    if Regex::new(&pattern).is_ok_and(|regex| regex.is_match(&name)) {
                        places.push(place.child(&["patternProperties", &pattern]));
                    }
                }
                if places.len() == before && documents.schema(place).get("additionalProperties").is_some() {
                    places.push(place.child(&["additionalProperties"]));
                }
            }
            named.insert(name, self.id(places));
        }
        let mut unnamed = Vec::new();
        for place in schemas {
            let patterns = keys(place, "patternProperties").into_iter().map(|pattern| {
                let step = self.id(vec![place.child(&["patternProperties", &pattern])]);
                (pattern, step)
            });
            let patterns: Vec<_> = patterns.collect();
            let additional = documents.schema(place).get("additionalProperties");
            let additional = additional.map(|_| self.id(vec![place.child(&["additionalProperties"])]));
            if !patterns.is_empty() || additional.is_some() {
                unnamed.push(DraftUnnamed { patterns, additional });
            }
        }
        (named, unnamed)
    }

    fn items(&mut self, schemas: &[Place]) -> (Vec<usize>, Option<usize>) {
        // Of each schema: the places of its first items, and of the others.
        let mut sides = Vec::new();
        for place in schemas {
            let schema = self.documents.schema(place);
            let (tuple, rest) = match (schema.get("prefixItems"), schema.get("items")) {
                (Some(_), _) => ("prefixItems", "items"),
                (None, Some(Value::Array(_))) => ("items", "additionalItems"),
                (None, _) => ("", "items"),
            };
            let count = schema.get(tuple).and_then(Value::as_array).map_or(0, Vec::len);
            let tuple: Vec<_> = (0..count).map(|at| place.child(&[tuple, &at.to_string()])).collect();
            sides.push((tuple, schema.get(rest).map(|_| place.child(&[rest]))));
        }
        let longest = sides.iter().map(|(tuple, _)| tuple.len()).max().unwrap_or(0);
        let tuple = (0..longest).map(|at| {
            let places = sides.iter().filter_map(|(tuple, rest)| tuple.get(at).or(rest.as_ref()).cloned());
            self.id(places.collect())
        });
        let tuple = tuple.collect();
        let rest: Vec<_> = sides.iter().filter_map(|(_, rest)| rest.clone()).collect();
        let items = (!rest.is_empty()).then(|| self.id(rest));
        (tuple, items)
    }
}

impl Draft {
    /// All steps that this one may lead to.
    pub(super) fn next(&self) -> impl Iterator<Item = usize> {
        let rules = self.rules.iter().flat_map(DraftRule::steps);
        let unnamed = self
            .unnamed
            .iter()
            .flat_map(|unnamed| unnamed.patterns.iter().map(|(_, step)| *step).chain(unnamed.additional));
        let properties = self.named.values().copied().chain(unnamed);
        let items = self.tuple.iter().copied().chain(self.items);
        rules.chain(properties).chain(items).chain(self.unevaluated.into_iter().flatten())
    }
}

/// Which steps have such a rule, or lead to one that has.
fn spread(drafts: &[Draft], has: impl Fn(&DraftRule) -> bool) -> Vec<bool> {
    let mut leading = vec![Vec::new(); drafts.len()];
    for (at, draft) in drafts.iter().enumerate() {
        draft.next().for_each(|next| leading[next].push(at));
    }
    let mut marked: Vec<bool> = drafts.iter().map(|draft| draft.rules.iter().any(&has)).collect();
    let mut waiting: Vec<usize> = (0..drafts.len()).filter(|at| marked[*at]).collect();
    while let Some(at) = waiting.pop() {
        for before in &leading[at] {
            if !std::mem::replace(&mut marked[*before], true) {
                waiting.push(*before);
            }
        }
    }
    marked
}

/// What is not evaluated depends on alternatives that annotate nothing, too: they are kept where it is annotated.
fn keep_evaluating(drafts: &[Draft], annotated: &mut [bool]) {
    let leads = |draft: &&Draft| draft.unevaluated.iter().flatten().any(|step| annotated[*step]);
    let mut waiting: Vec<usize> =
        drafts.iter().filter(leads).flat_map(|draft| &draft.rules).flat_map(DraftRule::steps).collect();
    let mut seen = BTreeSet::new();
    while let Some(at) = waiting.pop() {
        if seen.insert(at) {
            annotated[at] = true;
            waiting.extend(drafts[at].rules.iter().flat_map(DraftRule::steps));
        }
    }
}

impl DraftRule {
    /// The steps that it may add for the same value.
    fn steps(&self) -> Vec<usize> {
        match self {
            DraftRule::Strategy(_) => Vec::new(),
            DraftRule::Any(alternatives) => alternatives.iter().map(|(_, step)| *step).collect(),
            DraftRule::If { then, otherwise, .. } => then.iter().chain(otherwise).copied().collect(),
            DraftRule::Dependent(_, step) => vec![*step],
        }
    }

    fn build(
        &self,
        documents: &Documents,
        bundle: &Bundle,
        kept: &impl Fn(&usize) -> Option<usize>,
    ) -> Result<Option<Rule>, Vec<SchemaError>> {
        Ok(match self {
            DraftRule::Strategy(strategy) => Some(Rule::Strategy(strategy.clone())),
            DraftRule::Any(alternatives) => {
                let mut built = Vec::new();
                for (place, step) in alternatives {
                    if let Some(step) = kept(step) {
                        built.push((bundle.validator(documents, place)?, step));
                    }
                }
                (!built.is_empty()).then_some(Rule::Any(built))
            }
            DraftRule::If { condition, then, otherwise } => {
                let then: Vec<_> = then.iter().filter_map(kept).collect();
                let otherwise = otherwise.as_ref().and_then(kept);
                if then.is_empty() && otherwise.is_none() {
                    return Ok(None);
                }
                Some(Rule::If { condition: bundle.validator(documents, condition)?, then, otherwise })
            }
            DraftRule::Dependent(name, step) => kept(step).map(|step| Rule::Dependent(name.as_str().into(), step)),
        })
    }
}

impl DraftUnnamed {
    fn build(&self, kept: &impl Fn(&usize) -> Option<usize>) -> Unnamed {
        let patterns = self.patterns.iter().map(|(pattern, step)| {
            let regex = Regex::new(pattern).expect("patterns are checked before a plan is made");
            (regex, kept(step))
        });
        Unnamed { patterns: patterns.collect(), additional: self.additional.as_ref().map(kept) }
    }
}
