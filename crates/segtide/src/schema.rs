//! `segtide schema`: prints the JSON Schema of catalog files.

use crate::output::{Exit, say};

pub fn run() -> anyhow::Result<Exit> {
    say(catalog::SCHEMA.trim_end());
    Ok(Exit::Ok)
}
