//! `bench curve`: whether an event costs the same however many came before it and however much there is to remember.

use clap::Args;

use crate::pipeline::Pair;
use crate::segtide::Binary;
use crate::{Events, events};

/// Events, users, segments: more events over the same users, then as many events over more and more memberships.
const SIZES: [(u64, u64, u64); 7] = [
    (1_000_000, 200_000, 1000),
    (5_000_000, 200_000, 1000),
    (20_000_000, 200_000, 1000),
    (10_000_000, 300, 100),
    (10_000_000, 20_000, 1000),
    (10_000_000, 1_000_000, 1000),
    (10_000_000, 100_000_000, 100_000),
];

#[derive(Debug, Args)]
pub(crate) struct Curve {
    /// Run over this share of the events
    #[arg(long, default_value_t = 0.1)]
    scale: f64,
    #[arg(long, default_value_t = 42)]
    seed: u64,
    #[command(flatten)]
    binary: Binary,
}

impl Curve {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let program = self.binary.build()?;
        println!(
            "{:>10} {:>12} {:>10} {:>10} | floor {:>8} | segtide {:>8} {:>8} {:>10} | {:>8}",
            "events", "memberships", "profiles", "toggles", "us/event", "us/event", "wall us", "MiB", "CPU ratio"
        );
        for (count, users, segments) in SIZES {
            let count = (count as f64 * self.scale) as u64;
            let directory = tempfile::Builder::new().prefix("segtide-bench-").tempdir()?;
            let file = directory.path().join("events.jsonl");
            events::write_file(&Events { events: count, users, segments, seed: self.seed }, &file)?;
            let Pair { floor, segtide, results } = Pair::run(directory.path(), &file, &program, None)?;
            let [memberships, profiles, toggles] = results.map(|digest| digest.rows);
            let per_event = |seconds: f64| seconds * 1e6 / count as f64;
            println!(
                "{count:>10} {memberships:>12} {profiles:>10} {toggles:>10} | floor {:>8.2} | segtide {:>8.2} {:>8.2} {:>10} | {:>8.2}",
                per_event(floor.cpu_seconds),
                per_event(segtide.cpu_seconds),
                per_event(segtide.wall_seconds),
                segtide.memory_bytes >> 20,
                segtide.cpu_seconds / floor.cpu_seconds,
            );
        }
        Ok(())
    }
}
