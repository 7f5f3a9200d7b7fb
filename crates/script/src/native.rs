//! Lambdas without an engine: methods that only shape data, compiled to plans and run over the nodes of documents.
//!
//! Most lambdas take documents apart and put others together. Those are compiled from the syntax tree (`compile`) to a small
//! tree (`plan`) that is evaluated over the arena (`evaluate`). What a method may use is a part of the language; what is
//! beyond it is refused with a place and a reason, and the method runs in QuickJS.
//!
//! The evaluator is exact or it gives up: where JavaScript would throw, and for values it does not bother with, that one call
//! is made again in QuickJS. Lambdas that compile change nothing, so making a call twice is the same as making it once, and
//! messages and places of errors are always QuickJS's own.

mod compile;
mod evaluate;
mod number;
mod plan;
mod text;
mod value;

use std::collections::BTreeMap;

use doc::{Arena, Node};
use oxc_ast::ast::Program;
use oxc_semantic::Semantic;

use crate::check::Wanted;
use evaluate::Evaluator;
use plan::{FunctionId, Plan};

/// Why a method runs in QuickJS: the first thing of it that is not compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its line, from one.
    pub line: u32,
    /// What it is, such as "a loop".
    pub what: String,
}

/// One call cannot be had natively.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GiveUp;

/// What was compiled of a class.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    plan: Plan,
    lambdas: BTreeMap<String, Result<FunctionId, Refusal>>,
    /// Whether nothing is called of the class but its lambdas, and those are what they look like.
    quiet: bool,
    /// Whether loading the module runs nothing that could fail.
    inert: bool,
}

impl Compiled {
    /// Compiles the wanted methods of a module's class.
    pub(crate) fn of(program: &Program<'_>, semantic: &Semantic<'_>, wanted: &Wanted<'_>) -> Compiled {
        compile::compile(program, semantic, wanted)
    }

    /// The module imports other files: what they do when they are loaded was not looked at.
    pub(crate) fn loads_others(&mut self) {
        self.inert = false;
    }

    /// Whether the class works without ever being loaded.
    pub(crate) fn is_whole(&self) -> bool {
        self.quiet && self.inert && self.lambdas.values().all(Result::is_ok)
    }

    /// Whether the class has no methods that are called beside its lambdas.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Why a method was not compiled, if it was not.
    pub(crate) fn refusal(&self, method: &str) -> Option<&Refusal> {
        self.lambdas.get(method)?.as_ref().err()
    }

    /// A method ready to be called, if it was compiled. All its calls may take so much of the arena.
    pub(crate) fn lambda<'p, 'a>(&'p self, arena: &'a Arena, method: &str, bytes_max: usize) -> Option<Native<'p, 'a>> {
        let function = *self.lambdas.get(method)?.as_ref().ok()?;
        Some(Native { evaluator: Evaluator::new(&self.plan, arena, bytes_max), function })
    }
}

/// A compiled lambda over an arena.
pub(crate) struct Native<'p, 'a> {
    evaluator: Evaluator<'p, 'a>,
    function: FunctionId,
}

impl<'a> Native<'_, 'a> {
    /// Calls it, and adds the documents it returns.
    pub(crate) fn call(&mut self, arguments: &[Node<'a>], documents: &mut Vec<Node<'a>>) -> Result<(), GiveUp> {
        self.evaluator.call(self.function, arguments, documents)
    }
}
