//! Called by the name of the original, the program takes its command lines as they stand.

use std::path::Path;
use std::process::Command;

use crate::kit::{segtide, undisturbed};

/// What is printed by a command line, which must succeed.
fn flowctl(directory: &Path, line: &str) -> String {
    let program = directory.join("flowctl");
    if !program.exists() {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_segtide"), &program).unwrap();
    }
    let mut command = Command::new(program);
    undisturbed(&mut command);
    let output = command.current_dir(directory).args(line.split_whitespace()).output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{line}: {out}{err}");
    out
}

#[test]
fn command_lines_of_the_original() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    assert_eq!(segtide(here, &["init", "file"]).code, 0);
    let run = |line: &str| flowctl(here, line);
    run("check --source flow.yaml --directory . --network host --log.level=info");
    let tested = run("test --source=flow.yaml --directory . --network host --shards 1 --timeout 10m --log.format text");
    assert!(tested.contains("1 passed, 0 failed"), "{tested}");
    run(
        "develop --source flow.yaml --port 0 --directory . --network host --shards 1 --poll --log.level debug --debug.port 9",
    );
    assert!(here.join("flowctl_develop/fragments/acme/views/pivot=00").is_dir());
    let read = run("collections read --collection acme/views --uncommitted");
    assert_eq!(read.lines().count(), 3, "{read}");
    std::fs::write(here.join("fixture"), "[\"acme/views\", {\"id\": \"a\", \"page\": \"/\"}]\n").unwrap();
    let line =
        "preview --source flow.yaml --name acme/pages --fixture fixture --timeout 5s --sessions 1 --network host";
    assert!(run(line).contains(r#""views":1"#));
    assert!(run("json-schema").starts_with('{'));
}
