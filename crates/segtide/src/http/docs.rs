//! The server, described: an OpenAPI document for programs, and a page for people.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Value, json};

use super::ingest::Api;

/// Each operation: method, path, what it is for, media types of its body.
type Operation = (&'static str, &'static str, &'static str, &'static [&'static str]);

const NAMED: &[&str] = &["application/json"];
const ONE: &[&str] = &["application/json", "application/x-ndjson", "text/csv", "text/tab-separated-values"];
const OPERATIONS: &[Operation] = &[
    (
        "post",
        "/ingest",
        "Add documents to any collections: an object of collections, each with an array of documents.",
        NAMED,
    ),
    ("post", "/ingest/{collection}", "Add documents to one collection.", ONE),
    ("get", "/ingest/{collection}", "Open a WebSocket that takes documents: json/v1, csv/v1 or tsv/v1.", &[]),
    (
        "get",
        "/api/v1/documents/{collection}",
        "The documents of a collection; follow=true waits for more, partition=field=value selects.",
        &[],
    ),
    ("get", "/api/v1/status", "What every task is doing.", &[]),
    ("get", "/api/v1/version", "Which version of the catalog runs.", &[]),
    ("get", "/metrics", "The same as metrics of Prometheus.", &[]),
    ("get", "/healthz", "Whether the process answers.", &[]),
    ("get", "/readyz", "Whether every task runs.", &[]),
];

/// Each answer to documents: status, and what it means.
const ANSWERS: &[(&str, &str)] = &[
    ("200", "All documents are on disk. `Offsets` says how far each part of the collections now reaches."),
    ("400", "The text is not what its Content-Type says; for /ingest also that a collection or a document is refused."),
    ("401", "A token or a signature is needed, and none that is known was shown."),
    ("403", "The token is for other collections."),
    ("404", "There is no such collection to send to."),
    ("409", "Another request was taken under the same Idempotency-Key."),
    ("413", "The body is too large, packed or unpacked."),
    ("415", "The Content-Type or Content-Encoding is not known."),
    ("422", "A document is refused by the collection's schema; the message says which, where and why."),
    ("429", "Too much is waiting: send it again after Retry-After."),
    (
        "503",
        "Nothing can be stored now, and it is not known whether this was: send it again, with its Idempotency-Key.",
    ),
];

/// `GET /openapi.json`.
pub async fn openapi(State(api): State<Arc<Api>>) -> Response {
    let document = describe(&taken(&api));
    ([(header::CONTENT_TYPE, "application/json")], format!("{document:#}\n")).into_response()
}

/// The collections that documents may be posted to.
fn taken(api: &Api) -> Vec<String> {
    api.collections.iter().filter(|(_, taken)| *taken).map(|(name, _)| name.clone()).collect()
}

fn describe(collections: &[String]) -> Value {
    let mut paths = json!({});
    for (method, path, summary, bodies) in OPERATIONS {
        let mut operation = json!({ "summary": summary, "responses": { "200": { "description": "It is so." } } });
        let mut parameters = Vec::new();
        if path.contains("{collection}") {
            parameters.push(json!({
                "name": "collection", "in": "path", "required": true, "description": "Slashes stay as they are.",
                "schema": { "type": "string", "enum": collections },
            }));
        }
        if !bodies.is_empty() {
            parameters.push(json!({
                "name": "Idempotency-Key", "in": "header",
                "description": "Names the request: sent again under the same key, it is answered and not taken again.",
                "schema": { "type": "string", "minLength": 1, "maxLength": 255 },
            }));
            let content: serde_json::Map<_, _> =
                bodies.iter().map(|media| ((*media).to_owned(), json!({ "schema": {} }))).collect();
            operation["requestBody"] = json!({ "required": true, "content": content });
            let answers = ANSWERS.iter().map(|(code, means)| ((*code).to_owned(), json!({ "description": means })));
            operation["responses"] = Value::Object(answers.collect());
        }
        operation["parameters"] = json!(parameters);
        paths[path][method] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Segtide", "version": env!("CARGO_PKG_VERSION") },
        "components": { "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } } },
        "security": [{}, { "token": [] }],
        "paths": paths,
    })
}

/// `GET /docs`.
pub async fn page(State(api): State<Arc<Api>>) -> Response {
    let policy = [
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (policy, Html(html(&taken(&api)))).into_response()
}

fn html(collections: &[String]) -> String {
    let operations = OPERATIONS.iter().map(|(method, path, summary, bodies)| {
        let bodies = bodies.join(", ");
        format!("<tr><td><code>{} {path}</code><td>{summary}<td>{bodies}", method.to_uppercase())
    });
    let answers = ANSWERS.iter().map(|(code, means)| format!("<tr><td>{code}<td>{}", escape(means)));
    let collections = collections.iter().map(|name| format!("<li><code>{}</code>", escape(name)));
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Segtide: sending documents</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}\
         td{{padding:.25rem 1rem .25rem 0;vertical-align:top;border-top:1px solid #ccc}}pre{{background:#eee;padding:1rem;\
         overflow:auto}}</style><h1>Sending documents</h1>\
         <p>A request is taken whole or not at all, and <code>200</code> means that it is on disk. Bodies may be packed with \
         gzip or zstd.<pre>curl http://localhost:8080/ingest/COLLECTION -H 'Content-Type: application/x-ndjson' \
         --data-binary @documents.ndjson</pre>\
         <h2>Collections</h2><ul>{}</ul><h2>Requests</h2><table>{}</table><h2>Answers</h2><table>{}</table>\
         <p><a href=/openapi.json>OpenAPI</a>",
        collections.collect::<String>(),
        operations.collect::<String>(),
        answers.collect::<String>(),
    )
}

/// Text for HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::expect_file;

    use super::*;

    /// With `UPDATE_EXPECT=1` it is written anew.
    #[test]
    fn the_reference_is_what_is_served() {
        let mut text = "# Requests\n\nWhat a running catalog answers to on its port; `/docs` and `/openapi.json` of it say the same. A test \
                        writes this page.\n\n| request | what for | body |\n|---|---|---|\n"
            .to_owned();
        for (method, path, about, bodies) in OPERATIONS {
            let bodies = bodies.iter().map(|media| format!("`{media}`")).collect::<Vec<_>>().join(", ");
            writeln!(text, "| `{} {path}` | {about} | {bodies} |", method.to_uppercase()).unwrap();
        }
        text += "\nDocuments are answered with:\n\n| status | what it means |\n|---|---|\n";
        for (code, means) in ANSWERS {
            writeln!(text, "| {code} | {means} |").unwrap();
        }
        expect_file!["../../../../docs/http.md"].assert_eq(&text);
        // Nothing is described that programs are not told of, and the other way round.
        let described = describe(&["a/b".to_owned()]);
        let operations = described["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len());
        assert_eq!(operations.sum::<usize>(), OPERATIONS.len());
    }
}
