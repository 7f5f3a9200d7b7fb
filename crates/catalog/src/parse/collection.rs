//! Reading a collection.

use url::Url;

use super::derivation::{self, RawDerivation};
use super::{Entity, Reader, Spanned, Word, below, storage};
use crate::{Fragments, Kind, Member, Place};

/// A collection as written.
pub(crate) struct RawCollection {
    pub(crate) name: Word,
    /// Absent where it was missing or broken, which has been reported.
    pub(crate) schema: Option<Spanned<Url>>,
    /// Where a catalog gives a schema for readers apart.
    pub(crate) read_schema: Option<Spanned<Url>>,
    pub(crate) key: Option<Spanned<Vec<Word>>>,
    pub(crate) projections: Vec<RawProjection>,
    pub(crate) derivation: Option<RawDerivation>,
    pub(crate) fragments: Fragments,
}

/// A projection as written.
pub(crate) struct RawProjection {
    pub(crate) field: Word,
    pub(crate) location: Word,
    /// Where it says that it partitions.
    pub(crate) partition: Option<Place>,
}

pub(super) fn read(entity: &Entity, reader: &mut Reader) -> RawCollection {
    let mut raw = RawCollection {
        name: entity.name.clone(),
        schema: None,
        read_schema: None,
        key: None,
        projections: Vec::new(),
        derivation: None,
        fragments: Fragments::default(),
    };
    let at = entity.at.clone();
    let Some(object) = reader.definition(entity, "a collection") else {
        return raw;
    };
    if object.get("readSchema").is_some() || object.get("writeSchema").is_some() {
        if object.get("schema").is_some() {
            let place = object.key_place("schema");
            let message = "a collection has either `schema`, or both `readSchema` and `writeSchema`";
            reader.report.error("schema-conflict", place, message);
        }
        let write = object.require("writeSchema", reader);
        raw.schema = write.and_then(|tree| reader.schema(tree, &below(&at, "writeSchema")));
        let read = object.require("readSchema", reader);
        raw.read_schema = read.and_then(|tree| reader.schema(tree, &below(&at, "readSchema")));
    } else {
        let schema = object.require("schema", reader);
        raw.schema = schema.and_then(|tree| reader.schema(tree, &below(&at, "schema")));
    }
    raw.key = object.require("key", reader).and_then(|tree| reader.key(tree, "`key`"));
    if let Some(tree) = object.get("projections") {
        let members = reader.map(tree, "`projections`");
        raw.projections = members.iter().filter_map(|member| projection(member, reader)).collect();
    }
    if let Some(tree) = object.get("journals") {
        raw.fragments = storage::journals(tree, reader);
    }
    raw.derivation = match (object.get("derivation"), object.get("derive")) {
        (Some(tree), None) => derivation::register_style(tree, &below(&at, "derivation"), reader),
        (None, Some(tree)) => derivation::derive_style(tree, reader),
        (Some(_), Some(_)) => {
            let place = object.key_place("derive");
            reader.report.error("derivation-conflict", place, "a collection has either `derivation` or `derive`");
            None
        }
        (None, None) => None,
    };
    raw
}

fn projection(member: &Member, reader: &mut Reader) -> Option<RawProjection> {
    let field = member.name();
    let Kind::Object(_) = &member.value.kind else {
        let location = reader.word(&member.value, "a projection")?;
        return Some(RawProjection { field, location, partition: None });
    };
    let object = reader.object(&member.value, "a projection")?;
    let location = object.require("location", reader)?;
    let location = reader.word(location, "`location`")?;
    let partition = object.get("partition").filter(|tree| reader.boolean(tree, "`partition`") == Some(true));
    Some(RawProjection { field, location, partition: partition.map(|_| object.key_place("partition")) })
}
