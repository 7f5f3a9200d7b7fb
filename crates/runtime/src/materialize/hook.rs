//! Transactions to hooks: requests are committed to the outbox, then sent until they are taken, then cleared.
//!
//! One request is sent at a time, in order, so a key's documents are first taken in the order they happened in. Those taken are
//! cleared while further ones are sent. A request that is refused for good moves from the outbox to the dead letters, in one
//! delta, and the next is sent.

use std::collections::VecDeque;

use catalog::Materialization;
use journal::failpoint::{defect, durable_point};
use journal::{Commit, Delta, KeyRange, Piece};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Finisher, Taken, Transaction};
use crate::capture::finish;
use crate::connector::{ConnectorError, Hook, Request, Retry};
use crate::dead_letters::{DeadLetters, Letter};
use crate::position::{Position, from_checkpoint, to_checkpoint};
use crate::retry::Action;
use crate::shard::{Context, Failure};
use crate::status::State;
use crate::uuid::Stamper;

/// Sees transactions through at a hook.
pub(super) struct HookFinisher {
    context: Context,
    task: String,
    epoch: u64,
    hook: Box<dyn Hook>,
    /// Requests that were committed and may not have been taken.
    outbox: VecDeque<(u64, Request)>,
    next_sequence: u64,
    /// Random, and kept for as long as the position is: a fresh start makes fresh ids.
    instance: String,
    dead_letters: DeadLetters,
    stamper: Stamper,
}

impl Finisher for HookFinisher {
    fn recover(&mut self) -> Result<(), Failure> {
        self.send_outbox()
    }

    fn finish(&mut self, transaction: &mut Transaction) -> Result<Taken, Failure> {
        let mut delta = self.delta(transaction.now_us);
        let mut taken = Taken::default();
        for (binding, combiner) in transaction.combiners.iter_mut().enumerate() {
            if combiner.is_empty() {
                continue;
            }
            let combiner = combiner.in_memory();
            taken.documents += combiner.len() as u64;
            // In the order of arrival, so that what happened to one user is told in the order it happened in.
            let texts: Vec<&[u8]> = combiner.drain_by_arrival().flat_map(|drained| drained.documents()).collect();
            taken.bytes += texts.iter().map(|text| text.len() as u64).sum::<u64>();
            for request in self.hook.encode(binding, &texts) {
                delta.outbox.push((self.next_sequence, encode_request(&request)));
                self.outbox.push_back((self.next_sequence, request));
                self.next_sequence += 1;
            }
        }
        let position = HookPosition {
            pieces: raw(&transaction.position.encode()),
            next_sequence: self.next_sequence,
            instance: self.instance.clone(),
        };
        delta.position = position.encode();
        self.context.log.commit(delta).wait()?;
        durable_point("hook.outbox_committed");
        self.send_outbox()?;
        Ok(taken)
    }
}

impl HookFinisher {
    /// A finisher that has what is left in the outbox still to send, and the position its last commit explains.
    pub(super) fn open(
        context: &Context,
        hook: Box<dyn Hook>,
        materialization: &Materialization,
        random: u64,
    ) -> Result<(Position, Self), Failure> {
        let task = format!("materialization/{}", materialization.name);
        // The order of a hook's requests is that of its one outbox, so its keys are never divided.
        let opened = context.log.open(&task, KeyRange::ALL)?;
        let (position, committed) = HookPosition::decode(&opened.position, random)?;
        let decode = |(sequence, bytes): &(u64, Vec<u8>)| Ok((*sequence, decode_request(bytes)?));
        let left = if defect("outbox-forgotten") { &[] } else { opened.outbox.as_slice() };
        let finisher = Self {
            context: context.clone(),
            task,
            epoch: opened.epoch,
            hook,
            outbox: left.iter().map(decode).collect::<Result<_, Failure>>()?,
            next_sequence: committed.next_sequence,
            instance: committed.instance,
            dead_letters: DeadLetters::new(&materialization.name),
            stamper: Stamper::new(random ^ opened.epoch),
        };
        Ok((position, finisher))
    }

    fn delta(&self, now_us: u64) -> Delta {
        Delta { task: self.task.clone(), epoch: self.epoch, time_us: now_us, ..Delta::default() }
    }

    /// Sends what is in the outbox, in order, each until it is taken or refused for good; clears it.
    fn send_outbox(&mut self) -> Result<(), Failure> {
        let mut taken = Vec::new();
        let mut clearing: Option<Box<dyn Commit>> = None;
        while let Some((sequence, request)) = self.outbox.pop_front() {
            match self.send(sequence, &request)? {
                None => taken.push(sequence),
                Some(refusal) => self.set_aside(sequence, &request, &refusal)?,
            }
            durable_point("hook.taken");
            if !taken.is_empty() && finish(&mut clearing)? {
                clearing = Some(self.clear(std::mem::take(&mut taken)));
            }
        }
        if let Some(clearing) = clearing {
            clearing.wait()?;
        }
        if !taken.is_empty() {
            self.clear(taken).wait()?;
        }
        durable_point("hook.outbox_cleared");
        Ok(())
    }

    /// Sends a request until it is taken, or refused so often that it is refused for good.
    fn send(&mut self, sequence: u64, request: &Request) -> Result<Option<ConnectorError>, Failure> {
        let mut id = format!("{}-{sequence}", self.instance);
        let (mut failures, mut since_us) = (0, 0);
        while let Err(error) = self.hook.send(&id, request) {
            if defect("fresh-webhook-id") {
                id.push('+');
            }
            if failures == 0 {
                since_us = self.context.clock.now_us();
            }
            failures += 1;
            if self.context.is_stopping() {
                return Err(error.into());
            }
            match self.context.decide(error.retry, failures) {
                Action::GiveUp if error.retry == Retry::Never => return Err(error.into()),
                Action::GiveUp => return Ok(Some(error)),
                Action::Wait(wait) => {
                    self.context.counters.set_state(State::Retrying {
                        since_us,
                        why: error.message,
                        attempts: failures,
                    });
                    self.context.sleep(wait);
                }
            }
        }
        if failures > 0 {
            self.context.counters.set_state(State::Running);
        }
        Ok(None)
    }

    /// Moves a request from the outbox to the dead letters.
    fn set_aside(&mut self, sequence: u64, request: &Request, refusal: &ConnectorError) -> Result<(), Failure> {
        let now_us = self.context.clock.now_us();
        // Line breaks stand between documents only: those within strings are escaped.
        let body = request.body.replace('\n', "");
        let document = RawValue::from_string(body).ok();
        let text = document.is_none().then(|| request.body.clone());
        let letter =
            Letter { place: Some(&request.url), reason: &refusal.message, document, text, ..Letter::default() };
        self.dead_letters.add(letter, &mut self.stamper, now_us);
        let mut delta = self.delta(now_us);
        delta.outbox_clear.push(sequence);
        delta.appends.extend(self.dead_letters.take(&self.context.counters));
        self.context.log.commit(delta).wait()?;
        durable_point("hook.set_aside");
        self.context.counters.set_state(State::Running);
        Ok(())
    }

    fn clear(&self, taken: Vec<u64>) -> Box<dyn Commit> {
        let mut delta = self.delta(self.context.clock.now_us());
        delta.outbox_clear = taken;
        self.context.log.commit(delta)
    }
}

/// The position of a hook's shard: that of its reads, and what makes its requests' ids.
#[derive(Debug, Serialize, Deserialize)]
struct HookPosition {
    pieces: Box<RawValue>,
    next_sequence: u64,
    instance: String,
}

impl HookPosition {
    fn decode(stored: &[Piece], random: u64) -> Result<(Position, Self), Failure> {
        let stored = match stored.first() {
            Some(piece) => serde_json::from_slice(&piece.position)
                .map_err(|e| Failure::never(format!("the stored position cannot be read: {e}")))?,
            None => Self { pieces: raw(&[]), next_sequence: 0, instance: format!("{random:016x}") },
        };
        Ok((Position::decode(KeyRange::ALL, &from_checkpoint(stored.pieces.get())?)?, stored))
    }

    fn encode(&self) -> Vec<Piece> {
        Piece::whole(serde_json::to_vec(self).expect("positions have string keys"))
    }
}

fn raw(pieces: &[Piece]) -> Box<RawValue> {
    RawValue::from_string(to_checkpoint(pieces)).expect("checkpoints are JSON")
}

/// A request in the outbox: its URL, a newline, its body.
fn encode_request(request: &Request) -> Vec<u8> {
    [request.url.as_bytes(), b"\n", request.body.as_bytes()].concat()
}

fn decode_request(bytes: &[u8]) -> Result<Request, Failure> {
    let text = std::str::from_utf8(bytes).ok().and_then(|text| text.split_once('\n'));
    let (url, body) = text.ok_or_else(|| Failure::never("a request in the outbox cannot be read"))?;
    Ok(Request { url: url.into(), body: body.into() })
}
