//! One class of one module, alive in QuickJS on a thread of its own.
//!
//! A thread of its own because some of the engine's native functions never ask whether to stop: only another thread can
//! give up waiting for them. Text goes over and text comes back, so nothing of the engine is shared.
//!
//! What holds a lambda: a context without clock, randomness and input ([`SANDBOX`]), frozen built-ins, and [`Limits`]. Once
//! a limit is broken the engine is thrown away; the next one starts clean.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rquickjs::context::intrinsic;
use rquickjs::convert::Coerced;
use rquickjs::{Context, Ctx, Error, Exception, Function, Module, Object, Promise, Runtime, Value};

use crate::check::BASE_CLASS;
use crate::typescript::{Part, Script};

/// The code that makes the sandbox.
const SANDBOX: &str = include_str!("sandbox.js");
/// What stands in for the generated base class of derivations.
const BASE: &str =
    "{ constructor(_open) {} async flush() { return []; } async reset() {} startCommit() { return {}; } }";
/// The author's module within the engine.
const MODULE: &str = "lambda";
/// Characters of a thrown message that are kept.
const MESSAGE_CHARS_MAX: usize = 2000;
/// What the engine's thread needs beside the stack of JavaScript.
const NATIVE_STACK_BYTES: usize = 1 << 20;

/// What a context has. `Eval` runs the sandbox and modules, and is taken away from lambdas; without `Promise` an async
/// function would break the engine.
type Intrinsics = (
    intrinsic::Eval,
    intrinsic::RegExpCompiler,
    intrinsic::RegExp,
    intrinsic::Json,
    intrinsic::MapSet,
    intrinsic::Promise,
    intrinsic::Date,
);

/// How much lambdas may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Memory of one engine.
    pub memory_bytes_max: usize,
    /// Stack of one call.
    pub stack_bytes_max: usize,
    /// Time to load a module, and for a block of calls of any size.
    pub call_time: Duration,
    /// Time on top of it for each source document of a block.
    pub source_time: Duration,
    /// How much later a native function that does not stop is abandoned together with its thread.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory_bytes_max: 64 << 20,
            stack_bytes_max: 512 << 10,
            call_time: Duration::from_millis(1500),
            source_time: Duration::from_millis(1),
            grace: Duration::from_millis(300),
        }
    }
}

/// What an engine is asked for.
pub(crate) enum Request {
    /// Calls; gives one line of JSON for each, an array.
    Calls(Block),
    /// `flush`; gives one such line.
    Flush,
    /// `startCommit`, with the state as it was committed last; gives the new state, or nothing where it stays.
    StartCommit(String),
    /// `reset`; gives nothing.
    Reset,
}

impl Request {
    /// Source documents it is about.
    fn count(&self) -> usize {
        match self {
            Request::Calls(block) => block.count,
            _ => 0,
        }
    }
}

/// A block of calls of one method.
pub(crate) struct Block {
    /// The method.
    pub(crate) method: String,
    /// Arguments of one call.
    pub(crate) width: usize,
    /// The number of calls.
    pub(crate) count: usize,
    /// A JSON array of all arguments.
    pub(crate) text: Vec<u8>,
}

/// What went wrong in the engine.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// As thrown, such as `TypeError: not a function`, or the limit that was broken.
    pub(crate) message: String,
    /// The line of the TypeScript, from one.
    pub(crate) line: Option<u32>,
    /// The file it is a line of, where that is not the module itself.
    pub(crate) file: Option<String>,
    /// Which call of the block.
    pub(crate) call: Option<usize>,
    /// Whether a limit was broken.
    pub(crate) limit: bool,
}

/// A running engine. Dropping it ends its thread.
pub(crate) struct Worker {
    requests: SyncSender<Request>,
    replies: Receiver<Result<String, Failure>>,
    limits: Limits,
}

impl Worker {
    /// Loads the module and makes an instance of the class. `state` is the JSON its constructor gets; empty for nothing.
    pub(crate) fn start(
        script: &std::sync::Arc<Script>,
        class: &str,
        state: &str,
        limits: Limits,
    ) -> Result<Worker, Failure> {
        let (requests, request_queue) = sync_channel(1);
        let (reply, replies) = sync_channel(1);
        let (script, class, state) = (script.clone(), class.to_owned(), state.to_owned());
        std::thread::Builder::new()
            .name("lambdas".to_owned())
            .stack_size(limits.stack_bytes_max + NATIVE_STACK_BYTES)
            .spawn(move || serve(&script, &class, &state, limits, &request_queue, &reply))
            .map_err(|e| Failure::of(format!("no thread to run lambdas on: {e}")))?;
        let worker = Worker { requests, replies, limits };
        worker.wait(limits.call_time)?;
        Ok(worker)
    }

    /// Does what is asked. After a [`Failure::limit`] this is dead.
    pub(crate) fn ask(&mut self, request: Request) -> Result<String, Failure> {
        let time = self.limits.time(request.count());
        if self.requests.send(request).is_err() {
            return Err(Failure::dead());
        }
        self.wait(time)
    }

    fn wait(&self, time: Duration) -> Result<String, Failure> {
        match self.replies.recv_timeout(time + self.limits.grace) {
            Ok(reply) => reply,
            Err(RecvTimeoutError::Timeout) => Err(Failure::time(time)),
            Err(RecvTimeoutError::Disconnected) => Err(Failure::dead()),
        }
    }
}

impl Limits {
    fn time(&self, count: usize) -> Duration {
        self.call_time + self.source_time * u32::try_from(count).unwrap_or(u32::MAX)
    }
}

impl Failure {
    fn of(message: String) -> Failure {
        Failure { message, line: None, file: None, call: None, limit: false }
    }

    fn broken(message: String) -> Failure {
        Failure { limit: true, ..Failure::of(message) }
    }

    fn time(time: Duration) -> Failure {
        Failure::broken(format!("ran longer than the {:.1} seconds it has", time.as_secs_f64()))
    }

    fn dead() -> Failure {
        Failure::broken("the script engine stopped".to_owned())
    }
}

/// When the engine is to stop, and whether it was told to.
#[derive(Default)]
struct Alarm {
    at: Cell<Option<Instant>>,
    rang: Cell<bool>,
}

impl Alarm {
    fn set(&self, time: Duration) {
        self.at.set(Some(Instant::now() + time));
    }

    fn ring(&self) -> bool {
        let late = self.at.get().is_some_and(|at| Instant::now() >= at);
        self.rang.set(self.rang.get() | late);
        late
    }
}

/// The engine's thread: loads, answers once, then answers each request, until nobody asks or a limit is broken.
fn serve(
    script: &Script,
    class: &str,
    state: &str,
    limits: Limits,
    requests: &Receiver<Request>,
    replies: &SyncSender<Result<String, Failure>>,
) {
    let alarm = Rc::new(Alarm::default());
    let context = match engine(&limits, &alarm) {
        Ok(context) => context,
        Err(e) => {
            // Nobody waits any more once this cannot be sent.
            let _ = replies.send(Err(Failure::broken(format!("no script engine: {e}"))));
            return;
        }
    };
    context.with(|ctx| {
        let judge = Judge { ctx: &ctx, alarm: &alarm, limits, script };
        alarm.set(limits.call_time);
        let loaded = load(&ctx, script, class, state).map_err(|e| judge.failure(e, limits.call_time));
        let (sandbox, instance) = match loaded {
            Ok(loaded) => loaded,
            Err(failure) => {
                let _ = replies.send(Err(failure));
                return;
            }
        };
        let mut alive = replies.send(Ok(String::new())).is_ok();
        while alive {
            let Ok(request) = requests.recv() else { return };
            let time = limits.time(request.count());
            alarm.set(time);
            let reply = answer(&ctx, &sandbox, &instance, &request).map_err(|(e, at)| {
                let failure = judge.failure(e, time);
                Failure { call: at, ..failure }
            });
            alive = !matches!(&reply, Err(Failure { limit: true, .. }));
            alive &= replies.send(reply).is_ok();
        }
    });
}

fn engine(limits: &Limits, alarm: &Rc<Alarm>) -> Result<Context, Error> {
    let runtime = Runtime::new()?;
    runtime.set_memory_limit(limits.memory_bytes_max);
    runtime.set_max_stack_size(limits.stack_bytes_max);
    let alarm = alarm.clone();
    runtime.set_interrupt_handler(Some(Box::new(move || alarm.ring())));
    Context::custom::<Intrinsics>(&runtime)
}

/// The functions of the sandbox, and the instance they are about.
fn load<'js>(ctx: &Ctx<'js>, script: &Script, class: &str, state: &str) -> Result<(Object<'js>, Value<'js>), Error> {
    let sandbox: Object = ctx.eval(SANDBOX)?;
    for generated in &script.generated {
        Module::declare(ctx.clone(), generated.as_str(), format!("export class {BASE_CLASS} {BASE}"))?;
    }
    for part in &script.parts {
        Module::declare(ctx.clone(), part.name.as_str(), part.script.code.as_str())?;
    }
    let (module, done) = Module::declare(ctx.clone(), MODULE, script.code.as_str())?.eval()?;
    done.result::<()>().transpose()?;
    let construct: Function = sandbox.get("construct")?;
    let instance = construct.call((module.get::<_, Value>(class)?, state))?;
    Ok((sandbox, instance))
}

fn answer<'js>(
    ctx: &Ctx<'js>,
    sandbox: &Object<'js>,
    instance: &Value<'js>,
    request: &Request,
) -> Result<String, (Error, Option<usize>)> {
    let function = |name: &str| sandbox.get::<_, Function>(name);
    match request {
        Request::Calls(block) => function("call").map_err(|e| (e, None)).and_then(|f| run(ctx, &f, instance, block)),
        Request::Flush => {
            function("flush").and_then(|f| finished(&f.call((instance.clone(),))?)).map_err(|e| (e, None))
        }
        Request::Reset => {
            function("reset").and_then(|f| finished(&f.call((instance.clone(),))?)).map_err(|e| (e, None))
        }
        Request::StartCommit(state) => function("startCommit")
            .and_then(|f| f.call::<_, rquickjs::String>((instance.clone(), state.as_str()))?.to_string())
            .map_err(|e| (e, None)),
    }
}

/// What an asynchronous function of the sandbox comes to. Nothing happens outside, so it comes to it at once or never.
fn finished(promise: &Promise<'_>) -> Result<String, Error> {
    promise.finish::<rquickjs::String>()?.to_string()
}

fn run<'js>(
    ctx: &Ctx<'js>,
    call: &Function<'js>,
    instance: &Value<'js>,
    block: &Block,
) -> Result<String, (Error, Option<usize>)> {
    let early = |e| (e, None);
    let note = Object::new(ctx.clone()).map_err(early)?;
    let text = str::from_utf8(&block.text).map_err(|e| (Error::Utf8(e), None))?;
    let text = rquickjs::String::from_str(ctx.clone(), text).map_err(early)?;
    let lines: Result<Value, Error> =
        call.call((instance.clone(), block.method.as_str(), block.width, text, note.clone()));
    let text = |lines: Value<'js>| match lines.as_promise() {
        Some(promise) => finished(promise),
        None => lines.get::<rquickjs::String>()?.to_string(),
    };
    lines.and_then(text).map_err(|e| {
        // Asked for after the exception was raised, so it must not raise another: a plain property of a plain object.
        let at = note.get::<_, Option<usize>>("at").ok().flatten();
        (e, at)
    })
}

/// Turns what the engine says into a [`Failure`].
struct Judge<'a, 'js> {
    ctx: &'a Ctx<'js>,
    alarm: &'a Alarm,
    limits: Limits,
    script: &'a Script,
}

impl<'js> Judge<'_, 'js> {
    fn failure(&self, error: Error, time: Duration) -> Failure {
        let failure = match error {
            Error::Exception => self.thrown(self.ctx.catch()),
            Error::Allocation => self.memory(),
            Error::WouldBlock => Failure::of("waits for a Promise that nothing will resolve".to_owned()),
            other => Failure::of(other.to_string()),
        };
        // Told to stop, now or while its error was being read.
        match self.alarm.rang.get() {
            true => Failure { line: failure.line, file: failure.file, ..Failure::time(time) },
            false => failure,
        }
    }

    fn thrown(&self, value: Value<'js>) -> Failure {
        if value.is_null() {
            // What the engine throws when there is no memory left to make an error.
            let memory = self.memory();
            return Failure { message: format!("thrown: null; or {}", memory.message), ..memory };
        }
        let Some(exception) = value.as_object().cloned().and_then(Exception::from_object) else {
            let text = value.get::<Coerced<String>>().map_or("an object".to_owned(), |s| s.0);
            return Failure::of(clip(format!("thrown: {text}")));
        };
        let name = exception.get::<_, Coerced<String>>("name").map_or("Error".to_owned(), |s| s.0);
        let message = exception.message().unwrap_or_default();
        let place = exception.stack().and_then(|stack| self.place(&stack));
        let (file, line) = place.map_or((None, None), |(file, line)| (file, Some(line)));
        let failure = match (name.as_str(), message.as_str()) {
            ("InternalError", "out of memory") => self.memory(),
            ("RangeError", "Maximum call stack size exceeded") => {
                let kib = self.limits.stack_bytes_max >> 10;
                Failure::broken(format!("calls are nested too deeply: more than {kib} KiB of stack"))
            }
            (_, "") => Failure::of(clip(name)),
            _ => Failure::of(clip(format!("{name}: {message}"))),
        };
        Failure { line, file, ..failure }
    }

    fn memory(&self) -> Failure {
        let mib = self.limits.memory_bytes_max as f64 / f64::from(1 << 20);
        Failure::broken(format!("took more memory than the {mib} MiB it has"))
    }

    /// The innermost place of the author's text in a stack such as `at publish (lambda:3:14)`: its line, and its file where
    /// that is not the module itself.
    fn place(&self, stack: &str) -> Option<(Option<String>, u32)> {
        let within = |frame: &str, name: &str, script: &Script| {
            let (before, place) = frame.rsplit_once(&format!("{name}:"))?;
            if !before.ends_with(['(', ' ']) {
                return None;
            }
            let mut numbers = place.trim_end_matches(')').split(':').map(|n| n.parse().ok());
            let line = numbers.next()??;
            script.source_line(line, numbers.next().flatten().unwrap_or(1))
        };
        stack.lines().find_map(|frame| {
            let of_part = |part: &Part| Some((Some(part.file.clone()), within(frame, &part.name, &part.script)?));
            let own = within(frame, MODULE, self.script).map(|line| (None, line));
            own.or_else(|| self.script.parts.iter().find_map(of_part))
        })
    }
}

fn clip(message: String) -> String {
    match message.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message,
    }
}
