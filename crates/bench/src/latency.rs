//! `bench latency`: from an acknowledged event to its row in a table and to the request that tells of it, under load.
//!
//! Each request carries a probe: one user of its own joins a segment of the probes, and the user of the request before
//! leaves it, which is a toggle. A row counts as visible when a reader of the database sees it, a toggle when a receiver has
//! the last byte of its request.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use clap::Args;
use runtime::Batch;
use rusqlite::{Connection, OpenFlags};
use testkit::{Answer, Receiver};

use crate::Events;
use crate::events::Generator;
use crate::post::{Client, body, spread};
use crate::segtide::{Binary, DATABASE, Destinations, write_catalog};

/// How often the table is looked at.
const LOOK: Duration = Duration::from_millis(1);
/// How long the last row and request may take.
const SETTLE_MAX: Duration = Duration::from_secs(30);
/// Requests a second.
const REQUESTS: u64 = 100;
/// What of the beginning is left out: tables are made, caches are cold.
const WARM_UP: Duration = Duration::from_secs(2);

const NEW_PROBES: &str = "SELECT user_id FROM segment_memberships
    WHERE vendor = 1 AND segment_name = 'probes' AND user_id > ?1 ORDER BY user_id";

#[derive(Debug, Args)]
pub(crate) struct Latency {
    /// Events a second
    #[arg(long, default_value_t = 10_000)]
    rate: u64,
    /// For so many seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    #[arg(long, default_value_t = 200_000)]
    users: u64,
    #[arg(long, default_value_t = 1000)]
    segments: u64,
    #[command(flatten)]
    binary: Binary,
}

impl Latency {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let program = self.binary.build()?;
        let bodies = self.bodies()?;
        let receiver = Receiver::start(|_, _| Answer::status(200));
        let directory = tempfile::Builder::new().prefix("segtide-bench-").tempdir()?;
        let destinations = Destinations { webhook: Some(receiver.url("/")), ..Destinations::default() };
        write_catalog(directory.path(), None, &destinations)?;
        let (running, port) = program.serve(directory.path())?;
        let database = directory.path().join(DATABASE);
        wait_for_tables(&database)?;
        let ended = AtomicBool::new(false);
        let (acknowledged, visible) = thread::scope(|scope| {
            let looks = scope.spawn(|| watch(&database, bodies.len(), &ended));
            let posted = post(port, &bodies);
            ended.store(true, Ordering::Release);
            let looks = looks.join().map_err(|_| anyhow!("the reader failed"))?;
            anyhow::Ok((posted?, looks?))
        })?;
        let told = told(&receiver, bodies.len());
        drop(running);

        let begin = acknowledged.first().context("nothing was posted")?.1 + WARM_UP;
        let steady = acknowledged.iter().enumerate().filter(|(_, (sent, _))| *sent >= begin);
        let (mut answers, mut rows, mut requests) = (Vec::new(), Vec::new(), Vec::new());
        for (n, (sent, answered)) in steady {
            answers.push((*answered - *sent).as_secs_f64());
            // A row may be there before the answer is.
            rows.extend(visible.get(&n).map(|at| at.saturating_duration_since(*answered).as_secs_f64()));
            requests.extend(told.get(&n).map(|at| at.saturating_duration_since(*answered).as_secs_f64()));
        }
        println!("{} events/s for {} s, {REQUESTS} requests a second:", self.rate, self.seconds);
        println!("posted to acknowledged:            {}", spread(answers));
        println!("acknowledged to visible row:       {}", spread(rows));
        println!("acknowledged to received webhook:  {}", spread(requests));
        Ok(())
    }

    /// The requests, each with its probe.
    fn bodies(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let events = Events { events: 0, users: self.users, segments: self.segments, seed: 42 };
        let mut generator = Generator::open(&events)?;
        let per_request = usize::try_from((self.rate / REQUESTS).saturating_sub(2))?;
        let (mut bodies, mut batch) = (Vec::new(), Batch::default());
        let mut pending: Vec<Vec<u8>> = Vec::new();
        while bodies.len() < usize::try_from(self.seconds * REQUESTS)? {
            while pending.len() < per_request {
                generator.read(&mut batch)?;
                pending.extend(batch.documents.iter().map(|(_, range)| batch.text[range.clone()].to_vec()));
            }
            let n = bodies.len();
            let mut events: Vec<Vec<u8>> = pending.drain(..per_request).collect();
            events.push(probe(n, n, ""));
            if n > 0 {
                events.push(probe(n, n - 1, r#","remove":true"#));
            }
            bodies.push(body(events.iter().map(Vec::as_slice)));
        }
        Ok(bodies)
    }
}

/// An event of request n about a user of the probes.
fn probe(n: usize, user: usize, rest: &str) -> Vec<u8> {
    format!(
        r#"{{"event":"probe-{n}-{user}","timestamp":"2021-07-22T21:00:00.{n:06}Z","user":"{user:08}","segment":{{"vendor":1,"name":"probes"}}{rest}}}"#
    )
    .into_bytes()
}

/// Posts at an even pace; when each request was sent and answered.
fn post(port: u16, bodies: &[Vec<u8>]) -> anyhow::Result<Vec<(Instant, Instant)>> {
    let mut client = Client::connect(port)?;
    let begin = Instant::now();
    let mut times = Vec::with_capacity(bodies.len());
    for (n, body) in bodies.iter().enumerate() {
        let due = begin + Duration::from_secs(n as u64) / REQUESTS as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let sent = Instant::now();
        client.post(body)?;
        times.push((sent, Instant::now()));
    }
    Ok(times)
}

/// Tables are made once the program listens.
fn wait_for_tables(database: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + SETTLE_MAX;
    loop {
        let opened = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY);
        match opened.and_then(|connection| connection.prepare(NEW_PROBES).map(drop)) {
            Err(reason) if Instant::now() >= deadline => return Err(reason.into()),
            Err(_) => thread::sleep(LOOK),
            Ok(()) => return Ok(()),
        }
    }
}

/// When each probe's row was first seen.
fn watch(database: &Path, probes: usize, ended: &AtomicBool) -> anyhow::Result<HashMap<usize, Instant>> {
    let mut seen = HashMap::new();
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    let mut statement = connection.prepare(NEW_PROBES)?;
    let mut last = String::new();
    let mut ended_at = None;
    while seen.len() < probes && ended_at.is_none_or(|at: Instant| at.elapsed() < SETTLE_MAX) {
        let users: Vec<String> = statement.query_map([&last], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let now = Instant::now();
        for user in users {
            seen.insert(user.parse()?, now);
            last = user;
        }
        if ended_at.is_none() && ended.load(Ordering::Acquire) {
            ended_at = Some(now);
        }
        thread::sleep(LOOK);
    }
    Ok(seen)
}

/// When the toggle that each request's probe made was received.
fn told(receiver: &Receiver, requests: usize) -> HashMap<usize, Instant> {
    let deadline = Instant::now() + SETTLE_MAX;
    let last = format!("\"probe-{}-", requests - 1);
    let mut received = receiver.received();
    while !received.iter().any(|request| request.body.contains(&last)) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
        received = receiver.received();
    }
    let mut told = HashMap::new();
    for request in &received {
        // The event itself comes first; `previous` has another one.
        for line in request.body.lines() {
            let event = line.split("\"event\":\"probe-").nth(1).and_then(|rest| rest.split('-').next());
            if let Some(n) = event.and_then(|n| n.parse().ok()) {
                told.entry(n).or_insert(request.at);
            }
        }
    }
    told
}
