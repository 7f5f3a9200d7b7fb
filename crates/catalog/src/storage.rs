//! How collections are kept, as a catalog says: the fragments of one, and the buckets of those whose names begin alike.

/// How the documents of a collection are kept in files. What is `None` is left to the program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fragments {
    /// Bytes of documents in a file, about.
    pub length_bytes: Option<u64>,
    /// How files are packed.
    pub codec: Codec,
    /// How long files are kept, in seconds; for ever without.
    pub retention_seconds: Option<u64>,
    /// Files end where so many seconds of UTC do, and so many after that.
    pub flush_interval_seconds: Option<u64>,
}

/// How files are packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Codec {
    /// gzip.
    #[default]
    Gzip,
    /// Not at all.
    None,
    /// Zstandard.
    Zstandard,
}

/// Where collections are kept whose names begin so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageMapping {
    /// Empty, or ends with a slash.
    pub prefix: String,
    /// `s3://bucket/prefix/`, `gs://bucket/prefix/` or `az://container/prefix/`.
    pub url: String,
}
