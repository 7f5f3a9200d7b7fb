//! Documents by HTTP: what is taken is there at once and for good, what is refused leaves nothing behind.

use std::io::Write as _;
use std::time::{Duration, Instant};

use expect_test::{Expect, expect};
use testkit::{Answer, Receiver};

use crate::kit::http::{Reply, ingest, request};
use crate::kit::{Process, Project, Run, segtide};

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
    assert_eq!(
        (elsewhere.status, elsewhere.body.as_str()),
        (404, "documents are taken by POST at /ingest; /docs says more\n")
    );
    assert_eq!(request(port, "GET", "/ingest", &[], b"").status, 405);
    let large = request(port, "POST", "/ingest", &[json], &vec![b' '; 33 << 20]);
    assert_eq!(large.status, 413);
    // How much that is depends on the machine's memory.
    let words = ["the body is larger than ", " MiB; send the documents in several requests\n"];
    assert!(large.body.starts_with(words[0]) && large.body.ends_with(words[1]), "{}", large.body);

    // Nothing at all is fine, and so is the next one.
    assert_eq!(ingest(port, "{}").status, 200);
    assert_eq!(ingest(port, &events(&[event(9, "dan", 2, "")])).status, 200);
    let said = ingesting.finish();
    assert!(said.contains("events       1 documents in 1 partitions"), "{said}");
}

/// One request of the corpus: its headers, its body, the status it is answered with, and the answer.
type Sent<'s> = (&'s str, &'s [&'s str], &'s [u8], u16, Expect);

/// Would catch a format that is read otherwise than it is written, a mistake that is not found or found elsewhere, and a
/// status that tells a client the wrong thing to do.
#[test]
fn each_format_and_each_mistake_has_its_answer() {
    let ingesting = Ingesting::start();
    let path = "/ingest/examples/segment/events";
    let json = "Content-Type: application/json";
    let lines = "Content-Type: application/x-ndjson";
    let csv = "Content-Type: text/csv; charset=utf-8";
    let tsv = "Content-Type: text/tab-separated-values";
    let lines_of = |numbers: std::ops::Range<u8>| {
        let one = |n| event(n, "ann", 1, "").replace('\n', " ") + "\n";
        numbers.map(one).collect::<String>().into_bytes()
    };
    let header = "event,timestamp,user,vendor,segment/name,remove";
    let row = |n: u8, rest: &str| format!("00000000-0000-4000-8000-0000000000{n:02},2021-01-16T12:00:00Z,{rest}\n");
    let rows = |rows: &str| format!("{header}\n{rows}").into_bytes();
    let gzip = |bytes: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    };
    let ok = |bodies: &[(&[&str], Vec<u8>)]| {
        for (headers, body) in bodies {
            let reply = request(ingesting.port, "POST", path, headers, body);
            assert_eq!(reply.status, 200, "{headers:?} {reply:?}");
        }
    };
    ok(&[
        (&[json], event(1, "ann", 1, "").into_bytes()),
        (&[json], format!("[{},{}]", event(2, "ann", 1, ""), event(3, "ann", 1, "")).into_bytes()),
        (&[lines], lines_of(4..6)),
        (&[csv], rows(&(row(6, "ann,1,readers,") + &row(7, "\"a, b\",1,readers,true") + &row(8, "ann,1,readers")))),
        (&[tsv], String::from_utf8(rows(&row(9, "ann,1,readers,"))).unwrap().replace(',', "\t").into_bytes()),
        (&[lines, "Content-Encoding: gzip"], gzip(&lines_of(10..12))),
        (&[lines, "Content-Encoding: zstd"], zstd::encode_all(&*lines_of(12..14), 1).unwrap()),
    ]);
    let zeros = gzip(&vec![b' '; 32 << 20]);
    let refused: &[Sent<'_>] = &[
        (
            "not JSON",
            &[json],
            b"{",
            400,
            expect![[r#"
            ingestion of collection "examples/segment/events": the body is not valid JSON: the text ends too early at byte 1
        "#]],
        ),
        (
            "line 2 is not JSON",
            &[lines],
            b"{}\n{]\n",
            400,
            expect![[r#"
            ingestion of collection "examples/segment/events": line 2 is not valid JSON: expected a property name at byte 1
        "#]],
        ),
        (
            "line 3 is refused by the schema",
            &[lines],
            &[lines_of(20..22), b"{}\n".to_vec()].concat(),
            422,
            expect![[r#"
                ingestion of collection "examples/segment/events": line 3 is invalid: the property "event" is missing (file:///DIRECTORY/schemas/event.schema.yaml#/required)
            "#]],
        ),
        (
            "a column nobody knows",
            &[csv],
            b"event,nonsense\n",
            400,
            expect![[r#"
            ingestion of collection "examples/segment/events": collection "examples/segment/events" has no projection "nonsense"
        "#]],
        ),
        (
            "a header without what must exist",
            &[csv],
            b"event,user\n",
            400,
            expect![[r#"
            ingestion of collection "examples/segment/events": header does not include any field that maps to the location "/segment"
        "#]],
        ),
        (
            "a column twice",
            &[csv],
            b"event,event\n",
            400,
            expect![[r#"
            ingestion of collection "examples/segment/events": column 2 ("event") fills a location that another column fills, too
        "#]],
        ),
        (
            "a number that is none",
            &[csv],
            &rows(&row(30, "ann,one,readers,")),
            400,
            expect![[r#"
            ingestion of collection "examples/segment/events": line 2: field "vendor": "one" is no integer
        "#]],
        ),
        (
            "nothing where something must be",
            &[csv],
            &rows(&row(30, "ann,,readers,")),
            400,
            expect![[r#"
            ingestion of collection "examples/segment/events": line 2: field "vendor": value cannot be null
        "#]],
        ),
        (
            "too few columns",
            &[csv],
            &rows(&row(30, "ann,1")),
            400,
            expect![[r#"
            ingestion of collection "examples/segment/events": line 2: row omits column 5 ("segment/name"), which must exist
        "#]],
        ),
        (
            "too many columns",
            &[csv],
            &rows(&row(30, "ann,1,readers,,,")),
            400,
            expect![[r#"
            ingestion of collection "examples/segment/events": line 2: row has 8 columns, but header had only 6
        "#]],
        ),
        (
            "a row that was cut off",
            &[csv],
            &rows(&row(30, "ann,1,\"readers,")),
            400,
            expect![[r#"
            ingestion of collection "examples/segment/events": line 2: a quote is not closed
        "#]],
        ),
        (
            "a row that the schema refuses",
            &[csv],
            &rows(&row(30, "ann,0,readers,")),
            422,
            expect![[r#"
            ingestion of collection "examples/segment/events": line 2 is invalid at "/segment/vendor": 0 is less than the minimum of 1 (file:///DIRECTORY/schemas/event.schema.yaml#/properties/segment/properties/vendor/minimum)
        "#]],
        ),
        (
            "another type",
            &["Content-Type: text/html"],
            b"",
            415,
            expect![[r#"
            send documents as Content-Type: application/json, application/x-ndjson, text/csv or text/tab-separated-values
        "#]],
        ),
        (
            "another encoding",
            &[json, "Content-Encoding: br"],
            b"",
            415,
            expect![[r#"
            this Content-Encoding is not known here; there are gzip and zstd
        "#]],
        ),
        (
            "not gzip",
            &[json, "Content-Encoding: gzip"],
            b"{}",
            400,
            expect![[r#"
            the body cannot be unpacked: unexpected end of file
        "#]],
        ),
        (
            "gzip cut short",
            &[json, "Content-Encoding: gzip"],
            &zeros[..100],
            400,
            expect![[r#"
            the body cannot be unpacked: incomplete deflate stream
        "#]],
        ),
        (
            "gzip of nothing but zeros",
            &[json, "Content-Encoding: gzip"],
            &zeros,
            413,
            expect![[r#"
            the body unpacks to more than 100 times its size
        "#]],
        ),
        (
            "an empty key",
            &[json, "Idempotency-Key: "],
            b"[]",
            400,
            expect![[r#"
            an Idempotency-Key has 1 to 255 visible characters
        "#]],
        ),
    ];
    let directory = ingesting.project.directory().canonicalize().unwrap();
    for (name, headers, body, status, expected) in refused {
        let reply = request(ingesting.port, "POST", path, headers, body);
        assert_eq!(reply.status, *status, "{name}: {reply:?}");
        expected.assert_eq(&reply.body.replace(directory.to_str().unwrap(), "/DIRECTORY"));
    }
    let nowhere = request(ingesting.port, "POST", "/ingest/examples/segment/toggles", &[json], b"[]");
    assert_eq!(nowhere.status, 404, "{nowhere:?}");
    let said = ingesting.finish();
    assert!(said.contains("events       13 documents in 1 partitions"), "{said}");
}

/// Would catch a repeat that is taken again, also by the next run, and one key for two requests.
#[test]
fn a_request_is_taken_once_under_its_key() {
    let mut ingesting = Ingesting::start();
    let path = "/ingest/examples/segment/events";
    let send = |port, key: &str, n| {
        let headers = ["Content-Type: application/json", &format!("Idempotency-Key: {key}")];
        request(port, "POST", path, &headers, event(n, "ann", 1, "").as_bytes())
    };
    let first = send(ingesting.port, "one", 1);
    assert_eq!(first.status, 200, "{first:?}");
    let repeated = send(ingesting.port, "one", 1);
    assert_eq!((repeated.status, &repeated.body), (200, &first.body));
    assert!(repeated.head.contains("idempotency-replayed: true"), "{repeated:?}");
    assert_eq!(send(ingesting.port, "one", 2).status, 409);
    ingesting.process.kill_9();
    let (process, port) = Process::develop(ingesting.project.directory(), "materialize.flow.yaml", &[]);
    (ingesting.process, ingesting.port) = (process, port);
    assert_eq!(send(port, "one", 1).body, first.body);
    assert_eq!(send(port, "two", 2).status, 200);
    let said = ingesting.finish();
    assert!(said.contains("events       2 documents in 1 partitions"), "{said}");
}

/// Would catch documents of somebody unknown, of somebody who is known for other collections, and a server that is open to
/// the world because nobody closed it.
#[test]
fn only_known_senders_are_let_in() {
    let project = Project::segmentation();
    project.capture_nothing();
    let refused =
        segtide(project.directory(), &["develop", "--source", "derive.flow.yaml", "--port", "0", "--host", "0.0.0.0"]);
    assert_eq!(refused.code, 4);
    expect![[r#"
        error: 0.0.0.0 can be reached by other machines, and no capture says who may post documents; give one of pushed documents (`ingest`) `tokens` or `secrets`, or let everybody in with --insecure-open
    "#]].assert_eq(&refused.err);

    // The digest of `open sesame`.
    let capture = "captures:
  pushed:
    endpoint:
      ingest:
        tokens: ['sha256:41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb']
        secrets: ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw']
    bindings: [{ resource: { name: events }, target: examples/segment/events }]
";
    let text = std::fs::read_to_string(project.path("capture.flow.yaml")).unwrap();
    std::fs::write(project.path("capture.flow.yaml"), text + capture).unwrap();
    let (mut process, port) = Process::develop(project.directory(), "derive.flow.yaml", &[]);
    let path = "/ingest/examples/segment/events";
    let json = "Content-Type: application/json";
    let send = |headers: &[&str]| {
        let headers = [&[json], headers].concat();
        request(port, "POST", path, &headers, event(1, "ann", 1, "").as_bytes()).status
    };
    assert_eq!(send(&[]), 401);
    assert_eq!(send(&["Authorization: Bearer open barley"]), 401);
    assert_eq!(send(&["Authorization: Basic open sesame"]), 401);
    assert_eq!(send(&["Authorization: Bearer open sesame"]), 200);
    assert_eq!(send(&["webhook-id: 1", "webhook-timestamp: 1614265330", "webhook-signature: v1,AAAA"]), 401);
    assert!(process.terminate(SOON).success(), "{}", process.output());
}

/// Would catch frames that are taken twice or not at all, a header that is forgotten, and an error that nobody is told of.
#[test]
fn documents_come_by_websocket() {
    let ingesting = Ingesting::start();
    let speak = |protocol: &str, frames: &[&str], until: &str| {
        use tungstenite::{Message, client::IntoClientRequest};
        let url = format!("ws://localhost:{}/ingest/examples/segment/events", ingesting.port);
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
        let (mut socket, _) = tungstenite::connect(request).unwrap();
        frames.iter().for_each(|frame| socket.send(Message::text(*frame)).unwrap());
        let answer = loop {
            if let Message::Text(text) = socket.read().unwrap()
                && text.contains(until)
            {
                break text.to_string();
            }
        };
        socket.close(None).ok();
        while socket.read().is_ok() {}
        answer
    };
    let two = [event(1, "ann", 1, ""), event(2, "ann", 1, "")].concat();
    speak("json/v1", &[&two, &event(3, "ann", 1, "")], r#""Processed":3"#);
    let header = "event,timestamp,user,vendor,segment/name";
    let row = |n: u8| format!("00000000-0000-4000-8000-0000000000{n:02},2021-01-16T12:00:00Z,ann,1,readers");
    speak("csv/v1", &[&format!("{header}\n{}", row(4)), &row(5)], r#""Processed":2"#);
    expect![[r#"{"ApproximateFrame":2,"Error":"ingestion of collection \"examples/segment/events\": line 2: row omits column 3 (\"user\"), which must exist"}"#]].assert_eq(&speak("csv/v1", &[header, "1,2"], "Error"));
    expect![[r#"{"ApproximateFrame":1,"Error":"ingestion of collection \"examples/segment/events\": document 1 of 1 is invalid: the property \"event\" is missing ("#]].assert_eq(speak("json/v1", &["{}"], "Error").split("file:").next().unwrap());
    let connect = || {
        use tungstenite::client::IntoClientRequest;
        let url = format!("ws://localhost:{}/ingest/examples/segment/events", ingesting.port);
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "json/v1".parse().unwrap());
        tungstenite::connect(request).map(|(socket, _)| socket)
    };
    let mut open = Vec::new();
    let refusal = loop {
        match connect() {
            Ok(socket) => open.push(socket),
            Err(error) => break error.to_string(),
        }
        assert!(open.len() < 1_000, "connections are not bounded");
    };
    assert!(refusal.contains("429"), "{refusal}");
    // Those who keep silent make room in time.
    let full = std::time::Instant::now();
    while connect().is_err() {
        assert!(full.elapsed() < SOON, "silent connections keep others out");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let told = open[0].read().unwrap();
    assert!(told.to_string().contains("another connection needs the place"), "{told}");
    drop(open);
    let freed = std::time::Instant::now();
    while connect().is_err() {
        assert!(freed.elapsed() < SOON, "what was closed makes no room");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let said = ingesting.finish();
    assert!(said.contains("events       5 documents in 1 partitions"), "{said}");
}

/// Would catch a task that is not told of, or counts that do not move.
#[test]
fn what_runs_can_be_asked() {
    let ingesting = Ingesting::start();
    assert_eq!(ingesting.send(&[event(1, "ann", 1, "")]).status, 200);
    let get = |path: &str| request(ingesting.port, "GET", path, &[], b"");
    let status: serde_json::Value = serde_json::from_str(&get("/api/v1/status").body).unwrap();
    let tasks = status["tasks"].as_array().unwrap();
    let ingestion = tasks.iter().find(|task| task["kind"] == "ingestion").unwrap();
    assert_eq!((&ingestion["state"], &ingestion["documents_out"]), (&"running".into(), &1.into()));
    assert!(ingestion["bytes_out"].as_u64() > Some(100), "{ingestion}");
    let metrics = get("/metrics").body;
    let line = "segtide_documents_out_total{kind=\"ingestion\",task=\"ingestion\"} 1\n";
    assert!(metrics.contains(line), "{metrics}");
    assert_eq!((get("/healthz").status, get("/readyz").status), (200, 200));
    assert!(get("/docs").body.contains("examples/segment/events"));
    let described: serde_json::Value = serde_json::from_str(&get("/openapi.json").body).unwrap();
    assert!(described["paths"]["/ingest/{collection}"]["post"]["responses"]["422"].is_object(), "{described}");
    let told = segtide(ingesting.project.directory(), &["status", "-o", "table"]);
    assert!(told.out.contains("ingestion ingestion"), "{told:?}");
    let told = segtide(ingesting.project.directory(), &["status", "--json"]).out;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert!(told.as_array().unwrap().iter().any(|task| task["kind"] == "ingestion" && task["documents_out"] == 1));
    ingesting.finish();
}
