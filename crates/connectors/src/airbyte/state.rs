//! Where a connector goes on: what its state messages add up to.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Largest state of all streams together.
const STATE_BYTES_MAX: usize = 16 << 20;

/// The state after the messages so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum State {
    /// One value for everything.
    Legacy(Value),
    /// A message for each stream, as they came.
    Streams(Vec<Value>),
    /// One message for all streams.
    Global(Value),
}

/// What the capture's cursor is.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    version: u32,
    state: State,
}

const VERSION: u32 = 1;

impl State {
    /// The state that a cursor holds.
    pub(super) fn from_cursor(cursor: &[u8]) -> Result<Self, String> {
        let cursor: Cursor = serde_json::from_slice(cursor).map_err(|e| e.to_string())?;
        if cursor.version != VERSION {
            return Err(format!("its version {} is not known here", cursor.version));
        }
        Ok(cursor.state)
    }

    /// As a cursor; an error where it is too large to be kept.
    pub(super) fn to_cursor(&self) -> Result<Vec<u8>, String> {
        let cursor = Cursor { version: VERSION, state: self.clone() };
        let cursor = serde_json::to_vec(&cursor).map_err(|e| e.to_string())?;
        match cursor.len() <= STATE_BYTES_MAX {
            true => Ok(cursor),
            false => Err(format!("its state is larger than {} MiB", STATE_BYTES_MAX >> 20)),
        }
    }

    /// What the connector is given to go on.
    pub(super) fn to_file(&self) -> Value {
        match self {
            State::Legacy(data) => data.clone(),
            State::Streams(messages) => json!(messages),
            State::Global(message) => json!([message]),
        }
    }

    /// The state after another message.
    pub(super) fn and(former: Option<State>, message: Value) -> Result<State, String> {
        let kind = message.get("type").and_then(Value::as_str).unwrap_or("LEGACY").to_owned();
        match kind.as_str() {
            "LEGACY" => {
                let data = message.get("data").cloned().ok_or("a state message has no `data`")?;
                let merges = message.get("estuary.dev/merge").and_then(Value::as_bool) == Some(true);
                match (merges, former) {
                    (true, Some(State::Legacy(mut before))) => {
                        merge(&mut before, data);
                        Ok(State::Legacy(before))
                    }
                    (true, _) => {
                        let mut before = Value::Null;
                        merge(&mut before, data);
                        Ok(State::Legacy(before))
                    }
                    (false, _) => Ok(State::Legacy(data)),
                }
            }
            "STREAM" => {
                let name = |message: &Value| message.pointer("/stream/stream_descriptor").map(descriptor);
                let stream = name(&message).ok_or("a state message of type STREAM has no descriptor of its stream")?;
                let mut messages = match former {
                    Some(State::Streams(messages)) => messages,
                    _ => Vec::new(),
                };
                match messages.iter_mut().find(|known| name(known).as_ref() == Some(&stream)) {
                    Some(known) => *known = message,
                    None => messages.push(message),
                }
                Ok(State::Streams(messages))
            }
            "GLOBAL" => match message.get("global") {
                Some(_) => Ok(State::Global(message)),
                None => Err("a state message of type GLOBAL has no `global`".to_owned()),
            },
            other => Err(format!("a state message has the type {}, which is not known here", other.escape_debug())),
        }
    }
}

/// A stream's namespace and name; a namespace of null is none.
fn descriptor(value: &Value) -> (Option<String>, Option<String>) {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    (text("namespace"), text("name"))
}

/// Patches a value as RFC 7396 says.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(fields) = target.as_object_mut() else { return };
    for (name, value) in patch {
        match value.is_null() {
            true => {
                fields.remove(&name);
            }
            false => merge(fields.entry(name).or_insert(Value::Null), value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(messages: &[Value]) -> Result<Value, String> {
        let mut state = None;
        for message in messages {
            let next = State::and(state, message.clone())?;
            assert_eq!(State::from_cursor(&next.to_cursor()?)?, next);
            state = Some(next);
        }
        Ok(state.map_or(Value::Null, |state| state.to_file()))
    }

    #[test]
    fn messages_add_up() {
        let stream = |namespace: Value, name: &str, n: u64| {
            let descriptor = json!({"name": name, "namespace": namespace});
            json!({"type": "STREAM", "stream": {"stream_descriptor": descriptor, "stream_state": {"n": n}}})
        };
        let global = |n: u64| json!({"type": "GLOBAL", "global": {"shared_state": {"n": n}, "stream_states": []}});
        let patch = |data: Value| json!({"data": data, "estuary.dev/merge": true});
        let mut bare = stream(Value::Null, "a", 3);
        bare["stream"]["stream_descriptor"] = json!({"name": "a"});
        for (messages, expected) in [
            (vec![json!({"data": {"n": 1}}), json!({"type": "LEGACY", "data": [2]})], json!([2])),
            (
                vec![
                    json!({"data": {"a": {"x": 1, "y": 2}, "b": 1}}),
                    patch(json!({"a": {"x": null, "z": {"q": null}}})),
                ],
                json!({"a": {"y": 2, "z": {}}, "b": 1}),
            ),
            (vec![patch(json!({"a": null, "b": 1}))], json!({"b": 1})),
            (vec![patch(json!({"b": 1})), patch(json!(7))], json!(7)),
            (
                vec![stream(Value::Null, "a", 1), stream(json!("x"), "a", 2), bare.clone()],
                json!([bare, stream(json!("x"), "a", 2)]),
            ),
            (vec![json!({"data": 1}), stream(Value::Null, "a", 1)], json!([stream(Value::Null, "a", 1)])),
            (vec![global(1), global(2)], json!([global(2)])),
        ] {
            assert_eq!(after(&messages), Ok(expected), "{messages:?}");
        }
        for message in
            [json!({}), json!({"type": "STREAM"}), json!({"type": "GLOBAL"}), json!({"type": "MORE", "data": 1})]
        {
            assert!(after(std::slice::from_ref(&message)).is_err(), "{message}");
        }
        assert!(State::from_cursor(br#"{"version":2,"state":{"legacy":1}}"#).is_err());
        assert!(State::Legacy(json!("x".repeat(STATE_BYTES_MAX))).to_cursor().is_err());
    }
}
