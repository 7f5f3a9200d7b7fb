//! Small catalogs, built from text as any other.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::{
    BindingRules, Catalog, Collection, ConfigError, Constraint, Endpoint, Fetch, FetchError, Host, Module, ModuleError,
};
use serde_json::Value;
use url::Url;

/// A host that takes every configuration, and keeps keys and documents of every collection.
struct AnyHost;

impl Host for AnyHost {
    fn check_capture(&self, _: &Endpoint, _: &[&Value]) -> Result<(), Vec<ConfigError>> {
        Ok(())
    }
    fn check_binding(&self, _: &Endpoint, resource: &Value, collection: &Collection) -> Result<BindingRules, Vec<ConfigError>> {
        let constraint = |p: &catalog::Projection| match p.key || p.pointer.is_root() {
            true => (Constraint::LocationRequired, "keys and documents are kept"),
            false => (Constraint::Optional, "it may be kept"),
        };
        Ok(BindingRules {
            path: vec![resource.to_string()],
            delta_updates: resource.get("delta").is_some(),
            constraints: collection.projections.iter().map(constraint).collect(),
        })
    }
    fn check_module(&self, _: &Module, _: &[&str]) -> Result<(), Vec<ModuleError>> {
        Ok(())
    }
}

struct Texts(BTreeMap<String, String>);

impl Fetch for Texts {
    fn fetch(&self, url: &Url) -> Result<String, FetchError> {
        self.0.get(url.path()).cloned().ok_or(FetchError::Missing)
    }
}

/// Builds a catalog that has no mistakes.
pub fn build(yaml: &str) -> Arc<Catalog> {
    let texts = [("/flow.yaml", yaml), ("/flow.ts", "// The lambdas are in the test.\n")];
    let texts = Texts(texts.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect());
    let built = catalog::build(&Url::parse("file:///flow.yaml").unwrap(), &texts, &AnyHost);
    assert!(built.diagnostics.is_empty(), "{:#?}", built.diagnostics);
    Arc::new(built.catalog)
}

/// Transfers between accounts, the balance of each kept in a register, in a table and in a hook.
pub const BANK: &str = r#"
collections:
  bank/transfers:
    schema:
      type: object
      properties: { id: { type: integer }, account: { type: string }, delta: { type: integer } }
      required: [id, account, delta]
    key: [/id]
    projections:
      account: { location: /account, partition: true }
  bank/running:
    schema:
      type: object
      properties: { id: { type: integer }, account: { type: string }, balance: { type: integer } }
      required: [id, account, balance]
    key: [/id]
    derivation:
      register:
        schema: { type: integer, reduce: { strategy: sum } }
        initial: 0
      transform:
        fromTransfers:
          source: { name: bank/transfers }
          shuffle: { key: [/account] }
          update: { lambda: typescript }
          publish: { lambda: typescript }
  bank/balances:
    schema:
      type: object
      properties:
        account: { type: string }
        sum: { type: integer, reduce: { strategy: sum } }
      reduce: { strategy: merge }
      required: [account, sum]
    key: [/account]
    derivation:
      transform:
        fromTransfers:
          source: { name: bank/transfers }
          shuffle: { key: [/account] }
          publish: { lambda: typescript }
captures:
  bank/source:
    endpoint: { airbyteSource: { image: scripted, config: {} } }
    bindings: [{ resource: { stream: transfers }, target: bank/transfers }]
materializations:
  bank/table:
    endpoint: { flowSink: { image: table, config: {} } }
    bindings:
      - { resource: { table: balances }, source: bank/balances }
      - { resource: { table: running }, source: bank/running }
  bank/hook:
    endpoint: { flowSink: { image: hook, config: {} } }
    bindings: [{ resource: { delta: true }, source: bank/running }]
"#;
