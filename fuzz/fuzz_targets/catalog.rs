//! No text makes building a catalog panic. An input is files: first `catalog.yaml`, then each behind a line `=== name`.
#![no_main]

use std::collections::HashMap;

use catalog::{
    BindingRules, Collection, ConfigError, Constraint, Endpoint, Fetch, FetchError, Host, Module, ModuleError,
};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use url::Url;

struct Files<'d>(HashMap<&'d str, &'d str>);

impl Fetch for Files<'_> {
    fn fetch(&self, url: &Url) -> Result<String, FetchError> {
        let name = url.path().strip_prefix("/w/").ok_or(FetchError::Missing)?;
        self.0.get(name).map(|text| (*text).to_owned()).ok_or(FetchError::Missing)
    }
}

/// Accepts everything.
struct Anything;

impl Host for Anything {
    fn check_capture(&self, _: &Endpoint, _: &[&Value]) -> Result<(), Vec<ConfigError>> {
        Ok(())
    }

    fn check_binding(&self, _: &Endpoint, _: &Value, of: &Collection) -> Result<BindingRules, Vec<ConfigError>> {
        let constraints = of.projections.iter().map(|_| (Constraint::Optional, "")).collect();
        Ok(BindingRules { path: Vec::new(), delta_updates: false, constraints })
    }

    fn check_module(&self, _: &Module, _: &[&str]) -> Result<(), Vec<ModuleError>> {
        Ok(())
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.split("\n=== ");
    let mut files = HashMap::from([("catalog.yaml", parts.next().unwrap_or_default())]);
    files.extend(parts.filter_map(|part| part.split_once('\n')));
    let root = Url::parse("file:///w/catalog.yaml").expect("a constant URL is valid");
    let _ = catalog::build(&root, &Files(files), &Anything);
});
