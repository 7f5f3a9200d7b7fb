//! Asking a connector what it needs, whether a configuration works, and which streams it has.

use std::collections::BTreeMap;
use std::io::Read as _;
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
/// How long Docker may take to say that it is there: where it is elsewhere, and that cannot be reached, it would for ever.
const DOCKER_TIME_MAX: Duration = Duration::from_secs(3);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(5);
/// What is read of its reasons.
const SAID_BYTES_MAX: u64 = 4 << 10;

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
        asked.args(["version", "--format", "{{.Server.Version}}"]);
        answers(&mut asked, DOCKER_TIME_MAX)
    };
    ANSWER.get_or_init(ask).clone()
}

/// Whether a command succeeds in time, and if not, the first line of what it said.
fn answers(command: &mut Command, time: Duration) -> Result<(), String> {
    let name = command.get_program().display().to_string();
    let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = started.map_err(|reason| format!("`{name}` cannot be started: {reason}"))?;
    let begun = Instant::now();
    let ended = loop {
        match child.try_wait() {
            Ok(None) if begun.elapsed() < time => std::thread::sleep(LOOK),
            Ok(ended) => break ended,
            Err(reason) => return Err(format!("`{name}` cannot be waited for: {reason}")),
        }
    };
    match ended {
        Some(status) if status.success() => Ok(()),
        Some(_) => {
            let mut said = String::new();
            let _ = child.stderr.take().map(|stderr| stderr.take(SAID_BYTES_MAX).read_to_string(&mut said));
            Err(printable(said.lines().next().unwrap_or("it does not answer")))
        }
        None => {
            let _ = child.kill();
            let _ = child.wait();
            Err(format!("`{name}` does not answer within {} s", time.as_secs_f32()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_is_not_waited_for() {
        for (script, expected) in [
            ("true", Ok(())),
            ("echo no, >&2; echo never >&2; exit 1", Err("no,")),
            ("exit 1", Err("it does not answer")),
            ("exec sleep 60", Err("`sh` does not answer within 0.1 s")),
        ] {
            let time = Duration::from_millis(if script.contains("sleep") { 100 } else { 30_000 });
            let answer = answers(Command::new("sh").args(["-c", script]), time);
            assert_eq!(answer, expected.map_err(str::to_owned), "{script}");
        }
        let missing = answers(&mut Command::new("/nothing/here"), Duration::from_secs(1)).unwrap_err();
        assert!(missing.starts_with("`/nothing/here` cannot be started: "), "{missing}");
    }
}
