//! Back-pressure: a slow webhook gets fewer and larger calls, and nothing else suffers.

use std::time::Duration;

use testkit::{Answer, Receiver};

use crate::kit::{Process, Project, Run};

/// How long events are made.
const RUN: Duration = Duration::from_secs(4);

/// Calls and the toggles in them, of a run whose receiver answers after a delay.
fn run(delay: Duration) -> (usize, usize) {
    let project = Project::segmentation();
    let receiver = Receiver::start(move |_, _| Answer::status(200).delay(delay));
    project.send_toggles_to(&receiver.url("/"));
    // Few users of few segments come back often: most events are toggles.
    let cardinalities = "segmentCardinality: 1000\n          userCardinality: 10000";
    project.patch("capture.flow.yaml", cardinalities, "segmentCardinality: 20\n          userCardinality: 100");
    let (mut process, _) = Process::develop(project.directory(), "materialize.flow.yaml", &[]);
    // This is the length of the run, not a wait for something.
    std::thread::sleep(RUN);
    assert!(process.terminate(Duration::from_secs(30)).success(), "{}", process.output());

    let received = receiver.received();
    Run { project: &project, postgres: None, received: &received }.check();
    let toggles = received.iter().map(|call| call.body.lines().filter(|line| line.starts_with('{')).count()).sum();
    (received.len(), toggles)
}

/// Would catch a webhook that gets a call per small transaction and queues them, or tasks that wait for it.
#[test]
fn a_slow_webhook_gets_fewer_and_larger_calls() {
    let slow = std::thread::spawn(|| run(Duration::from_millis(600)));
    let (quick_calls, quick_toggles) = run(Duration::from_millis(5));
    let (slow_calls, slow_toggles) = slow.join().unwrap();
    println!("quick: {quick_toggles} toggles in {quick_calls} calls; slow: {slow_toggles} in {slow_calls}");
    assert!(slow_calls > 0 && slow_calls * 2 < quick_calls);
    assert!(slow_toggles * quick_calls > 2 * quick_toggles * slow_calls, "toggles per call");
}
