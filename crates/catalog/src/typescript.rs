//! TypeScript types of a catalog's documents, so that editors and `tsc` can check its lambdas. Three styles of module are
//! served, as the eras of catalogs have them:
//!
//! ```text
//! flow_generated/flow/modules.d.ts       `flow/modules`: anchors, collections, interfaces, registers, transforms
//! flow_generated/flow/NAME.d.ts          `flow/NAME`: Document, Register, sources and IDerivation of a derivation with a module
//! flow_generated/typescript/NAME.ts      `flow/NAME.ts`: Document, sources and the base class of a derivation since 2023
//! flow_generated/tsconfig.json           where imports of `flow/...` lead
//! ```

mod shapes;

use std::collections::BTreeMap;
use std::fmt::Write;

use doc::Shape;
use serde_json::Value;
use url::Url;

use crate::names::camel_case;
use crate::sources::percent_decoded;
use crate::{Catalog, Collection, Derivation, Lambda, Transform, Using};
use shapes::{property_name, type_of};

/// The first line of every file.
const HEAD: &str = "// Written by `segtide generate types`; changes are lost.\n";

/// A file of types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// Its path, relative to the directory of the catalog.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// The files of types for what of a catalog could be built. `anchors` are the shapes of `$anchor`s, by name.
pub(crate) fn files(catalog: &Catalog, anchors: &BTreeMap<String, Shape>) -> Vec<Generated> {
    let mut files = Vec::new();
    let mut add = |path: String, text: String| {
        files.push(Generated { path: format!("flow_generated/{path}"), text: format!("{HEAD}\n{text}") });
    };
    let derived = || catalog.collections.iter().filter_map(|c| Some((c, c.derivation.as_ref()?)));
    let typescript = || derived().filter(|(_, d)| matches!(d.using, Using::Typescript(_)));

    let mut text = String::new();
    for (name, shape) in anchors {
        declare(name, &format!("`$anchor: {name}`"), shape, &mut text);
    }
    add("flow/anchors.ts".to_owned(), module(text));

    let mut text = String::new();
    for collection in &catalog.collections {
        declare(&class(collection), &format!("`{}`", collection.name), collection.schema.shape(), &mut text);
    }
    add("flow/collections.ts".to_owned(), module(text));

    let mut text = String::new();
    for (collection, derivation) in derived() {
        let what = format!("the registers of `{}`", collection.name);
        declare(&class(collection), &what, derivation.register_schema.shape(), &mut text);
    }
    add("flow/registers.ts".to_owned(), module(text));

    let mut text = String::new();
    for (collection, derivation) in derived() {
        for transform in &derivation.transforms {
            if let Some(schema) = &transform.source_schema {
                let what = format!("what `{}` reads of `{}`", transform.name, transform.source);
                declare(&source_class(collection, transform), &what, schema.shape(), &mut text);
            }
        }
    }
    add("flow/transforms.ts".to_owned(), module(text));

    let mut text = "import * as collections from './collections';\nimport * as registers from './registers';\n\
                    import * as transforms from './transforms';\n"
        .to_owned();
    for (collection, derivation) in typescript() {
        let class = class(collection);
        let _ = write!(text, "\n/** The lambdas of `{}`. */\nexport interface {class} {{\n", collection.name);
        methods(
            derivation,
            &mut text,
            |transform| match &transform.source_schema {
                Some(_) => format!("transforms.{}", source_class(collection, transform)),
                None => format!("collections.{}", camel_case(&transform.source, true)),
            },
            &format!("collections.{class}"),
            &format!("registers.{class}"),
        );
        text.push_str("}\n");
    }
    // Imports that nothing needs are no mistake, but a file without exports would be none of a module.
    add("flow/interfaces.ts".to_owned(), module(text));

    let names = ["anchors", "collections", "interfaces", "registers", "transforms"];
    let imports: String = names.iter().map(|name| format!("import * as {name} from './{name}';\n")).collect();
    add("flow/modules.d.ts".to_owned(), format!("{imports}\nexport {{ {} }};\n", names.join(", ")));

    for (collection, derivation) in typescript() {
        let Using::Typescript(used) = &derivation.using else { continue };
        if used.modern {
            let text = base_class(catalog, collection, derivation);
            add(format!("typescript/{}.ts", collection.name), text);
        } else if used.class == "Derivation" {
            add(format!("flow/{}.d.ts", collection.name), interface(catalog, collection, derivation));
        }
    }
    files.push(Generated { path: "flow_generated/tsconfig.json".to_owned(), text: configuration(catalog) });
    files
}

/// How the types are found, and the modules of this catalog alone: others in its folder may be of another one.
fn configuration(catalog: &Catalog) -> String {
    let folder = catalog.sources.iter().next().and_then(|root| root.url.join("flow_generated/").ok());
    let using = catalog.collections.iter().filter_map(|collection| Some(&collection.derivation.as_ref()?.using));
    let modules = using.filter_map(|using| match using {
        Using::Typescript(module) if module.text.url.path().ends_with(".ts") => {
            folder.as_ref()?.make_relative(&module.text.url)
        }
        _ => None,
    });
    let mut files: Vec<String> = modules.collect();
    files.sort();
    files.dedup();
    files.insert(0, "./flow/modules.d.ts".to_owned());
    let files: Vec<String> = files.iter().map(|path| Value::from(percent_decoded(path)).to_string()).collect();
    TSCONFIG.replace("FILES", &files.join(", "))
}

/// A configuration of `tsc`; a catalog's own may extend it.
const TSCONFIG: &str = r#"{
    "compilerOptions": {
        "strict": true,
        "noEmit": true,
        "skipLibCheck": true,
        "target": "es2022",
        "lib": ["es2023", "dom"],
        "types": [],
        "module": "esnext",
        "moduleResolution": "bundler",
        "allowImportingTsExtensions": true,
        "paths": { "flow/*": ["./flow/*", "./typescript/*"] }
    },
    "files": [FILES]
}
"#;

/// Names of `$anchor`s that can be names of types.
pub(crate) fn is_type_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn class(collection: &Collection) -> String {
    camel_case(&collection.name, true)
}

fn source_class(collection: &Collection, transform: &Transform) -> String {
    format!("{}{}Source", class(collection), camel_case(&transform.name, false))
}

fn declare(name: &str, what: &str, shape: &Shape, out: &mut String) {
    let separator = if out.is_empty() { "" } else { "\n" };
    let _ = writeln!(out, "{separator}/** Of {what}. */\nexport type {name} = {};", type_of(shape, 0));
}

/// A module may be without exports, and must still be one.
fn module(text: String) -> String {
    if text.contains("export ") { text } else { text + "export {};\n" }
}

/// The signatures of a derivation's lambdas.
fn methods(
    derivation: &Derivation,
    out: &mut String,
    source: impl Fn(&Transform) -> String,
    document: &str,
    register: &str,
) {
    for transform in &derivation.transforms {
        let source = source(transform);
        if let Some(Lambda::Method(name)) = &transform.update {
            let _ = writeln!(out, "    {}(source: {source}): {register}[];", property_name(name));
        }
        if let Some(Lambda::Method(name)) = &transform.publish {
            let parameters = format!("source: {source}, register: {register}, previous: {register}");
            let _ = writeln!(out, "    {}({parameters}): {document}[];", property_name(name));
        }
    }
}

/// The shape of what a transform reads.
fn source_shape<'c>(catalog: &'c Catalog, transform: &'c Transform) -> Option<&'c Shape> {
    let own = transform.source_schema.as_ref();
    Some(own.or(catalog.collection(&transform.source).map(|c| &c.read_schema))?.shape())
}

/// The types of a derivation that has registers and a module of its own.
fn interface(catalog: &Catalog, collection: &Collection, derivation: &Derivation) -> String {
    let mut text = String::new();
    declare("Document", &format!("`{}`", collection.name), collection.schema.shape(), &mut text);
    declare("Register", "its registers", derivation.register_schema.shape(), &mut text);
    for transform in &derivation.transforms {
        if let Some(shape) = source_shape(catalog, transform) {
            declare(&read_name(transform), &format!("`{}`", transform.source), shape, &mut text);
        }
    }
    text.push_str("\n/** Its lambdas. */\nexport interface IDerivation {\n");
    methods(derivation, &mut text, read_name, "Document", "Register");
    text.push_str("}\n");
    text
}

fn read_name(transform: &Transform) -> String {
    format!("{}Source", camel_case(&transform.name, true))
}

/// The types and the base class of a derivation as since 2023.
fn base_class(catalog: &Catalog, collection: &Collection, derivation: &Derivation) -> String {
    let mut text = String::new();
    declare("Document", &format!("`{}`", collection.name), collection.schema.shape(), &mut text);
    let source = |transform: &Transform| format!("Source{}", camel_case(&transform.name, true));
    for transform in &derivation.transforms {
        if let Some(shape) = source_shape(catalog, transform) {
            declare(&source(transform), &format!("`{}`", transform.source), shape, &mut text);
        }
    }
    text.push_str(
        "\n/** What a derivation extends. */\nexport abstract class IDerivation {\n    \
         constructor(_open: { state: unknown }) {}\n\n    \
         /** Is called at the end of a transaction. */\n    async flush(): Promise<Document[]> {\n        return [];\n    }\n\n    \
         /** Is called between tests: forget what is kept. */\n    async reset(): Promise<void> {}\n\n    \
         startCommit(_request: unknown): { state?: { updated: unknown; mergePatch: boolean } } {\n        return {};\n    }\n",
    );
    for transform in &derivation.transforms {
        if let Some(Lambda::Method(name)) = &transform.publish {
            let _ = writeln!(
                text,
                "\n    abstract {}(read: {{ doc: {} }}): Document[];",
                property_name(name),
                source(transform)
            );
        }
    }
    text.push_str("}\n");
    text
}

/// The anchors of a schema document that can be names of types, each with the URL of its schema.
pub(crate) fn anchors(url: &Url, tree: &crate::Tree, found: &mut BTreeMap<String, Url>) {
    match &tree.kind {
        crate::Kind::Object(members) => {
            if let Some(name) = tree.get("$anchor").and_then(crate::Tree::as_str).filter(|name| is_type_name(name)) {
                let mut url = url.clone();
                url.set_fragment(Some(name));
                found.entry(name.to_owned()).or_insert(url);
            }
            members.iter().for_each(|member| anchors(url, &member.value, found));
        }
        crate::Kind::Array(items) => items.iter().for_each(|item| anchors(url, item, found)),
        _ => {}
    }
}
