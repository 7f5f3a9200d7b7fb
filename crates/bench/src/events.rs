//! Files of events: those of Segtide's generator under a clock moved by hand, so the same for the same numbers.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use catalog::{Capture, CaptureBinding, Endpoint, Sources, Tree};
use connectors::Builtin;
use runtime::{Batch, Progress, Source};
use serde_json::json;
use testkit::Clock;

use crate::Events;

/// 2021-07-22T21:00:00Z.
const START_US: u64 = 1_626_987_600_000_000;
/// A second in the life of the events.
const EVENTS_PER_SECOND: u64 = 100_000;
const TICK: Duration = Duration::from_millis(10);

/// The generator, which makes the events of a seed without end.
pub(crate) struct Generator {
    source: Box<dyn Source>,
    clock: Clock,
}

impl Generator {
    pub(crate) fn open(events: &Events) -> anyhow::Result<Self> {
        let url = "file:///events.flow.yaml".parse().expect("a URL");
        let place = Tree::from_yaml(&mut Sources::default(), url, "{}").expect("an empty catalog").place();
        let config = json!({
            "maxEventsPerSecond": EVENTS_PER_SECOND,
            "seed": events.seed,
            "segmentCardinality": events.segments,
            "userCardinality": events.users,
        });
        let base = "file:///events.flow.yaml".parse().expect("a URL");
        let endpoint = Endpoint { connector: "event-generator".into(), image: None, config, base, place };
        let resource = json!({ "stream": "segmentation-events" });
        let binding = CaptureBinding { resource, target: "events".into(), place };
        let capture =
            Capture { name: "events".into(), endpoint, bindings: vec![binding], interval_seconds: 300, place };
        let clock = Clock::at(START_US);
        let told = clock.clone();
        let source = Builtin::new(move || told.now_us()).open_source(&capture, &[], None, true)?;
        Ok(Self { source, clock })
    }

    /// The next events: one line each.
    pub(crate) fn read(&mut self, batch: &mut Batch) -> anyhow::Result<()> {
        batch.clear();
        while batch.documents.is_empty() {
            if self.source.read(batch)? != Progress::More {
                self.clock.advance(TICK);
            }
        }
        Ok(())
    }
}

/// Writes events, one a line.
pub(crate) fn write(events: &Events, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut generator = Generator::open(events)?;
    let mut out = BufWriter::with_capacity(1 << 20, out);
    let mut batch = Batch::default();
    let mut left = usize::try_from(events.events).context("too many events")?;
    while left > 0 {
        generator.read(&mut batch)?;
        for (_, range) in batch.documents.iter().take(left) {
            out.write_all(&batch.text[range.clone()])?;
            out.write_all(b"\n")?;
        }
        left -= batch.documents.len().min(left);
    }
    Ok(out.flush()?)
}

/// Writes a file of events.
pub(crate) fn write_file(events: &Events, path: &Path) -> anyhow::Result<()> {
    let mut file = File::create(path).with_context(|| format!("{} cannot be made", path.display()))?;
    write(events, &mut file)
}
