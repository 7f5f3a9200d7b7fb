//! `segtide develop` and `segtide run`: a catalog on this machine, until it is asked to stop.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use catalog::Catalog;
use connectors::Level;
use doc::Spill;
use journal::{Embedded, Log, LogError};
use runtime::{Connectors, Options, Runtime, State, Status};

use crate::build::build_to_run;
use crate::cli::{self, Develop, LogFormat, Serving};
use crate::clock::SystemClock;
use crate::host::Program;
use crate::http::{self, Access, Api, Port, Room, Served, Sockets};
use crate::memory::{self, Shares, Tasks};
use crate::output::{Exit, Paint, fail, log, paint, say, tell};
use crate::progress::{self, Foot};
use crate::signals::Asked;
use crate::watch::Watch;
use crate::{data, output, secrets};

/// How often it looks at its tasks, and whether to end.
const TICK: Duration = Duration::from_millis(50);
/// How often it says how far it is where there is no terminal to keep a line on.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How long it sees through what was captured before it stops.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// `segtide develop`.
pub fn develop(args: &Develop) -> anyhow::Result<Exit> {
    let Develop { serving, poll, watch, fail_fast, flowctl: _ } = args;
    run(serving, LogFormat::Text, Until { poll: *poll, watch: *watch, fail_fast: *fail_fast })
}

/// `segtide run`.
pub fn produce(args: &cli::Run) -> anyhow::Result<Exit> {
    run(&args.serving, LogFormat::Json, Until { poll: false, watch: false, fail_fast: true })
}

/// How long it runs, and over what.
struct Until {
    /// Until what is there is processed.
    poll: bool,
    /// Over each version of the catalog's files.
    watch: bool,
    /// Until a task halts.
    fail_fast: bool,
}

fn run(args: &Serving, format: LogFormat, until: Until) -> anyhow::Result<Exit> {
    output::keep_log(args.log.format.unwrap_or(format) == LogFormat::Json, args.log.level.into());
    secrets::allow_commands(args.allow_exec);
    let Some(catalog) = build_to_run(&args.source.source)? else { return Ok(Exit::Invalid) };
    if until.poll && catalog.captures.is_empty() {
        fail("--poll reads what captures find, and this catalog has no captures");
        return Ok(Exit::Invalid);
    }
    let asked = Asked::listen().context("signals cannot be listened to")?;
    let data = data::path(&args.place.directory);
    let memory = memory::budget(args.memory);
    let log = data::open(data::options_for(&data, &catalog, args.fragments.as_ref(), memory))?;
    let access = access(args, &catalog)?;
    let port = if args.host.is_loopback() { Port::take(args.port)? } else { Port::take_at(args.host, args.port)? };
    let number = port.number();
    let program = Program::with_scratch(data.join("scratch"))
        .with_input()
        .with_surroundings()
        .native_lambdas(!args.no_native_lambdas);
    let run = data::name_of_run();
    let place = Place { log: Arc::new(log), data, run, program, tail: !until.poll, shards: args.shards, memory };
    let mut running = Running::start(&catalog, place)?;
    let served = Served::new(running.api(&catalog, access));
    let _server = port.serve(http::routes(served.clone()));
    // A disk too full for it is told of by those who wait; without it only `status` is lost.
    let announced = data::announce(running.data(), number, running.name());
    if let Err(error) = &announced {
        tell(&format!("{error:#}; `segtide status` will not find this run"));
    }
    // Before anything is said, for who reads it may edit at once.
    let mut watch = until.watch.then(|| Watch::of(&catalog.sources));
    let listening = format!("Listening at:  http://localhost:{number}");
    if output::is_json() {
        tell(&listening)
    } else {
        say(&listening)
    }
    running.tell_undivided(args.shards);
    let started = Instant::now();
    let mut ended = false;
    let mut foot = Foot::on_terminal();
    let mut told = Instant::now();
    while !asked.is_set() && !ended {
        std::thread::sleep(TICK);
        running.tell_changes();
        if let Some(foot) = &mut foot {
            let tasks = running.runtime.status();
            if until.poll { foot.show_rest(&tasks) } else { foot.show_rates(&tasks) }
        } else if until.poll && progress::is_wanted() && told.elapsed() >= TELL_EVERY {
            tell(&progress::so_far(&running.runtime.status(), started.elapsed()));
            told = Instant::now();
        }
        if let Some(why) = running.broken() {
            // Nothing can be seen through any more, and what is in memory of it is not to be trusted.
            fail(&why);
            return Ok(Exit::Broken);
        }
        ended =
            (until.poll && running.runtime.is_settled()) || ((until.poll || until.fail_fast) && running.has_halted());
        if let Some(watch) = &mut watch
            && watch.has_changed()
        {
            running = reload(args, running, watch, &served)?;
        }
    }
    drop(foot);
    if asked.is_set() {
        tell("stopping, once what was captured is seen through; Ctrl-C again stops at once");
    }
    let halted = running.finish()?;
    if ended && halted == 0 {
        tell(&format!("all of it is processed, in {:.1} s", started.elapsed().as_secs_f64()));
    }
    Ok(if halted > 0 { Exit::Failed } else { Exit::Ok })
}

/// Says who may post documents; an error where other machines could reach the port and nobody said so.
fn access(args: &Serving, catalog: &Catalog) -> anyhow::Result<Access> {
    let access = Access::of(catalog, args.host.is_loopback() || args.insecure_open);
    anyhow::ensure!(
        !access.is_closed(),
        "{} can be reached by other machines, and no capture says who may post documents; give one of pushed documents \
         (`ingest`) `tokens` or `secrets`, or let everybody in with --insecure-open",
        args.host
    );
    Ok(access)
}

/// Exchanges what runs for what the files say now. Where they have mistakes, what runs goes on.
fn reload(args: &Serving, running: Running, watch: &mut Watch, served: &Served) -> anyhow::Result<Running> {
    let begun = Instant::now();
    secrets::allow_commands(args.allow_exec);
    let catalog = match build_to_run(&args.source.source) {
        Ok(Some(catalog)) => catalog,
        Ok(None) => {
            tell("the former version goes on");
            return Ok(running);
        }
        Err(error) => {
            tell(&format!("{error:#}; the former version goes on"));
            return Ok(running);
        }
    };
    watch.add(&catalog.sources);
    let access = match access(args, &catalog) {
        Ok(access) => access,
        Err(error) => {
            tell(&format!("{error:#}; the former version goes on"));
            return Ok(running);
        }
    };
    let running = running.exchange(&catalog)?;
    served.replace(running.api(&catalog, access));
    tell(&format!("reloaded: version {} runs, after {} ms", running.version, begun.elapsed().as_millis()));
    Ok(running)
}

/// What stays where one version of a catalog takes over from another.
#[derive(Clone)]
pub struct Place {
    /// The log of the data directory.
    pub log: Arc<Embedded>,
    /// The data directory.
    pub data: PathBuf,
    /// The run's name.
    pub run: String,
    /// Connectors and lambdas.
    pub program: Program,
    /// Whether sources go on as they grow; otherwise they end with what is there.
    pub tail: bool,
    /// Among how many shards keys are divided where they can be.
    pub shards: u32,
    /// The memory to take, in bytes.
    pub memory: u64,
}

/// A catalog that runs over a data directory.
pub struct Running {
    place: Place,
    /// Which version of the catalog, from one.
    version: u64,
    shares: Shares,
    /// The tasks.
    pub runtime: Runtime,
    states: Vec<State>,
    /// Notes of each task that have been told.
    told: Vec<Vec<String>>,
}

impl Running {
    /// Starts every task of a catalog.
    pub fn start(catalog: &Arc<Catalog>, place: Place) -> anyhow::Result<Self> {
        Self::over(catalog, place, 1)
    }

    fn over(catalog: &Arc<Catalog>, place: Place, version: u64) -> anyhow::Result<Self> {
        let directory = place.data.clone();
        let spill: Spill = Arc::new(move || Ok(Box::new(tempfile::tempfile_in(&directory)?)));
        let shares = memory::share(place.memory, Tasks::of(catalog, place.shards));
        let options = Options { tail: place.tail, random: rand::random(), shards: place.shards, ..Options::default() };
        let options = memory::of_tasks(options, &shares);
        let shared: Arc<dyn Log> = Arc::<Embedded>::clone(&place.log);
        let connectors: Arc<dyn Connectors> = Arc::new(place.program.clone().within(&shares));
        let runtime = Runtime::start(catalog, shared, &connectors, Arc::new(SystemClock), &spill, options)
            .context("threads cannot be started")?;
        Ok(Self { place, version, shares, runtime, states: Vec::new(), told: Vec::new() })
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.place.data
    }

    /// The run's name.
    pub fn name(&self) -> &str {
        &self.place.run
    }

    /// Lets every task commit what it has open, and starts those of another version of the catalog where these end.
    fn exchange(self, catalog: &Arc<Catalog>) -> anyhow::Result<Self> {
        self.runtime.stop();
        self.runtime.join();
        Self::over(catalog, self.place, self.version + 1)
    }

    /// What a server of it needs.
    pub fn api(&self, catalog: &Catalog, access: Access) -> Arc<Api> {
        Arc::new(Api {
            ingest: self.runtime.ingest(),
            access,
            monitor: self.runtime.monitor(),
            log: Arc::<Embedded>::clone(&self.place.log),
            collections: catalog.collections.iter().map(|c| (c.name.clone(), c.derivation.is_none())).collect(),
            version: self.version,
            run: self.place.run.clone(),
            room: Room::new(&self.shares),
            readers: Default::default(),
            sockets: Sockets::new(&self.shares),
        })
    }

    /// Tells which tasks stay whole although there are to be several shards.
    fn tell_undivided(&self, shards: u32) {
        let whole = self.runtime.status().into_iter().filter(|task| task.shards == 1 && task.kind != "ingestion");
        let whole: Vec<_> = whole.map(|task| format!("{} {}", task.kind, task.name)).collect();
        if shards > 1 && !whole.is_empty() {
            tell(&format!("--shards {shards} leaves whole what has one order or one state: {}", whole.join(", ")));
        }
    }

    /// Tells of tasks that have begun to fail, have halted, or run again, and what they have to say.
    pub fn tell_changes(&mut self) {
        let status = self.runtime.status();
        self.states.resize(status.len(), State::Running);
        self.told.resize(status.len(), Vec::new());
        for ((task, known), told) in status.into_iter().zip(&mut self.states).zip(&mut self.told) {
            for note in task.notes.iter().filter(|note| !told.contains(note)) {
                let name = format!("{} {}", task.kind, task.name);
                log(Level::Warn, Some(&name), &format!("{} {name}: {note}", paint(Paint::Bad, "note:")));
            }
            told.clone_from(&task.notes);
            if let Some((level, line)) = change(&task, known) {
                log(level, Some(&format!("{} {}", task.kind, task.name)), &line);
            }
            *known = task.state;
        }
    }

    /// Why nothing can be committed any more until the program is started again, if so.
    pub fn broken(&self) -> Option<String> {
        match self.place.log.room() {
            Err(error @ LogError::Poisoned { .. }) => Some(format!("{error}; start again to go on from what is safe")),
            _ => None,
        }
    }

    /// Whether a task fails, or has.
    fn is_stuck(&self) -> bool {
        let stuck = |state: &State| matches!(state, State::Retrying { .. } | State::Halted { .. });
        self.runtime.status().iter().any(|task| stuck(&task.state))
    }

    /// Whether a task needs somebody.
    pub fn has_halted(&self) -> bool {
        self.runtime.status().iter().any(|task| matches!(task.state, State::Halted { .. }))
    }

    /// Stops what brings documents in, sees through what was brought, stops the rest, writes it all to files, and closes the
    /// data directory; how many tasks had halted.
    pub fn finish(mut self) -> anyhow::Result<usize> {
        self.runtime.stop_sources();
        let begun = Instant::now();
        // What cannot be seen through now is safe where it is, and waits for the next run.
        while begun.elapsed() < DRAIN_MAX && !self.runtime.is_settled() && !self.is_stuck() {
            std::thread::sleep(TICK);
        }
        self.runtime.stop();
        self.tell_changes();
        let status = self.runtime.join();
        self.place
            .log
            .flush()
            .context("the last documents could not be written to files; they are kept for the next run")?;
        let halted = status.iter().filter(|task| matches!(task.state, State::Halted { .. })).count();
        if halted > 0 {
            tell(&format!("{} halted; the messages above say why", output::plural(halted, "task")));
        }
        Ok(halted)
    }
}

fn change(task: &Status, known: &State) -> Option<(Level, String)> {
    let name = format!("{} {}", task.kind, task.name);
    match (&task.state, known) {
        (now, before) if now == before => None,
        // Further attempts with the same reason are no news.
        (State::Retrying { why, .. }, State::Retrying { why: before, .. }) if why == before => None,
        (State::Retrying { why, .. }, _) => {
            Some((Level::Warn, format!("{} {name}: {why}; trying again", paint(Paint::Bad, "waiting:"))))
        }
        (State::Halted { why }, _) => Some((Level::Error, format!("{} {name}: {why}", paint(Paint::Bad, "halted:")))),
        (State::Running | State::BackPressured { .. }, State::Retrying { .. }) => {
            Some((Level::Info, format!("{} {name}", paint(Paint::Good, "running again:"))))
        }
        _ => None,
    }
}
