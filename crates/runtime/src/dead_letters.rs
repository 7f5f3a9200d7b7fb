//! Documents that could not be used and are set aside, each with the reason, instead of being dropped or stopping their task.
//!
//! They are appended to a journal of the task's own by the very delta that moves the task on, so that none is lost and none is
//! there twice.

use doc::Node;
use journal::Append;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::status::Counters;
use crate::uuid::Stamper;

/// Where dead letters are among collections: `dead-letters/<task>`, which reads as any. No collection may have such a name.
pub const DEAD_LETTERS: &str = "dead-letters";

/// The dead letters of one task's open transaction.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    task: String,
    lines: Vec<u8>,
    documents: u64,
}

/// Something set aside.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Letter<'a> {
    #[serde(rename = "_meta")]
    pub meta: Meta,
    /// The collection it was for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection: Option<&'a str>,
    /// Where it came from, such as `events.ndjson:17`, or where it was to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<&'a str>,
    /// What is wrong with it.
    pub reason: &'a str,
    /// The document, or all documents of a request, as they came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<Box<RawValue>>,
    /// The text, where it is no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Meta {
    uuid: String,
}

impl DeadLetters {
    /// Of a task of this name.
    pub(crate) fn new(task: &str) -> Self {
        Self { task: task.to_owned(), lines: Vec::new(), documents: 0 }
    }

    /// Adds one, and gives it its identity.
    pub(crate) fn add(&mut self, mut letter: Letter<'_>, stamper: &mut Stamper, now_us: u64) {
        letter.meta.uuid = String::from_utf8(stamper.next(now_us).to_vec()).expect("hexadecimal digits and dashes");
        serde_json::to_writer(&mut self.lines, &letter).expect("memory can be written to, and names are strings");
        self.lines.push(b'\n');
        self.documents += 1;
    }

    /// What is to be committed with the transaction, if anything; counts it and says where it is.
    pub(crate) fn take(&mut self, counters: &Counters) -> Option<Append> {
        if self.lines.is_empty() {
            return None;
        }
        let note = format!(
            "documents that cannot be used are set aside, each with the reason; `segtide read {DEAD_LETTERS}/{}` shows them",
            self.task
        );
        counters.set_aside(std::mem::take(&mut self.documents));
        counters.note(note);
        Some(Append {
            journal: format!("{DEAD_LETTERS}/{}/pivot=00", self.task),
            documents: std::mem::take(&mut self.lines),
        })
    }
}

/// A document as JSON on one line.
pub(crate) fn document(node: Node<'_>) -> Option<Box<RawValue>> {
    RawValue::from_string(node.to_json()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_a_line_that_can_be_read_back() {
        let counters = Counters::default();
        let (mut letters, mut stamper) = (DeadLetters::new("acme/files"), Stamper::new(1));
        assert!(letters.take(&counters).is_none());
        let letter = || Letter { collection: Some("acme/events"), place: Some("a.ndjson:7"), ..Letter::default() };
        let arena = doc::Arena::new();
        let node = doc::parse(&arena, br#"{"a": "\u0000\n", "n": 18446744073709551615}"#).unwrap();
        letters.add(Letter { reason: "one\ntwo", document: document(node), ..letter() }, &mut stamper, 5);
        letters.add(Letter { reason: "no JSON", text: Some("{\"a\":\u{0}".into()), ..letter() }, &mut stamper, 5);
        let append = letters.take(&counters).unwrap();
        assert_eq!(append.journal, "dead-letters/acme/files/pivot=00");
        let lines: Vec<serde_json::Value> = append
            .documents
            .strip_suffix(b"\n")
            .unwrap()
            .split(|byte| *byte == b'\n')
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["document"]["n"], serde_json::json!(u64::MAX), "with every digit");
        assert_eq!((&lines[0]["place"], &lines[0]["reason"]), (&"a.ndjson:7".into(), &"one\ntwo".into()));
        assert_eq!(lines[1]["text"], "{\"a\":\u{0}");
        assert_ne!(lines[0]["_meta"]["uuid"], lines[1]["_meta"]["uuid"]);
        assert_eq!(counters.counts().set_aside, 2);
        assert_eq!(counters.notes().len(), 1);
        assert!(letters.take(&counters).is_none());
    }
}
