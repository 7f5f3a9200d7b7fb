//! Native lambdas give what QuickJS gives, or leave the call to it.

mod program;

use std::path::PathBuf;

use catalog::{Catalog, Derivation, Lambda, Module, StepKind, Using};
use doc::{Arena, Node};
use script::{Engine, Limits};

use crate::identity::Numbers;
use crate::{method, runs};

/// Both engines over one class.
struct Both {
    native: Engine,
    quickjs: Engine,
}

impl Both {
    fn open(text: &str, class: &str, methods: &[&str]) -> Both {
        let open = || Engine::open("module.ts", text, class, methods, Some("{}"), Limits::default());
        let native = open().unwrap_or_else(|e| panic!("{e}\n{text}"));
        Both { native, quickjs: open().unwrap().without_native().unwrap() }
    }

    /// What each makes of one call: documents, or the message.
    fn call<'a, const WIDTH: usize>(
        &mut self,
        arena: &'a Arena,
        method: &str,
        arguments: [Node<'a>; WIDTH],
    ) -> [String; 2] {
        [&mut self.native, &mut self.quickjs].map(|engine| match engine.call(arena, method, [arguments]) {
            Ok(rows) => runs(&rows.documents, &rows.ends).concat(),
            Err(e) => format!("{:?} {}", e.source_index, e.message),
        })
    }
}

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Methods of one generated class, and documents for each.
const METHODS: usize = 20;
const DOCUMENTS: usize = 5;

/// Generated programs over generated documents. `NATIVE_PAIRS` says how many of both, `NATIVE_SEED` which.
#[test]
fn generated_programs() {
    let pairs = from_env("NATIVE_PAIRS").unwrap_or(4_000);
    let mut numbers = Numbers(from_env("NATIVE_SEED").unwrap_or(1));
    let names: Vec<String> = (0..METHODS).map(|n| format!("m{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (mut done, mut left, mut failed) = (0, 0, 0);
    let mut different = Vec::new();
    while done < pairs && different.len() < 10 {
        let class = program::class(&mut numbers, &names);
        let mut both = Both::open(&class.text, "T", &names);
        for (name, body) in names.iter().zip(&class.methods) {
            let refusal = both.native.refusal(name);
            assert_eq!(refusal, None, "{body}\n{}", class.text);
            let arena = Arena::new();
            for _ in 0..DOCUMENTS {
                let source = program::document(&mut numbers, &arena, 4);
                let [native, quickjs] = both.call(&arena, name, [source]);
                failed += u64::from(!quickjs.starts_with('['));
                if native != quickjs {
                    different.push((
                        body.len(),
                        format!("{body}\n  of      {}\n  native  {native}\n  QuickJS {quickjs}\n", source.to_json()),
                    ));
                }
                done += 1;
            }
        }
        left += both.native.calls_left();
    }
    different.sort();
    let shown: Vec<&str> = different.iter().take(3).map(|(_, text)| text.as_str()).collect();
    println!("{done} pairs, {left} left to QuickJS, of which {failed} fail there");
    assert!(different.is_empty(), "{}", shown.join("\n"));
    // A test of an evaluator that always gives up would show nothing.
    assert!(left < done / 5 * 3, "{left} of {done} were left to QuickJS");
}

/// A body, and whether it is native or the first thing that is not.
const BODIES: &[(&str, Option<&str>)] = &[
    ("return [source];", None),
    ("const { a, ...rest } = source; return [{ ...rest, a: a ?? 1 }];", None),
    ("const total = (xs: number[]) => xs.reduce((sum, x) => sum + x, 0); return [{ total: total(source.xs) }];", None),
    ("return Object.entries(source).map(([k, v]) => ({ k, v }));", None),
    ("let n = 0; n += 1; n++; return [{ n }];", None),
    ("switch (source.a) { case 1: return [{}]; default: break; } return [];", None),
    ("if (!source.a) throw new Error('none'); return [];", None),
    ("for (const x of source.xs) {} return [];", Some("a loop")),
    ("source.a = 1; return [source];", Some("an assignment to something that others may see")),
    ("return [new Date(source.t)];", Some("`new`")),
    ("return [{ a: /x/.test(source.a) }];", Some("a regular expression")),
    ("return [{ get a() { return 1; } }];", Some("a getter, setter or method")),
    ("const f = (n: number): number => f(n); return [f(1)];", Some("`f()`, which is no function of the module")),
    ("return [{ t: JSON.stringify(source) }];", Some("`JSON.stringify()`")),
    ("return source.xs.sort();", Some("`sort()`, which changes an array that others may see")),
    ("return [this];", Some("`this` as a value")),
    (
        "let n = 0; source.xs.map((x: number) => { n += x; return n; }); return [n];",
        Some("an assignment to `n`, which is not of this function"),
    ),
    ("return [{ ...{ __proto__: source } }];", Some("a prototype")),
    ("return [arguments.length];", Some("`arguments`")),
    ("return [later()]; function later() { return 1; }", Some("`later()`, which is no function of the module")),
    ("return [x]; const x = 1;", Some("`x`, which is no constant of the module")),
];

#[test]
fn what_is_native() {
    for (body, want) in BODIES {
        let engine = Engine::open("module.ts", &method(body), "T", &["m"], None, Limits::default()).unwrap();
        assert_eq!(engine.refusal("m").map(|r| r.what.as_str()), *want, "{body}");
    }
}

/// What a class does outside of the method `m` that keeps the method from being what it looks like.
const CLASSES: &[(&str, Option<&str>)] = &[
    ("export class T { n = 1; #k = 'x'; m() { return [{ n: this.n, k: this.#k }]; } }", None),
    ("export class T { m() { return [this.#p(1)]; } #p(n: number) { return { n }; } }", None),
    ("function f(a: any) { return a; } const K = -5; export class T { m() { return [f(K)]; } }", None),
    ("export class T { m(s: any) { return [{}]; } n() { (this as any).x = 1; } }", None),
    ("class Inner { m() { return [{}]; } } export { Inner as T };", None),
    ("import { IDerivation } from 'flow/a'; export class T extends IDerivation { m() { return [{}]; } }", None),
    (
        "export class T { m() { return [{ n: this.n }]; } n = 1; o() { this.n = 2; } }",
        Some("`this.n`, which is no constant"),
    ),
    ("export class T { constructor() {} m() { return [{}]; } }", Some("the class has a constructor")),
    ("export class T { m() { return [{}]; } n() { this.m = () => [] as any; } }", Some("`m` is assigned to")),
    ("export class T { m() { return [{}]; } n() { [this.m] = [() => []] as any; } }", Some("`m` is assigned to")),
    ("export class T { m() { return [{}]; } n() { const self = this; } }", Some("`this` as a value")),
    ("export class T { m() { return [{}]; } n() { return this.constructor; } }", Some("`this.constructor`")),
    ("export class T { m() { return [{}]; } } T.prototype.m = () => [];", Some("the class is used as a value")),
    (
        "class B { m() { return [{}]; } } export class T extends B { m() { return [{}]; } }",
        Some("the class extends another"),
    ),
    (
        "let f = (a: any) => a; export class T { m() { return [f(1)]; } }",
        Some("`f()`, which is no function of the module"),
    ),
    (
        "function f(n: any): any { return n ? g(n) : n; } function g(n: any) { return f(n); } export class T { m() { return [f(1)]; } }",
        Some("a function that calls itself"),
    ),
    ("export const T = class { m() { return [{}]; } };", Some("`T` is not declared as a class")),
    ("export class T { n = Math.max(1); m() { return [{}]; } }", Some("a property whose value is worked out")),
];

#[test]
fn classes() {
    let mut wrong = Vec::new();
    for (text, want) in CLASSES {
        let mut both = Both::open(text, "T", &["m"]);
        let got = both.native.refusal("m").map(|r| r.what.clone());
        if got.as_deref() != *want {
            wrong.push(format!("{text}\n  got {got:?}\n  want {want:?}"));
        }
        let arena = Arena::new();
        let [native, quickjs] = both.call(&arena, "m", [Node::U64(1)]);
        assert_eq!(native, quickjs, "{text}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn refusals_have_lines() {
    let text = "export class T {\n  m(s: any) {\n    return [\n      /x/.test(s),\n    ];\n  }\n}\n";
    let engine = Engine::open("module.ts", text, "T", &["m"], None, Limits::default()).unwrap();
    assert_eq!(engine.refusal("m").map(|r| r.line), Some(4));
}

/// Bodies that take long, or much memory, of a list of three strings.
const BOMBS: &[&str] = &[
    "const f = (x: any) => [x, x, x, x, x, x, x, x]; const g = (x: any) => f(x).map(f); const h = (x: any) => g(x).map(g); return h(h(source));",
    "const f = (x: string) => x + x; const g = (x: string) => f(f(f(f(f(f(x)))))); return [{ n: g(g(g(g(source[0])))).length }];",
    "return [{ n: 'x'.repeat(1e6).length, m: 'x'.padStart(1e6).length }];",
];

#[test]
fn bombs_are_left_to_quickjs() {
    let arena = Arena::new();
    let source = doc::parse(&arena, br#"["one","two","three"]"#).unwrap();
    for body in BOMBS {
        let mut both = Both::open(&method(body), "T", &["m"]);
        assert_eq!(both.native.refusal("m"), None, "{body}");
        let [native, quickjs] = both.call(&arena, "m", [source]);
        assert_eq!(native, quickjs, "{body}");
        assert_eq!(both.native.calls_left(), 1, "{body}");
        assert!(arena.allocated_bytes() < 64 << 20);
    }
}

#[test]
fn calls_that_are_left_keep_their_place() {
    let text = method("return source.n > 2 ** 0 ? [] : [];").replace("2 ** 0", "1");
    assert!(Engine::open("module.ts", &text, "T", &["m"], None, Limits::default()).unwrap().refusal("m").is_none());
    // An array becomes a string only in QuickJS.
    let mut both = Both::open(&method("return [{ t: `${source.n}` }, {}];"), "T", &["m"]);
    let sources = [r#"{"n":1}"#, r#"{"n":[1,2]}"#, r#"{"n":"x"}"#, r#"{"n":[3]}"#];
    let got = crate::call_on(&mut both.native, "m", &sources).unwrap();
    assert_eq!(got, [r#"[{"t":"1"},{}]"#, r#"[{"t":"1,2"},{}]"#, r#"[{"t":"x"},{}]"#, r#"[{"t":"3"},{}]"#]);
    assert_eq!(both.native.calls_left(), 2);

    let mut failing = Both::open(&method("return [{ t: source.n.x.y }];"), "T", &["m"]);
    let sources = [r#"{"n":{"x":{}}}"#, r#"{"n":{"x":{}}}"#, r#"{"n":{}}"#];
    let error = crate::call_on(&mut failing.native, "m", &sources).unwrap_err();
    assert_eq!(error.message, "TypeError: cannot read property 'y' of undefined, in T.m (line 1 of module.ts)");
    assert_eq!(error.source_index, Some(2));
}

/// Every lambda of the examples, over the documents of their tests and registers its updates make.
#[test]
fn examples() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let (mut lambdas, mut native, mut calls) = (0, 0, 0);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&directory)
        .unwrap()
        .filter_map(|entry| std::fs::read_dir(entry.unwrap().path()).ok())
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".flow.yaml"))
        .collect();
    files.sort();
    for file in files {
        let root = url::Url::from_file_path(file.canonicalize().unwrap()).unwrap();
        let built = catalog::build(&root, &catalog::Files, &crate::sqlite::NoHost);
        for collection in &built.catalog.collections {
            let Some(derivation) = &collection.derivation else { continue };
            let Using::Typescript(module) = &derivation.using else { continue };
            let counts = compare_derivation(&built.catalog, derivation, module);
            lambdas += counts[0];
            native += counts[1];
            calls += counts[2];
        }
    }
    println!("{native} of {lambdas} lambdas are native, {calls} calls");
    assert!(lambdas >= 40 && native * 10 >= lambdas * 9 && calls > 200, "{native} of {lambdas}, {calls} calls");
}

fn compare_derivation(catalog: &Catalog, derivation: &Derivation, module: &Module) -> [usize; 3] {
    let name = |lambda: &Option<Lambda>| match lambda {
        Some(Lambda::Method(name)) => Some(name.clone()),
        _ => None,
    };
    let transforms: Vec<_> =
        derivation.transforms.iter().map(|t| (t.source.as_str(), name(&t.update), name(&t.publish))).collect();
    let methods: Vec<&str> = transforms.iter().flat_map(|(_, u, p)| [u, p]).flatten().map(String::as_str).collect();
    let mut both = Both::open(&module.text.text, &module.class, &methods);
    let arena = Arena::new();
    let documents = |source: &str| -> Vec<Node<'_>> {
        let steps = catalog.tests.iter().flat_map(|t| &t.steps).filter(|step| step.collection == source);
        let steps = steps.filter(|step| matches!(step.kind, StepKind::Ingest | StepKind::Verify));
        steps.flat_map(|step| &step.documents).map(|tree| doc::from_value(&arena, &tree.to_value())).collect()
    };
    let mut calls = 0;
    let mut registers = vec![Node::Null, doc::parse(&arena, derivation.register_initial.as_bytes()).unwrap()];
    for (source, update, _) in &transforms {
        let Some(update) = update else { continue };
        for document in documents(source) {
            let [native, quickjs] = both.call(&arena, update, [document]);
            assert_eq!(native, quickjs, "{update} of {}", document.to_json());
            calls += 1;
            if quickjs.starts_with('[') {
                let rows = doc::parse(&arena, arena.alloc_str(&quickjs).as_bytes()).unwrap();
                registers.extend_from_slice(rows.as_array().unwrap());
            }
        }
    }
    registers.truncate(8);
    for (source, _, publish) in &transforms {
        let Some(publish) = publish else { continue };
        for document in documents(source) {
            if module.modern {
                let read = doc::Field { name: "doc", value: document };
                let [native, quickjs] = both.call(&arena, publish, [Node::object(&arena, vec![read])]);
                assert_eq!(native, quickjs, "{publish} of {}", document.to_json());
                calls += 1;
                continue;
            }
            for register in &registers {
                for previous in &registers {
                    let [native, quickjs] = both.call(&arena, publish, [document, *register, *previous]);
                    assert_eq!(native, quickjs, "{publish} of {} {register:?} {previous:?}", document.to_json());
                    calls += 1;
                }
            }
        }
    }
    let native = methods.iter().filter(|m| both.native.refusal(m).is_none()).count();
    [methods.len(), native, calls]
}
