//! The help texts, as a user sees them: a flag that is renamed, lost or explained badly shows up here.

use std::path::Path;

use expect_test::{Expect, expect, expect_file};

use crate::kit::segtide;

fn check(arguments: &[&str], expected: &Expect) {
    let said = segtide(Path::new("/"), arguments);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    // Blank lines between paragraphs are indented, which no snapshot keeps.
    let lines: Vec<&str> = said.out.lines().map(str::trim_end).collect();
    expected.assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn of_the_program() {
    check(
        &["--help"],
        &expect![[r#"
            Exact, live user segments from a stream of events.

            Reads a catalog of captures, collections, derivations and materializations, checks it, tests it, and runs it on this machine with nothing else to install.

            Usage: segtide [OPTIONS] <COMMAND>

            Start:
              init         Begin a catalog in this folder
              demo         Show it all: the segmentation catalog, running, in a folder of its own
              doctor       Say whether a catalog could run here

            Build:
              check        Find the mistakes of a catalog
              test         Run the tests of a catalog
              preview      Print what a derivation makes of documents
              discover     Begin a catalog with the streams of a connector
              graph        Draw a catalog
              generate     Write files that are made from a catalog
              schema       Print the JSON Schema of catalog files, for editors

            Run:
              develop      Run a catalog on this machine
              run          Run a catalog in production
              webhook      Receive webhooks and print them

            Ask:
              status       Say what a running catalog is doing
              top          Show what a running catalog is doing, as it changes
              read         Print the documents of a collection

            Operate:
              fragments    Look at the files that documents are kept in
              verify       Read everything a data directory keeps, and say what is not as it was written
              completions  Print what a shell needs to complete commands
              man          Print the manual page
              help         Print this message or the help of the given subcommand(s)

            Options:
                  --color <WHEN>
                      Whether to colour what is written: auto, always or never; NO_COLOR comes before it, and FORCE_COLOR after it

                      [env: SEGTIDE_COLOR]
                      [default: auto]

              -q, --quiet
                      Say nothing on standard error but what has gone wrong

                      [env: SEGTIDE_QUIET]

                  --project <DIR>
                      Act as if started in this folder

                      [env: SEGTIDE_PROJECT]

              -h, --help
                      Print help (see a summary with '-h')

              -V, --version
                      Print version

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
             74  the data directory failed while it was written; starting again finds what is safe
        "#]],
    );
}

#[test]
fn of_each_command() {
    check(
        &["demo", "--help"],
        &expect![[r#"
            Show it all: the segmentation catalog, running, in a folder of its own

            Usage: segtide demo [OPTIONS]

            Examples:
              segtide demo                                             in segtide-demo/, until Ctrl-C
              segtide demo --rate 10000 --delay 1s                     more events, and a receiver that is slower
              segtide demo --port 0 --for 30s                          at any port, and not for long

            Options:
                  --directory <DIR>  The folder of the demo: its catalog, its files, its tables [env: SEGTIDE_DIRECTORY] [default: segtide-demo]
                  --port <PORT>      The port for HTTP ingestion, on loopback; 0 takes any that is free [env: SEGTIDE_PORT] [default: 8080]
                  --rate <N>         Events the generator makes in a second [env: SEGTIDE_DEMO_RATE] [default: 1000]
                  --delay <TIME>     How long the demo's webhook receiver takes to answer [env: SEGTIDE_DEMO_DELAY] [default: 50ms]
                  --for <TIME>       End by itself after so long [env: SEGTIDE_DEMO_FOR]
              -h, --help             Print help

            Everywhere:
                  --color <WHEN>   Whether to colour what is written: auto, always or never; NO_COLOR comes before it, and FORCE_COLOR after it [env: SEGTIDE_COLOR] [default: auto]
              -q, --quiet          Say nothing on standard error but what has gone wrong [env: SEGTIDE_QUIET]
                  --project <DIR>  Act as if started in this folder [env: SEGTIDE_PROJECT]
        "#]],
    );
    check(
        &["check", "--help"],
        &expect![[r#"
            Find the mistakes of a catalog

            Usage: segtide check [OPTIONS]

            Examples:
              segtide check                                            flow.yaml
              segtide check --source flow.yaml --verbose               and what its lambdas run in
              segtide check -o sarif > mistakes.sarif                  for a code review

            Options:
                  --source <FILE>
                      The catalog file

                      [env: SEGTIDE_SOURCE]
                      [default: flow.yaml]

              -v, --verbose
                      Say of each TypeScript lambda whether it is native, and if not, why it runs in QuickJS

                      [env: SEGTIDE_CHECK_VERBOSE]

              -o, --output <FORMAT>
                      How to report

                      Possible values:
                      - text:  For people
                      - json:  One JSON object on standard output
                      - sarif: The catalog's mistakes as SARIF, which code reviews show

                      [env: SEGTIDE_REPORT]
                      [default: text]

                  --json
                      The same as --output json

              -h, --help
                      Print help (see a summary with '-h')

            Everywhere:
                  --color <WHEN>
                      Whether to colour what is written: auto, always or never; NO_COLOR comes before it, and FORCE_COLOR after it

                      [env: SEGTIDE_COLOR]
                      [default: auto]

              -q, --quiet
                      Say nothing on standard error but what has gone wrong

                      [env: SEGTIDE_QUIET]

                  --project <DIR>
                      Act as if started in this folder

                      [env: SEGTIDE_PROJECT]
        "#]],
    );
    check(
        &["test", "--help"],
        &expect![[r#"
            Run the tests of a catalog

            Usage: segtide test [OPTIONS]

            Examples:
              segtide test --source tests.flow.yaml
              segtide test --source tests.flow.yaml -k toggles         only tests whose names have this in them
              segtide test --source tests.flow.yaml --watch            again and again, while you write
              segtide test --source tests.flow.yaml --junit report.xml

            Options:
                  --source <FILE>
                      The catalog file

                      [env: SEGTIDE_SOURCE]
                      [default: flow.yaml]

              -k <PATTERN>
                      Run only tests whose names have this in them, in upper or lower case

                      [env: SEGTIDE_TEST_PATTERN]

                  --junit <FILE>
                      Write a JUnit report

                      [env: SEGTIDE_TEST_JUNIT]

                  --watch
                      Run them again whenever the catalog's files change

                      [env: SEGTIDE_TEST_WATCH]

              -o, --output <FORMAT>
                      How to report

                      Possible values:
                      - text:  For people
                      - json:  One JSON object on standard output
                      - sarif: The catalog's mistakes as SARIF, which code reviews show

                      [env: SEGTIDE_REPORT]
                      [default: text]

                  --json
                      The same as --output json

              -h, --help
                      Print help (see a summary with '-h')

            Everywhere:
                  --color <WHEN>
                      Whether to colour what is written: auto, always or never; NO_COLOR comes before it, and FORCE_COLOR after it

                      [env: SEGTIDE_COLOR]
                      [default: auto]

              -q, --quiet
                      Say nothing on standard error but what has gone wrong

                      [env: SEGTIDE_QUIET]

                  --project <DIR>
                      Act as if started in this folder

                      [env: SEGTIDE_PROJECT]
        "#]],
    );
    check(
        &["develop", "--help"],
        &expect![[r#"
            Run a catalog on this machine

            Usage: segtide develop [OPTIONS]

            Examples:
              segtide develop --source flow.yaml
              segtide develop --source flow.yaml --poll                process what is there, then end
              segtide develop --watch                                  and take over what is changed in the files
              segtide develop --source import.flow.yaml --poll < events.ndjson

            Options:
                  --source <FILE>
                      The catalog file

                      [env: SEGTIDE_SOURCE]
                      [default: flow.yaml]

                  --allow-exec
                      Run the commands that configurations refer to as `${cmd:COMMAND}`

                      [env: SEGTIDE_ALLOW_EXEC]

                  --directory <DIR>
                      Where the data directory is

                      [env: SEGTIDE_DIRECTORY]
                      [default: .]

                  --fragments <URL>
                      Keep files in a bucket, at a URL of s3, gs, az or file, or `mapped` for what `storageMappings` says

                      [env: SEGTIDE_FRAGMENTS]

              -h, --help
                      Print help (see a summary with '-h')

            Who may come in:
                  --port <PORT>
                      The port for HTTP ingestion; 0 takes any that is free

                      [env: SEGTIDE_PORT]
                      [default: 8080]

                  --host <ADDRESS>
                      The address to listen at; one that other machines reach needs a capture with tokens or secrets

                      [env: SEGTIDE_HOST]
                      [default: 127.0.0.1]

                  --insecure-open
                      Let other machines post documents without showing who they are

                      [env: SEGTIDE_INSECURE_OPEN]

            What it takes:
                  --shards <N>
                      Divide the keys of each derivation and table among so many threads; may change from run to run

                      [env: SEGTIDE_SHARDS]
                      [default: 1]

                  --memory <SIZE>
                      The memory to take, such as 512MiB; a quarter of the machine's, or three quarters of its control group's, up to 512 MiB

                      [env: SEGTIDE_MEMORY]

                  --no-native-lambdas
                      Run all TypeScript lambdas in QuickJS, those too that need no script engine

                      [env: SEGTIDE_NO_NATIVE_LAMBDAS]

            What it says:
                  --log <FORMAT>
                      How to write what is said of the run; `run` writes json unless told otherwise

                      Possible values:
                      - text: For people
                      - json: A JSON object a line

                      [env: SEGTIDE_LOG]

                  --log-level <LEVEL>
                      Leave out what matters less

                      Possible values:
                      - debug: Also what helps to find mistakes in connectors
                      - info:  What happens
                      - warn:  What may need somebody
                      - error: What does

                      [env: SEGTIDE_LOG_LEVEL]
                      [default: info]

            When it ends:
                  --poll
                      Process what is there and end, instead of going on as more arrives

                      [env: SEGTIDE_DEVELOP_POLL]

                  --watch
                      Take over changes of the catalog's files while it runs; one with mistakes leaves what runs as it is

                      [env: SEGTIDE_DEVELOP_WATCH]

                  --fail-fast
                      End, with a failure, when a task halts

                      [env: SEGTIDE_DEVELOP_FAIL_FAST]

            Everywhere:
                  --color <WHEN>
                      Whether to colour what is written: auto, always or never; NO_COLOR comes before it, and FORCE_COLOR after it

                      [env: SEGTIDE_COLOR]
                      [default: auto]

              -q, --quiet
                      Say nothing on standard error but what has gone wrong

                      [env: SEGTIDE_QUIET]

                  --project <DIR>
                      Act as if started in this folder

                      [env: SEGTIDE_PROJECT]
        "#]],
    );
    check(
        &["webhook", "--help"],
        &expect![[r#"
            Receive webhooks and print them

            Usage: segtide webhook [OPTIONS]

            Examples:
              segtide webhook --delay 1s                               a slow receiver: fewer calls, more documents in each
              segtide webhook --brief                                  a line for each call
              segtide webhook --log calls.ndjson                       keep every call as a line of JSON

            Options:
                  --port <PORT>   The port to listen on, on loopback; 0 takes any that is free [env: SEGTIDE_WEBHOOK_PORT] [default: 9000]
                  --delay <TIME>  How long to wait before answering [env: SEGTIDE_WEBHOOK_DELAY] [default: 50ms]
                  --log <FILE>    Append each call to this file as {"id", "path", "body"}, before answering [env: SEGTIDE_WEBHOOK_LOG]
                  --brief         Print one line per call instead of its body [env: SEGTIDE_WEBHOOK_BRIEF]
              -h, --help          Print help

            Everywhere:
                  --color <WHEN>   Whether to colour what is written: auto, always or never; NO_COLOR comes before it, and FORCE_COLOR after it [env: SEGTIDE_COLOR] [default: auto]
              -q, --quiet          Say nothing on standard error but what has gone wrong [env: SEGTIDE_QUIET]
                  --project <DIR>  Act as if started in this folder [env: SEGTIDE_PROJECT]
        "#]],
    );
}

/// What a command says of itself, and what those below it do.
fn describe(command: &[&str], text: &mut String) {
    let said = segtide(Path::new("/"), &[command, &["--help"]].concat());
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    let lines: Vec<&str> = said.out.lines().map(str::trim_end).collect();
    let name = ["segtide"].iter().chain(command).copied().collect::<Vec<_>>().join(" ");
    *text += &format!("\n## {name}\n\n```text\n{}\n```\n", lines.join("\n"));
    // Commands stand below headings, two spaces in, before the options.
    let listed = lines.iter().take_while(|line| **line != "Options:").filter_map(|line| line.strip_prefix("  "));
    let below = listed.filter_map(|line| line.split_once("  ")).map(|(name, _)| name);
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase());
    for name in below.filter(|name| is_name(name) && *name != "help") {
        describe(&[command, &[name]].concat(), text);
    }
}

/// With `UPDATE_EXPECT=1` it is written anew.
#[test]
fn the_reference_is_what_help_says() {
    let mut text = "# Commands\n\nWhat `--help` says of each. A test writes this page.\n".to_owned();
    describe(&[], &mut text);
    assert!(text.is_ascii(), "help is read in every locale");
    expect_file!["../../../../docs/cli.md"].assert_eq(&text);
}

#[test]
fn without_a_command_it_is_shown_as_an_error() {
    let said = segtide(Path::new("/"), &[]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    assert!(said.err.contains("Usage: segtide [OPTIONS] <COMMAND>"), "{}", said.err);
}

#[test]
fn a_wrong_duration_says_how_to_write_one() {
    let said = segtide(Path::new("/"), &["webhook", "--delay", "soon"]);
    assert_eq!(said.code, 2);
    expect![[r#"
        error: invalid value 'soon' for '--delay <TIME>': expected number at 0; write it like 50ms, 1s or 2m

        For more information, try '--help'.
    "#]]
    .assert_eq(&said.err);
}
