//! The foot of a terminal: how far a run is that ends with what is there, or what one does that goes on. Nothing anywhere else.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use journal::Clock as _;
use runtime::Status;

use crate::clock::SystemClock;
use crate::output::{self, bytes, count, plural};
use crate::symbols::symbols;

/// How often it is drawn though nothing changed, and how often rates are measured anew.
const DRAW_EVERY: Duration = Duration::from_millis(250);
const MEASURE_EVERY: Duration = Duration::from_millis(500);
/// While the sources say how much there is, and otherwise. What has no room on a narrow terminal is cut at the end.
const BAR: &str = "{bar:24} {percent:>3}%  {eta:>3} left  {wide_msg}";
const LINE: &str = "{spinner} {wide_msg}";

/// A line at the foot. It goes away with this.
pub struct Foot {
    bar: ProgressBar,
    /// The most bytes that there have been to read.
    total: u64,
    /// When rates were measured last: documents that came and went by then.
    measured: (Instant, u64, u64),
}

impl Foot {
    /// One, if standard error is a terminal that people look at.
    pub fn on_terminal() -> Option<Self> {
        let can_be_drawn = std::io::stderr().is_terminal() && !output::is_dumb();
        if !is_wanted() || !can_be_drawn || output::is_json() || output::is_quiet() {
            return None;
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let foot = Self { bar: bar.clone(), total: 0, measured: (Instant::now(), 0, 0) };
        foot.style(LINE);
        bar.enable_steady_tick(DRAW_EVERY);
        output::keep_below(Some(bar));
        Some(foot)
    }

    /// Shows a line.
    pub fn show(&self, text: String) {
        self.bar.set_message(text);
    }

    /// Shows how far a run is that ends with what is there.
    pub fn show_rest(&mut self, tasks: &[Status]) {
        let waiting = waiting(tasks);
        if waiting > self.total {
            self.total = waiting;
            self.bar.set_length(waiting);
            self.style(BAR);
        } else if waiting == 0 && self.total > 0 {
            self.style(LINE);
        }
        self.bar.set_position(self.total - waiting);
        self.show(done(tasks, self.bar.elapsed()));
    }

    /// Shows what a run does that goes on.
    pub fn show_rates(&mut self, tasks: &[Status]) {
        let (at, came_before, went_before) = self.measured;
        let seconds = at.elapsed().as_secs_f64();
        if seconds < MEASURE_EVERY.as_secs_f64() {
            return;
        }
        let came = sum(tasks, &["capture", "ingestion"], |task| task.counts.documents_out);
        let went = sum(tasks, &["materialization"], |task| task.counts.documents_out);
        let rate = |now: u64, before: u64| count((now.saturating_sub(before) as f64 / seconds) as u64);
        let now_us = SystemClock.now_us();
        let waiting = tasks.iter().filter(|task| task.counts.lag_bytes > 0);
        let since_us = waiting.filter_map(|task| task.counts.waiting_since_us).min();
        let lag = now_us.saturating_sub(since_us.unwrap_or(now_us)) as f64 / 1e6;
        let stuck = tasks
            .iter()
            .filter(|task| matches!(task.state, runtime::State::Retrying { .. } | runtime::State::Halted { .. }));
        let stuck = match stuck.count() {
            0 => String::new(),
            tasks => format!("  {} in trouble", plural(tasks as u64, "task")),
        };
        let (came_in, went_out) = (rate(came, came_before), rate(went, went_before));
        self.show(format!("in {came_in}/s  out {went_out}/s  lag {lag:.1} s{stuck}  Ctrl-C stops"));
        self.measured = (Instant::now(), came, went);
    }

    fn style(&self, template: &str) {
        let style = ProgressStyle::with_template(template).expect("the template is one of those above");
        let style = style.progress_chars(symbols().bar);
        self.bar.set_style(match symbols().spinner {
            Some(spinner) => style.tick_chars(spinner),
            None => style,
        });
    }
}

impl Drop for Foot {
    fn drop(&mut self) {
        output::keep_below(None);
        self.bar.finish_and_clear();
    }
}

/// Whether anybody wants to know how far a run is.
pub fn is_wanted() -> bool {
    let unwanted = std::env::var("SEGTIDE_NO_PROGRESS").unwrap_or_default();
    ["", "0", "false", "no", "off"].contains(&unwanted.to_lowercase().as_str())
}

/// How far a run is that ends with what is there, for where there is no terminal.
pub fn so_far(tasks: &[Status], took: Duration) -> String {
    match waiting(tasks) {
        0 => done(tasks, took),
        left => format!("{}, {} left to read", done(tasks, took), bytes(left)),
    }
}

/// Bytes that sources know of and nobody has read.
fn waiting(tasks: &[Status]) -> u64 {
    sum(tasks, &["capture"], |task| task.counts.lag_bytes)
}

fn done(tasks: &[Status], took: Duration) -> String {
    let read = sum(tasks, &["capture"], |task| task.counts.documents_in);
    let stored = sum(tasks, &["materialization"], |task| task.counts.documents_out);
    let rate = count((read as f64 / took.as_secs_f64().max(0.001)) as u64);
    let stored = if stored > 0 { format!(", {} stored", count(stored)) } else { String::new() };
    format!("{} documents read, {rate}/s{stored}", count(read))
}

fn sum(tasks: &[Status], kinds: &[&str], of: fn(&Status) -> u64) -> u64 {
    tasks.iter().filter(|task| kinds.contains(&task.kind)).map(of).sum()
}
