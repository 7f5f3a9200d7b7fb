//! `segtide read`: prints the documents of a collection, of a catalog that runs or of one that does not.

use std::io::{self, Write as _};
use std::sync::Arc;

use anyhow::Context as _;
use catalog::Selector;
use runtime::Tail;
use ureq::Body;
use ureq::http::Response;

use crate::cli::Read;
use crate::data;
use crate::http::include;
use crate::output::{Exit, fail, tell};

pub fn run(args: &Read) -> anyhow::Result<Exit> {
    let place = &args.place.directory;
    if let Some(answer) = data::address(place).ok().and_then(|address| ask(args, &address)) {
        return print(answer);
    }
    if args.follow {
        fail("no catalog runs here, so nothing will come; read without --follow what there is");
        return Ok(Exit::Unreachable);
    }
    let path = data::path(place);
    anyhow::ensure!(
        path.exists(),
        "{} is not there; name the place of a data directory with --directory",
        path.display()
    );
    let log = Arc::new(data::open(data::options(&path))?);
    let mut selector = Selector::default();
    args.partition.iter().for_each(|(field, value)| include(&mut selector, field, value));
    let mut tail = Tail::new(log, &args.collection, selector);
    let mut out = io::stdout().lock();
    let mut found = false;
    loop {
        let documents = tail.read()?;
        if documents.is_empty() && !found {
            // Which collections a catalog has is not known where none runs.
            tell(&format!("{} has no documents of {}", path.display(), args.collection));
        }
        if documents.is_empty() {
            return Ok(Exit::Ok);
        }
        found = true;
        for document in documents {
            // Whoever read may have seen enough.
            if out.write_all(&document).is_err() {
                return Ok(Exit::Ok);
            }
        }
    }
}

/// Asks the catalog that runs; `None` where nothing answers.
fn ask(args: &Read, address: &str) -> Option<Response<Body>> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let mut request = agent.get(format!("{address}/api/v1/documents/{}", args.collection));
    for (field, value) in &args.partition {
        request = request.query("partition", format!("{field}={value}"));
    }
    request.query("follow", args.follow.to_string()).call().ok()
}

fn print(mut answer: Response<Body>) -> anyhow::Result<Exit> {
    if answer.status() != 200 {
        fail(answer.body_mut().read_to_string().unwrap_or_default().trim_end());
        return Ok(if answer.status() == 404 { Exit::NotFound } else { Exit::Failed });
    }
    let mut out = io::stdout().lock();
    match io::copy(&mut answer.body_mut().as_reader(), &mut out) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Ok),
        copied => copied.map(|_| Exit::Ok).context("the catalog ended"),
    }
}
