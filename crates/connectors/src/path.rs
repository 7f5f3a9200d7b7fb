//! Paths in configurations, which are relative to the catalog file they stand in.

use std::path::{Path, PathBuf};

use url::Url;

/// The file a configuration means; says what is wrong with it otherwise. `base` is the catalog file.
pub(crate) fn local_path(base: &Url, path: &str) -> Result<PathBuf, String> {
    if path.is_empty() || path.contains('\0') {
        return Err("this is no path".to_owned());
    }
    if path.starts_with("file:") {
        let url = Url::parse(path).map_err(|reason| format!("this is no URL: {reason}"))?;
        return url.to_file_path().map_err(|()| "this URL names no file of this machine".to_owned());
    }
    if path.contains("://") {
        return Err("only files of this machine can be used".to_owned());
    }
    if Path::new(path).is_absolute() {
        return Ok(PathBuf::from(path));
    }
    let catalog = base.to_file_path().map_err(|()| {
        format!("a relative path has no meaning in a catalog that is not a file of this machine ({base})")
    })?;
    Ok(catalog.parent().unwrap_or(Path::new("/")).join(path))
}
