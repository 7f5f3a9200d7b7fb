//! `segtide test` and `segtide check`, as an author of a catalog meets them: what is right, what is wrong, and where.

use std::fs;

use expect_test::expect;

use crate::kit::{Project, Said, segtide};

/// The report of `segtide test` without its times, which no two runs share.
fn test(project: &Project, source: &str) -> Said {
    let mut said = segtide(project.directory(), &["test", "--source", source]);
    let timeless = |line: &str| match line.rsplit_once(" ms") {
        Some((timed, end)) => {
            format!("{}N ms{end}\n", timed.trim_end_matches(|c: char| c == '.' || c.is_ascii_digit()))
        }
        None => format!("{line}\n"),
    };
    said.out = said.out.lines().map(timeless).collect();
    said
}

/// Would catch lambdas, reductions or registers of the flagship that do not do what its tests promise.
#[test]
fn the_tests_of_the_flagship_pass() {
    let project = Project::segmentation();
    let said = test(&project, "tests.flow.yaml");
    expect![[r#"
        Running 3 tests...
        ✔️ tests.flow.yaml :: Memberships follow adds, repeated adds and removals (N ms)
        ✔️ tests.flow.yaml :: Profiles gather the segments of a user (N ms)
        ✔️ tests.flow.yaml :: Toggles are changes, not repeats (N ms)

        Ran 3 tests, 3 passed, 0 failed
    "#]]
    .assert_eq(&said.out);
    assert_eq!((said.code, said.err.as_str()), (0, ""));

    let said = test(&project, "derive-push.flow.yaml");
    expect![[r#"
        Running 1 tests...
        ✔️ derive-push.flow.yaml :: Each pushed profile is the whole set (N ms)

        Ran 1 tests, 1 passed, 0 failed
    "#]]
    .assert_eq(&said.out);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
}

/// Would catch a report that passes what is wrong, or does not lead to the line to look at.
#[test]
fn a_wrong_expectation_is_shown_with_its_place() {
    let project = Project::segmentation();
    project.patch(
        "tests.flow.yaml",
        "last: 2021-01-16T12:00:03Z\n            member: true\n            value: aisle seat",
        "last: 2021-01-16T12:00:03Z\n            member: true\n            value: window seat",
    );
    let said = test(&project, "tests.flow.yaml");
    expect![[r#"
        Running 3 tests...
        ❌ tests.flow.yaml failure at step /tests/Memberships follow adds, repeated adds and removals/1 :
          tests.flow.yaml:34 :: Memberships follow adds, repeated adds and removals
          step 2 of 7, verify examples/segment/memberships (The first add, the last event and the last value are kept.)
            verify: actual and expected document(s) did not match:
            mismatched document at index 0:
              at /value
              - expected  "window seat"   tests.flow.yaml:43:20
              + actual    "aisle seat"
        ✔️ tests.flow.yaml :: Profiles gather the segments of a user (N ms)
        ✔️ tests.flow.yaml :: Toggles are changes, not repeats (N ms)

        Ran 3 tests, 2 passed, 1 failed
        failed tests: [Memberships follow adds, repeated adds and removals]
    "#]]
    .assert_eq(&said.out);
    assert_eq!((said.code, said.err.as_str()), (1, ""));
}

/// The same, for a document too many and one too few.
#[test]
fn missing_and_unexpected_documents_are_shown() {
    let project = Project::segmentation();
    project.patch(
        "derive-push.flow.yaml",
        "          - user: bob\n            segments:\n              - segment: { vendor: 1, name: trains }\n                first: 2021-01-16T12:00:02Z\n                last: 2021-01-16T12:00:02Z\n                member: true\n",
        "",
    );
    let said = test(&project, "derive-push.flow.yaml");
    expect![[r#"
        Running 1 tests...
        ❌ derive-push.flow.yaml failure at step /tests/Each pushed profile is the whole set/1 :
          derive-push.flow.yaml:40 :: Each pushed profile is the whole set
          step 2 of 4, verify examples/segment/profiles-push
            verify: actual and expected document(s) did not match:
            Unexpected actual document at index 1:
              + actual    {"_meta":{"uuid":"eadf8000-9874-1200-8c00-010000000000"},"segments":[{"first":"2021-01-16T12:00:02Z","last":"2021-01-16T12:00:02Z","member":true,"segment":{"name":"trains","vendor":1}}],"user":"bob"}

        Ran 1 tests, 0 passed, 1 failed
        failed tests: [Each pushed profile is the whole set]
    "#]].assert_eq(&said.out);
    assert_eq!(said.code, 1);

    let project = Project::segmentation();
    project.patch(
        "derive-push.flow.yaml",
        "          - user: bob\n            segments:\n              - segment: { vendor: 1, name: trains }\n                member: true\n",
        "          - user: bob\n          - user: carol\n",
    );
    let said = test(&project, "derive-push.flow.yaml");
    expect![[r#"
        Running 1 tests...
        ❌ derive-push.flow.yaml failure at step /tests/Each pushed profile is the whole set/3 :
          derive-push.flow.yaml:71 :: Each pushed profile is the whole set
          step 4 of 4, verify examples/segment/profiles-push (The last document of a user takes the place of those before it, and still has everything.)
            verify: actual and expected document(s) did not match:
            Missing expected document at index 2:
              - expected  {"user":"carol"}   derive-push.flow.yaml:87:13

        Ran 1 tests, 0 passed, 1 failed
        failed tests: [Each pushed profile is the whole set]
    "#]].assert_eq(&said.out);
    assert_eq!(said.code, 1);
}

/// Five mistakes, each in another part of the language.
const MISTAKEN: &str = "\
import:
  - capture.flow.yaml

collections:
  examples/segment/users:
    schema:
      type: object
      properties:
        user: { type: string }
      required: [user]
    key: [/user, /name]

  examples/segment/names:
    schema:
      type: object
      properties:
        name: { type: string, reduce: { strategy: maximise } }
      required: [name]
    key: [/name]

captures:
  more/events:
    endpoint:
      airbyteSource:
        image: segtide/event-generatr:v1
        config: { segmentCardinality: 10, userCardinality: 10 }
    bindings:
      - resource: { stream: segmentation-events, syncMode: incremental }
        target: examples/segment/event

materializations:
  examples/segment/tables:
    endpoint:
      sqlite: { path: segmentation.db }
    bindings:
      - resource: { tabel: users, table: users }
        source: examples/segment/users
";

/// Would catch a build that stops at the first mistake, loses a place, or runs a catalog that has mistakes.
#[test]
fn all_mistakes_come_at_once_each_with_its_place() {
    let project = Project::segmentation();
    fs::write(project.path("flow.yaml"), MISTAKEN).unwrap();
    let said = segtide(project.directory(), &["check", "--source", "flow.yaml"]);
    expect![[r#"
        error[key-unknown]: the schema says nothing of `/name`, part of the key
          --> flow.yaml:11:18
           |
        11 |     key: [/user, /name]
           |                  ^^^^^

        error[reduce-strategy-unknown]: maximise is not a reduction strategy
          --> flow.yaml:17:51
           |
        17 |         name: { type: string, reduce: { strategy: maximise } }
           |                                                   ^^^^^^^^
           |
           = help: did you mean maximize?

        warning[connector-unknown]: there is no capture connector `event-generatr`, so capture `more/events` is left out
          --> flow.yaml:25:16
           |
        25 |         image: segtide/event-generatr:v1
           |                ^^^^^^^^^^^^^^^^^^^^^^^^^
           |
           = help: did you mean `event-generator`? there are `event-generator`, `source-file`, `source-http-ingest`

        error[collection-unknown]: collection `examples/segment/event`, which capture `more/events` refers to, is not defined
          --> flow.yaml:29:17
           |
        29 |         target: examples/segment/event
           |                 ^^^^^^^^^^^^^^^^^^^^^^
           |
          ::: capture.flow.yaml:4:3
           |
         4 |   examples/segment/events:
           |   ----------------------- `examples/segment/events` is defined here
           |
           = help: did you mean `examples/segment/events`?

        warning[config-misspelt]: `materialize-sqlite` does not use `tabel`
          --> flow.yaml:36:28
           |
        36 |       - resource: { tabel: users, table: users }
           |                            ^^^^^
           |
           = help: did you mean `table`?

        3 mistakes in flow.yaml
    "#]].assert_eq(&said.err);
    assert_eq!((said.code, said.out.as_str()), (1, ""));

    let develop = segtide(project.directory(), &["develop", "--source", "flow.yaml"]);
    // Another program may have the connector that this one has not, or use the field, and tests do without them; but neither
    // can run here.
    let err = said.err.replace("warning[con", "error[con").replace("3 mistakes", "5 mistakes");
    assert_eq!(
        develop,
        Said { code: 3, err, ..said.clone() },
        "develop says the same, and refuses the connector and the slip"
    );
    let test = segtide(project.directory(), &["test", "--source", "flow.yaml"]);
    assert_eq!(test, Said { code: 3, ..said }, "test says the same");
    assert!(!project.data().exists(), "nothing ran");
}

#[test]
fn a_right_catalog_is_counted() {
    let said = segtide(Project::segmentation().directory(), &["check", "--source", "materialize.flow.yaml"]);
    expect![[r#"
        materialize.flow.yaml is right: 4 collections (3 derived), 1 capture, 2 materializations, 0 tests
    "#]]
    .assert_eq(&said.out);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
}

/// A filter that chooses nothing or everything, or a report that no program can read, shows here.
#[test]
fn tests_are_chosen_by_name_and_reported_to_programs() {
    let project = Project::segmentation();
    let junit = project.path("report.xml");
    let arguments = ["test", "--source", "tests.flow.yaml", "-k", "TOGGLES", "-o", "json", "--junit", "report.xml"];
    let said = segtide(project.directory(), &arguments);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&report["ok"], report["tests"].as_array().unwrap().len()), (&true.into(), 1));
    assert_eq!(report["tests"][0]["name"], "Toggles are changes, not repeats");
    assert!(std::fs::read_to_string(junit).unwrap().contains(r#"tests="1" failures="0""#));

    project.patch("derive.flow.yaml", "key: [/event]", "key: [/evnt]");
    let said = segtide(project.directory(), &["check", "--source", "derive.flow.yaml", "-o", "json"]);
    assert_eq!((said.code, said.err.as_str()), (1, ""));
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let found = &report["diagnostics"][0];
    assert_eq!((&found["code"], &found["file"]), (&"key-unknown".into(), &"derive.flow.yaml".into()));
    assert!(found["line"].as_u64().unwrap() > 1 && found["end_column"].as_u64() > found["column"].as_u64());
}
