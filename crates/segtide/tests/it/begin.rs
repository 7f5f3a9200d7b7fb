//! A newcomer's first minute: what `init` writes, tests and runs by following only what is printed.

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use expect_test::expect;
use serde_json::Value;

use crate::kit::{Process, segtide};

const SOON: Duration = Duration::from_secs(60);

/// Would catch a template that has a mistake, a test of one that fails, and one that only works in its repository.
#[test]
fn every_template_checks_and_tests() {
    let listed = segtide(std::path::Path::new("/"), &["init", "--list"]);
    let listed: Vec<Value> = listed.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = listed.iter().map(|template| template["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["segmentation", "empty", "http", "file"]);
    for name in names {
        let directory = tempfile::tempdir().unwrap();
        let said = segtide(directory.path(), &["init", name]);
        assert_eq!(said.code, 0, "{said:?}");
        let checked = segtide(directory.path(), &["check"]);
        assert_eq!((checked.code, checked.err.as_str()), (0, ""), "{name}");
        let tested = segtide(directory.path(), &["test"]);
        assert_eq!(tested.code, 0, "{name}: {tested:?}");
        let again = segtide(directory.path(), &["init", name]);
        assert_eq!(again.code, 4, "{name}: {again:?}");
    }
}

#[test]
fn init_says_what_to_do_next() {
    let directory = tempfile::tempdir().unwrap();
    let said = segtide(directory.path(), &["init", "http", "--directory", "views"]);
    expect![[r#"
        wrote views/.gitignore
        wrote views/flow.yaml
        wrote views/flow.ts
        wrote views/.devcontainer, views/.github, views/.vscode for editors, containers and GitHub; --bare does without

        Next:
          cd views
          segtide test             does it do what it should?
          segtide develop          runs it; Ctrl-C stops it
          curl localhost:8080/ingest/acme/views -H 'Content-Type: application/json' -d '{"id":"a","page":"/home"}'
                                   posts a document
          sqlite3 pages.db 'SELECT page, views FROM pages'
                                   how many views each page has had
    "#]]
    .assert_eq(&said.err);
    assert_eq!(said.out, "");
    // A receiver that is started too late is missed first.
    let said = segtide(directory.path(), &["init"]).err;
    let (receiver, develop) = (said.find("segtide webhook"), said.find("segtide develop"));
    assert!(receiver.is_some() && receiver < develop, "{said}");
    let unknown = segtide(directory.path(), &["init", "htp"]);
    assert_eq!(unknown.code, 2);
    expect![[r#"
        error: there is no template "htp"; did you mean http?
    "#]]
    .assert_eq(&unknown.err);
}

/// Would catch files of somebody else's that are written over, and files that nobody asked for.
#[test]
fn init_leaves_alone_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    fs::write(here.join(".gitignore"), "mine\n").unwrap();
    fs::create_dir(here.join(".vscode")).unwrap();
    fs::write(here.join(".vscode/settings.json"), "{}\n").unwrap();
    let said = segtide(here, &["init", "file"]);
    assert_eq!(said.code, 0);
    expect![[r#"
        wrote ./flow.yaml
        wrote ./flow.ts
        wrote ./views.ndjson
        wrote ./.devcontainer, ./.github, ./.vscode for editors, containers and GitHub; --bare does without
        kept  ./.vscode/settings.json, which was there
        kept  ./.gitignore, which was there"#]]
    .assert_eq(said.err.split("\n\n").next().unwrap());
    let read = |name: &str| fs::read_to_string(here.join(name)).unwrap();
    assert_eq!((read(".gitignore").as_str(), read(".vscode/settings.json").as_str()), ("mine\n", "{}\n"));
    assert_eq!(read(".vscode/catalog.schema.json"), segtide(here, &["schema"]).out);

    let directory = tempfile::tempdir().unwrap();
    assert_eq!(segtide(directory.path(), &["init", "http"]).code, 0);
    let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
    let settings: Value = serde_json::from_str(&read(".vscode/settings.json")).unwrap();
    let schema = settings["yaml.schemas"].as_object().unwrap().keys().next().unwrap();
    assert!(directory.path().join(schema).is_file(), "{settings}");
    assert_eq!(settings["sqltools.connections"][0]["database"], "${workspaceFolder}/pages.db");
    serde_json::from_str::<Value>(&read(".vscode/extensions.json")).unwrap();
    let container = read(".devcontainer/devcontainer.json");
    serde_json::from_str::<Value>(container.split_once('\n').unwrap().1).unwrap();
    assert!(read(".github/workflows/segtide.yml").contains("OWNER/segtide@v1"));

    let directory = tempfile::tempdir().unwrap();
    assert_eq!(segtide(directory.path(), &["init", "--bare"]).code, 0);
    let hidden = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(hidden.filter(|name| name.starts_with('.')).collect::<Vec<_>>(), [".gitignore"]);
}

/// Would catch documents that cannot be looked at while a catalog runs, or afterwards.
#[test]
fn a_collection_can_be_read_while_it_grows_and_later() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    assert_eq!(segtide(here, &["init", "file"]).code, 0);
    let (mut process, _) = Process::develop(here, "flow.yaml", &[]);
    let mut follower = Process::segtide(here, &["read", "acme/views", "--follow"]);
    follower.wait_for_line(r#""id":"c""#, SOON);
    let mut views = fs::OpenOptions::new().append(true).open(here.join("views.ndjson")).unwrap();
    views.write_all(b"{\"id\":\"d\",\"page\":\"/home\"}\n").unwrap();
    follower.wait_for_line(r#""id":"d""#, SOON);
    let unknown = segtide(here, &["read", "acme/vews"]);
    let told = "error: the catalog has no collection of this name; did you mean acme/views?\n";
    assert_eq!((unknown.code, unknown.err.as_str()), (5, told));
    assert!(process.terminate(SOON).success(), "{}", process.output());

    let read = segtide(here, &["read", "acme/views"]);
    assert_eq!(read.out.lines().count(), 4, "{read:?}");
    assert_eq!(segtide(here, &["fragments", "cat", "acme/views"]).out, read.out);
    let files = segtide(here, &["fragments", "ls", "acme/views"]).out;
    for file in files.lines().map(|file| serde_json::from_str::<Value>(file).unwrap()) {
        let path = here.join(file["file"].as_str().unwrap());
        assert_eq!(path.metadata().unwrap().len(), file["bytes"].as_u64().unwrap(), "{file}");
        assert!(file["begin"].as_u64() < file["end"].as_u64(), "{file}");
    }
    // One that is killed leaves its address behind, and then another one may be there.
    let (mut process, port) = Process::develop(here, "flow.yaml", &[]);
    process.kill_9();
    assert_eq!(segtide(here, &["read", "acme/views"]).out, read.out);
    let elsewhere = tempfile::tempdir().unwrap();
    assert_eq!(segtide(elsewhere.path(), &["init", "file"]).code, 0);
    let other = ["develop", "--port", &port.to_string()];
    let mut other = Process::segtide(elsewhere.path(), &other);
    other.wait_for_line("Listening at:", SOON);
    assert_eq!(segtide(here, &["read", "acme/views"]).out, read.out);
    let status = segtide(here, &["status"]);
    assert_eq!((status.code, status.out.as_str()), (4, ""), "{status:?}");
    assert!(status.err.contains("for segtide_develop; did it end by a crash?"), "{status:?}");
    assert!(other.terminate(SOON).success(), "{}", other.output());
    fs::remove_file(here.join("segtide_develop/address")).unwrap();
    let status = segtide(here, &["status"]);
    assert_eq!(status.code, 4);
    expect![[r#"
        error: no catalog runs over segtide_develop; run `segtide develop`, or name its place with --directory
    "#]]
    .assert_eq(&status.err);
}

/// Would catch files that are looked for, or unpacked, as if all were packed alike.
#[test]
fn files_can_be_read_however_they_are_packed() {
    for codec in ["ZSTANDARD", "NONE"] {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        assert_eq!(segtide(here, &["init", "file"]).code, 0);
        let catalog = fs::read_to_string(here.join("flow.yaml")).unwrap();
        let key = "    key: [/id]\n";
        let packed = format!("{key}    journals: {{ fragments: {{ compressionCodec: {codec} }} }}\n");
        fs::write(here.join("flow.yaml"), catalog.replacen(key, &packed, 1)).unwrap();
        let run = segtide(here, &["develop", "--port", "0", "--poll"]);
        assert_eq!(run.code, 0, "{run:?}");
        let read = segtide(here, &["read", "acme/views"]).out;
        assert_eq!(read.lines().count(), 3, "{read}");
        assert_eq!(segtide(here, &["fragments", "cat", "acme/views"]).out, read, "{codec}");
        assert_eq!(segtide(here, &["fragments", "ls", "acme/views"]).out.lines().count(), 1, "{codec}");
        assert_eq!(segtide(here, &["fragments", "ls", "acme/vews"]).code, 5);
    }
}

/// Would catch an arrow that is not drawn.
#[test]
fn a_catalog_can_be_drawn() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(segtide(directory.path(), &["init", "file"]).code, 0);
    expect![[r#"
        flowchart LR
          n0(["acme/files"])
          n1["acme/pages"]
          n2["acme/views"]
          n3[("acme/tables")]
          n0 --> n2
          n2 -- "fromViews" --> n1
          n1 --> n3
    "#]]
    .assert_eq(&segtide(directory.path(), &["graph"]).out);
    expect![[r#"
        digraph catalog {
          rankdir=LR
          n0 [label="acme/files" shape=oval]
          n1 [label="acme/pages" shape=box]
          n2 [label="acme/views" shape=box]
          n3 [label="acme/tables" shape=cylinder]
          n0 -> n2
          n2 -> n1 [label="fromViews"]
          n1 -> n3
        }
    "#]]
    .assert_eq(&segtide(directory.path(), &["graph", "--format", "dot"]).out);
}

/// Would catch a reference that is taken for its value, and a secret that has to be known to test.
#[test]
fn configurations_refer_to_what_is_known_where_they_run() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    assert_eq!(segtide(here, &["init", "file"]).code, 0);
    let catalog = fs::read_to_string(here.join("flow.yaml")).unwrap();
    let catalog = catalog.replace("path: pages.db", "path: '${file:name.txt}'");
    fs::write(here.join("flow.yaml"), catalog).unwrap();
    assert_eq!(segtide(here, &["check"]).code, 0);
    let refused = segtide(here, &["develop", "--port", "0", "--poll"]);
    assert_eq!(refused.code, 3);
    expect![[r#"
        error[config-invalid]: file name.txt is not there
          --> flow.yaml:43:23
           |
        43 |       sqlite: { path: '${file:name.txt}' }
           |                       ^^^^^^^^^^^^^^^^^^^
           |
           = help: set it, or give a default: `${file:name.txt:-default}`

        1 mistake in flow.yaml
    "#]]
    .assert_eq(&refused.err);
    fs::write(here.join("name.txt"), "found.db\n").unwrap();
    let ran = segtide(here, &["develop", "--port", "0", "--poll"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(here.join("found.db").exists());
}
