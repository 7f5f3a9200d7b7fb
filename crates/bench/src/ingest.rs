//! `bench ingest`: events over HTTP, each batch answered once it is durable.

use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use anyhow::anyhow;
use clap::Args;
use runtime::Batch;

use crate::events::Generator;
use crate::post::{Client, body, spread};
use crate::segtide::{Binary, Destinations, write_catalog};
use crate::{Events, measure};

#[derive(Debug, Args)]
pub(crate) struct Ingest {
    #[command(flatten)]
    events: Events,
    /// Events in a request
    #[arg(long, default_value_t = 1000)]
    batch: usize,
    /// Connections that post at the same time
    #[arg(long, default_value_t = 8)]
    connections: usize,
    #[command(flatten)]
    binary: Binary,
}

impl Ingest {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let program = self.binary.build()?;
        let mut generator = Generator::open(&self.events)?;
        let (mut bodies, mut batch) = (Vec::new(), Batch::default());
        let mut pending: Vec<Vec<u8>> = Vec::new();
        let mut left = self.events.events;
        while left > 0 {
            generator.read(&mut batch)?;
            for (_, range) in batch.documents.iter().take(left as usize) {
                pending.push(batch.text[range.clone()].to_vec());
                left -= 1;
                if pending.len() == self.batch || left == 0 {
                    bodies.push(body(pending.iter().map(Vec::as_slice)));
                    pending.clear();
                }
            }
        }
        let directory = tempfile::Builder::new().prefix("segtide-bench-").tempdir()?;
        write_catalog(directory.path(), None, &Destinations::default())?;
        let (running, port) = program.serve(directory.path())?;
        let cpu_before = measure::cpu_seconds(&running.0)?;
        let begin = Instant::now();
        let queue = Mutex::new(bodies.into_iter());
        let post = || -> anyhow::Result<Vec<f64>> {
            let mut client = Client::connect(port)?;
            let mut seconds = Vec::new();
            loop {
                let next = queue.lock().map_err(|_| anyhow!("another connection failed"))?.next();
                let Some(body) = next else { return Ok(seconds) };
                let begin = Instant::now();
                client.post(&body)?;
                seconds.push(begin.elapsed().as_secs_f64());
            }
        };
        let answers: anyhow::Result<Vec<Vec<f64>>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..self.connections).map(|_| scope.spawn(post)).collect();
            threads.into_iter().map(|t| t.join().map_err(|_| anyhow!("a connection's thread failed"))?).collect()
        });
        let answers = answers?.concat();
        let wall = begin.elapsed().as_secs_f64();
        let cpu = measure::cpu_seconds(&running.0)? - cpu_before;
        println!(
            "{} events in batches of {} over {} connections, while derivations and tables keep up:",
            self.events.events, self.batch, self.connections
        );
        println!(
            "{:.0} events/s acknowledged durable; {cpu:.1} CPU s in {wall:.1} s",
            self.events.events as f64 / wall
        );
        println!("a request: {}", spread(answers));
        Ok(())
    }
}
