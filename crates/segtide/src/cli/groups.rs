//! The commands by what somebody wants, as `segtide --help` lists them.

use std::fmt::Write as _;

/// What somebody wants, and the commands for it.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Start", &["init", "demo", "doctor"]),
    ("Build", &["check", "test", "preview", "discover", "graph", "generate", "schema"]),
    ("Run", &["develop", "run", "webhook"]),
    ("Ask", &["status", "top", "read"]),
    ("Operate", &["fragments", "verify", "completions", "man", "help"]),
];
/// As clap styles headings and names.
const HEADING: &str = "\x1b[1m\x1b[4m";
const NAME: &str = "\x1b[1m";
const END: &str = "\x1b[0m";

/// The command line with its commands in groups.
pub fn grouped(mut command: clap::Command) -> clap::Command {
    command.build();
    let width = command.get_subcommands().map(|sub| sub.get_name().len()).max().unwrap_or(0);
    let mut listed = String::new();
    for (group, names) in GROUPS {
        let _ = writeln!(listed, "{HEADING}{group}:{END}");
        for sub in names.iter().filter_map(|name| command.find_subcommand(name)) {
            let (name, about) = (sub.get_name(), sub.get_about().map(ToString::to_string).unwrap_or_default());
            let _ = writeln!(listed, "  {NAME}{name}{END}{:1$}{about}", "", width - name.len() + 2);
        }
        listed.push('\n');
    }
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{listed}{HEADING}Options:{END}\n{{options}}{{after-help}}"
    );
    command.help_template(template)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::GROUPS;
    use crate::cli::Cli;

    #[test]
    fn every_command_is_in_one_group() {
        let mut command = Cli::command();
        command.build();
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        grouped.sort_unstable();
        let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
        let mut known: Vec<&str> = shown.map(clap::Command::get_name).collect();
        known.sort_unstable();
        assert_eq!(grouped, known);
    }
}
