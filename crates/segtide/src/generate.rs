//! `segtide generate`: writes files that are made from a catalog.

use std::fs;

use anyhow::Context as _;
use catalog::Severity;
use url::Url;

use crate::build::{root, show};
use crate::cli::{Generate, Source};
use crate::host::Program;
use crate::output::{Exit, plural, tell};
use crate::secrets::Missing;

/// The configuration by which editors find the types; an author's own is never touched.
const TSCONFIG: &str = "{ \"extends\": \"./flow_generated/tsconfig.json\" }\n";

pub fn run(args: &Generate) -> anyhow::Result<Exit> {
    match args {
        Generate::Types(args) => types(args),
    }
}

fn types(args: &Source) -> anyhow::Result<Exit> {
    let (root, cwd) = root(&args.source)?;
    let (mut built, files) = catalog::types(&root, &catalog::Files, &Program::new(Missing::StandIn));
    if let Ok(directory) = Url::from_directory_path(&cwd) {
        built.catalog.sources.relative_to(directory);
    }
    show(&built);
    let path = root.to_file_path().ok();
    let folder =
        path.as_deref().and_then(std::path::Path::parent).context("types are written beside a catalog file")?;
    for file in &files {
        let path = folder.join(&file.path);
        let parent = path.parent().context("a generated file is in a folder")?;
        fs::create_dir_all(parent).with_context(|| format!("{} cannot be made", parent.display()))?;
        // Whoever watches the files need not look at what stays the same.
        if fs::read_to_string(&path).is_ok_and(|text| text == file.text) {
            continue;
        }
        fs::write(&path, &file.text).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    let own = folder.join("tsconfig.json");
    if !own.exists() {
        fs::write(&own, TSCONFIG).with_context(|| format!("{} cannot be written", own.display()))?;
    }
    tell(&format!("{} of types in {}", plural(files.len(), "file"), folder.join("flow_generated").display()));
    if built.is_sound() {
        return Ok(Exit::Ok);
    }
    let errors = built.diagnostics.iter().filter(|d| d.severity == Severity::Error).count() + built.more;
    tell(&format!(
        "{} in {}: types are missing of what it keeps from being built",
        plural(errors, "mistake"),
        args.source
    ));
    Ok(Exit::Failed)
}
