//! `segtide fragments`: the files that a collection's documents are kept in, while a catalog runs or not.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli::{Fragments, FragmentsOf};
use crate::data;
use crate::output::{Exit, fail, say};

/// How files may be packed, as `compressionCodec` says; by that their names end.
const PACKED: [&str; 3] = ["gz", "zst", "raw"];

pub fn run(args: &Fragments) -> anyhow::Result<Exit> {
    let (of, print) = match args {
        Fragments::Ls(of) => (of, false),
        Fragments::Cat(of) => (of, true),
    };
    let files = files(of)?;
    if files.is_empty() {
        fail(&format!(
            "there are no files of {} in {}; documents are in files some seconds after they came",
            of.collection,
            data::path(&of.place.directory).display()
        ));
        return Ok(Exit::NotFound);
    }
    for file in files {
        match print {
            false => say(&file.display().to_string()),
            true if !cat(&file)? => return Ok(Exit::Ok),
            true => {}
        }
    }
    Ok(Exit::Ok)
}

/// The files of a collection, by partition and offset.
fn files(of: &FragmentsOf) -> anyhow::Result<Vec<PathBuf>> {
    let root = data::path(&of.place.directory).join("fragments");
    let below = Path::new(&of.collection);
    anyhow::ensure!(
        below.components().all(|part| matches!(part, std::path::Component::Normal(_))),
        "{} is not the name of a collection",
        of.collection
    );
    let mut files = Vec::new();
    let mut folders = vec![root.join(below)];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.with_context(|| format!("{} cannot be read", folder.display()))?,
        };
        for entry in entries {
            let path = entry.with_context(|| format!("{} cannot be read", folder.display()))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if PACKED.iter().any(|packed| path.extension().is_some_and(|extension| extension == *packed)) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Prints the documents of a file; whether somebody still reads.
fn cat(path: &Path) -> anyhow::Result<bool> {
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let extension = path.extension().unwrap_or_default();
    let mut documents: Box<dyn Read> = match extension.to_str() {
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(file)),
        Some("zst") => {
            let unpacked = zstd::Decoder::new(file);
            Box::new(unpacked.with_context(|| format!("{} cannot be read", path.display()))?)
        }
        _ => Box::new(file),
    };
    let mut out = io::stdout().lock();
    match io::copy(&mut documents, &mut out).and_then(|_| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        copied => copied.map(|_| true).with_context(|| format!("{} cannot be printed", path.display())),
    }
}
