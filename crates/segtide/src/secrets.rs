//! What a catalog leaves to the place it runs in: `${env:NAME}`, `${file:PATH}` and `${cmd:COMMAND}` in the configuration of an
//! endpoint.
//!
//! References stand within strings that have been parsed already, so that no value can change what a catalog says. They are
//! resolved whenever a connector is checked or opened; the catalog itself, and so all that shows or keeps it, has only the
//! references. Commands are run for whoever asked for it (`--allow-exec`), and only to run a catalog: to check one is safe.

mod command;

use std::borrow::Cow;
use std::path::Path;

use catalog::{ConfigAt, ConfigError, Endpoint};
use serde_json::Value;

/// Longest file that is read for a value, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// The field by which an encrypted configuration is known, and what stands in an encrypted file of any form.
const SOPS: &str = "sops";
const SOPS_VALUE: &str = "ENC[AES256_GCM,";
/// Stands for a value that is not there, where only the form matters: it is text and a number alike.
const STAND_IN: &str = "1";

/// What to do about values that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Go on without: nothing is opened.
    StandIn,
    /// Say so.
    Refuse,
}

/// An endpoint with the values its references stand for.
pub fn resolve(endpoint: &Endpoint, missing: Missing) -> Result<Cow<'_, Endpoint>, Vec<ConfigError>> {
    if endpoint.config.get(SOPS).is_some() {
        let message = format!("the configuration is encrypted with `{SOPS}`, which is not supported");
        let hint = "decrypt it, and write secrets as `${env:NAME}` or `${file:PATH}`".to_owned();
        return Err(vec![ConfigError { at: ConfigAt::Connector, message, hint: Some(hint) }]);
    }
    if !mentions(&endpoint.config) {
        return Ok(Cow::Borrowed(endpoint));
    }
    let mut resolved = endpoint.clone();
    let base = endpoint.base.to_file_path().ok();
    let folder = base.as_deref().and_then(Path::parent).unwrap_or(Path::new("."));
    fill_in(&mut resolved.config, folder, missing)?;
    Ok(Cow::Owned(resolved))
}

/// Puts values in place of the references in a configuration, which are meant from a folder.
pub fn fill_in(config: &mut Value, folder: &Path, missing: Missing) -> Result<(), Vec<ConfigError>> {
    let mut errors = Vec::new();
    walk(config, &mut String::new(), &mut |text, at| {
        substitute(text, |kind, name| look_up(kind, name, folder, missing)).or_else(|(message, hint)| {
            match (missing, hint) {
                (Missing::StandIn, Some(_)) => Ok(STAND_IN.to_owned()),
                (_, hint) => {
                    errors.push(ConfigError { at: ConfigAt::Config(at.to_owned()), message, hint });
                    Err(())
                }
            }
        })
    });
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn mentions(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("${"),
        Value::Array(items) => items.iter().any(mentions),
        Value::Object(fields) => fields.values().any(mentions),
        _ => false,
    }
}

/// Gives each string to `edit`, with its place as a JSON pointer.
fn walk(value: &mut Value, at: &mut String, edit: &mut impl FnMut(&str, &str) -> Result<String, ()>) {
    let length = at.len();
    match value {
        Value::String(text) => {
            if let Ok(edited) = edit(text, at) {
                *text = edited;
            }
        }
        Value::Array(items) => {
            for (n, item) in items.iter_mut().enumerate() {
                at.push_str(&format!("/{n}"));
                walk(item, at, edit);
                at.truncate(length);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                at.push_str(&format!("/{}", name.replace('~', "~0").replace('/', "~1")));
                walk(field, at, edit);
                at.truncate(length);
            }
        }
        _ => {}
    }
}

/// From now on references may be commands, or not. They are run anew for each catalog that is read.
pub fn allow_commands(allowed: bool) {
    command::allow(allowed);
}

/// What is wrong with a reference; and what to do, where it is only that its value is missing.
type Wrong = (String, Option<String>);

/// Replaces references in a text: `${kind:name}`, or `${kind:name:-default}` for what is not there or empty. `$${` stands for
/// `${`.
fn substitute(text: &str, look_up: impl Fn(&str, &str) -> Result<Option<String>, Wrong>) -> Result<String, Wrong> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, reference) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &reference[2..];
            continue;
        }
        out.push_str(before);
        let Some((inner, after)) = reference[2..].split_once('}') else {
            return Err(("`${` is not closed by `}`; write `$${` if it is meant as it stands".into(), None));
        };
        let (kind, name) = inner.split_once(':').unwrap_or((inner, ""));
        let (name, default) = name.split_once(":-").map_or((name, None), |(name, default)| (name, Some(default)));
        match (look_up(kind, name)?, default) {
            (None, Some(default)) => out.push_str(default),
            (Some(value), Some(default)) if value.is_empty() => out.push_str(default),
            (Some(value), _) => out.push_str(&value),
            (None, None) => {
                let hint = format!("set it, or give a default: `${{{kind}:{name}:-default}}`");
                return Err((format!("{kind} {name} is not there"), Some(hint)));
            }
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn look_up(kind: &str, name: &str, folder: &Path, missing: Missing) -> Result<Option<String>, Wrong> {
    match kind {
        "env" => match std::env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err((format!("env {name} is not text in UTF-8"), None)),
        },
        "file" => {
            let path = folder.join(name);
            match std::fs::metadata(&path) {
                Err(_) => return Ok(None),
                Ok(file) if file.len() > FILE_BYTES_MAX => {
                    return Err((format!("file {name} is larger than {FILE_BYTES_MAX} bytes"), None));
                }
                Ok(_) => {}
            }
            let text =
                std::fs::read_to_string(&path).map_err(|e| (format!("file {name} cannot be read: {e}"), None))?;
            if text.contains(SOPS_VALUE) {
                return Err((format!("file {name} is encrypted with `{SOPS}`, which is not supported"), None));
            }
            Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()))
        }
        "cmd" if missing == Missing::StandIn => Ok(Some(STAND_IN.to_owned())),
        "cmd" => command::said(name, folder).map(Some),
        _ => {
            let known = "there are `${env:NAME}`, `${file:PATH}` and `${cmd:COMMAND}`";
            Err((format!("`${{{kind}:}}` is not known; {known}"), None))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encrypted_configurations_leave_their_task_out() {
        let config = serde_json::json!({ "user": "u", "password_sops": "ENC[x]", "sops": { "version": "3" } });
        let url: url::Url = "file:///catalog.yaml".parse().unwrap();
        let place = catalog::Tree::from_yaml(&mut catalog::Sources::default(), url.clone(), "{}").unwrap().place();
        let endpoint = Endpoint { connector: "materialize-postgres".into(), image: None, config, base: url, place };
        for missing in [Missing::StandIn, Missing::Refuse] {
            let errors = resolve(&endpoint, missing).unwrap_err();
            assert!(matches!(errors[..], [ConfigError { at: ConfigAt::Connector, .. }]), "{errors:?}");
        }
    }

    #[test]
    fn files_are_read_without_their_last_newline_and_never_encrypted() {
        let folder = tempfile::tempdir().unwrap();
        let said = |text: &[u8]| {
            std::fs::write(folder.path().join("secret"), text).unwrap();
            look_up("file", "secret", folder.path(), Missing::Refuse).map_err(|(message, _)| message)
        };
        assert_eq!(said(b"hunter2\r\n"), Ok(Some("hunter2".to_owned())));
        assert_eq!(look_up("file", "none", folder.path(), Missing::Refuse), Ok(None));
        let encrypted = said(b"{\"password\": \"ENC[AES256_GCM,data:xyz,type:str]\", \"sops\": {}}");
        assert_eq!(encrypted, Err("file secret is encrypted with `sops`, which is not supported".to_owned()));
        let binary = said(b"\xff").unwrap_err();
        assert!(binary.starts_with("file secret cannot be read"), "{binary}");
        assert_eq!(said(&vec![b'a'; 65537]), Err("file secret is larger than 65536 bytes".to_owned()));
    }

    #[test]
    fn references_are_replaced_within_texts() {
        let look_up = |kind: &str, name: &str| match (kind, name) {
            ("env", "USER") => Ok(Some("ann".to_owned())),
            ("env", "EMPTY") => Ok(Some(String::new())),
            ("env", "ODD") => Ok(Some("${env:USER}".to_owned())),
            ("env", _) => Ok(None),
            _ => Err(("no such kind".to_owned(), None)),
        };
        for (text, expected) in [
            ("plain", Ok("plain")),
            ("${env:USER}", Ok("ann")),
            ("<${env:USER}>${env:USER}", Ok("<ann>ann")),
            ("$${env:USER}", Ok("${env:USER}")),
            ("${env:ODD}", Ok("${env:USER}")),
            ("${env:NONE:-bea}", Ok("bea")),
            ("${env:NONE:-}", Ok("")),
            ("${env:NONE:-a:-b}", Ok("a:-b")),
            ("${env:NONE:-${env:USER}}", Ok("${env:USER}")),
            ("${env:USER:-bea}", Ok("ann")),
            ("${env:EMPTY:-bea}", Ok("bea")),
            ("<${env:EMPTY}>", Ok("<>")),
            ("${odd:NONE:-bea}", Err("no such kind")),
            ("${env:NONE}", Err("env NONE is not there")),
            ("${env:USER", Err("`${` is not closed by `}`; write `$${` if it is meant as it stands")),
            ("${cmd:ls}", Err("no such kind")),
            ("$5 {a}", Ok("$5 {a}")),
        ] {
            let found = substitute(text, look_up);
            assert_eq!(found.as_deref().map_err(|(message, _)| message.as_str()), expected, "{text}");
        }
    }
}
