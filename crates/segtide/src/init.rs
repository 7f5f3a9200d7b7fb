//! `segtide init`: a catalog to begin with, in a folder.

use std::path::Path;

use serde_json::json;

use crate::around;
use crate::cli::Init;
use crate::output::{Exit, Paint, Usage, fail, paint, tell};
use crate::rows::{Cell, Rows};
use crate::templates::{self, IGNORE, TEMPLATES, Template};

/// How wide a command is that something is said behind.
const COMMAND_WIDTH: usize = 24;

pub fn run(args: &Init) -> anyhow::Result<Exit> {
    if args.list {
        let mut rows = Rows::new(args.output.format());
        for Template { name, about, .. } in TEMPLATES {
            let cells = || [("name", name), ("about", about)].map(|(heading, text)| cell(heading, text)).into();
            rows.row(&[("name", json!(name)), ("about", json!(about))], cells)?;
        }
        rows.end()?;
        return Ok(Exit::Ok);
    }
    let names = TEMPLATES.iter().map(|template| template.name);
    let Some(template) = TEMPLATES.iter().find(|template| template.name == args.template) else {
        let meant = catalog::nearest(&args.template, names.clone()).map(|name| format!("; did you mean {name}?"));
        let known = || format!("; there are {}", names.clone().collect::<Vec<_>>().join(", "));
        return Err(Usage(format!("there is no template {:?}{}", args.template, meant.unwrap_or_else(known))).into());
    };
    let here = |name: &str| args.directory.join(name);
    let is_there = |name: &str| here(name).symlink_metadata().is_ok();
    if let Some((first, _)) = template.files.iter().find(|(name, _)| *name != IGNORE && is_there(name)) {
        fail(&format!(
            "{} is there already, and would be overwritten; name another folder with --directory",
            here(first).display()
        ));
        return Ok(Exit::Unreachable);
    }
    let around = if args.bare { Vec::new() } else { around::files(template) };
    let (kept, written): (Vec<_>, Vec<_>) = around.iter().partition(|(name, _)| is_there(name));
    let mut kept: Vec<&str> = kept.iter().map(|(name, _)| *name).collect();
    kept.extend(is_there(IGNORE).then_some(IGNORE));
    for (name, text) in template.files.iter().filter(|(name, _)| !kept.contains(name)) {
        templates::write(&args.directory, name, text)?;
        tell(&format!("{} {}", paint(Paint::Good, "wrote"), here(name).display()));
    }
    for (name, text) in &written {
        templates::write(&args.directory, name, text)?;
    }
    if !written.is_empty() {
        let folder = |name: &str| here(name.split('/').next().unwrap_or(name)).display().to_string();
        let mut folders: Vec<String> = written.iter().map(|(name, _)| folder(name)).collect();
        folders.sort_unstable();
        folders.dedup();
        let wrote = paint(Paint::Good, "wrote");
        tell(&format!("{wrote} {} for editors, containers and GitHub; --bare does without", folders.join(", ")));
    }
    for name in kept {
        tell(&format!("{} {}, which was there", paint(Paint::Dim, "kept "), here(name).display()));
    }
    tell("\nNext:");
    let enter = format!("cd {}", args.directory.display());
    let enter = (args.directory != Path::new(".")).then_some((enter.as_str(), ""));
    let test = ("segtide test", "does it do what it should?");
    let develop = ("segtide develop", "runs it; Ctrl-C stops it");
    let own = enter.into_iter().chain([test]).chain(template.beside).chain([develop]);
    for (command, about) in own.chain(template.next.iter().copied()) {
        let about = paint(Paint::Dim, about);
        if command.len() > COMMAND_WIDTH {
            tell(&format!("  {command}\n  {:COMMAND_WIDTH$} {about}", ""));
        } else {
            tell(format!("  {command:COMMAND_WIDTH$} {about}").trim_end());
        }
    }
    Ok(Exit::Ok)
}

fn cell(heading: &str, text: &str) -> Cell {
    Cell(heading.to_owned(), text.to_owned(), None)
}
