//! `segtide init`: a catalog to begin with, in a folder.

use std::path::Path;

use crate::cli::Init;
use crate::output::{Exit, Paint, fail, paint, say};
use crate::templates::TEMPLATES;

/// How wide a command is that something is said behind.
const COMMAND_WIDTH: usize = 24;

pub fn run(args: &Init) -> anyhow::Result<Exit> {
    let width = TEMPLATES.iter().map(|template| template.name.len()).max().unwrap_or(0);
    if args.list {
        TEMPLATES.iter().for_each(|template| say(&format!("{:width$}  {}", template.name, template.about)));
        return Ok(Exit::Ok);
    }
    let Some(template) = TEMPLATES.iter().find(|template| template.name == args.template) else {
        let names = TEMPLATES.iter().map(|template| template.name).collect::<Vec<_>>().join(", ");
        fail(&format!("there is no template {:?}; there are {names}", args.template));
        return Ok(Exit::Usage);
    };
    let present = template.present(&args.directory);
    if let Some(first) = present.first() {
        fail(&format!(
            "{} is there already, and would be overwritten; name another folder with --directory",
            first.display()
        ));
        return Ok(Exit::Unreachable);
    }
    template.write(&args.directory, str::to_owned)?;
    for (name, _) in template.files {
        say(&format!("{} {}", paint(Paint::Good, "wrote"), args.directory.join(name).display()));
    }
    say("\nNext:");
    let enter = format!("cd {}", args.directory.display());
    let enter = (args.directory != Path::new(".")).then_some((enter.as_str(), ""));
    let test = ("segtide test", "does it do what it should?");
    let develop = ("segtide develop", "runs it; Ctrl-C stops it");
    let own = enter.into_iter().chain([test]).chain(template.beside).chain([develop]);
    for (command, about) in own.chain(template.next.iter().copied()) {
        let about = paint(Paint::Dim, about);
        if command.len() > COMMAND_WIDTH {
            say(&format!("  {command}\n  {:COMMAND_WIDTH$} {about}", ""));
        } else {
            say(format!("  {command:COMMAND_WIDTH$} {about}").trim_end());
        }
    }
    Ok(Exit::Ok)
}
