//! Which strategy applies where, settled once per schema.
//!
//! A plan is a graph of steps, one for each set of schemas that apply to a value together: a schema, what it refers to and
//! its `allOf`, outermost first. A step holds the strategies and conditions of those schemas in that order, and the steps of
//! its children. Where no alternatives are involved one step is active at a location; each alternative that the right value
//! is valid against adds one. Steps under which nothing is annotated are dropped, and with them all their validators.
//!
//! Among schemas applied to one value the outermost wins; then `oneOf`, `if`, `dependentSchemas`, `anyOf`, `allOf` (of
//! each the last first) and `$ref`: the order in which later annotations overrule earlier ones since 2021.
//!
//! `unevaluatedProperties` and `unevaluatedItems` annotate what none of the schemas applied to the value speaks of, wherever
//! among them the keyword stands.

use std::collections::BTreeMap;

use regex::Regex;
use rustc_hash::FxHashMap;

use crate::Node;
use crate::schema::annotations::Strategy;
use crate::schema::documents::Place;
use crate::schema::validate::Validator;

mod closed;
mod compile;

/// The compiled reductions of a schema.
pub(crate) struct Plan {
    steps: Vec<Step>,
    root: Active,
    /// Whether the result of valid documents is valid.
    closed: bool,
}

/// The steps that apply to one value, outermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Active {
    Blank,
    One(usize),
    Many(Vec<usize>),
}

impl Active {
    pub(crate) fn is_blank(&self) -> bool {
        matches!(self, Active::Blank)
    }

    fn steps(&self) -> &[usize] {
        match self {
            Active::Blank => &[],
            Active::One(step) => std::slice::from_ref(step),
            Active::Many(steps) => steps,
        }
    }

    fn push(&mut self, step: usize) {
        *self = match std::mem::replace(self, Active::Blank) {
            Active::Blank => Active::One(step),
            Active::One(first) => Active::Many(vec![first, step]),
            Active::Many(mut steps) => {
                steps.push(step);
                Active::Many(steps)
            }
        }
    }
}

impl FromIterator<usize> for Active {
    fn from_iter<I: IntoIterator<Item = usize>>(steps: I) -> Self {
        let mut active = Active::Blank;
        steps.into_iter().for_each(|step| active.push(step));
        active
    }
}

#[derive(Default)]
struct Step {
    rules: Vec<Rule>,
    /// Properties that some schema names; `None` where nothing is annotated.
    named: FxHashMap<Box<str>, Option<usize>>,
    /// Of each schema: what applies to properties it does not name.
    unnamed: Vec<Unnamed>,
    tuple: Vec<Option<usize>>,
    /// Of the items behind the tuple, if any schema speaks of them.
    items: Option<Option<usize>>,
    /// What applies to properties, and items, that no schema that is active speaks of.
    unevaluated: [Option<usize>; 2],
    /// Whether something below deletes or drops parts of values when a reduction is full.
    prunes: bool,
    /// Whether something below reduces some types of values only.
    checks: bool,
}

enum Rule {
    Strategy(Strategy),
    /// Every alternative that is valid.
    Any(Vec<(Validator, usize)>),
    If {
        condition: Validator,
        then: Vec<usize>,
        otherwise: Option<usize>,
    },
    /// If the object has the property.
    Dependent(Box<str>, usize),
}

struct Unnamed {
    patterns: Vec<(Regex, Option<usize>)>,
    /// Of properties that match no pattern, if the schema speaks of them.
    additional: Option<Option<usize>>,
}

/// A step before it is known which others lead to annotations.
#[derive(Default)]
struct Draft {
    places: Vec<Place>,
    /// The places and all that applies with them without a condition.
    schemas: Vec<Place>,
    rules: Vec<DraftRule>,
    named: BTreeMap<String, usize>,
    unnamed: Vec<DraftUnnamed>,
    tuple: Vec<usize>,
    items: Option<usize>,
    unevaluated: [Option<usize>; 2],
}

enum DraftRule {
    Strategy(Strategy),
    Any(Vec<(Place, usize)>),
    If { condition: Place, then: Vec<usize>, otherwise: Option<usize> },
    Dependent(String, usize),
}

#[derive(Default)]
struct DraftUnnamed {
    patterns: Vec<(String, usize)>,
    additional: Option<usize>,
}

impl Plan {
    /// Whether the result of valid documents is valid, and no deeper than they are.
    pub(crate) fn closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn root(&self) -> &Active {
        &self.root
    }

    /// Whether nothing is annotated, or the whole document is replaced.
    pub(crate) fn keeps_right(&self) -> bool {
        match &self.root {
            Active::Blank => true,
            Active::One(step) => {
                matches!(
                    self.steps[*step].rules[..],
                    [Rule::Strategy(Strategy::LastWriteWins { delete: false, associative: true }), ..]
                )
            }
            Active::Many(_) => false,
        }
    }

    pub(crate) fn prunes(&self, active: &Active) -> bool {
        active.steps().iter().any(|step| self.steps[*step].prunes)
    }

    pub(crate) fn checks(&self, active: &Active) -> bool {
        active.steps().iter().any(|step| self.steps[*step].checks)
    }

    /// The strategy for a right value, and all steps its children are looked up in.
    pub(crate) fn decide(&self, active: &Active, right: Node<'_>) -> (Option<&Strategy>, Active) {
        if let Active::One(step) = active
            && let [Rule::Strategy(strategy)] = &self.steps[*step].rules[..]
        {
            return (Some(strategy), Active::One(*step));
        }
        let (mut strategy, mut below) = (None, Active::Blank);
        for step in active.steps() {
            self.expand(*step, right, &mut strategy, &mut below);
        }
        (strategy, below)
    }

    fn expand<'p>(&'p self, step: usize, right: Node<'_>, strategy: &mut Option<&'p Strategy>, below: &mut Active) {
        // A schema that applies itself to the same value would never end.
        if below.steps().contains(&step) {
            return;
        }
        below.push(step);
        for rule in &self.steps[step].rules {
            match rule {
                Rule::Strategy(found) => *strategy = strategy.or(Some(found)),
                Rule::Any(alternatives) => {
                    for (_, step) in alternatives.iter().filter(|(validator, _)| validator.is_valid(&right)) {
                        self.expand(*step, right, strategy, below);
                    }
                }
                Rule::If { condition, then, otherwise } => {
                    if condition.is_valid(&right) {
                        then.iter().for_each(|step| self.expand(*step, right, strategy, below));
                    } else if let Some(step) = otherwise {
                        self.expand(*step, right, strategy, below);
                    }
                }
                Rule::Dependent(name, step) => {
                    if right.get(name).is_some() {
                        self.expand(*step, right, strategy, below);
                    }
                }
            }
        }
    }

    /// The steps of a property.
    pub(crate) fn property(&self, below: &Active, name: &str) -> Active {
        let (mut active, mut evaluated) = (Active::Blank, false);
        for step in below.steps() {
            let step = &self.steps[*step];
            if let Some(named) = step.named.get(name) {
                evaluated = true;
                named.iter().for_each(|step| active.push(*step));
                continue;
            }
            for unnamed in &step.unnamed {
                let mut matched = false;
                for (_, step) in unnamed.patterns.iter().filter(|(pattern, _)| pattern.is_match(name)) {
                    matched = true;
                    step.iter().for_each(|step| active.push(*step));
                }
                if let (false, Some(step)) = (matched, &unnamed.additional) {
                    matched = true;
                    step.iter().for_each(|step| active.push(*step));
                }
                evaluated |= matched;
            }
        }
        if evaluated { active } else { self.unevaluated(below, 0) }
    }

    /// The steps of an item.
    pub(crate) fn item(&self, below: &Active, at: usize) -> Active {
        let (mut active, mut evaluated) = (Active::Blank, false);
        for step in below.steps() {
            let step = &self.steps[*step];
            if let Some(step) = step.tuple.get(at).copied().or(step.items) {
                evaluated = true;
                step.iter().for_each(|step| active.push(*step));
            }
        }
        if evaluated { active } else { self.unevaluated(below, 1) }
    }

    fn unevaluated(&self, below: &Active, which: usize) -> Active {
        below.steps().iter().filter_map(|step| self.steps[*step].unevaluated[which]).collect()
    }
}
