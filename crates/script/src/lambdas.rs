//! The lambdas of a built derivation: which method a transform means, and what it is called with.

use catalog::{Collection, Derivation, Lambda, Module, Transform, Using};
use doc::{Arena, Field, Node};
use runtime::{LambdaError, Lambdas, Publish, Rows};

use crate::{Engine, Limits};

/// Opens the lambdas of a derived collection: loads its module and makes one instance of its class, which serves until
/// [`Lambdas::reset`].
pub fn open(collection: &Collection) -> Result<Box<dyn Lambdas>, LambdaError> {
    let Some(derivation) = &collection.derivation else {
        return Err(error(format!("{} is not derived, so it has no lambdas", collection.name)));
    };
    let module = match &derivation.using {
        Using::Typescript(module) => module,
        Using::Sqlite { .. } => return Err(unsupported(collection)),
    };
    let transforms: Vec<Methods> = derivation
        .transforms
        .iter()
        .map(|t| Methods::of(t).ok_or_else(|| unsupported(collection)))
        .collect::<Result<_, _>>()?;
    let methods: Vec<&str> =
        transforms.iter().flat_map(|t| [&t.update, &t.publish]).flatten().map(String::as_str).collect();
    let engine = Engine::open(file(module), &module.text.text, &module.class, &methods, Limits::default())?;
    Ok(Box::new(Typescript { engine, names: names(derivation), transforms, modern: module.modern }))
}

/// Says whether a module can serve: it parses, exports its class, the class has the methods, and it loads.
pub fn check_module(module: &Module, methods: &[&str]) -> Result<(), Vec<catalog::ModuleError>> {
    crate::check(&module.text.text, &module.class, methods)
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

    fn reset(&mut self) -> Result<(), LambdaError> {
        self.engine.reset()
    }
}

fn names(derivation: &Derivation) -> Vec<String> {
    derivation.transforms.iter().map(|t| t.name.clone()).collect()
}

/// How messages name the module: its file, unless it is written within a catalog.
fn file(module: &Module) -> &str {
    let path = module.text.url.path();
    match path.rsplit('/').next() {
        Some(name) if name.ends_with(".ts") => name,
        _ => "the inline module",
    }
}

fn unsupported(collection: &Collection) -> LambdaError {
    error(format!("SQLite lambdas are not supported yet, in {}", collection.name))
}

fn error(message: String) -> LambdaError {
    LambdaError { message, source_index: None }
}
