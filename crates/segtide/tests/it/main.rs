//! The program as a whole: its borders inside, and what a user sees from outside.
#![allow(clippy::unwrap_used)]

mod begin;
mod borders;
mod catalogs;
mod crash;
mod demo;
mod develop;
mod examples;
mod failing;
mod flowctl;
mod full;
mod guide;
mod help;
mod ingestion;
mod kit;
mod lambdas;
mod pressure;
mod preview;
mod refusals;
mod reports;
mod shards;
mod strangers;
mod surroundings;
mod watch;
