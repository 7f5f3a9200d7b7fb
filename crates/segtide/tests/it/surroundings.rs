//! What surrounds a command line: variables of the environment, folders, locales, readers that go away, and what each of them
//! makes of the same data.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use expect_test::expect;

use crate::kit::http::request;
use crate::kit::{Process, Said, segtide, undisturbed};

const SOON: Duration = Duration::from_secs(60);

/// Runs it with these variables.
fn with(directory: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_segtide"));
    undisturbed(&mut command);
    let command = command.current_dir(directory).args(arguments).envs(variables.iter().copied());
    let output = command.stdin(Stdio::null()).output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    Said { code: output.status.code().unwrap(), out, err }
}

/// A directory with the template that counts views of pages, which have been counted.
fn counted() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(segtide(directory.path(), &["init", "file", "--bare"]).code, 0);
    let ran = segtide(directory.path(), &["develop", "--port", "0", "--poll"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    directory
}

#[test]
fn what_cannot_be_meant_is_a_matter_of_usage() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    for (arguments, says) in [
        (&["develop", "--memory", "5"][..], "5 B is too little; write it like 512MiB or 2GiB, 128.0 MiB or more"),
        (&["run", "--memory", "lots"], "write it like 512MiB or 2GiB"),
        (&["develop", "--host", "localhost"], "write it like 127.0.0.1"),
        (&["develop", "--shards", "0"], "0 is not in 1..="),
        (&["develop", "--port", "http"], "invalid digit"),
        (&["develop", "--fragments", "ftp://host/"], "ftp"),
        (&["read", "a/b", "--from", "yesterday"], "write it like 2026-02-03T10:12:44Z, 2026-02-03, or 10m"),
        (&["read", "a/b", "--partition", "3"], "write it as field=value"),
        (&["demo", "--rate", "0"], "0 is not in 1.."),
        (&["fragments", "ls", "../a"], "../a is not the name of a collection"),
        (&["init", "htpp"], "there is no template \"htpp\"; did you mean http?"),
        (&["stauts"], "a similar subcommand exists: 'status'"),
        (&["status", "--jsno"], "a similar argument exists: '--json'"),
        (&["status", "-o", "xml"], "[possible values: table, json, ndjson, csv, yaml]"),
    ] {
        let said = segtide(here, arguments);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{arguments:?}: {said:?}");
        assert!(said.err.contains(says), "{arguments:?}: {}", said.err);
    }
    assert!(fs::read_dir(here).unwrap().next().is_none(), "something was written");
}

#[test]
fn variables_stand_for_flags() {
    let directory = counted();
    let here = directory.path();
    let read = ["read", "acme/views"];
    let by_flag = segtide(here, &["read", "acme/views", "-o", "csv"]);
    assert_eq!(with(here, &[("SEGTIDE_OUTPUT", "csv")], &read), by_flag);
    // The command line comes first, and what is empty or off is not there.
    assert_eq!(with(here, &[("SEGTIDE_OUTPUT", "yaml")], &["read", "acme/views", "-o", "csv"]), by_flag);
    let json = segtide(here, &["read", "acme/views", "--json"]);
    assert_eq!(with(here, &[("SEGTIDE_OUTPUT", "yaml")], &["read", "acme/views", "--json"]), json);
    for (name, value) in [
        ("SEGTIDE_OUTPUT", ""),
        ("SEGTIDE_READ_FROM", ""),
        ("SEGTIDE_READ_FOLLOW", "0"),
        ("SEGTIDE_READ_FOLLOW", "no"),
        ("SEGTIDE_QUIET", "false"),
    ] {
        assert_eq!(with(here, &[(name, value)], &read), segtide(here, &read), "{name}={value}");
    }
    for yes in ["1", "true", "yes", "on"] {
        let followed = with(here, &[("SEGTIDE_READ_FOLLOW", yes)], &read);
        assert!(followed.code == 4 && followed.err.contains("nothing will come"), "{yes}: {followed:?}");
    }
    let poll = [("SEGTIDE_DEVELOP_WATCH", "off"), ("SEGTIDE_DEVELOP_POLL", "1"), ("SEGTIDE_PORT", "0")];
    assert_eq!(with(here, &poll, &["develop"]).code, 0);
    for (name, value, arguments, flag) in [
        ("SEGTIDE_PORT", "70000", &["develop"][..], "'--port <PORT>'"),
        ("SEGTIDE_MEMORY", "5", &["develop"], "'--memory <SIZE>'"),
        ("SEGTIDE_OUTPUT", "xml", &["status"], "'--output <FORMAT>'"),
        ("SEGTIDE_READ_FOLLOW", "maybe", &read, "'--follow'"),
        ("SEGTIDE_DEVELOP_WATCH", "1", &["develop", "--poll"], "'--watch'"),
        ("SEGTIDE_COLOR", "red", &["check"], "'--color <WHEN>'"),
    ] {
        let said = with(here, &[(name, value)], arguments);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{name}: {said:?}");
        let blamed = format!("the value is that of {name} in the environment");
        assert!(said.err.contains(flag) && said.err.contains(&blamed), "{name}: {}", said.err);
    }
    let said = with(here, &[("SEGTIDE_PORT", "1")], &["develop", "--port", "x"]);
    assert!(said.code == 2 && !said.err.contains("environment"), "{said:?}");
}

#[test]
fn a_project_is_where_the_program_acts() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    assert_eq!(segtide(here, &["init", "file", "--directory", "pages"]).code, 0);
    assert_eq!(segtide(here, &["--project", "pages", "develop", "--port", "0", "--poll"]).code, 0);
    assert!(here.join("pages/segtide_develop").is_dir() && !here.join("segtide_develop").exists());
    let read = with(here, &[("SEGTIDE_PROJECT", "pages")], &["read", "acme/views"]);
    assert_eq!((read.code, read.out.lines().count()), (0, 3), "{read:?}");
    assert_eq!(segtide(here, &["check", "--project", "pages", "--source", "flow.yaml"]).code, 0);
    let nowhere = segtide(here, &["check", "--project", "nowhere"]);
    assert_eq!(nowhere.code, 4);
    assert!(nowhere.err.starts_with("error: the folder nowhere cannot be used: "), "{}", nowhere.err);
}

/// Would catch talk that is heard although nobody wants to, and a mistake that is not.
#[test]
fn quiet_is_quiet_but_for_mistakes() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let silent = |arguments: &[&str]| {
        let said = segtide(here, arguments);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{arguments:?}: {said:?}");
    };
    silent(&["init", "file", "-q"]);
    silent(&["develop", "--port", "0", "--poll", "--quiet"]);
    silent(&["-q", "verify"]);
    silent(&["-q", "read", "acme/none"]);
    let catalog = fs::read_to_string(here.join("flow.yaml")).unwrap();
    fs::write(here.join("flow.yaml"), catalog.replace("key: [/id]", "key: [id]")).unwrap();
    let wrong = segtide(here, &["check", "-q"]);
    assert!(wrong.code == 1 && wrong.err.contains("error[") && wrong.err.contains("1 mistake in"), "{wrong:?}");
}

#[test]
fn data_are_printed_as_is_asked() {
    let directory = counted();
    let here = directory.path();
    let read = |arguments: &[&str]| {
        let said = segtide(here, &[&["read", "acme/views"], arguments].concat());
        assert_eq!((said.code, said.err.as_str()), (0, ""));
        // Each document has an identity that every run makes anew.
        let line = |line: &str| match line.find("uuid") {
            Some(at) => format!("{}…\n", &line[..at + 4]),
            None => format!("{line}\n"),
        };
        said.out.lines().map(line).collect::<String>()
    };
    expect![[r#"
        id  page     _meta
        a   /home    {"uuid…
        b   /home    {"uuid…
        c   /prices  {"uuid…
        id,page,_meta
        a,/home,"{""uuid…
        b,/home,"{""uuid…
        c,/prices,"{""uuid…
        [
        {"_meta":{"uuid…
        {"_meta":{"uuid…
        {"_meta":{"uuid…
        ]
        - _meta:
            uuid…
          id: a
          page: /home
        - _meta:
            uuid…
          id: b
          page: /home
        - _meta:
            uuid…
          id: c
          page: /prices
        {"_meta":{"uuid…
        {"_meta":{"uuid…
        {"_meta":{"uuid…
    "#]]
    .assert_eq(&["table", "csv", "json", "yaml", "ndjson"].map(|format| read(&["-o", format])).concat());
    assert_eq!(read(&[]), read(&["-o", "ndjson"]));
    assert_eq!(read(&["--json"]), read(&["-o", "json"]));
    assert_eq!(read(&["--from", "1h"]).lines().count(), 3);
    assert_eq!(read(&["--from", "2020-01-01"]).lines().count(), 3);
    let later = segtide(here, &["read", "acme/views", "--from", "2999-01-01T00:00:00Z"]);
    assert_eq!((later.code, later.out.as_str()), (0, ""));
    assert_eq!(later.err, "there are no such documents of acme/views\n");
    let cat = segtide(here, &["fragments", "cat", "acme/views", "-o", "csv"]);
    assert_eq!(cat.out, segtide(here, &["read", "acme/views", "-o", "csv"]).out);
}

/// Would catch a program that complains, or goes on for nobody.
#[test]
fn a_reader_may_go_away() {
    let directory = counted();
    for arguments in [&["read", "acme/views"][..], &["fragments", "ls", "acme/views"], &["init", "--list"], &["verify"]]
    {
        for format in ["table", "csv", "json", "yaml", "ndjson"] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_segtide"));
            undisturbed(&mut command);
            command.current_dir(&directory).args(arguments).args(["-q", "-o", format]);
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            drop(child.stdout.take());
            let ended = child.wait_with_output().unwrap();
            assert_eq!(ended.status.code(), Some(0), "{arguments:?}");
            assert_eq!(String::from_utf8_lossy(&ended.stderr), "", "{arguments:?}");
        }
    }
}

/// Would catch data that are lost while all seems well.
#[test]
fn what_does_not_fit_on_the_disk_is_missed() {
    let directory = counted();
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for arguments in [&["test", "-q"][..], &["read", "acme/views"], &["schema"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_segtide"));
        undisturbed(&mut command);
        let ended = command.current_dir(&directory).args(arguments).stdout(full()).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(4), "{arguments:?}: {said}");
        assert!(said.starts_with("error: standard output cannot be written"), "{arguments:?}: {said}");
    }
}

#[test]
fn where_there_is_no_unicode_there_is_ascii() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    assert_eq!(segtide(here, &["init", "file"]).code, 0);
    let catalog = fs::read_to_string(here.join("flow.yaml")).unwrap();
    for (views, first) in [("views: 2", ["✔️ ", "ok "]), ("views: 3", ["❌ ", "FAILED "])] {
        fs::write(here.join("flow.yaml"), catalog.replace("views: 2", views)).unwrap();
        for (locale, first) in [("C.UTF-8", first[0]), ("C", first[1])] {
            let tested = with(here, &[("LC_ALL", locale)], &["test"]);
            assert!(tested.out.lines().any(|line| line.starts_with(first)), "{locale}: {}", tested.out);
            assert!(locale != "C" || tested.out.is_ascii(), "{}", tested.out);
        }
    }
    let looked = with(here, &[("LC_ALL", "C")], &["doctor", "--port", "0", "-o", "table"]);
    assert!(looked.out.contains("\n+  catalog  flow.yaml is right\n") && looked.out.is_ascii(), "{}", looked.out);
}

/// Would catch a catalog that runs what its author likes, and a secret that is kept or shown.
#[test]
fn commands_are_run_for_who_asks_for_it_and_what_they_say_stands_nowhere() {
    const SECRET: &str = "hunter2hunter2hunter2";
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    assert_eq!(segtide(here, &["init", "file"]).code, 0);
    let catalog = fs::read_to_string(here.join("flow.yaml")).unwrap();
    let pushed = "captures:
  acme/pushed:
    endpoint: { ingest: { requireAuthToken: '${cmd:touch ran; cat secret}' } }
    bindings: [{ resource: { name: views }, target: acme/views }]
";
    fs::write(here.join("flow.yaml"), catalog.replace("captures:\n", pushed)).unwrap();
    fs::write(here.join("secret"), format!("{SECRET}\n")).unwrap();
    // To look at a catalog is safe.
    assert_eq!(segtide(here, &["check"]).code, 0);
    assert_eq!(segtide(here, &["test"]).code, 0);
    let refused = segtide(here, &["develop", "--port", "0"]);
    assert_eq!(refused.code, 3);
    expect![[r#"
        error[config-invalid]: `${cmd:COMMAND}` would run a command, which a catalog may not by itself
          --> flow.yaml:31:45
           |
        31 |     endpoint: { ingest: { requireAuthToken: '${cmd:touch ran; cat secret}' } }
           |                                             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
           |
           = help: if you trust it, say so with --allow-exec

        1 mistake in flow.yaml
    "#]]
    .assert_eq(&refused.err);
    assert!(!here.join("ran").exists());

    let (mut process, port) = Process::develop(here, "flow.yaml", &["--allow-exec", "--log-level", "debug"]);
    let bearer = format!("Authorization: Bearer {SECRET}");
    let headers = [bearer.as_str(), "Content-Type: application/json"];
    let post =
        |headers: &[&str]| request(port, "POST", "/ingest/acme/views", headers, br#"{"id":"x","page":"/"}"#).status;
    assert_eq!((post(&headers), post(&headers[1..])), (200, 401));
    for path in ["/api/v1/status", "/metrics", "/docs", "/openapi.json", "/api/v1/documents/acme/views"] {
        let shown = request(port, "GET", path, &[], b"").body;
        assert!(!shown.is_empty() && !shown.contains(SECRET), "{path} shows it");
    }
    assert!(process.terminate(SOON).success());
    assert!(!process.output().contains(SECRET), "{}", process.output());
    let found = Command::new("grep").args(["-rlF", SECRET, "."]).current_dir(here).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "./secret\n");

    fs::remove_file(here.join("secret")).unwrap();
    let failed = segtide(here, &["develop", "--port", "0", "--allow-exec"]);
    assert_eq!(failed.code, 3);
    assert!(failed.err.contains("the command `touch ran; cat secret` failed: cat: "), "{}", failed.err);
}
