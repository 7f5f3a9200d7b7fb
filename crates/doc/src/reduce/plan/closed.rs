//! Schemas whose reductions need no check: whatever valid documents are reduced, the result is valid.
//!
//! So it is where every strategy gives one of both values as it is, or goes on to children, and no keyword looks at more than
//! one of the values that come together: `required` holds for a merged object if it held for both, `maxProperties` may not.

use serde_json::Value;

use super::{Draft, DraftRule};
use crate::schema::annotations::Strategy;
use crate::schema::documents::Documents;

/// Keywords that may hold for two objects or arrays and not for what becomes of them.
const STRUCTURE: [&str; 14] = [
    "anyOf",
    "const",
    "contains",
    "dependentRequired",
    "dependentSchemas",
    "enum",
    "if",
    "maxItems",
    "maxProperties",
    "not",
    "oneOf",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
];

/// Keywords that may hold for two numbers, or strings that are numbers, and not for their sum.
const SUM: [&str; 12] = [
    "anyOf",
    "const",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "if",
    "maxLength",
    "maximum",
    "minLength",
    "minimum",
    "multipleOf",
    "not",
];

/// Whether the reductions of the first draft are closed. Schemas within themselves are, unless something in them is not.
pub(super) fn is_closed(documents: &Documents, drafts: &[Draft]) -> bool {
    let mut seen = vec![false; drafts.len()];
    let mut waiting = vec![0];
    while let Some(at) = waiting.pop() {
        if std::mem::replace(&mut seen[at], true) {
            continue;
        }
        match below(documents, &drafts[at]) {
            Some(children) => waiting.extend(children),
            None => return false,
        }
    }
    true
}

/// The drafts that must be closed so that this one is; `None` where it is not.
fn below(documents: &Documents, draft: &Draft) -> Option<Vec<usize>> {
    let has = |keywords: &[&str]| {
        let of = |schema: &Value| keywords.iter().any(|keyword| schema.get(keyword).is_some());
        draft.schemas.iter().any(|place| of(documents.schema(place)))
    };
    let strategy = match draft.rules.iter().find(|rule| !matches!(rule, DraftRule::Any(each) if each.is_empty())) {
        None => return Some(Vec::new()),
        Some(DraftRule::Strategy(strategy)) => strategy,
        Some(_) => return None,
    };
    // What a pattern, or nothing, names may be under several schemas at once, which have no draft together.
    let unnamed =
        draft.unnamed.iter().map(|unnamed| unnamed.patterns.len() + usize::from(unnamed.additional.is_some()));
    let structure = !has(&STRUCTURE) && unnamed.sum::<usize>() <= 1;
    let sound = match strategy {
        Strategy::FirstWriteWins | Strategy::LastWriteWins { delete: false, .. } => return Some(Vec::new()),
        Strategy::Minimize { key } | Strategy::Maximize { key } if key.is_empty() => return Some(Vec::new()),
        Strategy::Minimize { .. } | Strategy::Maximize { .. } => structure,
        Strategy::Merge { key, delete: false, .. } => structure && (key.is_empty() || draft.tuple.is_empty()),
        Strategy::Append => return (structure && draft.tuple.is_empty()).then(Vec::new),
        Strategy::Sum => return (!has(&SUM) && !has(&["oneOf", "pattern"])).then(Vec::new),
        Strategy::LastWriteWins { .. } | Strategy::Merge { .. } => false,
        Strategy::Set { .. } | Strategy::JsonSchemaMerge => false,
    };
    sound.then(|| draft.next().collect())
}
