//! The command line.

mod examples;
mod flowctl;
mod groups;
mod serving;
mod values;
mod variables;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::output::{Colour, Exit, say};
use crate::rows;
pub use flowctl::{Collections, Flowctl, FlowctlRun};
pub use serving::{Develop, LogFormat, Run, Serving};
pub use values::{Moment, Stores};
use values::{duration, moment, pair};

/// Exact, live user segments from a stream of events.
///
/// Reads a catalog of captures, collections, derivations and materializations, checks it, tests it, and runs it on this
/// machine with nothing else to install.
#[derive(Debug, Parser)]
#[command(name = "segtide", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Whether to colour what is written: auto, always or never; NO_COLOR comes before it, and FORCE_COLOR after it
    #[arg(long, global = true, help_heading = "Everywhere", value_name = "WHEN", env = "SEGTIDE_COLOR")]
    #[arg(value_enum, default_value_t = Colour::Auto, hide_possible_values = true)]
    pub color: Colour,
    /// Say nothing on standard error but what has gone wrong
    #[arg(short, long, global = true, help_heading = "Everywhere", env = "SEGTIDE_QUIET")]
    pub quiet: bool,
    /// Act as if started in this folder
    #[arg(long, global = true, help_heading = "Everywhere", value_name = "DIR", env = "SEGTIDE_PROJECT")]
    pub project: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Begin a catalog in this folder
    Init(Init),
    /// Show it all: the segmentation catalog, running, in a folder of its own
    Demo(Demo),
    /// Find the mistakes of a catalog
    #[command(aliases = ["validate", "lint"])]
    Check(Check),
    /// Run the tests of a catalog
    Test(Test),
    /// Run a catalog on this machine
    #[command(alias = "dev")]
    Develop(Develop),
    /// Run a catalog in production
    Run(Run),
    /// Print what a derivation makes of documents
    Preview(Preview),
    /// Begin a catalog with the streams of a connector
    Discover(Discover),
    /// Say what a running catalog is doing
    Status(Status),
    /// Show what a running catalog is doing, as it changes
    Top(Top),
    /// Say whether a catalog could run here
    Doctor(Doctor),
    /// Print the documents of a collection
    Read(Read),
    /// The same as `flowctl` calls it
    #[command(subcommand, hide = true)]
    Collections(Collections),
    /// Look at the files that documents are kept in
    #[command(subcommand)]
    Fragments(Fragments),
    /// Read everything a data directory keeps, and say what is not as it was written
    Verify(Verify),
    /// Draw a catalog
    Graph(Graph),
    /// Receive webhooks and print them
    Webhook(Webhook),
    /// Write files that are made from a catalog
    #[command(subcommand)]
    Generate(Generate),
    /// Print the JSON Schema of catalog files, for editors
    #[command(alias = "json-schema")]
    Schema,
    /// Print what a shell needs to complete commands
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
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
    /// Say of each TypeScript lambda whether it is native, and if not, why it runs in QuickJS
    #[arg(short, long)]
    pub verbose: bool,
    #[command(flatten)]
    pub report: Report,
    #[command(flatten)]
    pub flowctl: Flowctl,
}

#[derive(Debug, Args)]
pub struct Test {
    #[command(flatten)]
    pub source: Source,
    /// Run only tests whose names have this in them, in upper or lower case
    #[arg(short = 'k', value_name = "PATTERN")]
    pub pattern: Option<String>,
    /// Write a JUnit report
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Run them again whenever the catalog's files change
    #[arg(long)]
    pub watch: bool,
    #[command(flatten)]
    pub report: Report,
    #[command(flatten)]
    pub flowctl: Flowctl,
}

#[derive(Debug, Args)]
pub struct Report {
    /// How to report
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Text, env = "SEGTIDE_REPORT")]
    output: Format,
    /// The same as --output json
    #[arg(long)]
    json: bool,
}

impl Report {
    /// How to report.
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One JSON object on standard output
    Json,
    /// The catalog's mistakes as SARIF, which code reviews show
    Sarif,
}

#[derive(Debug, Args)]
pub struct Source {
    /// The catalog file
    #[arg(long, value_name = "FILE", default_value = "flow.yaml", env = "SEGTIDE_SOURCE")]
    pub source: String,
}

#[derive(Debug, Args)]
pub struct Init {
    /// What to begin with
    #[arg(default_value = "segmentation")]
    pub template: String,
    /// The folder to write to
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub directory: PathBuf,
    /// Write the catalog only, and nothing for editors, containers and GitHub
    #[arg(long)]
    pub bare: bool,
    /// Say what templates there are
    #[arg(long)]
    pub list: bool,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Subcommand)]
pub enum Fragments {
    /// List the files of a collection
    Ls(FragmentsOf),
    /// Print the documents in the files of a collection, a line each
    Cat(FragmentsOf),
}

#[derive(Debug, Args)]
pub struct FragmentsOf {
    /// The collection, or a partition of it such as acme/views/page=home
    pub collection: String,
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Read {
    /// The collection
    pub collection: String,
    /// Go on with the documents to come
    #[arg(long, short)]
    pub follow: bool,
    /// Only documents of this partition; given again, also of that one
    #[arg(long, value_name = "FIELD=VALUE", value_parser = pair)]
    pub partition: Vec<(String, String)>,
    /// Only documents published since then: a time such as 2026-02-03T10:12:44Z, a day, or how long ago, such as 10m
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub from: Option<Moment>,
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Preview {
    #[command(flatten)]
    pub source: Source,
    /// The derived collection
    #[arg(long, value_name = "COLLECTION")]
    pub name: String,
    /// The documents that it is made from; `-` reads standard input
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub fixture: PathBuf,
    /// Print no more documents than this
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    #[command(flatten)]
    pub output: Output,
    #[arg(long, hide = true)]
    timeout: Option<String>,
    #[arg(long, hide = true)]
    sessions: Option<String>,
    #[command(flatten)]
    flowctl: FlowctlRun,
}

#[derive(Debug, Args)]
#[command(
    override_usage = "segtide discover [OPTIONS] -- <COMMAND>...\n       segtide discover [OPTIONS] --image <IMAGE>"
)]
pub struct Discover {
    /// The connector's image, where Docker is
    #[arg(long, conflicts_with = "command", required_unless_present = "command")]
    pub image: Option<String>,
    /// What the names of collections begin with
    #[arg(long, default_value = "acme")]
    pub prefix: String,
    /// Where to write to
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub directory: PathBuf,
    /// Run the commands that the configuration refers to as `${cmd:COMMAND}`
    #[arg(long, env = "SEGTIDE_ALLOW_EXEC")]
    pub allow_exec: bool,
    #[command(flatten)]
    pub output: Output,
    /// The command of a connector that is installed here
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Graph {
    #[command(flatten)]
    pub source: Source,
    /// The language to draw in
    #[arg(long, value_enum, default_value_t = GraphFormat::Mermaid)]
    pub format: GraphFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum GraphFormat {
    /// Mermaid, which GitHub and many editors show
    Mermaid,
    /// Graphviz
    Dot,
    /// A picture
    Svg,
}

/// Where a catalog runs.
#[derive(Debug, Args)]
pub struct Place {
    /// Where the data directory is
    #[arg(long, value_name = "DIR", default_value = ".", env = "SEGTIDE_DIRECTORY")]
    pub directory: PathBuf,
}

#[derive(Debug, Args)]
pub struct Top {
    #[command(flatten)]
    pub place: Place,
}

#[derive(Debug, Args)]
pub struct Verify {
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub place: Place,
    /// The port that it would listen on
    #[arg(long, default_value_t = 8080, env = "SEGTIDE_PORT")]
    pub port: u16,
    /// Run the commands that configurations refer to as `${cmd:COMMAND}`
    #[arg(long, env = "SEGTIDE_ALLOW_EXEC")]
    pub allow_exec: bool,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub output: Output,
}

/// How rows of data are printed.
#[derive(Debug, Args)]
pub struct Output {
    /// How to print: table, json, ndjson, csv or yaml; a table on a terminal and an object a line elsewhere, unless told
    #[arg(short, long, value_enum, value_name = "FORMAT", hide_possible_values = true, env = "SEGTIDE_OUTPUT")]
    output: Option<rows::Format>,
    /// The same as --output json
    #[arg(long)]
    json: bool,
}

impl Output {
    /// How to print.
    pub fn format(&self) -> rows::Format {
        if self.json { rows::Format::Json } else { self.output.unwrap_or_else(rows::Format::usual) }
    }
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
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: u32,
    /// How long the demo's webhook receiver takes to answer
    #[arg(long, default_value = "50ms", value_name = "TIME", value_parser = duration)]
    pub delay: Duration,
    /// End by itself after so long
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub r#for: Option<Duration>,
}

#[derive(Debug, Args)]
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
    #[arg(long)]
    pub brief: bool,
}

/// The command line: commands in groups with examples, flags with variables.
fn command() -> clap::Command {
    groups::grouped(examples::shown(variables::named(Cli::command())))
}

/// What is asked on the command line; ends the program where it is not to be understood.
pub fn parse() -> Cli {
    let mut command = command();
    let parsed =
        command.try_get_matches_from_mut(std::env::args_os()).and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.unwrap_or_else(|error| variables::blamed(error, &command).exit())
}

/// Prints what a shell needs to complete commands.
pub fn completions(shell: clap_complete::Shell) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "segtide", &mut script);
    say(String::from_utf8_lossy(&script).trim_end());
    Ok(Exit::Ok)
}

/// Prints the manual page of the program and its commands.
pub fn man() -> anyhow::Result<Exit> {
    let mut page = Vec::new();
    clap_mangen::Man::new(examples::shown(variables::named(Cli::command()))).render(&mut page)?;
    say(String::from_utf8_lossy(&page).trim_end());
    Ok(Exit::Ok)
}
