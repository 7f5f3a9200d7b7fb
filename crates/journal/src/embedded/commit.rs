//! Group commit: one thread makes everything that shards have queued durable with one sync, then shows it to readers.
//!
//! ```text
//! shards ──queue──▶ check each delta ─▶ one batch ─▶ sync ─▶ live cache ─▶ heads, all at once ─▶ tickets
//!                   (epoch, names, room)               └ fails: nothing more, until the store was opened again
//! ```
//!
//! Where the disk was full, the store is opened again as soon as there is a little room, and every shard starts again from what
//! is found; after any other failure that is left to another process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use rustc_hash::FxHashMap;

use super::block::{Packed, Sums, blocks};
use super::journals::{Changes, Journal, TailBlock};
use super::layout::{BlockKey, JournalRecord, TaskRecord};
use super::store::Batch;
use super::{Shared, recover};
use crate::directory::OpenError;
use crate::failpoint::durable_point;
use crate::fragment::{self, FragmentInfo};
use crate::keys::{KeyRange, Part, take_over};
use crate::log::{Append, Commit, Delta, LogError, Opened};

/// What one batch takes from the queue before it is synced, except that a single larger delta goes alone.
const GROUP_BYTES_MAX: usize = 16 << 20;
/// The longest append, register, position and outbox entry.
const VALUE_BYTES_MAX: usize = 1 << 30;
/// The longest name of a task and the longest key of a register; the store's keys end at 64 KiB.
const NAME_BYTES_MAX: usize = 2048;
const KEY_BYTES_MAX: usize = 60 << 10;
/// How long to wait before the store is opened once more.
const REOPEN_WAIT: Duration = Duration::from_secs(1);
/// What a queued operation weighs besides its bytes.
const OPERATION_BYTES: usize = 64;

/// The answer to a submitted delta.
pub(crate) type Committed = Result<Vec<u64>, LogError>;

/// Work for the commit thread.
pub(crate) enum Request {
    Commit {
        delta: Delta,
        /// Its blocks as they are stored, in their order.
        packed: Vec<Packed>,
        done: Sender<Committed>,
    },
    Open {
        task: String,
        range: KeyRange,
        done: Sender<Result<Opened, LogError>>,
    },
    /// Answered once everything queued before it is committed.
    Barrier {
        done: Sender<()>,
    },
    /// A journal's next fragment ends here.
    Plan {
        journal: Arc<str>,
        id: u64,
        end: u64,
        done: Sender<Result<(), LogError>>,
    },
    /// The first fragments of a journal go, and it begins behind them.
    Expire {
        journal: Arc<str>,
        id: u64,
        fragments: Vec<FragmentInfo>,
        done: Sender<Result<(), LogError>>,
    },
    /// Files were deleted: of these journals, at these offsets.
    Forget {
        keys: Vec<(u64, u64)>,
        done: Sender<Result<(), LogError>>,
    },
    /// A durable fragment takes the place of the first blocks of a journal's tail.
    Move {
        fragment: FragmentInfo,
        blocks: Vec<BlockKey>,
        done: Sender<Result<(), LogError>>,
    },
}

/// A delta on its way.
pub(crate) struct Ticket(pub(crate) Receiver<Committed>);

impl Commit for Ticket {
    fn wait(self: Box<Self>) -> Committed {
        self.0.recv().unwrap_or_else(|_| Err(stopped()))
    }

    fn is_done(&self) -> bool {
        !self.0.is_empty()
    }
}

/// What callers hear when there is no commit thread any more.
pub(crate) fn stopped() -> LogError {
    LogError::Poisoned { reason: "the commit thread has stopped".to_owned() }
}

/// Requests on their way to the commit thread, bounded in bytes.
pub(crate) struct Queue {
    bytes_max: usize,
    queued: Mutex<Queued>,
    arrived: Condvar,
    room: Condvar,
}

#[derive(Default)]
struct Queued {
    requests: VecDeque<(Request, usize)>,
    /// Of the requests here and of those being committed.
    bytes: usize,
    is_closed: bool,
}

impl Queue {
    pub(crate) fn new(bytes_max: usize) -> Queue {
        Queue { bytes_max, queued: Mutex::default(), arrived: Condvar::new(), room: Condvar::new() }
    }

    /// Waits for room, then queues; drops the request if the commit thread has stopped. One that is larger than the queue
    /// goes when it is alone.
    pub(crate) fn push(&self, request: Request) {
        let bytes = request.bytes();
        let mut queued = self.lock();
        while queued.bytes > 0 && queued.bytes + bytes > self.bytes_max && !queued.is_closed {
            queued = self.room.wait(queued).unwrap_or_else(PoisonError::into_inner);
        }
        if !queued.is_closed {
            queued.bytes += bytes;
            queued.requests.push_back((request, bytes));
            self.arrived.notify_one();
        }
    }

    /// Takes nothing more in; what is queued is still committed.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.arrived.notify_all();
        self.room.notify_all();
    }

    /// The next group and its bytes; `None` once closed and empty.
    fn take(&self) -> Option<(Vec<Request>, usize)> {
        let mut queued = self.lock();
        while queued.requests.is_empty() {
            if queued.is_closed {
                return None;
            }
            queued = self.arrived.wait(queued).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut group, mut total) = (Vec::with_capacity(queued.requests.len()), 0);
        while let Some((request, bytes)) =
            queued.requests.pop_front_if(|(_, bytes)| total == 0 || total + *bytes <= GROUP_BYTES_MAX)
        {
            total += bytes;
            group.push(request);
        }
        Some((group, total))
    }

    fn release(&self, bytes: usize) {
        self.lock().bytes -= bytes;
        self.room.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queued> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Request {
    fn bytes(&self) -> usize {
        let Request::Commit { delta, packed, .. } = self else {
            return OPERATION_BYTES;
        };
        let appends: usize = delta.appends.iter().map(|append| append.documents.len() + OPERATION_BYTES).sum();
        let registers: usize = delta
            .registers
            .iter()
            .map(|(key, value)| key.len() + value.as_ref().map_or(0, |value| value.len()) + OPERATION_BYTES)
            .sum();
        let outbox: usize = delta.outbox.iter().map(|(_, entry)| entry.len() + OPERATION_BYTES).sum();
        let position: usize = delta.position.iter().map(|piece| piece.position.len() + OPERATION_BYTES).sum();
        let packed: usize = packed.iter().map(|packed| packed.stored.as_ref().map_or(0, Vec::len)).sum();
        OPERATION_BYTES * (1 + delta.outbox_clear.len()) + appends + packed + registers + outbox + position
    }
}

/// The commit thread's own state.
pub(crate) struct Committer {
    shared: Arc<Shared>,
    tasks: FxHashMap<String, Task>,
    sums: Sums,
    next_journal: u64,
    next_task: u64,
    /// Set once a write failed: nothing is committed, until the store was opened again.
    poison: Option<LogError>,
    /// When opening it again was last tried.
    reopened: Option<Instant>,
}

/// A task and its present owners.
struct Task {
    record: TaskRecord,
    owners: Vec<Owner>,
}

/// Who may commit for a range of keys.
struct Owner {
    range: KeyRange,
    epoch: u64,
    /// Set by a refused delta: committing what comes behind it would leave a hole.
    refusal: Option<LogError>,
}

/// Where a delta is committed to.
struct Admitted {
    task: u64,
    range: KeyRange,
}

/// What is committed together.
#[derive(Default)]
struct Group {
    /// `None` while there is nothing to commit.
    batch: Option<Batch>,
    /// Journals touched so far, as they will be.
    heads: FxHashMap<Arc<str>, JournalRecord>,
    changes: Changes,
    live: Vec<(u64, u64, Bytes)>,
    tickets: Vec<(Sender<Committed>, Vec<u64>)>,
    /// Plans and moves of fragments.
    fragments: Vec<Sender<Result<(), LogError>>>,
    bytes: u64,
}

impl Committer {
    pub(crate) fn new(shared: Arc<Shared>) -> Result<Committer, OpenError> {
        let tasks = FxHashMap::default();
        let sums = Sums::default();
        let mut committer =
            Committer { shared, tasks, sums, next_journal: 0, next_task: 0, poison: None, reopened: None };
        committer.load(None)?;
        Ok(committer)
    }

    /// Learns the tasks and the next free numbers from the store. Nobody owns anything until it is opened, and who does already
    /// is refused until then.
    fn load(&mut self, refusal: Option<&LogError>) -> Result<(), OpenError> {
        let tasks = self.shared.store.tasks()?;
        self.sums.clear();
        self.next_task = tasks.iter().map(|(_, record)| record.id + 1).max().unwrap_or(0);
        let journals = |journals: &BTreeMap<_, Journal>| journals.values().map(|journal| journal.id + 1).max();
        self.next_journal = self.shared.journals.with(journals).unwrap_or(0);
        let ids = tasks.iter().map(|(name, record)| (name.clone(), record.id)).collect();
        *self.shared.task_ids.write().unwrap_or_else(PoisonError::into_inner) = ids;
        let mut former = std::mem::take(&mut self.tasks);
        let task = |(name, record): (String, TaskRecord)| {
            let mut owners = former.remove(&name).map(|task| task.owners).unwrap_or_default();
            owners.iter_mut().for_each(|owner| owner.refusal = refusal.cloned());
            (name, Task { record, owners })
        };
        self.tasks = tasks.into_iter().map(task).collect();
        Ok(())
    }

    /// Opens the store again after the disk was full, once there is a little room. What is found counts, and every shard has to
    /// start from it. No group may be open.
    fn mend(&mut self) {
        let Some(full @ LogError::Full { .. }) = &self.poison else { return };
        let full = full.clone();
        let is_early = self.reopened.is_some_and(|at| at.elapsed() < REOPEN_WAIT);
        if is_early || !self.has_room_to_open() {
            return;
        }
        self.reopened = Some(Instant::now());
        let shared = self.shared.clone();
        let found = shared.store.reopen().and_then(|()| recover(&shared.store, shared.clock.now_us()));
        let loaded = found.and_then(|journals| {
            shared.journals.replace(journals);
            self.load(Some(&full))
        });
        match loaded {
            Ok(()) => self.poison = None,
            Err(error @ OpenError::Damaged { .. }) => self.fail_for_good(error.to_string()),
            // It may still be for want of room.
            Err(_) => {}
        }
    }

    fn has_room_to_open(&self) -> bool {
        let space = &self.shared.space;
        space.admits_opening() || (space.release() && space.admits_opening())
    }

    /// Commits until the queue is closed.
    pub(crate) fn run(mut self) {
        let shared = self.shared.clone();
        let _closer = Closer(&shared.queue);
        while let Some((requests, bytes)) = shared.queue.take() {
            self.mend();
            let mut group = Group::default();
            for request in requests {
                match request {
                    Request::Commit { delta, packed, done } => self.add(&mut group, delta, packed, done),
                    Request::Move { fragment, blocks, done } => self.add_move(&mut group, fragment, &blocks, done),
                    Request::Plan { journal, id, end, done } => self.add_plan(&mut group, journal, id, end, done),
                    Request::Expire { journal, id, fragments, done } => {
                        self.add_expiry(&mut group, journal, id, &fragments, done);
                    }
                    Request::Forget { keys, done } => self.add_forgetting(&mut group, &keys, done),
                    Request::Barrier { done } => {
                        self.finish(std::mem::take(&mut group));
                        let _ = done.send(());
                    }
                    Request::Open { task, range, done } => {
                        // Its former owner's deltas come first, and the next owner is told what they left.
                        self.finish(std::mem::take(&mut group));
                        self.mend();
                        // Whoever asked may have gone; that is no concern of the log's.
                        let _ = done.send(self.open(task, range));
                    }
                }
            }
            self.finish(group);
            shared.queue.release(bytes);
        }
    }

    fn open(&mut self, name: String, range: KeyRange) -> Result<Opened, LogError> {
        self.check_poison()?;
        let refused = |reason| Err(LogError::Refused { what: name.clone(), reason });
        if name.len() > NAME_BYTES_MAX {
            return refused(format!("its name has {} bytes, more than {NAME_BYTES_MAX}", name.len()));
        }
        if range.begin > range.end {
            return refused(format!("the range {range} ends before it begins"));
        }
        let record = match self.tasks.get(&name) {
            Some(Task { record, .. }) => TaskRecord { id: record.id, epoch: record.epoch + 1 },
            None => TaskRecord { id: self.next_task, epoch: 1 },
        };
        let shared = self.shared.clone();
        let former = shared.store.parts(record.id)?;
        let (part, left) = take_over(&former, range);
        let outbox = shared.store.outbox(record.id)?;

        let mut batch = shared.store.batch(2 + former.len())?;
        batch.put_task(&name, record);
        for Part { range, .. } in former.iter().filter(|part| range.contains(part.range.begin)) {
            batch.remove_part(record.id, *range);
        }
        for Part { range, pieces } in left.iter().chain([&part]) {
            batch.put_part(record.id, *range, pieces);
        }
        self.commit(batch)?;
        durable_point("shard.fenced");
        self.next_task = self.next_task.max(record.id + 1);
        shared.task_ids.write().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), record.id);
        let task = self.tasks.entry(name).or_insert(Task { record, owners: Vec::new() });
        task.record = record;
        task.owners.retain(|owner| owner.range.intersect(range).is_none());
        task.owners.push(Owner { range, epoch: record.epoch, refusal: None });
        Ok(Opened { epoch: record.epoch, position: part.pieces, outbox })
    }

    /// Adds a delta to the group, or answers at once that it cannot be committed.
    fn add(&mut self, group: &mut Group, delta: Delta, packed: Vec<Packed>, done: Sender<Committed>) {
        match self.admit(&delta, group.bytes) {
            Ok(to) => {
                let ends = self.append(group, to, delta, packed);
                group.tickets.push((done, ends));
            }
            Err(error) => {
                let _ = done.send(Err(error));
            }
        }
    }

    /// Adds an admitted delta to the group; the end offsets of its appends.
    fn append(&mut self, group: &mut Group, to: Admitted, delta: Delta, packed: Vec<Packed>) -> Vec<u64> {
        let shared = self.shared.clone();
        let arrived_us = shared.clock.now_us();
        let Group { batch, heads, changes, live, bytes, .. } = group;
        let batch = batch.get_or_insert_with(|| shared.store.batch(1).expect("an open store"));
        let mut packed = packed.into_iter();
        let mut ends = Vec::with_capacity(delta.appends.len());
        for Append { journal, documents } in delta.appends {
            let (name, mut record) = match heads.get_key_value(journal.as_str()) {
                Some((name, record)) => (name.clone(), *record),
                None => shared.journals.record(&journal).unwrap_or_else(|| {
                    self.next_journal += 1;
                    (journal.into(), JournalRecord { id: self.next_journal - 1, begin: 0, end: 0 })
                }),
            };
            let policy = shared.policies.of(&name);
            let documents = Bytes::from(documents);
            for block in blocks(&documents) {
                let Packed { codec, stored } = packed.next().expect("all blocks were packed");
                let stored = stored.as_deref().unwrap_or(block);
                let key = BlockKey::of(record.id, record.end, block.len(), delta.time_us, codec, stored);
                batch.put_block(&key, stored);
                let sum = Some(self.sums.add(policy, &key, block));
                changes.appended.push((name.clone(), TailBlock { key, arrived_us, sum }));
                live.push((record.id, record.end, documents.slice_ref(block)));
                *bytes += u64::from(key.len);
                record.end = key.end();
            }
            heads.insert(name, record);
            ends.push(record.end);
        }
        batch.set_registers(to.task, &delta.registers);
        for (sequence, entry) in &delta.outbox {
            batch.put_outbox(to.task, *sequence, entry);
        }
        for sequence in &delta.outbox_clear {
            batch.clear_outbox(to.task, *sequence);
        }
        if !delta.position.is_empty() {
            batch.put_part(to.task, to.range, &delta.position);
        }
        changes.deltas += 1;
        ends
    }

    /// Where the delta goes, if it may be committed behind so many bytes of its group.
    fn admit(&mut self, delta: &Delta, before: u64) -> Result<Admitted, LogError> {
        self.check_poison()?;
        let space = &self.shared.space;
        let fenced = || LogError::Fenced { task: delta.task.clone() };
        let task = self.tasks.get_mut(&delta.task).ok_or_else(fenced)?;
        let owner = task.owners.iter_mut().find(|owner| owner.epoch == delta.epoch).ok_or_else(fenced)?;
        if owner.refusal.is_none() {
            owner.refusal = refusal(delta, owner.range);
        }
        if owner.refusal.is_none() && !(delta.appends.is_empty() && delta.registers.is_empty()) {
            let appended: usize = delta.appends.iter().map(|append| append.documents.len()).sum();
            let room = space.admits(before.saturating_add(appended as u64));
            owner.refusal = room.err().map(|reason| LogError::Full { reason });
        }
        let admitted = Admitted { task: task.record.id, range: owner.range };
        owner.refusal.clone().map_or(Ok(admitted), Err)
    }

    fn add_plan(
        &mut self,
        group: &mut Group,
        journal: Arc<str>,
        id: u64,
        end: u64,
        done: Sender<Result<(), LogError>>,
    ) {
        if let Err(error) = self.check_poison() {
            let _ = done.send(Err(error));
            return;
        }
        self.sums.plan(id, end);
        group.batch(&self.shared).plan_fragment(id, end);
        group.changes.planned.push((journal, end));
        group.fragments.push(done);
    }

    fn add_move(
        &mut self,
        group: &mut Group,
        fragment: FragmentInfo,
        blocks: &[BlockKey],
        done: Sender<Result<(), LogError>>,
    ) {
        if let Err(error) = self.check_poison() {
            let _ = done.send(Err(error));
            return;
        }
        group.batch(&self.shared).move_to_fragment(blocks[0].journal, &fragment, blocks);
        group.changes.moved.push((fragment.journal.into(), blocks.len()));
        group.fragments.push(done);
    }

    fn add_expiry(
        &mut self,
        group: &mut Group,
        journal: Arc<str>,
        id: u64,
        fragments: &[FragmentInfo],
        done: Sender<Result<(), LogError>>,
    ) {
        let (Some(last), Ok(())) = (fragments.last(), self.check_poison()) else {
            let _ = done.send(self.check_poison());
            return;
        };
        let batch = group.batch(&self.shared);
        fragments.iter().for_each(|fragment| batch.doom_fragment(id, fragment));
        let record = group.heads.get(&journal).copied();
        let record = record.or_else(|| self.shared.journals.record(&journal).map(|(_, record)| record));
        let record = record.expect("a journal with fragments is known");
        group.heads.insert(journal.clone(), JournalRecord { begin: last.end, ..record });
        group.changes.expired.push((journal, last.end));
        group.fragments.push(done);
    }

    fn add_forgetting(&mut self, group: &mut Group, keys: &[(u64, u64)], done: Sender<Result<(), LogError>>) {
        if let Err(error) = self.check_poison() {
            let _ = done.send(Err(error));
            return;
        }
        let batch = group.batch(&self.shared);
        keys.iter().for_each(|(journal, begin)| batch.forget_fragment(*journal, *begin));
        group.fragments.push(done);
    }

    /// Makes the group durable, then visible, then answers for it.
    fn finish(&mut self, group: Group) {
        let Some(mut batch) = group.batch else { return };
        for (name, record) in &group.heads {
            batch.put_journal(name, *record);
        }
        let result = self.commit(batch);
        if result.is_ok() {
            let stats = &self.shared.stats;
            stats.commits.fetch_add(group.changes.deltas, Relaxed);
            stats.appended_bytes.fetch_add(group.bytes, Relaxed);
            let mut live = self.shared.live.lock().unwrap_or_else(PoisonError::into_inner);
            for (journal, begin, documents) in group.live {
                live.insert(journal, begin, documents);
            }
            drop(live);
            durable_point("commit.live");
            if self.shared.journals.publish(group.changes) >= self.shared.fragment_bytes_max {
                self.shared.nudge();
            }
            durable_point("commit.published");
        }
        for (done, ends) in group.tickets {
            let _ = done.send(result.clone().map(|()| ends));
        }
        durable_point("commit.answered");
        for done in group.fragments {
            let _ = done.send(result.clone());
        }
    }

    fn commit(&mut self, batch: Batch) -> Result<(), LogError> {
        self.shared.stats.syncs.fetch_add(1, Relaxed);
        // After a failed write or sync nobody knows what is on disk; only opening again finds out.
        durable_point("commit.before_sync");
        let committed = batch.commit();
        durable_point("commit.synced");
        let Err(failed) = committed else { return Ok(()) };
        let space = &self.shared.space;
        // What failed behind the commits left no word of why.
        if failed.is_full || (failed.is_later && space.admits(0).is_err()) {
            let full = LogError::Full { reason: space.reason() };
            self.poison = Some(full.clone());
            return Err(full);
        }
        self.fail_for_good(failed.reason);
        self.check_poison()
    }

    fn fail_for_good(&mut self, reason: String) {
        let _ = self.shared.broken.set(reason.clone());
        self.poison = Some(LogError::Poisoned { reason });
    }

    fn check_poison(&self) -> Result<(), LogError> {
        self.poison.clone().map_or(Ok(()), Err)
    }
}

impl Group {
    /// What the group changes. The store is open: it was not poisoned when something was added.
    fn batch(&mut self, shared: &Shared) -> &mut Batch {
        self.batch.get_or_insert_with(|| shared.store.batch(1).expect("an open store"))
    }
}

/// Closes the queue when the thread ends, however it ends, so that nobody waits for it.
struct Closer<'a>(&'a Queue);

impl Drop for Closer<'_> {
    fn drop(&mut self) {
        self.0.close();
        self.0.lock().requests.clear();
    }
}

/// The rule a delta of the owner of a range breaks, if any.
fn refusal(delta: &Delta, range: KeyRange) -> Option<LogError> {
    let refused = |what: &str, reason: String| Some(LogError::Refused { what: what.to_owned(), reason });
    for Append { journal, documents } in &delta.appends {
        if let Some(reason) = fragment::refusal(journal, delta.time_us) {
            return refused(journal, reason);
        }
        if documents.last() != Some(&b'\n') {
            return refused(journal, "its documents do not end in a newline".to_owned());
        }
        if documents.len() > VALUE_BYTES_MAX {
            return refused(journal, format!("{} bytes in one delta are too many", documents.len()));
        }
    }
    let keys = delta.registers.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    if keys > KEY_BYTES_MAX {
        return refused(&delta.task, format!("a register's key has {keys} bytes, more than {KEY_BYTES_MAX}"));
    }
    let registers = delta.registers.iter().filter_map(|(_, value)| value.as_ref().map(|value| value.len()));
    let position: usize = delta.position.iter().map(|piece| piece.position.len()).sum();
    let values = registers.chain(delta.outbox.iter().map(|(_, entry)| entry.len()));
    let values = values.max().unwrap_or(0).max(position);
    if values > VALUE_BYTES_MAX {
        return refused(&delta.task, format!("a value has {values} bytes, more than {VALUE_BYTES_MAX}"));
    }
    let ranges = || delta.position.iter().map(|piece| piece.range);
    let is_within = ranges().all(|piece| piece.begin <= piece.end && range.intersect(piece) == Some(piece));
    if !is_within || !ranges().zip(ranges().skip(1)).all(|(one, next)| one.end < next.begin) {
        let pieces = ranges().map(|piece| piece.to_string()).collect::<Vec<_>>().join(", ");
        return refused(&delta.task, format!("its position is for the keys {pieces}, and its range is {range}"));
    }
    None
}
