//! The only door from a build to files.

use std::io::Read;
use std::path::{Path, PathBuf};

use url::Url;

/// The largest file a catalog may refer to.
pub const FILE_BYTES_MAX: u64 = 8 << 20;

/// Reads what a catalog refers to. A build asks for each URL at most once, never with a fragment.
pub trait Fetch {
    /// The text at this URL.
    fn fetch(&self, url: &Url) -> Result<String, FetchError>;
}

/// Why a text could not be had.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum FetchError {
    /// Nothing is there.
    #[error("there is no such file")]
    Missing,
    /// It is not of a kind that this `Fetch` reads.
    #[error("`{0}:` URLs are not read; a catalog consists of files on this machine")]
    Scheme(String),
    /// It is larger than [`FILE_BYTES_MAX`].
    #[error("the file is larger than {} MiB", FILE_BYTES_MAX >> 20)]
    Large,
    /// It is not UTF-8.
    #[error("the file is not UTF-8 text")]
    Encoding,
    /// Reading failed.
    #[error("the file cannot be read: {0}")]
    Io(String),
}

/// Reads `file://` URLs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Files;

impl Fetch for Files {
    fn fetch(&self, url: &Url) -> Result<String, FetchError> {
        if url.scheme() != "file" {
            return Err(FetchError::Scheme(url.scheme().to_owned()));
        }
        let io = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => FetchError::Missing,
            _ => FetchError::Io(error.to_string()),
        };
        let path = url.to_file_path().map_err(|()| FetchError::Missing)?;
        // Opening a pipe would wait for its writer, so the kind is asked first.
        if !path.metadata().map_err(io)?.is_file() {
            return Err(FetchError::Io("it is not a regular file".to_owned()));
        }
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(io)?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(FetchError::Large);
        }
        String::from_utf8(bytes).map_err(|_| FetchError::Encoding)
    }
}

/// A catalog argument that names no file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is neither a path nor a URL of a catalog")]
pub struct RootError(String);

/// The URL of a catalog given as a path, relative to `cwd` (an absolute path), or as a URL.
pub fn root_url(path: &str, cwd: &Path) -> Result<Url, RootError> {
    let refuse = || RootError(path.to_owned());
    if path.is_empty() || path.ends_with('/') {
        return Err(refuse());
    }
    match Url::parse(path) {
        Ok(url) if path.contains("://") => {
            if url.fragment().is_some() {
                return Err(refuse());
            }
            Ok(url)
        }
        _ => {
            let mut whole = PathBuf::new();
            for component in cwd.join(path).components() {
                match component {
                    std::path::Component::CurDir => {}
                    std::path::Component::ParentDir => {
                        whole.pop();
                    }
                    other => whole.push(other),
                }
            }
            Url::from_file_path(whole).map_err(|()| refuse())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots() {
        let cwd = Path::new("/w/x");
        let url = |path| root_url(path, cwd).map(String::from);
        assert_eq!(url("flow.yaml"), Ok("file:///w/x/flow.yaml".to_owned()));
        assert_eq!(url("./a b/../flow.yaml"), Ok("file:///w/x/flow.yaml".to_owned()));
        assert_eq!(url("../flow.yaml"), Ok("file:///w/flow.yaml".to_owned()));
        assert_eq!(url("/c#1/flow.yaml"), Ok("file:///c%231/flow.yaml".to_owned()));
        assert_eq!(url("https://h/flow.yaml"), Ok("https://h/flow.yaml".to_owned()));
        assert!(url("").is_err());
        assert!(url("dir/").is_err());
        assert!(url("https://h/flow.yaml#/x").is_err());
    }

    #[test]
    fn reads_bounded_utf8_files() {
        let dir = tempfile::tempdir().unwrap();
        let fetch = |name: &str, bytes: Option<&[u8]>| {
            let path = dir.path().join(name);
            if let Some(bytes) = bytes {
                std::fs::write(&path, bytes).unwrap();
            }
            Files.fetch(&Url::from_file_path(path).unwrap())
        };
        assert_eq!(fetch("good", Some(b"x: 1")), Ok("x: 1".to_owned()));
        assert_eq!(fetch("none", None), Err(FetchError::Missing));
        assert_eq!(fetch("latin", Some(b"\xe9")), Err(FetchError::Encoding));
        assert_eq!(fetch("large", Some(&vec![b' '; (8 << 20) + 1])), Err(FetchError::Large));
        assert!(matches!(Files.fetch(&Url::from_directory_path(dir.path()).unwrap()), Err(FetchError::Io(_))));
        let url = Url::parse("https://example.com/x").unwrap();
        assert_eq!(Files.fetch(&url), Err(FetchError::Scheme("https".to_owned())));
    }
}
