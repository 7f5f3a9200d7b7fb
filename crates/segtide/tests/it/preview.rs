//! `segtide preview`, `segtide discover` and `segtide run`: what they print, what they write, how they end.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use expect_test::expect;

use crate::kit::{Process, segtide, undisturbed};

const SOON: Duration = Duration::from_secs(60);
const CONNECTOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../connectors/tests/it/airbyte/connector.py");

/// A directory with files in it.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

/// The template that counts views of pages.
fn pages() -> tempfile::TempDir {
    let directory = directory(&[]);
    assert_eq!(segtide(directory.path(), &["init", "file"]).code, 0);
    directory
}

/// Runs it with text on its standard input; its exit status, standard output and standard error.
fn preview(directory: &Path, arguments: &[&str], input: &str) -> (i32, String, String) {
    let given = directory.join("given");
    fs::write(&given, input).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_segtide"));
    command.arg("preview").args(arguments).current_dir(directory);
    undisturbed(&mut command);
    let output = command.stdin(Stdio::from(fs::File::open(given).unwrap())).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Documents without the identities that every run makes anew.
fn plain(text: &str) -> String {
    let line = |line: &str| {
        let mut document: serde_json::Value = serde_json::from_str(line).unwrap();
        document.as_object_mut().unwrap().remove("_meta");
        format!("{document}\n")
    };
    text.lines().map(line).collect()
}

#[test]
fn a_fixture_shows_what_a_derivation_makes_of_each_transaction() {
    let directory = pages();
    let fixture = r#"["acme/views", {"id": "a", "page": "/home"}]
["acme/views", {"id": "b", "page": "/prices"}]
["acme/views", {"id": "c", "page": "/home"}]

{"commit": true}
["acme/views", {"id": "d", "page": "/home"}]
"#;
    let (code, out, err) = preview(directory.path(), &["--name", "acme/pages"], fixture);
    assert_eq!((code, err.as_str()), (0, ""));
    expect![[r#"
        {"page":"/home","views":2}
        {"page":"/prices","views":1}
        {"page":"/home","views":1}
    "#]]
    .assert_eq(&plain(&out));
    fs::write(directory.path().join("fixture.jsonl"), fixture).unwrap();
    let limited = ["--name", "acme/pages", "--fixture", "fixture.jsonl", "--limit", "2"];
    assert_eq!(preview(directory.path(), &limited, "").1.lines().count(), 2);
    assert!(!directory.path().join("segtide_develop").exists(), "nothing is kept");
}

#[test]
fn a_fixture_with_mistakes_says_where() {
    let directory = pages();
    let fails = |arguments: &[&str], input: &str| {
        let (code, _, err) = preview(directory.path(), arguments, input);
        let of_a_collection = arguments == ["--name", "acme/views"];
        assert_eq!(code, if of_a_collection { 5 } else { 1 }, "{err}");
        err
    };
    let name = ["--name", "acme/pages"];
    let all = [
        fails(&["--name", "acme/views"], ""),
        fails(&name, "{}\n"),
        fails(&name, "\nnonsense\n"),
        fails(&name, "[\"acme/view\", {}]\n"),
        fails(&name, "[\"acme/views\", {\"id\": 1}]\n"),
    ];
    expect![[r#"
        error: acme/views is not a derived collection of flow.yaml; there are acme/pages
        error: standard input:1: a line is ["collection", {document}], or {"commit": true}
        error: standard input:2: the line is not JSON
        error: standard input, the transaction that ends at line 1: collection acme/view is not in the catalog
        error: standard input, the transaction that ends at line 1: a document of acme/views is refused: document is invalid: "": the property "page" is missing, in {"id":1}
    "#]].assert_eq(&all.concat());
}

#[test]
fn discover_writes_what_a_connector_asks_for_and_then_its_streams() {
    let directory = directory(&[]);
    let discover = ["discover", "--prefix", "acme", "--", "python3", CONNECTOR];
    let first = segtide(directory.path(), &discover);
    assert_eq!((first.code, first.out.as_str()), (0, ""), "{}", first.err);
    let second = segtide(directory.path(), &discover);
    assert_eq!(second.code, 0, "{}", second.err);
    let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap().replace(CONNECTOR, "connector.py");
    let told = format!(
        "{}--- config\n{}--- catalog\n{}--- said\n{}--- streams\n{}",
        first.err,
        read("discover-connector.config.yaml"),
        read("discover-connector.flow.yaml"),
        second.err,
        second.out
    );
    expect![[r#"
        discover-connector.config.yaml is what the connector asks for; fill it in and run the same again.
        --- config
        # What the connector asks for. Secrets may be references: ${env:NAME}, ${file:PATH}.
        # [integer] (required)
        count: 0
        --- catalog
        collections:
          acme/numbers:
            schema:
              properties:
                "n":
                  type: integer
              required: ["n"]
              type: object
            key: ["/n","/a/b~1c"]
          acme/other/numbers:
            schema:
              properties:
                "n":
                  type: integer
              type: object
            # The connector names no key: choose the fields that tell its documents apart.
            key: []

        captures:
          acme/connector:
            endpoint:
              local:
                command: ["python3","connector.py"]
                config: discover-connector.config.yaml
            bindings:
              - resource: {"stream":"numbers","syncMode":"incremental"}
                target: acme/numbers
              - resource: {"namespace":"other","stream":"numbers","syncMode":"full_refresh"}
                target: acme/other/numbers
        --- said
        discover-connector.flow.yaml has 2 streams.
        The connector names no key of numbers; look for `key: []` in it.
        Next: segtide check --source discover-connector.flow.yaml && segtide develop --source discover-connector.flow.yaml
        --- streams
        {"stream":"numbers","namespace":null,"key":["/n","/a/b~1c"],"sync":"incremental"}
        {"stream":"numbers","namespace":"other","key":[],"sync":"full_refresh"}
    "#]].assert_eq(&told);
    // A configuration refers to secrets as it does when it runs.
    let config = directory.path().join("discover-connector.config.yaml");
    for (reference, allowed, says) in [
        ("${env:NOT_SET:-a value}", false, "the connector does not work with discover-connector.config.yaml: a value"),
        (
            "${env:NOT_SET}",
            false,
            "discover-connector.config.yaml: env NOT_SET is not there; set it, or give a default",
        ),
        ("${cmd:echo a value}", false, "`${cmd:COMMAND}` would run a command"),
        ("${cmd:echo a value}", true, "the connector does not work with discover-connector.config.yaml: a value"),
    ] {
        fs::write(&config, format!("count: 0\nbroken: '{reference}'\n")).unwrap();
        let allow = if allowed { &["discover", "--allow-exec"][..] } else { &["discover"] };
        let said = segtide(directory.path(), &[allow, &discover[1..]].concat());
        assert!(said.code == 1 && said.err.contains(says), "{reference}: {said:?}");
    }
    fs::write(&config, "count: 0\n").unwrap();
    let third = segtide(directory.path(), &discover);
    assert_eq!(third.code, 4);
    assert!(third.err.contains("discover-connector.flow.yaml is there already"), "{}", third.err);
    let nobody = segtide(directory.path(), &["discover", "--", "./nobody"]);
    assert_eq!(nobody.code, 1);
    assert!(nobody.err.contains("the connector `./nobody` cannot be started"), "{}", nobody.err);
}

#[test]
fn run_logs_in_json_and_ends_when_a_task_halts() {
    let views = "
collections:
  acme/views:
    schema: { type: object, properties: { id: { type: string } }, required: [id] }
    key: [/id]
captures:
  acme/files:
    endpoint: { connector: { image: segtide/source-file, config: { root: ., onInvalid: halt } } }
    bindings: [{ resource: { stream: views.ndjson }, target: acme/views }]
";
    let directory = directory(&[("flow.yaml", views), ("views.ndjson", "{\"id\":\"a\"}\n")]);
    let mut process = Process::segtide(directory.path(), &["run", "--port", "0"]);
    process.wait_for_line("Listening at", SOON);
    fs::write(directory.path().join("views.ndjson"), "{\"id\":\"a\"}\n{\"id\":7}\n").unwrap();
    assert_eq!(process.wait(SOON).code(), Some(1));
    let output = process.output();
    let lines: Vec<serde_json::Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let halted = lines.iter().find(|line| line["level"] == "error").unwrap();
    assert_eq!(halted["task"], "capture acme/files");
    assert!(halted["message"].as_str().unwrap().contains("views.ndjson:2"), "{halted}");
    assert!(lines.iter().all(|line| line["time"].is_string() && line["message"].is_string()));
}
