//! `segtide status`: what a running catalog is doing.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::cli::Status;
use crate::data;
use crate::output::{Exit, Paint, bytes, count, say};
use crate::rows::{Cell, Format, Rows};

/// What is asked.
const PATH: &str = "/api/v1/status";
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
pub fn run(args: &Status) -> anyhow::Result<Exit> {
    let tasks = Asker::new(&args.place.directory)?.tasks()?;
    let mut rows = Rows::new(args.output.format());
    for task in &tasks {
        rows.row(&members(task), || cells(task))?;
    }
    rows.end()?;
    if args.output.format() == Format::Table {
        troubles(&tasks).iter().for_each(|(task, why)| say(&format!("{}: {why}", name(task))));
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

/// What is told of a task: first which one it is.
fn members(task: &Value) -> Vec<(&str, Value)> {
    let first = ["kind", "name", "state"];
    let of = |name| (name, task[name].clone());
    let rest = task.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    first.into_iter().chain(rest.filter(|name| !first.contains(name))).map(of).collect()
}

/// What people see of a task.
fn cells(task: &Value) -> Vec<Cell> {
    let state = task["state"].as_str().unwrap_or_default();
    let role = match state {
        "running" => Some(Paint::Good),
        "stopped" => None,
        _ => Some(Paint::Bad),
    };
    let number = |name: &str| task[name].as_u64().unwrap_or(0);
    vec![
        Cell("task".into(), name(task), None),
        Cell("state".into(), state.to_owned(), role),
        Cell("read".into(), count(number("documents_in")), None),
        Cell("written".into(), count(number("documents_out")), None),
        Cell("transactions".into(), count(number("transactions")), None),
        Cell("waiting".into(), bytes(number("lag_bytes")), None),
    ]
}

/// A task as it is called.
pub fn name(task: &Value) -> String {
    format!("{} {}", task["kind"].as_str().unwrap_or_default(), task["name"].as_str().unwrap_or_default())
}

/// Why tasks do not run, and what they have to tell.
pub fn troubles(tasks: &[Value]) -> Vec<(&Value, &str)> {
    let mut told = Vec::new();
    for task in tasks {
        let notes = task["notes"].as_array().into_iter().flatten();
        told.extend(task.get("why").into_iter().chain(notes).filter_map(|said| Some((task, said.as_str()?))));
    }
    told
}
