//! What a build asks of those who will run the catalog: connectors check configurations, the script engine checks modules.

use serde_json::Value;

use crate::{Collection, Endpoint, Module, Text, Transform};

/// The program that will run the catalog, as far as a build needs it. Nothing here touches a network.
pub trait Host {
    /// Checks a capture's configuration and the resources of its bindings.
    fn check_capture(&self, endpoint: &Endpoint, resources: &[&Value]) -> Result<(), Vec<ConfigError>>;

    /// Checks a materialization's configuration alone: it may have no bindings. Hosts that only tell with a binding say nothing.
    fn check_endpoint(&self, _endpoint: &Endpoint) -> Result<(), Vec<ConfigError>> {
        Ok(())
    }

    /// Checks a materialization's configuration and one binding's resource; says what may be done with each field of the
    /// collection, in the order of [`Collection::projections`].
    fn check_binding(
        &self,
        endpoint: &Endpoint,
        resource: &Value,
        collection: &Collection,
    ) -> Result<BindingRules, Vec<ConfigError>>;

    /// The fields of a configuration, and of the resources of a task's bindings, that its connector does not use.
    fn unused(&self, _endpoint: &Endpoint, _resources: &[&Value]) -> Vec<Unused> {
        Vec::new()
    }

    /// Reads a file of TypeScript: what other files it imports, and what it exports. Hosts that cannot tell say nothing.
    fn read_module(&self, _text: &Text) -> Result<ModuleOutline, Vec<ModuleError>> {
        Ok(ModuleOutline::default())
    }

    /// Checks that a module parses and that its class has these methods. Where it imports what it has no link to, that is
    /// reported elsewhere.
    fn check_module(&self, module: &Module, methods: &[&str]) -> Result<(), Vec<ModuleError>>;

    /// Checks that migrations apply one after another, and that lambdas are statements over what they make and over fields of
    /// their sources, each given beside its transform. Hosts that cannot tell say nothing.
    fn check_sql(&self, _migrations: &[Text], _transforms: &[(&Transform, &Collection)]) -> Result<(), Vec<SqlError>> {
        Ok(())
    }
}

/// A connector's answer for one binding of a materialization.
#[derive(Debug)]
pub struct BindingRules {
    /// What the binding writes to, such as a table: no two bindings of a materialization may have the same.
    pub path: Vec<String>,
    /// Whether stored documents are never loaded.
    pub delta_updates: bool,
    /// What may be done with each projection, and why.
    pub constraints: Vec<(Constraint, &'static str)>,
}

/// What a connector says of one field; the greater, the less it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Constraint {
    /// This very field must be kept.
    FieldRequired,
    /// One field of its location must be kept.
    LocationRequired,
    /// One field of its location should be kept.
    LocationRecommended,
    /// It may be kept.
    Optional,
    /// It cannot be kept.
    Forbidden,
    /// It must be kept and cannot be.
    Unsatisfiable,
}

/// A mistake in an endpoint's configuration or a binding's resource.
#[derive(Debug)]
pub struct ConfigError {
    /// Which value.
    pub at: ConfigAt,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// A field that a connector does not use.
#[derive(Debug)]
pub struct Unused {
    /// Which value.
    pub at: ConfigAt,
    /// Its name.
    pub name: String,
    /// The name of one that is used, for which it may be a slip.
    pub near: Option<&'static str>,
}

/// Where in an endpoint a mistake is.
#[derive(Debug)]
pub enum ConfigAt {
    /// The connector itself is not known.
    Connector,
    /// The value at this JSON pointer of the configuration.
    Config(String),
    /// The value at this JSON pointer of the resource of the n-th binding checked.
    Resource(usize, String),
}

/// A mistake in SQL.
#[derive(Debug)]
pub struct SqlError {
    /// The migration or the lambda.
    pub text: Text,
    /// What of it, and what is wrong.
    pub error: ModuleError,
}

/// What a file of TypeScript has to do with others.
#[derive(Debug, Default)]
pub struct ModuleOutline {
    /// The files that it takes values from. Those that only types are taken from matter to nobody.
    pub imports: Vec<Import>,
    /// The names it exports; `None` if it passes on all names of another file.
    pub exports: Option<Vec<String>>,
}

/// An import of a file.
#[derive(Debug)]
pub struct Import {
    /// What it is imported from as written, such as `./prices`.
    pub from: String,
    /// Where that stands in the text, in bytes.
    pub range: std::ops::Range<usize>,
    /// The names that are imported, and where they stand.
    pub names: Vec<(String, std::ops::Range<usize>)>,
}

/// A mistake in a module.
#[derive(Debug)]
pub struct ModuleError {
    /// Byte range in the module's text.
    pub range: std::ops::Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}
