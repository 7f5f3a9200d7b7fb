//! The `reduce` annotation: how two values of a location become one.

use serde_json::Value;

use crate::Pointer;

/// A reduction strategy with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Strategy {
    FirstWriteWins,
    /// Without `associative`, two later documents are not reduced to one before what came before them is known.
    LastWriteWins {
        delete: bool,
        associative: bool,
    },
    Minimize {
        key: Vec<Pointer>,
    },
    Maximize {
        key: Vec<Pointer>,
    },
    Sum,
    Merge {
        key: Vec<Pointer>,
        delete: bool,
        associative: bool,
    },
    Append,
    Set {
        key: Vec<Pointer>,
    },
    JsonSchemaMerge,
}

/// Every strategy and the options it takes.
const STRATEGIES: &[(&str, &[&str])] = &[
    ("append", &[]),
    ("firstWriteWins", &[]),
    ("jsonSchemaMerge", &[]),
    ("lastWriteWins", &["associative", "delete"]),
    ("maximize", &["key"]),
    ("merge", &["associative", "delete", "key"]),
    ("minimize", &["key"]),
    ("set", &["key"]),
    ("sum", &[]),
];

/// A mistake in an annotation: where below it, what, and what to do.
#[derive(Debug)]
pub(crate) struct Mistake {
    pub(crate) slug: &'static str,
    pub(crate) pointer: String,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Strategy {
    /// Its name, as annotations spell it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Strategy::FirstWriteWins => "firstWriteWins",
            Strategy::LastWriteWins { .. } => "lastWriteWins",
            Strategy::Minimize { .. } => "minimize",
            Strategy::Maximize { .. } => "maximize",
            Strategy::Sum => "sum",
            Strategy::Merge { .. } => "merge",
            Strategy::Append => "append",
            Strategy::Set { .. } => "set",
            Strategy::JsonSchemaMerge => "jsonSchemaMerge",
        }
    }

    /// Reads the value of a `reduce` keyword.
    pub(crate) fn read(value: &Value) -> Result<Strategy, Mistake> {
        let mistake = |slug, pointer: &str, message, hint| Mistake { slug, pointer: pointer.into(), message, hint };
        let Some(name) = value.get("strategy").and_then(Value::as_str) else {
            let message = "a reduce annotation names its strategy".to_owned();
            return Err(mistake("reduce-invalid", "", message, Some("write {strategy: merge}".to_owned())));
        };
        let Some((name, options)) = STRATEGIES.iter().find(|(known, _)| *known == name) else {
            let message = format!("{name} is not a reduction strategy");
            let hint = nearest(name, STRATEGIES.iter().map(|(known, _)| *known));
            return Err(mistake("reduce-strategy-unknown", "/strategy", message, Some(hint)));
        };
        for option in value.as_object().into_iter().flat_map(|options| options.keys()) {
            if option != "strategy" && !options.contains(&option.as_str()) {
                let message = format!("{option} is not an option of the {name} strategy");
                let hint = nearest(option, options.iter().copied());
                return Err(mistake("reduce-option-unknown", &format!("/{option}"), message, Some(hint)));
            }
        }
        let key = || match value.get("key") {
            None => Ok(Vec::new()),
            Some(Value::Array(key)) if !key.is_empty() => {
                let pointers = key.iter().enumerate().map(|(at, pointer)| {
                    let text = pointer.as_str().unwrap_or("not a string");
                    text.parse().map_err(|error: crate::PointerError| {
                        mistake("reduce-key-invalid", &format!("/key/{at}"), error.to_string(), None)
                    })
                });
                pointers.collect()
            }
            Some(_) => {
                let message = "a key is a list of at least one JSON pointer".to_owned();
                Err(mistake("reduce-key-invalid", "/key", message, None))
            }
        };
        let flag = |name: &str, default: bool| match value.get(name) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => {
                let message = format!("{name} is true or false");
                Err(mistake("reduce-option-invalid", &format!("/{name}"), message, None))
            }
        };
        let (delete, associative) = (flag("delete", false)?, flag("associative", true)?);
        Ok(match *name {
            "append" => Strategy::Append,
            "firstWriteWins" => Strategy::FirstWriteWins,
            "jsonSchemaMerge" => Strategy::JsonSchemaMerge,
            "lastWriteWins" => Strategy::LastWriteWins { delete, associative },
            "maximize" => Strategy::Maximize { key: key()? },
            "minimize" => Strategy::Minimize { key: key()? },
            "merge" => Strategy::Merge { key: key()?, delete, associative },
            "set" => Strategy::Set { key: key()? },
            _ => Strategy::Sum,
        })
    }
}

/// A hint that names the known word nearest to a mistaken one, or else all of them.
pub(crate) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    /// More edits than this are another word.
    const EDITS_MAX: usize = 4;
    let closest = known.clone().map(|known| (strsim::osa_distance(word, known), known)).min();
    match closest {
        Some((edits, known)) if edits <= EDITS_MAX.min(word.len()) => {
            format!("did you mean {known}?")
        }
        Some(_) => format!("there is {}", known.collect::<Vec<_>>().join(", ")),
        None => "it takes none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_strategy_reads_back_its_name() {
        for (name, _) in STRATEGIES {
            assert_eq!(Strategy::read(&json!({ "strategy": name })).unwrap().name(), *name);
        }
    }

    #[test]
    fn mistakes_name_the_nearest() {
        for (annotation, expect) in [
            (
                json!({"strategy": "minimise"}),
                "/strategy: minimise is not a reduction strategy; did you mean minimize?",
            ),
            (
                json!({"strategy": "sum", "key": ["/a"]}),
                "/key: key is not an option of the sum strategy; it takes none",
            ),
            (
                json!({"strategy": "merge", "keys": ["/a"]}),
                "/keys: keys is not an option of the merge strategy; did you mean key?",
            ),
            (
                json!({"strategy": "merge", "key": ["a"]}),
                "/key/0: \"a\" is not a valid JSON pointer (missing leading '/' slash); ",
            ),
            (json!({"strategy": "lastWriteWins", "associative": "no"}), "/associative: associative is true or false; "),
            (json!("merge"), ": a reduce annotation names its strategy; write {strategy: merge}"),
        ] {
            let Mistake { pointer, message, hint, .. } = Strategy::read(&annotation).unwrap_err();
            assert_eq!(format!("{pointer}: {message}; {}", hint.unwrap_or_default()), expect);
        }
    }
}
