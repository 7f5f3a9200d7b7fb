//! `segtide top`: what a running catalog is doing, on a screen that keeps up with it.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::Constraint;
use ratatui::style::{Color, Style};
use ratatui::widgets::{Cell, Row, Table};
use serde_json::Value;

use crate::cli::Top;
use crate::output::{Exit, bytes};
use crate::status::Asker;

/// How often the screen changes.
const EVERY: Duration = Duration::from_secs(1);

/// The columns: what stands above, and how wide.
const COLUMNS: [(&str, Constraint); 7] = [
    ("task", Constraint::Fill(3)),
    ("state", Constraint::Length(14)),
    ("read/s", Constraint::Length(10)),
    ("written/s", Constraint::Length(10)),
    ("commits/s", Constraint::Length(10)),
    ("roll-up", Constraint::Length(8)),
    ("waiting", Constraint::Length(12)),
];

pub fn run(args: &Top) -> anyhow::Result<Exit> {
    let asker = Asker::new(&args.place.directory)?;
    let (mut before, mut at) = (asker.tasks()?, Instant::now());
    let mut terminal = ratatui::try_init().context("this needs a terminal; `segtide status` does without")?;
    let outcome = loop {
        match is_asked_to_end(EVERY) {
            Ok(true) => break Ok(Exit::Ok),
            Ok(false) => {}
            Err(error) => break Err(error.into()),
        }
        let tasks = match asker.tasks() {
            Ok(tasks) => tasks,
            Err(error) => break Err(error),
        };
        let seconds = at.elapsed().as_secs_f64();
        at = Instant::now();
        let rows = tasks.iter().map(|task| row(task, before.iter().find(|b| is_same(b, task)), seconds));
        let heading = Row::new(COLUMNS.map(|(name, _)| name)).style(Style::new().dim());
        let table = Table::new(rows, COLUMNS.map(|(_, width)| width)).header(heading);
        let drawn = terminal.draw(|frame| frame.render_widget(table, frame.area()));
        if let Err(error) = drawn {
            break Err(error.into());
        }
        before = tasks;
    };
    ratatui::restore();
    outcome
}

/// Waits so long for a key that ends it.
fn is_asked_to_end(wait: Duration) -> std::io::Result<bool> {
    let until = Instant::now() + wait;
    while event::poll(until.saturating_duration_since(Instant::now()))? {
        if let Event::Key(key) = event::read()? {
            let interrupted = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            if interrupted || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn is_same(a: &Value, b: &Value) -> bool {
    a["kind"] == b["kind"] && a["name"] == b["name"]
}

fn row<'r>(task: &Value, before: Option<&Value>, seconds: f64) -> Row<'r> {
    let count = |name: &str| task[name].as_u64().unwrap_or(0);
    // A task that was started again counts from zero.
    let since = |name: &str| count(name).saturating_sub(before.and_then(|b| b[name].as_u64()).unwrap_or(0)) as f64;
    let rate = |name: &str| format!("{:.0}", since(name) / seconds);
    let state = task["state"].as_str().unwrap_or_default().to_owned();
    let colour = match state.as_str() {
        "running" => Color::Green,
        "stopped" => Color::Reset,
        "back-pressured" => Color::Yellow,
        _ => Color::Red,
    };
    let written = since("documents_out");
    let factor = if written > 0.0 { format!("{:.1}", since("documents_in") / written) } else { String::new() };
    let name = format!("{} {}", task["kind"].as_str().unwrap_or_default(), task["name"].as_str().unwrap_or_default());
    Row::new([
        Cell::from(name),
        Cell::from(state).style(Style::new().fg(colour)),
        Cell::from(rate("documents_in")),
        Cell::from(rate("documents_out")),
        Cell::from(rate("transactions")),
        Cell::from(factor),
        Cell::from(bytes(count("lag_bytes"))),
    ])
}
