//! Lambdas from the outside: what they return, what is refused when a catalog is built, and what cannot get out.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod check;
mod identity;
mod imports;
mod lambdas;
mod limits;
mod modern;
mod native;
mod sandbox;
mod segmentation;
mod sqlite;

use doc::{Arena, Node};
use runtime::LambdaError;
use script::{Engine, Limits};

/// Calls a method of the class `T` once for each of the JSON documents in `sources`; gives each call's documents as JSON.
fn call(text: &str, method: &str, sources: &[&str]) -> Result<Vec<String>, LambdaError> {
    let mut engine = Engine::open("module.ts", text, "T", &[method], None, Limits::default())?;
    call_on(&mut engine, method, sources)
}

fn call_on(engine: &mut Engine, method: &str, sources: &[&str]) -> Result<Vec<String>, LambdaError> {
    let arena = Arena::new();
    let nodes = sources.iter().map(|s| [doc::parse(&arena, s.as_bytes()).unwrap()]);
    let returned = engine.call(&arena, method, nodes)?;
    Ok(runs(&returned.documents, &returned.ends))
}

fn runs(documents: &[Node<'_>], ends: &[usize]) -> Vec<String> {
    let mut begin = 0;
    let run = |end: &usize| {
        let run: Vec<String> = documents[begin..*end].iter().map(|d| d.to_json()).collect();
        begin = *end;
        format!("[{}]", run.join(","))
    };
    ends.iter().map(run).collect()
}

/// A class `T` whose method `m` has this body.
fn method(body: &str) -> String {
    format!("export class T {{ m(source: any, register?: any, previous?: any): any[] {{ {body} }} }}")
}
