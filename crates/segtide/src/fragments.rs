//! `segtide fragments`: the files that a collection's documents are kept in, while a catalog runs or not.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::cli::{Fragments, FragmentsOf};
use crate::data;
use crate::output::{Exit, Usage, bytes, fail};
use crate::rows::{Cell, Rows};

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
    let mut rows = Rows::new(of.output.format());
    for file in &files {
        match print {
            true => cat(file, &mut rows)?,
            false => {
                let of = File::open(file).and_then(|file| file.metadata());
                let size = of.with_context(|| format!("{} cannot be read", file.display()))?.len();
                let shown = file.display().to_string();
                let [begin, end] = places(file);
                let row = [("file", json!(shown)), ("begin", begin), ("end", end), ("bytes", json!(size))];
                rows.row(&row, || vec![Cell("file".into(), shown, None), Cell("size".into(), bytes(size), None)])?;
            }
        }
    }
    rows.end()?;
    Ok(Exit::Ok)
}

/// Where the documents of a file begin and end in their partition, unpacked, which is in its name.
fn places(path: &Path) -> [Value; 2] {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut places = name.split('-').map(|place| json!(u64::from_str_radix(place, 16).ok()));
    [(); 2].map(|()| places.next().unwrap_or_default())
}

/// The files of a collection, by partition and offset.
fn files(of: &FragmentsOf) -> anyhow::Result<Vec<PathBuf>> {
    let root = data::path(&of.place.directory).join("fragments");
    let below = Path::new(&of.collection);
    if !below.components().all(|part| matches!(part, std::path::Component::Normal(_))) {
        return Err(Usage(format!("{} is not the name of a collection", of.collection)).into());
    }
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

/// Prints the documents of a file.
fn cat(path: &Path, rows: &mut Rows) -> anyhow::Result<()> {
    let unreadable = || format!("{} cannot be read", path.display());
    let file = File::open(path).with_context(unreadable)?;
    let extension = path.extension().unwrap_or_default();
    let documents: Box<dyn Read> = match extension.to_str() {
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(file)),
        Some("zst") => Box::new(zstd::Decoder::new(file).with_context(unreadable)?),
        _ => Box::new(file),
    };
    let mut lines = BufReader::new(documents);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).with_context(unreadable)? > 0 {
        rows.text(&line)?;
        line.clear();
    }
    Ok(())
}
