//! Sources that speak the Airbyte protocol: commands of this machine (`local`), and images where Docker is.
//!
//! A connector is a program that is run again and again. `discover` says which streams it has; `read` is given its configuration,
//! the streams that are wanted and the state of the last run, and writes records and states. A state explains the records before it:
//! they are committed together, and the next run begins there. Records that no state follows until the connector ends are committed
//! with the state there was. Where a connector fails, the retries of the runtime start it again from the last committed state.
//! Source: reference 5.2.

mod discover;
mod message;
mod process;
mod state;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use catalog::{Capture, ConfigAt, ConfigError, Endpoint};
use runtime::{Batch, ConnectorError, Fault, Progress, Retry, Source};
use serde_json::{Value, json};

use crate::config::Fields;
use crate::error;
use crate::surroundings::{Level, Surroundings, printable};
pub use discover::{Connector, Discovered, check_source};
use message::{Failed, Message, Stream};
use process::{Given, Heard, How, MEMORY_MIB, Process, Program};
use state::State;

/// The fields of a configuration; the last one is for other programs, and as good as used.
pub(crate) const CONFIG_FIELDS: &[&str] = &["command", "config", "env", "memoryMiB", "onInvalid", "protobuf"];
/// The fields of a resource.
pub(crate) const RESOURCE_FIELDS: &[&str] = &["stream", "namespace", "syncMode", "cursorField", "primaryKey"];
/// How long a read waits for the connector to say something.
const WAIT: Duration = Duration::from_millis(90);
/// What a batch holds before it is handed over.
const BATCH_BYTES: usize = 256 << 10;
/// Records that wait here for their state; more are handed over as they come.
const HELD_BYTES: usize = 1 << 20;
/// Records that may be without a state. More than this are committed without one.
const UNFINISHED_BYTES_MAX: usize = 64 << 20;

/// How a capture's connector is run, and with which configuration.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    program: Program,
    config: Value,
    halts_on_invalid: bool,
}

/// Reads the configuration of an endpoint with a command.
pub(crate) fn read_config(endpoint: &Endpoint) -> Result<Config, Vec<ConfigError>> {
    let directory = directory(endpoint);
    if let Some(image) = &endpoint.image {
        let program =
            Program { how: How::Image(image.clone()), environment: BTreeMap::new(), directory, memory_mib: MEMORY_MIB };
        return Ok(Config { program, config: endpoint.config.clone(), halts_on_invalid: false });
    }
    let mut fields = Fields::config(&endpoint.config, CONFIG_FIELDS);
    let command: Vec<String> = fields.list("command").into_iter().map(str::to_owned).collect();
    if command.is_empty() {
        let hint = "a program and its arguments, such as `[python3, source.py]`";
        fields.wrong("command", "`command` is missing or empty", Some(hint));
    }
    let environment: Option<BTreeMap<String, String>> = fields.optional("env");
    let memory_mib: Option<u64> = fields.optional("memoryMiB");
    let halts_on_invalid = fields.halts_on_invalid();
    let config = endpoint.config.get("config").cloned().unwrap_or_else(|| json!({}));
    let errors = fields.finish();
    if !errors.is_empty() {
        return Err(errors);
    }
    let program = Program {
        how: How::Command(command),
        environment: environment.unwrap_or_default(),
        directory,
        memory_mib: memory_mib.unwrap_or(MEMORY_MIB).clamp(1, 1 << 20),
    };
    Ok(Config { program, config, halts_on_invalid })
}

fn directory(endpoint: &Endpoint) -> PathBuf {
    let catalog = endpoint.base.to_file_path().ok();
    catalog.as_deref().and_then(Path::parent).map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// A stream that a binding wants.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    name: String,
    namespace: Option<String>,
    full_refresh: bool,
    cursor_field: Vec<String>,
    primary_key: Option<Value>,
}

impl Wanted {
    /// What a message calls it.
    pub(crate) fn shown(&self) -> String {
        self.namespace.as_ref().map_or_else(|| self.name.clone(), |namespace| format!("{namespace}/{}", self.name))
    }
}

/// Checks the resource of the n-th binding.
pub(crate) fn read_resource(n: usize, resource: &Value) -> Result<Wanted, Vec<ConfigError>> {
    let mut fields = Fields::resource(n, resource, RESOURCE_FIELDS);
    let name: Option<String> = fields.required("stream", "a stream that the connector has");
    let namespace: Option<String> = fields.optional("namespace");
    let mode: Option<String> = fields.optional("syncMode");
    if mode.as_ref().is_some_and(|mode| mode != "incremental" && mode != "full_refresh") {
        fields.wrong("syncMode", "there is no such mode", Some("there are `incremental` and `full_refresh`"));
    }
    let cursor_field = fields.list("cursorField").into_iter().map(str::to_owned).collect();
    let errors = fields.finish();
    match name {
        Some(name) if errors.is_empty() => Ok(Wanted {
            name,
            namespace,
            full_refresh: mode.is_some_and(|mode| mode == "full_refresh"),
            cursor_field,
            primary_key: resource.get("primaryKey").cloned(),
        }),
        _ => Err(errors),
    }
}

/// A running capture.
pub(crate) struct Airbyte {
    capture: String,
    config: Config,
    wanted: Vec<Wanted>,
    around: Surroundings,
    tail: bool,
    interval: Duration,
    state: Option<State>,
    phase: Phase,
    /// Streams as the connector has them, once it was asked.
    configured: Option<Value>,
    /// Documents behind the last state.
    held: Batch,
    /// Bytes of those that were handed over already.
    unfinished: usize,
    /// What the connector said about why it fails.
    failed: Option<Failed>,
    /// What it fails with, once what came before is handed over.
    failure: Option<ConnectorError>,
    /// What was told once.
    told: Vec<String>,
}

enum Phase {
    /// Nothing runs; the next run begins then, if there is one.
    Waiting(Option<Instant>),
    Discovering(Process, Option<Vec<Stream>>),
    /// Since when.
    Reading(Process, Instant),
}

impl Airbyte {
    /// Goes on after the cursor. Nothing is started yet.
    pub(crate) fn open(
        capture: &Capture,
        config: Config,
        wanted: Vec<Wanted>,
        cursor: Option<&[u8]>,
        tail: bool,
        around: Surroundings,
    ) -> Result<Self, ConnectorError> {
        let state = cursor.map(State::from_cursor).transpose();
        let state =
            state.map_err(|why| error::user(format!("the stored state of the connector cannot be read: {why}")))?;
        Ok(Self {
            capture: capture.name.clone(),
            config,
            wanted,
            around,
            tail,
            interval: Duration::from_secs(capture.interval_seconds),
            state,
            phase: Phase::Waiting(Some(Instant::now())),
            configured: None,
            held: Batch::default(),
            unfinished: 0,
            failed: None,
            failure: None,
            told: Vec::new(),
        })
    }

    fn log(&self, level: Level, text: &str) {
        (self.around.log)(level, &self.capture, &printable(text));
    }

    fn tell_once(&mut self, text: String) {
        if !self.told.contains(&text) && self.told.len() < 16 {
            self.log(Level::Warn, &text);
            self.told.push(text);
        }
    }

    fn start(&self, command: &str, given: &[Given<'_>]) -> Result<Process, ConnectorError> {
        let started = self.config.program.start(command, given, &self.capture, &self.around);
        started.map_err(|reason| self.config.program.not_started(&reason))
    }

    /// Begins the next run.
    fn begin(&mut self) -> Result<(), ConnectorError> {
        self.failed = None;
        let config = Given { flag: "config", value: &self.config.config };
        self.phase = match &self.configured {
            None => Phase::Discovering(self.start("discover", &[config])?, None),
            Some(configured) => {
                let state = self.state.as_ref().map(State::to_file);
                let mut given = vec![config, Given { flag: "catalog", value: configured }];
                given.extend(state.as_ref().map(|value| Given { flag: "state", value }));
                Phase::Reading(self.start("read", &given)?, Instant::now())
            }
        };
        Ok(())
    }

    /// What is heard, whichever command runs: `true` once it has ended well.
    fn hear(&mut self, batch: &mut Batch) -> Result<bool, ConnectorError> {
        let mut phase = std::mem::replace(&mut self.phase, Phase::Waiting(None));
        let process = match &mut phase {
            Phase::Waiting(_) => return Ok(true),
            Phase::Discovering(process, _) | Phase::Reading(process, _) => process,
        };
        let broken = |reason: std::io::Error| error::endpoint(format!("the connector cannot be read: {reason}"));
        let mut streams = None;
        let mut heard = Heard::Something;
        let is_enough = |held: &Batch, batch: &Batch| held.text.len() >= HELD_BYTES || batch.text.len() >= BATCH_BYTES;
        while matches!(heard, Heard::Something) && !is_enough(&self.held, batch) {
            let Some(line) = process.line() else {
                // What is there is not kept waiting for what may come.
                let wait = if batch.cursor.is_none() { WAIT } else { Duration::ZERO };
                heard = process.listen(wait).map_err(broken)?;
                continue;
            };
            match message::read(line) {
                Ok(Message::Record { namespace, stream, data }) => {
                    record(&self.wanted, &mut self.held, namespace.as_deref(), &stream, data.as_bytes())
                        .unwrap_or_else(|unknown| self.tell_once(unknown));
                }
                Ok(Message::State(message)) => {
                    let state = State::and(self.state.take(), message).map_err(error::endpoint)?;
                    batch.cursor = Some(state.to_cursor().map_err(error::user)?);
                    self.state = Some(state);
                    self.unfinished = 0;
                    hand_over(&mut self.held, batch);
                }
                Ok(Message::Catalog(found)) => streams = Some(found),
                Ok(Message::Log(level, text)) => self.log(level, &text),
                Ok(Message::Failure(failed)) => self.failed = Some(failed),
                Ok(Message::Configured) => {
                    self.tell_once("the connector changed its configuration, which is not kept".to_owned());
                }
                Ok(Message::Spec(_) | Message::Status(_) | Message::Other) => {}
                Err(why) => return Err(error::endpoint(format!("the connector cannot be understood: {why}"))),
            }
        }
        // What has a state is handed over by itself.
        if self.held.text.len() >= HELD_BYTES && batch.cursor.is_none() {
            self.unfinished += self.held.text.len();
            hand_over(&mut self.held, batch);
            if self.unfinished > UNFINISHED_BYTES_MAX {
                self.unfinished = 0;
                self.tell_once(format!(
                    "more than {} MiB of records came without a state; they are kept, and may come again if the connector \
                     fails before its next state",
                    UNFINISHED_BYTES_MAX >> 20
                ));
            }
        }
        if let (Phase::Discovering(_, found), Some(streams)) = (&mut phase, streams) {
            *found = Some(streams);
        }
        // What was handed over without its state is nothing until that comes.
        batch.unfinished = self.unfinished > 0;
        match heard {
            Heard::End(Ok(())) if self.failed.is_none() => {
                self.phase = phase;
                Ok(true)
            }
            Heard::End(how) => {
                let failure = self.config.program.failed(how, self.failed.as_ref());
                match batch.cursor {
                    // What has its state is handed over first.
                    Some(_) => self.failure = Some(failure),
                    None => return Err(failure),
                }
                Ok(false)
            }
            _ => {
                self.phase = phase;
                Ok(false)
            }
        }
    }

    /// The run ended well: what comes next.
    fn ended(&mut self, batch: &mut Batch) -> Result<Progress, ConnectorError> {
        match std::mem::replace(&mut self.phase, Phase::Waiting(None)) {
            Phase::Discovering(_, streams) => {
                let streams = streams.ok_or_else(|| error::endpoint("the connector named no streams"))?;
                self.configured = Some(configure(&self.wanted, &streams)?);
                self.phase = Phase::Waiting(Some(Instant::now()));
                Ok(Progress::More)
            }
            Phase::Reading(_, begun) => {
                // No state is to follow any more.
                hand_over(&mut self.held, batch);
                batch.unfinished = false;
                self.unfinished = 0;
                if !self.tail {
                    return Ok(Progress::Done);
                }
                self.phase = Phase::Waiting(Some(begun + self.interval));
                Ok(Progress::Wait(self.interval.saturating_sub(begun.elapsed())))
            }
            Phase::Waiting(_) => Ok(Progress::Done),
        }
    }
}

impl Source for Airbyte {
    fn halts_on_invalid(&self) -> bool {
        self.config.halts_on_invalid
    }

    fn read(&mut self, batch: &mut Batch) -> Result<Progress, ConnectorError> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if let Phase::Waiting(next) = &self.phase {
            match next {
                None => return Ok(Progress::Done),
                Some(at) if *at > Instant::now() => {
                    return Ok(Progress::Wait(at.saturating_duration_since(Instant::now())));
                }
                Some(_) => self.begin()?,
            }
        }
        if self.hear(batch)? {
            return self.ended(batch);
        }
        // Nothing more is known to be waiting, so that what is there may be committed.
        Ok(if batch.text.len() >= BATCH_BYTES || batch.unfinished {
            Progress::More
        } else {
            Progress::Wait(Duration::from_millis(1))
        })
    }
}

impl Program {
    fn not_started(&self, reason: &std::io::Error) -> ConnectorError {
        let message = match &self.how {
            How::Command(words) => {
                let program = words.first().map_or("", String::as_str);
                format!(
                    "the connector `{program}` cannot be started: {reason}; is it installed, and is its path right?"
                )
            }
            How::Image(image) => {
                format!(
                    "the image {image} needs Docker, which cannot be started: {reason}; or install the connector and give its command: `local: {{command: […], config: …}}`"
                )
            }
        };
        ConnectorError { message, fault: Fault::User, retry: Retry::AFewTimes }
    }

    /// How an end with a failure is told of, and whether to try again.
    fn failed(&self, how: Result<(), String>, failed: Option<&Failed>) -> ConnectorError {
        let of_config = failed.is_some_and(|failed| failed.of_config);
        let why = match (failed, how) {
            (Some(failed), _) => printable(&failed.message),
            (None, Err(how)) => format!("it ended with {how}; what it said is in the log"),
            (None, Ok(())) => "it does not say why".to_owned(),
        };
        let docker = match &self.how {
            How::Image(_) if failed.is_none() => "; is Docker running here?",
            _ => "",
        };
        ConnectorError {
            message: format!("the connector failed: {why}{docker}"),
            fault: if of_config { Fault::User } else { Fault::Endpoint },
            // Connectors blame the configuration for what may pass.
            retry: if of_config { Retry::AFewTimes } else { Retry::Later },
        }
    }
}

/// Keeps a record for its binding, if there is one.
fn record(
    wanted: &[Wanted],
    held: &mut Batch,
    namespace: Option<&str>,
    stream: &str,
    data: &[u8],
) -> Result<(), String> {
    let binding = wanted.iter().position(|wanted| wanted.name == stream && wanted.namespace.as_deref() == namespace);
    let Some(binding) = binding else {
        return Err(format!("the connector sends records of the stream {stream:?}, which no binding wants"));
    };
    let begin = held.text.len();
    held.text.extend_from_slice(data);
    held.documents.push((binding, begin..held.text.len()));
    Ok(())
}

/// Moves what is held behind what is in the batch.
fn hand_over(held: &mut Batch, batch: &mut Batch) {
    let begin = batch.text.len();
    batch.text.append(&mut held.text);
    batch.documents.extend(held.documents.drain(..).map(|(n, range)| (n, range.start + begin..range.end + begin)));
}

/// The streams that are wanted, as the connector has them and as it is to read them.
fn configure(wanted: &[Wanted], streams: &[Stream]) -> Result<Value, ConnectorError> {
    let one = |wanted: &Wanted| {
        let found = streams.iter().find(|s| s.name == wanted.name && s.namespace == wanted.namespace);
        let stream = found.ok_or_else(|| {
            let mut names: Vec<String> = streams.iter().take(20).map(Stream::shown).collect();
            if streams.len() > names.len() {
                names.push(format!("{} more", streams.len() - names.len()));
            }
            error::user(format!("the connector has no stream {:?}; it has {}", wanted.shown(), names.join(", ")))
        })?;
        let incremental = stream.is_incremental() && !wanted.full_refresh;
        let cursor_field = match wanted.cursor_field.is_empty() {
            true => stream.default_cursor_field.clone().unwrap_or_default(),
            false => wanted.cursor_field.clone(),
        };
        let primary_key = wanted.primary_key.clone().unwrap_or_else(|| json!(stream.source_defined_primary_key));
        Ok(json!({
            "stream": stream.whole,
            "sync_mode": if incremental { "incremental" } else { "full_refresh" },
            "destination_sync_mode": "append",
            "cursor_field": cursor_field,
            "primary_key": if primary_key.is_null() { json!([]) } else { primary_key },
            // Newer connectors ask for these; there are no generations here.
            "generation_id": 0,
            "minimum_generation_id": 0,
            "sync_id": 0,
        }))
    };
    let streams = wanted.iter().map(one).collect::<Result<Vec<_>, ConnectorError>>()?;
    Ok(json!({ "streams": streams }))
}

impl Stream {
    fn is_incremental(&self) -> bool {
        self.supported_sync_modes.as_ref().is_some_and(|modes| modes.iter().any(|mode| mode == "incremental"))
    }

    fn shown(&self) -> String {
        self.namespace.as_ref().map_or_else(|| self.name.clone(), |namespace| format!("{namespace}/{}", self.name))
    }
}

/// What is to be said of an image where no connector of ours has its name.
pub(crate) fn check_image(image: &str) -> Result<(), ConfigError> {
    discover::docker().map_err(|why| ConfigError {
        at: ConfigAt::Connector,
        message: format!(
            "there is no capture connector of the name of `{}`, and its image needs Docker: {why}",
            image.escape_debug()
        ),
        hint: Some("install the connector here and give its command: `local: {command: […], config: …}`".to_owned()),
    })
}
