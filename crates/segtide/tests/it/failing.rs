//! What `segtide test` says of tests that fail: the cases are in `cases/failing.txt`.

use std::fs;
use std::process::Command;

use crate::kit::undisturbed;

/// One case: files, and the lines the output must have.
struct Case<'t> {
    name: &'t str,
    files: Vec<(&'t str, &'t str)>,
    says: Vec<&'t str>,
}

impl<'t> Case<'t> {
    fn read(text: &'t str) -> Self {
        let (name, rest) = text.split_once('\n').unwrap();
        let mut parts = rest.split("--- ").skip(1).map(|part| part.split_once('\n').unwrap());
        let mut case = Case { name, files: Vec::new(), says: Vec::new() };
        for (file, text) in &mut parts {
            match file {
                "says" => case.says = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect(),
                _ => case.files.push((file, text)),
            }
        }
        case
    }

    /// Runs it; an error says what is not as it should be.
    fn run(&self) -> Result<(), String> {
        let directory = tempfile::tempdir().unwrap();
        for (file, text) in &self.files {
            fs::write(directory.path().join(file), text).unwrap();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_segtide"));
        undisturbed(&mut command);
        let output = command.current_dir(&directory).args(["test", "--source", "flow.yaml"]).output().unwrap();
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        let wrong = |what: String| Err(format!("=== {}\n{what}, in:\n{said}", self.name));
        if output.status.success() {
            return wrong("it did not fail".to_owned());
        }
        let mut rest = said.as_str();
        for line in &self.says {
            let Some(at) = rest.find(line) else { return wrong(format!("{line:?} is not said, or not there")) };
            rest = &rest[at + line.len()..];
        }
        Ok(())
    }
}

#[test]
fn failing_tests_say_why() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/cases/failing.txt")).unwrap();
    let cases: Vec<Case<'_>> = text.split("\n=== ").skip(1).map(Case::read).collect();
    assert!(cases.len() > 20, "the cases are not found");
    let wrong: Vec<String> = cases.iter().filter_map(|case| case.run().err()).collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
