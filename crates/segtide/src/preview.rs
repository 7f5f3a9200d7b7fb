//! `segtide preview`: what a derivation makes of documents, printed as JSON lines; nothing is kept and nothing is stored.

use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read};

use anyhow::Context as _;
use runtime::testing::Tests;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::build::{For, build};
use crate::cli::Preview;
use crate::host::Program;
use crate::output::{Exit, fail, tell};
use crate::rows::Rows;
use crate::secrets::Missing;

/// Longest line of a fixture, in bytes.
const LINE_BYTES_MAX: u64 = 16 << 20;
/// Documents of one transaction, in bytes; more are several.
const TRANSACTION_BYTES_MAX: usize = 16 << 20;

pub fn run(args: &Preview) -> anyhow::Result<Exit> {
    let Some(catalog) = build(&args.source.source, For::Tests)? else { return Ok(Exit::Invalid) };
    let derived = catalog.collections.iter().filter(|collection| collection.derivation.is_some());
    let mut derived = derived.map(|collection| collection.name.as_str());
    if !derived.clone().any(|name| name == args.name) {
        let names: Vec<&str> = derived.by_ref().collect();
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        fail(&format!("{} is not a derived collection of {}; there are {known}", args.name, args.source.source));
        return Ok(Exit::NotFound);
    }
    let mut tests = match Tests::open(&catalog, &Program::new(Missing::StandIn)) {
        Ok(tests) => tests,
        Err(why) => {
            fail(&why);
            return Ok(Exit::Invalid);
        }
    };
    let is_input = args.fixture.as_os_str() == "-";
    let named = if is_input { "standard input".to_owned() } else { args.fixture.display().to_string() };
    let input: Box<dyn Read> = match is_input {
        true => Box::new(std::io::stdin()),
        false => Box::new(File::open(&args.fixture).with_context(|| format!("the fixture {named} cannot be read"))?),
    };
    if is_input && std::io::stdin().is_terminal() {
        tell(
            "write documents, a line each, as [\"collection\", {document}]; Ctrl-D ends, and --fixture names a file of them",
        );
    }
    let mut rows = Rows::new(args.output.format());
    let mut fixture = Fixture { lines: BufReader::new(input), line: 0 };
    let mut printed = 0;
    loop {
        let (documents, more) = match fixture.transaction() {
            Ok(read) => read,
            Err(why) => {
                rows.end()?;
                fail(&format!("{named}:{}: {why}", fixture.line));
                return Ok(Exit::Failed);
            }
        };
        if let Err(why) = tests.ingest_fixture(&documents) {
            rows.end()?;
            fail(&format!("{named}, the transaction that ends at line {}: {why}", fixture.line));
            return Ok(Exit::Failed);
        }
        for document in tests.documents(&args.name, printed) {
            if args.limit.is_some_and(|limit| printed as u64 >= limit) {
                rows.end()?;
                return Ok(Exit::Ok);
            }
            rows.text(document)?;
            printed += 1;
        }
        if !more {
            break;
        }
    }
    rows.end()?;
    if printed == 0 {
        tell(&format!(
            "{} got no documents from {} of the fixture",
            args.name,
            crate::output::plural(fixture.line, "line")
        ));
    }
    Ok(Exit::Ok)
}

/// Lines of documents.
struct Fixture<R> {
    lines: BufReader<R>,
    /// Lines read.
    line: u64,
}

impl<R: Read> Fixture<R> {
    /// The documents up to the next commit, each with its collection; whether there may be more.
    fn transaction(&mut self) -> anyhow::Result<(Vec<(String, String)>, bool)> {
        let mut documents = Vec::new();
        let (mut bytes, mut line) = (0, Vec::new());
        while bytes < TRANSACTION_BYTES_MAX {
            line.clear();
            if self.lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
                return Ok((documents, false));
            }
            self.line += 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            if let Ok((collection, document)) = serde_json::from_slice::<(String, Box<RawValue>)>(&line) {
                bytes += line.len();
                documents.push((collection, document.get().to_owned()));
                continue;
            }
            let parsed: Value = serde_json::from_slice(&line).context("the line is not JSON")?;
            let commits = parsed.as_object().is_some_and(|object| object.get("commit") == Some(&Value::Bool(true)));
            anyhow::ensure!(commits, "a line is [\"collection\", {{document}}], or {{\"commit\": true}}");
            break;
        }
        Ok((documents, true))
    }
}
