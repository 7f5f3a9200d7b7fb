//! Mistakes in modules: the message, the text it points at, the hint.

/// A module, and its mistakes as `[what it points at] message (hint)`.
const MISTAKES: &[(&str, &[&str])] = &[
    ("export class T { m() { return [] }", &["[] Expected `}` but found `EOF`"]),
    ("export class T { m() { return 1 +; } }", &["[;] Unexpected token"]),
    ("let a = 1; let a = 2; export class T { m() { return []; } }", &["[a] Identifier `a` has already been declared"]),
    ("", &["[] the module exports no class `T` (it exports nothing)"]),
    ("export class Other { m() {} }", &["[] the module exports no class `T` (it exports `Other`)"]),
    ("export class Tt { m() {} }", &["[] the module exports no class `T` (did you mean `Tt`?)"]),
    ("class T { m() {} }", &["[T] class `T` is not exported by its name (write `export class T`)"]),
    ("export default class T { m() {} }", &["[T] class `T` is not exported by its name (write `export class T`)"]),
    ("export type T = { m(): any };", &["[] `T` is exported, but is no class (write `export class T`)"]),
    ("export abstract class T { m() { return []; } }", &["[T] class `T` is abstract"]),
    (
        "export class T { mm() {} other() {} }",
        &["[T] class `T` has no method `m` (did you mean `mm`? It has `mm`, `other`)"],
    ),
    ("export class T {}", &["[T] class `T` has no method `m` (it has no methods)"]),
    (
        "export class T { static m() {} }",
        &[
            "[m] `m` is static; it must be a method of the instance (write `m(...) { ... }`, returning an array of documents)",
        ],
    ),
    (
        "export class T { *m() {} }",
        &["[m] `m` is a generator; it must return an array (write `m(...) { ... }`, returning an array of documents)"],
    ),
    (
        "export class T { m() { return import('x'); } }",
        &["[import('x')] `import()` is not allowed: a lambda has only its own module"],
    ),
    (
        "export class T { m() { return import.meta; } }",
        &["[import.meta] `import.meta` is not allowed in a lambda's module"],
    ),
    (
        "const x = await f(); export class T { m() { return [x]; } }",
        &["[await f()] top-level `await` is not allowed in a lambda's module"],
    ),
    (
        "for await (const x of []) {} export class T { m() { return []; } }",
        &["[for await (const x of []) {}] top-level `await` is not allowed in a lambda's module"],
    ),
    (
        "import 'other'; export class T { m() { return []; } }",
        &[
            "[import 'other';] a lambda's module cannot import packages (only files, as in `./prices.ts`, and types of `flow/...` can be imported)",
        ],
    ),
    (
        "export * from 'x'; export { y } from 'y'; export class T { m() { return []; } }",
        &[
            "[export * from 'x';] a lambda's module cannot import packages (only files, as in `./prices.ts`, and types of `flow/...` can be imported)",
            "[export { y } from 'y';] a lambda's module cannot import packages (only files, as in `./prices.ts`, and types of `flow/...` can be imported)",
        ],
    ),
    (
        "import fs = require('fs'); export class T { m() { return [fs]; } }",
        &[
            "[import fs = require('fs');] a lambda's module cannot import packages (only files, as in `./prices.ts`, and types of `flow/...` can be imported)",
        ],
    ),
    (
        "import { collections } from 'flow/modules'; export class T { m() { return [collections]; } }",
        &[
            "[collections] `collections` is a type: it has no value when the lambda runs (use it only as a type, or write `import type`)",
        ],
    ),
    (
        "function d(x: any) { return x; } @d export class T { m() { return []; } }",
        &["[@d] decorators are not supported"],
    ),
    (
        "import { x } from 'y';\nexport class T { n() { x(); } }",
        &[
            "[import { x } from 'y';] a lambda's module cannot import packages (only files, as in `./prices.ts`, and types of `flow/...` can be imported)",
            "[T] class `T` has no method `m` (did you mean `n`? It has `n`)",
        ],
    ),
    (
        "export class T { m() { return []; } }\n  const now = Date.now();\n",
        &[
            "[const now = Date.now();] the module does not load: TypeError: lambdas have no clock; make dates of what documents say, as in new Date(source.timestamp)",
        ],
    ),
    (
        "export class T { constructor() { throw new Error('no'); } m() { return []; } }",
        &[
            "[export class T { constructor() { throw new Error('no'); } m() { return []; } }] the module does not load: Error: no",
        ],
    ),
    ("export const T = 5;", &["[] the module does not load: TypeError: not a function"]),
];

#[test]
fn mistakes() {
    let mut wrong = Vec::new();
    for (text, want) in MISTAKES {
        let errors = script::check(text, "T", &["m"]).err().unwrap_or_default();
        let got: Vec<String> = errors
            .iter()
            .map(|e| {
                let hint = e.hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default();
                format!("[{}] {}{hint}", &text[e.range.clone()], e.message)
            })
            .collect();
        if got != *want {
            wrong.push(format!("{text}\n  got  {got:#?}\n  want {want:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nesting_and_size_are_bounded() {
    let n = 60_000;
    for (open, close) in
        [("(", ")"), ("f(a", ")"), ("[", "]"), ("{a:", "}"), ("!", ""), ("a=>", ""), ("`${", "}`"), ("a?a:", "")]
    {
        let levels = n / (open.len() + close.len());
        let text = format!("const x = {}1{};", open.repeat(levels), close.repeat(levels));
        assert!(script::check(&text, "T", &[]).is_err(), "{open}");
    }
    let text = format!("type A = {}1{};", "A<".repeat(n / 3), ">".repeat(n / 3));
    assert!(script::check(&text, "T", &[]).is_err());
    let text = format!("{}{}", "function a(){".repeat(n / 14), "}".repeat(n / 14));
    assert!(script::check(&text, "T", &[]).is_err());

    let errors = script::check(&" ".repeat(script::MODULE_BYTES_MAX + 1), "T", &[]).unwrap_err();
    assert_eq!(errors[0].message, "the module has 262145 bytes; at most 262144 are allowed");
}
