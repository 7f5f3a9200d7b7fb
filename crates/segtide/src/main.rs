//! The `segtide` program: what it is asked, and which part answers.

mod build;
mod check;
mod cli;
mod clock;
mod data;
mod demo;
mod develop;
#[cfg(feature = "failpoints")]
mod failpoints;
mod generate;
mod host;
mod http;
mod output;
mod report;
mod schema;
mod signals;
mod test;
mod webhook;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use output::{Exit, fail};

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    failpoints::arm();
    let cli = Cli::parse();
    let exit = match cli.command {
        Command::Develop(args) => develop::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Webhook(args) => webhook::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Schema => schema::run(),
    };
    #[cfg(feature = "failpoints")]
    failpoints::tell();
    match exit {
        Ok(exit) => exit.into(),
        Err(error) => {
            fail(&format!("{error:#}"));
            Exit::Unreachable.into()
        }
    }
}
