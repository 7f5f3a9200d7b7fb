//! Reading catalog tests.

use super::definitions::fields_of;
use super::endpoint::read_file;
use super::{RawSelector, RawSource, Reader, Spanned, Word, quoted};
use crate::{Kind, Member, Place, StepKind, Tree};

/// A test as written.
pub(crate) struct RawTest {
    pub(crate) name: Word,
    pub(crate) steps: Vec<RawStep>,
}

pub(crate) struct RawStep {
    pub(crate) place: Place,
    pub(crate) kind: StepKind,
    pub(crate) collection: Word,
    pub(crate) documents: Vec<Tree>,
    pub(crate) selector: RawSelector,
    pub(crate) description: Option<String>,
}

pub(super) fn read(member: &Member, reader: &mut Reader) -> RawTest {
    let mut raw = RawTest { name: member.name(), steps: Vec::new() };
    let steps = match &member.value.kind {
        Kind::Object(_) => {
            let object = reader.object(&member.value, "a test");
            object.and_then(|object| object.require("steps", reader))
        }
        _ => Some(&member.value),
    };
    let Some(steps) = steps else { return raw };
    let list = reader.list(steps, "a test");
    if list.is_empty() && steps.as_array().is_some() {
        let message = format!("test `{}` has no steps", member.key);
        reader.report.error("test-empty", member.key_place, message).hint("add an `ingest` and a `verify`");
    }
    raw.steps = list.iter().filter_map(|tree| step(tree, reader)).collect();
    raw
}

fn step(tree: &Tree, reader: &mut Reader) -> Option<RawStep> {
    let member = match reader.object(tree, "a test step")?.members {
        [one] => one,
        _ => {
            let message = format!("a test step is one of {}", quoted(fields_of("a test step")));
            reader.report.error("step-count", tree.place, message).hint("begin each step with `- `");
            return None;
        }
    };
    let (kind, what) = match member.key.as_str() {
        "ingest" => (StepKind::Ingest, "an `ingest` step"),
        "verify" => (StepKind::Verify, "a `verify` step"),
        _ => return None,
    };
    let object = reader.object(&member.value, what)?;
    let collection = object.require("collection", reader).map(|tree| match kind {
        StepKind::Verify => reader.source_beside(tree, "a source", object.get("partitions")),
        StepKind::Ingest => RawSource { name: reader.word(tree, "`collection`"), ..RawSource::default() },
    });
    let RawSource { name, selector, .. } = collection.unwrap_or_default();
    let documents = object.require("documents", reader).and_then(|tree| documents(tree, reader));
    let description = object.get("description").and_then(|tree| reader.word(tree, "`description`"));
    Some(RawStep {
        place: member.key_place,
        kind,
        collection: name?,
        documents: documents?,
        selector,
        description: description.map(|word| word.value),
    })
}

/// Documents, listed here or in a file.
fn documents(tree: &Tree, reader: &mut Reader) -> Option<Vec<Tree>> {
    let file;
    let list = match &tree.kind {
        Kind::String(text) => {
            let url = reader.url(&Spanned { value: text.clone(), place: tree.place })?;
            file = read_file(&url, reader)?;
            &file
        }
        _ => tree,
    };
    let mut documents = Vec::new();
    for document in reader.list(list, "`documents`") {
        match &document.kind {
            Kind::Object(_) => documents.push(document.clone()),
            _ => reader.wrong(document, "a document", "an object"),
        }
    }
    Some(documents)
}
