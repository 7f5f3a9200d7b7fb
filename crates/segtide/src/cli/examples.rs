//! What help says of each command before it comes to flags: what is to be known, and examples that can be tried as they are.

use clap::Command;

/// Of each command, by the words that call it.
const OF: &[(&str, &str)] = &[
    (
        "",
        "\
Examples:
  segtide demo                                             see it work in a minute
  segtide check --source flow.yaml                         find mistakes
  segtide test --source tests.flow.yaml                    run the catalog's tests
  segtide develop --source flow.yaml --port 8080           run it; Ctrl-C stops it, running it again resumes

Exit status:
  0  all is well
  1  a mistake was found, a test failed, a task halted
  2  the arguments are wrong
  3  the catalog has mistakes and was not run
  4  a file, directory or port cannot be used
  5  what was asked for is not there
 70  segtide has a defect: please report it
 74  the data directory failed while it was written; starting again finds what is safe",
    ),
    (
        "init",
        "\
Examples:
  segtide init                                             who is in a segment, and what changes it
  segtide init http --directory views                      another template, in another folder
  segtide init --bare                                      nothing for editors, containers and GitHub
  segtide init --list                                      what templates there are",
    ),
    (
        "demo",
        "\
Examples:
  segtide demo                                             in segtide-demo/, until Ctrl-C
  segtide demo --rate 10000 --delay 1s                     more events, and a receiver that is slower
  segtide demo --port 0 --for 30s                          at any port, and not for long",
    ),
    (
        "doctor",
        "\
The exit status is 1 where something is wrong.

Examples:
  segtide doctor
  segtide doctor --source flow.yaml --directory /var/lib/segtide --port 80
  segtide doctor -o csv                                    for a spreadsheet",
    ),
    (
        "check",
        "\
Examples:
  segtide check                                            flow.yaml
  segtide check --source flow.yaml --verbose               and what its lambdas run in
  segtide check -o sarif > mistakes.sarif                  for a code review",
    ),
    (
        "test",
        "\
Examples:
  segtide test --source tests.flow.yaml
  segtide test --source tests.flow.yaml -k toggles         only tests whose names have this in them
  segtide test --source tests.flow.yaml --watch            again and again, while you write
  segtide test --source tests.flow.yaml --junit report.xml",
    ),
    (
        "preview",
        "\
A fixture has a document a line, as [\"collection\", {document}]; a line {\"commit\": true} ends a transaction. Nothing is kept.

Examples:
  segtide preview --name acme/totals --fixture sales.jsonl
  segtide preview --name acme/totals --fixture sales.jsonl -o csv
  echo '[\"acme/sales\", {\"shop\": \"a\", \"amount\": 3}]' | segtide preview --name acme/totals",
    ),
    (
        "discover",
        "\
Run it twice: first it writes the connector's configuration with its defaults and what they mean; once you have filled that in,
it asks the connector for its streams and writes a catalog of them.

Examples:
  segtide discover -- source-faker                         a connector that is installed here
  segtide discover --prefix acme -- python3 source.py
  segtide discover --image airbyte/source-faker            one that is run with Docker",
    ),
    (
        "graph",
        "\
Examples:
  segtide graph                                            flow.yaml, for a page in Markdown
  segtide graph --format svg > catalog.svg                 a picture
  segtide graph --format dot | dot -Tpng > catalog.png     one that Graphviz draws",
    ),
    (
        "generate",
        "\
Examples:
  segtide generate types                                   for the lambdas of flow.yaml
  segtide generate types --source derive.flow.yaml",
    ),
    (
        "generate types",
        "\
Examples:
  segtide generate types                                   for the lambdas of flow.yaml
  segtide generate types --source derive.flow.yaml",
    ),
    (
        "schema",
        "\
Examples:
  segtide schema > .vscode/catalog.schema.json             where `segtide init` has editors look for it
  segtide schema | less",
    ),
    (
        "develop",
        "\
Examples:
  segtide develop --source flow.yaml
  segtide develop --source flow.yaml --poll                process what is there, then end
  segtide develop --watch                                  and take over what is changed in the files
  segtide develop --source import.flow.yaml --poll < events.ndjson",
    ),
    (
        "run",
        "\
Under something that starts it again when it ends. As `develop`, but with a log in JSON, without --watch, and it ends with a
failure when a task halts.

Examples:
  segtide run --source flow.yaml --directory /var/lib/segtide
  segtide run --host 0.0.0.0                               for other machines; a capture says who may post documents",
    ),
    (
        "webhook",
        "\
Examples:
  segtide webhook --delay 1s                               a slow receiver: fewer calls, more documents in each
  segtide webhook --brief                                  a line for each call
  segtide webhook --log calls.ndjson                       keep every call as a line of JSON",
    ),
    (
        "status",
        "\
The exit status is 1 where a task has halted.

Examples:
  segtide status
  segtide status --directory /var/lib/segtide
  segtide status --json                                    all that is counted",
    ),
    (
        "top",
        "\
Examples:
  segtide top
  segtide top --directory segtide-demo                     of `segtide demo`",
    ),
    (
        "read",
        "\
Examples:
  segtide read examples/segment/toggles --follow           what changes, as it changes
  segtide read examples/segment/events --partition vendor=3
  segtide read examples/segment/events --from 10m          what came in the last ten minutes
  segtide read examples/segment/profiles -o csv > profiles.csv",
    ),
    (
        "fragments",
        "\
Examples:
  segtide fragments ls examples/segment/events
  segtide fragments cat examples/segment/events/vendor=3",
    ),
    (
        "fragments ls",
        "\
Examples:
  segtide fragments ls examples/segment/events
  segtide fragments ls examples/segment/events/vendor=3 -o csv",
    ),
    (
        "fragments cat",
        "\
Examples:
  segtide fragments cat examples/segment/events
  segtide fragments cat examples/segment/events/vendor=3 -o csv",
    ),
    (
        "verify",
        "\
No program may use the directory meanwhile. The exit status is 1 where something is wrong, and nothing is ever removed.

Examples:
  segtide verify
  segtide verify --directory /var/lib/segtide -o json",
    ),
    (
        "completions",
        "\
Examples:
  segtide completions bash > /etc/bash_completion.d/segtide
  segtide completions zsh > ~/.zfunc/_segtide",
    ),
    (
        "man",
        "\
Examples:
  segtide man | man -l -
  segtide man > /usr/local/share/man/man1/segtide.1",
    ),
];

/// What a command is, examples, then its flags.
const TEMPLATE: &str = "{about-with-newline}\n{usage-heading} {usage}{after-help}\n\n{all-args}";

/// The command line with this in the help of each command.
pub fn shown(command: Command) -> Command {
    below("", command)
}

fn below(path: &str, mut command: Command) -> Command {
    if let Some((_, text)) = OF.iter().find(|(known, _)| *known == path) {
        command = command.after_help(*text).help_template(TEMPLATE);
    }
    command.mut_subcommands(|sub| below(format!("{path} {}", sub.get_name()).trim(), sub))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    /// What is to be typed of an example, without what is said of it and what a shell does.
    fn typed(line: &str) -> Vec<String> {
        let begins = line.find("segtide ").unwrap();
        let line = line[begins..].split("   ").next().unwrap();
        line.split_whitespace().take_while(|word| !["<", ">", "|"].contains(word)).map(str::to_owned).collect()
    }

    /// Would catch a command without examples, and an example that is not to be understood.
    #[test]
    fn every_command_has_examples_that_can_be_typed() {
        fn visit(path: &str, command: &Command) {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = text.split("Examples:\n").nth(1).unwrap_or_default();
            let examples: Vec<&str> = examples.lines().take_while(|line| line.starts_with("  ")).collect();
            assert!((2..=4).contains(&examples.len()), "segtide {path} has {} examples", examples.len());
            for example in examples {
                let typed = typed(example);
                assert!(typed.join(" ").starts_with(format!("segtide {path}").trim()), "{example}");
                if let Err(error) = Cli::command().try_get_matches_from(&typed) {
                    panic!("{example}\n{error}");
                }
            }
            for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
                visit(format!("{path} {}", sub.get_name()).trim(), sub);
            }
        }
        visit("", &shown(Cli::command()));
        for (path, _) in OF {
            let root = Cli::command();
            let mut command = &root;
            for word in path.split_whitespace() {
                command = command.find_subcommand(word).unwrap_or_else(|| panic!("{path} is no command"));
            }
        }
    }
}
