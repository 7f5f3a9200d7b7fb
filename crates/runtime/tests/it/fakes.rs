//! A source, a table, a hook and lambdas that live in memory, and fail when their script says so. What they hold outlives the
//! tasks that use them, as a real endpoint would.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use catalog::{Capture, Catalog, Collection, Materialization};
use doc::{Arena, Field, Node};
use runtime::{
    Batch, CheckpointRow, ConnectorError, Connectors, Destination, Fault, Hook, Kept, KeyRange, LambdaError, Lambdas,
    Progress, Publish, Request, Retry, Row, Rows, Source, Table, take_over,
};

/// Transfers of the source.
pub(crate) const TRANSFERS: u64 = 3_000;
/// Accounts they are spread over.
pub(crate) const ACCOUNTS: u64 = 17;

/// The n-th transfer.
pub(crate) fn transfer(n: u64) -> (String, i64) {
    (format!("account-{}", n * 7 % ACCOUNTS), (n * 31 % 100) as i64 - 40)
}

/// Everything outside the runtime.
#[derive(Default)]
pub(crate) struct World {
    pub tables: BTreeMap<usize, BTreeMap<String, String>>,
    /// The rows of checkpoints, each with its fence.
    pub checkpoints: Vec<(CheckpointRow, u64)>,
    fence: u64,
    pub sent: Vec<(String, String)>,
    /// Whether the n-th call that may fail does, and how.
    pub faults: Faults,
    calls: u64,
    pub failed: u64,
    /// A table that commits rows without looking at who owns it, or forgets checkpoints: what tests must catch.
    pub defect: Defect,
}

#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Defect {
    #[default]
    None,
    CheckpointLost,
    /// Keys that change hands begin at the beginning.
    HandsEmpty,
    FreshIds,
}

/// How often things fail: one call of so many; zero never.
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults(pub u64);

#[derive(Clone, Default)]
pub(crate) struct Fakes(pub Arc<Mutex<World>>);

impl Fakes {
    pub(crate) fn with_faults(every: u64, defect: Defect) -> Self {
        let fakes = Self::default();
        fakes.0.lock().unwrap().faults = Faults(every);
        fakes.0.lock().unwrap().defect = defect;
        fakes
    }
}

impl World {
    fn fails(&mut self) -> bool {
        self.calls += 1;
        // Scattered, not periodic: a period can fall in step with the retries it causes.
        let mixed = (self.calls ^ self.calls << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let fails = self.faults.0 > 0 && (mixed ^ mixed >> 29).is_multiple_of(self.faults.0);
        self.failed += u64::from(fails);
        fails
    }
}

impl World {
    /// Takes a range of keys over: the checkpoint left for it, and its fence.
    fn take(&mut self, range: KeyRange) -> (Option<String>, u64) {
        self.fence += 1;
        let former: Vec<CheckpointRow> = self.checkpoints.iter().map(|(row, _)| row.clone()).collect();
        let (mut row, left) = take_over(&former, range).unwrap();
        if self.defect == Defect::HandsEmpty && !former.contains(&row) {
            // With none at all they would be taken for new, and their rows be made again from the beginning.
            row.checkpoint = row.checkpoint.map(|_| "[]".to_owned());
        }
        self.checkpoints.retain(|(former, _)| former.range.intersect(range).is_none());
        self.checkpoints.extend([row.clone()].into_iter().chain(left).map(|row| (row, self.fence)));
        self.checkpoints.sort_by_key(|(row, _)| row.range);
        (row.checkpoint, self.fence)
    }
}

fn broken(what: &str) -> ConnectorError {
    ConnectorError {
        message: format!("{what} broke, as scripted"),
        fault: Fault::Endpoint,
        retry: Retry::After(std::time::Duration::from_millis(1)),
    }
}

impl Connectors for Fakes {
    fn open_source(
        &self,
        _: &Capture,
        _: &[&Collection],
        cursor: Option<&[u8]>,
        _: bool,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        let next = cursor.map_or(0, |c| std::str::from_utf8(c).unwrap().parse().unwrap());
        Ok(Box::new(Transfers { next, fakes: self.clone() }))
    }
    fn open_destination(
        &self,
        m: &Materialization,
        _: &[&Collection],
        range: KeyRange,
    ) -> Result<Destination, ConnectorError> {
        let mut world = self.0.lock().unwrap();
        if world.fails() {
            return Err(broken("opening"));
        }
        Ok(match m.endpoint.connector.as_str() {
            "table" => {
                let (checkpoint, fence) = world.take(range);
                let fakes = self.clone();
                Destination::Table(Box::new(FakeTable { fakes, range, checkpoint, fence, open: BTreeMap::new() }))
            }
            _ => Destination::Hook(Box::new(FakeHook { fakes: self.clone(), attempts: 0 })),
        })
    }
    fn can_divide(&self, m: &Materialization) -> bool {
        m.endpoint.connector == "table"
    }
    fn open_lambdas(
        &self,
        _: &Catalog,
        collection: &Collection,
        _: &Kept<'_>,
    ) -> Result<Box<dyn Lambdas>, LambdaError> {
        Ok(Box::new(Bank { running: collection.name == "bank/running" }))
    }
}

struct Transfers {
    next: u64,
    fakes: Fakes,
}

impl Source for Transfers {
    fn read(&mut self, batch: &mut Batch) -> Result<Progress, ConnectorError> {
        if self.fakes.0.lock().unwrap().fails() {
            return Err(broken("reading"));
        }
        for _ in 0..37 {
            if self.next == TRANSFERS {
                return Ok(Progress::Done);
            }
            let (account, delta) = transfer(self.next);
            let begin = batch.text.len();
            let document = serde_json::json!({ "id": self.next, "account": account, "delta": delta });
            batch.text.extend_from_slice(document.to_string().as_bytes());
            batch.documents.push((0, begin..batch.text.len()));
            self.next += 1;
            batch.cursor = Some(self.next.to_string().into_bytes());
        }
        Ok(Progress::More)
    }
}

struct FakeTable {
    fakes: Fakes,
    range: KeyRange,
    checkpoint: Option<String>,
    fence: u64,
    open: BTreeMap<usize, BTreeMap<String, String>>,
}

fn key_text(key: &[Node<'_>]) -> String {
    key.iter().map(|k| k.to_json()).collect::<Vec<_>>().join(",")
}

impl Table for FakeTable {
    fn checkpoint(&self) -> Option<&str> {
        self.checkpoint.as_deref()
    }
    fn load(
        &mut self,
        binding: usize,
        keys: &[&[Node<'_>]],
        found: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<(), ConnectorError> {
        let mut world = self.fakes.0.lock().unwrap();
        if world.fails() {
            return Err(broken("loading"));
        }
        let rows = world.tables.entry(binding).or_default();
        let stored = keys.iter().enumerate().filter_map(|(n, key)| Some((n, rows.get(&key_text(key))?)));
        stored.for_each(|(n, document)| found(n, document.as_bytes()));
        Ok(())
    }
    fn store(&mut self, binding: usize, rows: &[Row<'_>]) -> Result<(), ConnectorError> {
        let mut world = self.fakes.0.lock().unwrap();
        if world.fails() {
            return Err(broken("storing"));
        }
        for row in rows {
            let key = key_text(row.key);
            self.open.entry(binding).or_default().insert(key, row.document.to_owned());
        }
        Ok(())
    }
    fn commit(&mut self, checkpoint: &str) -> Result<(), ConnectorError> {
        let mut world = self.fakes.0.lock().unwrap();
        let open = std::mem::take(&mut self.open);
        if world.fails() {
            return Err(broken("committing"));
        }
        let reply_lost = world.fails();
        let is_lost = reply_lost && world.defect == Defect::CheckpointLost;
        let owned = |(row, fence): &&mut (CheckpointRow, u64)| row.range == self.range && *fence == self.fence;
        let Some((row, _)) = world.checkpoints.iter_mut().find(owned) else {
            return Err(ConnectorError { fault: Fault::Fenced, retry: Retry::Never, ..broken("the fence") });
        };
        if !is_lost {
            row.checkpoint = Some(checkpoint.to_owned());
        }
        for (binding, rows) in open {
            world.tables.entry(binding).or_default().extend(rows);
        }
        // It is committed, and its reply is lost.
        if reply_lost { Err(broken("the reply to a commit")) } else { Ok(()) }
    }
}

struct FakeHook {
    fakes: Fakes,
    attempts: u64,
}

impl Hook for FakeHook {
    fn encode(&self, binding: usize, documents: &[&[u8]]) -> Vec<Request> {
        let lines: Vec<_> = documents.iter().map(|d| std::str::from_utf8(d).unwrap()).collect();
        vec![Request { url: format!("http://localhost/{binding}"), body: lines.join("\n") }]
    }
    fn send(&mut self, id: &str, request: &Request) -> Result<(), ConnectorError> {
        let mut world = self.fakes.0.lock().unwrap();
        self.attempts += 1;
        let id = match world.defect {
            Defect::FreshIds => format!("{id}-{}", self.attempts),
            _ => id.to_owned(),
        };
        // It may fail before it is taken, or after.
        if world.fails() {
            return Err(broken("sending"));
        }
        world.sent.push((id, request.body.clone()));
        if world.fails() { Err(broken("the reply to a request")) } else { Ok(()) }
    }
}

/// Updates a register by each transfer and publishes the balance; or publishes the transfer as a part of a sum.
struct Bank {
    running: bool,
}

fn object<'a>(arena: &'a Arena, fields: &[(&'a str, Node<'a>)]) -> Node<'a> {
    Node::object(arena, fields.iter().map(|(name, value)| Field { name, value: *value }).collect())
}

impl Lambdas for Bank {
    fn update<'a>(&mut self, _: &'a Arena, _: usize, sources: &[Node<'a>]) -> Result<Rows<'a>, LambdaError> {
        let documents = sources.iter().map(|s| s.get("delta").unwrap()).collect();
        Ok(Rows { documents, ends: (1..=sources.len()).collect() })
    }
    fn publish<'a>(&mut self, arena: &'a Arena, _: usize, sources: &[Publish<'a>]) -> Result<Rows<'a>, LambdaError> {
        let documents = sources.iter().map(|call| {
            let get = |name: &str| call.source.get(name).unwrap();
            match self.running {
                true => object(arena, &[("id", get("id")), ("account", get("account")), ("balance", call.register)]),
                false => object(arena, &[("account", get("account")), ("sum", get("delta"))]),
            }
        });
        Ok(Rows { documents: documents.collect(), ends: (1..=sources.len()).collect() })
    }
    fn reset(&mut self) -> Result<(), LambdaError> {
        Ok(())
    }
}
