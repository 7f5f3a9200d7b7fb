//! What lambdas cannot see and cannot change.

use crate::{call, method};

#[test]
fn the_world_is_absent() {
    let names = "performance fetch process require module std os bjson print gc navigator setTimeout \
                 queueMicrotask WeakRef FinalizationRegistry Proxy eval ArrayBuffer Atomics Uint8Array crypto";
    for name in names.split_whitespace() {
        let got = call(&method(&format!("return [typeof {name}, '{name}' in globalThis];")), "m", &["{}"]).unwrap();
        assert_eq!(got, [r#"["undefined",false]"#], "{name}");
    }
    assert_eq!(call(&method("return [typeof Math.random];"), "m", &["{}"]).unwrap(), [r#"["undefined"]"#]);
}

#[test]
fn dates_are_values_without_a_present_or_a_place() {
    let cases = [
        ("new Date('2021-01-16T12:34:56Z').getTime()", "1610800496000"),
        ("Date.parse('2021-01-16T12:34:56+02:00')", "1610793296000"),
        ("new Date('2021-01-16T12:34:56').toISOString()", "\"2021-01-16T12:34:56.000Z\""),
        ("new Date('2021-01-16').getTime()", "1610755200000"),
        ("new Date(2021, 0, 16, 12).toISOString()", "\"2021-01-16T12:00:00.000Z\""),
        ("new Date('2021-01-16T23:34:56Z').getHours()", "23"),
        ("new Date('2021-01-16T12:34:56Z').getTimezoneOffset()", "0"),
        ("new Date(Date.UTC(2021, 0, 31)).getDay()", "0"),
        ("new Date(0)", "\"1970-01-01T00:00:00.000Z\""),
        ("String(new Date(0))", "\"Thu, 01 Jan 1970 00:00:00 GMT\""),
        ("new Date(new Date(5)) instanceof Date", "true"),
        ("((d) => { d.setHours(25); return d; })(new Date('2021-01-16T00:00:00Z'))", "\"2021-01-17T01:00:00.000Z\""),
        ("new Date('nonsense').getTime()", "null"),
        ("(Date as any).now.name && 1", "1"),
    ];
    for (expression, expected) in cases {
        let got = call(&method(&format!("return [{expression}] as any;")), "m", &["{}"]);
        assert_eq!(got.map_err(|e| e.message), Ok(vec![format!("[{expected}]")]), "{expression}");
    }
    for now in ["Date.now()", "new Date()", "(Date as any)()", "new (new Date(0).constructor as any)()"] {
        let error = call(&method(&format!("return [{now}] as any;")), "m", &["{}"]).unwrap_err();
        assert!(error.message.contains("lambdas have no clock"), "{now}: {error}");
    }
}

#[test]
fn values_can_be_cloned() {
    let cases = [
        (
            "((a) => { const b = structuredClone(a); b.c[0].d = 2; return [a, b]; })({ c: [{ d: 1 }, null, 'x'] })",
            r#"[{"c":[{"d":1},null,"x"]},{"c":[{"d":2},null,"x"]}]"#,
        ),
        (
            "structuredClone(new Map([[{ k: 1 }, new Set([new Date(5)])]])).entries().next().value.map((v: any) => [...(v.k ? [v.k] : v)])",
            r#"[[1],["1970-01-01T00:00:00.005Z"]]"#,
        ),
        (
            "((a: any) => { a.self = a; const b = structuredClone(a); return [b === a, b.self === b]; })({})",
            "[false,true]",
        ),
        ("((l: any) => { l[3] = 1; const m = structuredClone(l); return [m.length, 1 in m]; })([0])", "[4,false]"),
        ("Object.keys(structuredClone(JSON.parse('{\"__proto__\":1}')))", r#"["__proto__"]"#),
        ("structuredClone(7)", "7"),
    ];
    for (expression, expected) in cases {
        let got = call(&method(&format!("return [{expression}] as any;")), "m", &["{}"]);
        assert_eq!(got.map_err(|e| e.message), Ok(vec![format!("[{expected}]")]), "{expression}");
    }
    let error = call(&method("return [structuredClone({ f() {} })] as any;"), "m", &["{}"]).unwrap_err();
    assert!(error.message.contains("a function cannot be cloned"), "{error}");
}

#[test]
fn what_is_written_to_the_console_goes_nowhere() {
    let got = call(&method("console.log('seen', 1); console.error({}); return [1] as any;"), "m", &["{}"]);
    assert_eq!(got.unwrap(), ["[1]"]);
}

#[test]
fn strings_do_not_become_code() {
    let ways = [
        "Function('return 1')",
        "new Function('return 1')",
        "(() => 1).constructor('return 1')",
        "(function* () {}).constructor('yield 1')",
        "(async () => 1).constructor('return 1')",
        "Object.getPrototypeOf(async function* () {}).constructor('yield 1')",
        "Reflect.construct(Object.getPrototypeOf(function () {}).constructor, ['return 1'])",
    ];
    for way in ways {
        let error = call(&method(&format!("return [{way}] as any;")), "m", &["{}"]).unwrap_err();
        assert!(error.message.contains("lambdas cannot make code from strings"), "{way}: {error}");
    }
}

#[test]
fn built_ins_are_frozen() {
    let changes = [
        "(Object.prototype as any).polluted = 1",
        "(Array.prototype as any).map = 1",
        "(String.prototype as any).x = 1",
        "(globalThis as any).x = 1",
        "(Math as any).abs = 1",
        "(JSON as any).stringify = () => '[]'",
        "Object.defineProperty(Array.prototype, 'x', { value: 1 })",
        "Object.setPrototypeOf(Array.prototype, {})",
        "({} as any).__proto__.x = 1",
        "([] as any)[Symbol.iterator]().__proto__.next = 1",
        "(function* () {} as any).__proto__.prototype.next = 1",
        "(Object.prototype as any).toString = 1",
        "(Error as any).stackTraceLimit = 0",
        "(new Map().entries() as any).__proto__.next = 1",
        "('a'.matchAll(/a/g) as any).__proto__.next = 1",
        "((async () => {})() as any).__proto__.then = 1",
    ];
    for change in changes {
        let error = call(&method(&format!("{change}; return [];")), "m", &["{}"]);
        assert!(error.as_ref().is_err_and(|e| e.message.starts_with("TypeError")), "{change}: {error:?}");
    }
}

#[test]
fn ordinary_code_still_works() {
    let body = r#"
        const words = source.text.split(/\s+/).map((w: string) => w.toLowerCase()).filter(Boolean);
        const counts = new Map<string, number>();
        for (const w of words) counts.set(w, (counts.get(w) ?? 0) + 1);
        const sorted = [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
        const [first, ...rest] = sorted;
        function* gen() { yield* rest; }
        return [{ ...Object.fromEntries(sorted), first, rest: [...gen()].length, max: Math.max(...counts.values()),
                  s: `${words.at(-1)}`.padStart(5, '*'), j: JSON.parse('{"a":[1]}'), n: (12.345).toFixed(1), p: parseInt('12px') }];
    "#;
    let got = call(&method(body), "m", &[r#"{"text":"The cat the Dog"}"#]).unwrap();
    assert_eq!(
        got,
        [
            r#"[{"cat":1,"dog":1,"first":["cat",1],"j":{"a":[1]},"max":2,"n":"12.3","p":12,"rest":2,"s":"**dog","the":2}]"#
        ]
    );
}
