//! Random deltas, reopenings and flushes, against the dumbest model that could be right.

use std::collections::BTreeMap;

use journal::{Append, Codec, Delta, KeyRange, Log, Piece, Template, verify};
use proptest::prelude::*;

use crate::support::{HOUR_US, MORNING_US, Place, read_all};

#[derive(Debug, Clone)]
enum Step {
    Commit {
        shard: u8,
        hour: u64,
        appends: Vec<(u8, usize)>,
        registers: Vec<(u8, Option<u8>)>,
        add: Option<u64>,
        clear: Option<u64>,
    },
    Reopen,
    Flush,
    Age,
}

fn step() -> impl Strategy<Value = Step> {
    let appends = prop::collection::btree_map(0..4u8, 1..400usize, 0..4);
    let registers = prop::collection::btree_map(0..8u8, any::<Option<u8>>(), 0..5);
    let commit = (0..3u8, 0..3u64, appends, registers, prop::option::of(0..9u64), prop::option::of(9..18u64)).prop_map(
        |(shard, hour, appends, registers, add, clear)| Step::Commit {
            shard,
            hour,
            appends: appends.into_iter().collect(),
            registers: registers.into_iter().collect(),
            add,
            clear: clear.map(|sequence| sequence - 9),
        },
    );
    prop_oneof![8 => commit, 1 => Just(Step::Reopen), 1 => Just(Step::Flush), 1 => Just(Step::Age)]
}

#[derive(Default)]
struct Model {
    journals: BTreeMap<String, Vec<u8>>,
    registers: BTreeMap<(u8, u8), Vec<u8>>,
    outbox: BTreeMap<(u8, u64), Vec<u8>>,
    positions: BTreeMap<u8, Vec<Piece>>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_its_model(
        steps in prop::collection::vec(step(), 1..40),
        // At the larger one, some blocks are packed before their fragment is made.
        scale in prop::sample::select(vec![1, 700]),
        codec in prop::sample::select(vec![Codec::Gzip, Codec::None, Codec::Zstandard]),
    ) {
        let mut place = Place::new();
        place.options.templates = [("collection/".to_owned(), Template { codec, ..Template::default() })].into();
        place.options.fragment_bytes_max = 600 * scale as u64;
        place.options.live_cache_bytes = 500 * scale;
        let mut model = Model::default();
        let mut log = Some(place.open());
        let mut epochs = BTreeMap::new();
        // In flight, as shards have them.
        let mut tickets = Vec::new();
        for (n, step) in steps.into_iter().enumerate() {
            let open = log.as_ref().unwrap();
            match step {
                Step::Commit { shard, hour, appends, registers, add, clear } => {
                    let name = format!("shard {shard}");
                    let epoch = *epochs.entry(shard).or_insert_with(|| open.open(&name, KeyRange::ALL).unwrap().epoch);
                    let mut delta = Delta { task: name, epoch, time_us: MORNING_US + hour * HOUR_US, ..Delta::default() };
                    for (journal, len) in appends {
                        let journal = format!("collection/part={journal}/pivot=00");
                        let line = format!("{{\"n\":{n},\"x\":\"{}\"}}\n", "y".repeat(len % 40));
                        let documents = line.repeat(scale * (1 + len / 100)).into_bytes();
                        model.journals.entry(journal.clone()).or_default().extend_from_slice(&documents);
                        delta.appends.push(Append { journal, documents });
                    }
                    for (key, value) in registers {
                        let value = value.map(|value| vec![value; 20]);
                        match value.clone() {
                            Some(value) => drop(model.registers.insert((shard, key), value)),
                            None => drop(model.registers.remove(&(shard, key))),
                        }
                        delta.registers.push((vec![key; 3].into(), value.map(Into::into)));
                    }
                    if let Some(sequence) = clear {
                        model.outbox.remove(&(shard, sequence));
                        delta.outbox_clear.push(sequence);
                    }
                    if let Some(sequence) = add.filter(|add| clear != Some(*add)) {
                        let entry = format!("{n}").into_bytes();
                        model.outbox.insert((shard, sequence), entry.clone());
                        delta.outbox.push((sequence, entry));
                    }
                    let position = Piece::whole(format!("at {n}"));
                    model.positions.insert(shard, position.clone());
                    delta.position = position;
                    tickets.push(open.commit(delta));
                }
                Step::Reopen => {
                    // Queued deltas are committed before the log is given up.
                    drop(log.take());
                    log = Some(place.open());
                    epochs.clear();
                }
                Step::Flush => open.flush().unwrap(),
                Step::Age => place.clock.advance_ms(2000),
            }
        }
        tickets.into_iter().for_each(|ticket| drop(ticket.wait().unwrap()));
        for round in 0..3 {
            let open = log.as_ref().unwrap();
            let names: Vec<_> = open.heads("").iter().map(|head| head.journal.to_string()).collect();
            prop_assert_eq!(names, model.journals.keys().cloned().collect::<Vec<_>>());
            for (journal, documents) in &model.journals {
                prop_assert_eq!(&read_all(open, journal, 1 + 300 * scale * round), documents);
            }
            for shard in 0..3u8 {
                let name = format!("shard {shard}");
                let keys: Vec<_> = (0..8u8).map(|key| vec![key; 3]).collect();
                let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
                let found: Vec<_> = open.registers(&name, &keys).unwrap().into_iter().map(|value| value.map(|value| value.to_vec())).collect();
                prop_assert_eq!(found, (0..8u8).map(|key| model.registers.get(&(shard, key)).cloned()).collect::<Vec<_>>());
                let opened = open.open(&name, KeyRange::ALL).unwrap();
                prop_assert_eq!(opened.position, model.positions.get(&shard).cloned().unwrap_or_default());
                let outbox: Vec<_> = model.outbox.range((shard, 0)..(shard + 1, 0)).map(|((_, n), entry)| (*n, entry.clone())).collect();
                prop_assert_eq!(opened.outbox, outbox);
            }
            if round == 0 {
                open.flush().unwrap();
            } else {
                drop(log.take());
                prop_assert_eq!(verify(&place.options).unwrap().findings, []);
                log = Some(place.open());
            }
        }
    }
}
