//! `segtide init`: a catalog to begin with, in a folder.

use std::path::Path;

use crate::cli::Init;
use crate::output::{Exit, Paint, fail, paint, say};
use crate::templates::TEMPLATES;

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
    let enter = (args.directory != Path::new(".")).then(|| (format!("cd {}", args.directory.display()), ""));
    let standard = [("segtide test", "does it do what it should?"), ("segtide develop", "runs it; Ctrl-C stops it")];
    let all = standard.iter().chain(template.next).map(|(command, about)| ((*command).to_owned(), *about));
    for (command, about) in enter.into_iter().chain(all) {
        say(format!("  {command:24} {}", paint(Paint::Dim, about)).trim_end());
    }
    Ok(Exit::Ok)
}
