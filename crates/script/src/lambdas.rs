//! The lambdas of a built derivation: which method a transform means, and what it is called with.

use std::path::Path;

use catalog::{Catalog, Collection, Derivation, Lambda, Module, Text, Transform, Using};
use doc::{Arena, Field, Node};
use runtime::{Changes, Kept, LambdaError, Lambdas, Publish, Rows};

use crate::engine;
use crate::sqlite::Sqlite;
use crate::{Engine, Limits, Refusal};

/// The key a modern class's state is kept under.
const STATE: &[u8] = b"state";

/// Opens the lambdas of a derived collection, with what they `kept`: an instance of its module's class, or its database, in
/// the directory `scratch` or, without one, in memory. Unless `native`, all TypeScript runs in QuickJS, within `limits`.
pub fn open(
    catalog: &Catalog,
    collection: &Collection,
    scratch: Option<&Path>,
    native: bool,
    limits: Limits,
    kept: &Kept<'_>,
) -> Result<Box<dyn Lambdas>, LambdaError> {
    let Some(derivation) = &collection.derivation else {
        return Err(error(format!("{} is not derived, so it has no lambdas", collection.name)));
    };
    match &derivation.using {
        Using::Typescript(module) => {
            Ok(Box::new(Typescript::open(collection, derivation, module, native, limits, kept)?))
        }
        Using::Sqlite { migrations } => {
            Ok(Box::new(Sqlite::open(catalog, collection, derivation, migrations, scratch, kept)?))
        }
    }
}

/// Says whether a module can serve: it parses, exports its class, the class has the methods, and it loads.
pub fn check_module(module: &Module, methods: &[&str]) -> Result<(), Vec<catalog::ModuleError>> {
    engine::check_module(module, methods)
}

/// Reads a file of TypeScript: what other files it imports, and what it exports.
pub fn read_module(text: &Text) -> Result<catalog::ModuleOutline, Vec<catalog::ModuleError>> {
    crate::typescript::read(&text.text)
}

/// Why methods of a module run in QuickJS: each with the first thing of it that is not compiled, or with nothing if it is
/// native.
pub fn refusals<'m>(module: &Module, methods: &[&'m str]) -> Result<Vec<(&'m str, Option<Refusal>)>, LambdaError> {
    let state = module.modern.then_some(engine::STATE);
    let engine = Engine::of_module(module, file(module), methods, state, Limits::default())?;
    Ok(methods.iter().map(|method| (*method, engine.refusal(method).cloned())).collect())
}

/// Says whether the SQL of a derivation can serve: its migrations apply, and its lambdas, each with the source it reads, can be
/// prepared.
pub fn check_sql(migrations: &[Text], transforms: &[(&Transform, &Collection)]) -> Result<(), Vec<catalog::SqlError>> {
    crate::sqlite::check(migrations, transforms)
}

/// Lambdas that are methods of one TypeScript class.
struct Typescript {
    engine: Engine,
    /// Of the transforms, for messages.
    names: Vec<String>,
    transforms: Vec<Methods>,
    modern: bool,
}

/// The methods of one transform.
struct Methods {
    update: Option<String>,
    publish: Option<String>,
}

impl Methods {
    /// `None` where a lambda is something else than a method.
    fn of(transform: &Transform) -> Option<Methods> {
        let method = |lambda: &Option<Lambda>| match lambda {
            None => Some(None),
            Some(Lambda::Method(name)) => Some(Some(name.clone())),
            Some(Lambda::Sql(_)) => None,
        };
        Some(Methods { update: method(&transform.update)?, publish: method(&transform.publish)? })
    }
}

impl Typescript {
    fn open(
        collection: &Collection,
        derivation: &Derivation,
        module: &Module,
        native: bool,
        limits: Limits,
        kept: &Kept<'_>,
    ) -> Result<Typescript, LambdaError> {
        let foreign = || error(format!("{} is in TypeScript and has a lambda in SQL", collection.name));
        let transforms: Vec<Methods> =
            derivation.transforms.iter().map(|t| Methods::of(t).ok_or_else(foreign)).collect::<Result<_, _>>()?;
        let methods: Vec<&str> =
            transforms.iter().flat_map(|t| [&t.update, &t.publish]).flatten().map(String::as_str).collect();
        let committed = match module.modern {
            true => kept(&[STATE])?.into_iter().next().flatten(),
            false => None,
        };
        let committed = committed.as_deref().map(str::from_utf8).transpose();
        let committed = committed.map_err(|_| error(format!("the state of {} is damaged", collection.name)))?;
        let state = module.modern.then(|| committed.unwrap_or(engine::STATE));
        let engine = Engine::of_module(module, file(module), &methods, state, limits)?;
        let engine = if native { engine } else { engine.without_native()? };
        let names = derivation.transforms.iter().map(|t| t.name.clone()).collect();
        Ok(Typescript { engine, names, transforms, modern: module.modern })
    }
}

impl Lambdas for Typescript {
    fn update<'a>(
        &mut self,
        arena: &'a Arena,
        transform: usize,
        sources: &[Node<'a>],
    ) -> Result<Rows<'a>, LambdaError> {
        let Some(method) = &self.transforms[transform].update else {
            return Err(error(format!("transform {} has no update lambda", self.names[transform])));
        };
        self.engine.call(arena, method, sources.iter().map(|s| [*s]))
    }

    fn publish<'a>(
        &mut self,
        arena: &'a Arena,
        transform: usize,
        sources: &[Publish<'a>],
    ) -> Result<Rows<'a>, LambdaError> {
        let Some(method) = &self.transforms[transform].publish else {
            return Err(error(format!("transform {} has no publish lambda", self.names[transform])));
        };
        if self.modern {
            let read = |p: &Publish<'a>| [Node::object(arena, vec![Field { name: "doc", value: p.source }])];
            self.engine.call(arena, method, sources.iter().map(read))
        } else {
            self.engine.call(arena, method, sources.iter().map(|p| [p.source, p.register, p.previous]))
        }
    }

    fn flush<'a>(&mut self, arena: &'a Arena) -> Result<Vec<Node<'a>>, LambdaError> {
        if self.modern { self.engine.flush(arena) } else { Ok(Vec::new()) }
    }

    fn changes(&mut self) -> Result<Changes, LambdaError> {
        let state = if self.modern { self.engine.start_commit()? } else { None };
        Ok(state.map(|state| (STATE.into(), Some(state.as_bytes().into()))).into_iter().collect())
    }

    fn reset(&mut self) -> Result<(), LambdaError> {
        if self.modern { self.engine.reset() } else { self.engine.restart() }
    }
}

/// How messages name the module: its file, unless it is written within a catalog.
fn file(module: &Module) -> &str {
    let path = module.text.url.path();
    match path.rsplit('/').next() {
        Some(name) if name.ends_with(".ts") => name,
        _ => "the inline module",
    }
}

/// An error of no document in particular.
pub(crate) fn error(message: String) -> LambdaError {
    LambdaError { message, source_index: None }
}
