//! `segtide status`: what a running catalog is doing.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::cli::Status;
use crate::data;
use crate::output::{Exit, Paint, bytes, count, paint, say};

/// What is asked.
const PATH: &str = "/api/v1/status";
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A column of the table: a heading, the count under it, and how it is written.
type Column = (&'static str, &'static str, fn(u64) -> String);

/// The columns behind name and state.
const COUNTS: [Column; 4] = [
    ("read", "documents_in", count),
    ("written", "documents_out", count),
    ("transactions", "transactions", count),
    ("waiting", "lag_bytes", bytes),
];
/// How wide such a column is, with the space in front of it.
const COUNT_WIDTH: usize = 14;

pub fn run(args: &Status) -> anyhow::Result<Exit> {
    let tasks = Asker::new(&args.place.directory)?.tasks()?;
    match args.is_json() {
        true => say(&serde_json::json!({ "version": 1, "tasks": tasks }).to_string()),
        false => table(&tasks).iter().for_each(|line| say(line)),
    }
    let halted = tasks.iter().any(|task| task["state"] == "halted");
    Ok(if halted { Exit::Failed } else { Exit::Ok })
}

/// Asks a running catalog.
pub struct Asker {
    agent: ureq::Agent,
    url: String,
}

impl Asker {
    /// One for the catalog that runs over the data directory below `directory`.
    pub fn new(directory: &Path) -> anyhow::Result<Self> {
        let url = format!("{}{PATH}", data::address(directory)?);
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).proxy(None).build();
        Ok(Self { agent: config.into(), url })
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        self.url.trim_end_matches(PATH)
    }

    /// Each task, with its state and counts.
    pub fn tasks(&self) -> anyhow::Result<Vec<Value>> {
        let answer = self.agent.get(&self.url).call();
        let mut answer = answer.with_context(|| format!("nothing answers at {}; did it end by a crash?", self.url))?;
        let text = answer.body_mut().read_to_string().context("the answer cannot be read")?;
        let status = serde_json::from_str::<Value>(&text).ok();
        let tasks = status.as_ref().and_then(|status| status["tasks"].as_array());
        tasks.cloned().context("the answer is not that of segtide")
    }
}

/// A line per task, and one more for each that says why, and for each thing it has to tell.
fn table(tasks: &[Value]) -> Vec<String> {
    let text = |task: &Value, name: &str| task[name].as_str().unwrap_or_default().to_owned();
    let name = |task: &Value| format!("{} {}", text(task, "kind"), text(task, "name"));
    let width = tasks.iter().map(|task| name(task).chars().count()).max().unwrap_or(0).max(4);
    let mut lines = Vec::new();
    let headings = COUNTS.map(|(heading, ..)| format!("{heading:>COUNT_WIDTH$}")).join("");
    lines.push(paint(Paint::Dim, &format!("{:width$}  {:14}{headings}", "task", "state")));
    for task in tasks {
        let state = text(task, "state");
        let padded = format!("{state:14}");
        let state = match state.as_str() {
            "running" => paint(Paint::Good, &padded),
            "stopped" => padded,
            _ => paint(Paint::Bad, &padded),
        };
        let counts =
            COUNTS.map(|(_, name, written)| format!("{:>COUNT_WIDTH$}", written(task[name].as_u64().unwrap_or(0))));
        lines.push(format!("{:width$}  {state}{}", name(task), counts.join("")));
        if let Some(why) = task["why"].as_str() {
            lines.push(format!("{:width$}  {}", "", why));
        }
        for note in task["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            lines.push(format!("{:width$}  {note}", ""));
        }
    }
    lines
}
