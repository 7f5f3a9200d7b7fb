//! Edits while a catalog runs: a mistake changes nothing, what is right is taken over, and no document is lost or doubled.

use std::fs;
use std::time::{Duration, Instant};

use expect_test::expect;

use crate::kit::http::request;
use crate::kit::{Process, segtide};

const SOON: Duration = Duration::from_secs(60);

/// Would catch an edit that is not noticed, one with mistakes that stops what runs, and documents that are lost or counted
/// twice where one version takes over from another.
#[test]
fn an_edit_is_taken_over_and_a_wrong_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    assert_eq!(segtide(here, &["init", "http"]).code, 0);
    let (mut process, port) = Process::develop(here, "flow.yaml", &["--watch"]);
    let catalog = fs::read_to_string(here.join("flow.yaml")).unwrap();

    // Documents are posted all the while; one that is not taken is sent again under its key.
    let poster = std::thread::spawn(move || {
        for n in 0..300 {
            let headers = ["Content-Type: application/json", &format!("Idempotency-Key: {n}")];
            let body = format!(r#"{{"id":"{n}","page":"/home"}}"#);
            let begun = Instant::now();
            loop {
                let reply = request(port, "POST", "/ingest/acme/views", &headers, body.as_bytes());
                match reply.status {
                    200 => break,
                    503 | 429 if begun.elapsed() < SOON => std::thread::sleep(Duration::from_millis(5)),
                    _ => panic!("{reply:?}"),
                }
            }
        }
    });
    fs::write(here.join("flow.yaml"), catalog.replace("key: [/page]\n    derivation", "key: [/pge]\n    derivation"))
        .unwrap();
    process.wait_for_line("the former version goes on", SOON);
    assert_eq!(request(port, "GET", "/api/v1/version", &[], b"").status, 200);
    let lambda = fs::read_to_string(here.join("flow.ts")).unwrap();
    fs::write(here.join("flow.yaml"), &catalog).unwrap();
    process.wait_for_line("version 2 runs", SOON);
    fs::write(here.join("flow.ts"), lambda.replace("page: source.page", "page: source.page + '!'")).unwrap();
    process.wait_for_line("version 3 runs", SOON);
    poster.join().unwrap();
    let last = br#"{"id":"last","page":"/home"}"#;
    assert_eq!(request(port, "POST", "/ingest/acme/views", &["Content-Type: application/json"], last).status, 200);
    assert!(process.terminate(SOON).success(), "{}", process.output());

    let table = rusqlite::Connection::open(here.join("pages.db")).unwrap();
    let mut rows = table.prepare("SELECT page, views FROM pages ORDER BY page").unwrap();
    let pages: Vec<(String, i64)> =
        rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    assert_eq!(pages.iter().map(|(_, views)| views).sum::<i64>(), 301, "{pages:?}");
    assert!(pages.iter().any(|(page, _)| page == "/home!"), "{pages:?}");
    assert!(process.output().contains("error["), "{}", process.output());
}

/// Would catch a place that is said to be well and is not.
#[test]
fn the_doctor_looks_at_what_a_run_needs() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    assert_eq!(segtide(here, &["init", "http"]).code, 0);
    let well = segtide(here, &["doctor", "--port", "0", "-o", "table"]);
    assert_eq!(well.code, 0, "{well:?}");
    expect![[r#"
           what     found
        ✓  catalog  flow.yaml is right
        ✓  place    segtide_develop can be made
        ✓  port     0 is free
        ✓  clock    is set
    "#]]
    .assert_eq(&well.out);
    let catalog = fs::read_to_string(here.join("flow.yaml")).unwrap();
    // Nothing listens at the port that is for nothing.
    let hook = "  acme/hook:
    endpoint: { flowSink: { image: materialize-webhook, config: { address: http://127.0.0.1:9/ } } }
    bindings: [{ resource: {}, source: acme/pages }]

tests:";
    fs::write(here.join("flow.yaml"), catalog.replace("tests:", hook)).unwrap();
    let ill = segtide(here, &["doctor", "--port", "0"]);
    assert_eq!(ill.code, 1, "{ill:?}");
    assert!(ill.out.contains("acme/hook: 127.0.0.1:9 does not answer"), "{}", ill.out);
}
