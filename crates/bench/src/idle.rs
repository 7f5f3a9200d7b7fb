//! `bench idle`: what a running catalog uses while nothing comes in.

use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::post::{Client, body};
use crate::segtide::{Binary, Destinations, write_catalog};
use crate::{Events, events, measure};

/// Events of the file that it has read before.
const EVENTS: u64 = 10_000;
/// How long it may take to have dealt with what there was, fragments included.
const SETTLE: Duration = Duration::from_secs(15);

#[derive(Debug, Args)]
pub(crate) struct Idle {
    /// Measure for so many seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    #[command(flatten)]
    binary: Binary,
}

impl Idle {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let program = self.binary.build()?;
        let directory = tempfile::Builder::new().prefix("segtide-bench-").tempdir()?;
        let file = directory.path().join("events.jsonl");
        events::write_file(&Events { events: EVENTS, users: 10_000, segments: 1000, seed: 42 }, &file)?;
        write_catalog(directory.path(), Some(&file), &Destinations::default())?;
        let (running, port) = program.serve(directory.path())?;
        // Proof that it is at work.
        Client::connect(port)?.post(&body(std::iter::empty()))?;
        thread::sleep(SETTLE);
        let (begin, before) = (Instant::now(), measure::cpu_seconds(&running.0)?);
        thread::sleep(Duration::from_secs(self.seconds));
        let cpu = measure::cpu_seconds(&running.0)? - before;
        let share = cpu / begin.elapsed().as_secs_f64() * 100.0;
        println!("a catalog without input, its file read, for {} s: {share:.2} % of one core", self.seconds);
        Ok(())
    }
}
