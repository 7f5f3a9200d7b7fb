//! `segtide status`: what a running catalog is doing.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::cli::{Format, Status};
use crate::data;
use crate::output::{Exit, Paint, paint, say};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The columns of the table: a heading, and the count under it.
const COUNTS: [(&str, &str); 4] = [
    ("read", "documents_in"),
    ("written", "documents_out"),
    ("transactions", "transactions"),
    ("waiting", "lag_bytes"),
];

pub fn run(args: &Status) -> anyhow::Result<Exit> {
    let url = format!("{}/api/v1/status", data::address(&args.place.directory)?);
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).proxy(None).build().into();
    let mut answer =
        agent.get(&url).call().with_context(|| format!("nothing answers at {url}; did it end by a crash?"))?;
    let text = answer.body_mut().read_to_string().context("the answer cannot be read")?;
    let status: Value = serde_json::from_str(&text).context("the answer is not that of segtide")?;
    let tasks = status["tasks"].as_array().context("the answer is not that of segtide")?;
    match args.report.output {
        Format::Json => say(text.trim_end()),
        Format::Text => table(tasks).iter().for_each(|line| say(line)),
    }
    let halted = tasks.iter().any(|task| task["state"] == "halted");
    Ok(if halted { Exit::Failed } else { Exit::Ok })
}

/// A line per task, and one more for each that says why.
fn table(tasks: &[Value]) -> Vec<String> {
    let text = |task: &Value, name: &str| task[name].as_str().unwrap_or_default().to_owned();
    let name = |task: &Value| format!("{} {}", text(task, "kind"), text(task, "name"));
    let width = tasks.iter().map(|task| name(task).chars().count()).max().unwrap_or(0).max(4);
    let mut lines = Vec::new();
    let headings = COUNTS.map(|(heading, _)| format!("{heading:>12}")).join("");
    lines.push(paint(Paint::Dim, &format!("{:width$}  {:14}{headings}", "task", "state")));
    for task in tasks {
        let state = text(task, "state");
        let padded = format!("{state:14}");
        let state = match state.as_str() {
            "running" => paint(Paint::Good, &padded),
            "stopped" => padded,
            _ => paint(Paint::Bad, &padded),
        };
        let counts = COUNTS.map(|(heading, name)| {
            let count = task[name].as_u64().unwrap_or(0);
            format!("{:>12}", if heading == "waiting" { bytes(count) } else { count.to_string() })
        });
        lines.push(format!("{:width$}  {state}{}", name(task), counts.join("")));
        if let Some(why) = task["why"].as_str() {
            lines.push(format!("{:width$}  {}", "", why));
        }
    }
    lines
}

/// A size as people read it.
fn bytes(count: u64) -> String {
    match count {
        0..1_024 => format!("{count} B"),
        1_024..1_048_576 => format!("{:.1} KiB", count as f64 / 1_024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", count as f64 / 1_073_741_824.0),
    }
}
