//! What command lines of `flowctl` have and ours do not need, so that they can be kept as they are.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Output, Place};

/// What `flowctl` takes besides, so that its command lines can be kept. Nothing here needs a network or a directory to check or
/// test a catalog, and no test waits.
#[derive(Debug, Args)]
pub struct Flowctl {
    #[arg(long, hide = true)]
    directory: Option<PathBuf>,
    #[arg(long, hide = true)]
    network: Option<String>,
    #[arg(long, hide = true)]
    shards: Option<u32>,
    #[arg(long, hide = true)]
    timeout: Option<String>,
    #[arg(long = "log.level", hide = true)]
    log_level: Option<String>,
    #[arg(long = "log.format", hide = true)]
    log_format: Option<String>,
}

/// The same for what runs a catalog.
#[derive(Debug, Args)]
pub struct FlowctlRun {
    #[arg(long, hide = true)]
    network: Option<String>,
    #[arg(long = "log.level", hide = true)]
    log_level: Option<String>,
    #[arg(long = "log.format", hide = true)]
    log_format: Option<String>,
    #[arg(long = "debug.port", hide = true)]
    debug_port: Option<u16>,
}

/// `flowctl collections`.
#[derive(Debug, Subcommand)]
pub enum Collections {
    /// Print the documents of a collection
    Read {
        /// The collection
        #[arg(long)]
        collection: String,
        /// Go on with the documents to come
        #[arg(long)]
        follow: bool,
        #[arg(long, hide = true)]
        uncommitted: bool,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        output: Output,
    },
}
