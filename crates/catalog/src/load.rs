//! The files of a catalog: each is fetched once and parsed once, whoever asks first.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use url::Url;

use crate::diagnostic::Report;
use crate::tree;
use crate::{Fetch, FetchError, Place, SourceId, Sources, Tree};

/// How many files a catalog may consist of.
const FILES_MAX: usize = 10_000;
/// How large its files may be together.
const CATALOG_BYTES_MAX: usize = 256 << 20;

/// Everything fetched so far. It fetches through a shared reference, as schemas are looked up while one compiles.
pub(crate) struct Library<'f> {
    fetch: &'f dyn Fetch,
    shelves: RefCell<Shelves>,
}

#[derive(Default)]
struct Shelves {
    sources: Sources,
    files: HashMap<Url, Result<SourceId, FetchError>>,
    documents: HashMap<Url, Option<Document>>,
    report: Report,
    bytes: usize,
}

impl Shelves {
    fn add(
        &mut self,
        url: Url,
        fetch: impl FnOnce(&Url) -> Result<String, FetchError>,
    ) -> Result<SourceId, FetchError> {
        let fetched = if self.files.len() < FILES_MAX {
            fetch(&url)
        } else {
            Err(FetchError::Io(format!("the catalog has more than {FILES_MAX} files")))
        };
        let result = fetched.and_then(|text| {
            self.bytes += text.len();
            if self.bytes > CATALOG_BYTES_MAX {
                let large = format!("the files of the catalog are larger than {} MiB", CATALOG_BYTES_MAX >> 20);
                return Err(FetchError::Io(large));
            }
            Ok(self.sources.add(url.clone(), text.into()))
        });
        self.files.insert(url, result.clone());
        result
    }
}

/// A parsed file, or a schema written inside a catalog file.
#[derive(Clone)]
pub(crate) struct Document {
    pub(crate) tree: Arc<Tree>,
    pub(crate) value: Arc<Value>,
}

/// Why there is no document.
pub(crate) enum Unread {
    /// It could not be fetched; whoever refers to it should say so.
    Fetch(FetchError),
    /// It is broken, and that has been reported.
    Broken,
}

impl<'f> Library<'f> {
    pub(crate) fn new(fetch: &'f dyn Fetch) -> Library<'f> {
        Library { fetch, shelves: RefCell::default() }
    }

    /// The file at a URL, whose fragment does not matter.
    pub(crate) fn file(&self, url: &Url) -> Result<SourceId, FetchError> {
        let mut url = url.clone();
        url.set_fragment(None);
        let mut shelves = self.shelves.borrow_mut();
        if let Some(known) = shelves.files.get(&url) {
            return known.clone();
        }
        shelves.add(url, |url| self.fetch.fetch(url))
    }

    /// Makes a text that a catalog holds stand for the file at a URL, unless that has been asked for.
    pub(crate) fn inlined(&self, url: &Url, text: String) {
        let mut shelves = self.shelves.borrow_mut();
        if !shelves.files.contains_key(url) {
            // Whoever refers to it is told if it is too much.
            let _ = shelves.add(url.clone(), |_| Ok(text));
        }
    }

    /// A text that could not be read, so that messages can name it.
    pub(crate) fn missing(&self, url: &Url) -> SourceId {
        self.shelves.borrow_mut().sources.add(url.clone(), "".into())
    }

    /// The text of a file.
    pub(crate) fn text(&self, id: SourceId) -> Arc<str> {
        self.shelves.borrow().sources.get(id).text.clone()
    }

    /// The parsed document at a URL, whose fragment does not matter.
    pub(crate) fn document(&self, url: &Url) -> Result<Document, Unread> {
        let mut url = url.clone();
        url.set_fragment(None);
        if let Some(known) = self.shelves.borrow().documents.get(&url) {
            return known.clone().ok_or(Unread::Broken);
        }
        let source = self.file(&url).map_err(Unread::Fetch)?;
        let text = self.text(source);
        let mut report = Report::default();
        let document = tree::parse(source, &text, &mut report).map(Document::new);
        let mut shelves = self.shelves.borrow_mut();
        shelves.report.append(&mut report);
        shelves.documents.insert(url, document.clone());
        document.ok_or(Unread::Broken)
    }

    /// The documents that could be parsed so far, in the order of their URLs.
    pub(crate) fn documents(&self) -> Vec<(Url, Document)> {
        let shelves = self.shelves.borrow();
        let parsed = shelves.documents.iter().filter_map(|(url, document)| Some((url.clone(), document.clone()?)));
        let mut documents: Vec<_> = parsed.collect();
        documents.sort_by(|a, b| a.0.cmp(&b.0));
        documents
    }

    /// Makes a schema written inside a file a document of its own: the file's URL with `?ptr=`. Relative references in it
    /// resolve against the file's directory, and `#` is the schema itself.
    pub(crate) fn inline(&self, file: &Url, pointer: &str, tree: &Tree) -> Url {
        let mut url = file.clone();
        url.set_fragment(None);
        url.set_query(Some(&format!("ptr={pointer}")));
        self.shelves.borrow_mut().documents.insert(url.clone(), Some(Document::new(tree.clone())));
        url
    }

    /// The place of a JSON pointer in the document at a URL, if it has been read.
    pub(crate) fn place(&self, url: &Url, pointer: &str) -> Option<Place> {
        let mut url = url.clone();
        url.set_fragment(None);
        let shelves = self.shelves.borrow();
        shelves.documents.get(&url)?.as_ref().map(|document| document.tree.place_at(pointer))
    }

    /// A URL as messages show it.
    pub(crate) fn display(&self, url: &Url) -> String {
        self.shelves.borrow().sources.display(url)
    }

    /// The texts, and what was wrong with them.
    pub(crate) fn close(self) -> (Sources, Report) {
        let shelves = self.shelves.into_inner();
        (shelves.sources, shelves.report)
    }
}

impl Document {
    fn new(tree: Tree) -> Document {
        let value = Arc::new(tree.to_value());
        Document { tree: Arc::new(tree), value }
    }
}

/// Reports that what `place` refers to could not be read. Names the file.
pub(crate) fn unreadable(library: &Library, report: &mut Report, place: Place, url: &Url, error: &FetchError) {
    let slug = match error {
        FetchError::Missing => "file-missing",
        _ => "file-unreadable",
    };
    let mut url = url.clone();
    url.set_fragment(None);
    report.error(slug, place, format!("cannot read {}: {error}", library.display(&url)));
}
