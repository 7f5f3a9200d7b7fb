//! A stream of transfers through a capture, two derivations, a table and a hook, while everything outside fails now and then,
//! and the whole is stopped and started again: each transfer counts once. Balances are sums, so that a document lost or counted
//! twice shows for good.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use doc::Spill;
use journal::{Embedded, Log};
use runtime::{Connectors, Options, Runtime, State};
use serde_json::Value;

use crate::catalogs::{BANK, build};
use crate::fakes::{Defect, Fakes, TRANSFERS, transfer};

/// Long enough for any machine; a run takes about a second.
const PATIENCE: Duration = Duration::from_secs(240);

struct Wall;

impl journal::Clock for Wall {
    fn now_us(&self) -> u64 {
        std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64
    }
}

/// Runs with the keys divided among so many shards, until settled, or for as long as given; returns whether it settled.
fn run(directory: &Path, fakes: &Fakes, random: u64, shards: u32, at_most: Duration) -> bool {
    let log = Arc::new(Embedded::open(journal::Options::new(directory, Arc::new(Wall))).unwrap());
    let shared: Arc<dyn Log> = Arc::<Embedded>::clone(&log);
    let connectors: Arc<dyn Connectors> = Arc::new(fakes.clone());
    // Small transactions, so that there are many; and every other run finds no memory to combine in.
    let memory_bytes = if random.is_multiple_of(2) { 0 } else { 1 << 20 };
    let options = Options {
        tail: false,
        random,
        shards,
        transaction_bytes_max: 4 << 10,
        transaction_age_ms_max: 5,
        memory_bytes,
        ..Options::default()
    };
    let spill: Spill = Arc::new(|| Ok(Box::new(Cursor::new(Vec::new()))));
    let runtime = Runtime::start(&build(BANK), shared, &connectors, Arc::new(Wall), &spill, options).unwrap();
    let begun = Instant::now();
    let mut settled = false;
    while !settled && begun.elapsed() < at_most {
        std::thread::sleep(Duration::from_millis(2));
        settled = runtime.is_settled();
        for task in runtime.status() {
            assert!(!matches!(task.state, State::Halted { .. }), "{task:?}");
        }
    }
    runtime.stop();
    runtime.join();
    settled
}

fn model() -> (BTreeMap<String, i64>, BTreeMap<u64, i64>) {
    let (mut balances, mut running) = (BTreeMap::new(), BTreeMap::new());
    for n in 0..TRANSFERS {
        let (account, delta) = transfer(n);
        let balance = balances.entry(account).or_insert(0);
        *balance += delta;
        running.insert(n, *balance);
    }
    (balances, running)
}

/// What is wrong with what the world holds.
fn violations(fakes: &Fakes) -> Vec<String> {
    let world = fakes.0.lock().unwrap();
    let (balances, running) = model();
    let mut found = Vec::new();
    let table: BTreeMap<String, i64> = world.tables[&0]
        .values()
        .map(|row| serde_json::from_str::<Value>(row).unwrap())
        .map(|row| (row["account"].as_str().unwrap().to_owned(), row["sum"].as_i64().unwrap()))
        .collect();
    if table != balances {
        found.push(format!("balances are {table:?}, not {balances:?}"));
    }
    let table: BTreeMap<u64, i64> = world.tables[&1]
        .values()
        .map(|row| serde_json::from_str::<Value>(row).unwrap())
        .map(|row| (row["id"].as_u64().unwrap(), row["balance"].as_i64().unwrap()))
        .collect();
    if table != running {
        found.push("running balances differ".into());
    }
    let (mut bodies, mut ids_of) = (BTreeMap::new(), BTreeMap::<u64, BTreeSet<&str>>::new());
    for (id, body) in &world.sent {
        if bodies.insert(id, body).is_some_and(|before| before != body) {
            found.push(format!("request {id} was sent with two bodies"));
        }
        for line in body.lines() {
            let document: Value = serde_json::from_str(line).unwrap();
            ids_of.entry(document["id"].as_u64().unwrap()).or_default().insert(id);
        }
    }
    if ids_of.len() as u64 != TRANSFERS {
        found.push(format!("the hook was sent {} of {TRANSFERS} documents", ids_of.len()));
    }
    if let Some((document, ids)) = ids_of.iter().find(|(_, ids)| ids.len() > 1) {
        found.push(format!("document {document} was sent under {} ids", ids.len()));
    }
    found
}

/// Runs to the end through stops at odd times.
fn soak(every: u64, defect: Defect) -> Fakes {
    soak_divided(every, defect, [1; 6])
}

/// The same, with the keys divided among so many shards in each run.
fn soak_divided(every: u64, defect: Defect, shards: [u32; 6]) -> Fakes {
    soak_for(every, defect, shards, PATIENCE).expect("it settles")
}

/// The same, if it settles within `patience`.
fn soak_for(every: u64, defect: Defect, shards: [u32; 6], patience: Duration) -> Option<Fakes> {
    let directory = tempfile::tempdir().unwrap();
    let fakes = Fakes::with_faults(every, defect);
    for (n, ms) in [20, 45, 90, 60, 120].into_iter().enumerate() {
        run(directory.path(), &fakes, n as u64, shards[n], Duration::from_millis(ms));
    }
    run(directory.path(), &fakes, 99, shards[5], patience).then_some(fakes)
}

#[test]
fn without_faults_each_transfer_counts_once() {
    let fakes = soak(0, Defect::None);
    assert_eq!(violations(&fakes), Vec::<String>::new());
}

#[test]
fn with_faults_each_transfer_still_counts_once() {
    for every in [3, 7, 20] {
        let fakes = soak(every, Defect::None);
        // A slow machine makes fewer and larger transactions, and so fewer calls.
        assert!(fakes.0.lock().unwrap().failed > 60 / every, "the script failed too little");
        assert_eq!(violations(&fakes), Vec::<String>::new(), "one call of {every} failed");
    }
}

/// Whether a defect shows at one of some rates of faults; it takes one where it matters, and those are few. A table that begins
/// anew after each fault may never come to its end; then that rate says nothing.
fn is_caught(defect: Defect) -> bool {
    const PATIENCE: Duration = Duration::from_secs(20);
    let shows = |every| {
        let soaked = soak_for(every, defect, [1; 6], PATIENCE);
        soaked.is_some_and(|fakes| !violations(&fakes).is_empty())
    };
    [20, 7, 12, 5, 4, 3].into_iter().any(shows)
}

#[test]
fn divided_anew_in_every_run_each_transfer_counts_once() {
    for (every, shards) in [(0, [1, 2, 1, 3, 2, 1]), (7, [2, 1, 3, 5, 4, 2]), (20, [3, 3, 2, 64, 1, 3])] {
        let fakes = soak_divided(every, Defect::None, shards);
        assert_eq!(violations(&fakes), Vec::<String>::new(), "one call of {every} failed, {shards:?}");
    }
}

#[test]
fn a_table_that_forgets_positions_when_keys_change_hands_is_caught() {
    assert!(!violations(&soak_divided(0, Defect::HandsEmpty, [1, 2, 1, 3, 2, 1])).is_empty());
}

#[test]
fn a_table_that_loses_checkpoints_is_caught() {
    assert!(is_caught(Defect::CheckpointLost));
}

#[test]
fn a_hook_that_makes_a_new_id_for_each_attempt_is_caught() {
    assert!(is_caught(Defect::FreshIds));
}
