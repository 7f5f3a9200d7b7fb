//! `segtide read`: prints the documents of a collection, of a catalog that runs or of one that does not.

use std::borrow::Cow;
use std::io::{BufRead as _, BufReader};
use std::sync::Arc;

use anyhow::Context as _;
use catalog::Selector;
use journal::Clock as _;
use runtime::Tail;
use ureq::Body;
use ureq::http::Response;

use crate::cli::Read;
use crate::clock::SystemClock;
use crate::data;
use crate::http::include;
use crate::output::{Exit, fail, tell};
use crate::rows::Rows;

pub fn run(args: &Read) -> anyhow::Result<Exit> {
    let place = &args.place.directory;
    let rows = Rows::new(args.output.format());
    let mut reading = Reading {
        rows: if args.follow { rows.following() } else { rows },
        from_us: args.from.map(|from| from.us(SystemClock.now_us())),
        printed: 0,
    };
    let address = data::address(place);
    if let Some(answer) = address.as_ref().ok().and_then(|address| ask(args, address)) {
        return reading.print(answer, &args.collection);
    }
    if args.follow {
        fail("no catalog runs here, so nothing will come; read without --follow what there is");
        return Ok(Exit::Unreachable);
    }
    let path = data::path(place);
    if !path.exists() {
        fail(&data::missing(&path));
        return Ok(Exit::NotFound);
    }
    let log = Arc::new(data::open(data::options(&path))?);
    let mut selector = Selector::default();
    args.partition.iter().for_each(|(field, value)| include(&mut selector, field, value));
    let mut tail = Tail::new(log, &args.collection, selector);
    loop {
        let documents = tail.read()?;
        if documents.is_empty() {
            break;
        }
        documents.iter().try_for_each(|document| reading.document(document))?;
    }
    // Which collections a catalog has is not known where none runs.
    reading.end(&args.collection)
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

/// Documents on their way to whoever reads.
struct Reading {
    rows: Rows,
    /// Those published before are left out, in microseconds since 1970.
    from_us: Option<u64>,
    printed: u64,
}

impl Reading {
    fn document(&mut self, document: &[u8]) -> anyhow::Result<()> {
        let is_late = |from_us| published_us(document).is_some_and(|us| us >= from_us);
        if self.from_us.is_none_or(is_late) {
            self.rows.text(document)?;
            self.printed += 1;
        }
        Ok(())
    }

    fn print(mut self, mut answer: Response<Body>, collection: &str) -> anyhow::Result<Exit> {
        if answer.status() != 200 {
            fail(answer.body_mut().read_to_string().unwrap_or_default().trim_end());
            return Ok(if answer.status() == 404 { Exit::NotFound } else { Exit::Failed });
        }
        let mut lines = BufReader::new(answer.body_mut().as_reader());
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).context("the catalog ended")? > 0 {
            self.document(&line)?;
            line.clear();
            if lines.buffer().is_empty() {
                self.rows.flush()?;
            }
        }
        self.end(collection)
    }

    fn end(self, collection: &str) -> anyhow::Result<Exit> {
        self.rows.end()?;
        if self.printed == 0 {
            tell(&format!("there are no such documents of {collection}"));
        }
        Ok(Exit::Ok)
    }
}

/// When a document was published, in microseconds since 1970.
fn published_us(document: &[u8]) -> Option<u64> {
    /// What is told of a document besides what it says.
    #[derive(serde::Deserialize)]
    struct Meta<'d> {
        #[serde(borrow)]
        uuid: Cow<'d, str>,
    }
    #[derive(serde::Deserialize)]
    struct Document<'d> {
        #[serde(borrow)]
        _meta: Meta<'d>,
    }
    let Document { _meta: Meta { uuid } } = serde_json::from_slice(document).ok()?;
    doc::published_us(uuid.as_bytes())
}
