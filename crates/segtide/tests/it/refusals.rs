//! Runs that cannot start: each ends at once, with its exit status and a sentence that says what to do.

use std::fs;
use std::net::TcpListener;

use expect_test::{Expect, expect};

use crate::kit::{Process, Project, segtide};

fn refused(project: &Project, arguments: &[&str], code: i32, expected: &Expect) {
    let said = segtide(project.directory(), arguments);
    assert_eq!((said.code, said.out.as_str()), (code, ""), "{said:?}");
    expected.assert_eq(&said.err);
}

/// Would catch two processes that write to one directory, and a lock that outlives its owner.
#[test]
fn a_second_process_on_the_same_directory() {
    let project = Project::segmentation();
    project.capture_nothing();
    let (mut first, _) = Process::develop(project.directory(), "derive.flow.yaml", &[]);
    let second = ["develop", "--source", "derive.flow.yaml", "--port", "0"];
    refused(
        &project,
        &second,
        4,
        &expect![[r#"
        error: segtide_develop is in use by another segtide process; end that one, or name another place with --directory
    "#]],
    );
    first.kill_9();
    let (mut third, _) = Process::develop(project.directory(), "derive.flow.yaml", &[]);
    assert!(third.terminate(std::time::Duration::from_secs(30)).success());
}

/// Would catch a run that begins to process before it finds out that it cannot listen.
#[test]
fn a_port_that_is_in_use() {
    let project = Project::segmentation();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let arguments: [&[&str]; 3] =
        [&["develop", "--source", "derive.flow.yaml"], &["demo", "--directory", "demo"], &["webhook"]];
    for arguments in arguments {
        let said = segtide(project.directory(), &[arguments, &["--port", &port]].concat());
        assert_eq!((said.code, said.out.as_str()), (4, ""));
        expect![[r#"
            error: port PORT is in use by another program; choose another one with --port
        "#]]
        .assert_eq(&said.err.replace(&port, "PORT"));
    }
    assert!(!project.data().join("fragments/examples").exists(), "it has processed something");
}

/// Would catch a report of mistakes over a file that is not there.
#[test]
fn a_catalog_file_that_is_not_there() {
    let project = Project::segmentation();
    let said = expect![[r#"
        error: there is no file flow.yaml; --source names the file that a catalog begins with, and `segtide init` writes one
    "#]];
    refused(&project, &["check", "--source", "flow.yaml"], 4, &said);
    refused(&project, &["test", "--source", "flow.yaml"], 4, &said);
    refused(&project, &["develop", "--source", "flow.yaml"], 4, &said);
    refused(&project, &["generate", "types", "--source", "flow.yaml"], 4, &said);
    assert!(!project.path("flow_generated").exists());
    let said = expect![[r#"
        error: schemas is a folder; --source names the file that a catalog begins with
    "#]];
    refused(&project, &["check", "--source", "schemas"], 4, &said);
    assert!(!project.data().exists());
}

/// Would catch commands that take what is not there for what is empty.
#[test]
fn what_is_asked_for_and_not_there() {
    let project = Project::segmentation();
    let missing = expect![[r#"
        error: segtide_develop is not there; name the place of a data directory with --directory
    "#]];
    refused(&project, &["verify"], 5, &missing);
    refused(&project, &["read", "examples/segment/events"], 5, &missing);
    let said = segtide(project.directory(), &["test", "--source", "tests.flow.yaml", "-k", "nothing"]);
    let expected = "error: no test of tests.flow.yaml has \"nothing\" in its name\n";
    assert_eq!((said.code, said.err.as_str()), (5, expected), "{said:?}");
}

#[test]
fn poll_without_captures() {
    let project = Project::segmentation();
    project.capture_nothing();
    refused(
        &project,
        &["develop", "--source", "derive.flow.yaml", "--poll"],
        3,
        &expect![[r#"
        error: --poll reads what captures find, and this catalog has no captures
    "#]],
    );
    assert!(!project.data().exists());
}

/// Would catch a program that fills a directory of something else.
#[test]
fn a_directory_that_holds_something_else() {
    let project = Project::segmentation();
    fs::create_dir(project.data()).unwrap();
    fs::write(project.data().join("holiday.jpg"), "").unwrap();
    let arguments = ["develop", "--source", "derive.flow.yaml", "--port", "0"];
    refused(
        &project,
        &arguments,
        4,
        &expect![[r#"
        error: segtide_develop holds other files and is not a data directory of segtide; name an empty or a new directory
    "#]],
    );
}
