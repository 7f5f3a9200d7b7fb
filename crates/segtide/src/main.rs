//! The `segtide` program: what it is asked, and which part answers.

mod annotations;
mod around;
mod build;
mod check;
mod cli;
mod clock;
mod data;
mod demo;
mod develop;
mod discover;
mod doctor;
#[cfg(feature = "failpoints")]
mod failpoints;
mod fragments;
mod generate;
mod graph;
mod host;
mod http;
mod init;
mod memory;
mod output;
mod preview;
mod progress;
mod read;
mod report;
mod rows;
mod schema;
mod secrets;
mod signals;
mod status;
mod symbols;
mod templates;
mod test;
mod top;
mod verify;
mod watch;
mod webhook;
mod yaml;

use std::process::ExitCode;

use anyhow::Context as _;
use cli::{Cli, Command};
use output::{Exit, Usage, fail};
use rows::Closed;

/// Its options are in `.cargo/config.toml`; what it is for, in decision 20.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    output::own_up_to_defects();
    #[cfg(feature = "failpoints")]
    failpoints::arm();
    let cli = cli::parse();
    output::colour(cli.color);
    if cli.quiet {
        output::keep_quiet();
    }
    let exit = run(cli);
    #[cfg(feature = "failpoints")]
    failpoints::tell();
    match exit {
        Ok(Exit::Ok) if !output::is_written() => {
            fail("standard output cannot be written");
            Exit::Unreachable.into()
        }
        Ok(exit) => exit.into(),
        Err(error) if error.is::<Closed>() => Exit::Ok.into(),
        Err(error) => {
            fail(&format!("{error:#}"));
            if error.is::<Usage>() { Exit::Usage.into() } else { Exit::Unreachable.into() }
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<Exit> {
    if let Some(folder) = &cli.project {
        std::env::set_current_dir(folder).with_context(|| format!("the folder {} cannot be used", folder.display()))?;
    }
    match cli.command {
        Command::Develop(args) => develop::develop(&args),
        Command::Run(args) => develop::produce(&args),
        Command::Preview(args) => preview::run(&args),
        Command::Discover(args) => discover::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Webhook(args) => webhook::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Schema => schema::run(),
        Command::Init(args) => init::run(&args),
        Command::Fragments(args) => fragments::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Read(args) => read::run(&args),
        Command::Collections(cli::Collections::Read { collection, follow, place, output, .. }) => {
            read::run(&cli::Read { collection, follow, partition: Vec::new(), from: None, place, output })
        }
        Command::Graph(args) => graph::run(&args),
        Command::Completions { shell } => cli::completions(shell),
        Command::Man => cli::man(),
    }
}
