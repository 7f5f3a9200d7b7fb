//! What end-to-end tests are made of: a project in a temporary directory, the program as a process, events, and the model
//! that checks a run.

mod events;
pub(crate) mod http;
mod model;
mod process;
mod project;

pub(crate) use events::write_events;
pub(crate) use model::Run;
pub(crate) use process::{Process, Said, segtide, undisturbed};
pub(crate) use project::Project;
