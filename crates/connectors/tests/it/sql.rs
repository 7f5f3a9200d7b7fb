//! One suite for all SQL endpoints: what it asks of a table holds for SQLite and for PostgreSQL alike.

mod backend;

use std::time::Instant;

use doc::{Arena, Node, Types};
use runtime::{ConnectorError, Destination, Fault, KeyRange, Retry, Row, Table};
use serde_json::{Value, json};
use testkit::Postgres;

use crate::fixture::{Field, binding, builtin, collection, materialization};
use backend::Backend;

type Case = fn(&Backend<'_>);

const CASES: [(&str, Case); 22] = [
    ("rows and checkpoint", rows_and_checkpoint),
    ("odd names", odd_names),
    ("values", values),
    ("values that do not fit", values_that_do_not_fit),
    ("poison among many", poison_among_many),
    ("what is set aside is of the transaction", what_is_set_aside_is_of_the_transaction),
    ("rows that are as they were", rows_that_are_as_they_were),
    ("long names", long_names),
    ("an older owner is fenced", an_older_owner_is_fenced),
    ("an older owner does not take the table back", an_older_owner_does_not_take_the_table_back),
    ("parts of the keys", parts_of_the_keys),
    ("a table that another part filled", a_table_that_another_part_filled),
    ("parts at work at the same time", parts_at_work_at_the_same_time),
    ("an owner is fenced by the nonce", an_owner_is_fenced_by_the_nonce),
    ("what was not committed is gone", what_was_not_committed_is_gone),
    ("deleted documents", deleted_documents),
    ("delta updates", delta_updates),
    ("several bindings", several_bindings),
    ("tables of others", tables_of_others),
    ("tables of another catalog", tables_of_another_catalog),
    ("a catalog that changes", a_catalog_that_changes),
    ("many rows", many_rows),
];

#[test]
fn sqlite_conforms() {
    for (name, case) in CASES {
        println!("{name}");
        case(&Backend::sqlite());
    }
}

#[test]
fn postgres_conforms() {
    let mut cluster = Postgres::start();
    for (n, (name, case)) in CASES.into_iter().enumerate() {
        println!("{name}");
        // The name is one that has to be quoted.
        case(&Backend::postgres(&cluster, &format!("Case \"{n}\"")));
    }
    formats_have_types(&cluster);
    lost_connections(&mut cluster);
}

/// Documents of the collection most cases use.
const FIELDS: [Field<'_>; 5] = [
    ("vendor", "/segment/vendor", Types::INTEGER, true, true),
    ("user", "/user", Types::STRING, true, true),
    ("last", "/last", Types::STRING, true, false),
    ("member", "/member", Types::BOOLEAN, false, false),
    ("segment", "/segment", Types::OBJECT, false, false),
];

/// A row as JSON values.
struct Doc {
    key: Vec<Value>,
    values: Vec<Value>,
    document: String,
    delete: bool,
}

fn doc(key: Value, values: Value, document: &str) -> Doc {
    let list = |value: Value| value.as_array().unwrap().clone();
    Doc { key: list(key), values: list(values), document: document.into(), delete: false }
}

fn nodes<'a>(arena: &'a Arena, values: &[Value]) -> Vec<Node<'a>> {
    values.iter().map(|value| doc::from_value(arena, value)).collect()
}

fn store(table: &mut dyn Table, binding: usize, docs: &[Doc]) -> Result<(), ConnectorError> {
    let arena = Arena::new();
    let nodes: Vec<_> = docs.iter().map(|doc| (nodes(&arena, &doc.key), nodes(&arena, &doc.values))).collect();
    let rows: Vec<_> = docs
        .iter()
        .zip(&nodes)
        .map(|(doc, (key, values))| Row { key, values, texts: &[], document: &doc.document, delete: doc.delete })
        .collect();
    table.store(binding, &rows)
}

fn load(table: &mut dyn Table, keys: Value) -> Vec<String> {
    let arena = Arena::new();
    let keys: Vec<_> = keys.as_array().unwrap().iter().map(|key| nodes(&arena, key.as_array().unwrap())).collect();
    let keys: Vec<&[Node<'_>]> = keys.iter().map(Vec::as_slice).collect();
    let mut found = Vec::new();
    table.load(0, &keys, &mut |_, text| found.push(String::from_utf8(text.to_vec()).unwrap())).unwrap();
    found.sort();
    found
}

fn try_open(
    backend: &Backend<'_>,
    task: &str,
    bindings: &[(&str, &[Field<'_>], bool)],
) -> Result<Box<dyn Table>, ConnectorError> {
    try_open_range(backend, task, bindings, KeyRange::ALL)
}

fn try_open_range(
    backend: &Backend<'_>,
    task: &str,
    bindings: &[(&str, &[Field<'_>], bool)],
    range: KeyRange,
) -> Result<Box<dyn Table>, ConnectorError> {
    // Each opening as by a process of its own.
    try_open_by(&builtin(), backend, task, bindings, range)
}

fn try_open_by(
    process: &connectors::Builtin,
    backend: &Backend<'_>,
    task: &str,
    bindings: &[(&str, &[Field<'_>], bool)],
    range: KeyRange,
) -> Result<Box<dyn Table>, ConnectorError> {
    let collections: Vec<_> =
        bindings.iter().map(|(table, fields, _)| collection(&format!("acme/{table}"), fields)).collect();
    let bindings = bindings.iter().zip(&collections).map(|((table, fields, delta), collection)| {
        binding(json!({"table": table, "delta_updates": delta}), &collection.name, fields, *delta)
    });
    let task = materialization(task, backend.endpoint(), bindings.collect());
    match process.open_destination(&task, &collections.iter().collect::<Vec<_>>(), range)? {
        Destination::Table(table) => Ok(table),
        Destination::Hook(_) => panic!("a table is no webhook"),
    }
}

fn open(backend: &Backend<'_>) -> Box<dyn Table> {
    try_open(backend, "acme/tables", &[("members", &FIELDS, false)]).unwrap()
}

/// Opens a part of the keys.
fn open_range(backend: &Backend<'_>, range: KeyRange) -> Box<dyn Table> {
    try_open_range(backend, "acme/tables", &[("members", &FIELDS, false)], range).unwrap()
}

/// A checkpoint of one piece.
fn at(position: &str) -> String {
    at_range(KeyRange::ALL, position)
}

fn at_range(range: KeyRange, position: &str) -> String {
    format!(r#"[{{"keys":"{range}","position":{position}}}]"#)
}

fn refused(result: Result<Box<dyn Table>, ConnectorError>) -> String {
    let error = result.err().expect("it was opened");
    assert_eq!((error.fault, error.retry), (Fault::User, Retry::Never), "{error}");
    error.message
}

fn member(vendor: i64, user: &str, last: &str) -> Doc {
    let document = format!(r#"{{"vendor": {vendor},"user":{},"last":"{last}"}}"#, json!(user));
    doc(json!([vendor, user]), json!([last, true, {"vendor": vendor}]), &document)
}

fn rows_and_checkpoint(backend: &Backend<'_>) {
    let mut table = open(backend);
    assert_eq!(table.checkpoint(), None);
    assert_eq!(load(&mut *table, json!([[1, "ä"]])), [""; 0]);
    store(&mut *table, 0, &[member(1, "ä", "1"), member(1, "b", "1"), member(2, "ä", "1")]).unwrap();
    table.commit(&at(r#"{"n":1,"text":"ü"}"#)).unwrap();
    assert_eq!(table.checkpoint().unwrap(), at(r#"{"n":1,"text":"ü"}"#));

    store(&mut *table, 0, &[member(1, "ä", "2"), member(3, "😀'\"\\", "1")]).unwrap();
    table.commit(&at("{}")).unwrap();
    table.commit(&at(r#"{"n":3}"#)).unwrap();
    drop(table);

    let mut table = open(backend);
    assert_eq!(table.checkpoint().unwrap(), at(r#"{"n":3}"#));
    let keys = json!([[1, "ä"], [2, "ä"], [9, "ä"], [1, "c"], [3, "😀'\"\\"]]);
    assert_eq!(
        load(&mut *table, keys),
        [
            r#"{"vendor": 1,"user":"ä","last":"2"}"#,
            r#"{"vendor": 2,"user":"ä","last":"1"}"#,
            r#"{"vendor": 3,"user":"😀'\"\\","last":"1"}"#,
        ]
    );
    assert_eq!(
        backend.query(r#"SELECT "vendor", "user", "last", "member", "segment" FROM "members" ORDER BY 1, 2"#),
        [
            ["1", "b", "1", "1", r#"{"vendor":1}"#],
            ["1", "ä", "2", "1", r#"{"vendor":1}"#],
            ["2", "ä", "1", "1", r#"{"vendor":2}"#],
            ["3", "😀'\"\\", "1", "1", r#"{"vendor":3}"#],
        ]
    );
    assert_eq!(backend.query("SELECT materialization, fence FROM flow_checkpoints_v1"), [["acme/tables", "2"]]);
}

/// Strings of a format are columns of a type of the server's, but for those of a key and those that were text before.
fn formats_have_types(cluster: &Postgres) {
    let backend = Backend::postgres(cluster, "formats");
    let fields: [Field<'_>; 7] = [
        ("k", "/k", Types::STRING, true, true),
        ("at", "/at", Types::STRING, true, false),
        ("day", "/day", Types::STRING.union(Types::NULL), false, false),
        ("id", "/id", Types::STRING, false, false),
        ("n", "/n", Types::STRING, false, false),
        ("x", "/x", Types::STRING, false, false),
        ("host", "/host", Types::STRING, false, false),
    ];
    let formats = [
        ("k", "date-time"),
        ("at", "date-time"),
        ("day", "date"),
        ("id", "uuid"),
        ("n", "integer"),
        ("x", "number"),
        ("host", "hostname"),
    ];
    let open = |table: &str, are_formatted: bool| {
        let mut collection = collection("acme/c", &fields);
        for projection in collection.projections.iter_mut().filter(|_| are_formatted) {
            let format = formats.iter().find(|(field, _)| *field == projection.field);
            projection.format = format.map(|(_, format)| (*format).to_owned());
        }
        let binding = binding(json!({"table": table}), &collection.name, &fields, false);
        let task = materialization(&format!("acme/{table}"), backend.endpoint(), vec![binding]);
        match builtin().open_destination(&task, &[&collection], KeyRange::ALL).unwrap() {
            Destination::Table(table) => table,
            Destination::Hook(_) => panic!("a table is no webhook"),
        }
    };
    let row = |key: &str, at: &str| {
        let id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
        doc(json!([key]), json!([at, null, id, "123456789012345678901234567890", "1.50", "h"]), "{}")
    };
    let mut table = open("new", true);
    let moment = "2021-07-22T21:09:34.746014+02:00";
    let rows = [row("2021-01-01T00:00:00Z", moment), row("2021-01-01T01:00:00+01:00", "0000-01-01T00:00:00Z")];
    store(&mut *table, 0, &rows).unwrap();
    table.commit(&at("{}")).unwrap();
    let named = "SELECT string_agg(column_name || ' ' || data_type, ', ' ORDER BY ordinal_position)
        FROM information_schema.columns WHERE table_schema = 'formats' AND table_name = ";
    assert_eq!(
        backend.query(&format!("{named} 'new'")),
        [[
            "k text, at timestamp with time zone, day date, id uuid, n numeric, x numeric, host text, flow_document json"
        ]]
    );
    let stored = "SELECT at AT TIME ZONE 'UTC', day, n + 1, x FROM";
    assert_eq!(
        backend.query(&format!("{stored} new")),
        [["2021-07-22 19:09:34.746014", "NULL", "123456789012345678901234567891", "1.50"]]
    );
    // No year is zero, in PostgreSQL.
    assert_eq!(backend.query("SELECT key FROM segtide_dead_letters"), [[r#"["2021-01-01T01:00:00+01:00"]"#]]);
    drop(table);

    drop(open("old", false));
    let mut table = open("old", true);
    store(&mut *table, 0, &[row("a", moment)]).unwrap();
    table.commit(&at("{}")).unwrap();
    assert_eq!(backend.query("SELECT at FROM old"), [[moment]]);
}

fn odd_names(backend: &Backend<'_>) {
    let fields: [Field<'_>; 6] = [
        ("select", "/select", Types::STRING, true, true),
        ("a\"b; --", "/a", Types::INTEGER, true, true),
        ("ünï cödé", "/u", Types::NUMBER, false, false),
        ("segment/name", "/segment/name", Types::STRING, false, false),
        ("$1", "/n\nDROP TABLE x; /*", Types::STRING, false, false),
        ("123456789012345678901234567890123456789012345678901234567890123", "/long", Types::STRING, false, false),
    ];
    let name = "from \"x\"; DROP TABLE y; --";
    let bindings: [(&str, &[Field<'_>], bool); 1] = [(name, &fields, false)];
    let mut table = try_open(backend, "acme/'odd\"", &bindings).unwrap();
    store(&mut *table, 0, &[doc(json!(["x", 1]), json!([0.5, "n", "o", "p"]), r#"{"a":1}"#)]).unwrap();
    store(&mut *table, 0, &[doc(json!(["x", 1]), json!([1.5, "n", null, "p"]), r#"{"a":2}"#)]).unwrap();
    table.commit(&at("{}")).unwrap();
    assert_eq!(load(&mut *table, json!([["x", 1], ["x", 2]])), [r#"{"a":2}"#]);
    let quoted = format!("\"{}\"", name.replace('"', "\"\""));
    assert_eq!(
        backend.query(&format!(r#"SELECT "select", "a""b; --", "ünï cödé", "$1", "{}" FROM {quoted}"#, fields[5].0)),
        [["x", "1", "1.5", "NULL", "p"]]
    );
    drop(table);
    try_open(backend, "acme/'odd\"", &bindings).unwrap();
}

fn values(backend: &Backend<'_>) {
    let fields: [Field<'_>; 6] = [
        ("id", "/id", Types::INTEGER, true, true),
        ("flag", "/flag", Types::BOOLEAN, true, true),
        ("number", "/number", Types::NUMBER, false, false),
        ("text", "/text", Types::STRING.union(Types::NULL), true, false),
        ("list", "/list", Types::ARRAY, false, false),
        ("whole", "/whole", Types::INTEGER, false, false),
    ];
    let mut table = try_open(backend, "acme/values", &[("values", &fields, false)]).unwrap();
    let docs = [
        doc(json!([i64::MAX, true]), json!([1, "a\tb\nc", [1, "ü", null], 2.0]), "{}"),
        doc(json!([i64::MIN, false]), json!([-0.25, null, null, null]), r#"{"b":"\u0000"}"#),
        doc(json!([0, true]), json!([u64::MAX, "", [], -7]), r#"{"text":"' \" \\ \u00e9"}"#),
    ];
    store(&mut *table, 0, &docs).unwrap();
    table.commit(&at("{}")).unwrap();
    assert_eq!(
        backend.query(r#"SELECT "id", "flag", "number", "text", "list", "whole" FROM "values" ORDER BY "id""#),
        [
            ["-9223372036854775808", "0", "-0.25", "NULL", "NULL", "NULL"],
            ["0", "1", "1.8446744073709552e+19", "", "[]", "-7"],
            ["9223372036854775807", "1", "1", "a\tb\nc", r#"[1,"ü",null]"#, "2"],
        ]
    );
    let documents = load(&mut *table, json!([[i64::MAX, true], [i64::MIN, false], [0, true], [0, false]]));
    assert_eq!(documents, [r#"{"b":"\u0000"}"#, r#"{"text":"' \" \\ \u00e9"}"#, "{}"], "as they were written");
}

/// What was set aside: key, document, reason.
fn dead_letters(backend: &Backend<'_>) -> Vec<Vec<String>> {
    backend.query("SELECT key, document, reason FROM segtide_dead_letters ORDER BY key, document")
}

fn values_that_do_not_fit(backend: &Backend<'_>) {
    let fields: [Field<'_>; 3] = [
        ("id", "/id", Types::STRING, true, true),
        ("count", "/count", Types::INTEGER, true, false),
        ("text", "/text", Types::STRING, false, false),
    ];
    let mut table = try_open(backend, "acme/values", &[("values", &fields, false)]).unwrap();
    assert_eq!(table.report().set_aside, 0);
    let mut expected = Vec::new();
    for (n, (values, reason)) in [
        (json!([1_u64 << 63, "a"]), "column \"count\" holds an integer beyond 64 bits with sign"),
        (json!([1e300, "a"]), "column \"count\" holds an integer beyond 64 bits with sign"),
        (json!(["1", "a"]), "column \"count\" has another type than its schema said"),
        (json!([null, "a"]), "column \"count\" must have a value, and has none"),
        (
            json!([1, "a\0b"]),
            "column \"text\" holds the character NUL (\\u0000), which PostgreSQL cannot store as text",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let document = format!(r#"{{"n":{n},"text":"a\u0000b"}}"#);
        let (bad, good) =
            (doc(json!([format!("bad {n}")]), values, &document), doc(json!(["good"]), json!([n, "a"]), "{}"));
        store(&mut *table, 0, &[bad, good]).unwrap();
        table.commit(&at(&format!(r#"{{"n":{n}}}"#))).unwrap();
        let report = table.report();
        if backend.is_sqlite() && reason.contains("NUL") {
            assert_eq!((report.set_aside, report.notes.len()), (0, 0));
            continue;
        }
        assert_eq!((report.set_aside, report.notes.len()), (1, 1), "{report:?}");
        expected.push(vec![format!("[\"bad {n}\"]"), document, reason.to_owned()]);
    }
    assert_eq!(dead_letters(backend), expected);
    assert_eq!(
        backend.query("SELECT materialization, collection, \"table\" FROM segtide_dead_letters")[0],
        ["acme/values", "acme/values", "values"]
    );
    assert_eq!(backend.query("SELECT \"count\" FROM \"values\" WHERE \"id\" = 'good'"), [["4"]]);
    // Such a key is no reason to stop where rows are loaded or deleted, either.
    assert_eq!(load(&mut *table, json!([["a\0b"], ["good"]])), ["{}"]);
    store(&mut *table, 0, &[Doc { delete: true, ..doc(json!(["a\0b"]), json!([1, ""]), "{}") }]).unwrap();
    table.commit(&at("{}")).unwrap();
}

/// One of each kind that only the server knows, among many that are well.
fn poison_among_many(backend: &Backend<'_>) {
    const GOOD: u64 = 10_000;
    let mut table = open(backend);
    table.commit(&at("{}")).unwrap();
    let index = if backend.is_sqlite() { "" } else { "ALTER TABLE members ADD CHECK (\"last\" <> 'forbidden')" };
    backend.run(if backend.is_sqlite() {
        "CREATE TRIGGER forbid BEFORE INSERT ON members WHEN NEW.last = 'forbidden' BEGIN SELECT RAISE(ABORT, 'forbidden'); END"
    } else {
        index
    });
    backend.run("CREATE UNIQUE INDEX once ON members (\"last\") WHERE \"last\" = 'once'");
    let key_too_long: String = (0..4_000).map(|n| char::from_u32(0x4e00 + n * 7919 % 20_000).unwrap()).collect();
    let mut docs: Vec<Doc> = (0..GOOD).map(|n| member((n % 7) as i64, &format!("usr-{n}"), "1")).collect();
    docs.insert(17, member(1, "a", "forbidden"));
    docs.insert(4_000, member(1, "b", "once"));
    docs.insert(5_000, member(1, "c", "once"));
    docs.insert(9_999, member(1, &key_too_long, "1"));
    for chunk in docs.chunks(1_000) {
        store(&mut *table, 0, chunk).unwrap();
    }
    table.commit(&at(r#"{"n":1}"#)).unwrap();
    let mut expected = vec![(r#"[1,"a"]"#, "forbid"), (r#"[1,"c"]"#, "")];
    if !backend.is_sqlite() {
        expected.push(("[1,\"一", "(54000)"));
    }
    let found = dead_letters(backend);
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, (key, reason)) in found.iter().zip(&expected) {
        assert!(found[0].starts_with(key) && found[2].contains(reason), "{found:?}");
    }
    assert_eq!(table.report().set_aside, expected.len() as u64);
    let rows = backend.query("SELECT COUNT(*) FROM members");
    assert_eq!(rows, [[(docs.len() - expected.len()).to_string()]]);
    assert_eq!(backend.query("SELECT checkpoint FROM flow_checkpoints_v1"), [[at(r#"{"n":1}"#)]]);
}

fn what_is_set_aside_is_of_the_transaction(backend: &Backend<'_>) {
    let bad = || doc(json!([1, "bad"]), json!([null, true, {}]), "{}");
    let mut older = open(backend);
    store(&mut *older, 0, &[bad()]).unwrap();
    drop(older);
    let mut older = open(backend);
    drop(open(backend));
    store(&mut *older, 0, &[bad()]).unwrap();
    assert_eq!(older.commit(&at("{}")).unwrap_err().fault, Fault::Fenced);
    assert!(dead_letters(backend).is_empty(), "neither was committed");
}

/// Only a row that changes is written.
fn rows_that_are_as_they_were(backend: &Backend<'_>) {
    let mut table = open(backend);
    store(&mut *table, 0, &[member(1, "a", "1"), member(1, "b", "1")]).unwrap();
    table.commit(&at("{}")).unwrap();
    backend.run("CREATE TABLE updates (name TEXT)");
    backend.run(if backend.is_sqlite() {
        "CREATE TRIGGER told AFTER UPDATE ON members BEGIN INSERT INTO updates VALUES (NEW.user); END"
    } else {
        "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN INSERT INTO updates VALUES (NEW.\"user\"); RETURN NEW; END';
        CREATE TRIGGER told AFTER UPDATE ON members FOR EACH ROW EXECUTE FUNCTION tell()"
    });
    store(&mut *table, 0, &[member(1, "a", "1"), member(1, "b", "2"), member(1, "c", "1")]).unwrap();
    table.commit(&at("{}")).unwrap();
    assert_eq!(backend.query("SELECT name FROM updates"), [["b"]]);
}

/// Names that a database would take for the same, as it looks at so much of them only.
fn long_names(backend: &Backend<'_>) {
    let long = "x".repeat(70);
    let (a, b) = (format!("{long}a"), format!("{long}b"));
    let fields: [Field<'_>; 3] = [
        ("id", "/id", Types::INTEGER, true, true),
        (&a, "/a", Types::STRING, false, false),
        (&b, "/b", Types::STRING, false, false),
    ];
    let mut table = try_open(backend, "acme/long", &[("long", &fields, false)]).unwrap();
    store(&mut *table, 0, &[doc(json!([1]), json!(["of a", "of b"]), "{}")]).unwrap();
    table.commit(&at("{}")).unwrap();
    drop(table);
    try_open(backend, "acme/long", &[("long", &fields, false)]).unwrap();
    assert_eq!(backend.query("SELECT * FROM long"), [["1", "of a", "of b", "{}"]]);
}

fn an_older_owner_is_fenced(backend: &Backend<'_>) {
    let mut older = open(backend);
    store(&mut *older, 0, &[member(1, "a", "1")]).unwrap();
    older.commit(&at(r#"{"n":1}"#)).unwrap();

    let mut newer = open(backend);
    assert_eq!(newer.checkpoint().unwrap(), at(r#"{"n":1}"#));
    store(&mut *older, 0, &[member(1, "a", "2"), member(1, "b", "2")]).unwrap();
    let error = older.commit(&at(r#"{"n":2}"#)).unwrap_err();
    assert_eq!((error.fault, error.retry), (Fault::Fenced, Retry::Never));
    let members = || backend.query(r#"SELECT "user", "last" FROM "members" ORDER BY 1"#);
    assert_eq!(members(), [["a", "1"]]);
    assert_eq!(backend.query("SELECT checkpoint FROM flow_checkpoints_v1"), [[at(r#"{"n":1}"#)]]);

    store(&mut *newer, 0, &[member(1, "a", "3")]).unwrap();
    newer.commit(&at(r#"{"n":3}"#)).unwrap();
    assert_eq!(members(), [["a", "3"]]);
    assert_eq!(older.commit(&at(r#"{"n":4}"#)).unwrap_err().fault, Fault::Fenced);
    assert_eq!(backend.query("SELECT checkpoint FROM flow_checkpoints_v1"), [[at(r#"{"n":3}"#)]]);
}

fn parts_of_the_keys(backend: &Backend<'_>) {
    const HALVES: [KeyRange; 2] =
        [KeyRange { begin: 0, end: 0x7fff_ffff }, KeyRange { begin: 0x8000_0000, end: u32::MAX }];
    open(backend).commit(&at(r#"{"n":10}"#)).unwrap();

    let mut parts = HALVES.map(|half| open_range(backend, half));
    for ((n, part), half) in parts.iter_mut().enumerate().zip(HALVES) {
        assert_eq!(part.checkpoint().unwrap(), at_range(half, r#"{"n":10}"#));
        store(&mut **part, 0, &[member(n as i64, "a", "1")]).unwrap();
        part.commit(&at_range(half, &format!(r#"{{"n":{n}}}"#))).unwrap();
    }
    // A later owner of one key fences one of them.
    let edge = KeyRange { begin: 0x7fff_ffff, end: 0x7fff_ffff };
    assert_eq!(open_range(backend, edge).checkpoint().unwrap(), at_range(edge, r#"{"n":0}"#));
    let [mut one, mut two] = parts;
    store(&mut *one, 0, &[member(0, "a", "2")]).unwrap();
    assert_eq!(one.commit(&at_range(HALVES[0], "{}")).unwrap_err().fault, Fault::Fenced);
    store(&mut *two, 0, &[member(1, "a", "2")]).unwrap();
    two.commit(&at_range(HALVES[1], r#"{"n":2}"#)).unwrap();
    assert_eq!(
        backend.query("SELECT key_begin, key_end FROM flow_checkpoints_v1 ORDER BY 1"),
        [["0", "2147483646"], ["2147483647", "2147483647"], ["2147483648", "4294967295"]]
    );

    let mut whole = open(backend);
    assert_eq!(two.commit(&at_range(HALVES[1], "{}")).unwrap_err().fault, Fault::Fenced);
    let pieces = [at_range(HALVES[0], r#"{"n":0}"#), at_range(HALVES[1], r#"{"n":2}"#)].join(",").replace("],[", ",");
    assert_eq!(whole.checkpoint().unwrap(), pieces);
    whole.commit(&at(r#"{"n":3}"#)).unwrap();
    assert_eq!(
        backend.query("SELECT key_begin, key_end, checkpoint FROM flow_checkpoints_v1"),
        [["0".to_owned(), "4294967295".to_owned(), at(r#"{"n":3}"#)]]
    );
    assert_eq!(backend.query(r#"SELECT "vendor", "last" FROM "members" ORDER BY 1"#), [["0", "1"], ["1", "2"]]);
}

/// A table that is gone was filled by somebody, if not by the owner that looks for it.
fn a_table_that_another_part_filled(backend: &Backend<'_>) {
    let [one, two] = [0, 1].map(|n| KeyRange::nth(n, 2));
    open_range(backend, one).commit(&at_range(one, "{}")).unwrap();
    backend.run("DROP TABLE members");
    let message = refused(try_open_range(backend, "acme/tables", &[("members", &FIELDS, false)], two));
    assert!(message.contains("table members is gone"), "{message}");
}

/// Both write to one table, and neither waits for more than the other's transaction.
fn parts_at_work_at_the_same_time(backend: &Backend<'_>) {
    const ROUNDS: i64 = 25;
    let parts = [0, 1].map(|n| (n, KeyRange::nth(n, 2))).map(|(n, range)| (n, range, open_range(backend, range)));
    std::thread::scope(|scope| {
        for (n, range, mut table) in parts {
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let exists = load(&mut *table, json!([[n, "a"]])).len() == 1;
                    assert_eq!(exists, round > 0);
                    let rows = [member(n.into(), "a", &round.to_string())];
                    store(&mut *table, 0, &rows).unwrap();
                    table.commit(&at_range(range, &format!(r#"{{"n":{round}}}"#))).unwrap();
                }
            });
        }
    });
    let last = (ROUNDS - 1).to_string();
    assert_eq!(backend.query(r#"SELECT "vendor", "last" FROM "members" ORDER BY 1"#), [["0", &*last], ["1", &*last]]);
}

/// A restored backup brings the counter back, and with it the number an owner believes in.
/// Would catch a process that was paused while another went on in its place, wakes, and goes on itself.
fn an_older_owner_does_not_take_the_table_back(backend: &Backend<'_>) {
    let bindings: &[(&str, &[Field<'_>], bool)] = &[("members", &FIELDS, false)];
    let open_by = |process: &connectors::Builtin| try_open_by(process, backend, "acme/tables", bindings, KeyRange::ALL);
    let (paused, successor) = (builtin(), builtin());
    drop(open_by(&paused).unwrap());
    // It opens again what is still its own, as after a lost connection; a database that was put back is its own as well.
    let mut table = open_by(&paused).unwrap();
    table.commit(&at("{}")).unwrap();
    let nonce = backend.query("SELECT nonce FROM flow_checkpoints_v1").remove(0).remove(0);
    drop(open_by(&paused).unwrap());
    backend.run(&format!("UPDATE flow_checkpoints_v1 SET nonce = '{nonce}'"));
    drop(open_by(&paused).unwrap());

    let mut table = open_by(&successor).unwrap();
    for _ in 0..2 {
        let error = open_by(&paused).err().expect("it was taken back");
        assert_eq!((error.fault, error.retry), (Fault::Fenced, Retry::Never));
    }
    table.commit(&at(r#"{"n":1}"#)).unwrap();
    assert_eq!(open(backend).checkpoint().unwrap(), at(r#"{"n":1}"#), "started anew, a process does take over");
}

fn an_owner_is_fenced_by_the_nonce(backend: &Backend<'_>) {
    let mut owner = open(backend);
    backend.run("UPDATE flow_checkpoints_v1 SET nonce = 'of another'");
    assert_eq!(owner.commit(&at("{}")).unwrap_err().fault, Fault::Fenced);
    backend.run("DELETE FROM flow_checkpoints_v1");
    assert_eq!(open(backend).checkpoint(), None);
    backend.run("DELETE FROM flow_checkpoints_v1");
    assert_eq!(owner.commit(&at("{}")).unwrap_err().fault, Fault::Fenced);
}

fn what_was_not_committed_is_gone(backend: &Backend<'_>) {
    let mut table = open(backend);
    store(&mut *table, 0, &[member(1, "a", "1")]).unwrap();
    drop(table);
    let mut table = open(backend);
    assert_eq!(table.checkpoint(), None);
    assert!(load(&mut *table, json!([[1, "a"]])).is_empty());
}

fn deleted_documents(backend: &Backend<'_>) {
    let mut table = open(backend);
    store(&mut *table, 0, &[member(1, "a", "1"), member(1, "b", "1")]).unwrap();
    table.commit(&at("{}")).unwrap();
    let gone = |user| Doc { delete: true, ..member(1, user, "2") };
    store(&mut *table, 0, &[gone("a"), member(1, "c", "2"), gone("never")]).unwrap();
    table.commit(&at("{}")).unwrap();
    assert_eq!(backend.query(r#"SELECT "user" FROM "members" ORDER BY 1"#), [["b"], ["c"]]);
}

fn delta_updates(backend: &Backend<'_>) {
    let mut table = try_open(backend, "acme/tables", &[("members", &FIELDS, true)]).unwrap();
    for last in ["1", "2"] {
        store(&mut *table, 0, &[member(1, "a", last), member(1, "b", last)]).unwrap();
        table.commit(&at("{}")).unwrap();
    }
    assert_eq!(
        backend.query(r#"SELECT "user", "last" FROM "members" ORDER BY 1, 2"#),
        [["a", "1"], ["a", "2"], ["b", "1"], ["b", "2"]]
    );
    drop(table);
    let message = refused(try_open(backend, "acme/tables", &[("members", &FIELDS, false)]));
    assert!(message.contains(r#"its column "vendor" is no part of its key, and should be part 1 of"#), "{message}");
}

fn several_bindings(backend: &Backend<'_>) {
    let bindings: [(&str, &[Field<'_>], bool); 2] = [("one", &FIELDS, false), ("two", &FIELDS, false)];
    let mut table = try_open(backend, "acme/both", &bindings).unwrap();
    let mut other = try_open(backend, "acme/other", &[("three", &FIELDS, false)]).unwrap();
    store(&mut *table, 0, &[member(1, "a", "1")]).unwrap();
    store(&mut *table, 1, &[member(1, "a", "2")]).unwrap();
    store(&mut *table, 0, &[member(1, "b", "1")]).unwrap();
    table.commit(&at(r#"{"both":1}"#)).unwrap();
    store(&mut *other, 0, &[member(1, "a", "3")]).unwrap();
    other.commit(&at(r#"{"other":1}"#)).unwrap();
    table.commit(&at(r#"{"both":2}"#)).unwrap();
    let count = |table: &str| backend.query(&format!("SELECT COUNT(*) FROM {table}"))[0][0].clone();
    assert_eq!(["one", "two", "three"].map(count), ["2", "1", "1"]);
    assert_eq!(
        backend.query("SELECT materialization, checkpoint FROM flow_checkpoints_v1 ORDER BY 1"),
        [["acme/both".to_owned(), at(r#"{"both":2}"#)], ["acme/other".to_owned(), at(r#"{"other":1}"#)]]
    );
}

fn tables_of_others(backend: &Backend<'_>) {
    backend.run("CREATE TABLE taken (a INTEGER)");
    let message = refused(try_open(backend, "acme/tables", &[("fresh", &FIELDS, false), ("taken", &FIELDS, false)]));
    assert!(message.contains("table taken exists already and was not made for acme/tables"), "{message}");
    backend.run("CREATE TABLE fresh (a INTEGER)"); // Nothing of what failed was kept.
    drop(open(backend));
    let message = refused(try_open(backend, "acme/more", &[("members", &FIELDS, false)]));
    assert!(message.contains("was not made for acme/more"), "{message}");
}

fn tables_of_another_catalog(backend: &Backend<'_>) {
    open(backend).commit(&at("{}")).unwrap();
    let with = |change: fn(&mut Vec<Field<'static>>)| {
        let mut fields = FIELDS.to_vec();
        // Something that could be done alone is not done, either.
        fields.push(("more", "/more", Types::STRING, false, false));
        change(&mut fields);
        refused(try_open(backend, "acme/tables", &[("members", &fields, false)]))
    };
    for (message, reason) in [
        (with(|fields| fields[2].2 = Types::INTEGER), "its column \"last\" is TEXT, not "),
        (with(|fields| fields.swap(0, 1)), "its column \"user\" is part 2 of its key, and should be part 1 of"),
        (with(|fields| fields[1].4 = false), "its column \"user\" is part 2 of its key, and should be no part of"),
        (
            with(|fields| fields.retain(|field| field.0 != "user")),
            "its column \"user\" is part 2 of its key, and is not kept any more",
        ),
        (with(|fields| fields.push(("k", "/k", Types::STRING, true, true))), "it has no column \"k\""),
    ] {
        assert!(message.contains(reason), "{message}");
    }
    assert_eq!(backend.query("SELECT * FROM members"), [[""; 0]; 0]);
    let columns = if backend.is_sqlite() {
        "pragma_table_info('members')"
    } else {
        "pg_attribute WHERE attrelid = to_regclass('members') AND attnum > 0"
    };
    assert_eq!(backend.query(&format!("SELECT COUNT(*) FROM {columns}")), [["6"]]);
    assert_eq!(open(backend).checkpoint().unwrap(), at("{}"), "what is refused changes nothing");

    backend.run("DROP TABLE members");
    let message = refused(try_open(backend, "acme/tables", &[("members", &FIELDS, false)]));
    assert!(message.contains("table members is gone"), "{message}");
    backend.run("DELETE FROM flow_checkpoints_v1");
    assert_eq!(open(backend).checkpoint(), None);
}

fn a_catalog_that_changes(backend: &Backend<'_>) {
    let mut table = open(backend);
    store(&mut *table, 0, &[member(1, "a", "1"), member(1, "b", "1")]).unwrap();
    table.commit(&at(r#"{"n":1}"#)).unwrap();
    assert!(table.report().notes.is_empty());
    drop(table);
    let reopen = |fields: &[Field<'_>]| {
        let mut table = try_open(backend, "acme/tables", &[("members", fields, false)]).unwrap();
        assert_eq!(table.checkpoint().unwrap(), at(r#"{"n":1}"#));
        let notes = table.report().notes;
        (table, notes)
    };
    let rows = || backend.query("SELECT * FROM members ORDER BY \"user\"");

    // A field more, one that must be there, and two fewer, of which one had to be there.
    let mut fields = FIELDS.to_vec();
    fields.truncate(3);
    fields[2] = ("first", "/first", Types::STRING, true, false);
    let (mut table, notes) = reopen(&fields);
    let said = |part: &str| notes.iter().any(|note| note.contains(part));
    assert!(said("new column \"first\"") && said("\"last\" of table members is not kept up any more"), "{notes:?}");
    assert!(said("\"member\" of table members") && said("\"segment\" of table members"), "{notes:?}");
    let document = r#"{"new":true}"#;
    let changed = |user: &str| doc(json!([1, user]), json!([format!("first of {user}")]), document);
    store(&mut *table, 0, &[changed("b"), changed("c")]).unwrap();
    table.commit(&at(r#"{"n":1}"#)).unwrap();
    let of =
        |user: &str, columns: &str| backend.query(&format!("SELECT {columns} FROM members WHERE \"user\" = '{user}'"));
    assert_eq!(of("a", "\"last\", \"first\""), [["1", "NULL"]]);
    assert_eq!(of("b", "\"last\", \"first\", flow_document"), [["1", "first of b", document]]);
    assert_eq!(of("c", "\"last\", \"first\", flow_document"), [["NULL", "first of c", document]]);
    drop(table);
    let (table, notes) = reopen(&fields);
    assert!(notes.is_empty(), "said once: {notes:?}");
    drop(table);

    // A field that comes back has no values from before.
    let (mut table, notes) = reopen(&FIELDS);
    assert!(notes.iter().any(|note| note.contains("new column \"last\"")), "{notes:?}");
    assert_eq!(of("a", "\"last\", \"first\""), [["NULL", "NULL"]]);
    store(&mut *table, 0, &[member(1, "a", "2")]).unwrap();
    table.commit(&at(r#"{"n":1}"#)).unwrap();
    assert_eq!(of("a", "\"last\", \"member\""), [["2", "1"]]);
    assert_eq!(rows().len(), 3);
    assert!(dead_letters(backend).is_empty());
}

fn many_rows(backend: &Backend<'_>) {
    const ROWS: i64 = 25_000;
    let mut table = open(backend);
    let docs: Vec<Doc> = (0..ROWS).map(|n| member(n % 10, &format!("usr-{n:06x}"), "2021-07-22T21:00:00Z")).collect();
    for round in ["inserts", "updates"] {
        let start = Instant::now();
        store(&mut *table, 0, &docs).unwrap();
        table.commit(&at("{}")).unwrap();
        println!("{round}: {:.0} rows/s", ROWS as f64 / start.elapsed().as_secs_f64());
    }
    let keys: Vec<Value> = docs.iter().map(|doc| json!(doc.key)).collect();
    let start = Instant::now();
    assert_eq!(load(&mut *table, json!(keys)).len(), docs.len());
    println!("loads: {:.0} rows/s", ROWS as f64 / start.elapsed().as_secs_f64());
    assert_eq!(backend.query("SELECT COUNT(*) FROM members"), [[ROWS.to_string()]]);
}

/// The server may go away at any time; what was committed is there when it is back.
fn lost_connections(cluster: &mut Postgres) {
    let mut table = open(&Backend::postgres(cluster, "lost"));
    store(&mut *table, 0, &[member(1, "a", "1")]).unwrap();
    table.commit(&at(r#"{"n":1}"#)).unwrap();
    store(&mut *table, 0, &[member(1, "a", "2")]).unwrap();
    cluster.kill_9();
    // The session's own process may outlive the server's by a moment, and what fails may have been done.
    let mut committed = 1;
    let position = |n: u32| at(&format!(r#"{{"n":{n}}}"#));
    let error = loop {
        match table.commit(&position(committed + 1)) {
            Ok(()) => committed += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error.fault, error.retry), (Fault::Endpoint, Retry::Later), "{error}");
    let error = try_open(&Backend::of_schema(cluster, "lost"), "acme/tables", &[("members", &FIELDS, false)]).err();
    assert_eq!(error.map(|error| (error.fault, error.retry)), Some((Fault::Endpoint, Retry::Later)));
    cluster.restart();
    let mut table = open(&Backend::of_schema(cluster, "lost"));
    let found = table.checkpoint().unwrap();
    assert!([position(committed), position(committed + 1)].iter().any(|position| *position == found), "{found}");
    assert_eq!(load(&mut *table, json!([[1, "a"]])).len(), 1);
}
