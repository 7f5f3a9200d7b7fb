//! Webhooks against a receiver that misbehaves.

use std::time::Duration;

use runtime::{Destination, Fault, Hook, KeyRange, Request, Retry};
use serde_json::{Value, json};
use testkit::{Answer, Receiver};

use crate::fixture::{binding, builtin, collection, endpoint, materialization};

fn open(address: &str, paths: &[&str]) -> Box<dyn Hook> {
    open_with(json!({"address": address}), paths)
}

fn open_with(config: Value, paths: &[&str]) -> Box<dyn Hook> {
    let endpoint = endpoint("materialize-webhook", "file:///a.yaml", config);
    let bindings = paths.iter().map(|path| binding(json!({"relativePath": path}), "a/b", &[], true)).collect();
    let task = materialization("acme/hooks", endpoint, bindings);
    let source = collection("a/b", &[]);
    match builtin().open_destination(&task, &vec![&source; paths.len()], KeyRange::ALL).unwrap() {
        Destination::Hook(hook) => hook,
        Destination::Table(_) => panic!("a webhook is no table"),
    }
}

#[test]
fn bodies_arrive_as_they_are_kept() {
    let receiver = Receiver::start(|_, _| Answer::status(204).body_bytes(0));
    let mut hook = open(&receiver.url("/a/b"), &["/toggles", "c"]);
    let documents: [&[u8]; 2] = ["{\"a\":\"ü\"}".as_bytes(), b"{\"a\":2}"];
    for binding in [0, 1] {
        for request in hook.encode(binding, &documents) {
            hook.send(&format!("id-{binding}"), &request).unwrap();
        }
    }
    let received = receiver.received();
    let seen: Vec<_> = received.iter().map(|r| (r.method.as_str(), r.path.as_str(), r.id(), r.body.as_str())).collect();
    let body = "[\n{\"a\":\"ü\"},\n{\"a\":2}\n]";
    assert_eq!(seen, [("POST", "/toggles", Some("id-0"), body), ("POST", "/a/c", Some("id-1"), body)]);
    for request in &received {
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.header("user-agent"), Some("segtide"));
    }
}

#[test]
fn answers_are_classed() {
    let later = (Fault::Endpoint, Retry::Later);
    let cases = [
        (Answer::status(200), None),
        (Answer::status(299).body_bytes(1 << 20), None),
        (Answer::status(500), Some(later)),
        (Answer::status(408), Some(later)),
        (Answer::status(425), Some(later)),
        (Answer::status(400), Some((Fault::User, Retry::AFewTimes))),
        (Answer::status(404), Some((Fault::User, Retry::AFewTimes))),
        (Answer::status(413), Some((Fault::User, Retry::AFewTimes))),
        (Answer::status(429), Some(later)),
        (Answer::status(429).header("retry-after", "7"), Some((Fault::Endpoint, Retry::After(Duration::from_secs(7))))),
        (Answer::status(503).header("Retry-After", "2"), Some((Fault::Endpoint, Retry::After(Duration::from_secs(2))))),
        (Answer::status(500).header("retry-after", "2"), Some(later)),
        (Answer::status(410), Some((Fault::User, Retry::Never))),
        (Answer::status(302).header("location", "/elsewhere"), Some((Fault::User, Retry::Later))),
        (Answer::reset(), Some(later)),
        (Answer::status(200).delay(Duration::from_millis(50)), None),
    ];
    let script: Vec<Answer> = cases.iter().map(|(answer, _)| answer.clone()).collect();
    let receiver = Receiver::start(move |n, _| script[n].clone());
    let mut hook = open(&receiver.url("/"), &[""]);
    let request = Request { url: receiver.url("/x"), body: "[\n1\n]".into() };
    for (n, (answer, expected)) in cases.iter().enumerate() {
        let got = hook.send("id", &request).err().map(|error| (error.fault, error.retry));
        assert_eq!(got, *expected, "{answer:?}");
        assert_eq!(receiver.received().len(), n + 1, "neither redirected nor tried again: {answer:?}");
    }
}

#[test]
fn nobody_there() {
    let address = Receiver::start(|_, _| Answer::status(200)).url("/");
    let mut hook = open(&address, &[""]);
    let error = hook.send("id", &Request { url: address.clone(), body: "[]".into() }).unwrap_err();
    assert_eq!((error.fault, error.retry), (Fault::Endpoint, Retry::Later));
    assert_eq!(error.message, format!("POST {address}: nothing listens there; start what receives it"));
}

#[test]
fn requests_are_signed_and_have_headers() {
    let receiver = Receiver::start(|_, _| Answer::status(204).body_bytes(0));
    let config = json!({
        "address": receiver.url("/"),
        "headers": {"Authorization": "Bearer of good news", "x-tenant": "7"},
        "signingSecrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="],
    });
    let mut hook = open_with(config, &[""]);
    let request = Request { url: receiver.url("/"), body: "{\"test\": 2432232314}".into() };
    hook.send("msg_p5jXN8AQM9LWM0D4loKWxJek", &request).unwrap();
    hook.send("msg_p5jXN8AQM9LWM0D4loKWxJek", &request).unwrap();
    let received = receiver.received();
    assert_eq!(received[0].headers, received[1].headers, "tried again, it is the same");
    assert_eq!(received[0].body, received[1].body);
    // The clock of the tests stands at the beginning of 1970.
    assert_eq!(received[0].header("webhook-timestamp"), Some("0"));
    let signatures: Vec<_> = received[0].header("webhook-signature").unwrap().split(' ').collect();
    assert_eq!(signatures.len(), 2);
    assert!(signatures.iter().all(|signature| signature.len() == "v1,".len() + 44 && signature.starts_with("v1,")));
    assert_eq!(received[0].header("authorization"), Some("Bearer of good news"));
    assert_eq!(received[0].header("x-tenant"), Some("7"));
}

#[test]
fn an_address_that_is_not_public_is_not_asked() {
    // What is in the outbox may be of a configuration that has changed since.
    let mut hook = open_with(json!({"address": "http://10.0.0.1/", "allowPrivate": ["10.0.0.1"]}), &[""]);
    let error = hook.send("id", &Request { url: "http://169.254.169.254/".into(), body: "[]".into() }).unwrap_err();
    assert_eq!((error.fault, error.retry), (Fault::User, Retry::Later));
    assert!(error.message.contains("not of the public internet"), "{error}");
}
