//! What a build is told: mistakes in configurations, and what may be kept of a collection.

use std::fs;

use catalog::{BindingRules, Collection, ConfigAt, ConfigError, Constraint, Endpoint, Host, Module, ModuleError};
use doc::Types;
use serde_json::{Value, json};

use crate::fixture::{builtin, collection, endpoint};

/// A build asks this crate, and no script engine.
struct Builtins;

impl Host for Builtins {
    fn check_capture(&self, endpoint: &Endpoint, resources: &[&Value]) -> Result<(), Vec<ConfigError>> {
        connectors::check_capture(endpoint, resources)
    }
    fn check_binding(
        &self,
        endpoint: &Endpoint,
        resource: &Value,
        collection: &Collection,
    ) -> Result<BindingRules, Vec<ConfigError>> {
        connectors::check_binding(endpoint, resource, collection)
    }
    fn check_module(&self, _: &Module, _: &[&str]) -> Result<(), Vec<ModuleError>> {
        Ok(())
    }
}

fn shown(errors: Vec<ConfigError>) -> Vec<String> {
    let at = |at| match at {
        ConfigAt::Connector => "connector".to_owned(),
        ConfigAt::Config(pointer) => format!("config{pointer}"),
        ConfigAt::Resource(n, pointer) => format!("resource {n}{pointer}"),
    };
    let hint = |hint: Option<String>| hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
    errors.into_iter().map(|error| format!("{}: {}{}", at(error.at), error.message, hint(error.hint))).collect()
}

#[test]
fn mistakes_in_captures() {
    let cases: [(&str, Value, &[Value], &[&str]); 12] = [
        (
            "source-fil",
            json!({}),
            &[],
            &[
                "connector: there is no capture connector `source-fil` (did you mean `source-file`? there are `event-generator`, `source-file`, `source-http-ingest`)",
            ],
        ),
        (
            "source-kafka",
            json!({}),
            &[],
            &[
                "connector: there is no capture connector `source-kafka` (there are `event-generator`, `source-file`, `source-http-ingest`)",
            ],
        ),
        (
            "source-file",
            json!({"follow": "no"}),
            &[json!({"stream": "-", "format": "xml"}), json!({"stream": "a.csv", "format": "csv"})],
            &[
                "config/follow: `follow` must be true or false, not a string",
                "resource 0/format: there is no such format (there are `lines`, `json`, `csv` and `tsv`; without it the name of the file says)",
            ],
        ),
        (
            "local",
            json!({"comand": ["x"], "memoryMiB": -1}),
            &[json!({"stream": "a", "syncMode": "full"}), json!({"stream": "b"}), json!({"stream": "b"})],
            &[
                "config/command: `command` is missing or empty (a program and its arguments, such as `[python3, source.py]`)",
                "config/memoryMiB: `memoryMiB` must be an integer of zero or more, not a number of another kind",
                "resource 0/syncMode: there is no such mode (there are `incremental` and `full_refresh`)",
                "resource 2: another binding of this capture has the stream \"b\" already (derive a second collection from the first one instead)",
            ],
        ),
        (
            "event-generator",
            json!({"segmentCardinality": 10, "userCardinality": 10}),
            &[json!({"stream": "segmentation-events", "syncMode": "incremental"})],
            &[],
        ),
        (
            "event-generator",
            json!({"maxEventsPerSecond": 0, "seed": -1, "segmentCardinalty": 5, "userCardinality": "many"}),
            &[json!({"stream": "events"})],
            &[
                "config/seed: `seed` must be an integer of zero or more, not a number of another kind",
                "config: `segmentCardinality` is missing (how many segments there are, such as 1000)",
                "config/userCardinality: `userCardinality` must be an integer of zero or more, not a string",
                "config/maxEventsPerSecond: must be between 1 and 10000000",
                "resource 0/stream: there is no such stream (the only one is `segmentation-events`)",
            ],
        ),
        ("source-file", json!({"root": "x"}), &[json!({"stream": "a/*.gz"}), json!({"stream": "b"})], &[]),
        (
            "source-file",
            json!({"root": "http://host/x"}),
            &[json!({"stream": "../x"}), json!({"stream": "y"}), json!({"stream": "y"}), json!("z")],
            &[
                "config/root: only files of this machine can be used",
                "resource 0/stream: this names nothing below the root (a relative path without empty, `.` and `..` components; `*`, `?` and `**` are wildcards)",
                "resource 2: another binding of this capture has the stream \"y\" already (derive a second collection from the first one instead)",
                "resource 3: the resource must be an object, not a string",
            ],
        ),
        ("source-http-ingest", json!({}), &[json!({"name": "a"}), json!({"name": "b"}), json!({})], &[]),
        ("source-http-ingest", json!({"port": 1}), &[], &[]),
        (
            "source-http-ingest",
            json!({}),
            &[json!({"name": "a"}), json!({"name": "a"})],
            &[
                "resource 1: another binding of this capture has the stream \"a\" already (derive a second collection from the first one instead)",
            ],
        ),
        (
            "source-http-ingest",
            json!({}),
            &[json!({"name": 1})],
            &["resource 0/name: `name` must be a string, not a number of another kind"],
        ),
    ];
    for (connector, config, resources, expected) in cases {
        let endpoint = endpoint(connector, "file:///a.yaml", config);
        let resources: Vec<&Value> = resources.iter().collect();
        let found = connectors::check_capture(&endpoint, &resources).err().map(shown).unwrap_or_default();
        assert_eq!(found, expected);
    }
}

/// Catalogs that were made for other connectors of the same names have fields that these do not use.
#[test]
fn what_is_not_used_is_told() {
    let cases: [(&str, Value, &[Value], &[&str]); 7] = [
        (
            "event-generator",
            json!({"segmentCardinalty": 5}),
            &[json!({"stream": "x", "syncMode": "incremental"})],
            &["config/segmentCardinalty: segmentCardinality"],
        ),
        ("source-file", json!({"root": "x", "onInvalid": "halt"}), &[json!({"stream": "a", "cursorField": []})], &[]),
        (
            "source-http-ingest",
            json!({"tokens": [], "paths": ["/a"], "token": "x"}),
            &[json!({"name": "a"}), json!({"stream": "a", "path": "/a"})],
            &["config/paths", "config/token: tokens", "resource 1/path"],
        ),
        (
            "materialize-postgres",
            json!({"address": "h", "user": "u", "password": "p", "advanced": {}, "networkTunnel": {"a/b": 1}}),
            &[json!({"table": "t", "schema": "s", "deltaUpdates": true, "a/b~": 1})],
            &["config/advanced", "config/networkTunnel", "resource 0/a~1b~0", "resource 0/deltaUpdates: delta_updates"],
        ),
        (
            "materialize-sqlite",
            json!({"path": "x", "wal": true}),
            &[json!({"tabel": "t"})],
            &["config/wal", "resource 0/tabel: table"],
        ),
        (
            "materialize-webhook",
            json!({"address": "https://h", "timeout": 5}),
            &[json!({"relativePath": "x"})],
            &["config/timeout"],
        ),
        ("materialize-snowflake", json!({"any": 1}), &[json!({"thing": 1})], &[]),
    ];
    for (connector, config, resources, expected) in cases {
        let endpoint = endpoint(connector, "file:///a.yaml", config);
        let found = connectors::unused(&endpoint, &resources.iter().collect::<Vec<_>>());
        let shown = found.into_iter().map(|unused| {
            let at = match unused.at {
                ConfigAt::Config(pointer) => format!("config{pointer}"),
                ConfigAt::Resource(n, pointer) => format!("resource {n}{pointer}"),
                ConfigAt::Connector => "connector".to_owned(),
            };
            assert!(at.ends_with(&unused.name) || at.ends_with("a~1b~0"));
            unused.near.map_or(at.clone(), |near| format!("{at}: {near}"))
        });
        assert_eq!(shown.collect::<Vec<_>>(), expected, "{connector}");
    }
}

#[test]
fn mistakes_in_materializations() {
    let postgres = json!({"host": "h", "user": "u", "password": "p"});
    let long = "x".repeat(64);
    let cases: [(&str, Value, Value, &[&str]); 21] = [
        (
            "materialize-postgresql",
            json!({}),
            json!({}),
            &[
                "connector: there is no materialization connector `materialize-postgresql` (did you mean `materialize-postgres`? there are `materialize-postgres`, `materialize-sqlite`, `materialize-webhook`)",
            ],
        ),
        ("materialize-sqlite", json!({"path": ":memory:"}), json!({"table": "t"}), &[]),
        (
            "materialize-postgres",
            json!({"address": "h", "user": "u", "credentials": {"auth_type": "UserPassword", "password": "p"}}),
            json!({"table": "t"}),
            &[],
        ),
        (
            "materialize-sqlite",
            json!({}),
            json!({"tabel": "t"}),
            &[
                "config: `path` is missing (the database file, relative to this catalog file, or `:memory:`)",
                "resource 0: `table` is missing (the table to keep the documents in)",
            ],
        ),
        (
            "materialize-sqlite",
            json!({"path": "x.db"}),
            json!({"table": "FLOW_checkpoints_v1"}),
            &["resource 0/table: this name is reserved (choose another)"],
        ),
        ("materialize-postgres", postgres.clone(), json!({"table": "t", "schema": "s", "delta_updates": true}), &[]),
        (
            "materialize-postgres",
            postgres.clone(),
            json!({"table": long}),
            &["resource 0/table: the name is 64 bytes long, and may be 63 at most"],
        ),
        (
            "materialize-postgres",
            postgres.clone(),
            json!({"table": "", "delta_updates": "yes"}),
            &[
                "resource 0/delta_updates: `delta_updates` must be true or false, not a string",
                "resource 0/table: a name must not be empty",
            ],
        ),
        (
            "materialize-postgres",
            json!({"address": "h:5433", "user": "u", "password": "p", "database": "d", "schema": "s"}),
            json!({"table": "t"}),
            &[],
        ),
        (
            "materialize-postgres",
            json!({"address": "h:x", "host": "h", "user": "u", "password": "p"}),
            json!({"table": "t"}),
            &[
                "config/address: `address` says again what `host` and `port` say (give one or the other)",
                "config/address: what follows the colon is no port (write it as `host:port`)",
            ],
        ),
        (
            "materialize-postgres",
            json!({"host": "h", "port": 70000, "user": "u", "pasword": "p"}),
            json!({"table": "t"}),
            &["config/port: a port is between 1 and 65535", "config: `password` is missing (the role's password)"],
        ),
        ("materialize-webhook", json!({"address": "http://localhost:9000/"}), json!({"relativePath": "/toggles"}), &[]),
        ("materialize-webhook", json!({"endpoint": "https://host/x"}), json!({}), &[]),
        (
            "materialize-webhook",
            json!({"address": "localhost:9000"}),
            json!({}),
            &["config/address: this is not an HTTP URL (write it as `https://host/path`)"],
        ),
        (
            "materialize-webhook",
            json!({"address": "http://me:secret@host/"}),
            json!({}),
            &["config/address: a URL is kept and shown, so it may hold no password"],
        ),
        (
            "materialize-postgres",
            json!({"host": "h", "user": "u", "password": "p", "sslmode": "verify", "sslrootcert": "http://h/ca.pem"}),
            json!({"table": "segtide_dead_letters"}),
            &[
                "config/sslmode: there is no such mode (one of `disable`, `prefer`, `require`, `verify-ca` and `verify-full`)",
                "config/sslrootcert: only files of this machine can be used",
                "resource 0/table: this name is reserved (choose another)",
            ],
        ),
        (
            "materialize-postgres",
            json!({"host": "h", "user": "u", "password": "p", "sslmode": "prefer", "sslrootcert": "ca.pem"}),
            json!({"table": "t"}),
            &["config/sslrootcert: with the mode `prefer` it is not used (`verify-full` checks the server against it)"],
        ),
        (
            "materialize-webhook",
            json!({
                "address": "https://host/",
                "headers": {"Host": "x", "a b": "secret", "x-ok": "fine", "x-bad": "secret\r\nx: y", "Content-Length": "1"},
                "signingSecrets": ["whsec_secret", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "whsec_"],
                "allowPrivate": ["10.0.0.0/8", "hooks.internal", "10.0.0.0/40", "x y"],
            }),
            json!({}),
            &[
                "config/headers: `Content-Length` cannot be set (it is set by the program)",
                "config/headers: `Host` cannot be set (it is set by the program)",
                "config/headers: `a b` is no name of a header",
                "config/headers: the value of `x-bad` cannot be sent (a value is one line of visible ASCII characters)",
                "config/signingSecrets: there may be 2 at most (the present one, and the next or former one while receivers change)",
                "config/signingSecrets: number 1: what follows `whsec_` is not base64 (`whsec_` and 24 to 64 random bytes in base64)",
                "config/allowPrivate: `10.0.0.0/40`: the network has no such number of bits (such as `10.1.0.0/16`, `10.1.2.3` or `hooks.internal`)",
                "config/allowPrivate: `x y`: this is neither a network, nor an address, nor the name of a host (such as `10.1.0.0/16`, `10.1.2.3` or `hooks.internal`)",
            ],
        ),
        (
            "materialize-webhook",
            json!({"address": "http://169.254.169.254/latest"}),
            json!({}),
            &[
                "config/address: 169.254.169.254 is no address of the public internet (if it is meant, list it in `allowPrivate`)",
            ],
        ),
        ("materialize-webhook", json!({"address": "http://10.0.0.7/", "allowPrivate": ["10.0.0.7"]}), json!({}), &[]),
        (
            "materialize-webhook",
            json!({}),
            json!({"path": "/x"}),
            &["config: `address` is missing (the URL to post to)"],
        ),
    ];
    let collection = collection("a/b", &[]);
    for (connector, config, resource, expected) in cases {
        let endpoint = endpoint(connector, "file:///a.yaml", config);
        let found = connectors::check_binding(&endpoint, &resource, &collection).err().map(shown).unwrap_or_default();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_webhook_stays_where_it_is() {
    let collection = collection("a/b", &[("x", "/x", Types::STRING, true, true)]);
    let check = |path: &str| {
        let endpoint = endpoint("materialize-webhook", "file:///a.yaml", json!({"address": "http://h:9000/a/b"}));
        connectors::check_binding(&endpoint, &json!({"relativePath": path}), &collection)
    };
    for (path, url) in [
        ("", "http://h:9000/a/b"),
        ("c", "http://h:9000/a/c"),
        ("/c?d=e", "http://h:9000/c?d=e"),
        ("../../../c", "http://h:9000/c"),
    ] {
        let rules = check(path).unwrap();
        assert_eq!(rules.path, [url]);
        assert!(rules.delta_updates);
        let constraints: Vec<Constraint> = rules.constraints.iter().map(|(constraint, _)| *constraint).collect();
        assert_eq!(constraints, [Constraint::LocationRequired, Constraint::Forbidden]);
    }
    for path in [
        "http://169.254.169.254/",
        "https://h:9000/",
        "//evil/x",
        "\\\\evil\\x",
        "/\\evil/x",
        "http://h:9001/",
        "http://me@h:9000/",
        "file:///etc/passwd",
        "javascript:x",
        "\t//evil/x",
        "https:///evil/x",
        "//me:secret@h:9000/",
        "//h/",
    ] {
        let found = shown(check(path).expect_err(path));
        assert!(found.len() == 1 && found[0].starts_with("resource 0/relativePath: "), "{path}: {found:?}");
    }
}

#[test]
fn what_sql_keeps() {
    use Constraint::{Forbidden, LocationRecommended, LocationRequired, Optional, Unsatisfiable};
    let long = "l".repeat(64);
    let fields = [
        ("a_id", "/id", Types::INTEGER, true, true, LocationRequired),
        ("a_mixed", "/key", Types::INTEGER.union(Types::STRING), true, true, Unsatisfiable),
        ("b_mixed", "/mixed", Types::INTEGER.union(Types::STRING), true, false, Forbidden),
        ("c_null", "/null", Types::NULL, true, false, Forbidden),
        ("d_text", "/text", Types::STRING.union(Types::NULL), false, false, LocationRecommended),
        ("e_number", "/number", Types::NUMBER, false, false, LocationRecommended),
        ("e_object", "/object", Types::OBJECT, true, false, Optional),
        ("flow_document", "", Types::OBJECT, true, false, LocationRequired),
        (&long, "/long", Types::STRING, false, false, LocationRecommended),
    ];
    let given: Vec<_> = fields.iter().map(|f| (f.0, f.1, f.2, f.3, f.4)).filter(|f| !f.1.is_empty()).collect();
    let config = json!({"host": "h", "user": "u", "password": "p"});
    let endpoint = endpoint("materialize-postgres", "file:///a.yaml", config);
    let rules = connectors::check_binding(&endpoint, &json!({"table": "t"}), &collection("a/b", &given)).unwrap();
    let found: Vec<Constraint> = rules.constraints.iter().map(|(constraint, _)| *constraint).collect();
    assert_eq!(found, fields.map(|field| field.5));
}

#[test]
fn a_catalog_makes_its_tables() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.flow.yaml");
    fs::write(
        &path,
        "
collections:
  acme/profiles:
    key: [/user]
    projections: {user_id: /user}
    schema:
      type: object
      properties:
        user: {type: string}
        count: {type: integer}
        score: {type: [number, 'null']}
        segments: {type: array}
      required: [user, count]
materializations:
  acme/tables:
    endpoint: {sqlite: {path: 'profiles.db?_journal=WAL'}}
    bindings:
      - source: acme/profiles
        resource: {table: profiles}
        fields: {include: {segments: {}}, recommended: true}
",
    )
    .unwrap();
    let root = url::Url::from_file_path(&path).unwrap();
    let built = catalog::build(&root, &catalog::Files, &Builtins);
    assert!(built.is_sound(), "{:?}", built.diagnostics);
    let task = &built.catalog.materializations[0];
    let collection = built.catalog.collection("acme/profiles").unwrap();
    drop(builtin().open_destination(task, &[collection], runtime::KeyRange::ALL).unwrap());

    let database = rusqlite::Connection::open(dir.path().join("profiles.db")).unwrap();
    let sql: String =
        database.query_row("SELECT sql FROM sqlite_schema WHERE name = 'profiles'", [], |row| row.get(0)).unwrap();
    assert_eq!(
        sql,
        "CREATE TABLE \"profiles\" (
\t-- user-provided projection of JSON at: /user with inferred types: [string]
\t\"user_id\" TEXT NOT NULL,
\t-- auto-generated projection of JSON at: /count with inferred types: [integer]
\t\"count\" INTEGER NOT NULL,
\t-- auto-generated projection of JSON at: /score with inferred types: [null, number]
\t\"score\" REAL,
\t-- auto-generated projection of JSON at: /segments with inferred types: [array]
\t\"segments\" TEXT,
\t-- auto-generated projection of JSON at:  with inferred types: [object]
\t\"flow_document\" TEXT NOT NULL,

\tPRIMARY KEY(\"user_id\")
)"
    );
}
