//! What a build makes of the golden catalog, and of other spellings.

use std::fmt::Write;

use catalog::{Lambda, Sources, Tree, Using};
use expect_test::expect;

use crate::host::{AnyConnector, Memory, Shop};
use crate::mistakes::render;

#[test]
fn the_golden_catalog_builds() {
    let built = Memory::golden().build();
    assert_eq!(render(&built), "");
    assert!(built.is_sound());
    let catalog = &built.catalog;
    let mut text = String::new();
    for collection in &catalog.collections {
        writeln!(text, "{} {:?}", collection.name, collection.key).unwrap();
        for p in &collection.projections {
            let marks =
                [(p.explicit, " explicit"), (p.partition, " partition"), (p.key, " key"), (p.must_exist, " must")];
            let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
            writeln!(text, "  {}: {} {}{marks}", p.field, p.pointer, p.types).unwrap();
        }
        let Some(derivation) = &collection.derivation else {
            continue;
        };
        let Using::Typescript(module) = &derivation.using else { panic!() };
        writeln!(text, "  {} {} {}", module.text.url, module.class, derivation.register_initial).unwrap();
        for t in &derivation.transforms {
            let lambda = |lambda: &Option<Lambda>| match lambda {
                Some(Lambda::Method(name)) => name.clone(),
                _ => "-".to_owned(),
            };
            writeln!(
                text,
                "  {} from {} by {:?}: {}, {}; priority {}, delay {} s, stricter {}",
                t.name,
                t.source,
                t.shuffle,
                lambda(&t.update),
                lambda(&t.publish),
                t.priority,
                t.read_delay_seconds,
                t.source_schema.is_some()
            )
            .unwrap();
        }
    }
    for capture in &catalog.captures {
        writeln!(text, "{} {} every {} s", capture.name, capture.endpoint.connector, capture.interval_seconds).unwrap();
        for binding in &capture.bindings {
            writeln!(text, "  {} -> {}", binding.resource, binding.target).unwrap();
        }
    }
    for materialization in &catalog.materializations {
        let endpoint = &materialization.endpoint;
        writeln!(text, "{} {} {} {}", materialization.name, endpoint.connector, endpoint.config, endpoint.base)
            .unwrap();
        for b in &materialization.bindings {
            writeln!(text, "  {} -> {} {:?} delta {}", b.source, b.resource, b.fields, b.delta_updates).unwrap();
            writeln!(text, "    {:?} but {:?}", b.selector.include, b.selector.exclude).unwrap();
        }
    }
    for test in &catalog.tests {
        writeln!(text, "{}", test.name).unwrap();
        for step in &test.steps {
            let documents: Vec<String> = step.documents.iter().map(|tree| tree.to_value().to_string()).collect();
            writeln!(text, "  {:?} {} {}", step.kind, step.collection, documents.join(" ")).unwrap();
        }
    }
    expect![[r#"
        acme/customers ["/customer"]
          customer: /customer [string] key must
          customer_id: /customer [string] explicit key must
          flow_document:  [object] must
          flow_published_at: /_meta/uuid/date-time [string]
          mixed: /mixed [integer, string]
          note: /note [string]
          orders: /orders [integer] must
          tags: /tags [array]
          file:///w/orders.flow.ts AcmeCustomers {}
          fromOrders from acme/orders by ["/customer"]: fromOrdersUpdate, fromOrdersPublish; priority 0, delay 0 s, stricter false
          fromSelf from acme/customers by ["/customer"]: -, fromSelfPublish; priority 1, delay 172800 s, stricter true
        acme/orders ["/id"]
          amount: /amount [number] must
          code: /code [integer, string]
          customer: /customer [string] must
          flow_document:  [object] must
          flow_published_at: /_meta/uuid/date-time [string]
          id: /id [string] key must
          lines: /lines [array]
          paid: /paid [boolean] explicit partition must
          region: /region [string] explicit partition must
        acme/http source-http-ingest every 60 s
          {"name":"orders"} -> acme/orders
        acme/hooks materialize-webhook {"address":"http://localhost:9000/"} file:///w/hooks.config.yaml
          acme/customers -> {"relativePath":"/customers"} FieldSelection { keys: [], values: [], document: Some("flow_document") } delta true
            [] but []
        acme/tables materialize-sqlite {"path":"tables.db"} file:///w/catalog.yaml
          acme/customers -> {"table":"customers"} FieldSelection { keys: ["customer_id"], values: ["orders", "tags"], document: Some("flow_document") } delta false
            [] but []
          acme/orders -> {"table":"orders"} FieldSelection { keys: ["id"], values: ["amount", "customer", "paid", "region"], document: Some("flow_document") } delta false
            [("region", [String("eu"), String("us")])] but [("paid", [Bool(false)])]
        customers are counted
          Ingest acme/orders {"amount":5,"customer":"ann","id":"o1","paid":true,"region":"eu"} {"amount":5,"customer":"bob","id":"o2","paid":true,"region":"eu"}
          Ingest acme/orders {"amount":5,"customer":"ann","id":"o1","paid":true,"region":"eu"} {"amount":5,"customer":"bob","id":"o2","paid":true,"region":"eu"}
          Verify acme/customers {"customer":"ann","orders":2} {"customer":"bob","orders":2}
        orders, kept
          Verify acme/orders 
    "#]].assert_eq(&text);
}

#[test]
fn later_spellings_build() {
    let mut files = Memory::golden();
    let catalog = r#"
collections:
  acme/in:
    writeSchema: &schema { type: object, properties: { id: { type: string }, n: { type: integer } }, required: [id] }
    readSchema: { <<: *schema, required: [id, n] }
    key: [/id]
  acme/sql:
    schema: *schema
    key: [/id]
    derive:
      using: { sqlite: { migrations: [CREATE TABLE t (x);, more.sql] } }
      transforms:
        - { name: fromIn, source: acme/in, shuffle: any, lambda: "SELECT $id, $n;" }
        - { name: fromFile, source: { name: acme/in }, shuffle: { key: [/id] }, lambda: lambda.sql }
  acme/ts:
    schema: *schema
    key: [/id]
    derive:
      using:
        typescript:
          module: |
            export class Derivation extends IDerivation {
              fromIn(read) { return [read.doc]; }
            }
      transforms:
        - { name: from-in, source: acme/in, shuffle: any }
captures:
  acme/source:
    endpoint: { connector: { image: "ghcr.io/x/source-http-ingest:v2", config: {} } }
    bindings:
      - { resource: { name: in }, target: acme/in }
      - { resource: { name: off }, target: acme/in, disable: true }
materializations:
  acme/out:
    endpoint: { connector: { image: "ghcr.io/x/materialize-sqlite:v2", config: { path: x.db } } }
    bindings:
      - resource: { table: t }
        source: { name: acme/in }
        fields: { recommended: 1, require: { n: {} } }
tests:
  written out:
    description: As an object.
    steps:
      - ingest: { collection: acme/in, documents: in.json }
      - verify: { collection: { name: acme/in }, documents: [{ id: a }] }
"#;
    files.0.insert("catalog.yaml".into(), catalog.into());
    files.0.insert("more.sql".into(), "CREATE TABLE u (y);".into());
    files.0.insert("lambda.sql".into(), "SELECT 1;".into());
    files.0.insert("in.json".into(), r#"[{"id": "a"}]"#.into());
    let built = files.build();
    assert_eq!(render(&built), "");

    let catalog = &built.catalog;
    let using = |name: &str| &catalog.collection(name).unwrap().derivation.as_ref().unwrap().using;
    let Using::Sqlite { migrations } = using("acme/sql") else { panic!() };
    let texts: Vec<&str> = migrations.iter().map(|text| &*text.text).collect();
    assert_eq!(texts, ["CREATE TABLE t (x);", "CREATE TABLE u (y);"]);
    let transforms = &catalog.collection("acme/sql").unwrap().derivation.as_ref().unwrap().transforms;
    assert!(matches!(&transforms[0].publish, Some(Lambda::Sql(text)) if &*text.text == "SELECT 1;"));
    assert!(matches!(&transforms[1].publish, Some(Lambda::Sql(text)) if &*text.text == "SELECT $id, $n;"));
    let Using::Typescript(module) = using("acme/ts") else { panic!() };
    assert_eq!((module.class.as_str(), module.modern), ("Derivation", true));
    let transforms = &catalog.collection("acme/ts").unwrap().derivation.as_ref().unwrap().transforms;
    assert!(matches!(&transforms[0].publish, Some(Lambda::Method(name)) if name == "fromIn"));
    assert!(catalog.collection("acme/in").unwrap().projection("n").unwrap().must_exist);
    assert_eq!(catalog.captures[0].bindings.len(), 1);
    assert_eq!(catalog.tests[0].steps[0].documents.len(), 1);
}

#[test]
fn spellings_of_every_era_build() {
    let files = Memory::of("spellings");
    let built = files.build_at("2023.yaml");
    let mut text = render(&built);
    let catalog = &built.catalog;
    for collection in &catalog.collections {
        let derivation = collection.derivation.as_ref();
        writeln!(text, "{} {:?} derived: {}", collection.name, collection.key, derivation.is_some()).unwrap();
        if let Some(Using::Typescript(module)) = derivation.map(|derivation| &derivation.using) {
            writeln!(text, "{}", module.text.text.trim_end()).unwrap();
        }
    }
    for capture in &catalog.captures {
        writeln!(text, "{}: {}, {} bindings", capture.name, capture.endpoint.connector, capture.bindings.len())
            .unwrap();
    }
    for task in &catalog.materializations {
        writeln!(text, "{}: {}, {} bindings", task.name, task.endpoint.connector, task.bindings.len()).unwrap();
    }
    for test in &catalog.tests {
        writeln!(text, "{}: {} steps", test.name, test.steps.len()).unwrap();
    }
    expect![[r#"
        2023.yaml:23:17: connector-unknown: there is no connector `local`, so capture `acme/discovered` is left out
          only a warning
        2023.yaml:29:17: connector-unknown: there is no connector `dekaf`, so materialization `acme/kafka` is left out
          only a warning
        2023.yaml:35:35: ignored: `groupBy` has no effect here
          only a warning
        2021-07.yaml:8:41: connector-unknown: there is no connector `source-postgres`, so capture `acme/airbyte` is left out
          only a warning
        2021-07.yaml:14:36: connector-unknown: there is no connector `materialize-bigquery`, so materialization `acme/sink` is left out
          only a warning
        acme/clicks ["/id"] derived: false
        acme/mirror ["/id"] derived: true
        export class Derivation {
        copyPublish(source, register, previous) {
        return [source];
        }
        }
        acme/module ["/id"] derived: true
        export class Derivation implements IDerivation {
            fromClicksPublish(source) { return [source]; }
        }
        acme/nullable ["/id"] derived: true
        acme/users ["/user"] derived: true
        export class Derivation {
        clicksUpdate(source) {
        return ([1]);
        }
        clicksPublish(source, register, previous) {
        if (register > 1) { return []; }
        return [{ user: source.user, clicks: 1 }];
        }
        }
        acme/pushed: source-http-ingest, 1 bindings
        acme/connected: materialize-webhook, 1 bindings
        acme/db: materialize-sqlite, 2 bindings
        acme/more: materialize-sqlite, 1 bindings
        acme/named: materialize-sqlite, 1 bindings
        It counts users, once: really?: 3 steps
        an aliased step, again: 1 steps
        acme/tests/nullable: 2 steps
    "#]].assert_eq(&text);
    assert!(built.is_sound());
    assert!(!built.is_whole());
}

#[test]
fn schemas_may_have_ids_of_the_web() {
    let mut files = Memory::golden();
    let schemas = files.0.get_mut("schemas.yaml").unwrap();
    *schemas =
        format!("$schema: http://json-schema.org/draft-07/schema#\n$id: https://example.com/schemas.yaml\n{schemas}");
    assert_eq!(render(&files.build()), "");
}

/// References to the web that need nothing of it: by `$id`, of an imported file too, and to the schemas of schemas.
#[test]
fn schemas_of_the_web_may_be_at_hand() {
    let mut files = Memory::golden();
    let catalog = r#"
import: [{ url: city.json, contentType: JSON_SCHEMA }]
collections:
  acme/ids:
    schema:
      $id: https://example.com/root.json
      type: object
      properties:
        id: { $ref: "https://example.com/leaf.json" }
        same: { $ref: leaf.json }
        city: { $ref: "https://example.com/city.json" }
        old: { $ref: "http://json-schema.org/draft-07/schema#" }
        new: { $ref: "https://json-schema.org/draft/2020-12/schema" }
      required: [id, city]
      $defs: { leaf: { $id: leaf.json, type: string } }
    key: [/id, /city]
tests:
  what they say holds:
    - ingest: { collection: acme/ids, documents: [{ id: a, city: b, old: { type: string }, new: { minimum: 1 } }] }
"#;
    files.0.insert("catalog.yaml".into(), catalog.into());
    files.0.insert("city.json".into(), r#"{"$id": "https://example.com/city.json", "type": "string"}"#.into());
    assert_eq!(render(&files.build()), "");
    for (right, wrong) in [("old: { type: string }", "old: { type: strin }"), ("minimum: 1", "minimum: x")] {
        files.0.insert("catalog.yaml".into(), catalog.replace(right, wrong));
        let report = render(&files.build());
        assert!(report.contains("ingest-invalid") && !report.contains("schema-elsewhere"), "{report}");
    }
}

/// Before 2023 formats say what strings are; since then, what they must be.
#[test]
fn formats_are_asserted_in_later_catalogs() {
    let schema = "{ type: object, properties: { id: { type: string, format: date } }, required: [id] }";
    let later = format!("readSchema: {schema}, writeSchema: {schema}");
    for (schemas, refused) in [(format!("schema: {schema}"), false), (later, true)] {
        let mut files = Memory::golden();
        let tests = "tests: { a: [{ ingest: { collection: acme/a, documents: [{ id: today }] } }] }";
        let catalog = format!("collections: {{ acme/a: {{ {schemas}, key: [/id] }} }}\n{tests}");
        files.0.insert("catalog.yaml".into(), catalog);
        let report = render(&files.build());
        assert_eq!(report.contains("\"today\" is not of format date"), refused, "{report}");
        assert_eq!(report.is_empty(), !refused, "{report}");
    }
}

/// Would catch a later catalog that derives nothing and is read as an older one, in whose keys nothing may be null.
#[test]
fn later_catalogs_are_known_by_any_field_that_is_new() {
    let capture = |more: &str| {
        let bindings = "bindings: [{ resource: { name: a }, target: acme/a }]";
        format!("captures: {{ acme/c: {{ {more} endpoint: {{ ingest: {{}} }}, {bindings} }} }}")
    };
    let verify = "{ verify: { collection: acme/a, documents: [] } }";
    let table = |source: &str| {
        let bindings = format!("bindings: [{{ resource: {{ table: a }}, source: {source} }}]");
        format!("materializations: {{ acme/m: {{ endpoint: {{ sqlite: {{ path: x.db }} }}, {bindings} }} }}")
    };
    for (more, is_later) in [
        (String::new(), false),
        (format!("tests: {{ a: [{verify}] }}"), false),
        (format!("tests: {{ a: {{ steps: [{verify}] }} }}"), true),
        (capture(""), false),
        (capture("autoDiscover: {},"), true),
        (table("acme/a"), false),
        (table("{ name: acme/a, notBefore: 2020-01-01T00:00:00Z }"), true),
    ] {
        let mut files = Memory::golden();
        let schema = "{ type: object, properties: { id: { type: [string, 'null'] } }, required: [id] }";
        let catalog = format!("collections: {{ acme/a: {{ schema: {schema}, key: [/id] }} }}\n{more}\n");
        files.0.insert("catalog.yaml".into(), catalog);
        let report = render(&files.build());
        assert_eq!(report.contains("key-type"), !is_later, "{more}: {report}");
    }
}

/// Since 2023 tables keep when a document was published; before, where they are asked to. A name of the catalog's own goes first.
#[test]
fn when_documents_were_published_is_a_field() {
    let build = |collection: &str, fields: &str| {
        let mut files = Memory::golden();
        let catalog = format!(
            "collections:
  acme/a: {{ {collection}, key: [/id] }}
materializations:
  acme/m:
    endpoint: {{ sqlite: {{ path: x.db }} }}
    bindings: [{{ source: acme/a, resource: {{ table: a }}, fields: {{ recommended: true {fields} }} }}]
"
        );
        files.0.insert("catalog.yaml".into(), catalog);
        let built = files.build();
        assert_eq!(render(&built), "", "{collection}");
        built.catalog.materializations[0].bindings[0].fields.values.join(" ")
    };
    let schema = "{ type: object, properties: { id: { type: string } }, required: [id] }";
    let (old, new) = (format!("schema: {schema}"), format!("writeSchema: {schema}, readSchema: {schema}"));
    assert_eq!(build(&old, ""), "");
    assert_eq!(build(&old, ", include: { flow_published_at: {} }"), "flow_published_at");
    assert_eq!(build(&new, ""), "flow_published_at");
    assert_eq!(build(&new, ", exclude: [flow_published_at]"), "");
    assert_eq!(build(&format!("{new}, projections: {{ at: /_meta/uuid/date-time }}"), ""), "at");
    assert_eq!(build(&format!("{old}, projections: {{ at: /_meta/uuid/date-time }}"), ""), "at");
    let own = "schema: { type: object, properties: { id: { type: string }, flow_published_at: { type: integer } }, required: [id] }";
    assert_eq!(build(own, ""), "flow_published_at");
}

#[test]
fn the_first_mistakes_are_told_and_the_others_counted() {
    let mut files = Memory::golden();
    let fields: String = (0..260).map(|n| format!("f{n}: 1\n")).collect();
    files.0.insert("catalog.yaml".into(), format!("npmDependencies: {{ x: '1' }}\n{fields}"));
    let built = files.build();
    assert_eq!((built.diagnostics.len(), built.more), (200, 61));
    assert!(built.diagnostics.iter().all(|diagnostic| diagnostic.slug == "field-unknown"));
    let fields: String = (0..20_000).map(|n| format!("f{n}: 1\n")).collect();
    files.0.insert("catalog.yaml".into(), fields);
    let built = files.build();
    assert_eq!((built.diagnostics.len(), built.more), (200, 19_800));
}

#[test]
fn the_schema_for_editors_takes_every_catalog() {
    let url = url::Url::parse("file:///catalog.schema.json").unwrap();
    let text: std::sync::Arc<serde_json::Value> = std::sync::Arc::new(serde_json::from_str(catalog::SCHEMA).unwrap());
    let schema = doc::Schema::compile(&url, &|asked| (*asked == url).then(|| text.clone())).unwrap();
    let valid = |name: &str, text: &str| {
        let place = url::Url::parse("file:///w/x.yaml").unwrap();
        let mut tree = Tree::from_yaml(&mut Sources::default(), place, text).unwrap();
        tree.expand_merges().unwrap();
        let arena = doc::Arena::new();
        schema.validate(doc::from_value(&arena, &tree.to_value())).map_err(|e| format!("{name}: {e}"))
    };
    let (golden, spellings) = (Memory::golden(), Memory::of("spellings"));
    for (name, text) in golden.0.iter().chain(&spellings.0) {
        if name.ends_with(".yaml")
            && !["schemas.yaml", "hooks.config.yaml", "hook.config.yaml"].contains(&name.as_str())
        {
            valid(name, text).unwrap();
        }
    }
    for path in examples() {
        valid(path.to_str().unwrap(), &std::fs::read_to_string(&path).unwrap()).unwrap();
    }
    assert!(valid("x", "collections: { a: { key: [/id], shema: {} } }").is_err());
    assert!(valid("x", "tests: { a: [] }").is_err());
}

/// The catalog files of the examples.
fn examples() -> Vec<std::path::PathBuf> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").canonicalize().unwrap();
    let mut found = Vec::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().ends_with(".flow.yaml") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty());
    found
}

#[test]
fn files_on_disk_build() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Memory::golden();
    files.0.get_mut("catalog.yaml").unwrap().push_str("test: {}\n");
    for (name, text) in &files.0 {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let root = catalog::root_url("./catalog.yaml", folder.path()).unwrap();
    let mut built = catalog::build(&root, &catalog::Files, &Shop);
    assert!(render(&built).starts_with("catalog.yaml:49:1: field-unknown: a catalog has no field `test`"));
    built.catalog.sources.relative_to(root.join("elsewhere/").unwrap());
    assert!(render(&built).starts_with("../catalog.yaml:49:1: "));
}

#[test]
fn examples_build() {
    for path in examples() {
        let root = url::Url::from_file_path(&path).unwrap();
        let built = catalog::build(&root, &catalog::Files, &AnyConnector);
        assert_eq!(render(&built), "", "{}", path.display());
    }
}

#[test]
fn hostile_catalogs_are_refused() {
    let nested = |open: &str, close: &str| format!("x: {}{}", open.repeat(5_000), close.repeat(5_000));
    let block: String = (0..5_000).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    let texts =
        [nested("[", "]"), nested("{a: ", "}"), block, "- ".repeat(5_000), "\u{0}".to_owned(), "\t- x".to_owned()];
    for text in texts {
        let mut files = Memory::golden();
        files.0.insert("catalog.yaml".into(), text.clone());
        assert!(!files.build().is_sound(), "{:.40}", text);
    }
}
