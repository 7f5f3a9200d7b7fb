//! `kill -9`, again and again, and the answers still exact.

use std::ops::Range;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use testkit::{Answer, Receiver};

use crate::kit::{Process, Project, Run, segtide, write_events};

const EVENTS: u64 = 20_000;
const KILLS: u64 = 8;
/// How long each run lives at first: from before it has begun to after it has ended.
const LIFE_MS: Range<u64> = 50..900;

/// Would catch a document read twice or never, a row ahead of its checkpoint or behind it, a toggle published twice, and a call
/// repeated with other bytes or under another id.
#[test]
fn killed_at_random_moments_nothing_is_lost_and_nothing_counts_twice() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);

    let project = Project::segmentation();
    project.capture_from_file();
    // A call takes its time, so that some are under way when the process dies.
    let receiver = Receiver::start(|_, _| Answer::status(200).delay(Duration::from_millis(20)));
    project.send_toggles_to(&receiver.url("/"));

    let file = project.path("events.ndjson");
    let follow = ["develop", "--source", "materialize.flow.yaml", "--port", "0"];
    let poll = [&follow[..], &["--poll"]].concat();
    let mut written = 0;
    let mut write = |count: u64| {
        write_events(&file, written..EVENTS.min(written + count));
        written = EVENTS.min(written + count);
    };
    let mut interrupted = 0;
    let mut longest_ms = LIFE_MS.end;
    for n in 0..KILLS {
        let life = Duration::from_millis(random.random_range(LIFE_MS.start..longest_ms));
        let mut process;
        if n % 2 == 0 {
            // A large piece at once, beside what the last run left undone: large transactions.
            write(EVENTS / KILLS);
            process = Process::segtide(project.directory(), &poll);
            std::thread::sleep(life);
        } else {
            // The file grows as it is read: many small ones.
            process = Process::segtide(project.directory(), &follow);
            let started = Instant::now();
            while started.elapsed() < life {
                write(20);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        match process.kill_9() {
            true => interrupted += 1,
            // It was over before it was killed: those to come live less long.
            false => longest_ms = (longest_ms / 2).max(LIFE_MS.start + 1),
        }
    }
    write(EVENTS);
    let last = segtide(project.directory(), &poll);
    assert_eq!(last.code, 0, "{last:?}");

    let said = Run { project: &project, postgres: None, received: &receiver.received() }.check();
    println!("{interrupted} of {KILLS} runs had not ended when they were killed\n{said}");
    assert!(interrupted > KILLS / 2, "a run was over too soon to be killed");
    assert!(said.contains(&format!("events       {EVENTS} documents")), "{said}");
    assert!(!said.contains("repeat the id"), "{said}");
}
