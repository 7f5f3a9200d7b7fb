//! Modules that import files: what they give, and what is wrong with them.

use catalog::{
    BindingRules, Collection, ConfigError, Endpoint, Fetch, FetchError, Host, Module, ModuleError, ModuleOutline, Text,
};
use doc::Arena;
use runtime::Publish;
use serde_json::Value;
use url::Url;

/// A host without endpoints that knows TypeScript.
struct Engine;

impl Host for Engine {
    fn check_capture(&self, _: &Endpoint, _: &[&Value]) -> Result<(), Vec<ConfigError>> {
        Ok(())
    }
    fn check_binding(&self, _: &Endpoint, _: &Value, _: &Collection) -> Result<BindingRules, Vec<ConfigError>> {
        Err(Vec::new())
    }
    fn read_module(&self, text: &Text) -> Result<ModuleOutline, Vec<ModuleError>> {
        script::read_module(text)
    }
    fn check_module(&self, module: &Module, methods: &[&str]) -> Result<(), Vec<ModuleError>> {
        script::check_module(module, methods)
    }
}

/// Files of `/w/`: a name and a text each.
struct Files<'f>(&'f [(&'f str, &'f str)]);

impl Fetch for Files<'_> {
    fn fetch(&self, url: &Url) -> Result<String, FetchError> {
        if url.path() == "/w/flow.yaml" {
            return Ok(CATALOG.to_owned());
        }
        let file = self.0.iter().find(|(name, _)| url.path() == format!("/w/{name}"));
        file.map(|(_, text)| (*text).to_owned()).ok_or(FetchError::Missing)
    }
}

const CATALOG: &str = "
collections:
  src:
    schema: &schema { type: object, properties: { id: { type: integer } }, required: [id] }
    key: [/id]
  t:
    schema: *schema
    key: [/id]
    derivation: { transform: { m: { source: { name: src }, publish: { lambda: typescript } } } }
";

/// What `mPublish` of `{"id":4}` gives, or what is wrong: each as `file:line:column message (hint)`.
fn run(files: &[(&str, &str)]) -> String {
    let built = catalog::build(&Url::parse("file:///w/flow.yaml").unwrap(), &Files(files), &Engine);
    let catalog = &built.catalog;
    if !built.diagnostics.is_empty() {
        let said = built.diagnostics.iter().map(|diagnostic| {
            let at = catalog.sources.locate(diagnostic.place);
            let hint = diagnostic.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("{}:{}:{} {}{hint}", at.file, at.line, at.column, diagnostic.message)
        });
        return said.collect::<Vec<_>>().join("\n");
    }
    let arena = Arena::new();
    let nothing = |keys: &[&[u8]]| Ok(vec![None; keys.len()]);
    let outcomes = [true, false].map(|native| {
        let collection = catalog.collection("t").unwrap();
        let mut lambdas = script::open(catalog, collection, None, native, script::Limits::default(), &nothing).unwrap();
        let source = doc::parse(&arena, br#"{"id":4}"#).unwrap();
        let call = Publish { source, register: doc::Node::Null, previous: doc::Node::Null };
        match lambdas.publish(&arena, 0, &[call]) {
            Ok(rows) => rows.documents.iter().map(|d| d.to_json()).collect::<Vec<_>>().join(" "),
            Err(e) => e.message,
        }
    });
    assert_eq!(outcomes[0], outcomes[1], "natively, and not");
    outcomes[0].clone()
}

/// The method of the class `T` with this body, after an import.
fn main(import: &str, body: &str) -> String {
    format!("{import}\nexport class T {{ mPublish(source: any): any[] {{ {body} }} }}")
}

#[test]
fn modules_import_files() {
    type Case<'c> = (&'c str, &'c str, &'c [(&'c str, &'c str)], &'c str);
    let twice = "export interface Row { id: number }\nexport const twice = (n: number): number => n * 2;\n";
    let cases: &[Case] = &[
        ("import { twice } from './x';", "return [{ id: twice(source.id) }];", &[("x.ts", twice)], r#"{"id":8}"#),
        ("import { twice } from './x.ts';", "return [{ id: twice(source.id) }];", &[("x.ts", twice)], r#"{"id":8}"#),
        ("import { twice as t } from './x.js';", "return [{ id: t(source.id) }];", &[("x.ts", twice)], r#"{"id":8}"#),
        ("import * as x from './a/x';", "return [{ id: x.twice(1) }];", &[("a/x.ts", twice)], r#"{"id":2}"#),
        ("import { twice } from './a';", "return [{ id: twice(1) }];", &[("a/index.ts", twice)], r#"{"id":2}"#),
        (
            "import three, { type Row } from './x';",
            "const row: Row = { id: three() }; return [row];",
            &[("x.ts", "export interface Row { id: number }\nexport default function () { return 3; }")],
            r#"{"id":3}"#,
        ),
        ("import type { Row } from './nowhere';", "const row: Row = source; return [row];", &[], r#"{"id":4}"#),
        ("import { Row } from './nowhere';", "const row: Row = source; return [row];", &[], r#"{"id":4}"#),
        (
            "import { twice } from './all';",
            "return [{ id: twice(source.id) }];",
            &[("all.ts", "export * from './a/x';\nexport { twice as again } from './a/x';"), ("a/x.ts", twice)],
            r#"{"id":8}"#,
        ),
        (
            "import { again } from './all';",
            "return [{ id: again(source.id) }];",
            &[("all.ts", "import { twice } from './a/x';\nexport { twice as again };"), ("a/x.ts", twice)],
            r#"{"id":8}"#,
        ),
        // A file that two import is loaded once.
        (
            "import { next } from './n'; import { more } from './x';",
            "return [{ id: next() }, { id: more() }, { id: next() }];",
            &[
                ("n.ts", "let n = 0; export function next() { return ++n; }"),
                ("x.ts", "import { next } from './n'; export const more = () => next();"),
            ],
            r#"{"id":1} {"id":2} {"id":3}"#,
        ),
        // Types may go round in a circle.
        (
            "import { twice } from './x'; export type Id = number;",
            "return [{ id: twice(2) }];",
            &[("x.ts", "import type { Id } from './flow'; export function twice(n: Id) { return n * 2; }")],
            r#"{"id":4}"#,
        ),
        (
            "import { fail } from './x';",
            "return [fail()];",
            &[("x.ts", "// One.\nexport function fail(): any {\n  throw new Error('no');\n}")],
            "Error: no, in T.mPublish (line 3 of x.ts)",
        ),
        (
            "import { twice } from './gone';",
            "return [twice(1)];",
            &[],
            "flow.ts:1:23 cannot read gone.ts: there is no such file",
        ),
        (
            "import { twise } from './x';",
            "return [twise(1)];",
            &[("x.ts", twice)],
            "flow.ts:1:10 `./x` does not export `twise` (did you mean `twice`?)",
        ),
        (
            "import three from './x';",
            "return [three()];",
            &[("x.ts", twice)],
            "flow.ts:1:8 `./x` does not export `default` (use one of `Row`, `twice`)",
        ),
        (
            "import { a } from './a';",
            "return [a];",
            &[
                ("a.ts", "import { b } from './b'; export const a = b;"),
                ("b.ts", "import { a } from './a'; export const b = 1, c = () => a;"),
            ],
            "b.ts:1:19 a.ts imports itself by this (move what both files need into one of its own, or write `import type` if types are all)",
        ),
        (
            "import data from './data.json';",
            "return [data];",
            &[("data.json", "{}")],
            "flow.ts:1:18 `./data.json` is no TypeScript file (only files that end in `.ts` can be imported, and types of `flow/...`)",
        ),
        (
            "import { a } from './a';",
            "return [a, nowhere];",
            &[("a.ts", "export const a = ;\nexport const b = import('x');")],
            "a.ts:1:18 Unexpected token",
        ),
        (
            "import { a } from './a';",
            "return [a];",
            &[("a.ts", "export const a = import('x');\nimport lodash from 'lodash';\nexport const b = lodash;")],
            "a.ts:1:18 `import()` is not allowed: a lambda has only its own module\n\
             a.ts:2:1 a lambda's module cannot import packages (only files, as in `./prices.ts`, and types of `flow/...` can be imported)",
        ),
        (
            "import { a } from './a';",
            "return [a];",
            &[("a.ts", "\nexport const a = (null as any).x;")],
            "flow.ts:1:1 the module does not load: TypeError: cannot read property 'x' of null (line 2 of a.ts)",
        ),
    ];
    let mut wrong = Vec::new();
    for (import, body, files, want) in cases {
        let text = main(import, body);
        let files: Vec<_> = files.iter().copied().chain([("flow.ts", text.as_str())]).collect();
        let got = run(&files).replace("file:///w/", "");
        if got != *want {
            wrong.push(format!("{text}\n  got  {got}\n  want {want}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A base class of another file may have hooks and members of any kind.
#[test]
fn a_class_may_extend_one_of_another_file() {
    let base = "export class Base { factor = 3; times(n: number) { return n * this.factor; } }";
    let module = "import { Base } from './base';\n\
                  export class T extends Base { mPublish(source: any) { return [{ id: this.times(source.id) }]; } }";
    assert_eq!(run(&[("base.ts", base), ("flow.ts", module)]), r#"{"id":12}"#);
    // Its method may be the other's.
    let base = "export class Base { mPublish(source: any) { return [source]; } }";
    let module = "import { Base } from './base';\nexport class T extends Base {}";
    assert_eq!(run(&[("base.ts", base), ("flow.ts", module)]), r#"{"id":4}"#);
}

/// What is wrong with a module is told beside what is wrong with its imports.
#[test]
fn all_mistakes_come_at_once() {
    let module = "import { twice } from './gone';\nexport class T { other() { return [twice(1)]; } }";
    assert_eq!(
        run(&[("flow.ts", module)]).replace("file:///w/", ""),
        "flow.ts:1:23 cannot read gone.ts: there is no such file\n\
         flow.ts:2:14 class `T` has no method `mPublish` (it has `other`)"
    );
}
