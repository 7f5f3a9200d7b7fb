//! The command line.

mod flowctl;
mod groups;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::output::{Colour, Exit, say};
pub use flowctl::{Collections, Flowctl, FlowctlRun};

/// Exact, live user segments from a stream of events.
///
/// Reads a catalog of captures, collections, derivations and materializations, checks it, tests it, and runs it on this
/// machine with nothing else to install.
#[derive(Debug, Parser)]
#[command(name = "segtide", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Whether to colour what is written: auto, always or never; NO_COLOR comes before it, and FORCE_COLOR after it
    #[arg(long, global = true, help_heading = "Everywhere", value_name = "WHEN", env = "SEGTIDE_COLOR")]
    #[arg(value_enum, default_value_t = Colour::Auto, hide_possible_values = true)]
    pub color: Colour,
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
  4  a file, directory or port cannot be used
  5  what was asked for is not there
 70  segtide has a defect: please report it
 74  the data directory failed while it was written; starting again finds what is safe";

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
    #[command(after_help = "\
Examples:
  segtide completions bash > /etc/bash_completion.d/segtide
  segtide completions zsh > ~/.zfunc/_segtide")]
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
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// The same as --output json
    #[arg(long, conflicts_with = "output")]
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
#[command(after_help = "\
Examples:
  segtide develop --source flow.yaml
  segtide develop --source flow.yaml --poll                process what is there, then end
  segtide develop --watch                                  and take over what is changed in the files
  segtide develop --source import.flow.yaml --poll < events.ndjson")]
pub struct Develop {
    #[command(flatten)]
    pub serving: Serving,
    /// Process what is there and end, instead of going on as more arrives
    #[arg(long)]
    pub poll: bool,
    /// Take over changes of the catalog's files while it runs; one with mistakes leaves what runs as it is
    #[arg(long, conflicts_with = "poll")]
    pub watch: bool,
    /// End, with a failure, when a task halts
    #[arg(long)]
    pub fail_fast: bool,
    #[command(flatten)]
    pub flowctl: FlowctlRun,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  segtide run --source flow.yaml --directory /var/lib/segtide
  segtide run --host 0.0.0.0                               for other machines; a capture says who may post documents

Under something that starts it again when it ends. As `develop`, but with a log in JSON, without --watch, and it ends with a
failure when a task halts.")]
pub struct Run {
    #[command(flatten)]
    pub serving: Serving,
}

/// How a catalog is run.
#[derive(Debug, Args)]
pub struct Serving {
    #[command(flatten)]
    pub source: Source,
    /// The port for HTTP ingestion; 0 takes any that is free
    #[arg(long, default_value_t = 8080, env = "SEGTIDE_PORT")]
    pub port: u16,
    /// The address to listen at; one that other machines reach needs a capture with tokens or secrets
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", env = "SEGTIDE_HOST")]
    pub host: IpAddr,
    /// Let other machines post documents without showing who they are
    #[arg(long, requires = "host")]
    pub insecure_open: bool,
    #[command(flatten)]
    pub place: Place,
    /// Keep files in a bucket: s3://…, gs://…, az://… or file:///…, or `mapped` for what `storageMappings` says
    #[arg(long, value_name = "URL", value_parser = stores, env = "SEGTIDE_FRAGMENTS")]
    pub fragments: Option<Stores>,
    /// Divide the keys of each derivation and table among so many threads; may change from run to run
    #[arg(long, value_name = "N", default_value_t = 1, env = "SEGTIDE_SHARDS", value_parser = shards())]
    pub shards: u32,
    /// The memory to take, such as 512MiB; a quarter of the machine's, or three quarters of its control group's, up to 512 MiB
    #[arg(long, value_name = "SIZE", env = "SEGTIDE_MEMORY", value_parser = memory)]
    pub memory: Option<ByteSize>,
    /// Run all TypeScript lambdas in QuickJS, those too that need no script engine
    #[arg(long, env = "SEGTIDE_NO_NATIVE_LAMBDAS", value_parser = clap::builder::FalseyValueParser::new())]
    pub no_native_lambdas: bool,
    #[command(flatten)]
    pub log: Log,
}

/// How what is said of a run is written.
#[derive(Debug, Args)]
pub struct Log {
    /// How to write what is said of the run; `run` writes json unless told otherwise
    #[arg(long = "log", value_enum, value_name = "FORMAT", env = "SEGTIDE_LOG")]
    pub format: Option<LogFormat>,
    /// Leave out what matters less
    #[arg(long = "log-level", value_enum, default_value_t = LogLevel::Info, value_name = "LEVEL", env = "SEGTIDE_LOG_LEVEL")]
    pub level: LogLevel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogLevel {
    /// Also what helps to find mistakes in connectors
    Debug,
    /// What happens
    Info,
    /// What may need somebody
    Warn,
    /// What does
    Error,
}

impl From<LogLevel> for connectors::Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Debug => Self::Debug,
            LogLevel::Info => Self::Info,
            LogLevel::Warn => Self::Warn,
            LogLevel::Error => Self::Error,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// A JSON object a line
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  segtide init                                             who is in a segment, and what changes it
  segtide init http --directory views                      another template, in another folder
  segtide init --list                                      what templates there are")]
pub struct Init {
    /// What to begin with
    #[arg(default_value = "segmentation")]
    pub template: String,
    /// The folder to write to
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub directory: PathBuf,
    /// Say what templates there are
    #[arg(long)]
    pub list: bool,
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
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  segtide read examples/segment/toggles --follow           what changes, as it changes
  segtide read examples/segment/events --partition vendor=3")]
pub struct Read {
    /// The collection
    pub collection: String,
    /// Go on with the documents to come
    #[arg(long, short)]
    pub follow: bool,
    /// Only documents of this partition; given again, also of that one
    #[arg(long, value_name = "FIELD=VALUE", value_parser = pair)]
    pub partition: Vec<(String, String)>,
    #[command(flatten)]
    pub place: Place,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A fixture has a document a line, as [\"collection\", {document}]; a line {\"commit\": true} ends a transaction. Nothing is kept.

Examples:
  segtide preview --name acme/totals --fixture sales.jsonl
  echo '[\"acme/sales\", {\"shop\": \"a\", \"amount\": 3}]' | segtide preview --name acme/totals")]
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
#[command(after_help = "\
Run it twice: first it writes the connector's configuration with its defaults and what they mean; once you have filled that in,
it asks the connector for its streams and writes a catalog of them.

Examples:
  segtide discover -- source-faker                         a connector that is installed here
  segtide discover --prefix acme -- python3 source.py
  segtide discover --image airbyte/source-faker            one that is run with Docker")]
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
#[command(after_help = "\
No program may use the directory meanwhile. The exit status is 1 where something is wrong, and nothing is ever removed.")]
pub struct Verify {
    #[command(flatten)]
    pub place: Place,
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
}

/// Where files go instead of the data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stores {
    /// To this store.
    Url(String),
    /// To those of the catalog's `storageMappings`.
    Mapped,
}

fn stores(text: &str) -> Result<Stores, String> {
    match text {
        "mapped" => Ok(Stores::Mapped),
        url => journal::check_store(url).map(|()| Stores::Url(url.to_owned())),
    }
}

#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    pub place: Place,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// How to report
    #[arg(short, long, value_enum, conflicts_with = "json")]
    output: Option<StatusFormat>,
}

impl Status {
    /// Whether to report as JSON.
    pub fn is_json(&self) -> bool {
        self.json || self.output == Some(StatusFormat::Json)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum StatusFormat {
    /// For people
    Text,
    /// One JSON object on standard output
    Json,
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

/// What is asked on the command line; ends the program where it is not to be understood.
pub fn parse() -> Cli {
    let matches = groups::grouped(Cli::command()).get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
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
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    say(String::from_utf8_lossy(&page).trim_end());
    Ok(Exit::Ok)
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (field, value) = text.split_once('=').ok_or("write it as field=value")?;
    Ok((field.to_owned(), value.to_owned()))
}

fn shards() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=runtime::SHARDS_MAX.into())
}

fn memory(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|_| "write it like 512MiB or 2GiB".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| format!("{e}; write it like 50ms, 1s or 2m"))
}
