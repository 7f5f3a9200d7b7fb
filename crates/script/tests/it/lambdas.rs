//! What methods get and what becomes of what they return.

use doc::Arena;
use script::{Engine, Limits};

use crate::{call, call_on, method};

/// A body, a source, the documents or the message.
const BODIES: &[(&str, &str, &str)] = &[
    ("return [];", r#"{}"#, r#"[]"#),
    ("return [source, source];", r#"{"a":1}"#, r#"[{"a":1},{"a":1}]"#),
    ("return [{ b: source.a, a: 'x' }];", r#"{"a":[1,null,true]}"#, r#"[{"a":"x","b":[1,null,true]}]"#),
    ("return [{ a: undefined, b: () => 1, c: null }];", "{}", r#"[{"c":null}]"#),
    ("return [{ a: 1.0, b: 2.5, c: -0, d: 1 / 0, e: 0 / 0 }];", "{}", r#"[{"a":1,"b":2.5,"c":0,"d":null,"e":null}]"#),
    ("return [{ n: source.n }];", r#"{"n":9007199254740993}"#, r#"[{"n":9007199254740992}]"#),
    ("return [{ n: source.n * 10 }];", r#"{"n":18446744073709551615}"#, r#"[{"n":1.844674407370955e+20}]"#),
    ("return [{ n: -1e20, s: '100000000000000000000' }];", "{}", r#"[{"n":-1e+20,"s":"100000000000000000000"}]"#),
    ("return [{ n: 1e-7, m: 1e300, k: 5e-324 }];", "{}", r#"[{"k":5e-324,"m":1e+300,"n":1e-7}]"#),
    ("return [{ get a() { return 7; } }];", "{}", r#"[{"a":7}]"#),
    ("return [new (class { x = 1; #y = 2; get z() { return 3; } })()];", "{}", r#"[{"x":1}]"#),
    ("return [{ m: new Map([[1, 2]]), s: new Set([1]) }];", "{}", r#"[{"m":{},"s":{}}]"#),
    (
        r"return [{ t: source.t + '\u2028\ud83d\ude00\u0000' }];",
        r#"{"t":"é\"\\"}"#,
        "[{\"t\":\"é\\\"\\\\\u{2028}😀\\u0000\"}]",
    ),
    ("source.a = 2; return [source];", r#"{"a":1}"#, r#"[{"a":2}]"#),
    ("return [{ ...source, __proto__: null }];", r#"{"__proto__":1}"#, r#"[{"__proto__":1}]"#),
    (
        "class E extends Error { constructor() { super('m'); this.name = 'E'; } } return [{ n: new E().name }];",
        "{}",
        r#"[{"n":"E"}]"#,
    ),
    ("const o: any = {}; o.toString = 1; o.constructor = 2; return [o];", "{}", r#"[{"constructor":2,"toString":1}]"#),
    (
        "return source;",
        "{}",
        "TypeError: must return an array of documents, but returned an object, in T.m (module.ts)",
    ),
    ("", "{}", "TypeError: must return an array of documents, but returned undefined, in T.m (module.ts)"),
    (
        "return 'x' as any;",
        "{}",
        "TypeError: must return an array of documents, but returned a string, in T.m (module.ts)",
    ),
    ("const f = async () => [source]; return f() as any;", r#"{"n":1}"#, r#"[{"n":1}]"#),
    (
        "return Promise.all([1, (async () => source.n)()]).then((list) => [{ list }]);",
        r#"{"n":2}"#,
        r#"[{"list":[1,2]}]"#,
    ),
    (
        "return (async () => source)() as any;",
        "{}",
        "TypeError: must return an array of documents, but returned an object, in T.m (module.ts)",
    ),
    ("return Promise.reject(new Error('no'));", "{}", "Error: no, in T.m (line 1 of module.ts)"),
    ("return new Promise(() => {}) as any;", "{}", "waits for a Promise that nothing will resolve, in T.m (module.ts)"),
    ("return [source.a.b];", "{}", "TypeError: cannot read property 'b' of undefined, in T.m (line 1 of module.ts)"),
    ("throw new Error('no such thing');", "{}", "Error: no such thing, in T.m (line 1 of module.ts)"),
    ("throw 'a string';", "{}", "thrown: a string, in T.m (module.ts)"),
    ("throw null;", "{}", "thrown: null; or took more memory than the 64 MiB it has, in T.m (module.ts)"),
    ("throw { toString() { throw 1; } };", "{}", "thrown: an object, in T.m (module.ts)"),
    ("const a: any = {}; a.a = a; return [a];", "{}", "TypeError: circular reference, in T.m (module.ts)"),
    ("return [{ n: 1n }];", "{}", "TypeError: BigInt are forbidden in JSON.stringify, in T.m (module.ts)"),
    (
        r"return [{ s: '\ud800' }];",
        "{}",
        "returned what is no document: a lone surrogate is no character at byte 9, in T.m (module.ts)",
    ),
];

#[test]
fn bodies() {
    let mut wrong = Vec::new();
    for (body, source, want) in BODIES {
        let got = match call(&method(body), "m", &[source]) {
            Ok(rows) => rows.concat(),
            Err(e) => e.message,
        };
        if got != *want {
            wrong.push(format!("{body}\n  got  {got}\n  want {want}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// TypeScript that has to go, a module each; the method `m` of `T` returns one document.
const SYNTAX: &[(&str, &str)] = &[
    (
        "enum Kind { A, B = 'b', C = 7 } export class T { m() { return [{ a: Kind.A, b: Kind.B, c: Kind.C, n: Kind[0] }]; } }",
        r#"[{"a":0,"b":"b","c":7,"n":"A"}]"#,
    ),
    ("const enum K { X = 3 } export class T { m() { return [{ x: K.X }]; } }", r#"[{"x":3}]"#),
    ("function id<A>(a: A): A { return a; } export class T { m() { return [{ x: id<number>(1) }]; } }", r#"[{"x":1}]"#),
    (
        "export class T { private readonly n = 5; constructor(private readonly k: any, public b = 2) {} m() { return [{ n: this.n, b: this.b, k: this.k }]; } }",
        r#"[{"b":2,"n":5}]"#,
    ),
    (
        "import { interfaces, collections } from 'flow/modules'; export class T implements interfaces.T { m(s: collections.S): collections.S[] { return [{ x: 1 }]; } }",
        r#"[{"x":1}]"#,
    ),
    (
        "import type { A } from './elsewhere'; import { type B } from 'any'; export class T { m(): (A | B)[] { return [{ x: 1 } as unknown as A]; } }",
        r#"[{"x":1}]"#,
    ),
    (
        "import { IDerivation, Document, SourceA } from 'flow/a/b.ts'; export class T extends IDerivation { m(read: { doc: SourceA }): Document[] { return [{ x: 1 }]; } }",
        r#"[{"x":1}]"#,
    ),
    (
        "import { IDerivation as Base } from 'flow/a/b.ts'; export class T extends Base { constructor(open: { state: unknown }) { super(open); } m() { return [{ x: 1 }]; } }",
        r#"[{"x":1}]"#,
    ),
    (
        "interface I { a: number } type M = { [K in keyof I]?: I[K] }; declare const nothing: M; abstract class B { abstract n(): number; m() { return [{ n: this.n() }]; } } export class T extends B { n() { return 4; } }",
        r#"[{"n":4}]"#,
    ),
    ("class Inner { m() { return [{ x: 1 }]; } } export { Inner as T };", r#"[{"x":1}]"#),
    ("export const T = class { m = (s: any) => [{ x: 1 }]; };", r#"[{"x":1}]"#),
    ("namespace N { export const x = 2; } export class T { m() { return [{ x: N.x }]; } }", r#"[{"x":2}]"#),
    (
        "export class T { m(a: string): any[]; m(a: number): any[]; m(a: any) { let v = a!; return [{ x: (v satisfies any).k ?? 1 }]; } }",
        r#"[{"x":1}]"#,
    ),
    (
        "export class T { #seen = new Set<string>(); m() { return [{ x: this.#seen.size, p: /(?<y>\\d+)/u.exec('a12')?.groups?.y }]; } }",
        r#"[{"p":"12","x":0}]"#,
    ),
];

#[test]
fn syntax() {
    for (text, want) in SYNTAX {
        script::check(text, "T", &["m"]).unwrap_or_else(|e| panic!("{text}\n{e:?}"));
        let got = call(text, "m", &["{}"]).unwrap_or_else(|e| panic!("{text}\n{e}"));
        assert_eq!(got.concat(), *want, "{text}");
    }
}

#[test]
fn lines_are_those_of_the_typescript() {
    let text = "interface Long {\n  a: string;\n  b: string;\n}\n\nenum E { A }\n\nexport class T {\n  // A remark.\n  m(source: any): any[] {\n    const deep = (x: Long) =>\n      (x as any).y.z;\n    return [deep(source)];\n  }\n}\n";
    let error = call(text, "m", &["{}"]).unwrap_err();
    assert_eq!(error.message, "TypeError: cannot read property 'z' of undefined, in T.m (line 12 of module.ts)");
}

#[test]
fn errors_say_which_source_it_was() {
    let text = method("if (source.n === 3) throw new Error('three'); return [];");
    let error = call(&text, "m", &[r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#]).unwrap_err();
    assert_eq!(error.source_index, Some(2));
    let error = call(&method(r"return source.n ? [] : [{ s: '\ud800' }];"), "m", &[r#"{"n":1}"#, "{}"]).unwrap_err();
    assert_eq!(error.source_index, Some(1));
}

#[test]
fn blocks_of_any_size_keep_their_order_and_count() {
    let big = format!(r#"{{"pad":"{}"}}"#, "x".repeat(200_000));
    let sources: Vec<&str> = (0..12).map(|_| big.as_str()).collect();
    let text = "export class T { n = 0; m(s: any) { this.n++; return Array(this.n % 3).fill({ n: this.n }); } }";
    let got = call(text, "m", &sources).unwrap();
    let want = ["[{\"n\":1}]", "[{\"n\":2},{\"n\":2}]", "[]", "[{\"n\":4}]"];
    assert_eq!(got.len(), 12);
    assert_eq!(got[..4], want);
    assert_eq!(got[11], "[]");

    let failing = "export class T { n = 0; m(s: any) { if (++this.n === 11) throw 1; return []; } }";
    assert_eq!(call(failing, "m", &sources).unwrap_err().source_index, Some(10));
    assert_eq!(call(text, "m", &[]).unwrap(), Vec::<String>::new());
}

#[test]
fn reset_forgets() {
    let text = "let seen = 0; export class T { n = 0; m() { return [{ seen: ++seen, n: ++this.n }]; } }";
    let mut engine = Engine::open("module.ts", text, "T", &["m"], None, Limits::default()).unwrap();
    assert_eq!(call_on(&mut engine, "m", &["{}", "{}"]).unwrap()[1], r#"[{"n":2,"seen":2}]"#);
    assert_eq!(call_on(&mut engine, "m", &["{}"]).unwrap()[0], r#"[{"n":3,"seen":3}]"#);
    engine.restart().unwrap();
    assert_eq!(call_on(&mut engine, "m", &["{}"]).unwrap()[0], r#"[{"n":1,"seen":1}]"#);
}

#[test]
fn constructors_of_classes_without_a_state_get_nothing() {
    let text =
        "class B { constructor(protected n = 7) {} } export class T extends B { m() { return [{ n: this.n }]; } }";
    assert_eq!(call(text, "m", &["{}"]).unwrap(), [r#"[{"n":7}]"#]);
    let mut engine = Engine::open("module.ts", text, "T", &["m"], None, Limits::default()).unwrap();
    engine.restart().unwrap();
    assert_eq!(call_on(&mut engine, "m", &["{}"]).unwrap(), [r#"[{"n":7}]"#]);
}

#[test]
fn three_arguments() {
    let text = method("return [{ s: source.a, r: register, p: previous }];");
    let mut engine = Engine::open("module.ts", &text, "T", &["m"], None, Limits::default()).unwrap();
    let arena = Arena::new();
    let node = |s: &'static str| doc::parse(&arena, s.as_bytes()).unwrap();
    let calls = [[node(r#"{"a":1}"#), node("0"), node("null")], [node(r#"{"a":2}"#), node("{}"), node("[1]")]];
    let returned = engine.call(&arena, "m", calls).unwrap();
    let got = crate::runs(&returned.documents, &returned.ends);
    assert_eq!(got, [r#"[{"p":null,"r":0,"s":1}]"#, r#"[{"p":[1],"r":{},"s":2}]"#]);
}
