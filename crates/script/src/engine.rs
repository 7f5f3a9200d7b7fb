//! A class of lambdas as its callers see it: nodes in, nodes out, and one error with the method and the place in it.

use std::sync::Arc;

use catalog::{Module, ModuleError, Text};
use doc::{Arena, Node, ParseReason};
use runtime::{LambdaError, Rows};

use crate::check::Wanted;
use crate::native::Refusal;
use crate::quickjs::{Block, Failure, Limits, Request, Worker};
use crate::typescript::{Mistakes, Script, compile};

/// Text of arguments that goes to the engine at once, so that a large block needs no more memory than a small one. A single
/// call may have more.
const ARGUMENT_BYTES_MAX: usize = 512 << 10;
/// The state of a class that was never committed, as JSON.
pub(crate) const STATE: &str = "{}";

/// Says whether a module can serve: it parses, exports the class, the class has the methods, and it loads.
pub fn check(text: &str, class: &str, methods: &[&str]) -> Result<(), Vec<ModuleError>> {
    check_compiled(text, class, compile(text, &Wanted { class, methods }, None))
}

/// The same of a module of a catalog, with the files that it imports; without them it is not loaded.
pub(crate) fn check_module(module: &Module, methods: &[&str]) -> Result<(), Vec<ModuleError>> {
    let Module { text: Text { text, .. }, class, .. } = module;
    check_compiled(text, class, compile(text, &Wanted { class, methods }, Some(module)))
}

fn check_compiled(text: &str, class: &str, compiled: Result<Script, Mistakes>) -> Result<(), Vec<ModuleError>> {
    let script = match compiled {
        Ok(script) => Arc::new(script),
        Err((None, errors)) => return Err(errors),
        // Whoever read the file said so.
        Err((Some(_), _)) => return Ok(()),
    };
    if !script.is_whole {
        return Ok(());
    }
    match Worker::start(&script, class, STATE, Limits::default()) {
        Ok(_) => Ok(()),
        Err(Failure { message, line, file, .. }) => {
            let (range, place) = match (line, file) {
                (Some(line), None) => (line_range(text, line), String::new()),
                (Some(line), Some(file)) => (0..0, format!(" (line {line} of {file})")),
                (None, _) => (0..0, String::new()),
            };
            Err(vec![ModuleError { range, message: format!("the module does not load: {message}{place}"), hint: None }])
        }
    }
}

fn line_range(text: &str, line: u32) -> std::ops::Range<usize> {
    let mut begin = 0;
    for (n, content) in (1..).zip(text.split_inclusive('\n')) {
        if n == line {
            let indent = content.len() - content.trim_start().len();
            return begin + indent..begin + content.trim_end().len().max(indent);
        }
        begin += content.len();
    }
    0..0
}

/// A class of lambdas, ready to be called.
pub struct Engine {
    class: String,
    /// The file's name, for messages.
    file: String,
    script: Arc<Script>,
    limits: Limits,
    /// The state the class was committed with last, as JSON; empty for a class that has none.
    state: String,
    /// Whether lambdas that need no engine do without.
    native: bool,
    /// Calls of native lambdas that were made in QuickJS all the same.
    calls_left: u64,
    instance: Instance,
}

/// The class in QuickJS.
enum Instance {
    /// Not needed so far, for its lambdas are native.
    Waiting,
    Running(Worker),
    /// A limit was broken.
    Broken,
}

impl Engine {
    /// Compiles the module and makes an instance of its class, as it was when `state` was committed; without a state, its
    /// constructor gets nothing, as before 2023. `file` names the module in messages.
    pub fn open(
        file: &str,
        text: &str,
        class: &str,
        methods: &[&str],
        state: Option<&str>,
        limits: Limits,
    ) -> Result<Engine, LambdaError> {
        let compiled = compile(text, &Wanted { class, methods }, None);
        Engine::start_of(compiled, file, class, state, limits)
    }

    /// The same of a module of a catalog, with the files that it imports.
    pub(crate) fn of_module(
        module: &Module,
        file: &str,
        methods: &[&str],
        state: Option<&str>,
        limits: Limits,
    ) -> Result<Engine, LambdaError> {
        let Module { text: Text { text, .. }, class, .. } = module;
        let compiled = compile(text, &Wanted { class, methods }, Some(module));
        Engine::start_of(compiled, file, class, state, limits)
    }

    fn start_of(
        compiled: Result<Script, Mistakes>,
        file: &str,
        class: &str,
        state: Option<&str>,
        limits: Limits,
    ) -> Result<Engine, LambdaError> {
        let script = compiled.map_err(|(part, errors)| {
            let first = errors.first().map_or("", |e| e.message.as_str());
            let file = part.as_deref().unwrap_or(file);
            LambdaError { message: format!("{first}, in {file}"), source_index: None }
        })?;
        let mut engine = Engine {
            class: class.to_owned(),
            file: file.to_owned(),
            script: Arc::new(script),
            limits,
            state: state.unwrap_or_default().to_owned(),
            native: true,
            calls_left: 0,
            instance: Instance::Waiting,
        };
        engine.start()?;
        Ok(engine)
    }

    /// The same with all of its lambdas in QuickJS.
    pub fn without_native(mut self) -> Result<Engine, LambdaError> {
        self.native = false;
        self.start()?;
        Ok(self)
    }

    /// Why a method runs in QuickJS; `None` if it is native.
    pub fn refusal(&self, method: &str) -> Option<&Refusal> {
        self.script.native.refusal(method)
    }

    /// How many calls of native lambdas were left to QuickJS: for what would throw, and for rare values.
    pub fn calls_left(&self) -> u64 {
        self.calls_left
    }

    fn start(&mut self) -> Result<(), LambdaError> {
        self.instance = Instance::Waiting;
        if self.native && self.script.native.is_whole() {
            return Ok(());
        }
        self.worker().map(drop)
    }

    /// The class in QuickJS, loaded now if it was not.
    fn worker(&mut self) -> Result<&mut Worker, LambdaError> {
        if let Instance::Waiting = self.instance {
            let started = Worker::start(&self.script, &self.class, &self.state, self.limits);
            self.instance = Instance::Running(started.map_err(|failure| self.error(None, failure, 0))?);
        }
        match &mut self.instance {
            Instance::Running(worker) => Ok(worker),
            Instance::Waiting | Instance::Broken => {
                let message = format!("{} stopped when it broke a limit, in {}", self.class, self.file);
                Err(LambdaError { message, source_index: None })
            }
        }
    }

    /// Whether the class has nothing but lambdas.
    fn is_quiet(&self) -> bool {
        self.native && self.script.native.is_quiet() && !matches!(self.instance, Instance::Broken)
    }

    fn forget(&mut self) {
        if !self.state.is_empty() {
            STATE.clone_into(&mut self.state);
        }
    }

    /// Starts anew: another engine, another instance, nothing remembered.
    pub fn restart(&mut self) -> Result<(), LambdaError> {
        self.forget();
        self.start()
    }

    /// Asks the instance to start anew, by its `reset`. What that leaves stays, unless the instance had broken a limit.
    pub fn reset(&mut self) -> Result<(), LambdaError> {
        if let Instance::Broken = self.instance {
            return self.restart();
        }
        self.forget();
        if self.is_quiet() {
            return Ok(());
        }
        self.ask("reset", Request::Reset, 0).map(drop)
    }

    /// The documents its `flush` gives at the end of a transaction.
    pub fn flush<'a>(&mut self, arena: &'a Arena) -> Result<Vec<Node<'a>>, LambdaError> {
        if self.is_quiet() {
            return Ok(Vec::new());
        }
        let line = self.ask("flush", Request::Flush, 0)?;
        rows(arena, arena.alloc_str(&line)).map_err(|e| self.unreadable("flush", &e, None, 0))
    }

    /// Its state after a transaction, as JSON, where its `startCommit` says that it has changed.
    pub fn start_commit(&mut self) -> Result<Option<&str>, LambdaError> {
        if self.is_quiet() {
            return Ok(None);
        }
        let state = self.ask("startCommit", Request::StartCommit(self.state.clone()), 0)?;
        if state.is_empty() {
            return Ok(None);
        }
        self.state = state;
        Ok(Some(&self.state))
    }

    fn ask(&mut self, method: &str, request: Request, first: usize) -> Result<String, LambdaError> {
        self.worker()?.ask(request).map_err(|failure| {
            if failure.limit {
                self.instance = Instance::Broken;
            }
            self.error(Some(method), failure, first)
        })
    }

    fn unreadable(&self, method: &str, e: &doc::ParseError, call: Option<usize>, first: usize) -> LambdaError {
        let message = format!("returned what is no document: {e}");
        self.error(Some(method), Failure { message, line: None, file: None, call, limit: false }, first)
    }

    /// Calls a method once for each list of `WIDTH` arguments, in order.
    pub fn call<'a, const WIDTH: usize>(
        &mut self,
        arena: &'a Arena,
        method: &str,
        calls: impl IntoIterator<Item = [Node<'a>; WIDTH]>,
    ) -> Result<Rows<'a>, LambdaError> {
        let script = Arc::clone(&self.script);
        let native = script.native.lambda(arena, method, self.limits.memory_bytes_max);
        let Some(mut native) = native.filter(|_| self.native) else {
            return self.call_in_quickjs(arena, method, calls);
        };
        let mut rows = Rows::default();
        let mut left = Vec::new();
        for arguments in calls {
            if native.call(&arguments, &mut rows.documents).is_err() {
                left.push((rows.ends.len(), arguments));
            }
            rows.ends.push(rows.documents.len());
        }
        if left.is_empty() {
            return Ok(rows);
        }
        self.calls_left += left.len() as u64;
        // The first of these that fails is the first of all: none of the others does.
        let theirs = self.call_in_quickjs(arena, method, left.iter().map(|(_, arguments)| *arguments));
        let theirs = theirs.map_err(|e| LambdaError { source_index: e.source_index.map(|n| left[n].0), ..e })?;
        let mut merged = Rows::default();
        let mut left = left.iter().enumerate().peekable();
        for n in 0..rows.ends.len() {
            let run = match left.next_if(|(_, (at, _))| *at == n) {
                Some((k, _)) => theirs.run(k),
                None => rows.run(n),
            };
            merged.documents.extend_from_slice(run);
            merged.ends.push(merged.documents.len());
        }
        Ok(merged)
    }

    fn call_in_quickjs<'a, const WIDTH: usize>(
        &mut self,
        arena: &'a Arena,
        method: &str,
        calls: impl IntoIterator<Item = [Node<'a>; WIDTH]>,
    ) -> Result<Rows<'a>, LambdaError> {
        let mut returned = Rows::default();
        let mut block = Vec::new();
        let mut count = 0;
        for arguments in calls {
            for node in arguments {
                block.push(if block.is_empty() { b'[' } else { b',' });
                doc::write(node, &mut block);
            }
            count += 1;
            if block.len() >= ARGUMENT_BYTES_MAX {
                self.run(arena, method, WIDTH, std::mem::take(&mut block), count, &mut returned)?;
                count = 0;
            }
        }
        if count > 0 {
            self.run(arena, method, WIDTH, block, count, &mut returned)?;
        }
        Ok(returned)
    }

    fn run<'a>(
        &mut self,
        arena: &'a Arena,
        method: &str,
        width: usize,
        mut text: Vec<u8>,
        count: usize,
        returned: &mut Rows<'a>,
    ) -> Result<(), LambdaError> {
        let first = returned.ends.len();
        text.push(b']');
        let block = Block { method: method.to_owned(), width, count, text };
        let lines = arena.alloc_str(&self.ask(method, Request::Calls(block), first)?);
        for line in lines.lines() {
            let call = Some(returned.ends.len() - first);
            returned.documents.extend(rows(arena, line).map_err(|e| self.unreadable(method, &e, call, first))?);
            returned.ends.push(returned.documents.len());
        }
        Ok(())
    }

    fn error(&self, method: Option<&str>, failure: Failure, first: usize) -> LambdaError {
        let what = match method {
            Some(method) => format!("{}.{method}", self.class),
            None => self.class.clone(),
        };
        let file = failure.file.as_ref().unwrap_or(&self.file);
        let place = match failure.line {
            Some(line) => format!("line {line} of {file}"),
            None => self.file.clone(),
        };
        let message = format!("{}, in {what} ({place})", failure.message);
        LambdaError { message, source_index: failure.call.map(|n| first + n) }
    }
}

/// The documents of one line.
fn rows<'a>(arena: &'a Arena, line: &'a str) -> Result<Vec<Node<'a>>, doc::ParseError> {
    let elements = match doc::parse_elements(arena, line.as_bytes()) {
        Err(e) if e.reason == ParseReason::Integer => {
            doc::parse_elements(arena, arena.alloc_str(&as_floats(line)).as_bytes())
        }
        elements => elements,
    };
    Ok(elements?.into_iter().map(|(node, _)| node).collect())
}

/// JavaScript prints numbers up to 1e21 without an exponent. Those that no integer of ours holds become floating point, as
/// they were.
fn as_floats(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + 16);
    let (mut string, mut escape, mut digits, mut integer) = (false, false, 0, true);
    for c in json.chars() {
        if !string {
            match c {
                '0'..='9' => digits += 1,
                '.' | 'e' | 'E' | '+' => integer = false,
                _ => {
                    if integer && digits > DIGITS_EXACT {
                        out.push_str(".0");
                    }
                    (digits, integer) = (0, true);
                }
            }
        }
        string ^= c == '"' && !escape;
        escape = string && c == '\\' && !escape;
        out.push(c);
    }
    out
}

/// Decimal digits that always fit 64 bits.
const DIGITS_EXACT: usize = 18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_integers_become_floats() {
        let text = r#"[123,100000000000000000000,-100000000000000000000,1e+21,"100000000000000000000\"1",0.1234567890123456789]"#;
        let want = r#"[123,100000000000000000000.0,-100000000000000000000.0,1e+21,"100000000000000000000\"1",0.1234567890123456789]"#;
        assert_eq!(as_floats(text), want);
    }

    #[test]
    fn lines_are_found_without_their_white_space() {
        let text = "one\n  two \n\nfour";
        assert_eq!(&text[line_range(text, 2)], "two");
        assert_eq!(&text[line_range(text, 4)], "four");
        assert_eq!(line_range(text, 9), 0..0);
    }
}
