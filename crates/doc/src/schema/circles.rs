//! References that lead back to their own schema without going into the document. Such a schema can be used, but the reference
//! says nothing, and nobody means it.

use std::collections::HashMap;

use super::SchemaError;
use super::documents::{Documents, Place, REFERENCES, subschemas};

/// The keywords whose schemas are about the same value as the schema they stand in.
const IN_PLACE: [&str; 8] = ["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"];

/// The schemas of the same value that a schema asks.
fn asked(documents: &Documents, place: &Place) -> Vec<Place> {
    let within = subschemas(documents.schema(place)).into_iter();
    let within = within.filter(|names| names.first().is_some_and(|name| IN_PLACE.contains(&&**name)));
    within.map(|names| place.child(&names)).chain(documents.target(place).cloned()).collect()
}

/// Each reference that closes a circle.
pub(super) fn circles(documents: &Documents) -> Vec<SchemaError> {
    let mut found = Vec::new();
    // Whether a schema's own circle may still be closed. A chain of references is as long as its author likes.
    let mut open: HashMap<Place, bool> = HashMap::new();
    for start in documents.places() {
        let mut path = Vec::new();
        let mut next = (!open.contains_key(start)).then(|| start.clone());
        loop {
            if let Some(place) = next.take() {
                let ahead = asked(documents, &place);
                open.insert(place.clone(), true);
                path.push((place, ahead));
            }
            let Some((place, ahead)) = path.last_mut() else { break };
            match ahead.pop() {
                None => {
                    open.insert(place.clone(), false);
                    path.pop();
                }
                Some(to) if open.get(&to) == Some(&true) => found.push(circle(documents, place)),
                Some(to) if open.contains_key(&to) => {}
                Some(to) => next = Some(to),
            }
        }
    }
    found
}

fn circle(documents: &Documents, place: &Place) -> SchemaError {
    let schema = documents.schema(place);
    let keyword = REFERENCES.into_iter().find(|keyword| schema.get(keyword).is_some()).unwrap_or_default();
    SchemaError {
        slug: "schema-circular",
        url: documents.url(place),
        pointer: place.child(&[keyword]).pointer,
        message: "this leads back to the schema it stands in, and so says nothing of a value".to_owned(),
        hint: Some("refer to another schema, or remove it".to_owned()),
    }
}
