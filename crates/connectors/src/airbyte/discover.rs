//! Asking a connector what it needs, whether a configuration works, and which streams it has.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use catalog::Endpoint;
use serde_json::Value;

use super::message::{self, Failed, Message};
use super::process::{Given, Heard, How, MEMORY_MIB, Program};
use super::{WAIT, read_config};
use crate::error;
use crate::surroundings::{Surroundings, printable};

/// How long an answer may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);

/// A connector that is asked.
#[derive(Clone)]
pub struct Connector {
    program: Program,
    around: Surroundings,
}

/// A stream that a connector has.
#[derive(Debug, Clone)]
pub struct Discovered {
    /// Its name.
    pub name: String,
    /// What its name is within, where there is such a thing.
    pub namespace: Option<String>,
    /// The schema of its documents.
    pub schema: Value,
    /// The locations of its key, as JSON pointers; empty where it has none.
    pub key: Vec<String>,
    /// Whether a run may go on where the last one ended.
    pub incremental: bool,
}

impl Connector {
    /// A command, run in a directory.
    pub fn command(words: Vec<String>, directory: PathBuf, around: Surroundings) -> Self {
        Self::of(How::Command(words), directory, around)
    }

    /// An image, with Docker.
    pub fn image(image: String, directory: PathBuf, around: Surroundings) -> Self {
        Self::of(How::Image(image), directory, around)
    }

    fn of(how: How, directory: PathBuf, around: Surroundings) -> Self {
        Self { program: Program { how, environment: BTreeMap::new(), directory, memory_mib: MEMORY_MIB }, around }
    }

    /// The JSON Schema of its configuration.
    pub fn spec(&self) -> Result<Value, String> {
        let spec = self.ask("spec", &[], |message| match message {
            Message::Spec(spec) => Some(spec),
            _ => None,
        })?;
        Ok(spec.get("connectionSpecification").cloned().unwrap_or(Value::Null))
    }

    /// Whether a configuration works.
    pub fn check(&self, config: &Value) -> Result<(), String> {
        self.ask("check", &[Given { flag: "config", value: config }], |message| match message {
            Message::Status(status) => Some(status),
            _ => None,
        })?
    }

    /// The streams there are with a configuration.
    pub fn discover(&self, config: &Value) -> Result<Vec<Discovered>, String> {
        let streams = self.ask("discover", &[Given { flag: "config", value: config }], |message| match message {
            Message::Catalog(streams) => Some(streams),
            _ => None,
        })?;
        let discovered = streams.into_iter().map(|stream| Discovered {
            incremental: stream.is_incremental(),
            key: stream.source_defined_primary_key.iter().flatten().map(|path| pointer(path)).collect(),
            name: stream.name,
            namespace: stream.namespace,
            schema: stream.json_schema,
        });
        Ok(discovered.collect())
    }

    /// Runs a command to its end, and what it answered.
    fn ask<T>(
        &self,
        command: &str,
        given: &[Given<'_>],
        answer: impl Fn(Message<'_>) -> Option<T>,
    ) -> Result<T, String> {
        const NAME: &str = "connector";
        let started = self.program.start(command, given, NAME, &self.around);
        let mut process = started.map_err(|reason| self.program.not_started(&reason).message)?;
        let begun = Instant::now();
        let (mut answered, mut failed) = (None, None::<Failed>);
        loop {
            while let Some(line) = process.line() {
                match message::read(line)? {
                    Message::Failure(failure) => failed = Some(failure),
                    Message::Log(level, text) => (self.around.log)(level, NAME, &printable(&text)),
                    message => answered = answer(message).or(answered),
                }
            }
            match process.listen(WAIT).map_err(|reason| format!("the connector cannot be read: {reason}"))? {
                // What failed after its answer has answered.
                Heard::End(how) => {
                    return answered.ok_or_else(|| self.program.failed(how, failed.as_ref()).message);
                }
                _ if begun.elapsed() > ANSWER_TIME_MAX => {
                    return Err(format!(
                        "the connector did not answer `{command}` within {} s",
                        ANSWER_TIME_MAX.as_secs()
                    ));
                }
                _ => {}
            }
        }
    }
}

/// Runs the `check` of the connector of a capture; `None` where it is one of ours.
pub fn check_source(endpoint: &Endpoint, around: &Surroundings) -> Option<Result<(), String>> {
    let ours = crate::CAPTURES.contains(&endpoint.connector.as_str());
    let config = (!ours).then(|| read_config(endpoint).map_err(|errors| error::config(errors).message))?;
    Some(config.and_then(|config| Connector { program: config.program, around: around.clone() }.check(&config.config)))
}

fn pointer(path: &[String]) -> String {
    path.iter().map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1"))).collect()
}

/// Whether Docker answers here, and if not, why. Asked once.
pub(super) fn docker() -> Result<(), String> {
    static ANSWER: OnceLock<Result<(), String>> = OnceLock::new();
    let ask = || {
        let mut asked = Command::new("docker");
        asked.args(["version", "--format", "{{.Server.Version}}"]).stdin(Stdio::null());
        match asked.output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                Err(printable(said.lines().next().unwrap_or("it does not answer")))
            }
            Err(reason) => Err(format!("`docker` cannot be started: {reason}")),
        }
    };
    ANSWER.get_or_init(ask).clone()
}
