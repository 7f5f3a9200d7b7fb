//! `segtide top`: what a running catalog is doing, on a screen that keeps up with it.

use std::io::IsTerminal as _;
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
use crate::output::{Exit, bytes, count as counted, is_dumb};
use crate::status::{Asker, name, troubles};
use crate::symbols::symbols;

/// How often the screen changes.
const EVERY: Duration = Duration::from_secs(1);

/// The columns behind the names of tasks: what stands above, how wide, and how soon one is left out where the screen is too
/// narrow for all.
const COLUMNS: [(&str, u16, u8); 7] = [
    ("state", 14, 6),
    ("read/s", 9, 5),
    ("written/s", 9, 3),
    ("commits/s", 9, 0),
    ("roll-up", 7, 1),
    ("waiting", 10, 2),
    ("lag", 8, 4),
];
/// Between two columns.
const SPACING: u16 = 2;
/// What the names of tasks have at least.
const NAME_WIDTH_MIN: u16 = 24;

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
    let needs = "this needs a terminal that can be drawn on; `segtide status` does without";
    anyhow::ensure!(std::io::stdout().is_terminal() && !is_dumb(), needs);
    let mut terminal = ratatui::try_init().context(needs)?;
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
    let told = troubles(&seen.tasks).into_iter().map(|(task, why)| {
        let colour = colour(task["state"].as_str().unwrap_or_default());
        Line::from(vec![Span::from(format!("{}: ", name(task))).fg(colour), Span::from(why)])
    });
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
    let shown = columns(&seen.tasks, table.width);
    let name_width = table.width.saturating_sub(shown.iter().map(|n| COLUMNS[*n].1 + SPACING).sum());
    let headings = shown.iter().map(|n| cell(*n, COLUMNS[*n].0.to_owned()));
    let headings = std::iter::once(Cell::from("task")).chain(headings);
    let rows = seen.tasks.iter().map(|task| {
        let cells = row(task, seen);
        let name = Cell::from(shortened(&name(task), name_width.into()));
        Row::new(std::iter::once(name).chain(shown.iter().map(|n| cells[*n].clone())))
    });
    let widths = std::iter::once(Constraint::Fill(1)).chain(shown.iter().map(|n| Constraint::Length(COLUMNS[*n].1)));
    let rows = Table::new(rows, widths).header(Row::new(headings).style(Style::new().dim()));
    frame.render_widget(rows.column_spacing(SPACING), table);
    frame.render_widget(Paragraph::new(told.collect::<Vec<_>>()).wrap(Wrap { trim: false }), below);
    frame.render_widget(Line::from("q quits").dim(), foot);
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

fn colour(state: &str) -> Color {
    match state {
        "running" => Color::Green,
        "stopped" => Color::Reset,
        "back-pressured" => Color::Yellow,
        _ => Color::Red,
    }
}

/// The columns there is room for beside the names.
fn columns(tasks: &[Value], width: u16) -> Vec<usize> {
    let longest = tasks.iter().map(|task| name(task).chars().count()).max().unwrap_or(0);
    let longest = u16::try_from(longest).unwrap_or(u16::MAX);
    let mut shown: Vec<usize> = (0..COLUMNS.len()).collect();
    loop {
        let taken: u16 = shown.iter().map(|n| COLUMNS[*n].1 + SPACING).sum();
        // Names are shortened before the last columns go.
        let least = if shown.len() > 3 { longest } else { longest.min(NAME_WIDTH_MIN) };
        let first = shown.iter().copied().min_by_key(|n| COLUMNS[*n].2);
        match first {
            Some(first) if width.saturating_sub(taken) < least => shown.retain(|n| *n != first),
            _ => return shown,
        }
    }
}

/// A name in so many characters: its end tells more than its middle.
fn shortened(name: &str, width: usize) -> String {
    let length = name.chars().count();
    if length <= width || width < 3 {
        return name.to_owned();
    }
    let kind = name.find(' ').map_or(0, |at| at + 1).min(width / 2);
    let end: String = name.chars().skip(length - (width - kind - 1)).collect();
    format!("{}{}{end}", &name[..kind], symbols().cut)
}

/// A cell of the n-th column behind the names: numbers stand to the right.
fn cell<'c>(column: usize, text: String) -> Cell<'c> {
    let line = Line::from(text);
    Cell::from(if column == 0 { line } else { line.right_aligned() })
}

/// What stands behind the name of a task.
fn row<'r>(task: &Value, seen: &Seen) -> [Cell<'r>; COLUMNS.len()] {
    let rate = |name: &str| counted((seen.since(task, name) / seen.seconds) as u64);
    let state = task["state"].as_str().unwrap_or_default().to_owned();
    let colour = colour(&state);
    let written = seen.since(task, "documents_out");
    let factor =
        if written > 0.0 { format!("{:.1}", seen.since(task, "documents_in") / written) } else { String::new() };
    let lag = task["lag_seconds"].as_f64().map(|seconds| format!("{seconds:.1} s")).unwrap_or_default();
    [
        cell(0, state).style(Style::new().fg(colour)),
        cell(1, rate("documents_in")),
        cell(2, rate("documents_out")),
        cell(3, rate("transactions")),
        cell(4, factor),
        cell(5, bytes(task["lag_bytes"].as_u64().unwrap_or(0))),
        cell(6, lag),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_stay_however_narrow_the_screen_is() {
        let tasks = [json!({ "kind": "materialization", "name": "examples/segment/toggle-webhook" })];
        let headings = |width| columns(&tasks, width).into_iter().map(|n| COLUMNS[n].0).collect::<Vec<_>>();
        assert_eq!(headings(140).len(), COLUMNS.len());
        assert_eq!(headings(100), ["state", "read/s", "written/s", "lag"]);
        assert_eq!(headings(80), ["state", "read/s", "lag"]);
        assert_eq!(headings(40), ["state"]);
        assert_eq!(headings(10), Vec::<&str>::new());
        let cut = symbols().cut;
        assert_eq!(shortened(&name(&tasks[0]), 36), format!("materialization {cut}ment/toggle-webhook"));
        assert_eq!(shortened("derivation ü/é", 12), format!("deriva{cut}n ü/é"));
    }
}
