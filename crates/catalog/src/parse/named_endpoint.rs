//! Captures and materializations as they were before they had bindings: each is of one collection, and names one of the
//! catalog's `endpoints`. Those of one endpoint become the bindings of one task.

use super::endpoint::{RawBinding, RawCaptureBinding, binding_source, fields};
use super::{Object, Reader, Word};
use crate::{Kind, Member, Place, Tree};

/// One collection of a named endpoint.
pub(crate) struct NamedUse<B> {
    /// The task's name, if it has one.
    pub(crate) name: Option<Word>,
    /// The endpoint's.
    pub(crate) endpoint: Word,
    pub(crate) binding: B,
}

/// What is written in this spelling, each with its name where it is a member of a map; and a tree of the rest.
pub(super) fn split(tree: &Tree) -> (Vec<(Option<Word>, &Tree)>, Tree) {
    let is_named = |tree: &Tree| {
        tree.get("bindings").is_none() && tree.get("endpoint").is_some_and(|endpoint| endpoint.get("name").is_some())
    };
    let mut named = Vec::new();
    let kind = match &tree.kind {
        Kind::Array(items) => {
            named.extend(items.iter().filter(|item| is_named(item)).map(|item| (None, item)));
            Kind::Array(items.iter().filter(|item| !is_named(item)).cloned().collect())
        }
        Kind::Object(members) => {
            let of = |member: &&Member| is_named(&member.value);
            named.extend(members.iter().filter(of).map(|member| (Some(member.name()), &member.value)));
            Kind::Object(members.iter().filter(|member| !of(member)).cloned().collect())
        }
        kind => kind.clone(),
    };
    (named, Tree { kind, place: tree.place })
}

pub(super) fn capture((name, tree): (Option<Word>, &Tree), reader: &mut Reader) -> Option<NamedUse<RawCaptureBinding>> {
    let object = reader.object(tree, "a capture of a named endpoint")?;
    let endpoint = endpoint(object, reader);
    let target = object.require("target", reader).and_then(|tree| reader.source(tree, "a source").name);
    let (endpoint, resource) = endpoint?;
    let binding = RawCaptureBinding { place: tree.place, resource, target: target? };
    Some(NamedUse { name: name.or(own_name(object, reader)), endpoint, binding })
}

pub(super) fn materialization(
    (name, tree): (Option<Word>, &Tree),
    reader: &mut Reader,
) -> Option<NamedUse<RawBinding>> {
    let object = reader.object(tree, "a materialization of a named endpoint")?;
    let endpoint = endpoint(object, reader);
    let (source, selector) = binding_source(object, reader);
    let fields = fields(object.get("fields"), reader);
    let (endpoint, resource) = endpoint?;
    let binding = RawBinding { place: tree.place, resource, source: source?, selector, fields };
    Some(NamedUse { name: name.or(own_name(object, reader)), endpoint, binding })
}

fn own_name(object: Object, reader: &mut Reader) -> Option<Word> {
    object.get("name").and_then(|tree| reader.word(tree, "`name`"))
}

/// The endpoint's name, and what of it is used.
fn endpoint(object: Object, reader: &mut Reader) -> Option<(Word, Tree)> {
    let tree = object.require("endpoint", reader)?;
    let object = reader.object(tree, "a named endpoint")?;
    let name = object.require("name", reader).and_then(|tree| reader.word(tree, "`name`"))?;
    let place = Place { end: tree.place.start, ..tree.place };
    let config = object.get("config").cloned().unwrap_or(Tree { kind: Kind::Object(Vec::new()), place });
    if config.as_object().is_none() {
        reader.wrong(&config, "a configuration", "an object");
        return None;
    }
    Some((name, config))
}
