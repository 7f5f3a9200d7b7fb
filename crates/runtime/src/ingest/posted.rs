//! What is posted, and the documents in it.
//!
//! A request's text becomes documents of one or of several collections, each with a name for messages: its number, or its
//! line. Nothing is validated here but the form.

use std::sync::Arc;

use catalog::{Catalog, Collection};
use doc::{Arena, Node};
use serde_json::value::RawValue;

use super::IngestError;
use crate::rows::{Fields, ends_in_quotes};

/// Documents as somebody posts them: all of them are kept, or none.
#[derive(Debug)]
pub struct Posted {
    /// The text, in UTF-8.
    pub text: Vec<u8>,
    /// Where they go, and how the text is to be read.
    pub to: To,
    /// The collections that the sender may write to; all of them where there is no list.
    pub scope: Option<Arc<[String]>>,
    /// Names the request: one of the same name that was taken before is not taken again.
    pub key: Option<String>,
}

/// Where documents go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// The text is a JSON object of collections, each with an array of documents.
    Named,
    /// All of it goes to one collection.
    Collection(String, Format),
}

/// How a text holds documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON document, or an array of them.
    Json,
    /// A JSON document a line.
    Lines,
    /// JSON documents one after another, with white space between them or without.
    Sequence,
    /// Rows of columns with this separator, as in CSV; the first one names fields of the collection.
    Rows(u8),
}

/// The documents for one collection.
pub(super) struct Documents<'a> {
    pub collection: String,
    pub documents: Vec<Node<'a>>,
    /// What the n-th document is called.
    names: Names,
}

enum Names {
    /// Documents are counted.
    Counted,
    /// The line of each document, from one.
    Lines(Vec<u64>),
}

impl Documents<'_> {
    /// What to call the n-th document in a message: `document 2 of 3`, `line 7`.
    pub(super) fn name(&self, n: usize) -> String {
        match &self.names {
            Names::Counted => format!("document {} of {}", n + 1, self.documents.len()),
            Names::Lines(lines) => format!("line {}", lines.get(n).copied().unwrap_or_default()),
        }
    }
}

/// Reads the documents of a request.
pub(super) fn read<'a>(
    arena: &'a Arena,
    catalog: &Catalog,
    posted: &'a Posted,
) -> Result<Vec<Documents<'a>>, IngestError> {
    match &posted.to {
        To::Named => {
            let parsed = doc::parse(arena, &posted.text)
                .map_err(|e| IngestError::Malformed(format!("the body is not valid JSON: {e}")))?;
            let Node::Object(collections) = parsed else {
                return Err(IngestError::Malformed(format!(
                    "the body must be an object of collection names, each with an array of documents, not of type {}",
                    parsed.type_name()
                )));
            };
            let named = |field: &doc::Field<'a>| {
                let collection = find(catalog, posted, field.name)?;
                let Node::Array(documents) = field.value else {
                    return Err(IngestError::Malformed(format!(
                        "ingestion of collection {:?}: expected an array of documents, not a value of type {}",
                        field.name,
                        field.value.type_name()
                    )));
                };
                let collection = collection.name.clone();
                Ok(Documents { collection, documents: documents.to_vec(), names: Names::Counted })
            };
            collections.iter().map(named).collect()
        }
        To::Collection(name, format) => {
            let collection = find(catalog, posted, name)?;
            let malformed =
                |why: String| IngestError::Malformed(format!("ingestion of collection {:?}: {why}", collection.name));
            let (documents, names) = match format {
                Format::Json => (json(arena, &posted.text).map_err(malformed)?, Names::Counted),
                Format::Sequence => (sequence(arena, &posted.text).map_err(malformed)?, Names::Counted),
                Format::Lines => lines(arena, &posted.text).map_err(malformed)?,
                Format::Rows(separator) => rows(arena, collection, *separator, &posted.text).map_err(malformed)?,
            };
            Ok(vec![Documents { collection: collection.name.clone(), documents, names }])
        }
    }
}

/// The collection of a name, if documents may be sent to it, and by this sender.
fn find<'c>(catalog: &'c Catalog, posted: &Posted, name: &str) -> Result<&'c Collection, IngestError> {
    let not = |why: &str| IngestError::Unknown(format!("{name:?} is not an ingestable collection: {why}"));
    let collection = catalog.collection(name).ok_or_else(|| not("the catalog has no collection of this name"))?;
    if collection.derivation.is_some() {
        return Err(not("it is derived from others"));
    }
    let allowed = posted.scope.as_ref().is_none_or(|scope| scope.iter().any(|allowed| allowed == name));
    match allowed {
        true => Ok(collection),
        false => Err(IngestError::Forbidden(format!("this token may not write to {name:?}"))),
    }
}

fn json<'a>(arena: &'a Arena, text: &'a [u8]) -> Result<Vec<Node<'a>>, String> {
    match doc::parse(arena, text).map_err(|e| format!("the body is not valid JSON: {e}"))? {
        Node::Array(documents) => Ok(documents.to_vec()),
        document => Ok(vec![document]),
    }
}

fn sequence<'a>(arena: &'a Arena, text: &'a [u8]) -> Result<Vec<Node<'a>>, String> {
    let values = serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>();
    let parse = |value: Result<&'a RawValue, serde_json::Error>| {
        let value = value.map_err(|e| e.to_string())?;
        doc::parse(arena, value.get().as_bytes()).map_err(|e| e.to_string())
    };
    values.map(parse).collect::<Result<_, String>>().map_err(|e| format!("the text is not valid JSON: {e}"))
}

fn lines<'a>(arena: &'a Arena, text: &'a [u8]) -> Result<(Vec<Node<'a>>, Names), String> {
    let (mut documents, mut numbers) = (Vec::new(), Vec::new());
    let mut begin = 0;
    let ends = memchr::memchr_iter(b'\n', text).chain([text.len()]);
    for (number, end) in (1..).zip(ends) {
        let line = text[begin..end].trim_ascii();
        begin = end + 1;
        if line.is_empty() {
            continue;
        }
        documents.push(doc::parse(arena, line).map_err(|e| format!("line {number} is not valid JSON: {e}"))?);
        numbers.push(number);
    }
    Ok((documents, Names::Lines(numbers)))
}

fn rows<'a>(
    arena: &'a Arena,
    collection: &Collection,
    separator: u8,
    text: &[u8],
) -> Result<(Vec<Node<'a>>, Names), String> {
    let mut reader = csv::ReaderBuilder::new().delimiter(separator).flexible(true).from_reader(text);
    let header = reader.headers().map_err(|e| format!("the header cannot be read: {e}"))?;
    let header = Fields::of(collection).header(header.iter())?;
    let (mut documents, mut numbers) = (Vec::new(), Vec::new());
    let mut record = csv::StringRecord::new();
    let mut last = (0, 1);
    while reader.read_record(&mut record).map_err(|e| format!("a row cannot be read: {e}"))? {
        let line = record.position().map_or(0, csv::Position::line);
        last = (record.position().map_or(0, csv::Position::byte) as usize, line);
        let row: Vec<&str> = record.iter().collect();
        documents.push(header.document(arena, &row).map_err(|e| format!("line {line}: {e}"))?);
        numbers.push(line);
    }
    let (begin, line) = last;
    if ends_in_quotes(&text[begin..], separator) {
        return Err(format!("line {line}: a quote is not closed"));
    }
    Ok((documents, Names::Lines(numbers)))
}
