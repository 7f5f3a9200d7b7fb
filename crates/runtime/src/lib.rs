//! Tasks, shards, the transaction lifecycle, shuffles, catalog tests.
//!
//! Read [`lifecycle`](mod@lifecycle) first: what a transaction goes through, as a pure function. [`shard`](mod@shard) turns it
//! on a thread; `capture`, `ingest`, `derive` and `materialize` are what it turns. Tasks meet only in journals.
//!
//! This crate never names a connector and never reads the wall clock.

mod capture;
mod connector;
mod dead_letters;
mod derive;
mod ingest;
mod lifecycle;
mod materialize;
mod needed;
mod pace;
mod partition;
mod position;
mod publish;
mod reader;
mod registers;
mod retry;
pub mod rows;
mod run;
mod seen;
mod shard;
mod status;
mod tail;
pub mod testing;
mod uuid;

pub use connector::{
    Batch, Changes, ConnectorError, Connectors, Destination, Fault, Hook, Kept, LambdaError, Lambdas, Progress,
    Publish, Report, Request, Retry, Row, Rows, Source, Table,
};
pub use dead_letters::DEAD_LETTERS;
pub use ingest::{Format, Ingest, IngestError, Ingested, Posted, Reply, To};
pub use journal::KeyRange;
pub use journal::failpoint::{defect, durable_point};
pub use position::{CheckpointRow, take_over};
pub use run::{Monitor, Options, Runtime, SHARDS_MAX};
pub use status::{Counts, State, Status};
pub use tail::Tail;
