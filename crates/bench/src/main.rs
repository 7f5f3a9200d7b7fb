//! `bench`: measures Segtide against a floor, which is what the job costs a program that does nothing else.
//!
//! Everything is measured on the release binary that `cargo build --release` makes, from the outside: time from `/proc`, which
//! counts ended children, memory as the kernel's high-water mark. Results and their commands: `docs/performance.md`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod curve;
mod events;
mod floor;
mod idle;
mod ingest;
mod latency;
mod measure;
mod pipeline;
mod post;
mod results;
mod segtide;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Measures Segtide against the floor.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a file of events, one a line, to standard output
    Events(Events),
    /// The floor: memberships, profiles and toggles of a file of events, as JSON lines
    Floor(Floor),
    /// Floor and Segtide in turn over the same file of events
    Pipeline(pipeline::Pipeline),
    /// Cost per event over the number of events and of memberships
    Curve(curve::Curve),
    /// Events a second that are acknowledged as durable over HTTP
    Ingest(ingest::Ingest),
    /// Time from an acknowledged event to its row and to its webhook
    Latency(latency::Latency),
    /// What a running catalog without input uses
    Idle(idle::Idle),
}

/// The events of a run.
#[derive(Debug, Clone, Args)]
struct Events {
    /// How many events
    #[arg(long, default_value_t = 2_000_000)]
    events: u64,
    /// How many users there may be; far fewer come often
    #[arg(long, default_value_t = 200_000)]
    users: u64,
    /// How many segments there are
    #[arg(long, default_value_t = 1000)]
    segments: u64,
    /// Other seeds, other events
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

#[derive(Debug, Args)]
struct Floor {
    /// The file of events
    #[arg(long, value_name = "FILE")]
    events: PathBuf,
    /// The directory to write to
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Events(events) => events::write(&events, &mut std::io::stdout().lock()),
        Command::Floor(floor) => floor::run(&floor.events, &floor.into),
        Command::Pipeline(pipeline) => pipeline.run(),
        Command::Curve(curve) => curve.run(),
        Command::Ingest(ingest) => ingest.run(),
        Command::Latency(latency) => latency.run(),
        Command::Idle(idle) => idle.run(),
    }
}
