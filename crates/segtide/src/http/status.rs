//! What a running catalog is doing, for people (`/api/v1/status`), for Prometheus (`/metrics`), and for whoever looks after
//! the process (`/healthz`, `/readyz`).

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use journal::Clock as _;
use runtime::{Counts, State as TaskState, Status};
use serde_json::{Value, json};

use super::ingest::Api;
use super::{Refusal, refuse};
use crate::clock::SystemClock;

/// The version of the JSON of `/api/v1/status`.
const VERSION: u32 = 1;

/// `{version, tasks: [{kind, name, state, since_us?, why?, notes, …counts}]}`.
pub async fn status(State(api): State<Arc<Api>>) -> Response {
    let now_us = SystemClock.now_us();
    let tasks: Vec<Value> = api.monitor.status().iter().map(|status| task(status, now_us)).collect();
    let body = json!({ "version": VERSION, "tasks": tasks });
    ([(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

/// `{version, program, run}`: which version of the catalog runs, counted from one, which of the program, and in which run.
pub async fn version(State(api): State<Arc<Api>>) -> Response {
    let body = json!({ "version": api.version, "program": env!("CARGO_PKG_VERSION"), "run": api.run });
    ([(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

fn task(status: &Status, now_us: u64) -> Value {
    let mut task = json!({ "kind": status.kind, "name": status.name, "state": state(&status.state) });
    match &status.state {
        TaskState::BackPressured { since_us, why } => {
            task["since_us"] = json!(since_us);
            task["why"] = json!(why);
        }
        TaskState::Retrying { since_us, why, attempts } => {
            task["since_us"] = json!(since_us);
            task["why"] = json!(why);
            task["attempts"] = json!(attempts);
        }
        TaskState::Halted { why } => task["why"] = json!(why),
        TaskState::Running | TaskState::Stopped => {}
    }
    for (name, _, value) in counts(&status.counts) {
        task[name] = json!(value);
    }
    task["lag_documents"] = json!(status.counts.lag_documents());
    task["lag_seconds"] = json!(lag_seconds(status, now_us));
    task["notes"] = json!(status.notes);
    task
}

/// A state in a word.
pub fn state(state: &TaskState) -> &'static str {
    match state {
        TaskState::Running => "running",
        TaskState::BackPressured { .. } => "back-pressured",
        TaskState::Retrying { .. } => "retrying",
        TaskState::Halted { .. } => "halted",
        TaskState::Stopped => "stopped",
    }
}

/// Each count of a task: its name, what it is, its value.
fn counts(counts: &Counts) -> [(&'static str, &'static str, u64); 8] {
    [
        ("documents_in", "Documents read.", counts.documents_in),
        ("bytes_in", "Bytes of documents read.", counts.bytes_in),
        ("documents_out", "Documents published, rows stored, or documents sent.", counts.documents_out),
        ("bytes_out", "Bytes of documents published, stored or sent.", counts.bytes_out),
        ("transactions", "Transactions committed.", counts.transactions),
        ("failures", "Attempts that failed and were made again, or halted the task.", counts.failures),
        ("set_aside", "Documents that could not be used and were set aside.", counts.set_aside),
        ("lag_bytes", "Bytes that wait to be read.", counts.lag_bytes),
    ]
}

/// How long the oldest document has waited that waits to be read; for a task that fails, at least since it does. `None` where
/// nobody knows.
fn lag_seconds(status: &Status, now_us: u64) -> Option<f64> {
    let since = |us: u64| now_us.saturating_sub(us) as f64 / 1e6;
    let waiting = status.counts.waiting_since_us.filter(|_| status.counts.lag_bytes > 0).map(since);
    match status.state {
        TaskState::Retrying { since_us, .. } => Some(waiting.unwrap_or(0.0).max(since(since_us))),
        _ if matches!(status.kind, "capture" | "ingestion") => None,
        _ => Some(waiting.unwrap_or(0.0)),
    }
}

/// The counts of all tasks in the text format of Prometheus.
pub async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let text = exposition(&api.monitor.status(), SystemClock.now_us());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

fn exposition(tasks: &[Status], now_us: u64) -> String {
    let mut text = String::new();
    let mut family = |name: &str, help: &str, kind: &str, value: &dyn Fn(&Status) -> Option<f64>| {
        let _ = writeln!(text, "# HELP segtide_{name} {help}\n# TYPE segtide_{name} {kind}");
        for task in tasks {
            if let Some(value) = value(task) {
                let _ =
                    writeln!(text, "segtide_{name}{{kind=\"{}\",task=\"{}\"}} {value}", task.kind, escape(&task.name));
            }
        }
    };
    for (n, (name, help, _)) in counts(&Counts::default()).into_iter().enumerate() {
        let value = |task: &Status| Some(counts(&task.counts)[n].2 as f64);
        match name.strip_suffix("_bytes").filter(|_| name == "lag_bytes") {
            Some(_) => family(name, help, "gauge", &value),
            None => family(&format!("{name}_total"), help, "counter", &value),
        }
    }
    family(
        "lag_documents",
        "Documents that wait to be read, by the mean size of those read so far.",
        "gauge",
        &|task| task.counts.lag_documents().map(|documents| documents as f64),
    );
    family("lag_seconds", "How long the oldest document has waited that waits to be read.", "gauge", &|task| {
        lag_seconds(task, now_us)
    });
    family("rollup_factor", "Documents read for each one that went out.", "gauge", &|task| {
        let Counts { documents_in, documents_out, .. } = task.counts;
        (documents_out > 0).then(|| documents_in as f64 / documents_out as f64)
    });
    family("retries", "Failed attempts in a row; zero while it runs.", "gauge", &|task| match task.state {
        TaskState::Retrying { attempts, .. } => Some(f64::from(attempts)),
        _ => Some(0.0),
    });
    family("up", "Whether the task runs.", "gauge", &|task| {
        Some(f64::from(u8::from(matches!(task.state, TaskState::Running | TaskState::BackPressured { .. }))))
    });
    family("back_pressured", "Whether the task waits for what it commits to.", "gauge", &|task| {
        Some(f64::from(u8::from(matches!(task.state, TaskState::BackPressured { .. }))))
    });
    text
}

/// A label's value, as Prometheus wants it.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The process answers.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Every task runs, or ended by itself.
pub async fn readyz(State(api): State<Arc<Api>>) -> Result<&'static str, Refusal> {
    let stuck = |task: &Status| matches!(task.state, TaskState::Retrying { .. } | TaskState::Halted { .. });
    match api.monitor.status().into_iter().find(stuck) {
        None => Ok("ok\n"),
        Some(task) => {
            let why = format!("{} {} is {}", task.kind, task.name, state(&task.state));
            Err(refuse(StatusCode::SERVICE_UNAVAILABLE, why))
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn what_prometheus_reads() {
        let counts = Counts {
            documents_in: 10,
            bytes_in: 1000,
            documents_out: 4,
            bytes_out: 400,
            transactions: 2,
            lag_bytes: 250,
            waiting_since_us: Some(1_500_000),
            failures: 5,
            set_aside: 1,
        };
        let state = TaskState::Retrying { since_us: 1, why: "it is down".into(), attempts: 3 };
        let notes = Vec::new();
        let text = exposition(
            &[Status { kind: "materialization", name: "a\"b".into(), shards: 1, state, counts, notes }],
            4_000_000,
        );
        expect![[r##"
            # HELP segtide_documents_in_total Documents read.
            # TYPE segtide_documents_in_total counter
            segtide_documents_in_total{kind="materialization",task="a\"b"} 10
            # HELP segtide_bytes_in_total Bytes of documents read.
            # TYPE segtide_bytes_in_total counter
            segtide_bytes_in_total{kind="materialization",task="a\"b"} 1000
            # HELP segtide_documents_out_total Documents published, rows stored, or documents sent.
            # TYPE segtide_documents_out_total counter
            segtide_documents_out_total{kind="materialization",task="a\"b"} 4
            # HELP segtide_bytes_out_total Bytes of documents published, stored or sent.
            # TYPE segtide_bytes_out_total counter
            segtide_bytes_out_total{kind="materialization",task="a\"b"} 400
            # HELP segtide_transactions_total Transactions committed.
            # TYPE segtide_transactions_total counter
            segtide_transactions_total{kind="materialization",task="a\"b"} 2
            # HELP segtide_failures_total Attempts that failed and were made again, or halted the task.
            # TYPE segtide_failures_total counter
            segtide_failures_total{kind="materialization",task="a\"b"} 5
            # HELP segtide_set_aside_total Documents that could not be used and were set aside.
            # TYPE segtide_set_aside_total counter
            segtide_set_aside_total{kind="materialization",task="a\"b"} 1
            # HELP segtide_lag_bytes Bytes that wait to be read.
            # TYPE segtide_lag_bytes gauge
            segtide_lag_bytes{kind="materialization",task="a\"b"} 250
            # HELP segtide_lag_documents Documents that wait to be read, by the mean size of those read so far.
            # TYPE segtide_lag_documents gauge
            segtide_lag_documents{kind="materialization",task="a\"b"} 2
            # HELP segtide_lag_seconds How long the oldest document has waited that waits to be read.
            # TYPE segtide_lag_seconds gauge
            segtide_lag_seconds{kind="materialization",task="a\"b"} 3.999999
            # HELP segtide_rollup_factor Documents read for each one that went out.
            # TYPE segtide_rollup_factor gauge
            segtide_rollup_factor{kind="materialization",task="a\"b"} 2.5
            # HELP segtide_retries Failed attempts in a row; zero while it runs.
            # TYPE segtide_retries gauge
            segtide_retries{kind="materialization",task="a\"b"} 3
            # HELP segtide_up Whether the task runs.
            # TYPE segtide_up gauge
            segtide_up{kind="materialization",task="a\"b"} 0
            # HELP segtide_back_pressured Whether the task waits for what it commits to.
            # TYPE segtide_back_pressured gauge
            segtide_back_pressured{kind="materialization",task="a\"b"} 0
        "##]]
        .assert_eq(&text);
    }
}
