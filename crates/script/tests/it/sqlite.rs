//! SQLite lambdas: what each rule makes of documents, what is refused, and that a database is exactly what was committed.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use catalog::{BindingRules, Catalog, Collection, ConfigError, Endpoint, Fetch, FetchError, Host, Module, ModuleError};
use doc::Arena;
use runtime::{LambdaError, Lambdas, Publish};
use serde_json::Value;
use url::Url;

/// A host for catalogs without endpoints.
pub(crate) struct NoHost;

impl Host for NoHost {
    fn check_capture(&self, _: &Endpoint, _: &[&Value]) -> Result<(), Vec<ConfigError>> {
        Ok(())
    }
    fn check_binding(&self, _: &Endpoint, _: &Value, _: &Collection) -> Result<BindingRules, Vec<ConfigError>> {
        Err(Vec::new())
    }
    fn check_module(&self, _: &Module, _: &[&str]) -> Result<(), Vec<ModuleError>> {
        Ok(())
    }
}

struct One(String);

impl Fetch for One {
    fn fetch(&self, url: &Url) -> Result<String, FetchError> {
        if url.path() == "/flow.yaml" { Ok(self.0.clone()) } else { Err(FetchError::Missing) }
    }
}

const SOURCE: &str = r#"
collections:
  t/source:
    schema:
      type: object
      properties:
        id: { type: integer }
        flag: { type: boolean }
        amount: { type: number }
        text: { type: string }
        digits: { type: string, format: integer }
        decimal: { type: string, format: number }
        bytes: { type: string, contentEncoding: base64 }
        place: { type: object, properties: { lat: { type: number }, "the street": { type: string } } }
        list: { type: array }
        two-words: { type: string }
        a space: { type: string }
      required: [id]
    key: [/id]
    projections:
      renamed: /text
  t/derived:
    schema: { type: object, properties: { id: { type: integer }, done: { type: boolean } }, required: [id] }
    key: [/id]
    derive:
"#;

/// A catalog with one derivation of this SQL; `t/source` is read by each lambda.
fn catalog(migrations: &[&str], lambdas: &[&str]) -> Catalog {
    let transforms = lambdas.iter().enumerate().map(|(n, lambda)| {
        serde_json::json!({ "name": format!("from{n}"), "source": "t/source", "shuffle": "any", "lambda": lambda })
    });
    let derive = serde_json::json!({
        "using": { "sqlite": { "migrations": migrations } },
        "transforms": transforms.collect::<Vec<_>>(),
    });
    let text = format!("{SOURCE}      {}\n", derive);
    let built = catalog::build(&Url::parse("file:///flow.yaml").unwrap(), &One(text), &NoHost);
    assert!(built.diagnostics.is_empty(), "{:#?}", built.diagnostics);
    built.catalog
}

/// What a log would keep of the lambdas' changes.
type Store = BTreeMap<Vec<u8>, Vec<u8>>;

fn open(catalog: &Catalog, scratch: Option<&Path>, store: &Store) -> Result<Box<dyn Lambdas>, LambdaError> {
    let kept = |keys: &[&[u8]]| Ok(keys.iter().map(|key| store.get(*key).cloned().map(Bytes::from)).collect());
    script::open(catalog, catalog.collection("t/derived").unwrap(), scratch, true, script::Limits::default(), &kept)
}

fn commit(lambdas: &mut dyn Lambdas, store: &mut Store) {
    for (key, value) in lambdas.changes().unwrap() {
        match value {
            Some(value) => store.insert(key.to_vec(), value.to_vec()),
            None => store.remove(&key[..]),
        };
    }
}

/// Publishes for documents, and gives all of it as JSON.
fn publish(lambdas: &mut dyn Lambdas, transform: usize, sources: &[&str]) -> Result<String, LambdaError> {
    let arena = Arena::new();
    let node = |text: &&str| doc::parse(&arena, arena.alloc_str(text).as_bytes()).unwrap();
    let call = |text| Publish { source: node(text), register: doc::Node::Null, previous: doc::Node::Null };
    let calls: Vec<_> = sources.iter().map(call).collect();
    let rows = lambdas.publish(&arena, transform, &calls)?;
    assert_eq!(rows.ends.len(), sources.len());
    Ok(rows.documents.iter().map(|d| d.to_json()).collect::<Vec<_>>().join(" "))
}

const FULL: &str = r#"{"id":7,"flag":true,"amount":1.5,"text":"x","digits":"42","decimal":"2.50","bytes":"aGk=",
    "place":{"lat":3.25,"the street":"Main"},"list":[1,"a"],"two-words":"tw","a space":"sp"}"#;

/// A rule, a lambda, a source, and what is published or the message.
const RULES: &[(&str, &str, &str, &str)] = &[
    ("a passed-through parameter takes its field's name", "SELECT $id, $text;", FULL, r#"{"id":7,"text":"x"}"#),
    ("a nested one stays flat", "SELECT $place$lat;", FULL, r#"{"place/lat":3.25}"#),
    ("another column has its own name", "SELECT $id AS n, $text || 'y' AS t;", FULL, r#"{"n":7,"t":"xy"}"#),
    (
        "only the name of a column counts",
        "WITH t AS (SELECT $id, $flag) SELECT t.* FROM t;",
        FULL,
        r#"{"flag":1,"id":7}"#,
    ),
    (
        "so is when a document was published",
        "SELECT $flow_published_at;",
        r#"{"_meta":{"uuid":"1d99902e-eb31-11eb-8401-35b56d2a9099"},"id":7}"#,
        r#"{"flow_published_at":"2021-07-22T21:09:34.746014Z"}"#,
    ),
    ("a projection is a parameter", "SELECT $renamed;", FULL, r#"{"renamed":"x"}"#),
    ("`_` stands for `-`", "SELECT $two_words;", FULL, r#"{"two-words":"tw"}"#),
    (
        "`_` stands for a space",
        "SELECT $a_space, $place$the_street;",
        FULL,
        r#"{"a space":"sp","place/the street":"Main"}"#,
    ),
    ("any field can be named", "SELECT $p::(two-words), $p::(a space);", FULL, r#"{"a space":"sp","two-words":"tw"}"#),
    ("the document is a field", "SELECT json_extract($flow_document, '$.list[1]') AS item;", FULL, r#"{"item":"a"}"#),
    (
        "types",
        "SELECT typeof($id) i, typeof($flag) f, typeof($amount) a, typeof($text) t, typeof($list) l, typeof($place) p;",
        FULL,
        r#"{"a":"real","f":"integer","i":"integer","l":"text","p":"text","t":"text"}"#,
    ),
    (
        "formats",
        "SELECT typeof($digits) d, $digits + 1 AS n, typeof($decimal) r, typeof($bytes) b, length($bytes) len;",
        FULL,
        r#"{"b":"blob","d":"integer","len":2,"n":43,"r":"real"}"#,
    ),
    (
        "formats that do not parse stay text",
        "SELECT $digits, $decimal, $bytes, typeof($bytes) AS t;",
        r#"{"id":1,"digits":"4x","decimal":"","bytes":"*"}"#,
        r#"{"bytes":"*","decimal":"","digits":"4x","t":"text"}"#,
    ),
    (
        "what is not there is null",
        "SELECT $text, $place$lat, $flag;",
        r#"{"id":1}"#,
        r#"{"flag":null,"place/lat":null,"text":null}"#,
    ),
    ("null is kept", "SELECT $id, NULL AS foo;", FULL, r#"{"foo":null,"id":7}"#),
    (
        "numbers",
        "SELECT -1 AS a, 9223372036854775807 AS b, 0.5 AS c, 1e999 AS d, -1e999 AS e;",
        FULL,
        r#"{"a":-1,"b":9223372036854775807,"c":0.5,"d":"Infinity","e":"-Infinity"}"#,
    ),
    ("large integers are rounded", "SELECT typeof($id) AS t;", r#"{"id":18446744073709551615}"#, r#"{"t":"real"}"#),
    (
        "text that looks like JSON is embedded",
        "SELECT '{\"a\":[1]}' AS a, '[true]' AS b, '{no}' AS c, '7' AS d, '{\"a\":1,\"a\":2}' AS e;",
        FULL,
        r#"{"a":{"a":[1]},"b":[true],"c":"{no}","d":"7","e":"{\"a\":1,\"a\":2}"}"#,
    ),
    (
        "arrays and objects go through",
        "SELECT $list, $place;",
        FULL,
        r#"{"list":[1,"a"],"place":{"lat":3.25,"the street":"Main"}}"#,
    ),
    (
        "a boolean of JSON is one where the schema has no text",
        "SELECT JSON('true') AS done, JSON('true') AS text, 1 AS one; SELECT 'false' AS done, 2 AS two;",
        FULL,
        r#"{"done":true,"one":1,"text":"true"} {"done":false,"two":2}"#,
    ),
    ("a blob is base64", "SELECT x'00ff' AS b, $bytes;", FULL, r#"{"b":"AP8=","bytes":"aGk="}"#),
    (
        "a single column named json is the document",
        "SELECT JSON_OBJECT('flag', JSON('true'), 'n', $id);",
        FULL,
        r#"{"flag":true,"n":7}"#,
    ),
    (
        "by any name that begins so",
        "SELECT $flow_document AS JsonOfIt;",
        r#"{"id":2,"flag":false}"#,
        r#"{"flag":false,"id":2}"#,
    ),
    ("of two columns none is the document", "SELECT json('{}'), 1 AS one;", FULL, r#"{"json('{}')":{},"one":1}"#),
    (
        "rows of every statement are published in order",
        "SELECT 1 AS a; SELECT 2 AS a UNION ALL SELECT 3; SELECT 4 AS a WHERE 0;",
        FULL,
        r#"{"a":1} {"a":2} {"a":3}"#,
    ),
    (
        "RETURNING publishes",
        "INSERT INTO seen VALUES ($id, $text) RETURNING $id, body;",
        FULL,
        r#"{"body":"x","id":7}"#,
    ),
    (
        "statements follow each other",
        "INSERT INTO seen VALUES ($id, 'a'); UPDATE seen SET body = 'b'; SELECT CHANGES() AS n, body FROM seen;",
        FULL,
        r#"{"body":"b","n":1}"#,
    ),
    (
        "quotes and comments hide semicolons",
        "SELECT 'a;b' AS x -- ; here\n, ';' /* ; */ AS y;",
        FULL,
        r#"{"x":"a;b","y":";"}"#,
    ),
    ("a comment alone does nothing", "-- Nothing is published yet.\n", FULL, ""),
    (
        "unknown parameter",
        "\n\nSELECT $plaice$lat;",
        FULL,
        "line 3 of transform from0: parameter $plaice$lat not found: did you mean $place$lat ?",
    ),
    ("unknown table", "SELECT 1;\nSELECT * FROM sen;", FULL, "line 2 of transform from0: no such table: sen"),
    ("syntax", "SELEC 1;", FULL, "line 1 of transform from0: near \"SELEC\": syntax error"),
    (
        "a mistake when it runs",
        "INSERT INTO seen VALUES (1, 'a'), (1, 'b');",
        FULL,
        "line 1 of transform from0: UNIQUE constraint failed: seen.id",
    ),
    (
        "transactions are ours",
        "SELECT 1;\nCOMMIT;",
        FULL,
        "line 2 of transform from0: ATTACH, most PRAGMAs, and transactions of its own are not for a derivation",
    ),
    (
        "other files are not to be had",
        "ATTACH 'other.db' AS other;",
        FULL,
        "line 1 of transform from0: ATTACH, most PRAGMAs, and transactions of its own are not for a derivation",
    ),
    (
        "nor are pragmas",
        "PRAGMA journal_mode = DELETE;",
        FULL,
        "line 1 of transform from0: ATTACH, most PRAGMAs, and transactions of its own are not for a derivation",
    ),
];

#[test]
fn rules() {
    let mut wrong = Vec::new();
    for (rule, lambda, source, want) in RULES {
        // A line break makes it inline.
        let catalog = catalog(&["CREATE TABLE seen (id INTEGER PRIMARY KEY,\n body TEXT);"], &[&format!("{lambda}\n")]);
        let got = open(&catalog, None, &Store::new()).and_then(|mut lambdas| publish(&mut *lambdas, 0, &[source]));
        let got = got.unwrap_or_else(|e| e.message);
        if got != *want {
            wrong.push(format!("{rule}\n  got  {got}\n  want {want}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_error_says_which_source_it_was() {
    let catalog = catalog(&["CREATE TABLE seen\n(id INTEGER PRIMARY KEY);"], &["INSERT INTO seen\nVALUES ($id);"]);
    let mut lambdas = open(&catalog, None, &Store::new()).unwrap();
    let error = publish(&mut *lambdas, 0, &[r#"{"id":1}"#, r#"{"id":2}"#, r#"{"id":1}"#]).unwrap_err();
    assert_eq!(error.source_index, Some(2));
}

#[test]
fn columns_may_change_while_it_runs() {
    let lambda = "INSERT INTO t\nVALUES ($id); SELECT * FROM t;";
    let catalog = catalog(&["CREATE TABLE t\n(a);"], &[lambda, "ALTER TABLE t RENAME COLUMN a\nTO b;"]);
    let mut lambdas = open(&catalog, None, &Store::new()).unwrap();
    assert_eq!(publish(&mut *lambdas, 0, &[r#"{"id":1}"#]).unwrap(), r#"{"a":1}"#);
    assert_eq!(publish(&mut *lambdas, 1, &[r#"{"id":1}"#]).unwrap(), "");
    assert_eq!(publish(&mut *lambdas, 0, &[r#"{"id":2}"#]).unwrap(), r#"{"b":1} {"b":2}"#);
}

#[test]
fn what_is_published_is_bounded() {
    let lambda =
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)\nSELECT randomblob(1000000) AS b FROM n;";
    let catalog = catalog(&[], &[lambda]);
    let mut lambdas = open(&catalog, None, &Store::new()).unwrap();
    let error = publish(&mut *lambdas, 0, &[r#"{"id":1}"#]).unwrap_err();
    assert_eq!(error.message, "line 1 of transform from0: more than 64 MiB are published for a block of documents");
}

const COUNT: &str =
    "INSERT INTO n VALUES ($id)\nON CONFLICT DO NOTHING; SELECT count(*) AS n, group_concat(id) AS ids FROM n;";
const N: &str = "CREATE TABLE n (id INTEGER PRIMARY KEY)\n;";

#[test]
fn reset_makes_another_database() {
    let catalog = catalog(&[N], &[COUNT]);
    let mut lambdas = open(&catalog, None, &Store::new()).unwrap();
    assert_eq!(publish(&mut *lambdas, 0, &[r#"{"id":1}"#]).unwrap(), r#"{"ids":"1","n":1}"#);
    assert!(lambdas.changes().unwrap().is_empty());
    assert_eq!(publish(&mut *lambdas, 0, &[r#"{"id":2}"#]).unwrap(), r#"{"ids":"1,2","n":2}"#);
    lambdas.reset().unwrap();
    assert_eq!(publish(&mut *lambdas, 0, &[r#"{"id":3}"#]).unwrap(), r#"{"ids":"3","n":1}"#);
}

#[test]
fn migrations_are_applied_once_and_stay_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = Some(directory.path());
    let mut store = Store::new();
    let mut turn = |migrations: &[&str]| -> Result<String, String> {
        let catalog = catalog(migrations, &[COUNT]);
        let mut lambdas = open(&catalog, path, &store).map_err(|e| e.message)?;
        let published = publish(&mut *lambdas, 0, &[r#"{"id":1}"#]).map_err(|e| e.message)?;
        commit(&mut *lambdas, &mut store);
        Ok(published)
    };
    assert_eq!(turn(&[N]).unwrap(), r#"{"ids":"1","n":1}"#);
    assert_eq!(turn(&[N]).unwrap(), r#"{"ids":"1","n":1}"#);
    let more = "INSERT INTO n\nVALUES (50);";
    assert_eq!(turn(&[N, more]).unwrap(), r#"{"ids":"1,50","n":2}"#);
    assert_eq!(turn(&[N, more]).unwrap(), r#"{"ids":"1,50","n":2}"#);
    let other = "INSERT INTO n\nVALUES (51);";
    let changed =
        "migration 2 has been applied and cannot change any more: put it back, and add another that changes the rest";
    assert_eq!(turn(&[N, other]).unwrap_err(), changed);
    assert_eq!(turn(&[N]).unwrap_err(), "migration 2 has been applied and is no longer there; put it back");
    assert_eq!(
        turn(&[N, more, "INSERT INTO nowhere\nVALUES (1);"]).unwrap_err(),
        "migration 3: no such table: nowhere"
    );
}

/// Runs, commits, crashes and starts again in a random order, with and without what is not committed, and compares the whole
/// database with one in memory that only ever saw what was committed.
#[test]
fn a_database_is_what_was_committed() {
    let directory = tempfile::tempdir().unwrap();
    // No primary key, an index, text long enough to overflow pages, deletions, and once more than SQLite's cache holds.
    let make = "CREATE TABLE t (id INT, body TEXT)\n; CREATE INDEX by_id ON t (id, body);";
    let lambdas_of = [
        "INSERT INTO t VALUES ($id, printf('%.*c', 10 + ($id % 10 = 0) * ($id % 9000),\n'x'));",
        "DELETE FROM t WHERE id % 7 = $id % 7\nAND rowid % 2 = 0; UPDATE t SET id = id + 1 WHERE id % 5 = $id % 5;",
        "INSERT INTO t SELECT $id + value, hex(zeroblob(6000)) FROM json_each('[1,2,3,4,5,6,7,8,9]')\n; DELETE FROM t WHERE id > 200000;",
        "SELECT count(*) AS n, sum(id * length(body)) AS s, max(rowid) AS r, total(rowid * id) AS w FROM t\n;",
    ];
    let catalog = catalog(&[make], &lambdas_of);
    for seed in 1..=3u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut next = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let path = directory.path().join(seed.to_string());
        let mut store = Store::new();
        let mut real = open(&catalog, Some(&path), &store).unwrap();
        let mut model = open(&catalog, None, &Store::new()).unwrap();
        for round in 0..40 {
            let most = if next(8) == 0 { 600 } else { 40 };
            let count = if round == 7 { 250 } else { 1 + next(most) };
            let calls: Vec<(usize, String)> = (0..count)
                .map(|_| ((if round == 7 { 2 } else { next(3) }) as usize, format!(r#"{{"id":{}}}"#, next(100_000))))
                .collect();
            // Mostly insertions.
            let turn = |lambdas: &mut dyn Lambdas| {
                for (n, (transform, source)) in calls.iter().enumerate() {
                    let transform = if n % 50 == 49 || round == 7 { *transform } else { 0 };
                    publish(lambdas, transform, &[source]).unwrap();
                }
            };
            turn(&mut *real);
            let committed = next(3) > 0;
            if committed {
                commit(&mut *real, &mut store);
                turn(&mut *model);
            }
            if !committed || next(3) == 0 {
                if next(2) == 0 {
                    // Committed by SQLite, and not by the log.
                    publish(&mut *real, 0, &[r#"{"id":99}"#]).unwrap();
                    real.changes().unwrap();
                }
                drop(real);
                real = open(&catalog, Some(&path), &store).unwrap();
            }
            let state = |lambdas: &mut dyn Lambdas| publish(lambdas, 3, &[r#"{"id":0}"#]).unwrap();
            assert_eq!(state(&mut *real), state(&mut *model), "seed {seed}");
        }
    }
}

#[test]
fn what_is_kept_is_what_changed() {
    let directory = tempfile::tempdir().unwrap();
    let catalog = catalog(&[N], &["INSERT INTO n VALUES ($id)\n;"]);
    let mut store = Store::new();
    let mut lambdas = open(&catalog, Some(directory.path()), &store).unwrap();
    let all: Vec<String> = (0..20_000).map(|id| format!(r#"{{"id":{id}}}"#)).collect();
    publish(&mut *lambdas, 0, &all.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    commit(&mut *lambdas, &mut store);
    assert!(store.len() > 30, "{}", store.len());
    publish(&mut *lambdas, 0, &[r#"{"id":20000}"#]).unwrap();
    let changes = lambdas.changes().unwrap();
    assert!(changes.len() <= 5, "{} pages for one row", changes.len());
    assert!(lambdas.changes().unwrap().is_empty());
}
