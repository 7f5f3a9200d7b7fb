//! The steps an event goes through, one by one, over the documents of the segmentation example.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use catalog::{BindingRules, Catalog, Collection, ConfigError, Endpoint, Host, Module, ModuleError};
use connectors::Builtin;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use doc::{Arena, Combiner, Node};
use journal::{Append, Delta, Embedded, KeyRange, Log, Options};
use runtime::{Destination, Publish, Row, Table};
use serde_json::{Value, json};
use url::Url;

/// Documents in what is measured as one.
const COUNT: usize = 1000;
const MEMBERSHIPS: &str = "examples/segment/memberships";

struct Program;

impl Host for Program {
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
    fn check_module(&self, module: &Module, methods: &[&str]) -> Result<(), Vec<ModuleError>> {
        script::check_module(module, methods)
    }
}

fn example() -> Catalog {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/segmentation/materialize.flow.yaml");
    let url = Url::from_file_path(file.canonicalize().unwrap()).unwrap();
    let built = catalog::build(&url, &catalog::Files, &Program);
    assert!(built.is_sound());
    built.catalog
}

fn events() -> Vec<String> {
    let event = |n: usize| {
        format!(
            r#"{{"event":"12345678-9abc-4ef0-8100-{n:012}","timestamp":"2021-07-22T21:00:00.{n:06}Z","user":"usr-{:06x}","segment":{{"vendor":{},"name":"seg-{:X}"}}}}"#,
            n * 7919 % 600,
            1 + n % 10,
            n % 90,
        )
    };
    (0..COUNT).map(event).collect()
}

fn memberships() -> Vec<String> {
    let membership = |n: usize| {
        format!(
            r#"{{"first":"2021-07-22T21:00:00.{n:06}Z","last":"2021-07-22T21:00:00.{n:06}Z","member":true,"segment":{{"name":"seg-{:X}","vendor":{}}},"user":"usr-{:06x}"}}"#,
            n % 90,
            1 + n % 10,
            n * 7919 % 600,
        )
    };
    (0..COUNT).map(membership).collect()
}

fn parse<'a>(arena: &'a Arena, texts: &'a [String]) -> Vec<Node<'a>> {
    texts.iter().map(|text| doc::parse(arena, text.as_bytes()).unwrap()).collect()
}

fn documents(c: &mut Criterion) {
    let catalog = example();
    let source = catalog.collection("examples/segment/events").unwrap();
    let target = catalog.collection(MEMBERSHIPS).unwrap();
    let (events, memberships) = (events(), memberships());
    let kept = Arena::new();
    let (nodes, lefts) = (parse(&kept, &events), parse(&kept, &memberships));
    let mut arena = Arena::new();
    let mut text = Vec::new();
    let mut group = c.benchmark_group("documents");
    group.throughput(Throughput::Elements(COUNT as u64));
    group.bench_function("parse", |b| {
        b.iter(|| {
            arena.reset();
            parse(&arena, &events).len()
        })
    });
    group.bench_function("validate", |b| b.iter(|| nodes.iter().all(|node| source.schema.is_valid(*node))));
    group.bench_function("pack key", |b| {
        b.iter(|| {
            text.clear();
            nodes.iter().for_each(|node| doc::pack(*node, &target.key, &mut text));
        })
    });
    group.bench_function("write", |b| {
        b.iter(|| {
            text.clear();
            nodes.iter().for_each(|node| doc::write(*node, &mut text));
        })
    });
    group.bench_function("reduce", |b| {
        b.iter(|| {
            arena.reset();
            for node in &lefts {
                target.schema.reduce(&arena, Some(*node), *node, true).unwrap();
            }
        })
    });
    let mut combiner = Combiner::new(Arc::clone(&target.schema), Arc::clone(&target.key));
    group.bench_function("combine", |b| {
        b.iter(|| {
            arena.reset();
            for node in &lefts {
                combiner.combine_right(&arena, *node).unwrap();
            }
            combiner.clear();
        })
    });
}

/// What a register goes through for each event: the delta is checked, reduced into it, and the outcome is checked.
fn registers(c: &mut Criterion) {
    let catalog = example();
    let toggles = catalog.collection("examples/segment/toggles").unwrap();
    let schema = &toggles.derivation.as_ref().unwrap().register_schema;
    let deltas: Vec<String> = events().iter().map(|event| format!(r#"{{"event":{event},"firstAdd":true}}"#)).collect();
    let kept = Arena::new();
    let nodes = parse(&kept, &deltas);
    let mut arena = Arena::new();
    let mut group = c.benchmark_group("registers");
    group.throughput(Throughput::Elements(COUNT as u64));
    group.bench_function("update", |b| {
        b.iter(|| {
            arena.reset();
            for pair in nodes.windows(2) {
                schema.validate(pair[1]).unwrap();
                let reduced = schema.reduce(&arena, Some(pair[0]), pair[1], true).unwrap().unwrap();
                schema.validate(reduced).unwrap();
            }
        })
    });
}

fn lambdas(c: &mut Criterion) {
    let catalog = example();
    let events = events();
    let mut group = c.benchmark_group("lambdas");
    group.throughput(Throughput::Elements(COUNT as u64));
    let all = ["memberships", "profiles", "toggles"].into_iter();
    for (name, native) in all.flat_map(|name| [(name, true), (name, false)]) {
        let collection = catalog.collection(&format!("examples/segment/{name}")).unwrap();
        let mut lambdas = script::open(&catalog, collection, None, native, script::Limits::default(), &|keys| {
            Ok(vec![None; keys.len()])
        })
        .unwrap();
        let engine = if native { "native" } else { "QuickJS" };
        group.bench_function(format!("{name}, {engine}"), |b| {
            let mut arena = Arena::new();
            // Arguments and rows share an arena, so that parsing the events is a part of it.
            b.iter(|| {
                arena.reset();
                let register = Node::Object(&[]);
                let call = |source| Publish { source, register, previous: register };
                let calls: Vec<Publish<'_>> = parse(&arena, &events).into_iter().map(call).collect();
                lambdas.publish(&arena, 0, &calls).unwrap().documents.len()
            })
        });
    }
}

struct Now;

impl journal::Clock for Now {
    fn now_us(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
    }
}

fn commit(c: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let log = Embedded::open(Options::new(directory.path(), Arc::new(Now))).unwrap();
    let epoch = log.open("bench", KeyRange::ALL).unwrap().epoch;
    let text: Vec<u8> = events().iter().flat_map(|event| format!("{event}\n").into_bytes()).collect();
    let mut n = 0_u64;
    let mut group = c.benchmark_group("log");
    group.throughput(Throughput::Elements(COUNT as u64));
    group.bench_function("commit of documents and registers", |b| {
        let delta = || {
            n += 1;
            let register =
                |at: u64| ((n * COUNT as u64 + at).to_be_bytes().as_slice().into(), Some(text[..200].into()));
            Delta {
                task: "bench".into(),
                epoch,
                time_us: 1_626_987_600_000_000,
                appends: vec![Append { journal: "bench/pivot=00".into(), documents: text.clone() }],
                registers: (0..COUNT as u64).map(register).collect(),
                ..Delta::default()
            }
        };
        b.iter_batched(delta, |delta| log.commit(delta).wait().unwrap(), BatchSize::PerIteration)
    });
}

/// Transactions of memberships, half of whose rows are there already. The table is opened only if this is asked for.
fn store(c: &mut Criterion, name: &str, open: impl Fn() -> Box<dyn Table>) {
    let mut opened = None;
    let mut pass = 0;
    let mut group = c.benchmark_group("tables");
    group.throughput(Throughput::Elements(COUNT as u64));
    group.measurement_time(Duration::from_secs(10));
    group.bench_function(name, |b| {
        let table = opened.get_or_insert_with(&open);
        b.iter(|| {
            pass += 1;
            let arena = Arena::new();
            let [segment, time] = ["seg-1", "2021-07-22T21:00:00.000000Z"].map(Node::Str);
            let row = |n: usize| {
                let user = arena.alloc_str(&format!("usr-{n:08}"));
                Row {
                    key: arena.alloc_slice_copy(&[Node::U64(1), segment, Node::Str(user)]),
                    values: arena.alloc_slice_copy(&[time, time, Node::Bool(true), Node::Null]),
                    texts: &[],
                    document: arena.alloc_str(&format!(
                        r#"{{"first":"2021","last":"2021","member":true,"segment":{{"name":"seg-1","vendor":1}},"user":"{user}"}}"#
                    )),
                    delete: false,
                }
            };
            let begin = pass * COUNT / 2;
            let rows: Vec<Row<'_>> = (begin..begin + COUNT).map(row).collect();
            let keys: Vec<&[Node<'_>]> = rows.iter().map(|row| row.key).collect();
            table.load(0, &keys, &mut |_, _| ()).unwrap();
            table.store(0, &rows).unwrap();
            table.commit("[]").unwrap();
        })
    });
}

/// The memberships' table of the example, at another endpoint.
fn table(connector: &str, config: Value) -> Box<dyn Table> {
    let mut catalog = example();
    let spec = catalog.materializations.iter_mut().find(|spec| spec.name == "examples/segment/tables").unwrap();
    spec.bindings.retain(|binding| binding.source == MEMBERSHIPS);
    spec.endpoint.connector = connector.to_owned();
    spec.endpoint.config = config;
    let spec = catalog.materializations.iter().find(|spec| spec.name == "examples/segment/tables").unwrap();
    let memberships = catalog.collection(MEMBERSHIPS).unwrap();
    match Builtin::new(|| 0).open_destination(spec, &[memberships], KeyRange::ALL).unwrap() {
        Destination::Table(table) => table,
        Destination::Hook(_) => panic!("a table is no hook"),
    }
}

fn tables(c: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    store(c, "SQLite", || table("materialize-sqlite", json!({ "path": directory.path().join("bench.db") })));
    let server = std::cell::OnceCell::new();
    store(c, "PostgreSQL", || {
        let server: &testkit::Postgres = server.get_or_init(testkit::Postgres::start);
        let config = json!({
            "host": "127.0.0.1",
            "port": server.port(),
            "user": server.user(),
            "password": server.password(),
            "database": server.user(),
        });
        table("materialize-postgres", config)
    });
}

criterion_group!(micro, documents, registers, lambdas, commit, tables);
criterion_main!(micro);
