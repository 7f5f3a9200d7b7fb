//! Captures: documents from a source into collections, with the source's cursor.

use catalog::{Capture, Catalog, Collection};
use doc::Arena;
use journal::failpoint::durable_point;
use journal::{Commit, Delta, KeyRange, Piece};
use serde_json::value::RawValue;

use crate::connector::{Batch, Connectors, Progress, Source};
use crate::dead_letters::{self, DeadLetters, Letter};
use crate::pace::{self, Pace};
use crate::publish::{Target, Unpublishable};
use crate::shard::{Context, Extended, Failure, Task};
use crate::uuid::Stamper;

/// A capture's shard: parses, validates, combines by key in the order of arrival, publishes together with the cursor.
pub(crate) struct CaptureTask {
    context: Context,
    name: String,
    task: String,
    epoch: u64,
    source: Box<dyn Source>,
    pace: Pace,
    batch: Batch,
    /// For each binding, its target.
    bindings: Vec<usize>,
    targets: Vec<Target>,
    cursor: Option<Vec<u8>>,
    stamper: Stamper,
    dead_letters: DeadLetters,
    arena: Arena,
    in_flight: Option<Box<dyn Commit>>,
    /// The cursor that the commit in flight has.
    committing: Option<Vec<u8>>,
}

impl CaptureTask {
    pub(crate) fn recover(
        context: &Context,
        catalog: &Catalog,
        capture: &Capture,
        connectors: &dyn Connectors,
        tail: bool,
        pace: Pace,
        random: u64,
    ) -> Result<Self, Failure> {
        let task = format!("capture/{}", capture.name);
        let opened = context.log.open(&task, KeyRange::ALL)?;
        let cursor = opened.position.first().map(|piece| piece.position.as_slice());
        let mut targets: Vec<Target> = Vec::new();
        let mut bindings = Vec::new();
        for binding in &capture.bindings {
            let at = match targets.iter().position(|t| t.collection == binding.target) {
                Some(at) => at,
                None => {
                    targets.push(Target::new(context, catalog, &binding.target)?);
                    targets.len() - 1
                }
            };
            bindings.push(at);
        }
        let collections = capture.bindings.iter().filter_map(|binding| catalog.collection(&binding.target));
        let collections: Vec<&Collection> = collections.collect();
        Ok(Self {
            context: context.clone(),
            name: capture.name.clone(),
            task,
            epoch: opened.epoch,
            source: connectors.open_source(capture, &collections, cursor, tail)?,
            pace,
            batch: Batch::default(),
            bindings,
            targets,
            cursor: None,
            stamper: Stamper::new(random ^ opened.epoch),
            dead_letters: DeadLetters::new(&capture.name),
            arena: Arena::new(),
            in_flight: None,
            committing: None,
        })
    }
}

impl Task for CaptureTask {
    const GROWS: bool = true;

    fn extend(&mut self, now_us: u64) -> Result<Extended, Failure> {
        if self.pace.is_ahead(now_us) {
            self.context.sleep(pace::LOOK);
            return Ok(Extended { more: true, ..Extended::default() });
        }
        self.batch.clear();
        let progress = self.source.read(&mut self.batch)?;
        self.arena.reset();
        let mut bytes = 0;
        for (n, (binding, range)) in self.batch.documents.iter().enumerate() {
            let text = &self.batch.text[range.clone()];
            bytes += text.len() as u64;
            let target = &mut self.targets[self.bindings[*binding]];
            let parsed = match self.batch.refusal(n) {
                Some(reason) => Err(reason.to_owned()),
                None => doc::parse(&self.arena, text).map_err(|e| format!("not a JSON document: {e}")),
            };
            let reason = match &parsed {
                Err(reason) => reason.clone(),
                Ok(document) => match target.combine(&self.arena, *document) {
                    Ok(()) => continue,
                    Err(e) => e.to_string(),
                },
            };
            let place = self.batch.place(n);
            if self.source.halts_on_invalid() {
                return Err(Failure::never(format!(
                    "{}: {reason}; mend or remove the document, or widen the schema of {}, and start again",
                    place.as_deref().unwrap_or(&self.name),
                    target.collection
                )));
            }
            let text = || String::from_utf8_lossy(text.trim_ascii()).into_owned();
            let letter = Letter {
                collection: Some(&target.collection),
                place: place.as_deref(),
                reason: &reason,
                document: parsed.as_ref().ok().and_then(|document| dead_letters::document(*document)),
                text: parsed.is_err().then(text),
                ..Letter::default()
            };
            self.dead_letters.add(letter, &mut self.stamper, now_us);
        }
        let advanced = self.batch.cursor.is_some();
        if let Some(cursor) = self.batch.cursor.take() {
            durable_point("capture.read");
            self.cursor = Some(cursor);
        }
        if let Some(bytes) = self.source.remaining_bytes() {
            self.context.counters.waits(bytes, None);
        }
        Ok(Extended {
            documents: self.batch.documents.len() as u64,
            bytes,
            progress: advanced,
            unfinished: self.batch.unfinished,
            more: progress == Progress::More,
            again_us: match progress {
                Progress::Wait(wait) => Some(now_us.saturating_add(wait.as_micros() as u64)),
                _ => None,
            },
            ended: progress == Progress::Done,
            ..Extended::default()
        })
    }

    fn close(&mut self, now_us: u64) -> Result<(), Failure> {
        let mut delta = Delta {
            task: self.task.clone(),
            epoch: self.epoch,
            time_us: now_us,
            position: self.cursor.clone().map(Piece::whole).unwrap_or_default(),
            ..Delta::default()
        };
        let mut published = 0;
        let (halts, letters) = (self.source.halts_on_invalid(), &mut self.dead_letters);
        for target in &mut self.targets {
            let collection = target.collection.clone();
            let mut set_aside = |stamper: &mut Stamper, document: &[u8], why: Unpublishable| {
                let reason = why.to_string();
                if halts {
                    return Err(Failure::never(format!("{collection}: {reason}")));
                }
                let document = String::from_utf8_lossy(document).into_owned();
                let document = RawValue::from_string(document).ok();
                let letter = Letter { collection: Some(&collection), reason: &reason, document, ..Letter::default() };
                letters.add(letter, stamper, now_us);
                Ok(())
            };
            published += target.publish(&mut self.stamper, now_us, &mut delta.appends, &mut set_aside)?;
        }
        self.context.counters.went_out(published, appended(&delta));
        delta.appends.extend(self.dead_letters.take(&self.context.counters));
        durable_point("capture.before_commit");
        self.committing = self.cursor.take();
        self.in_flight = Some(self.context.log.commit(delta));
        Ok(())
    }

    fn committed(&mut self) -> Result<bool, Failure> {
        let done = finish(&mut self.in_flight)?;
        if done && let Some(cursor) = self.committing.take() {
            self.source.committed(&cursor);
        }
        Ok(done)
    }
}

/// Bytes of the documents that a delta appends.
pub(crate) fn appended(delta: &Delta) -> u64 {
    delta.appends.iter().map(|append| append.documents.len() as u64).sum()
}

/// Takes the outcome of a commit in flight, if it is there.
pub(crate) fn finish(in_flight: &mut Option<Box<dyn Commit>>) -> Result<bool, Failure> {
    if in_flight.as_ref().is_some_and(|commit| !commit.is_done()) {
        return Ok(false);
    }
    if let Some(commit) = in_flight.take() {
        commit.wait()?;
    }
    Ok(true)
}
