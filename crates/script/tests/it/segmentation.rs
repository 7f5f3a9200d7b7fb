//! The lambdas of the segmentation catalog.

use doc::Arena;
use script::{Engine, Limits};

use crate::{call_on, runs};

const MODULE: &str = include_str!("segmentation.ts");
const ADD: &str = r#"{"event":"e1","segment":{"name":"seg-A","vendor":1},"timestamp":"2021-01-01T00:00:00Z","user":"usr-1","value":"x"}"#;
const REMOVE: &str = r#"{"event":"e2","remove":true,"segment":{"name":"seg-A","vendor":1},"timestamp":"2021-01-02T00:00:00Z","user":"usr-1"}"#;

fn open(class: &str, methods: &[&str]) -> Engine {
    script::check(MODULE, class, methods).unwrap();
    Engine::open("segmentation.ts", MODULE, class, methods, None, Limits::default()).unwrap()
}

fn publish(engine: &mut Engine, calls: &[[&'static str; 3]]) -> Vec<String> {
    let arena = Arena::new();
    let calls = calls.iter().map(|c| c.map(|s| doc::parse(&arena, s.as_bytes()).unwrap()));
    let returned = engine.call(&arena, "fromEventsPublish", calls).unwrap();
    runs(&returned.documents, &returned.ends)
}

#[test]
fn memberships() {
    let mut engine = open("ExamplesSegmentMemberships", &["fromEventsPublish"]);
    let got = publish(&mut engine, &[[ADD, "null", "null"], [REMOVE, "null", "null"]]);
    let want = [
        r#"[{"first":"2021-01-01T00:00:00Z","last":"2021-01-01T00:00:00Z","member":true,"segment":{"name":"seg-A","vendor":1},"user":"usr-1","value":"x"}]"#,
        r#"[{"last":"2021-01-02T00:00:00Z","member":false,"segment":{"name":"seg-A","vendor":1},"user":"usr-1"}]"#,
    ];
    assert_eq!(got, want);
}

#[test]
fn profiles() {
    let mut engine = open("ExamplesSegmentProfiles", &["fromEventsPublish"]);
    let got = publish(&mut engine, &[[ADD, "null", "null"], [REMOVE, "null", "null"]]);
    let want = [
        r#"[{"segments":[{"first":"2021-01-01T00:00:00Z","last":"2021-01-01T00:00:00Z","member":true,"segment":{"name":"seg-A","vendor":1},"value":"x"}],"user":"usr-1"}]"#,
        r#"[{"segments":[{"last":"2021-01-02T00:00:00Z","member":false,"segment":{"name":"seg-A","vendor":1}}],"user":"usr-1"}]"#,
    ];
    assert_eq!(got, want);
}

#[test]
fn toggles() {
    let mut engine = open("ExamplesSegmentToggles", &["fromEventsUpdate", "fromEventsPublish"]);
    let updates = call_on(&mut engine, "fromEventsUpdate", &[ADD, REMOVE]).unwrap();
    assert_eq!(updates, [format!(r#"[{{"event":{ADD},"firstAdd":true}}]"#), format!(r#"[{{"event":{REMOVE}}}]"#)]);

    let added: &'static str = format!(r#"{{"event":{ADD},"firstAdd":true}}"#).leak();
    let removed: &'static str = format!(r#"{{"event":{REMOVE},"firstAdd":true}}"#).leak();
    let never_added: &'static str = format!(r#"{{"event":{REMOVE}}}"#).leak();
    let calls = [
        [ADD, added, "{}"],
        [ADD, added, added],
        [REMOVE, never_added, "{}"],
        [ADD, added, never_added],
        [REMOVE, removed, added],
        [REMOVE, removed, removed],
        [ADD, added, removed],
    ];
    let lengths: Vec<bool> = publish(&mut engine, &calls).iter().map(|run| run != "[]").collect();
    assert_eq!(lengths, [false, false, false, false, true, false, true]);
    let toggle = &publish(&mut engine, &calls[4..5])[0];
    let want = REMOVE.replace(r#""remove""#, &format!(r#""previous":{ADD},"remove""#));
    assert_eq!(*toggle, format!("[{want}]"));
}

#[test]
fn the_shipped_modules_pass() {
    let derive = include_str!("../../../../examples/segmentation/derive.flow.ts");
    let push = include_str!("../../../../examples/segmentation/derive-push.flow.ts");
    let both = ["fromSegmentationUpdate", "fromSegmentationPublish"];
    script::check(derive, "ExamplesSegmentMemberships", &both[1..]).unwrap();
    script::check(derive, "ExamplesSegmentProfiles", &both[1..]).unwrap();
    script::check(derive, "ExamplesSegmentToggles", &both).unwrap();
    script::check(push, "ExamplesSegmentProfilesPush", &both).unwrap();
}
