//! Classes as since 2023: a state of their own, `flush`, `reset` and `startCommit`.

use doc::Arena;
use script::{Engine, Limits};

use crate::call_on;

const IMPORT: &str = "import { IDerivation, Document, SourceA } from 'flow/a/b.ts';";

fn open(body: &str, state: Option<&str>) -> Engine {
    let text = format!("{IMPORT} export class Derivation extends IDerivation {{ {body} }}");
    script::check(&text, "Derivation", &["m"]).unwrap_or_else(|e| panic!("{text}\n{e:?}"));
    Engine::open("module.ts", &text, "Derivation", &["m"], state.or(Some("{}")), Limits::default()).unwrap()
}

fn flush(engine: &mut Engine) -> Result<String, String> {
    let arena = Arena::new();
    let documents = engine.flush(&arena).map_err(|e| e.message)?;
    Ok(documents.iter().map(|d| d.to_json()).collect::<Vec<_>>().join(" "))
}

#[test]
fn the_base_class_does_nothing() {
    let mut engine = open("m(read: { doc: SourceA }): Document[] { return [read.doc]; }", None);
    assert_eq!(call_on(&mut engine, "m", &[r#"{"doc":{"a":1}}"#]).unwrap(), [r#"[{"a":1}]"#]);
    assert_eq!(flush(&mut engine).unwrap(), "");
    assert_eq!(engine.start_commit().unwrap(), None);
    engine.reset().unwrap();
}

/// `flush`, and what comes of it after one call of `m`.
const FLUSHES: &[(&str, Result<&str, &str>)] = &[
    ("flush() { return [{ n: this.n }, {}]; }", Ok(r#"{"n":1} {}"#)),
    ("async flush() { await null; const n = await (async () => this.n)(); return [{ n }]; }", Ok(r#"{"n":1}"#)),
    ("async flush(): Promise<Document[]> { return [...(await super.flush()), { n: this.n }]; }", Ok(r#"{"n":1}"#)),
    (
        "flush() { return 5 as any; }",
        Err("TypeError: must return an array of documents, but returned a number, in Derivation.flush (module.ts)"),
    ),
    (
        "async flush() { await null; throw new Error('no'); }",
        Err("Error: no, in Derivation.flush (line 1 of module.ts)"),
    ),
    (
        "flush() { return { then() {} } as any; }",
        Err("waits for a Promise that nothing will resolve, in Derivation.flush (module.ts)"),
    ),
    (
        "async flush() { while (true) await null; }",
        Err("ran longer than the 1.5 seconds it has, in Derivation.flush (module.ts)"),
    ),
];

#[test]
fn flushes() {
    for (body, want) in FLUSHES {
        let mut engine = open(&format!("n = 0; m(): Document[] {{ this.n++; return []; }} {body}"), None);
        call_on(&mut engine, "m", &["{}"]).unwrap();
        let got = flush(&mut engine);
        let got = got.as_deref().map_err(|e| match e.rsplit_once(" (line") {
            // Where an endless loop is stopped is chance.
            Some((before, _)) if e.starts_with("ran") => format!("{before} (module.ts)"),
            _ => e.clone(),
        });
        assert_eq!(got, want.map_err(str::to_owned), "{body}");
    }
}

#[test]
fn resets() {
    let mut leaks = open("n = 0; m() { return [{ n: ++this.n }]; }", None);
    let mut clears = open("n = 0; async reset() { await null; this.n = 10; } m() { return [{ n: ++this.n }]; }", None);
    for engine in [&mut leaks, &mut clears] {
        assert_eq!(call_on(engine, "m", &["{}"]).unwrap(), [r#"[{"n":1}]"#]);
        engine.reset().unwrap();
    }
    assert_eq!(call_on(&mut leaks, "m", &["{}"]).unwrap(), [r#"[{"n":2}]"#]);
    assert_eq!(call_on(&mut clears, "m", &["{}"]).unwrap(), [r#"[{"n":11}]"#]);
}

/// The state that was committed, what `startCommit` returns, and the state after it.
const STATES: &[(&str, &str, Option<&str>)] = &[
    (r#"{"a":1}"#, "{}", None),
    (r#"{"a":1}"#, "undefined as any", None),
    (r#"{"a":1}"#, "{ state: { updated: { b: 2 }, mergePatch: false } }", Some(r#"{"b":2}"#)),
    (r#"{"a":1}"#, "{ state: { updated: { b: 2 } } }", Some(r#"{"b":2}"#)),
    (r#"{"a":1}"#, "{ state: { updated: { b: 2 }, mergePatch: true } }", Some(r#"{"a":1,"b":2}"#)),
    (
        r#"{"a":1,"b":{"c":1,"d":2}}"#,
        "{ state: { updated: { a: null, b: { c: null, e: [null] } }, mergePatch: true } }",
        Some(r#"{"b":{"d":2,"e":[null]}}"#),
    ),
    (r#"{"a":{"b":"c"}}"#, "{ state: { updated: { a: [1] }, mergePatch: true } }", Some(r#"{"a":[1]}"#)),
    (r#"{"a":[1]}"#, "{ state: { updated: { a: { b: { c: null } } }, mergePatch: true } }", Some(r#"{"a":{"b":{}}}"#)),
    (
        r#"{"a":1}"#,
        "{ state: { updated: JSON.parse('{\"__proto__\":{\"x\":1}}'), mergePatch: true } }",
        Some(r#"{"a":1,"__proto__":{"x":1}}"#),
    ),
    (r#"{}"#, "{ state: { updated: { u: undefined, n: null }, mergePatch: false } }", Some(r#"{"n":null}"#)),
];

#[test]
fn states() {
    for (before, returned, after) in STATES {
        let body = format!("m() {{ return []; }} startCommit() {{ return {returned}; }}");
        let mut engine = open(&body, Some(before));
        assert_eq!(engine.start_commit().unwrap_or_else(|e| panic!("{returned}: {e}")), *after, "{before} {returned}");
    }
}

#[test]
fn the_constructor_gets_the_state_that_was_committed() {
    let body = "n: number; constructor(open: { state: { n?: number } }) { super(open); this.n = open.state.n ?? 0; }
        m() { return [{ n: ++this.n }]; }
        startCommit(_: unknown) { return { state: { updated: { n: this.n }, mergePatch: true } }; }";
    let mut engine = open(body, None);
    call_on(&mut engine, "m", &["{}", "{}", "{}"]).unwrap();
    let state = engine.start_commit().unwrap().map(str::to_owned);
    assert_eq!(state.as_deref(), Some(r#"{"n":3}"#));
    let mut engine = open(body, state.as_deref());
    assert_eq!(call_on(&mut engine, "m", &["{}"]).unwrap(), [r#"[{"n":4}]"#]);
}
