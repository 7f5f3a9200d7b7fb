//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Exact, live user segments from a stream of events.
///
/// Reads a catalog of captures, collections, derivations and materializations, checks it, tests it, and runs it on this
/// machine with nothing else to install.
#[derive(Debug, Parser)]
#[command(name = "segtide", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  segtide demo                                             see it work in a minute
  segtide check --source flow.yaml                         find mistakes
  segtide test --source tests.flow.yaml                    run the catalog's tests
  segtide develop --source flow.yaml --port 8080           run it; Ctrl-C stops it, running it again resumes

Exit status:
  0  all is well
  1  a mistake was found, a test failed, a task halted
  2  the arguments are wrong
  3  the catalog has mistakes and was not run
  4  a file, directory or port cannot be used";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show it all: the segmentation catalog, running, in a folder of its own
    Demo(Demo),
    /// Find the mistakes of a catalog
    Check(Check),
    /// Run the tests of a catalog
    Test(Test),
    /// Run a catalog on this machine
    Develop(Develop),
    /// Receive webhooks and print them
    Webhook(Webhook),
    /// Write files that are made from a catalog
    #[command(subcommand)]
    Generate(Generate),
    /// Print the JSON Schema of catalog files, for editors
    Schema,
}

#[derive(Debug, Subcommand)]
pub enum Generate {
    /// The TypeScript types of documents, registers and lambdas, in flow_generated/ beside the catalog
    Types(Source),
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub report: Report,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  segtide test --source tests.flow.yaml
  segtide test --source tests.flow.yaml -k toggles         only tests whose names have this in them
  segtide test --source tests.flow.yaml --junit report.xml")]
pub struct Test {
    #[command(flatten)]
    pub source: Source,
    /// Run only tests whose names have this in them, in upper or lower case
    #[arg(short = 'k', value_name = "PATTERN")]
    pub pattern: Option<String>,
    /// Write a JUnit report
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    #[command(flatten)]
    pub report: Report,
}

#[derive(Debug, Args)]
pub struct Report {
    /// How to report
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One JSON object on standard output
    Json,
}

#[derive(Debug, Args)]
pub struct Source {
    /// The catalog file
    #[arg(long, value_name = "FILE", env = "SEGTIDE_SOURCE")]
    pub source: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  segtide develop --source flow.yaml
  segtide develop --source flow.yaml --poll                process what is there, then end")]
pub struct Develop {
    #[command(flatten)]
    pub source: Source,
    /// The port for HTTP ingestion, on loopback; 0 takes any that is free
    #[arg(long, default_value_t = 8080, env = "SEGTIDE_PORT")]
    pub port: u16,
    /// Where the data directory is made, or found again
    #[arg(long, value_name = "DIR", default_value = ".", env = "SEGTIDE_DIRECTORY")]
    pub directory: PathBuf,
    /// Process what is there and end, instead of going on as more arrives
    #[arg(long)]
    pub poll: bool,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// The folder of the demo: its catalog, its files, its tables
    #[arg(long, value_name = "DIR", default_value = "segtide-demo", env = "SEGTIDE_DIRECTORY")]
    pub directory: PathBuf,
    /// The port for HTTP ingestion, on loopback; 0 takes any that is free
    #[arg(long, default_value_t = 8080, env = "SEGTIDE_PORT")]
    pub port: u16,
    /// Events the generator makes in a second
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub rate: u32,
    /// How long the demo's webhook receiver takes to answer
    #[arg(long, default_value = "50ms", value_name = "TIME", value_parser = duration)]
    pub delay: Duration,
    /// End by itself after so long
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub r#for: Option<Duration>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  segtide webhook --delay 1s                               a slow receiver: fewer calls, more documents in each
  segtide webhook --log calls.ndjson                       keep every call as a line of JSON")]
pub struct Webhook {
    /// The port to listen on, on loopback; 0 takes any that is free
    #[arg(long, default_value_t = 9000)]
    pub port: u16,
    /// How long to wait before answering
    #[arg(long, default_value = "50ms", value_name = "TIME", value_parser = duration)]
    pub delay: Duration,
    /// Append each call to this file as {"id", "path", "body"}, before answering
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Print one line per call instead of its body
    #[arg(long, short)]
    pub quiet: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| format!("{e}; write it like 50ms, 1s or 2m"))
}
