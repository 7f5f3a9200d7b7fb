//! Documents by HTTP: what is taken is there at once and for good, what is refused leaves nothing behind.

use std::time::{Duration, Instant};

use expect_test::{Expect, expect};
use testkit::{Answer, Receiver};

use crate::kit::http::{Reply, ingest, request};
use crate::kit::{Process, Project, Run};

const SOON: Duration = Duration::from_secs(30);

/// A project without captures, running, and where it listens.
struct Ingesting {
    project: Project,
    receiver: Receiver,
    process: Process,
    port: u16,
}

impl Ingesting {
    fn start() -> Self {
        let project = Project::segmentation();
        let receiver = Receiver::start(|_, _| Answer::status(200));
        project.capture_nothing();
        project.send_toggles_to(&receiver.url("/"));
        let (process, port) = Process::develop(project.directory(), "materialize.flow.yaml", &[]);
        Self { project, receiver, process, port }
    }

    /// Ends it in order and lets the model look at what it left; what the model says.
    fn finish(mut self) -> String {
        assert!(self.process.terminate(SOON).success(), "{}", self.process.output());
        Run { project: &self.project, postgres: None, received: &self.receiver.received() }.check()
    }

    /// How many memberships a user has in the table.
    fn memberships_of(&self, user: &str) -> i64 {
        let table = rusqlite::Connection::open(self.project.path("segmentation.db")).unwrap();
        let count = "SELECT count(*) FROM segment_memberships WHERE user_id = ?";
        table.query_row(count, [user], |row| row.get(0)).unwrap()
    }

    fn send(&self, documents: &[String]) -> Reply {
        ingest(self.port, &format!(r#"{{"examples/segment/events":[{}]}}"#, documents.join(",")))
    }
}

/// An event that adds a user to a segment, or removes them.
fn event(number: u8, user: &str, vendor: u32, more: &str) -> String {
    format!(
        r#"{{"event":"00000000-0000-4000-8000-0000000000{number:02}","timestamp":"2021-01-16T12:00:{number:02}Z",
            "user":"{user}","segment":{{"vendor":{vendor},"name":"readers"}}{more}}}"#
    )
}

/// Would catch an answer before the commit, offsets of other journals, and a pipeline that polls where it should be woken.
#[test]
fn what_was_answered_is_seen_within_a_second() {
    let ingesting = Ingesting::start();
    let reply = ingesting.send(&[event(1, "ann", 1, ""), event(2, "ann", 3, ""), event(3, "bea", 1, "")]);
    assert_eq!(reply.status, 200, "{reply:?}");
    let answer: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    let offsets = answer["Offsets"].as_object().unwrap();
    let journals: Vec<_> = offsets.keys().map(String::as_str).collect();
    assert_eq!(journals, ["examples/segment/events/vendor=1/pivot=00", "examples/segment/events/vendor=3/pivot=00"]);
    assert!(offsets.values().all(|offset| offset.as_u64() > Some(0)), "{offsets:?}");

    // One of a few attempts, as the machine may be busy with something else.
    let mut attempts = 0;
    let quickly = std::iter::from_fn(|| {
        attempts += 1;
        let user = format!("user-{attempts}");
        assert_eq!(ingesting.send(&[event(10 + attempts, &user, 1, "")]).status, 200);
        let answered = Instant::now();
        while ingesting.memberships_of(&user) == 0 {
            assert!(answered.elapsed() < SOON, "{user} is not in the table");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(answered.elapsed())
    });
    let quickest = quickly.take(9).find(|took| *took < Duration::from_secs(1));
    assert!(quickest.is_some(), "it always took more than a second");

    // Somebody who leaves is a toggle.
    assert_eq!(ingesting.send(&[event(20, "ann", 1, r#","remove":true"#)]).status, 200);
    let deadline = Instant::now() + SOON;
    while ingesting.receiver.received().is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let said = ingesting.finish();
    assert!(said.contains(&format!("events       {} documents in 2 partitions", 4 + attempts)), "{said}");
    assert!(said.contains("webhook      1 toggles in 1 requests"), "{said}");
}

/// Would catch a request of which something was kept although it was refused, and messages that do not say what to mend.
#[test]
fn what_was_refused_leaves_nothing_behind() {
    let ingesting = Ingesting::start();
    let refused = |body: &str, status: u16, expected: &Expect| {
        let reply = ingest(ingesting.port, body);
        assert_eq!(reply.status, status, "{reply:?}");
        let directory = ingesting.project.directory().canonicalize().unwrap();
        expected.assert_eq(&reply.body.replace(directory.to_str().unwrap(), "/DIRECTORY"));
    };
    let events = |documents: &[String]| format!(r#"{{"examples/segment/events":[{}]}}"#, documents.join(","));

    // A valid document stands before and after one that is not.
    let documents = [event(1, "ann", 1, ""), event(2, "bea", 0, ""), event(3, "cat", 1, "")];
    refused(
        &events(&documents),
        400,
        &expect![[r#"
            ingestion of collection "examples/segment/events": document 2 of 3 is invalid at "/segment/vendor": 0 is less than the minimum of 1 (file:///DIRECTORY/schemas/event.schema.yaml#/properties/segment/properties/vendor/minimum)
        "#]],
    );
    refused(
        &events(&[event(1, "ann", 1, r#","remove":true,"value":"x""#)]),
        400,
        &expect![[r#"
            ingestion of collection "examples/segment/events": document 1 of 1 is invalid at "/value": nothing may be here, but there is "x" (file:///DIRECTORY/schemas/event.schema.yaml#/dependentSchemas/remove/properties/value)
        "#]],
    );
    refused(
        &events(&[r#"{"event":"1"}"#.to_owned()]),
        400,
        &expect![[r#"
            ingestion of collection "examples/segment/events": document 1 of 1 is invalid: the property "timestamp" is missing (file:///DIRECTORY/schemas/event.schema.yaml#/required)
        "#]],
    );
    refused(
        r#"{"examples/segment/events":{}}"#,
        400,
        &expect![[r#"
        ingestion of collection "examples/segment/events": expected an array of documents, not a value of type object
    "#]],
    );
    // So does a valid collection beside one that is not.
    let beside = format!(r#"{{"examples/segment/events":[{}],"examples/segment/evens":[]}}"#, event(1, "ann", 1, ""));
    refused(
        &beside,
        400,
        &expect![[r#"
        "examples/segment/evens" is not an ingestable collection: the catalog has no collection of this name
    "#]],
    );
    refused(
        r#"{"examples/segment/toggles":[]}"#,
        400,
        &expect![[r#"
        "examples/segment/toggles" is not an ingestable collection: it is derived from others
    "#]],
    );
    refused(
        "[]",
        400,
        &expect![[r#"
        the body must be an object of collection names, each with an array of documents, not of type array
    "#]],
    );
    refused(
        "hello",
        400,
        &expect![[r#"
        the body is not valid JSON: expected a value at byte 0
    "#]],
    );
    refused(
        "",
        400,
        &expect![[r#"
        the body is not valid JSON: the text ends too early at byte 0
    "#]],
    );

    let port = ingesting.port;
    let json = "Content-Type: application/json";
    let plain = request(port, "POST", "/ingest", &["Content-Type: text/plain"], b"{}");
    assert_eq!((plain.status, plain.body.as_str()), (415, "send documents as Content-Type: application/json\n"));
    let foreign = request(port, "POST", "/ingest", &[json, "Host: events.example"], b"{}");
    assert_eq!((foreign.status, foreign.body.as_str()), (421, "this server answers to localhost only\n"));
    let elsewhere = request(port, "POST", "/", &[json], b"{}");
    assert_eq!((elsewhere.status, elsewhere.body.as_str()), (404, "documents are taken by POST at /ingest\n"));
    assert_eq!(request(port, "GET", "/ingest", &[], b"").status, 405);
    let large = request(port, "POST", "/ingest", &[json], &vec![b' '; 65 << 20]);
    assert_eq!(large.status, 413);
    assert_eq!(large.body, "the body is larger than 64 MiB; send the documents in several requests\n");

    // Nothing at all is fine, and so is the next one.
    assert_eq!(ingest(port, "{}").status, 200);
    assert_eq!(ingest(port, &events(&[event(9, "dan", 2, "")])).status, 200);
    let said = ingesting.finish();
    assert!(said.contains("events       1 documents in 1 partitions"), "{said}");
}
