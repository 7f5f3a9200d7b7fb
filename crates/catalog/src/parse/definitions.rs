//! Every kind of object in a catalog file and its fields: what a strict reader lets pass, and what editors are told of.

use super::quoted;

/// Each kind of object, as messages call it, and its fields. Fields that this program has no use for are among them: catalogs
/// that exist have them.
pub(crate) const DEFINITIONS: &[(&str, &[&str])] = &[
    (
        "a catalog",
        &[
            "import",
            "collections",
            "captures",
            "materializations",
            "tests",
            "endpoints",
            "$schema",
            "npmDependencies",
            "storageMappings",
            "journalRules",
            "resources",
        ],
    ),
    ("an import", &["url", "contentType"]),
    ("an inlined resource", &["contentType", "content"]),
    (
        "a collection",
        &[
            "schema",
            "key",
            "projections",
            "derivation",
            "derive",
            "readSchema",
            "writeSchema",
            "journals",
            "delete",
            "expectPubId",
            "reset",
            "redactSalt",
        ],
    ),
    ("`journals`", &["fragments"]),
    ("`fragments`", &["length", "compressionCodec", "retention", "flushInterval", "refreshInterval"]),
    ("a storage mapping", &["stores"]),
    (
        "a store",
        &[
            "provider",
            "bucket",
            "prefix",
            "region",
            "endpoint",
            "containerName",
            "storageAccountName",
            "accountTenantId",
        ],
    ),
    ("a projection", &["location", "partition"]),
    ("a derivation with registers", &["register", "transform", "shards", "typescript"]),
    ("a derivation", &["using", "transforms", "shuffleKeyTypes", "shards", "redactSalt"]),
    ("a register", &["schema", "initial"]),
    ("`typescript`", &["module", "npmDependencies"]),
    ("`sqlite`", &["migrations"]),
    (
        "a transform with lambdas",
        &["source", "shuffle", "update", "publish", "priority", "readDelay", "rollbackOnRegisterConflict"],
    ),
    ("a transform", &["name", "source", "shuffle", "lambda", "priority", "readDelay", "disable", "backfill"]),
    ("a source with a schema", &["name", "schema", "partitions"]),
    ("a source", &["name", "partitions", "notBefore", "notAfter"]),
    ("a partition selector", &["include", "exclude"]),
    ("a shuffle", &["key", "lambda", "hash"]),
    ("an update or publish", &["lambda", "nodeJS"]),
    ("a lambda", &["remote", "nodeJS"]),
    (
        "a capture",
        &[
            "endpoint",
            "bindings",
            "interval",
            "shards",
            "autoDiscover",
            "expectPubId",
            "delete",
            "redactSalt",
            "restartSubtasks",
        ],
    ),
    ("a binding of a capture", &["resource", "target", "disable", "backfill"]),
    (
        "a materialization",
        &[
            "endpoint",
            "bindings",
            "shards",
            "expectPubId",
            "delete",
            "onIncompatibleSchemaChange",
            "source",
            "sourceCapture",
            "triggers",
            "reset",
        ],
    ),
    (
        "a binding of a materialization",
        &[
            "resource",
            "source",
            "partitions",
            "fields",
            "disable",
            "priority",
            "backfill",
            "onIncompatibleSchemaChange",
        ],
    ),
    ("a field selection", &["include", "require", "exclude", "recommended", "groupBy"]),
    ("an endpoint with an image", &["image", "config"]),
    ("a named endpoint", &["name", "config"]),
    ("a capture of a named endpoint", &["name", "endpoint", "target"]),
    ("a materialization of a named endpoint", &["name", "endpoint", "source", "partitions", "fields"]),
    ("a test", &["description", "steps", "expectPubId", "delete"]),
    ("a test step", &["ingest", "verify"]),
    ("an `ingest` step", &["collection", "documents", "description"]),
    ("a `verify` step", &["collection", "documents", "partitions", "description"]),
];

/// Fields that no catalog had before 2023: one that has them means by the others what they mean since.
const SINCE_2023: &[(&str, &[&str])] = &[
    ("a collection", &["derive", "readSchema", "writeSchema", "expectPubId", "reset", "redactSalt"]),
    ("a capture", &["autoDiscover", "expectPubId", "redactSalt", "restartSubtasks"]),
    ("a binding of a capture", &["disable", "backfill"]),
    (
        "a materialization",
        &["source", "sourceCapture", "onIncompatibleSchemaChange", "triggers", "expectPubId", "reset"],
    ),
    ("a binding of a materialization", &["disable", "priority", "backfill", "onIncompatibleSchemaChange"]),
    ("a field selection", &["require", "groupBy"]),
    ("a source", &["notBefore", "notAfter"]),
    ("a test", &["steps", "expectPubId"]),
];

/// Whether no catalog had this field before 2023.
pub(crate) fn is_since_2023(what: &str, field: &str) -> bool {
    SINCE_2023.iter().any(|(name, fields)| *name == what && fields.contains(&field))
}

/// The fields of a kind of object.
pub(crate) fn fields_of(what: &str) -> &'static [&'static str] {
    let found = DEFINITIONS.iter().find(|(name, _)| *name == what);
    found.expect("every kind of object that is read is in the table").1
}

/// A kind of object in messages, which need not tell spellings apart.
pub(crate) fn shown(what: &'static str) -> &'static str {
    what.split_once(" with ").map_or(what, |(shown, _)| shown)
}

/// What to do about a field that is not among these.
pub(crate) fn fields_hint(fields: &[&str]) -> String {
    format!("its fields are {}", quoted(fields))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    /// The fields of every strict object of the schema, by its title.
    fn titled(schema: &Value, found: &mut BTreeMap<String, Vec<String>>) {
        if let (Some(title), Some(properties)) = (schema["title"].as_str(), schema["properties"].as_object()) {
            assert_eq!(schema["additionalProperties"], false, "{title}");
            found.insert(title.to_owned(), properties.keys().cloned().collect());
        }
        schema["$defs"].as_object().into_iter().flat_map(|defs| defs.values()).for_each(|def| titled(def, found));
    }

    #[test]
    fn what_is_new_is_known() {
        for (what, fields) in SINCE_2023 {
            assert!(fields.iter().all(|field| fields_of(what).contains(field)), "{what}: {fields:?}");
        }
    }

    #[test]
    fn editors_know_the_same_fields() {
        let schema: Value = serde_json::from_str(crate::SCHEMA).unwrap();
        let mut theirs = BTreeMap::new();
        titled(&schema, &mut theirs);
        let ours = DEFINITIONS.iter().map(|(what, fields)| {
            let mut fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
            fields.sort();
            ((*what).to_owned(), fields)
        });
        assert_eq!(theirs, ours.collect());
    }
}
