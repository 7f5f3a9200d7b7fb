//! Lambdas that want too much: each stops with a word about which limit, soon, and the next engine is as good as new.

use std::time::{Duration, Instant};

use script::{Engine, Limits};

use crate::{call, call_on, method};

const LIMITS: Limits = Limits {
    memory_bytes_max: 32 << 20,
    stack_bytes_max: 256 << 10,
    call_time: Duration::from_millis(300),
    source_time: Duration::from_millis(1),
    grace: Duration::from_millis(700),
};

const TIME: &str = "ran longer than the 0.3 seconds it has, in T.m";
const MEMORY: &str = "took more memory than the 32 MiB it has, in T.m";
const STACK: &str = "calls are nested too deeply: more than 256 KiB of stack, in T.m";

/// A body and how its message begins; `""` where it may also succeed.
const BOMBS: &[(&str, &str)] = &[
    ("for (;;) {}", TIME),
    ("for (;;) { try { for (;;) {} } catch {} finally { continue; } }", TIME),
    ("const f = () => f(); return f();", STACK),
    ("const f = (): any => { try { return f(); } catch { return f(); } }; return f();", ""),
    ("const a = []; for (;;) a.push({ a: [1, 2, 3] });", "thrown: null; or took more memory than the 32 MiB it has"),
    ("let s = 'x'; for (;;) s += s;", ""),
    ("return ['x'.repeat(2 ** 28)];", MEMORY),
    ("return ['x'.padStart(2 ** 29)];", MEMORY),
    ("return [new Array(2 ** 28).join('x')];", ""),
    ("return [new Array(2 ** 32 - 1).join('')];", ""),
    ("return [Array.prototype.indexOf.call({ length: 2 ** 53 - 1 } as any, 1)];", TIME),
    ("return [new Array(2 ** 32 - 1).lastIndexOf(1)];", TIME),
    ("new Array(2 ** 32 - 1).forEach(() => {}); return [];", TIME),
    ("const s = 'a'.repeat(2 ** 23); return [s.indexOf(s.slice(2 ** 22) + 'b')];", ""),
    ("let n = 3n; for (;;) n *= n;", ""),
    ("return [/^(a+)+$/.test('a'.repeat(40) + 'b')];", TIME),
    ("return [{ get a() { for (;;) {} } }];", TIME),
    ("return [{ toJSON() { for (;;) {} } }];", TIME),
    ("throw { toString() { for (;;) {} } };", TIME),
    ("class E extends Error { get message() { for (;;) {} } } throw new E();", TIME),
    ("let a: any = []; for (let i = 0; i < 1e5; i++) a = [a]; return [a];", STACK),
    ("return new Array(2 ** 31).fill(0);", ""),
    ("return [Symbol('x').description!.repeat(1e9)];", MEMORY),
    ("[3, 1, 2].sort(() => { for (;;) {} }); return [];", TIME),
    ("return [{ ...new Array(1e7).fill('x') }];", ""),
    ("const r = async () => { for (;;) await null; }; r(); return [];", ""),
    ("return (async () => { for (;;) await null; })() as any;", TIME),
];

#[test]
fn bombs() {
    let mut wrong = Vec::new();
    for (body, want) in BOMBS {
        let began = Instant::now();
        let text = method(body);
        // What is to meet another limit must not meet that of time first, on a machine that is busy.
        let patient = Limits { call_time: Duration::from_secs(30), ..LIMITS };
        let limits = if [STACK, MEMORY].contains(want) { patient } else { LIMITS };
        let mut engine = Engine::open("module.ts", &text, "T", &["m"], None, limits).unwrap();
        let got = call_on(&mut engine, "m", &["{}"]).err().map(|e| e.message).unwrap_or_default();
        let took = began.elapsed();
        println!("{:>5} ms  {body}  {got}", took.as_millis());
        let took_too_long = took > limits.call_time + limits.grace + Duration::from_millis(700);
        if !got.starts_with(want) || took_too_long {
            wrong.push(format!("{body}: {took:?}\n  got  {got}\n  want {want}"));
        }
        drop(engine);
        assert_eq!(call(&method("return [{ a: 1 }];"), "m", &["{}"]).unwrap(), [r#"[{"a":1}]"#]);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn after_a_broken_limit_only_a_reset_helps() {
    let text = "export class T { n = 0; m(s: any) { if (s.loop) for (;;) {} return [{ n: ++this.n }]; } }";
    let mut engine = Engine::open("module.ts", text, "T", &["m"], None, LIMITS).unwrap();
    assert_eq!(call_on(&mut engine, "m", &["{}"]).unwrap(), [r#"[{"n":1}]"#]);
    let error = call_on(&mut engine, "m", &["{}", r#"{"loop":true}"#]).unwrap_err();
    assert_eq!((error.message.starts_with("ran longer"), error.source_index), (true, Some(1)));
    let error = call_on(&mut engine, "m", &["{}"]).unwrap_err();
    assert_eq!(error.message, "T stopped when it broke a limit, in module.ts");
    engine.restart().unwrap();
    assert_eq!(call_on(&mut engine, "m", &["{}"]).unwrap(), [r#"[{"n":1}]"#]);
}

#[test]
fn a_plain_throw_is_not_the_end() {
    let text =
        "export class T { n = 0; m(s: any) { this.n++; if (s.fail) throw new Error('x'); return [{ n: this.n }]; } }";
    let mut engine = Engine::open("module.ts", text, "T", &["m"], None, LIMITS).unwrap();
    assert!(call_on(&mut engine, "m", &[r#"{"fail":true}"#]).is_err());
    assert_eq!(call_on(&mut engine, "m", &["{}"]).unwrap(), [r#"[{"n":2}]"#]);
}

#[test]
fn loading_has_limits_too() {
    for text in [
        "for (;;) {} export class T { m() { return []; } }",
        "export class T { constructor() { for (;;) {} } m() { return []; } }",
    ] {
        let error = Engine::open("module.ts", text, "T", &["m"], None, LIMITS).err().unwrap();
        assert!(error.message.starts_with("ran longer than the 0.3 seconds it has, in T"), "{error}");
    }
}

#[test]
fn long_messages_are_cut() {
    let error = call(&method("throw new Error('x'.repeat(1e6));"), "m", &["{}"]).unwrap_err();
    assert!(error.message.len() < 3000);
}
