//! `segtide demo`: the segmentation catalog in a folder of its own, running, with tables, a webhook receiver and a live line
//! that says what goes on.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use runtime::Status;

use crate::build::build_to_run;
use crate::cli::Demo;
use crate::data;
use crate::develop::{Place, Running};
use crate::host::Program;
use crate::http::{self, Access, Port, Served};
use crate::memory::{self, Tasks};
use crate::output::{Exit, Paint, bytes, count, paint, plural, say, tell};
use crate::progress::Foot;
use crate::signals::Asked;
use crate::symbols::symbols;
use crate::templates::{ROOT, SEGMENTATION};
use crate::webhook::{Inbox, Print};

/// How often it looks whether to end.
const TICK: Duration = Duration::from_millis(50);
/// How often the live line changes on a terminal, and elsewhere.
const LINE_EVERY: Duration = Duration::from_millis(500);
const PLAIN_LINE_EVERY: Duration = Duration::from_secs(2);

/// Where the receiver listens if nobody else does.
const RECEIVER_PORT: u16 = 9000;
/// What the catalog says of the receiver and the generator's rate.
const RECEIVER: &str = "http://localhost:9000/";
const RATE: &str = "maxEventsPerSecond: 1000";

pub fn run(args: &Demo) -> anyhow::Result<Exit> {
    let asked = Asked::listen().context("signals cannot be listened to")?;
    let directory = args.directory.as_path();
    let data = data::path(directory);
    let memory = memory::budget(None);
    let options = memory::of_log(data::options(&data), &memory::share(memory, Tasks::default()));
    let log = Arc::new(data::open(options)?);
    let port = Port::take(args.port)?;
    let number = port.number();
    let receiver = Port::take(RECEIVER_PORT).or_else(|_| Port::take(0))?;
    let received_at = format!("http://localhost:{}/", receiver.number());
    // Two files say what the command line decides about.
    let rate = format!("maxEventsPerSecond: {}", args.rate);
    SEGMENTATION.write(directory, |text| text.replace(RECEIVER, &received_at).replace(RATE, &rate))?;
    let source = directory.join(ROOT);
    let Some(catalog) = build_to_run(&source.to_string_lossy())? else { return Ok(Exit::Invalid) };

    let inbox = Inbox::new(args.delay, None, Print::Nothing)?;
    let _receiver = receiver.serve(inbox.routes());
    let program = Program::with_scratch(data.join("scratch"));
    let run = data::name_of_run();
    let place = Place { log, data: data.clone(), run, program, tail: true, shards: 1, memory };
    let mut running = Running::start(&catalog, place)?;
    let _server = port.serve(http::routes(Served::new(running.api(&catalog, Access::of(&catalog, true)))));
    let _announced = data::announce(&data, number, running.name())?;

    let here = |path: &Path| path.display().to_string();
    let check = paint(Paint::Good, symbols().good);
    say(&format!("{check} catalog   {}", here(&source)));
    say(&format!(
        "{check} tables    {} (segment_memberships, segment_profiles)",
        here(&directory.join("segmentation.db"))
    ));
    say(&format!("{check} files     {}", here(&data.join("fragments"))));
    say(&format!("{check} webhook   toggles are posted to {received_at}toggles, received here"));
    say(&format!("{check} ingestion http://localhost:{number}/ingest"));
    say(&format!("{check} watch it  segtide top --directory {}", here(directory)));
    say("Ctrl-C ends it; running it again resumes.\n");

    let mut line = Line::new(&running, &inbox);
    let deadline = args.r#for.map(|time| Instant::now() + time);
    while !asked.is_set() && deadline.is_none_or(|at| Instant::now() < at) {
        std::thread::sleep(TICK);
        running.tell_changes();
        line.update(&running, &inbox);
    }
    drop(line);
    tell("stopping, once what was captured is seen through");
    let halted = running.finish()?;
    let (calls, toggles) = inbox.received();
    say(&format!("{} came in {}. Look around:", plural(toggles, "toggle"), plural(calls, "call")));
    let fragments = data.join("fragments/examples/segment/events");
    say(&format!("  find {} -type f", here(&fragments)));
    say(&format!("  sqlite3 {} 'SELECT * FROM segment_memberships LIMIT 5'", here(&directory.join("segmentation.db"))));
    say(&format!("  segtide test --source {}", here(&source)));
    Ok(if halted > 0 { Exit::Failed } else { Exit::Ok })
}

/// The live line.
struct Line {
    foot: Option<Foot>,
    started: Instant,
    last: Instant,
    before: Sums,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    events: u64,
    rows: u64,
    toggles: u64,
    calls: u64,
    lag_bytes: u64,
}

impl Line {
    fn new(running: &Running, inbox: &Arc<Inbox>) -> Self {
        let now = Instant::now();
        Self { foot: Foot::on_terminal(), started: now, last: now, before: Sums::of(&running.runtime.status(), inbox) }
    }

    fn update(&mut self, running: &Running, inbox: &Arc<Inbox>) {
        let elapsed = self.last.elapsed();
        if elapsed < if self.foot.is_some() { LINE_EVERY } else { PLAIN_LINE_EVERY } {
            return;
        }
        let now = Sums::of(&running.runtime.status(), inbox);
        let per_second = |now: u64, before: u64| (now - before) as f64 / elapsed.as_secs_f64();
        let calls = now.calls - self.before.calls;
        let rate = |now: u64, before: u64| count(per_second(now, before) as u64);
        let text = format!(
            "{:.0} s  events {}/s  toggles {}/s, {:.1} a call  rows {}/s  lag {}",
            self.started.elapsed().as_secs_f64(),
            rate(now.events, self.before.events),
            rate(now.toggles, self.before.toggles),
            (now.toggles - self.before.toggles) as f64 / calls.max(1) as f64,
            rate(now.rows, self.before.rows),
            bytes(now.lag_bytes),
        );
        match &self.foot {
            Some(foot) => foot.show(text),
            None => say(&format!("{text}  total {} events, {} toggles", now.events, now.toggles)),
        }
        self.before = now;
        self.last = Instant::now();
    }
}

impl Sums {
    fn of(status: &[Status], inbox: &Arc<Inbox>) -> Self {
        let (calls, toggles) = inbox.received();
        let sum = |kinds: &[&str], count: fn(&Status) -> u64| {
            status.iter().filter(|task| kinds.contains(&task.kind)).map(count).sum()
        };
        Self {
            events: sum(&["capture", "ingestion"], |task| task.counts.documents_out),
            rows: sum(&["materialization"], |task| task.counts.documents_out),
            lag_bytes: sum(&["derivation", "materialization"], |task| task.counts.lag_bytes),
            toggles,
            calls,
        }
    }
}
