//! The commands that run a catalog, and what both of them take.

use std::net::IpAddr;

use bytesize::ByteSize;
use clap::Args;

use super::values::{address, stores};
use super::{FlowctlRun, Place, Source, Stores};
use crate::memory;

#[derive(Debug, Args)]
pub struct Develop {
    #[command(flatten)]
    pub serving: Serving,
    /// Process what is there and end, instead of going on as more arrives
    #[arg(long, help_heading = "When it ends")]
    pub poll: bool,
    /// Take over changes of the catalog's files while it runs; one with mistakes leaves what runs as it is
    #[arg(long, help_heading = "When it ends", conflicts_with = "poll")]
    pub watch: bool,
    /// End, with a failure, when a task halts
    #[arg(long, help_heading = "When it ends")]
    pub fail_fast: bool,
    #[command(flatten)]
    pub flowctl: FlowctlRun,
}

#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub serving: Serving,
}

/// How a catalog is run.
#[derive(Debug, Args)]
pub struct Serving {
    #[command(flatten)]
    pub source: Source,
    /// Run the commands that configurations refer to as `${cmd:COMMAND}`
    #[arg(long, env = "SEGTIDE_ALLOW_EXEC")]
    pub allow_exec: bool,
    /// The port for HTTP ingestion; 0 takes any that is free
    #[arg(long, help_heading = "Who may come in", default_value_t = 8080, env = "SEGTIDE_PORT")]
    pub port: u16,
    /// The address to listen at; one that other machines reach needs a capture with tokens or secrets
    #[arg(long, help_heading = "Who may come in", value_name = "ADDRESS", default_value = "127.0.0.1")]
    #[arg(env = "SEGTIDE_HOST", value_parser = address)]
    pub host: IpAddr,
    /// Let other machines post documents without showing who they are
    #[arg(long, help_heading = "Who may come in", env = "SEGTIDE_INSECURE_OPEN")]
    pub insecure_open: bool,
    #[command(flatten)]
    pub place: Place,
    /// Keep files in a bucket, at a URL of s3, gs, az or file, or `mapped` for what `storageMappings` says
    #[arg(long, value_name = "URL", value_parser = stores, env = "SEGTIDE_FRAGMENTS")]
    pub fragments: Option<Stores>,
    /// Divide the keys of each derivation and table among so many threads; may change from run to run
    #[arg(long, help_heading = "What it takes", value_name = "N", default_value_t = 1, env = "SEGTIDE_SHARDS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=runtime::SHARDS_MAX.into()))]
    pub shards: u32,
    /// The memory to take, such as 512MiB; a quarter of the machine's, or three quarters of its control group's, up to 512 MiB
    #[arg(long, help_heading = "What it takes", value_name = "SIZE", env = "SEGTIDE_MEMORY")]
    #[arg(value_parser = memory::asked)]
    pub memory: Option<ByteSize>,
    /// Run all TypeScript lambdas in QuickJS, those too that need no script engine
    #[arg(long, help_heading = "What it takes", env = "SEGTIDE_NO_NATIVE_LAMBDAS")]
    pub no_native_lambdas: bool,
    #[command(flatten)]
    pub log: Log,
}

/// How what is said of a run is written.
#[derive(Debug, Args)]
pub struct Log {
    /// How to write what is said of the run; `run` writes json unless told otherwise
    #[arg(long = "log", help_heading = "What it says", value_enum, value_name = "FORMAT", env = "SEGTIDE_LOG")]
    pub format: Option<LogFormat>,
    /// Leave out what matters less
    #[arg(long = "log-level", help_heading = "What it says", value_enum, default_value_t = LogLevel::Info)]
    #[arg(value_name = "LEVEL", env = "SEGTIDE_LOG_LEVEL")]
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
