//! Catalogs that mean harm: each is refused or taken within two seconds, without much memory.

use std::fmt::Write;
use std::time::{Duration, Instant};

use expect_test::expect;

use crate::host::Memory;

/// How long a build of one of them may take.
const TIME_MAX: Duration = Duration::from_secs(2);
/// How much memory the largest of them may add to the process: on Linux, where it can be asked.
const MEMORY_MAX_KIB: u64 = 600 << 10;

/// A catalog of one collection with this schema, and one document of it.
fn of_schema(schema: &str, document: &str) -> String {
    format!(
        "collections: {{ a: {{ key: [/id], schema: {schema} }} }}\n\
         tests: {{ t: [ ingest: {{ collection: a, documents: [ {document} ] }} ] }}\n"
    )
}

fn memory_peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or_default()
}

/// How long this thread has run: on Linux, where it can be asked, without what the machine did meanwhile.
fn time_taken(begun: Instant) -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = statistics.split_whitespace().next().and_then(|first| first.parse().ok());
    nanoseconds.map_or_else(|| begun.elapsed(), Duration::from_nanos)
}

#[test]
fn hostile_catalogs_end_soon() {
    let plain = "type: object, properties: { id: { type: string } }, required: [id]";
    let object = |more: &str| format!("{{ {plain}, {more} }}");
    let bomb = (0..60).fold("x-0: &a0 [x, x]\n".to_owned(), |text, n| {
        text + &format!("x-{}: &a{} [*a{n}, *a{n}, *a{n}]\n", n + 1, n + 1)
    });
    let keys: String = (0..100_000).map(|n| format!("k{n}: 1\n")).collect();
    let members: Vec<String> = (0..100_000).map(|n| format!("\"k{n}\": {n}")).collect();
    let collections: String =
        (0..2_000).map(|n| format!("  c{n}: {{ key: [/id], schema: {} }}\n", object("x: 1"))).collect();
    let references: String =
        (0..3_000).map(|n| format!("k{n}: {{ $ref: '#/$defs/k{}' }}, ", (n + 1) % 3_000)).collect();
    let defaults: String = (0..2_000).map(|n| format!("k{n}: {{ type: string, default: {n} }}, ")).collect();
    let defaults = format!("additionalProperties: {{ properties: {{ {defaults} }} }}");
    let cases: Vec<(&str, String)> = vec![
        ("alias bomb", bomb),
        ("deep flow", format!("tests: {}{}", "[".repeat(5_000), "]".repeat(5_000))),
        ("deep JSON", format!("{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_000))),
        ("deep block", (0..5_000).map(|n| format!("{}a:\n", " ".repeat(n))).collect()),
        ("schema that is itself", of_schema("{ $ref: '#' }", "{ id: x }")),
        (
            "schema cycle of two",
            of_schema(
                &object(
                    "allOf: [{ $ref: '#/$defs/a' }], $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/a' } }",
                ),
                "{ id: x }",
            ),
        ),
        ("recursive schema", of_schema(&object("additionalProperties: { $ref: '#' }"), "{ id: x }")),
        (
            "long chain of references",
            of_schema(&object(&format!("allOf: [{{ $ref: '#/$defs/k0' }}], $defs: {{ {references} }}")), "{ id: x }"),
        ),
        (
            "evil pattern",
            of_schema(
                "{ type: object, properties: { id: { type: string, pattern: '^(a+)+$' } }, required: [id] }",
                &format!("{{ id: {}b }}", "a".repeat(50_000)),
            ),
        ),
        (
            "evil property pattern",
            of_schema(
                &object("patternProperties: { '^(a|a)*$': { type: integer } }"),
                &format!("{{ id: x, {}b: 1 }}", "a".repeat(900)),
            ),
        ),
        ("huge repetition", of_schema(&object("patternProperties: { '(a{1000}){1000}{1000}': true }"), "{ id: x }")),
        ("many defaults", of_schema(&object(&defaults), "{ id: x }")),
        ("long scalar", of_schema(&object("x: 1"), &format!("{{ id: 5, x: {} }}", "y".repeat(1 << 20)))),
        ("long scalar in a good document", of_schema(&object("x: 1"), &format!("{{ id: {} }}", "y".repeat(1 << 20)))),
        ("long name", format!("collections: {{ ? {} : {{}} }}", "y/".repeat(1 << 19))),
        ("many unknown fields", keys.clone()),
        ("many properties", of_schema(&object("x: 1"), &format!("{{ id: x, {} }}", members.join(", ")))),
        ("many collections", format!("collections:\n{collections}")),
        (
            "many merges",
            format!("x-a: &a {{ {} }}\nx-b:\n{}", members[..1_000].join(", "), "  - { <<: *a }\n".repeat(5_000)),
        ),
        ("many quotes", "\"".repeat(1 << 20)),
        ("many tabs", "a:\t\t".repeat(1 << 18)),
        ("many documents", "--- a\n".repeat(200_000)),
        ("many anchors", (0..100_000).map(|n| format!("k{n}: &a{n} 1\n")).collect()),
        ("a large list", format!("tests: [{}]", "1,".repeat(4 << 20))),
    ];
    let before = memory_peak_kib();
    let started = Instant::now();
    let mut slow = Vec::new();
    let mut ends = String::new();
    for (name, text) in cases {
        let mut files = Memory::golden();
        files.0.insert("catalog.yaml".into(), text);
        let before = time_taken(started);
        let built = files.build();
        let took = time_taken(started) - before;
        let end = built.diagnostics.first().map_or("is taken", |diagnostic| diagnostic.slug);
        writeln!(ends, "{name}: {end}").unwrap();
        assert!(built.diagnostics.iter().all(|d| d.message.len() < 8 << 10), "{name}: a message is long");
        if took > TIME_MAX {
            slow.push((name, took));
        }
    }
    expect![[r#"
        alias bomb: yaml-too-large
        deep flow: yaml-syntax
        deep JSON: yaml-syntax
        deep block: yaml-too-deep
        schema that is itself: key-unknown
        schema cycle of two: schema-circular
        recursive schema: is taken
        long chain of references: schema-circular
        evil pattern: ingest-invalid
        evil property pattern: is taken
        huge repetition: schema-pattern-invalid
        many defaults: schema-default-invalid
        long scalar: ingest-invalid
        long scalar in a good document: is taken
        long name: name-invalid
        many unknown fields: field-unknown
        many properties: is taken
        many collections: is taken
        many merges: yaml-too-large
        many quotes: yaml-syntax
        many tabs: yaml-syntax
        many documents: yaml-documents
        many anchors: field-unknown
        a large list: yaml-too-large
    "#]]
    .assert_eq(&ends);
    assert!(slow.is_empty(), "{slow:?}");
    let grown = memory_peak_kib() - before;
    assert!(grown < MEMORY_MAX_KIB, "{} MiB", grown >> 10);
}

#[test]
fn files_that_import_each_other_build() {
    let mut files = Memory::golden();
    files.0.insert("catalog.yaml".into(), "import: [b.yaml, catalog.yaml]\n".into());
    files.0.insert("b.yaml".into(), "import: [catalog.yaml, c.yaml]\n".into());
    files.0.insert("c.yaml".into(), "import: [b.yaml]\n".into());
    assert!(files.build().is_sound());
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("catalog.yaml"), "import: [large.yaml]\n").unwrap();
    std::fs::write(folder.path().join("large.yaml"), vec![b'#'; 10 << 20]).unwrap();
    let root = catalog::root_url("catalog.yaml", folder.path()).unwrap();
    let built = catalog::build(&root, &catalog::Files, &crate::host::Shop);
    assert_eq!(built.diagnostics[0].slug, "file-unreadable");
}
