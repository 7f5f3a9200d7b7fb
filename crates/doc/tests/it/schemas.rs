//! Compiling and validating: where references lead, what is refused, and in which words. `cases/dialect.json` lists what
//! schemas may say: documents that are valid and invalid, or the mistakes of the schema.

use doc::Arena;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::{compile, count, node, schema, schemas_of};

fn event() -> Value {
    json!({
        "$defs": {"Segment": {
            "$anchor": "Segment",
            "type": "object",
            "properties": {
                "vendor": {"type": "integer", "minimum": 1},
                "name": {"type": "string", "minLength": 1, "maxLength": 32},
            },
            "required": ["vendor", "name"],
        }},
        "type": "object",
        "properties": {
            "event": {"type": "string", "format": "uuid"},
            "user": {"type": "string"},
            "segment": {"$ref": "#Segment"},
            "value": {"type": "string"},
            "remove": {"const": true},
        },
        "required": ["event", "user", "segment"],
        "dependentSchemas": {"remove": {"properties": {"value": false}}},
    })
}

#[test]
fn invalid_documents_are_told_why() {
    let schema = schemas_of("file:///w/event.json", [("file:///w/event.json", event())]).unwrap();
    let arena = Arena::new();
    let check = |patch: Value, expect: Expect| {
        let mut document = json!({"event": "no uuid", "user": "u", "segment": {"vendor": 1, "name": "s"}});
        for (name, value) in patch.as_object().unwrap() {
            document[name] = value.clone();
        }
        let text = match schema.validate(node(&arena, &document)) {
            Ok(()) => "valid".to_owned(),
            Err(invalid) => format!("{invalid} [{}]", invalid.schema_location),
        };
        expect.assert_eq(&text);
    };
    check(json!({}), expect!["valid"]);
    check(
        json!({"segment": {"vendor": 0, "name": "s"}}),
        expect![[
            r#""/segment/vendor": 0 is less than the minimum of 1 [file:///w/event.json#/$defs/Segment/properties/vendor/minimum]"#
        ]],
    );
    check(json!({"segment": {"vendor": 1.0, "name": "s"}}), expect!["valid"]);
    check(
        json!({"segment": {"vendor": 1.5, "name": "s"}}),
        expect![[
            r#""/segment/vendor": 1.5 is not of type integer [file:///w/event.json#/$defs/Segment/properties/vendor/type]"#
        ]],
    );
    check(
        json!({"segment": {"vendor": 1, "name": "é".repeat(33)}}),
        expect![[
            r#""/segment/name": "ééééééééééééééééééééééééééééééééé" is longer than 32 characters [file:///w/event.json#/$defs/Segment/properties/name/maxLength]"#
        ]],
    );
    check(
        json!({"segment": {"vendor": 1}}),
        expect![[r#""/segment": the property "name" is missing [file:///w/event.json#/$defs/Segment/required]"#]],
    );
    check(
        json!({"remove": false}),
        expect![[r#""/remove": false is not true [file:///w/event.json#/properties/remove/const]"#]],
    );
    check(json!({"remove": true}), expect!["valid"]);
    check(
        json!({"remove": true, "value": "x"}),
        expect![[
            r#""/value": nothing may be here, but there is "x" [file:///w/event.json#/dependentSchemas/remove/properties/value]"#
        ]],
    );
    check(
        json!({"user": [1, {"a": "b"}]}),
        expect![[r#""/user": [1,{"a":"b"}] is not of type string [file:///w/event.json#/properties/user/type]"#]],
    );
}

#[test]
fn what_is_wrong_with_items() {
    let arena = Arena::new();
    for (schema, document, expected) in [
        (json!({"items": [true], "additionalItems": false}), json!([1, 2]), "[1,2] has more than 1 item"),
        (json!({"uniqueItems": true}), json!([1, 1.0]), "[1,1.0] has an item twice"),
        (json!({"contains": {"const": 1}}), json!([2]), "[2] has too few items of those that `contains` describes"),
        (
            json!({"contains": {"const": 1}, "minContains": 2}),
            json!([1, 2]),
            "[1,2] has too few items of those that `contains` describes",
        ),
        (
            json!({"contains": {"const": 1}, "minContains": 0, "maxContains": 1}),
            json!([1, 1]),
            "[1,1] has too many items of those that `contains` describes",
        ),
    ] {
        let compiled = schemas_of("file:///w/s.json", [("file:///w/s.json", schema.clone())]).unwrap();
        assert_eq!(compiled.validate(node(&arena, &document)).unwrap_err().message, expected, "{schema}");
    }
}

/// Would catch a reference into a schema that nobody read, which is taken for a mistake.
#[test]
fn what_stands_for_a_document_stands_for_its_parts() {
    let schema = json!({"properties": {
        "a": {"$ref": "far.json#/$defs/a"},
        "b": {"$ref": "far.json#B", "type": "string"},
    }});
    let schema = schemas_of("file:///w/s.json", [("file:///w/s.json", schema), ("file:///w/far.json", json!(true))]);
    let (schema, arena) = (schema.unwrap(), Arena::new());
    assert!(schema.is_valid(node(&arena, &json!({"a": 1, "b": "x"}))));
    assert!(!schema.is_valid(node(&arena, &json!({"b": 1}))));
}

#[test]
fn references_lead_to_other_documents() {
    let derived = json!({
        "$defs": {
            "Segment": {"$ref": "sub/event.json#Segment"},
            "User": {"$ref": "sub/event.json#/properties/user"},
        },
        "type": "object",
        "properties": {"segment": {"$ref": "#/$defs/Segment"}, "user": {"$ref": "#/$defs/User"}},
        "required": ["segment"],
    });
    let documents = [("file:///w/derived.json", derived), ("file:///w/sub/event.json", event())];
    let arena = Arena::new();
    let whole = schemas_of("file:///w/derived.json", documents.clone()).unwrap();
    assert!(whole.is_valid(node(&arena, &json!({"segment": {"vendor": 1, "name": "s"}}))));
    assert!(!whole.is_valid(node(&arena, &json!({"segment": {"vendor": 1}}))));
    assert!(!whole.is_valid(node(&arena, &json!({"segment": {"vendor": 1, "name": "s"}, "user": 1}))));
    let part = schemas_of("file:///w/derived.json#/$defs/User", documents.clone()).unwrap();
    assert!(part.is_valid(node(&arena, &json!("u"))));
    assert!(!part.is_valid(node(&arena, &json!(1))));
    let anchor = schemas_of("file:///w/sub/event.json#Segment", documents).unwrap();
    assert!(!anchor.is_valid(node(&arena, &json!({}))));
}

#[test]
fn an_inline_schema_is_relative_to_its_file_and_to_itself() {
    let inline = json!({
        "$defs": {"A": {"type": "integer"}},
        "properties": {"a": {"$ref": "#/$defs/A"}, "s": {"$ref": "event.json#Segment"}},
    });
    let url = "file:///w/flow.yaml?ptr=%2Fcollections%2Fa~1b%2Fschema";
    let schema = schemas_of(url, [(url, inline), ("file:///w/event.json", event())]).unwrap();
    let arena = Arena::new();
    assert!(schema.is_valid(node(&arena, &json!({"a": 1}))));
    assert!(!schema.is_valid(node(&arena, &json!({"a": "x"}))));
    assert!(!schema.is_valid(node(&arena, &json!({"s": 1}))));
}

#[test]
fn identifiers_change_the_base() {
    let document = json!({
        "$id": "https://example.test/schemas/root.json",
        "$defs": {"x": {"$id": "inner.json", "$defs": {"y": {"$anchor": "Y", "type": "integer"}}, "$ref": "#Y"}},
        "properties": {"a": {"$ref": "inner.json"}, "b": {"$ref": "inner.json#/$defs/y"}, "c": {"$ref": "inner.json#Y"}},
    });
    let schema = schemas_of("file:///w/a.json", [("file:///w/a.json", document)]).unwrap();
    let arena = Arena::new();
    for name in ["a", "b", "c"] {
        assert!(schema.is_valid(node(&arena, &json!({ name: 1 }))), "{name}");
        assert!(!schema.is_valid(node(&arena, &json!({ name: "x" }))), "{name}");
    }
}

#[test]
fn mistakes_are_found_with_their_place() {
    let check = |document: Value, expect: Expect| {
        let errors = schemas_of("file:///w/a.json", [("file:///w/a.json", document)]).map(|_| ()).unwrap_err();
        let lines = errors.iter().map(|error| {
            let hint = error.hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("{} {}#{}: {}{hint}\n", error.slug, error.url, error.pointer, error.message)
        });
        expect.assert_eq(&lines.collect::<String>());
    };
    check(
        json!({"properties": {"a/b": {"$ref": "other.json#/x"}}}),
        expect![[r#"
            schema-not-found file:///w/a.json#/properties/a~1b/$ref: there is no schema at file:///w/other.json
        "#]],
    );
    check(
        json!({"properties": {"a": {"$ref": "#/$defs/No"}, "b": {"$ref": "#No"}}}),
        expect![[r#"
            schema-fragment-not-found file:///w/a.json#/properties/a/$ref: referenced schema fragment location file:///w/a.json#/$defs/No does not exist
            schema-fragment-not-found file:///w/a.json#/properties/b/$ref: referenced schema fragment location file:///w/a.json#No does not exist
        "#]],
    );
    check(
        json!({"properties": {"a": {"type": "strin"}, "b": {"required": "c"}}}),
        expect![[r#"
            schema-type-unknown file:///w/a.json#/properties/a/type: strin is not a type (did you mean string?)
            schema-invalid file:///w/a.json#/properties/b/required: "c" is not of type array
        "#]],
    );
    check(
        json!({"reduce": {"strategy": "minimise"}, "properties": {"a": {"reduce": {"strategy": "sum", "key": ["/x"]}}}}),
        expect![[r#"
            reduce-strategy-unknown file:///w/a.json#/reduce/strategy: minimise is not a reduction strategy (did you mean minimize?)
            reduce-option-unknown file:///w/a.json#/properties/a/reduce/key: key is not an option of the sum strategy (it takes none)
        "#]],
    );
    check(
        json!({"properties": {"a": {"pattern": "(?=a)b"}}}),
        expect![[r#"
            schema-invalid file:///w/a.json#/properties/a/pattern: "(?=a)b" is no pattern that runs in linear time and little memory: no look-around, no back-references, no vast repetition
        "#]],
    );
    check(
        json!({"patternProperties": {"(a)\\1": true}}),
        expect![[r#"
            schema-pattern-invalid file:///w/a.json#/patternProperties/(a)\1: "(a)\\1" is no pattern: backreferences are not supported (patterns run in linear time: no look-around, no back-references)
        "#]],
    );
}

#[test]
fn schemas_within_themselves_end() {
    let arena = Arena::new();
    let deep = node(&arena, &json!({"a": {"a": {"a": {}}}}));
    for document in [
        json!({"$ref": "#"}),
        json!({"allOf": [{"$ref": "#"}]}),
        json!({"anyOf": [{"$ref": "#"}, {"reduce": {"strategy": "merge"}}]}),
        json!({"properties": {"a": {"$ref": "#"}}, "reduce": {"strategy": "merge"}}),
        json!({"additionalProperties": {"$ref": "#"}, "reduce": {"strategy": "merge"}}),
    ] {
        let schema = schema(document.clone());
        let _ = schema.is_valid(deep);
        let _ = schema.reduce(&arena, Some(deep), deep, true).unwrap();
        assert!(schema.shape().locations().len() < 100, "{document}");
    }
}

/// Would catch a circle that nobody is told of, and a schema of a tree that is taken for one.
#[test]
fn references_that_say_nothing_are_doubted() {
    for (document, expected) in [
        (json!({"$ref": "#"}), "/$ref"),
        (json!({"allOf": [{"$ref": "#"}]}), "/allOf/0/$ref"),
        (json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}), "/$defs/b/$ref"),
        (json!({"$ref": "#/$defs/a", "$defs": {"a": {"if": {"$ref": "#"}}}}), "/$defs/a/if/$ref"),
        (json!({"properties": {"a": {"$ref": "#"}}, "items": {"$ref": "#"}, "contains": {"$ref": "#"}}), ""),
        (json!({"$ref": "#/$defs/a", "allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"type": "object"}}}), ""),
    ] {
        let doubts: Vec<_> = schema(document.clone()).doubts().iter().map(|doubt| doubt.pointer.clone()).collect();
        assert_eq!(doubts.join(" "), expected, "{document}");
    }
}

#[test]
fn long_chains_of_references_end() {
    let definitions: serde_json::Map<_, _> = (0..500)
        .map(|at| (at.to_string(), json!({"properties": {"a": {"$ref": format!("#/$defs/{}", at + 1)}}})))
        .chain([("500".to_owned(), json!({"type": "object"}))])
        .collect();
    let schema = schema(json!({"$defs": definitions, "$ref": "#/$defs/0"}));
    assert!(schema.shape().locations().len() > 10);
}

#[test]
fn numbers_and_structures_of_enums_compare_by_value() {
    let schema = schema(json!({"enum": [1, {"a": [1.0, null]}, "x"]}));
    let arena = Arena::new();
    for value in [json!(1.0), json!({"a": [1, null]}), json!("x")] {
        assert!(schema.is_valid(node(&arena, &value)), "{value}");
    }
    assert!(!schema.is_valid(node(&arena, &json!({"a": [1]}))));
}

#[test]
fn schemas_are_shared_between_threads() {
    fn assert<T: Send + Sync>() {}
    assert::<doc::Schema>();
    fn assert_send<T: Send>() {}
    assert_send::<doc::Combiner>();
}

#[test]
fn dialect() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("cases/dialect.json")).unwrap();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut checked = 0;
    for case in &cases {
        let mut documents = vec![("test:/schema".to_owned(), case["schema"].clone())];
        let others = case["others"].as_object();
        let others = others.into_iter().flatten().map(|(name, value)| (format!("test:/{name}"), value.clone()));
        documents.extend(others);
        match compile("test:/schema", documents) {
            Err(errors) => {
                let found: Vec<_> = errors.iter().map(|error| format!("{} {}", error.slug, error.pointer)).collect();
                assert_eq!(json!(found), case["errors"], "{}: {errors:?}", case["rule"]);
            }
            Ok(schema) => {
                assert!(case["errors"].is_null(), "{}", case["rule"]);
                let arena = Arena::new();
                for (keyword, valid) in [("valid", true), ("invalid", false)] {
                    for document in list(&case[keyword]) {
                        let found = schema.validate(node(&arena, &document));
                        assert_eq!(found.is_ok(), valid, "{}: {document} {found:?}", case["rule"]);
                    }
                }
            }
        }
        checked += ["valid", "invalid", "errors"].iter().map(|keyword| list(&case[*keyword]).len()).sum::<usize>();
    }
    count("dialect.json", checked);
}

/// Formats, each with strings that are of it, and strings that are not.
const FORMATS: &[(&str, &[&str], &[&str])] = &[
    ("date", &["2021-02-28"], &["2021-02-29", "yesterday"]),
    ("date-time", &["2021-02-28T01:02:03Z", "2021-02-28T01:02:03.5+01:00"], &["2021-02-28", "2021-02-28 01:02"]),
    ("time", &["01:02:03Z"], &["25:00:00Z"]),
    ("email", &["a@b.test"], &["a"]),
    ("hostname", &["a.test"], &["a..test", "-"]),
    // What tells those of other scripts needs tables that are not built in, so that these refuse nothing.
    ("idn-email", &["ä@b.test"], &[]),
    ("idn-hostname", &["ä.test"], &[]),
    ("ipv4", &["127.0.0.1"], &["127.0.0", "256.0.0.1"]),
    ("ipv6", &["::1"], &["127.0.0.1"]),
    ("macaddr", &["00:1b:44:11:3a:b7", "00-1B-44-11-3A-B7"], &["00:1b:44:11:3a", "00:1b:44:11:3a:b7:00:00", "x"]),
    ("macaddr8", &["00:1b:44:11:3a:b7:00:ff"], &["00:1b:44:11:3a:b7"]),
    ("uuid", &["11111111-2222-3333-4444-000000000000"], &["11111111222233334444000000000000"]),
    ("duration", &["P1DT2H"], &["1 day"]),
    ("iri", &["http://ä.test/"], &["x"]),
    ("uri", &["http://a.test/"], &["x"]),
    ("uri-reference", &["x"], &["x y"]),
    ("uri-template", &["/{a}"], &["/{a"]),
    ("json-pointer", &["", "/a"], &["a"]),
    ("relative-json-pointer", &["1/a"], &["/a"]),
    ("regex", &["^a+$"], &["("]),
    ("integer", &["0", "-12", "+7", "123456789012345678901234567890"], &["", "-", "1.0", "1e3", "NaN"]),
    ("number", &["0", "-1.5", "1e3", "NaN", "Infinity", "-Infinity"], &["", ".", "1.", "0x1", "inf"]),
    // What nobody knows is an annotation.
    ("iri-reference", &["x y"], &[]),
    ("color", &["x"], &[]),
];

#[test]
fn formats_are_described_or_asserted() {
    let arena = Arena::new();
    let url: url::Url = "test:/schema".parse().unwrap();
    let mut mistaken = Vec::new();
    for (format, right, wrong) in FORMATS {
        let value = std::sync::Arc::new(json!({"type": ["string", "integer"], "format": format}));
        let compile = |formats| doc::Schema::compile_with(&url, &|_| Some(value.clone()), formats).unwrap();
        let (described, asserted) = (compile(doc::Formats::Described), compile(doc::Formats::Asserted));
        for (texts, expected) in [(*right, true), (*wrong, false)] {
            for text in texts {
                let value = json!(text);
                assert!(described.is_valid(node(&arena, &value)), "{format}: {text}");
                if asserted.validate(node(&arena, &value)).is_ok() != expected {
                    mistaken.push(format!("{format}: {text}"));
                }
            }
        }
        assert!(asserted.is_valid(node(&arena, &json!(7))), "{format} of a number");
    }
    assert!(mistaken.is_empty(), "{mistaken:#?}");
}
