//! `bench pipeline`: floor and Segtide in turn over the same file of events.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::measure::{self, Cost};
use crate::results::{self, Results};
use crate::segtide::{Binary, DATABASE, Destinations, Program, write_catalog};
use crate::{Events, events};

#[derive(Debug, Args)]
pub(crate) struct Pipeline {
    #[command(flatten)]
    events: Events,
    /// How often both run
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Tables in a private PostgreSQL instead of SQLite; its processor time counts as Segtide's
    #[arg(long)]
    postgres: bool,
    #[command(flatten)]
    binary: Binary,
}

/// A floor and a Segtide over the same events.
pub(crate) struct Pair {
    pub(crate) floor: Cost,
    pub(crate) segtide: Cost,
    pub(crate) results: Results,
}

impl Pipeline {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let program = self.binary.build()?;
        let directory = tempfile::Builder::new().prefix("segtide-bench-").tempdir()?;
        let file = directory.path().join("events.jsonl");
        events::write_file(&self.events, &file)?;
        let Events { events, users, segments, seed } = self.events;
        let megabytes = fs::metadata(&file)?.len() as f64 / 1e6;
        println!("{events} events ({megabytes:.0} MB), {users} users, {segments} segments, seed {seed}");
        let server = self.postgres.then(testkit::Postgres::start);
        header();
        let mut pairs = Vec::new();
        for round in 0..self.rounds {
            if let (Some(server), true) = (&server, round > 0) {
                clear(server)?;
            }
            let pair = Pair::run(directory.path(), &file, &program, server.as_ref())?;
            line("floor", events, &pair.floor);
            line("segtide", events, &pair.segtide);
            pairs.push(pair);
        }
        let ratio = |of: fn(&Cost) -> f64| median(pairs.iter().map(|p| of(&p.segtide) / of(&p.floor)).collect());
        let memory = median(pairs.iter().map(|pair| pair.segtide.memory_bytes as f64).collect()) / MIB;
        println!(
            "segtide/floor, medians: CPU {:.2}, wall {:.2}; memory of Segtide {memory:.0} MiB",
            ratio(|cost| cost.cpu_seconds),
            ratio(|cost| cost.wall_seconds),
        );
        let [memberships, profiles, toggles] = pairs[0].results.map(|digest| digest.rows);
        println!("equal results: {memberships} memberships, {profiles} profiles, {toggles} toggles");
        Ok(())
    }
}

const MIB: f64 = 1024.0 * 1024.0;

fn header() {
    println!(
        "{:<8} {:>8} {:>10} {:>8} {:>10} {:>12} {:>12}",
        "", "wall s", "events/s", "CPU s", "us/event", "memory MiB", "written MiB"
    );
}

fn line(name: &str, events: u64, cost: &Cost) {
    println!(
        "{name:<8} {:>8.2} {:>10.0} {:>8.2} {:>10.2} {:>12.0} {:>12.0}",
        cost.wall_seconds,
        events as f64 / cost.wall_seconds,
        cost.cpu_seconds,
        cost.cpu_seconds * 1e6 / events as f64,
        cost.memory_bytes as f64 / MIB,
        cost.written_bytes as f64 / MIB,
    );
}

impl Pair {
    /// Runs both, and makes sure that they give the same.
    pub(crate) fn run(
        directory: &Path,
        file: &Path,
        program: &Program,
        postgres: Option<&testkit::Postgres>,
    ) -> anyhow::Result<Self> {
        let into = directory.join("floor");
        let floor = measure::run(
            Command::new(std::env::current_exe()?).arg("floor").arg("--events").arg(file).arg("--into").arg(&into),
        )?;
        let expected = results::of_floor(&into)?;
        fs::remove_dir_all(&into)?;

        let run = directory.join("segtide");
        fs::create_dir(&run)?;
        write_catalog(&run, Some(file), &Destinations { postgres, webhook: None })?;
        let told = run.join("stderr");
        let segtide = measure::run(program.develop(&run).arg("--poll").stderr(Stdio::from(fs::File::create(&told)?)))
            .with_context(|| fs::read_to_string(&told).unwrap_or_default())?;
        let results = match postgres {
            None => results::of_sqlite(&run.join(DATABASE))?,
            Some(server) => results::of_postgres(server)?,
        };
        ensure!(results == expected, "the results differ: {results:?} is not the floor's {expected:?}");
        fs::remove_dir_all(&run)?;
        Ok(Self { floor, segtide, results })
    }
}

/// Drops what a run left in the database.
fn clear(server: &testkit::Postgres) -> anyhow::Result<()> {
    Ok(server.connect().batch_execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")?)
}

/// The value in the middle; of two, their mean.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (below, above) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    (values[below] + values[above.min(values.len() - 1)]) / 2.0
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(vec![7.0]), 7.0);
    }
}
