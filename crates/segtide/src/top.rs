//! `segtide top`: what a running catalog is doing, on a screen that keeps up with it.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, Wrap};
use serde_json::Value;

use crate::cli::Top;
use crate::output::{Exit, bytes, count as counted};
use crate::status::Asker;

/// How often the screen changes.
const EVERY: Duration = Duration::from_secs(1);

/// The columns: what stands above, and how wide. Numbers stand to the right.
const COLUMNS: [(&str, Constraint); 8] = [
    ("task", Constraint::Fill(1)),
    ("state", Constraint::Length(14)),
    ("read/s", Constraint::Length(9)),
    ("written/s", Constraint::Length(9)),
    ("commits/s", Constraint::Length(9)),
    ("roll-up", Constraint::Length(7)),
    ("waiting", Constraint::Length(10)),
    ("lag", Constraint::Length(8)),
];
/// The columns that are words.
const WORDS: usize = 2;

/// The tasks at one moment, and what became of them since another.
struct Seen {
    tasks: Vec<Value>,
    before: Vec<Value>,
    seconds: f64,
}

pub fn run(args: &Top) -> anyhow::Result<Exit> {
    let asker = Asker::new(&args.place.directory)?;
    let mut at = Instant::now();
    let tasks = asker.tasks()?;
    // Until there is something to compare with, rates are zero.
    let mut seen = Seen { before: tasks.clone(), tasks, seconds: 1.0 };
    let mut terminal = ratatui::try_init().context("this needs a terminal; `segtide status` does without")?;
    let outcome = loop {
        if let Err(error) = terminal.draw(|frame| draw(frame, asker.address(), &seen)) {
            break Err(error.into());
        }
        match is_asked_to_end(EVERY) {
            Ok(true) => break Ok(Exit::Ok),
            Ok(false) => {}
            Err(error) => break Err(error.into()),
        }
        let tasks = match asker.tasks() {
            Ok(tasks) => tasks,
            Err(error) => break Err(error),
        };
        seen = Seen { before: seen.tasks, tasks, seconds: at.elapsed().as_secs_f64() };
        at = Instant::now();
    };
    ratatui::restore();
    outcome
}

fn draw(frame: &mut Frame<'_>, address: &str, seen: &Seen) {
    let told = troubles(&seen.tasks);
    let height = |lines: usize| u16::try_from(lines).unwrap_or(u16::MAX);
    let parts = [
        Constraint::Length(2),
        Constraint::Length(height(seen.tasks.len() + 2)),
        Constraint::Fill(1),
        Constraint::Length(1),
    ];
    let [title, table, below, foot] = Layout::vertical(parts).areas(frame.area());
    let rate = |kinds: &[&str], name: &str| -> f64 {
        let tasks = seen.tasks.iter().filter(|task| kinds.contains(&task["kind"].as_str().unwrap_or_default()));
        tasks.map(|task| seen.since(task, name)).sum::<f64>() / seen.seconds
    };
    let came = rate(&["capture", "ingestion"], "documents_out");
    let went = rate(&["materialization"], "documents_out");
    let heading = vec![
        Span::from("segtide ").bold(),
        Span::from(format!(" {address}   in {}/s   out {}/s", counted(came as u64), counted(went as u64))).dim(),
    ];
    frame.render_widget(Line::from(heading), title);
    let names = COLUMNS.into_iter().enumerate().map(|(n, (name, _))| cell(n, name.to_owned()));
    let rows = seen.tasks.iter().map(|task| row(task, seen));
    let rows = Table::new(rows, COLUMNS.map(|(_, width)| width)).header(Row::new(names).style(Style::new().dim()));
    frame.render_widget(rows.column_spacing(2), table);
    frame.render_widget(Paragraph::new(told).wrap(Wrap { trim: false }), below);
    frame.render_widget(Line::from("q quits").dim(), foot);
}

/// Why tasks do not run, and what they have to tell.
fn troubles(tasks: &[Value]) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for task in tasks {
        let notes = task["notes"].as_array().into_iter().flatten();
        for said in task.get("why").into_iter().chain(notes).filter_map(Value::as_str) {
            let colour = colour(task["state"].as_str().unwrap_or_default());
            lines.push(Line::from(vec![
                Span::from(format!("{}: ", name(task))).fg(colour),
                Span::from(said.to_owned()),
            ]));
        }
    }
    lines
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

impl Seen {
    /// What was added to a count.
    fn since(&self, task: &Value, name: &str) -> f64 {
        let is_same = |other: &&Value| other["kind"] == task["kind"] && other["name"] == task["name"];
        let before = self.before.iter().find(is_same).and_then(|before| before[name].as_u64()).unwrap_or(0);
        // A task that was started again counts from zero.
        task[name].as_u64().unwrap_or(0).saturating_sub(before) as f64
    }
}

fn name(task: &Value) -> String {
    format!("{} {}", task["kind"].as_str().unwrap_or_default(), task["name"].as_str().unwrap_or_default())
}

fn colour(state: &str) -> Color {
    match state {
        "running" => Color::Green,
        "stopped" => Color::Reset,
        "back-pressured" => Color::Yellow,
        _ => Color::Red,
    }
}

/// A cell of the n-th column.
fn cell<'c>(column: usize, text: String) -> Cell<'c> {
    let line = Line::from(text);
    Cell::from(if column < WORDS { line } else { line.right_aligned() })
}

fn row<'r>(task: &Value, seen: &Seen) -> Row<'r> {
    let rate = |name: &str| counted((seen.since(task, name) / seen.seconds) as u64);
    let state = task["state"].as_str().unwrap_or_default().to_owned();
    let colour = colour(&state);
    let written = seen.since(task, "documents_out");
    let factor =
        if written > 0.0 { format!("{:.1}", seen.since(task, "documents_in") / written) } else { String::new() };
    let lag = task["lag_seconds"].as_f64().map(|seconds| format!("{seconds:.1} s")).unwrap_or_default();
    let texts = [
        name(task),
        state,
        rate("documents_in"),
        rate("documents_out"),
        rate("transactions"),
        factor,
        bytes(task["lag_bytes"].as_u64().unwrap_or(0)),
        lag,
    ];
    let cells = texts.into_iter().enumerate().map(|(n, text)| match n {
        1 => cell(n, text).style(Style::new().fg(colour)),
        _ => cell(n, text),
    });
    Row::new(cells)
}
